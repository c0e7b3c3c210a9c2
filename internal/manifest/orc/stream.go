package orc

import (
	"encoding/binary"
	"io"

	"stevedore/internal/manifest/orc/ranged"
)

// stream reads the bytes of a stream, a chunk of compression at a time. It keeps its first error.
type stream struct {
	packing *packing
	src     ranged.Reader
	data    []byte // of the current chunk, unread
	buf     []byte // memory for a decompressed chunk
	across  []byte // memory for what lies in more than one chunk
	err     error  // of reading or decompressing; nil if the stream is just at its end
}

// open starts on the stream at e in r.
func (s *stream) open(r io.ReaderAt, e extent) {
	s.src.Open(r, e.off, e.end)
	s.data, s.err = nil, nil
}

// more goes to the next chunk that is not empty. All of the current one must have been read.
func (s *stream) more() bool {
	for s.err == nil && s.src.Left() > 0 {
		if s.data, s.err = s.chunk(); len(s.data) > 0 {
			return true
		}
	}
	s.data = nil
	return false
}

// chunk returns the next chunk. It is valid until the next call.
func (s *stream) chunk() ([]byte, error) {
	if s.packing.kind == packNone {
		b, err := s.src.Peek(ranged.Window)
		s.src.Use(int64(len(b)))
		return b, err
	}
	head, err := s.src.Peek(chunkHead)
	if err != nil {
		return nil, err
	}
	if len(head) < chunkHead {
		return nil, errPacked(nil)
	}
	length, original := readChunkHead(head)
	s.src.Use(chunkHead)
	if int64(length) > s.src.Left() {
		return nil, errPacked(nil)
	}
	b, err := s.src.Peek(length)
	if err != nil {
		return nil, err
	}
	s.src.Use(int64(length))
	if original {
		return b, nil
	}
	s.buf, err = s.packing.decode(s.buf, b)
	return s.buf, err
}

// byte reads a byte.
func (s *stream) byte() (byte, bool) {
	if len(s.data) == 0 && !s.more() {
		return 0, false
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b, true
}

// take reads n bytes, which are valid until the next call. n must be in bounds.
func (s *stream) take(n int) ([]byte, bool) {
	if n <= len(s.data) {
		b := s.data[:n:n]
		s.data = s.data[n:]
		if b == nil {
			b = []byte{} // an empty string is not null
		}
		return b, true
	}
	s.across = s.across[:0]
	for len(s.across) < n {
		if len(s.data) == 0 && !s.more() {
			return nil, false
		}
		part := min(n-len(s.across), len(s.data))
		s.across = append(s.across, s.data[:part]...)
		s.data = s.data[part:]
	}
	return s.across, true
}

// skip passes over n bytes.
func (s *stream) skip(n int64) bool {
	for n > int64(len(s.data)) {
		n -= int64(len(s.data))
		s.data = nil
		if s.packing.kind == packNone && n <= s.src.Left() {
			s.src.Use(n)
			return true
		}
		if !s.more() {
			return false
		}
	}
	s.data = s.data[n:]
	return true
}

// uvarint reads a number in base 128.
func (s *stream) uvarint() (uint64, bool) {
	if len(s.data) >= binary.MaxVarintLen64 {
		v, n := binary.Uvarint(s.data)
		if n <= 0 {
			return 0, false
		}
		s.data = s.data[n:]
		return v, true
	}
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b, ok := s.byte()
		if !ok {
			return 0, false
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, true
		}
	}
	return 0, false
}

// varint reads a number with a sign.
func (s *stream) varint() (int64, bool) {
	v, ok := s.uvarint()
	return unzigzag(v), ok
}

// unzigzag returns the number whose sign has been put into its lowest bit.
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
