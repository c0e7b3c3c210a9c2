package manifest

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what inventories are checked with
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"

	"github.com/klauspost/compress/gzip"
)

// Columns says which columns an inventory of ours has beside Bucket and Key.
type Columns struct {
	VersionID bool
	Size      bool
}

// Schema returns the fileSchema of an inventory with these columns.
func (c Columns) Schema() string {
	schema := "Bucket, Key"
	if c.VersionID {
		schema += ", VersionId"
	}
	if c.Size {
		schema += ", Size"
	}
	return schema
}

// AppendRow appends row as a line of an inventory's data file: quoted cells, the key encoded anew from
// row.Key. A version id is written as it is: write "null" for that of a null version, since an
// empty one fails its task.
func AppendRow(line []byte, row *Row, c Columns) []byte {
	line = appendCell(line, row.Bucket)
	line = append(line, `,"`...)
	line = AppendKey(line, row.Key)
	line = append(line, '"')
	if c.VersionID {
		line = appendCell(append(line, ','), row.VersionID)
	}
	if c.Size {
		line = append(line, `,"`...)
		if row.Size >= 0 {
			line = strconv.AppendInt(line, row.Size, 10)
		}
		line = append(line, '"')
	}
	return append(line, '\n')
}

// appendCell appends a quoted cell.
func appendCell(line, cell []byte) []byte {
	line = append(line, '"')
	for {
		i := bytes.IndexByte(cell, '"')
		if i < 0 {
			break
		}
		line = append(append(line, cell[:i+1]...), '"')
		cell = cell[i+1:]
	}
	return append(append(line, cell...), '"')
}

// AppendKey appends key as it stands in a manifest: URL-encoded, all but letters, digits, and "-._~/".
func AppendKey(text, key []byte) []byte {
	const digits = "0123456789ABCDEF"
	for {
		i := 0
		for i < len(key) && plain(key[i]) {
			i++
		}
		text = append(text, key[:i]...)
		if i == len(key) {
			return text
		}
		text = append(text, '%', digits[key[i]>>4], digits[key[i]&15])
		key = key[i+1:]
	}
}

// plain reports whether b stands for itself in an encoded key.
func plain(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '-' <= b && b <= '9', b == '_', b == '~': // "-./" and digits
		return true
	}
	return false
}

// DataWriter writes a data file of an inventory: CSV, gzip-compressed. It is not safe for concurrent use.
type DataWriter struct {
	columns Columns
	buf     []byte // rows not compressed yet
	rows    int64
	zip     *gzip.Writer
	sum     summer
}

// NewDataWriter returns a writer of a data file to w.
func NewDataWriter(w io.Writer, c Columns) *DataWriter {
	d := &DataWriter{columns: c, sum: summer{w: w, hash: md5.New()}} //nolint:gosec // not for safety
	d.zip, _ = gzip.NewWriterLevel(&d.sum, gzip.BestSpeed)           // the level is a good one
	return d
}

// Write writes a row. Its RawKey is not looked at.
func (d *DataWriter) Write(row *Row) error {
	const enough = 64 << 10
	d.buf = AppendRow(d.buf, row, d.columns)
	d.rows++
	if len(d.buf) < enough {
		return nil
	}
	return d.flush()
}

func (d *DataWriter) flush() error {
	_, err := d.zip.Write(d.buf)
	d.buf = d.buf[:0]
	if err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	return nil
}

// Rows returns the number of rows written.
func (d *DataWriter) Rows() int64 { return d.rows }

// Size returns the number of bytes that have reached the writer below.
func (d *DataWriter) Size() int64 { return d.sum.size }

// Close ends the file, but does not close the writer below, and describes it, all but its key.
func (d *DataWriter) Close() (DataFile, error) {
	if err := d.flush(); err != nil {
		return DataFile{}, err
	}
	if err := d.zip.Close(); err != nil {
		return DataFile{}, fmt.Errorf("write inventory: %w", err)
	}
	return DataFile{Size: d.sum.size, MD5: hex.EncodeToString(d.sum.hash.Sum(nil))}, nil
}

// summer counts and sums what passes.
type summer struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func (s *summer) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	return n, err
}

// EncodeKey returns key as it stands in a manifest, see [AppendKey].
func EncodeKey(key string) string {
	if !slices.ContainsFunc([]byte(key), func(b byte) bool { return !plain(b) }) {
		return key
	}
	return string(AppendKey(nil, []byte(key)))
}
