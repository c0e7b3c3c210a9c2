// Package parquet reads the rows of a Parquet file as text, and writes such files: the form in which
// an inventory may list its objects.
//
//	tail ──▶ File (columns, row groups) ──▶ Reader: one column chunk after another
//	                                          └ page ──▶ decompressed ──▶ cells
//
// It reads flat columns of strings, numbers, booleans, dates and timestamps in every encoding of the
// format, compressed with Snappy, gzip, zstd or LZ4 or not at all; other columns may be in the file as
// long as nobody asks for them. The reader is our own and not the library's that writes: a file comes
// from anywhere, and every size in it is compared with what is really there before memory is taken
// for it.
//
// The format is that of https://parquet.apache.org/docs/file-format/.
package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	window    = 1 << 20  // bytes read at once
	maxFooter = 16 << 20 // bytes of the metadata of a file
	maxPage   = 64 << 20 // bytes of a page, compressed or not; writers make them of about 1 MiB

	maxColumns = 10_000 // and what lies in them
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

// File is an opened Parquet file. Any number of goroutines may read from it.
type File struct {
	r      io.ReaderAt
	size   int64
	fields []field
	groups []group
	rows   int64
}

// Open reads the metadata of the file of size bytes that r yields. The error is a [*FormatError] if
// the content is at fault.
func Open(r io.ReaderAt, size int64) (*File, error) {
	const trailer = 8 // the length of the metadata and the magic
	if size < trailer+4 {
		return nil, malformed("not a Parquet file: only %d bytes", size)
	}
	tail := make([]byte, min(size, 256<<10))
	if err := readAt(r, tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	switch magic := string(tail[len(tail)-4:]); magic {
	case "PAR1":
	case "PARE":
		return nil, malformed("the Parquet file is encrypted")
	default:
		return nil, malformed("not a Parquet file: it ends with %q, not with PAR1", magic)
	}
	length := int64(binary.LittleEndian.Uint32(tail[len(tail)-trailer:]))
	if length > size-trailer-4 || length > maxFooter {
		return nil, malformed("damaged Parquet file: metadata of %d bytes in a file of %d", length, size)
	}
	if length > int64(len(tail)-trailer) {
		tail = make([]byte, length+trailer)
		if err := readAt(r, tail, size-int64(len(tail))); err != nil {
			return nil, err
		}
	}
	f := &File{r: r, size: size}
	return f, f.readFooter(tail[int64(len(tail)-trailer)-length : len(tail)-trailer])
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
// indexes into [File.Columns]; only those columns are read. Row groups and pages before the row are
// passed over without decoding them.
func (f *File) Read(columns []int, from int64) *Reader {
	r := &Reader{file: f, from: max(from, 0)}
	for _, i := range columns {
		if reason := f.fields[i].unread; reason != "" {
			r.err = malformed("column %s %s", f.fields[i].name, reason)
		}
		r.columns = append(r.columns, column{field: f.fields[i], src: source{r: f.r}, codecs: &r.codecs})
	}
	return r
}

// Reader reads rows as text. It is not safe for concurrent use.
type Reader struct {
	file    *File
	columns []column
	codecs  codecs
	group   int   // index of the row group after the current one
	from    int64 // rows to pass over, counted from the start of that row group
	left    int64 // rows of the current row group not yet returned
	err     error
}

// Next reads one row into cells, which has a place for each column asked for: text as it is in the
// file, numbers in decimal, booleans as true and false, timestamps as RFC 3339 with milliseconds in
// UTC (dates without a time), nil for null. Cells are valid until the next call. Next returns false
// at the end and at the first error.
func (r *Reader) Next(cells [][]byte) bool {
	for r.left == 0 {
		if !r.nextGroup() {
			return false
		}
	}
	r.left--
	for i := range r.columns {
		cell, err := r.columns[i].next()
		if err != nil {
			r.fail(i, err)
			return false
		}
		cells[i] = cell
	}
	return true
}

// nextGroup enters the next row group that has rows to return. It reports whether there is one.
func (r *Reader) nextGroup() bool {
	if r.err != nil {
		return false
	}
	for r.group < len(r.file.groups) {
		g := &r.file.groups[r.group]
		r.group++
		if r.from >= g.rows {
			r.from -= g.rows
			continue
		}
		for i := range r.columns {
			c := &r.columns[i]
			c.open(g.chunks[c.field.leaf])
			if err := c.skip(r.from); err != nil {
				r.fail(i, err)
				return false
			}
		}
		r.left, r.from = g.rows-r.from, 0
		return true
	}
	return false
}

// fail keeps the error that column i ended with.
func (r *Reader) fail(i int, err error) {
	r.left = 0
	name := r.columns[i].field.name
	if bad, ok := errors.AsType[*FormatError](err); ok {
		r.err = malformed("column %s, row group %d: %s", name, r.group, bad.Detail)
		return
	}
	r.err = fmt.Errorf("column %s, row group %d: %w", name, r.group, err)
}

// Err returns the error that ended the rows, nil if it was the end of the file.
func (r *Reader) Err() error { return r.err }

// Close gives back the memory of the reader, which returns no more rows. It always returns nil.
func (r *Reader) Close() error {
	r.group, r.left = len(r.file.groups), 0
	r.columns = nil
	r.codecs.close()
	return nil
}

// readAt fills b from offset off of r.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(b), off, err)
}

// source reads the bytes of a column chunk in order, a window at a time.
type source struct {
	r        io.ReaderAt
	off, end int64 // what is still to be read from r
	buf      []byte
	data     []byte // what has been read and not been used, at the end of buf
}

// open starts at off. It keeps the buffer.
func (s *source) open(off, end int64) {
	s.off, s.end, s.data = off, end, nil
}

// left returns the number of bytes not yet used.
func (s *source) left() int64 { return int64(len(s.data)) + s.end - s.off }

// peek returns the next n bytes, or all that are left if those are fewer, without using them. They
// are valid until the next call.
func (s *source) peek(n int) ([]byte, error) {
	n = int(min(int64(n), s.left()))
	if n <= len(s.data) {
		return s.data[:n], nil
	}
	size := int(min(max(int64(n), window), s.left()))
	if cap(s.buf) < size {
		s.buf = make([]byte, size)
	}
	s.buf = s.buf[:size]
	kept := copy(s.buf, s.data)
	if err := readAt(s.r, s.buf[kept:], s.off); err != nil {
		return nil, err
	}
	s.off += int64(size - kept)
	s.data = s.buf
	return s.data[:n], nil
}

// use passes over n bytes.
func (s *source) use(n int) {
	if n > len(s.data) {
		s.off += int64(n - len(s.data))
		n = len(s.data)
	}
	s.data = s.data[n:]
}

// grow returns a slice of n bytes in the memory of b, if that is enough.
func grow(b []byte, n int) []byte {
	return slices.Grow(b[:0], n)[:n]
}
