package manifest

import (
	"bytes"
	"fmt"
	"strings"
)

// lenience is how every refusal of what [Layout.Lenient] puts up with ends.
const lenience = "tag the job stevedore:manifest=lenient"

// Notes says what leniency has put up with.
type Notes struct { //nolint:recvcheck // a value that is added to
	Compression string `json:",omitzero"` // "gzip" or "zstd": the manifest is compressed
	BOM         bool   `json:",omitzero"` // it starts with a byte order mark
	Header      bool   `json:",omitzero"` // its first row names the columns
	Keys        int64  `json:",omitzero"` // rows with white space in the key that is not encoded
	Cells       int64  `json:",omitzero"` // rows with white space around the bucket or the version id
	Columns     int64  `json:",omitzero"` // rows with empty columns behind the last one
	Pluses      int64  `json:",omitzero"` // rows with "+" in the key, which is nothing to put up with unless there are Keys
}

// Add adds what another piece of the same manifest has.
func (n *Notes) Add(o Notes) {
	if o.Compression != "" {
		n.Compression = o.Compression
	}
	n.BOM = n.BOM || o.BOM
	n.Header = n.Header || o.Header
	n.Keys += o.Keys
	n.Cells += o.Cells
	n.Columns += o.Columns
	n.Pluses += o.Pluses
}

// Unclear says why nobody can tell which objects the manifest means, "" if it is clear: where spaces are not
// encoded, a plus may be one, or stand for a space as it does everywhere else.
func (n Notes) Unclear() string {
	if n.Keys == 0 || n.Pluses == 0 {
		return ""
	}
	return fmt.Sprintf(`%s: of the keys, %d have unencoded spaces and %d have a "+", which means a space where keys are encoded; encode them all, "+" as %%2B`,
		textKey, n.Keys, n.Pluses)
}

// String lists what there was, such as "header row skipped, 12 keys with unencoded spaces"; "" if nothing.
func (n Notes) String() string {
	var parts []string
	add := func(is bool, part string) {
		if is {
			parts = append(parts, part)
		}
	}
	add(n.Compression != "", n.Compression+" decompressed")
	add(n.BOM, "byte order mark skipped")
	add(n.Header, "header row skipped")
	add(n.Keys == 1, "1 key with unencoded spaces")
	add(n.Keys > 1, fmt.Sprintf("%d keys with unencoded spaces", n.Keys))
	add(n.Cells == 1, "spaces around cells of 1 row removed")
	add(n.Cells > 1, fmt.Sprintf("spaces around cells of %d rows removed", n.Cells))
	add(n.Columns == 1, "empty columns of 1 row ignored")
	add(n.Columns > 1, fmt.Sprintf("empty columns of %d rows ignored", n.Columns))
	return strings.Join(parts, ", ")
}

// blank reports whether b is a space or a control character: what no bucket and no version id has, and
// no encoded key.
func blank(b byte) bool { return b <= ' ' || b == 0x7f }

// indexBlank returns the index of the first blank byte of cell, or -1.
func indexBlank(cell []byte) int {
	for i, b := range cell {
		if blank(b) {
			return i
		}
	}
	return -1
}

// spaces deals with the blank bytes of row, which is of an odd line. If they are allowed, the raw key
// is encoded anew at the end of arena, so that reports and what is made of them are sound manifests.
// row.Key is not set yet. Otherwise it says what is wrong.
func (c *CSV) spaces(row *Row, arena []byte) (grown []byte, text, problem string) {
	inBucket, inKey, inVersion := indexBlank(row.Bucket), indexBlank(row.RawKey), indexBlank(row.VersionID)
	if inBucket < 0 && inKey < 0 && inVersion < 0 {
		return arena, "", ""
	}
	if !c.layout.Lenient {
		switch {
		case inBucket >= 0:
			return arena, textContent, "the bucket " + quote(row.Bucket) + " has white space; remove it, or " + lenience
		case inKey >= 0:
			return arena, textKey, fmt.Sprintf("%s has %s that is not encoded; write %%%02X, or %s",
				quote(row.RawKey), nameBlank(row.RawKey[inKey]), row.RawKey[inKey], lenience)
		case row.VersionID[inVersion] == ' ':
			return arena, textVersion, quote(row.VersionID) + " has white space; remove it, or " + lenience
		}
		return arena, textVersion, quote(row.VersionID) + " has a control character"
	}
	if inBucket >= 0 || inVersion >= 0 {
		row.Bucket, row.VersionID = bytes.TrimFunc(row.Bucket, isBlank), bytes.TrimFunc(row.VersionID, isBlank)
		switch {
		case indexBlank(row.Bucket) >= 0:
			return arena, textContent, "the bucket " + quote(row.Bucket) + " has white space inside"
		case indexBlank(row.VersionID) >= 0:
			return arena, textVersion, quote(row.VersionID) + " has white space inside"
		}
		c.notes.Cells++
	}
	if inKey >= 0 {
		const digits = "0123456789ABCDEF"
		from := len(arena)
		for _, b := range row.RawKey {
			if blank(b) {
				arena = append(arena, '%', digits[b>>4], digits[b&15])
			} else {
				arena = append(arena, b)
			}
		}
		row.RawKey = arena[from:len(arena):len(arena)]
		if !c.layout.RawKeys {
			c.notes.Keys++
		}
	}
	return arena, "", ""
}

func isBlank(r rune) bool { return r <= ' ' || r == 0x7f }

func nameBlank(b byte) string {
	if b == ' ' {
		return "a space"
	}
	return "a control character"
}
