// Package ranged reads ranges of a file in big pieces: what the columnar readers do of an object in a
// store, where each read is a request.
package ranged

import (
	"fmt"
	"io"
)

// Window is the number of bytes that a Reader reads at once, if there are so many.
const Window = 1 << 20

// Reader reads a range of a file from its start to its end. It is used after [Reader.Open]. A caller
// that uses all of what it peeks copies nothing.
type Reader struct {
	r        io.ReaderAt
	off, end int64 // what is still to be read from r
	buf      []byte
	data     []byte // what has been read and not been used, at the end of buf
}

// Open starts on the range from off to end of r, which must lie in the file. It keeps the memory.
func (r *Reader) Open(from io.ReaderAt, off, end int64) {
	r.r, r.off, r.end, r.data = from, off, end, nil
}

// Left returns the number of bytes not yet used.
func (r *Reader) Left() int64 { return int64(len(r.data)) + r.end - r.off }

// Peek returns the next n bytes, or all that are left if those are fewer, without using them. They are
// valid until the next call. The error is that of [ReadAt].
func (r *Reader) Peek(n int) ([]byte, error) {
	n = int(min(int64(n), r.Left()))
	if n <= len(r.data) {
		return r.data[:n], nil
	}
	size := int(min(int64(max(n, Window)), r.Left()))
	if cap(r.buf) < size {
		r.buf = append(make([]byte, 0, size), r.data...)[:size]
	} else {
		r.buf = r.buf[:size]
		copy(r.buf, r.data)
	}
	kept := len(r.data)
	if err := ReadAt(r.r, r.buf[kept:], r.off); err != nil {
		return nil, err
	}
	r.off += int64(size - kept)
	r.data = r.buf
	return r.data[:n], nil
}

// Use passes over the next n bytes, of which there must be so many. It reads nothing.
func (r *Reader) Use(n int64) {
	if read := int64(len(r.data)); n > read {
		r.off += n - read
		n = read
	}
	r.data = r.data[n:]
}

// ReadAt fills b from offset off of r. A file that ends before that has been cut short:
// [io.ErrUnexpectedEOF].
func ReadAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(b), off, err)
}
