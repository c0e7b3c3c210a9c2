package manifest

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"stevedore/internal/job"
)

// header reports whether line, the first of a manifest that is not empty, names the columns instead of an object.
// If the layout does not allow that, or has other columns than it names, it ends the reading.
func (c *CSV) header(line []byte) bool {
	c.first = false
	if c.layout.inventory || checkText(line) != "" {
		return false
	}
	var row Row
	columns, _, problem := c.layout.split(line, nil, &row)
	if problem != "" || !c.layout.fits(line, columns) || FieldNamed(row.Bucket) == "" || FieldNamed(row.RawKey) == "" {
		return false
	}
	cells, err := csv.NewReader(bytes.NewReader(line)).Read()
	if err != nil {
		return false // split has read it, so that this cannot be
	}
	names := Header(cells)
	if names == nil {
		return false
	}
	if version := c.layout.version; version >= 0 {
		if strings.Trim(cells[version], aroundName) == "" {
			return false // a row without version id
		}
		if names[version] == job.FieldIgnore && !slices.Contains(names, job.FieldVersionID) {
			names[version] = job.FieldVersionID // by a name that is not known here
		}
	}
	switch {
	case !c.layout.has(names):
		// Even leniently: to skip the row would be to take keys for buckets.
		c.fail(nil, textFormat, "the row names the columns, but not as Fields has them; "+c.otherFields(names)+asObject(&row))
	case !c.layout.Lenient:
		c.fail(nil, textFormat, "the row names the columns; remove it, or "+lenience+asObject(&row))
	default:
		c.notes.Header = true
		c.next = Position{Offset: c.base + int64(c.lo), Line: c.line + 1}
	}
	return true
}

// has reports whether the columns of l are where names has them.
func (l *Layout) has(names []job.Field) bool {
	return names[l.bucket] == job.FieldBucket && names[l.key] == job.FieldKey && (l.version < 0 || names[l.version] == job.FieldVersionID)
}

// otherFields says what to do about a header that has the columns names.
func (c *CSV) otherFields(names []job.Field) string {
	cure := "make Fields "
	if !c.layout.Lenient {
		cure = "remove it, and make Fields "
	}
	for i, name := range names[:c.layout.columns] {
		if i > 0 {
			cure += ","
		}
		cure += string(name)
	}
	return cure
}

// asObject says how to write row, which is taken for a header, if it is an object. It is silent if there
// can be no such bucket.
func asObject(row *Row) string {
	letter := bytes.IndexFunc(row.RawKey, unicode.IsLetter)
	if letter < 0 || bytes.ContainsFunc(row.Bucket, func(r rune) bool { return (r < 'a' || 'z' < r) && r != '-' }) {
		return ""
	}
	key := AppendKey(nil, row.RawKey[:letter])
	key = fmt.Appendf(key, "%%%02X", row.RawKey[letter])
	return "; if it is an object, write its key " + string(AppendKey(key, row.RawKey[letter+1:]))
}

// Header returns the fields that the cells of a first row name, Ignore for other columns; nil if it is no header. To
// take a row for one is to lose an object, so the row must name a bucket and a key, and what else it has must look like
// names, too, or be empty: an id, a sum, a number or a date does not.
func Header(cells []string) []job.Field {
	fields := make([]job.Field, len(cells))
	for i, cell := range cells {
		fields[i] = job.FieldIgnore
		if field := FieldNamed([]byte(cell)); field != "" && !slices.Contains(fields[:i], field) {
			fields[i] = field
		}
		if !isName(cell) {
			return nil
		}
	}
	if !slices.Contains(fields, job.FieldBucket) || !slices.Contains(fields, job.FieldKey) {
		return nil
	}
	return fields
}

const (
	longestName = 64             // bytes of a cell, far more than the name of a column has
	aroundName  = " \t\"'" + bom // what is no part of a name
)

// isName reports whether cell may be the name of a column, or is empty: tools leave out the name of an index.
func isName(cell string) bool {
	const mostDigits = 3 // as in SHA256
	if len(cell) > longestName {
		return false
	}
	digits := 0
	name := strings.Trim(cell, aroundName)
	for i, r := range name {
		switch {
		case unicode.IsLetter(r), r == '_', i > 0 && strings.ContainsRune(" -.()[]", r):
		case i > 0 && unicode.IsDigit(r) && digits < mostDigits:
			digits++
		default:
			return false
		}
	}
	switch strings.ToLower(name) {
	case "null", "true", "false":
		return false
	}
	return true
}

// FieldNamed returns the field that a cell of a header means, "" if it means none. These are the names that query tools
// and listings give their columns, whatever their case and with "_", "-" and spaces between their words; and no more, since
// a row may be about a bucket and a key that are called so. See [Header].
func FieldNamed(cell []byte) job.Field {
	if len(cell) > longestName {
		return ""
	}
	// Of the longest name. It is not made with strings, as writers of manifests ask this of every row.
	var letters [len("sourceversionid")]byte
	n := 0
	for _, b := range bytes.Trim(cell, aroundName) {
		switch {
		case b == '_', b == '-', b == ' ':
			continue
		case n == len(letters):
			return ""
		case 'A' <= b && b <= 'Z':
			b += 'a' - 'A'
		}
		letters[n] = b
		n++
	}
	switch string(letters[:n]) {
	case "bucket", "bucketname", "sourcebucket":
		return job.FieldBucket
	case "key", "keyname", "name", "object", "objectkey", "objectname", "sourcekey":
		return job.FieldKey
	case "version", "versionid", "objectversion", "objectversionid", "sourceversionid":
		return job.FieldVersionID
	}
	return ""
}
