package operation

import (
	"errors"
	"hash"
	"io"
)

// blockBytes is how much of an object is in memory. A block is still in
// a core's cache when it is summed up.
const blockBytes = 256 << 10

// summer is what summing up one object takes.
type summer struct {
	hash  hash.Hash // of the object, or of a part
	outer hash.Hash // of the parts' checksums
	buf   []byte
	sum   []byte
}

// read sums up size bytes of r.
func (w *summer) read(r io.Reader, size int64) error {
	for size > 0 {
		n, err := r.Read(w.buf[:min(int64(len(w.buf)), size)])
		w.hash.Write(w.buf[:n])
		if size -= int64(n); err != nil && size > 0 {
			return cutShort(err)
		}
	}
	return nil
}

// cutShort is err, where more bytes should have come.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
