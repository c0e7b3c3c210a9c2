package orc

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"stevedore/internal/manifest/orc/lz4"
)

// The kinds of compression, with the numbers of the format.
const (
	packNone   = 0
	packZlib   = 1
	packSnappy = 2
	packLZO    = 3
	packLZ4    = 4
	packZstd   = 5
)

// packing is how a file is compressed. Its decompressors keep state, made when first needed, so that
// each reader has its own.
type packing struct {
	kind  uint64
	chunk uint64 // bytes that a chunk decompresses to at most

	flate io.ReadCloser
	zstd  *zstd.Decoder
}

// check says why the file cannot be decompressed.
func (p *packing) check() error {
	switch {
	case p.kind == packLZO:
		return malformed("the ORC file is compressed with LZO, which is not read")
	case p.kind > packZstd:
		return malformed("the ORC file is compressed with method %d, which is not read", p.kind)
	case p.kind != packNone && (p.chunk == 0 || p.chunk > maxChunk):
		return malformed("damaged ORC file: chunks of %d bytes", p.chunk)
	}
	return nil
}

// close ends the decompressors.
func (p *packing) close() {
	if p.zstd != nil {
		p.zstd.Close()
		p.zstd = nil
	}
}

// chunkHead is the number of bytes before each chunk.
const chunkHead = 3

// readChunkHead reads what stands before a chunk: its length, and whether it has been left as it was.
func readChunkHead(b []byte) (length int, original bool) {
	head := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	return head >> 1, head&1 == 1
}

// all returns what b, the metadata of a file or a stripe, has been compressed from.
func (p *packing) all(b []byte) ([]byte, error) {
	if p.kind == packNone {
		return b, nil
	}
	var out, buf []byte
	for len(b) > 0 {
		if len(b) < chunkHead {
			return nil, errPacked(nil)
		}
		length, original := readChunkHead(b)
		b = b[chunkHead:]
		if length > len(b) {
			return nil, errPacked(nil)
		}
		chunk := b[:length]
		b = b[length:]
		if !original {
			var err error
			if buf, err = p.decode(buf, chunk); err != nil {
				return nil, err
			}
			chunk = buf
		}
		if len(out)+len(chunk) > maxFooter {
			return nil, malformed("damaged ORC file: metadata of more than %d bytes", maxFooter)
		}
		out = append(out, chunk...)
	}
	return out, nil
}

// decode returns what the chunk src has been compressed from, in the memory of dst if it fits. It
// takes memory for no more than there is.
func (p *packing) decode(dst, src []byte) ([]byte, error) {
	dst = dst[:0]
	var err error
	switch p.kind {
	case packZlib:
		dst, err = p.inflate(dst, src)
	case packSnappy:
		// At its best Snappy makes 3 bytes out of 64.
		n, bad := snappy.DecodedLen(src)
		if bad != nil || uint64(n) > p.chunk || n > 32*len(src) {
			return dst, errPacked(bad)
		}
		if cap(dst) < n {
			dst = make([]byte, n)
		}
		dst, err = snappy.Decode(dst[:n], src)
	case packLZ4:
		dst, err = lz4.Decode(dst, src, int(p.chunk))
	case packZstd:
		if p.zstd == nil {
			p.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunk), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return dst, fmt.Errorf("start zstd: %w", err)
			}
		}
		// At its best zstd makes a block of 128 KiB out of 4 bytes.
		if most := min(int(p.chunk), len(src)<<15); cap(dst) < most {
			dst = make([]byte, 0, most)
		}
		dst, err = p.zstd.DecodeAll(src, dst)
	}
	if err != nil || uint64(len(dst)) > p.chunk {
		return dst[:0], errPacked(err)
	}
	return dst, nil
}

// inflate decompresses src, which is deflated without the frame of zlib.
func (p *packing) inflate(dst, src []byte) ([]byte, error) {
	in := bytes.NewReader(src)
	if again, ok := p.flate.(flate.Resetter); !ok {
		p.flate = flate.NewReader(in)
	} else if err := again.Reset(in, nil); err != nil {
		return dst, err
	}
	if cap(dst) == 0 {
		dst = make([]byte, 0, min(4*len(src)+512, int(p.chunk)+1))
	}
	for {
		n, err := p.flate.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		case uint64(len(dst)) > p.chunk:
			return dst, nil // the caller refuses it
		case len(dst) == cap(dst):
			dst = append(make([]byte, 0, min(2*cap(dst), int(p.chunk)+1)), dst...)
		}
	}
}

func errPacked(err error) error {
	if err == nil {
		return malformed("damaged ORC file: a chunk does not decompress to what it should")
	}
	return malformed("damaged ORC file: decompress: %v", err)
}
