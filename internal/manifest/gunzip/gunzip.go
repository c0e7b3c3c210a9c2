// Package gunzip reads gzip data fast, and from the middle.
//
//	file ─▶ Reader ─▶ text        from the start: NewReader
//	          │  ▲
//	          ▼  │                from the middle: Resume
//	         Point  ◀─▶ Index     what has to be known to start there
//
// A chunk of a job lies somewhere in a data file of an inventory, and the runner that claims it
// should not have to decompress all that is before it. Gzip has no places to enter at; but a Reader
// that has once passed the end of a deflate block can write down the few things one would have to
// know there: the place to the bit, the last 32 KiB of text and the checksum so far. That is a
// [Point], an [Index] keeps as many as its memory allows, and who finds none there begins at the
// start of the file: correct, only slower.
//
// The format is RFC 1952 with RFC 1951. What counts as corrupt is what zlib refuses.
package gunzip

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	inSize   = 256 << 10
	outLimit = window + 128<<10
)

// stage is what comes next in the input.
type stage uint8

const (
	atMember stage = iota // the header of a member, or the end of the file
	atPoint               // the first byte of a Reader that resumes
	atBlock               // the head of a block
	inStored              // content of a stored block
	inCodes               // content of a block of codes
	atTrailer
)

// Error says that the data is not what it should be.
type Error struct {
	In     int64  // byte of the compressed file at which that was noticed
	Reason string // as zlib puts it, where zlib knows the error
}

// Error returns the reason and the place.
func (e *Error) Error() string { return fmt.Sprintf("gzip data: byte %d: %s", e.In, e.Reason) }

// Reader decompresses one gzip file: one member or several, one behind the other. It checks the
// CRC-32 and the length of each. Zero bytes behind the last member are padding, as they are for
// gzip(1); anything else there is an error, while gzip(1) warns of it.
//
// A Reader takes about 450 KiB of memory, whatever it reads, and reads ahead of what it hands out.
// It must not be used by several goroutines at once.
type Reader struct {
	src    io.Reader
	srcErr error // what src ended with
	err    error // what Read ends with, once all bytes before it are handed out
	stage  stage
	final  bool // the block is the last one of its member
	left   int  // bytes of the stored block still to come
	skip   uint // bits of the first byte that belong to the block before the point

	// Input: in[pos:end] is read but not used, except for n bits that are in hold, the next bit lowest.
	hold     uint64
	n        uint
	pos, end int
	base     int64 // place of in[0] in the file

	// Output: out[rd:wr] is to be handed out, out[:rd] is history. The member began at start, or
	// before if that is 0; its bytes up to summed are in crc and size.
	rd, wr  int
	start   int
	summed  int
	crc     uint32
	size    uint32 // modulo 2^32, as in the trailer
	outBase int64  // place of out[0] in the text

	every int64
	slot  int64 // the last multiple of every that has its point
	keep  func(Point)

	isFixed bool // lits and dists are those of fixed blocks
	lits    [litSize]entry
	dists   [distSize]entry
	in      [inSize]byte
	out     [outLimit + slack]byte
}

// NewReader returns a Reader of the gzip file r.
func NewReader(r io.Reader) *Reader { return &Reader{src: r} }

// Offset returns the place in the text, the uncompressed file, of the byte that Read returns next.
func (z *Reader) Offset() int64 { return z.outBase + int64(z.rd) }

// Read fills p with text. It may read on in the file before it returns what it has.
//
// Its error is an [*Error] if the data is corrupt, wraps [io.ErrUnexpectedEOF] if the file ends too
// early, and is the one of the underlying reader, as it is, if that has failed. The bytes before an
// error are good as far as one can tell: the checksum of a member comes at its end.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := z.fill(); err != nil {
		return 0, err
	}
	n := copy(p, z.out[z.rd:z.wr])
	z.rd += n
	return n, nil
}

// Discard skips n bytes of text, which it decompresses but does not copy. If the text has less, it
// returns io.EOF; other errors are those of Read.
func (z *Reader) Discard(n int64) error {
	for n > 0 {
		if err := z.fill(); err != nil {
			return err
		}
		skip := min(n, int64(z.wr-z.rd))
		z.rd += int(skip)
		n -= skip
	}
	return nil
}

// fill returns nil as soon as there is something to hand out.
func (z *Reader) fill() error {
	for z.rd == z.wr {
		if z.err != nil {
			return z.err
		}
		if z.wr >= outLimit {
			z.slide()
		}
		for z.err == nil && z.wr < outLimit {
			z.step()
		}
		z.sum()
	}
	return nil
}

// slide makes room for output by moving the history that distances can reach to the front.
func (z *Reader) slide() {
	shift := z.wr - window
	copy(z.out[:window], z.out[shift:z.wr])
	z.outBase += int64(shift)
	z.start = max(0, z.start-shift)
	z.rd, z.wr, z.summed = window, window, window
}

// step goes on with what comes next. If it neither writes nor gets to another stage, err is set.
func (z *Reader) step() {
	switch z.stage {
	case atMember:
		z.member()
	case atPoint:
		if z.need(z.skip) {
			z.take(z.skip)
			z.stage = atBlock
		}
	case atBlock:
		z.mark()
		z.block()
	case inStored:
		z.raw()
	case inCodes:
		z.codes()
	case atTrailer:
		z.trailer()
	}
}

// Flags of a member (RFC 1952, 2.3.1). FTEXT, bit 0, means nothing to us.
const (
	flagCRC      = 1 << 1
	flagExtra    = 1 << 2
	flagName     = 1 << 3
	flagComment  = 1 << 4
	flagReserved = 0xe0
)

// member reads the header of a member, of which nothing matters but where it ends.
func (z *Reader) member() {
	z.align()
	if z.pos == z.end && !z.load() && z.base+int64(z.pos) > 0 && errors.Is(z.srcErr, io.EOF) {
		z.err = io.EOF
		return
	}
	begin := z.base + int64(z.pos)
	h := header{z: z}
	first := h.byte()
	if first == 0 && begin > 0 && z.err == nil {
		z.padding()
		return
	}
	if z.err == nil && (first != 0x1f || h.byte() != 0x8b) && z.err == nil {
		reason := "not in gzip format"
		if begin > 0 {
			reason = "garbage after the end of the gzip data"
		}
		z.err = &Error{In: begin, Reason: reason}
		return
	}
	if h.byte() != 8 && z.err == nil {
		z.corrupt("unknown compression method")
		return
	}
	flags := h.byte()
	if flags&flagReserved != 0 {
		z.corrupt("unknown header flags set")
		return
	}
	h.skip(6) // time, level, system
	if flags&flagExtra != 0 {
		low := int(h.byte())
		h.skip(low | int(h.byte())<<8)
	}
	if flags&flagName != 0 {
		h.text()
	}
	if flags&flagComment != 0 {
		h.text()
	}
	if sum := uint16(h.crc); flags&flagCRC != 0 {
		if low := uint16(h.byte()); low|uint16(h.byte())<<8 != sum {
			z.corrupt("header crc mismatch")
			return
		}
	}
	z.start, z.summed = z.wr, z.wr
	z.crc, z.size = 0, 0
	z.stage = atBlock
}

// padding reads zeros to the end of the file.
func (z *Reader) padding() {
	for z.pos < z.end || z.load() {
		if z.in[z.pos] != 0 {
			z.corrupt("garbage after the end of the gzip data")
			return
		}
		z.pos++
	}
	z.err = z.srcErr
}

// header reads the bytes of a member's header. After an error, which is the Reader's, it reads zeros.
type header struct {
	z   *Reader
	crc uint32
}

func (h *header) byte() byte {
	z := h.z
	if z.err != nil {
		return 0
	}
	if z.pos == z.end && !z.load() {
		z.cutOff()
		return 0
	}
	h.crc = crc32.Update(h.crc, crc32.IEEETable, z.in[z.pos:z.pos+1])
	z.pos++
	return z.in[z.pos-1]
}

func (h *header) skip(n int) {
	for range n {
		h.byte()
	}
}

// text skips bytes up to a zero.
func (h *header) text() {
	for h.byte() != 0 {
	}
}

// trailer compares a member with its checksum and length.
func (z *Reader) trailer() {
	z.align()
	z.sum()
	if !z.need(32) {
		return
	}
	if uint32(z.take(32)) != z.crc {
		z.corrupt("incorrect data check")
		return
	}
	if !z.need(32) {
		return
	}
	if uint32(z.take(32)) != z.size {
		z.corrupt("incorrect length check")
		return
	}
	z.stage = atMember
}

// sum adds the output that is not in them yet to checksum and length.
func (z *Reader) sum() {
	fresh := z.out[z.summed:z.wr]
	z.crc = crc32.Update(z.crc, crc32.IEEETable, fresh)
	z.size += uint32(len(fresh))
	z.summed = z.wr
}

// load reads more input, enough for the fast loop if there is as much. It returns false, and sets
// srcErr, if there is none. The buffer must be nearly empty.
func (z *Reader) load() bool {
	if z.srcErr != nil {
		return false
	}
	z.unread()
	z.base += int64(z.pos)
	z.end = copy(z.in[:], z.in[z.pos:z.end])
	z.pos = 0
	had, idle := z.end, 0
	for z.end < 4*margin && z.srcErr == nil {
		var n int
		n, z.srcErr = z.src.Read(z.in[z.end:])
		z.end += n
		if idle++; n > 0 {
			idle = 0
		}
		if idle == 100 && z.srcErr == nil {
			z.srcErr = io.ErrNoProgress
		}
	}
	return z.end > had
}

// corrupt ends the reading where it is.
func (z *Reader) corrupt(reason string) {
	at, _ := z.where()
	z.err = &Error{In: at, Reason: reason}
}

// cutOff ends the reading because the input has ended in the middle of something.
func (z *Reader) cutOff() {
	z.err = z.srcErr
	if errors.Is(z.srcErr, io.EOF) {
		z.err = fmt.Errorf("gzip data: cut off at byte %d: %w", z.base+int64(z.end), io.ErrUnexpectedEOF)
	}
}
