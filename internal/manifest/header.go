package manifest

import (
	"bytes"

	"stevedore/internal/job"
)

// header reports whether line, the first of a manifest that is not empty, names the columns instead of an object.
// If the layout does not allow that, or the names are in another order than its columns, it ends the reading.
func (c *CSV) header(line []byte) bool {
	c.first = false
	if c.layout.inventory || checkText(line) != "" {
		return false
	}
	var row Row
	columns, _, problem := c.layout.split(line, nil, &row)
	if problem != "" || !c.layout.fits(line, columns) {
		return false
	}
	bucket, key := FieldNamed(row.Bucket), FieldNamed(row.RawKey)
	switch {
	case bucket == "" || key == "":
		return false
	case bucket != job.FieldBucket || key != job.FieldKey:
		// Even leniently: to skip the row would be to take keys for buckets.
		c.fail(nil, textFormat, "the row names the columns in another order than Fields, which must be the same: "+ascii(string(line)))
	case !c.layout.Lenient:
		c.fail(nil, textFormat, "the row names the columns; remove it, or "+lenience)
	default:
		c.notes.Header = true
		c.next = Position{Offset: c.base + int64(c.lo), Line: c.line + 1}
	}
	return true
}

// FieldNamed returns the field that the cell of a header means, "" if it means none. These are the names that query tools
// and listings give their columns, and no more, since a row may be about a bucket and a key that are called so. A first
// row is taken for a header if its cells for bucket and key both are names.
func FieldNamed(cell []byte) job.Field {
	const longest = 64 // bytes, far more than a name has
	if len(cell) > longest {
		return ""
	}
	// Of the longest name. It is not made with strings, as writers of manifests ask this of every row.
	var letters [len("sourcebucket")]byte
	n := 0
	for _, b := range bytes.Trim(cell, " \t\"'"+bom) {
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
	case "key", "keyname", "name", "object", "objectkey", "objectname":
		return job.FieldKey
	case "versionid":
		return job.FieldVersionID
	}
	return ""
}
