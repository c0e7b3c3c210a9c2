package parquet

import "encoding/binary"

// delta reads integers in the encoding DELTA_BINARY_PACKED: blocks with a smallest difference each,
// in which miniblocks have the differences to it, packed to a width of their own.
type delta struct {
	rest  []byte
	minis int // miniblocks in a block
	per   int // numbers in a miniblock
	left  int // numbers not yet returned
	value int64
	first bool // value has not been returned

	widths []byte // of the miniblocks of the block after the current one
	least  int64
	mini   []byte // the current miniblock
	width  uint
	bit    uint
	inMini int // numbers left in it
}

// newDelta reads the header of the numbers. It reports whether that is one.
func newDelta(data []byte) (*delta, bool) {
	d := &delta{rest: data, first: true}
	block, ok1 := d.uvarint()
	minis, ok2 := d.uvarint()
	total, ok3 := d.uvarint()
	value, ok4 := d.zigzag()
	switch {
	case !ok1 || !ok2 || !ok3 || !ok4 || total > 1<<31:
		return nil, false
	case block == 0 || block > 1<<20 || minis == 0 || block%minis != 0 || block/minis%8 != 0:
		return nil, false
	}
	d.minis, d.per, d.left, d.value = int(minis), int(block/minis), int(total), value
	return d, true
}

func (d *delta) next() (int64, bool) {
	if d.left == 0 {
		return 0, false
	}
	d.left--
	if d.first {
		d.first = false
		return d.value, true
	}
	if d.inMini == 0 && !d.nextMini() {
		return 0, false
	}
	d.inMini--
	d.value += d.least + int64(bitsAt(d.mini, d.bit, d.width))
	d.bit += d.width
	return d.value, true
}

// nextMini goes to the next miniblock.
func (d *delta) nextMini() bool {
	if len(d.widths) == 0 {
		least, ok := d.zigzag()
		if !ok || len(d.rest) < d.minis {
			return false
		}
		d.least, d.widths, d.rest = least, d.rest[:d.minis], d.rest[d.minis:]
	}
	d.width, d.widths = uint(d.widths[0]), d.widths[1:]
	size := d.per / 8 * int(d.width)
	if d.width > 64 || size > len(d.rest) {
		return false
	}
	d.mini, d.rest = d.rest[:size], d.rest[size:]
	d.bit, d.inMini = 0, d.per
	return true
}

// end returns what comes after the numbers, which it does not decode.
func (d *delta) end() ([]byte, bool) {
	rest := *d
	for left := d.left - 1; left > 0; left -= d.per {
		if !rest.nextMini() {
			return nil, false
		}
	}
	return rest.rest, true
}

func (d *delta) uvarint() (uint64, bool) {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		return 0, false
	}
	d.rest = d.rest[n:]
	return v, true
}

func (d *delta) zigzag() (int64, bool) {
	v, ok := d.uvarint()
	return int64(v>>1) ^ -int64(v&1), ok
}

// deltaInts are integers.
type deltaInts struct {
	delta delta
	text  textFunc
	raw   [8]byte
	cell  []byte
}

func (v *deltaInts) next() ([]byte, bool) {
	n, ok := v.delta.next()
	binary.LittleEndian.PutUint64(v.raw[:], uint64(n))
	v.cell = v.text(v.cell[:0], v.raw[:])
	return v.cell, ok
}

func (v *deltaInts) skip(n int) bool {
	for range n {
		if _, ok := v.delta.next(); !ok {
			return false
		}
	}
	return true
}

// deltaLength are strings in the encoding DELTA_LENGTH_BYTE_ARRAY: all lengths, then all bytes.
type deltaLength struct {
	lengths delta
	data    []byte
}

func newDeltaLength(data []byte) (*deltaLength, bool) {
	lengths, ok := newDelta(data)
	if !ok {
		return nil, false
	}
	rest, ok := lengths.end()
	return &deltaLength{lengths: *lengths, data: rest}, ok
}

func (v *deltaLength) next() ([]byte, bool) {
	n, ok := v.lengths.next()
	if !ok || n < 0 || n > int64(len(v.data)) {
		return nil, false
	}
	cell := v.data[:n:n]
	v.data = v.data[n:]
	return cell, true
}

func (v *deltaLength) skip(n int) bool {
	for range n {
		if _, ok := v.next(); !ok {
			return false
		}
	}
	return true
}

// deltaBytes are strings in the encoding DELTA_BYTE_ARRAY: how much of the string before each begins
// with, then what comes after that.
type deltaBytes struct {
	prefixes delta
	suffixes deltaLength
	cell     []byte
}

func newDeltaBytes(data []byte) (*deltaBytes, bool) {
	prefixes, ok := newDelta(data)
	if !ok {
		return nil, false
	}
	rest, ok := prefixes.end()
	if !ok {
		return nil, false
	}
	suffixes, ok := newDeltaLength(rest)
	if !ok {
		return nil, false
	}
	return &deltaBytes{prefixes: *prefixes, suffixes: *suffixes, cell: []byte{}}, true
}

func (v *deltaBytes) next() ([]byte, bool) {
	n, ok := v.prefixes.next()
	suffix, ok2 := v.suffixes.next()
	if !ok || !ok2 || n < 0 || n > int64(len(v.cell)) || n+int64(len(suffix)) > maxPage {
		return nil, false
	}
	v.cell = append(v.cell[:n], suffix...)
	return v.cell, true
}

func (v *deltaBytes) skip(n int) bool {
	for range n {
		if _, ok := v.next(); !ok {
			return false
		}
	}
	return true
}
