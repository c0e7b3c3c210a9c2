package orc

// bytesRLE reads bytes in runs.
type bytesRLE struct {
	s       *stream
	left    int // bytes of the current run
	literal bool
	value   byte // of a run that is not literal
}

func (r *bytesRLE) next() (byte, bool) {
	if r.left == 0 {
		head, ok := r.s.byte()
		if !ok {
			return 0, false
		}
		if r.literal = head >= 0x80; r.literal {
			r.left = 256 - int(head)
		} else {
			r.left = int(head) + 3
			if r.value, ok = r.s.byte(); !ok {
				return 0, false
			}
		}
	}
	r.left--
	if r.literal {
		return r.s.byte()
	}
	return r.value, true
}

// bools reads booleans, eight in a byte from the highest bit on.
type bools struct {
	bytes bytesRLE
	bits  byte
	left  int // bits not yet returned
}

func (b *bools) next() (value, ok bool) {
	if b.left == 0 {
		if b.bits, ok = b.bytes.next(); !ok {
			return false, false
		}
		b.left = 8
	}
	value = b.bits >= 0x80
	b.bits <<= 1
	b.left--
	return value, true
}

// skip passes over n booleans and returns how many of them are true.
func (b *bools) skip(n int64) (set int64, ok bool) {
	for range n {
		value, ok := b.next()
		if !ok {
			return 0, false
		}
		if value {
			set++
		}
	}
	return set, true
}

// maxRun is the most integers a run has, in either version.
const maxRun = 512

// ints reads integers in runs, of which it decodes one at a time.
type ints struct {
	s        *stream
	version2 bool
	signed   bool
	run      [maxRun]int64
	pos, n   int // run[pos:n] has been decoded and not been returned
}

func (r *ints) next() (int64, bool) {
	if r.pos == r.n && !r.fill() {
		return 0, false
	}
	v := r.run[r.pos]
	r.pos++
	return v, true
}

// skip passes over n integers.
func (r *ints) skip(n int64) bool {
	for n > int64(r.n-r.pos) {
		n -= int64(r.n - r.pos)
		r.pos = r.n
		if !r.fill() {
			return false
		}
	}
	r.pos += int(n)
	return true
}

// fill decodes the next run.
func (r *ints) fill() bool {
	r.pos, r.n = 0, 0
	head, ok := r.s.byte()
	if !ok {
		return false
	}
	var n int
	switch {
	case !r.version2:
		n, ok = r.fillV1(head)
	case head>>6 == 0:
		n, ok = r.shortRepeat(head)
	case head>>6 == 1:
		n, ok = r.direct(head)
	case head>>6 == 2:
		n, ok = r.patchedBase(head)
	default:
		n, ok = r.delta(head)
	}
	if ok {
		r.n = n
	}
	return ok
}

// fillV1 decodes a run of version 1: of numbers a fixed step apart, or of any numbers.
func (r *ints) fillV1(head byte) (n int, ok bool) {
	if head >= 0x80 {
		n = 256 - int(head)
		for i := range n {
			if r.run[i], ok = r.number(); !ok {
				return 0, false
			}
		}
		return n, true
	}
	n = int(head) + 3
	step, ok := r.s.byte()
	if !ok {
		return 0, false
	}
	value, ok := r.number()
	for i := range n {
		r.run[i] = value
		value += int64(int8(step))
	}
	return n, ok
}

// number reads a number in base 128.
func (r *ints) number() (int64, bool) {
	v, ok := r.s.uvarint()
	return r.sign(v), ok
}

// sign returns the number that has been written as v.
func (r *ints) sign(v uint64) int64 {
	if r.signed {
		return unzigzag(v)
	}
	return int64(v)
}
