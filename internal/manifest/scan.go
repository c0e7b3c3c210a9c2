package manifest

import (
	"encoding/binary"
	"math/bits"
)

// Eight bytes in one word: each holds the byte it is multiplied with.
const (
	each = 0x0101010101010101
	high = 0x80 * each
	low7 = 0x7f * each
)

// marks says what kinds of bytes a line has, and so how much work it needs.
type marks struct {
	odd     bool // spaces, control characters, DEL, or bytes beyond ASCII
	wide    bool // bytes beyond ASCII; if so the others and the commas are not to be trusted
	escapes bool // % or +
	quotes  int
}

// scan looks at each byte of line once, eight at a time, which is what the rate of the whole reader
// rests on. It writes the index of the nth comma, counted from 1, to ends[n], as far as ends goes,
// and returns the number of commas.
func scan(line []byte, ends []int) (commas int, m marks) {
	last := tail(line, len(line)&^7)
	var wide, odd, escapes uint64
	for at := 0; at < len(line); at += 8 {
		word := last
		if end := at + 8; end <= len(line) {
			word = binary.LittleEndian.Uint64(line[at:end:end])
		}
		// Below, a byte's high bit is what counts. The sums and differences do not carry into the
		// next byte unless odd is set for the one that they come from.
		wide |= word
		odd |= word + each // set if the byte is DEL
		if low := ^(word + (0x7f-',')*each) & high; low == 0 {
			continue // all bytes come after the comma, and so after all that is looked for
		}
		odd |= word - '!'*each // set if the byte is at most ' '
		// Only 0 + 0x7f leaves the bit clear.
		escapes |= ^(((word ^ '%'*each) + low7) & ((word ^ '+'*each) + low7)) // set if the byte is % or +
		m.quotes += bits.OnesCount64(^((word ^ '"'*each) + low7) & high)
		for found := ^((word ^ ','*each) + low7) & high; found != 0; found &= found - 1 {
			if commas++; commas < len(ends) {
				ends[commas] = at + bits.TrailingZeros64(found)/8
			}
		}
	}
	m.wide, m.odd, m.escapes = wide&high != 0, (odd|wide)&high != 0, escapes&high != 0
	return commas, m
}

// tail returns the bytes of line from at on, less than eight or none, filled up with a byte that means nothing.
func tail(line []byte, at int) uint64 {
	n := len(line) - at
	word := uint64('.'*each) << (8 * n)
	if len(line) >= 8 {
		return word | binary.LittleEndian.Uint64(line[len(line)-8:])>>(64-8*n)
	}
	for i, b := range line[at:] {
		word |= uint64(b) << (8 * i)
	}
	return word
}
