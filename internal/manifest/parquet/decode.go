package parquet

import (
	"encoding/binary"
)

// The encodings of values, with the numbers of the format.
const (
	encodingPlain           = 0
	encodingPlainDictionary = 2
	encodingRLE             = 3
	encodingDeltaBinary     = 5
	encodingDeltaLength     = 6
	encodingDeltaBytes      = 7
	encodingRLEDictionary   = 8
	encodingStreamSplit     = 9
)

// openValues starts on the values of a page. Nothing is decoded before it is asked for, so that a
// page with a lie about its number of values costs nothing.
func (c *column) openValues(h pageHeader, data []byte) error {
	c.rows, c.values = int(h.values), nil
	f := &c.field
	switch h.encoding {
	case encodingPlain:
		switch f.kind {
		case byteArray:
			c.values = &plainBytes{data: data}
		case boolean:
			c.values = &boolValues{bits: hybrid{packed: data, width: 1, left: 8 * len(data)}}
		default:
			c.values = &fixedValues{data: data, width: f.width(), text: f.text}
		}
	case encodingPlainDictionary, encodingRLEDictionary:
		switch {
		case c.dict == nil:
			return malformed("damaged column: it has no dictionary")
		case len(data) == 0:
			c.values = &dictValues{dict: c.dict} // a page of nulls
		case data[0] > 32:
			return errCut()
		default:
			c.values = &dictValues{dict: c.dict, indexes: *newHybrid(data[1:], uint(data[0]))}
		}
	case encodingRLE:
		if f.kind == boolean && len(data) >= 4 && uint64(binary.LittleEndian.Uint32(data)) <= uint64(len(data)-4) {
			c.values = &boolValues{bits: *newHybrid(data[4:4+binary.LittleEndian.Uint32(data)], 1)}
		}
	case encodingDeltaBinary:
		if d, ok := newDelta(data); ok && (f.kind == int32s || f.kind == int64s) {
			c.values = &deltaInts{delta: *d, text: f.text}
		}
	case encodingDeltaLength:
		if v, ok := newDeltaLength(data); ok && f.kind == byteArray {
			c.values = v
		}
	case encodingDeltaBytes:
		if v, ok := newDeltaBytes(data); ok && (f.kind == byteArray || f.kind == fixed) {
			c.values = v
		}
	case encodingStreamSplit:
		if f.kind != byteArray && f.kind != boolean {
			c.values = &splitValues{data: data, width: f.width(), count: len(data) / f.width(), text: f.text}
		}
	default:
		return malformed("values in encoding %d, which is not read", h.encoding)
	}
	if c.values == nil {
		return errCut()
	}
	return nil
}

// plainBytes are strings with their length before them.
type plainBytes struct{ data []byte }

func (v *plainBytes) next() ([]byte, bool) {
	if len(v.data) < 4 {
		return nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(v.data)) + 4
	if n > uint64(len(v.data)) {
		return nil, false
	}
	cell := v.data[4:n:n]
	v.data = v.data[n:]
	return cell, true
}

func (v *plainBytes) skip(n int) bool {
	for range n {
		if _, ok := v.next(); !ok {
			return false
		}
	}
	return true
}

// fixedValues are values of one width after another.
type fixedValues struct {
	data  []byte
	width int
	text  textFunc
	cell  []byte
}

func (v *fixedValues) next() ([]byte, bool) {
	if len(v.data) < v.width {
		return nil, false
	}
	raw := v.data[:v.width:v.width]
	v.data = v.data[v.width:]
	if v.text == nil {
		return raw, true
	}
	v.cell = v.text(v.cell[:0], raw)
	return v.cell, true
}

func (v *fixedValues) skip(n int) bool {
	if n > len(v.data)/v.width {
		return false
	}
	v.data = v.data[n*v.width:]
	return true
}

// splitValues are values of one width, first the first bytes of all of them, then the second ones.
type splitValues struct {
	data         []byte
	width, count int
	pos          int
	text         textFunc
	raw, cell    []byte
}

func (v *splitValues) next() ([]byte, bool) {
	if v.pos >= v.count {
		return nil, false
	}
	v.raw = v.raw[:0]
	for i := range v.width {
		v.raw = append(v.raw, v.data[i*v.count+v.pos])
	}
	v.pos++
	if v.text == nil {
		return v.raw, true
	}
	v.cell = v.text(v.cell[:0], v.raw)
	return v.cell, true
}

func (v *splitValues) skip(n int) bool {
	v.pos += min(n, v.count-v.pos+1)
	return v.pos <= v.count
}

// boolValues are booleans, a bit each.
type boolValues struct {
	bits hybrid
	cell []byte
}

func (v *boolValues) next() ([]byte, bool) {
	bit, ok := v.bits.next()
	if bit != 0 {
		v.cell = append(v.cell[:0], "true"...)
	} else {
		v.cell = append(v.cell[:0], "false"...)
	}
	return v.cell, ok
}

func (v *boolValues) skip(n int) bool { return v.bits.skip(n) }

// dictionary has the texts of the values that the pages of a chunk refer to.
type dictionary struct {
	data []byte
	ends []uint32 // text i is data[ends[i]:ends[i+1]]
}

// newDictionary reads n values in plain encoding. It copies them.
func newDictionary(f *field, data []byte, n int64) (*dictionary, error) {
	d := &dictionary{data: make([]byte, 0, len(data)), ends: []uint32{0}}
	var from values
	switch f.kind {
	case byteArray:
		from = &plainBytes{data: data}
	case boolean:
		return nil, malformed("damaged column: a dictionary of booleans")
	default:
		from = &fixedValues{data: data, width: f.width(), text: f.text}
	}
	for range n {
		cell, ok := from.next()
		if !ok {
			return nil, malformed("damaged dictionary: it ends too early")
		}
		d.data = append(d.data, cell...)
		d.ends = append(d.ends, uint32(len(d.data)))
	}
	return d, nil
}

// dictValues are references to a dictionary.
type dictValues struct {
	dict    *dictionary
	indexes hybrid
}

func (v *dictValues) next() ([]byte, bool) {
	i, ok := v.indexes.next()
	if !ok || int(i)+1 >= len(v.dict.ends) {
		return nil, false
	}
	from, to := v.dict.ends[i], v.dict.ends[i+1]
	return v.dict.data[from:to:to], true
}

func (v *dictValues) skip(n int) bool { return v.indexes.skip(n) }

// hybrid reads small numbers of a fixed width in bits, in the encoding RLE: runs of one number, and
// groups of eight numbers packed from the lowest bit on.
type hybrid struct {
	rest  []byte // the runs after the current one
	width uint

	left   int // numbers left of the current run
	value  uint32
	packed []byte // of the current run; nil if all its numbers are value
	bit    uint   // where the next number starts in packed
}

func newHybrid(data []byte, width uint) *hybrid {
	return &hybrid{rest: data, width: width}
}

func (h *hybrid) next() (uint32, bool) {
	for h.left == 0 {
		if !h.run() {
			return 0, false
		}
	}
	h.left--
	if h.packed == nil {
		return h.value, true
	}
	at := h.bit
	h.bit += h.width
	if i := at / 8; i+8 <= uint(len(h.packed)) {
		word := binary.LittleEndian.Uint64(h.packed[i:])
		return uint32(word >> (at % 8) & (1<<h.width - 1)), true
	}
	return uint32(bitsAt(h.packed, at, h.width)), true
}

// run starts on the next run. It reports whether there is one.
func (h *hybrid) run() bool {
	head, n := binary.Uvarint(h.rest)
	if n <= 0 || head > 1<<32 {
		return false
	}
	h.rest = h.rest[n:]
	if head&1 == 0 {
		size := int(h.width+7) / 8
		if size > len(h.rest) {
			return false
		}
		h.left, h.packed, h.value = int(head>>1), nil, 0
		for i := range size {
			h.value |= uint32(h.rest[i]) << (8 * i)
		}
		h.rest = h.rest[size:]
		return true
	}
	numbers := head >> 1 * 8
	size := min(numbers/8*uint64(h.width), uint64(len(h.rest)))
	// Some writers leave out the padding of the last group.
	if h.width > 0 {
		numbers = min(numbers, size*8/uint64(h.width))
		if numbers == 0 {
			return false
		}
	}
	h.left, h.bit = int(numbers), 0
	h.packed = h.rest[:size:size]
	h.rest = h.rest[size:]
	if h.width == 0 {
		h.packed, h.value = nil, 0
	}
	return true
}

func (h *hybrid) skip(n int) bool {
	for n > 0 {
		if h.left == 0 && !h.run() {
			return false
		}
		step := min(n, h.left)
		n -= step
		h.left -= step
		h.bit += uint(step) * h.width
	}
	return true
}

// bitsAt returns the number of width bits that starts at bit at of b, lowest bit first. Bits beyond b
// are 0.
func bitsAt(b []byte, at, width uint) uint64 {
	if i := at / 8; i+8 <= uint(len(b)) && at%8+width <= 64 {
		return binary.LittleEndian.Uint64(b[i:]) >> (at % 8) & (1<<width - 1)
	}
	var low, high uint64
	for i, from := uint(0), at/8; i < 9 && from+i < uint(len(b)); i++ {
		if i < 8 {
			low |= uint64(b[from+i]) << (8 * i)
		} else {
			high = uint64(b[from+i])
		}
	}
	shift := at % 8
	v := low>>shift | high<<(64-shift)
	if shift == 0 {
		v = low
	}
	return v & (1<<width - 1)
}
