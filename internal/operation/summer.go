package operation

import (
	"errors"
	"hash"
	"io"
	"sync"

	"stevedore/internal/job"
)

// blockBytes is how much of an object is in memory: once, or twice where it is read
// ahead. Blocks are still in a core's cache when they are summed up.
const blockBytes = 256 << 10

// summer is what summing up one object takes.
type summer struct {
	hash  hash.Hash // of the object, or of a part
	outer hash.Hash // of the parts' checksums
	buf   []byte
	spare []byte // nil until there was a need to read ahead
	sum   []byte
	ahead bool // read a block while the one before it is summed up
}

// slow reports whether an algorithm takes longer than a connection of 10 Gbit/s
// takes to bring what it sums up.
func slow(a job.ChecksumAlgorithm) bool {
	switch a {
	case "MD5", "SHA1", "SHA256", "SHA512":
		return true
	default:
		return false
	}
}

// read sums up size bytes of r.
func (w *summer) read(r io.Reader, size int64) error {
	if w.ahead && size > blockBytes {
		return w.readAhead(r, size)
	}
	for size > 0 {
		n, err := r.Read(w.buf[:min(int64(len(w.buf)), size)])
		w.hash.Write(w.buf[:n])
		if size -= int64(n); err != nil && size > 0 {
			return cutShort(err)
		}
	}
	return nil
}

// readAhead is read with two blocks, one being filled while the other is summed up.
func (w *summer) readAhead(r io.Reader, size int64) error {
	if w.spare == nil {
		w.spare = make([]byte, blockBytes)
	}
	full, empty := make(chan []byte, 1), make(chan []byte, 2)
	empty <- w.buf
	empty <- w.spare
	var summing sync.WaitGroup
	summing.Go(func() {
		for block := range full {
			w.hash.Write(block)
			empty <- block[:cap(block)]
		}
	})
	defer summing.Wait()
	defer close(full)
	for size > 0 {
		block := <-empty
		n, err := io.ReadFull(r, block[:min(int64(len(block)), size)])
		if err != nil {
			return cutShort(err)
		}
		full <- block[:n]
		size -= int64(n)
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
