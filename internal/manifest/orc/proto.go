package orc

import (
	"encoding/binary"
	"iter"
)

// The wire types of protocol buffers.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// proto reads a message of protocol buffers, in which the metadata is written. After an error it
// returns zeros. What it returns lies in b.
type proto struct {
	b   []byte // unread
	bad bool
}

// fields yields the number and the wire type of each field. The body of the loop reads the value of
// the field or calls skip.
func (p *proto) fields() iter.Seq2[uint64, byte] {
	return func(yield func(uint64, byte) bool) {
		for len(p.b) > 0 && !p.bad {
			tag := p.uvarint()
			if !p.bad && !yield(tag>>3, byte(tag&7)) {
				return
			}
		}
	}
}

// uint reads a number.
func (p *proto) uint(wire byte) uint64 {
	if wire != wireVarint {
		p.bad = true
		return 0
	}
	return p.uvarint()
}

// int reads a number that is no number of things or bytes if it is negative.
func (p *proto) int(wire byte) int64 { return int64(p.uint(wire)) }

// bytes reads a string or a message.
func (p *proto) bytes(wire byte) []byte {
	if wire != wireBytes {
		p.bad = true
		return nil
	}
	return p.take(p.uvarint())
}

// message reads a message in this one with read.
func (p *proto) message(wire byte, read func(*proto)) {
	in := proto{b: p.bytes(wire)}
	read(&in)
	p.bad = p.bad || in.bad
}

// uints adds the numbers of a repeated field, which are packed or one at a time.
func (p *proto) uints(wire byte, to []uint64) []uint64 {
	if wire == wireVarint {
		return append(to, p.uvarint())
	}
	in := proto{b: p.bytes(wire)}
	for len(in.b) > 0 && !in.bad {
		to = append(to, in.uvarint())
	}
	p.bad = p.bad || in.bad
	return to
}

// skip passes over a value.
func (p *proto) skip(wire byte) {
	switch wire {
	case wireVarint:
		p.uvarint()
	case wire64:
		p.take(8)
	case wireBytes:
		p.take(p.uvarint())
	case wire32:
		p.take(4)
	default:
		p.bad = true
	}
}

func (p *proto) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 || p.bad {
		p.bad = true
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *proto) take(n uint64) []byte {
	if n > uint64(len(p.b)) || p.bad {
		p.bad = true
		return nil
	}
	b := p.b[:n]
	p.b = p.b[n:]
	return b
}
