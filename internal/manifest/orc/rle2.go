package orc

import "encoding/binary"

// widths has the widths in bits that five bits stand for.
var widths = [32]uint{
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
	26, 28, 30, 32, 40, 48, 56, 64,
}

// roundWidth returns the smallest width of the table that n bits fit into. n is at most 64.
func roundWidth(n uint) uint {
	for _, w := range widths {
		if w >= n {
			return w
		}
	}
	return 64
}

// shortRepeat decodes 3 to 10 times the same number.
func (r *ints) shortRepeat(head byte) (n int, ok bool) {
	b, ok := r.s.take(int(head>>3&7) + 1)
	if !ok {
		return 0, false
	}
	value := r.sign(bigEndian(b))
	n = int(head&7) + 3
	for i := range n {
		r.run[i] = value
	}
	return n, true
}

// length reads the rest of a head of two bytes: the code of the width and the number of integers.
func (r *ints) length(head byte) (code byte, n int, ok bool) {
	low, ok := r.s.byte()
	return head >> 1 & 31, int(head&1)<<8 + int(low) + 1, ok
}

// direct decodes numbers of one width.
func (r *ints) direct(head byte) (n int, ok bool) {
	code, n, ok := r.length(head)
	if !ok || !r.unpack(r.run[:n], widths[code]) {
		return 0, false
	}
	if r.signed {
		for i, v := range r.run[:n] {
			r.run[i] = unzigzag(uint64(v))
		}
	}
	return n, true
}

// patchedBase decodes what numbers are above a base, for most of them in a few bits; a list of
// patches has the higher bits of the others.
func (r *ints) patchedBase(head byte) (n int, ok bool) {
	code, n, ok := r.length(head)
	if !ok {
		return 0, false
	}
	b, ok := r.s.take(2)
	if !ok {
		return 0, false
	}
	baseBytes, patchWidth := int(b[0]>>5)+1, widths[b[0]&31]
	gapWidth, patches := uint(b[1]>>5)+1, int(b[1]&31)
	if patchWidth+gapWidth > 64 {
		return 0, false
	}
	if b, ok = r.s.take(baseBytes); !ok {
		return 0, false
	}
	// The highest bit of the base is its sign, and no more than that.
	sign := uint64(1) << (8*baseBytes - 1)
	base := int64(bigEndian(b) &^ sign)
	if bigEndian(b)&sign != 0 {
		base = -base
	}
	width := widths[code]
	if !r.unpack(r.run[:n], width) {
		return 0, false
	}
	var list [31]int64
	if !r.unpack(list[:patches], roundWidth(patchWidth+gapWidth)) {
		return 0, false
	}
	at := 0
	for _, patch := range list[:patches] {
		// A gap too long for one patch is bridged by patches of nothing.
		at += int(uint64(patch) >> patchWidth & (1<<gapWidth - 1))
		if at >= n {
			return 0, false
		}
		r.run[at] |= int64(uint64(patch) & (1<<patchWidth - 1) << width)
	}
	for i := range r.run[:n] {
		r.run[i] += base
	}
	return n, true
}

// delta decodes numbers that only rise, or only fall.
func (r *ints) delta(head byte) (n int, ok bool) {
	code, n, ok := r.length(head)
	if !ok {
		return 0, false
	}
	value, ok := r.number()
	if !ok {
		return 0, false
	}
	step, ok := r.s.varint()
	if !ok {
		return 0, false
	}
	r.run[0] = value
	if code == 0 { // all steps are alike
		for i := 1; i < n; i++ {
			value += step
			r.run[i] = value
		}
		return n, true
	}
	if n < 2 {
		return n, true
	}
	value += step
	r.run[1] = value
	if !r.unpack(r.run[2:n], widths[code]) {
		return 0, false
	}
	for i, by := range r.run[2:n] {
		if step < 0 {
			by = -by
		}
		value += by
		r.run[2+i] = value
	}
	return n, true
}

// unpack reads numbers of width bits, the highest bit first, up to the end of the last byte.
func (r *ints) unpack(to []int64, width uint) bool {
	b, ok := r.s.take((len(to)*int(width) + 7) / 8)
	if !ok {
		return false
	}
	switch width {
	case 8:
		for i := range to {
			to[i] = int64(b[i])
		}
	case 16:
		for i := range to {
			to[i] = int64(binary.BigEndian.Uint16(b[2*i:]))
		}
	case 32:
		for i := range to {
			to[i] = int64(binary.BigEndian.Uint32(b[4*i:]))
		}
	case 64:
		for i := range to {
			to[i] = int64(binary.BigEndian.Uint64(b[8*i:]))
		}
	default: // at most 56 bits, which with 7 that are left over fit into 63
		var bits uint64
		have := uint(0)
		for i := range to {
			for have < width {
				bits = bits<<8 | uint64(b[0])
				b = b[1:]
				have += 8
			}
			have -= width
			to[i] = int64(bits >> have & (1<<width - 1))
		}
	}
	return true
}

// bigEndian returns the number that at most 8 bytes are.
func bigEndian(b []byte) (v uint64) {
	for _, b := range b {
		v = v<<8 | uint64(b)
	}
	return v
}
