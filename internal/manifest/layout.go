package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"stevedore/internal/job"
)

// Layout says where the columns of a CSV manifest are: the Fields of the job's spec, compiled.
// Make it with [NewLayout].
type Layout struct { //nolint:recvcheck // HasVersionID is asked of the value that NewLayout returns; split is too hot for a copy
	// Lenient puts up with what S3 Batch Operations refuses but nobody can misread: a byte order
	// mark, a header row, spaces and control characters in keys that are not encoded, spaces around other
	// cells, empty columns behind the last one. [CSV.Notes] tells of them.
	Lenient bool

	// RawKeys takes keys as they stand instead of decoding them. It goes with Lenient.
	RawKeys bool

	columns                    int
	bucket, key, version, size int  // column numbers from 0; version and size are -1 if there is no such column
	inventory                  bool // the columns are those of an inventory's file, which has no header
}

// NewLayout compiles the fields of a manifest's spec. Bucket and Key are required, VersionId is
// optional, each at most once and in any order; Ignore may be repeated. The error is an [*Error].
func NewLayout(fields []job.Field) (Layout, error) {
	l := Layout{columns: len(fields), bucket: -1, key: -1, version: -1, size: -1}
	for i, field := range fields {
		var column *int
		switch field {
		case job.FieldIgnore:
			continue
		case job.FieldBucket:
			column = &l.bucket
		case job.FieldKey:
			column = &l.key
		case job.FieldVersionID:
			column = &l.version
		default:
			return Layout{}, newError(textContent, 0, "unknown field "+quote([]byte(field))+" in the schema")
		}
		if *column >= 0 {
			return Layout{}, newError(textContent, 0, fmt.Sprintf("field %s is twice in the schema", field))
		}
		*column = i
	}
	if err := l.complete(); err != nil {
		return Layout{}, err
	}
	return l, nil
}

// NewSchemaLayout compiles the names of an inventory's columns. Case, spaces and underscores do not count, so
// that it takes VersionId and version_id; columns that are no part of a [Row] are ignored. Bucket and Key
// are required. The error is an [*Error].
func NewSchemaLayout(names []string) (Layout, error) {
	l := Layout{columns: len(names), bucket: -1, key: -1, version: -1, size: -1, inventory: true}
	for i, name := range names {
		var column *int
		switch strings.ToLower(strings.NewReplacer(" ", "", "\t", "", "_", "").Replace(name)) {
		case "bucket":
			column = &l.bucket
		case "key":
			column = &l.key
		case "versionid":
			column = &l.version
		case "size":
			column = &l.size
		default:
			continue
		}
		if *column >= 0 {
			return Layout{}, newError(textContent, 0, fmt.Sprintf("column %s is twice in the schema", ascii(strings.TrimSpace(name))))
		}
		*column = i
	}
	if err := l.complete(); err != nil {
		return Layout{}, err
	}
	return l, nil
}

// complete returns the error of a schema that lacks a column.
func (l *Layout) complete() error {
	var missing []string
	if l.bucket < 0 {
		missing = append(missing, string(job.FieldBucket))
	}
	if l.key < 0 {
		missing = append(missing, string(job.FieldKey))
	}
	if missing != nil {
		return newError(textSchema, 0, strings.Join(missing, ", "))
	}
	return nil
}

// HasVersionID reports whether rows have a VersionId column. If so, an empty version id on a
// versioned bucket fails the task ("Task failed due to missing VersionId").
func (l Layout) HasVersionID() bool { return l.version >= 0 }

// fits reports whether line, which has so many columns, has those of the layout: leniently, with empty ones behind them.
func (l *Layout) fits(line []byte, columns int) bool {
	extra := columns - l.columns
	return extra == 0 || l.Lenient && extra > 0 && len(bytes.Trim(line[len(line)-extra:], ",")) == 0
}

// split takes any line apart cell by cell, as RFC 4180 has it, and returns the number of columns.
// Cells with doubled quotes are built at the end of arena. On a problem it returns the number of the
// column that has it, counted from 1.
func (l *Layout) split(line, arena []byte, row *Row) (columns int, grown []byte, problem string) {
	for rest, more := line, true; more; {
		var cell []byte
		if len(rest) > 0 && rest[0] == '"' {
			var size int
			if cell, size, arena, problem = unquote(rest, arena); problem == "" {
				if more = size < len(rest); more {
					rest = rest[size+1:]
				}
			}
		} else {
			if i := bytes.IndexByte(rest, ','); i >= 0 {
				cell, rest = rest[:i:i], rest[i+1:]
			} else {
				cell, more = slices.Clip(rest), false
			}
			if bytes.IndexByte(cell, '"') >= 0 {
				problem = "quote inside a cell that is not quoted"
			}
		}
		if problem != "" {
			return columns + 1, arena, problem
		}
		switch columns {
		case l.bucket:
			row.Bucket = cell
		case l.key:
			row.RawKey = cell
		case l.version:
			row.VersionID = cell
		case l.size:
			row.Size = size(cell)
		}
		columns++
	}
	return columns, arena, ""
}
