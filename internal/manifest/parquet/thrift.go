package parquet

import (
	"encoding/binary"
	"iter"
)

// The types of the compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// maxDepth is how deep structures may lie in each other; those of the format go to about six.
const maxDepth = 24

// thrift reads a structure of Thrift's compact protocol, in which the metadata is written. After an
// error it returns zeros. It takes no memory for what a length says.
type thrift struct {
	b     []byte // unread
	depth int
	bad   bool // the bytes are no such structure
	short bool // they end too early
}

// fields yields the id and the type of each field of a structure. The body of the loop reads the
// value of the field, all of it, or calls skip.
func (t *thrift) fields() iter.Seq2[int16, byte] {
	return func(yield func(int16, byte) bool) {
		if t.depth++; t.depth > maxDepth {
			t.fail()
		}
		id := int16(0)
		for {
			head := t.byte()
			if t.bad || head == 0 {
				break
			}
			if delta := head >> 4; delta != 0 {
				id += int16(delta)
			} else {
				id = int16(t.zigzag())
			}
			if !yield(id, head&0xf) {
				break
			}
		}
		t.depth--
	}
}

// structs yields the index of each element of a list of structures, which take at least so many bytes
// each: so a length that is a lie is found before memory is taken for it. The body of the loop reads
// the structure.
func (t *thrift) structs(typ byte, least int) iter.Seq[int] {
	return func(yield func(int) bool) {
		n, elem := t.listHead(typ)
		if n > 0 && elem != thriftStruct || n > len(t.b)/least {
			t.fail()
		}
		for i := 0; i < n && !t.bad; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

// listHead reads the length and the element type of a list. Each element takes a byte at least.
func (t *thrift) listHead(typ byte) (n int, elem byte) {
	if typ != thriftList && typ != thriftSet {
		t.fail()
		return 0, 0
	}
	head := t.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = t.uvarint()
	}
	if size > uint64(len(t.b)) {
		t.cut()
		return 0, 0
	}
	return int(size), head & 0xf
}

// int reads an integer of any width.
func (t *thrift) int(typ byte) int64 {
	switch typ {
	case thriftByte:
		return int64(int8(t.byte()))
	case thriftI16, thriftI32, thriftI64:
		return t.zigzag()
	}
	t.fail()
	return 0
}

// bool reads the value of a boolean field, which is in its type.
func (t *thrift) bool(typ byte) bool {
	if typ != thriftTrue && typ != thriftFalse {
		t.fail()
	}
	return typ == thriftTrue
}

// string reads a string.
func (t *thrift) string(typ byte) string {
	if typ != thriftBinary {
		t.fail()
		return ""
	}
	return string(t.take(t.uvarint()))
}

// is reports whether typ is a structure, and fails if it is not.
func (t *thrift) is(typ byte) bool {
	if typ != thriftStruct {
		t.fail()
	}
	return typ == thriftStruct
}

// skip passes over a value.
func (t *thrift) skip(typ byte) {
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.byte()
	case thriftI16, thriftI32, thriftI64:
		t.uvarint()
	case thriftDouble:
		t.take(8)
	case thriftBinary:
		t.take(t.uvarint())
	case thriftList, thriftSet:
		n, elem := t.listHead(typ)
		t.skipElements(n, elem)
	case thriftMap:
		n := t.uvarint()
		if n == 0 {
			return
		}
		types := t.byte()
		if n > uint64(len(t.b)) {
			t.cut()
			return
		}
		for i := uint64(0); i < n && !t.bad; i++ {
			t.skipElements(1, types>>4)
			t.skipElements(1, types&0xf)
		}
	case thriftStruct:
		for _, typ := range t.fields() {
			t.skip(typ)
		}
	default:
		t.fail()
	}
}

// skipElements passes over elements of a list, of which booleans take a byte each.
func (t *thrift) skipElements(n int, elem byte) {
	if elem == thriftTrue || elem == thriftFalse {
		elem = thriftByte
	}
	if t.depth++; t.depth > maxDepth {
		t.fail()
	}
	for i := 0; i < n && !t.bad; i++ {
		t.skip(elem)
	}
	t.depth--
}

func (t *thrift) byte() byte {
	if len(t.b) == 0 {
		t.cut()
		return 0
	}
	b := t.b[0]
	t.b = t.b[1:]
	return b
}

func (t *thrift) uvarint() uint64 {
	v, n := binary.Uvarint(t.b)
	switch {
	case n == 0:
		t.cut()
		return 0
	case n < 0:
		t.fail()
		return 0
	}
	t.b = t.b[n:]
	return v
}

func (t *thrift) zigzag() int64 {
	v := t.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (t *thrift) take(n uint64) []byte {
	if n > uint64(len(t.b)) {
		t.cut()
		return nil
	}
	b := t.b[:n]
	t.b = t.b[n:]
	return b
}

func (t *thrift) fail() {
	t.bad = true
	t.b = nil
}

// cut fails because the bytes end.
func (t *thrift) cut() {
	if !t.bad {
		t.short = true
	}
	t.fail()
}
