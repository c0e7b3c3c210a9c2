package manifest

import (
	"fmt"
	"strings"

	"stevedore/internal/job"
)

// Layout says where the columns of a CSV manifest are: the Fields of the job's spec, compiled.
// Make it with [NewLayout].
type Layout struct {
	// PlusIsSpace makes "+" in a key cell stand for a space, as in a form. NewLayout sets it, since
	// S3 writes its own lists that way; clear it for manifests whose writer left "+" unencoded.
	PlusIsSpace bool

	columns              int
	bucket, key, version int // column numbers from 0; version is -1 if there is no such column
}

// NewLayout compiles the fields of a manifest's spec. Bucket and Key are required, VersionId is
// optional, each at most once and in any order; Ignore may be repeated. The error is an [*Error].
func NewLayout(fields []job.Field) (Layout, error) {
	l := Layout{PlusIsSpace: true, columns: len(fields), bucket: -1, key: -1, version: -1}
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
	var missing []string
	if l.bucket < 0 {
		missing = append(missing, string(job.FieldBucket))
	}
	if l.key < 0 {
		missing = append(missing, string(job.FieldKey))
	}
	if missing != nil {
		return Layout{}, newError(textSchema, 0, strings.Join(missing, ", "))
	}
	return l, nil
}

// HasVersionID reports whether rows have a VersionId column. If so, an empty version id on a
// versioned bucket fails the task ("Task failed due to missing VersionId").
func (l Layout) HasVersionID() bool { return l.version >= 0 }
