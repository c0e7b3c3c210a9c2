// Package orc reads the rows of an ORC file as text: a form in which an inventory may list its objects.
//
//	tail ──▶ File (columns, stripes) ──▶ Reader: one stripe after another
//	                                       └ streams of a column ──▶ chunks decompressed ──▶ cells
//
// It reads the columns of a flat file: strings, numbers, booleans, dates and timestamps, in every
// encoding of the format, compressed with zlib, Snappy, zstd or LZ4 or not at all; other columns may
// be in the file as long as nobody asks for them. A file comes from anywhere, so that every size in it
// is compared with what is really there before memory is taken for it.
//
// The format is that of https://orc.apache.org/specification/ORCv1/, with the files of version 0.11
// before it.
package orc

import (
	"fmt"
	"io"
	"math"

	"stevedore/internal/manifest/orc/ranged"
)

const (
	maxFooter     = 16 << 20  // bytes of the metadata of a file or a stripe, compressed or not
	maxChunk      = 64 << 20  // bytes of a chunk of compression, decompressed
	maxCell       = 16 << 20  // bytes of a string
	maxDictionary = 256 << 20 // bytes of the strings of a dictionary
	maxEntries    = 1 << 25   // of a dictionary
	maxTypes      = 10_000    // columns, and what lies in them
)

// FormatError says what is wrong with the content of a file, or that this package does not read it.
// Every other error of a file is one of the reader under it.
type FormatError struct {
	Detail string // one line of text
}

// Error returns the detail.
func (e *FormatError) Error() string { return e.Detail }

// malformed returns a FormatError.
func malformed(format string, args ...any) error {
	return &FormatError{Detail: fmt.Sprintf(format, args...)}
}

// File is an opened ORC file. Any number of goroutines may read from it.
type File struct {
	r       io.ReaderAt
	size    int64
	packing packing // never used itself, only copied
	fields  []field
	types   int // number of them, the root included
	stripes []stripe
	rows    int64
}

// stripe is where some of the rows lie.
type stripe struct {
	off                 int64
	index, data, footer int64 // bytes of its parts, in their order
	rows                int64
}

// field is a column, at the top level of the schema.
type field struct {
	name string
	id   int // of its type
	kind kind
}

// Open reads the metadata of the file of size bytes that r yields. The error is a [*FormatError] if
// the content is at fault.
func Open(r io.ReaderAt, size int64) (*File, error) {
	const magic = "ORC"
	if size <= int64(len(magic)) {
		return nil, malformed("not an ORC file: only %d bytes", size)
	}
	tail := make([]byte, min(size, 256<<10))
	if err := ranged.ReadAt(r, tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	length := int(tail[len(tail)-1]) // of the postscript, before which the footer is
	if length > len(tail)-1 {
		return nil, malformed("not an ORC file: it ends with no postscript")
	}
	ps, ok := readPostscript(tail[len(tail)-1-length : len(tail)-1])
	if ok && ps.magic == "" { // as the first writers had it
		head := make([]byte, len(magic))
		if err := ranged.ReadAt(r, head, 0); err != nil {
			return nil, err
		}
		ps.magic = string(head)
	}
	if !ok || ps.magic != magic {
		return nil, malformed("not an ORC file: it ends with no postscript")
	}
	f := &File{r: r, size: size, packing: packing{kind: ps.compression, chunk: ps.chunk}}
	if err := f.packing.check(); err != nil {
		return nil, err
	}
	end := len(tail) - 1 - length
	if ps.footer > uint64(size)-uint64(length)-1 || ps.footer > maxFooter {
		return nil, malformed("damaged ORC file: metadata of %d bytes in a file of %d", ps.footer, size)
	}
	if int(ps.footer) > end {
		from := size - int64(len(tail)-end) - int64(ps.footer)
		tail, end = make([]byte, ps.footer), int(ps.footer)
		if err := ranged.ReadAt(r, tail, from); err != nil {
			return nil, err
		}
	}
	unpack := f.packing // its decompressors are not for sharing
	defer unpack.close()
	footer, err := unpack.all(tail[end-int(ps.footer) : end])
	if err != nil {
		return nil, err
	}
	if err := f.readFooter(footer); err != nil {
		return nil, err
	}
	return f, f.checkStripes()
}

// checkStripes compares the stripes with the size of the file and with its number of rows.
func (f *File) checkStripes() error {
	rows := int64(0)
	for i, s := range f.stripes {
		left := f.size
		for _, n := range [...]int64{s.off, s.index, s.data, s.footer} {
			if n < 0 || n > left {
				return malformed("damaged ORC file: stripe %d lies outside of the file", i+1)
			}
			left -= n
		}
		if s.footer > maxFooter || s.rows < 0 || s.rows > math.MaxInt64-rows {
			return malformed("damaged ORC file: stripe %d has %d rows and a footer of %d bytes", i+1, s.rows, s.footer)
		}
		rows += s.rows
	}
	if rows != f.rows {
		return malformed("damaged ORC file: %d rows in its stripes, %d in all", rows, f.rows)
	}
	return nil
}

// Rows returns the number of rows.
func (f *File) Rows() int64 { return f.rows }

// Columns returns the names of the columns, as they are in the file.
func (f *File) Columns() []string {
	names := make([]string, len(f.fields))
	for i, field := range f.fields {
		names[i] = field.name
	}
	return names
}

// Read returns a reader of the rows that starts at row number from, counted from 0. columns are
// indexes into [File.Columns]; only their streams are read, except that a small stripe is read as a
// whole. Stripes before the row are not read at all.
func (f *File) Read(columns []int, from int64) *Reader {
	r := &Reader{file: f, from: max(from, 0), packing: f.packing}
	for _, i := range columns {
		if reason := f.fields[i].kind.unread(); reason != "" {
			r.err = malformed("column %s has a type that is not read: %s", f.fields[i].name, reason)
		}
		r.columns = append(r.columns, column{field: f.fields[i]})
	}
	return r
}
