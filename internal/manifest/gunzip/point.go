package gunzip

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

// Point is a place in a gzip file, between two deflate blocks, and all that has to be known to read
// on from there. The zero Point is the start of the file. A Point never changes.
type Point struct {
	In  int64 // place of the byte in the compressed file that Resume begins with
	Out int64 // place in the text, the uncompressed file, of the first byte it then returns

	used    uint8  // bits of the byte at In, from the lowest, that belong to the block before
	crc     uint32 // checksum and length of the member up to here
	size    uint32
	history []byte // the text before Out that distances can reach, at most 32 KiB, as deflate data
}

// Size returns about how many bytes of memory the point takes: 64, and for the text before it, which is
// kept compressed, a third or so of 32 KiB.
func (p Point) Size() int64 { return int64(cap(p.history)) + 64 }

// Resume returns a Reader that goes on from a point of the file: r must begin with the byte p.In of
// it. The Reader checks the member it enters to its end, by the point's checksum of what came
// before; that this was the same file is for the caller to make sure, by its ETag.
func Resume(r io.Reader, p Point) *Reader {
	z := &Reader{src: r}
	if p.In == 0 {
		return z
	}
	if len(p.history) > 0 {
		// The Reader reads the history first, so that it is where distances find it.
		z.src, z.stage = bytes.NewReader(p.history), atBlock
		for z.stage != atTrailer && z.err == nil {
			z.step()
		}
	}
	z.src, z.srcErr = r, nil
	z.hold, z.n, z.pos, z.end = 0, 0, 0, 0
	z.base = p.In
	z.rd, z.summed = z.wr, z.wr
	z.outBase = p.Out - int64(z.wr)
	z.crc, z.size = p.crc, p.size
	z.stage, z.skip = atPoint, uint(p.used)
	return z
}

// Mark makes the Reader call keep with points while it reads: one at the first end of a block behind
// every multiple of every bytes of text, so that all readers of a file come to the same points,
// wherever they started. A file of one huge block has none. It must be called before Read.
//
// A point costs about as much time as reading 150 KiB; every should be some MiB.
func (z *Reader) Mark(every int64, keep func(Point)) {
	z.every, z.keep = max(every, 1), keep
	z.slot = z.Offset() / z.every
}

// mark makes a point of the end of a block, or the beginning of a member, if one is due.
func (z *Reader) mark() {
	if z.keep == nil {
		return
	}
	out := z.outBase + int64(z.wr)
	if out/z.every == z.slot {
		return
	}
	z.slot = out / z.every
	z.sum()
	p := Point{Out: out, crc: z.crc, size: z.size}
	p.In, p.used = z.where()
	if text := z.out[max(z.start, z.wr-window):z.wr]; len(text) > 0 {
		var packed bytes.Buffer
		if err := flate.StatelessDeflate(&packed, text, true, nil); err != nil {
			return // a buffer does not fail
		}
		p.history = bytes.Clone(packed.Bytes())
	}
	z.keep(p)
}
