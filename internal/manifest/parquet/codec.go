package parquet

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"stevedore/internal/manifest/orc/lz4"
)

// codec is a CompressionCodec, with the numbers of the format.
type codec int64

const (
	uncompressed codec = 0
	codecSnappy  codec = 1
	codecGzip    codec = 2
	codecZstd    codec = 6
	codecLZ4     codec = 7 // LZ4_RAW; the older LZ4 has a framing that nobody specified
)

// String returns the name of a codec that is not read.
func (c codec) String() string {
	switch c {
	case 3:
		return "LZO"
	case 4:
		return "Brotli"
	case 5:
		return "LZ4 (Hadoop)"
	default:
		return fmt.Sprint(int64(c))
	}
}

// codecs are the decompressors that keep state, made when first needed.
type codecs struct {
	gzip *gzip.Reader
	zstd *zstd.Decoder
}

// close ends the decompressors.
func (c *codecs) close() {
	if c.zstd != nil {
		c.zstd.Close()
		c.zstd = nil
	}
}

// decode returns the size bytes that src has been compressed from, in the memory of dst if they fit.
func (c *codecs) decode(with codec, dst, src []byte, size int) ([]byte, error) {
	var err error
	switch with {
	case codecSnappy:
		// At its best Snappy makes 3 bytes out of 64.
		if n, bad := snappy.DecodedLen(src); bad != nil || n != size || size > 32*len(src) {
			return dst, errPacked(nil)
		}
		dst, err = snappy.Decode(grow(dst, size), src)
	case codecGzip:
		dst, err = c.gunzip(dst, src, size)
	case codecZstd:
		// At its best zstd makes a block of 128 KiB out of 4 bytes.
		if size>>15 > len(src) {
			return dst, errPacked(nil)
		}
		if c.zstd == nil {
			c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return dst, fmt.Errorf("start zstd: %w", err)
			}
		}
		dst, err = c.zstd.DecodeAll(src, grow(dst, size)[:0])
	case codecLZ4:
		dst, err = lz4.Decode(dst[:0], src, size)
	default:
		return dst, malformed("compressed with %s, which is not read", with)
	}
	if err != nil || len(dst) != size {
		return dst[:0], errPacked(err)
	}
	return dst, nil
}

// gunzip reads at most size bytes, and memory for no more than there are.
func (c *codecs) gunzip(dst, src []byte, size int) ([]byte, error) {
	in := bytes.NewReader(src)
	if c.gzip == nil {
		c.gzip = new(gzip.Reader)
	}
	if err := c.gzip.Reset(in); err != nil {
		return dst, err
	}
	out := bytes.NewBuffer(dst[:0])
	_, err := io.Copy(out, io.LimitReader(c.gzip, int64(size)+1))
	return out.Bytes(), err
}

func errPacked(err error) error {
	if err == nil {
		return malformed("damaged page: it does not decompress to its size")
	}
	return malformed("damaged page: decompress: %v", err)
}
