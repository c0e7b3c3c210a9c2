package gunzip

import (
	"encoding/binary"
)

const (
	window = 32 << 10 // how far back a distance may reach

	// The fast loop writes whole words, and looks at its bounds once for several symbols: it stops
	// before the last slack bytes of the output and the last margin bytes of the input.
	slack  = 320 // 3 x 2 literals, a match of 258, 16 bytes too many
	margin = 16  // two refills
)

// block reads the head of a block and prepares what decodes its content.
func (z *Reader) block() {
	if !z.need(3) {
		return
	}
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.stored()
	case 1:
		z.fixed()
	case 2:
		z.dynamic()
	default:
		z.corrupt("invalid block type")
	}
}

// stored reads the length of a stored block (RFC 1951, 3.2.4).
func (z *Reader) stored() {
	z.align()
	if !z.need(32) {
		return
	}
	size, inverted := z.take(16), z.take(16)
	if size != ^inverted&0xffff {
		z.corrupt("invalid length of a stored block")
		return
	}
	z.align()
	z.left = int(size)
	z.stage = inStored
}

// raw copies content of a stored block.
func (z *Reader) raw() {
	for z.left > 0 && z.wr < outLimit {
		if z.pos == z.end && !z.load() {
			z.cutOff()
			return
		}
		n := min(z.left, z.end-z.pos, outLimit-z.wr)
		copy(z.out[z.wr:z.wr+n], z.in[z.pos:z.end])
		z.pos += n
		z.wr += n
		z.left -= n
	}
	if z.left == 0 {
		z.endBlock()
	}
}

// fixed sets up the codes that need no description (RFC 1951, 3.2.6).
func (z *Reader) fixed() {
	z.stage = inCodes
	if z.isFixed {
		return
	}
	var lens [len(litSymbols)]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	build(z.lits[:], litRoot, lens[:], litSymbols[:], false)
	for i := range distSymbols {
		lens[i] = 5
	}
	build(z.dists[:], distRoot, lens[:len(distSymbols)], distSymbols[:], false)
	pair(&z.lits)
	z.isFixed = true
}

// dynamic reads the codes of a block (RFC 1951, 3.2.7).
func (z *Reader) dynamic() {
	if !z.need(14) {
		return
	}
	lits, dists, pres := int(z.take(5))+257, int(z.take(5))+1, int(z.take(4))+4
	if lits > maxLits || dists > maxDists {
		z.corrupt("too many length or distance symbols")
		return
	}
	var pre [maxPres]uint8
	for i, symbol := range [maxPres]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} {
		if i == pres {
			break
		}
		if !z.need(3) {
			return
		}
		pre[symbol] = uint8(z.take(3))
	}
	z.isFixed = false
	table := z.dists[:1<<preRoot] // free until the lengths are known
	if !build(table, preRoot, pre[:], preSymbols[:], false) {
		z.corrupt("invalid code lengths set")
		return
	}

	var lens [maxLits + maxDists]uint8
	for i := 0; i < lits+dists; {
		if !z.need(preRoot) { // the end of the block alone has as many bits, with the trailer
			return
		}
		e := table[z.hold&(1<<preRoot-1)]
		z.take(uint(e & dropMask))
		symbol := uint8(e >> 16)
		if symbol < 16 {
			lens[i] = symbol
			i++
			continue
		}
		var (
			value  uint8
			repeat int
			extra  = [3]uint{2, 3, 7}[symbol-16]
		)
		if !z.need(extra) {
			return
		}
		switch symbol {
		case 16:
			if i == 0 {
				z.corrupt("invalid bit length repeat")
				return
			}
			value, repeat = lens[i-1], 3
		case 17:
			repeat = 3
		case 18:
			repeat = 11
		}
		repeat += int(z.take(extra))
		if i+repeat > lits+dists {
			z.corrupt("invalid bit length repeat")
			return
		}
		for range repeat {
			lens[i] = value
			i++
		}
	}
	switch {
	case lens[endOfBlock] == 0:
		z.corrupt("missing end-of-block")
	case !build(z.lits[:], litRoot, lens[:lits], litSymbols[:], true):
		z.corrupt("invalid literal/lengths set")
	case !build(z.dists[:], distRoot, lens[lits:lits+dists], distSymbols[:], true):
		z.corrupt("invalid distances set")
	default:
		pair(&z.lits)
		z.stage = inCodes
	}
}

// codes decodes content of a block until its end, a full buffer or an error.
func (z *Reader) codes() {
	for z.stage == inCodes && z.err == nil && z.wr < outLimit {
		if z.end-z.pos < margin {
			z.load()
		}
		if z.end-z.pos >= margin {
			z.fast()
		} else {
			z.careful()
		}
	}
}

// fast decodes symbols as long as input and output are far from their ends. What makes it so is that
// nothing is checked or refilled more often than need be, and that all it works on are local
// variables and arrays of one struct.
func (z *Reader) fast() {
	var (
		hold, n  = z.hold, z.n
		pos, wr  = z.pos, z.wr
		inLimit  = z.end - margin
		problem  string
		finished bool
	)
	for pos <= inLimit && wr < outLimit {
		// A refill leaves at least 56 bits. Bits of hold above n are those of in[pos:] already.
		hold |= binary.LittleEndian.Uint64(z.in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56

		// Up to three entries of literals take 33 bits at most; a length then needs no more than 20.
		e := z.lits[hold&(1<<litRoot-1)]
		if e&literal != 0 {
			binary.LittleEndian.PutUint16(z.out[wr:], uint16(e>>16))
			wr += int(e >> 8 & 3)
			hold >>= e & dropMask
			n -= uint(e & dropMask)
			e = z.lits[hold&(1<<litRoot-1)]
			if e&literal != 0 {
				binary.LittleEndian.PutUint16(z.out[wr:], uint16(e>>16))
				wr += int(e >> 8 & 3)
				hold >>= e & dropMask
				n -= uint(e & dropMask)
				e = z.lits[hold&(1<<litRoot-1)]
				if e&literal != 0 {
					binary.LittleEndian.PutUint16(z.out[wr:], uint16(e>>16))
					wr += int(e >> 8 & 3)
					hold >>= e & dropMask
					n -= uint(e & dropMask)
					continue
				}
			}
		}
		if e&special != 0 {
			if e&link != 0 {
				hold >>= litRoot
				n -= litRoot
				e = z.lits[e>>16+uint32(hold)&(1<<(e>>8&15)-1)]
			}
			if e&literal != 0 {
				z.out[wr] = byte(e >> 16)
				wr++
				hold >>= e & dropMask
				n -= uint(e & dropMask)
				continue
			}
			if e&special != 0 {
				if e&last != 0 {
					hold >>= e & dropMask
					n -= uint(e & dropMask)
					finished = true
				} else {
					problem = "invalid literal/length code"
				}
				break
			}
		}
		length := int(e>>16 + uint32(hold)&(1<<(e&dropMask)-1)>>(e>>8&15))
		hold >>= e & dropMask
		n -= uint(e & dropMask)

		hold |= binary.LittleEndian.Uint64(z.in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56

		e = z.dists[hold&(1<<distRoot-1)]
		if e&special != 0 {
			if e&link != 0 {
				hold >>= distRoot
				n -= distRoot
				e = z.dists[e>>16+uint32(hold)&(1<<(e>>8&15)-1)]
			}
			if e&special != 0 {
				problem = "invalid distance code"
				break
			}
		}
		dist := int(e>>16 + uint32(hold)&(1<<(e&dropMask)-1)>>(e>>8&15))
		hold >>= e & dropMask
		n -= uint(e & dropMask)
		from := wr - dist
		if from < z.start {
			problem = "invalid distance too far back"
			break
		}
		to := wr + length
		if dist < 16 {
			for wr < to {
				wr += copy(z.out[wr:to], z.out[from:wr])
			}
			continue
		}
		for {
			*(*[16]byte)(z.out[wr:]) = *(*[16]byte)(z.out[from:])
			wr += 16
			if wr >= to {
				break
			}
			from += 16
		}
		wr = to
	}
	z.hold, z.n, z.pos, z.wr = hold, n, pos, wr
	switch {
	case problem != "":
		z.corrupt(problem)
	case finished:
		z.endBlock()
	}
}

// careful decodes one symbol from the last bytes of the input.
func (z *Reader) careful() {
	e, ok := z.symbol(z.lits[:], litRoot)
	switch {
	case !ok:
		return
	case e&literal != 0:
		binary.LittleEndian.PutUint16(z.out[z.wr:], uint16(e>>16))
		z.wr += int(e >> 8 & 3)
		return
	case e&last != 0:
		z.endBlock()
		return
	case e&special != 0:
		z.corrupt("invalid literal/length code")
		return
	}
	length := int(e >> 16)
	e, ok = z.symbol(z.dists[:], distRoot)
	switch {
	case !ok:
		return
	case e&special != 0:
		z.corrupt("invalid distance code")
		return
	}
	from, to := z.wr-int(e>>16), z.wr+length
	if from < z.start {
		z.corrupt("invalid distance too far back")
		return
	}
	for z.wr < to {
		z.wr += copy(z.out[z.wr:to], z.out[from:z.wr])
	}
}

// symbol takes the next symbol from the input, with its extra bits added to its base. It returns
// false if the input is at its end before the symbol is.
func (z *Reader) symbol(table []entry, root uint) (e entry, ok bool) {
	z.top()
	e = table[z.hold&(1<<root-1)]
	if e&link != 0 {
		if !z.need(root) {
			return 0, false
		}
		z.take(root)
		e = table[e>>16+uint32(z.hold)&(1<<(e>>8&15)-1)]
	}
	drop := uint(e & dropMask)
	if !z.need(drop) {
		return 0, false
	}
	taken := uint32(z.take(drop))
	if e&(literal|special) == 0 {
		e += taken >> (e >> 8 & 15) << 16
	}
	return e, true
}

// endBlock leaves a block.
func (z *Reader) endBlock() {
	z.stage = atBlock
	if z.final {
		z.stage = atTrailer
	}
}

// need makes sure that hold has at least n bits, n <= 32. It returns false if the input ends before.
func (z *Reader) need(n uint) bool {
	z.top()
	for z.n < n {
		if !z.load() {
			z.cutOff()
			return false
		}
		z.top()
	}
	return true
}

// top moves bytes from the buffer of the input to hold, as long as there are some and they fit.
func (z *Reader) top() {
	if z.end-z.pos >= 8 {
		z.hold |= binary.LittleEndian.Uint64(z.in[z.pos:]) << (z.n & 63)
		z.pos += int((63 - z.n) >> 3)
		z.n |= 56
		return
	}
	for z.n <= 56 && z.pos < z.end {
		z.hold |= uint64(z.in[z.pos]) << z.n
		z.pos++
		z.n += 8
	}
}

// take removes n bits from hold, which has them.
func (z *Reader) take(n uint) uint64 {
	v := z.hold & (1<<n - 1)
	z.hold >>= n & 63
	z.n -= n
	return v
}

// unread gives the whole bytes of hold back to the buffer.
func (z *Reader) unread() {
	z.pos -= int(z.n >> 3)
	z.n &= 7
	z.hold &= 1<<z.n - 1
}

// align skips the rest of a byte that has been begun.
func (z *Reader) align() {
	z.unread()
	z.hold, z.n = 0, 0
}

// where returns the place of the next bit in the input: a byte, and the number of its bits, from the
// lowest, that have been used.
func (z *Reader) where() (at int64, used uint8) {
	bit := (z.base+int64(z.pos))<<3 - int64(z.n)
	return bit >> 3, uint8(bit & 7)
}
