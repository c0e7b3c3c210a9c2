package orc

import (
	"bytes"
	"slices"
	"testing"
)

// open returns a stream of the bytes, not compressed.
func open(b []byte) *stream {
	s := &stream{packing: &packing{}}
	s.open(bytes.NewReader(b), extent{0, int64(len(b))})
	return s
}

// TestInts decodes the examples of the specification, and some of what it has none for.
func TestInts(t *testing.T) {
	t.Parallel()
	check := func(what string, version2, signed bool, encoded []byte, want ...int64) {
		t.Helper()
		r := ints{s: open(encoded), version2: version2, signed: signed}
		var got []int64
		for range want {
			v, ok := r.next()
			if !ok {
				t.Errorf("%s: only %d numbers, want %d", what, len(got), len(want))
				return
			}
			got = append(got, v)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
		if v, ok := r.next(); ok {
			t.Errorf("%s: got %d after the end", what, v)
		}
		for skip := range want {
			r := ints{s: open(encoded), version2: version2, signed: signed}
			if !r.skip(int64(skip)) {
				t.Errorf("%s: cannot skip %d", what, skip)
			}
			if v, ok := r.next(); !ok || v != want[skip] {
				t.Errorf("%s: got %d after %d, want %d", what, v, skip, want[skip])
			}
		}
		for i := range encoded {
			r := ints{s: open(encoded[:i]), version2: version2, signed: signed}
			if r.skip(int64(len(want))) {
				t.Errorf("%s: %d bytes of %d have all numbers", what, i, len(encoded))
			}
		}
	}
	const v1, v2, unsigned, signed = false, true, false, true

	var falling []int64
	for i := range int64(100) {
		falling = append(falling, 100-i)
	}
	check("run", v1, unsigned, []byte{0x61, 0x00, 0x07}, slices.Repeat([]int64{7}, 100)...)
	check("falling run", v1, unsigned, []byte{0x61, 0xff, 0x64}, falling...)
	check("literals", v1, unsigned, []byte{0xfb, 0x02, 0x03, 0x04, 0x07, 0x0b}, 2, 3, 4, 7, 11)
	check("signed literals", v1, signed, []byte{0xfc, 0x00, 0x01, 0x02, 0x80, 0x01}, 0, -1, 1, 64)

	check("short repeat", v2, unsigned, []byte{0x0a, 0x27, 0x10}, 10000, 10000, 10000, 10000, 10000)
	check("signed short repeat", v2, signed, []byte{0x00, 0x03}, -2, -2, -2)
	check("direct", v2, unsigned, []byte{0x5e, 0x03, 0x5c, 0xa1, 0xab, 0x1e, 0xde, 0xad, 0xbe, 0xef}, 23713, 43806, 57005, 48879)
	check("signed direct of 3 bits", v2, signed, []byte{0x44, 0x03, 0b000_001_01, 0b0_011_0000}, 0, -1, 1, -2)
	check("patched base", v2, unsigned, []byte{
		0x8e, 0x13, 0x2b, 0x21, 0x07, 0xd0, 0x1e, 0x00, 0x14, 0x70, 0x28, 0x32, 0x3c, 0x46, 0x50, 0x5a, 0x64, 0x6e,
		0x78, 0x82, 0x8c, 0x96, 0xa0, 0xaa, 0xb4, 0xbe, 0xfc, 0xe8,
	}, 2030, 2000, 2020, 1000000, 2040, 2050, 2060, 2070, 2080, 2090, 2100, 2110, 2120, 2130, 2140, 2150, 2160, 2170, 2180, 2190)
	// The base is -2: a sign and a size.
	check("patched base below 0", v2, signed, []byte{0x8e, 0x02, 0x03, 0x01, 0x82, 0x00, 0x02, 0x05, 0b1_0001_000}, -2, 256, 3)
	check("delta", v2, unsigned, []byte{0xc6, 0x09, 0x02, 0x02, 0x22, 0x42, 0x42, 0x46}, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
	check("falling delta", v2, signed, []byte{0xc6, 0x03, 0x14, 0x05, 0x12}, 10, 7, 6, 4)
	check("steady delta", v2, unsigned, []byte{0xc0, 0x04, 0x05, 0x04}, 5, 7, 9, 11, 13)
	check("delta of one", v2, unsigned, []byte{0xc0, 0x00, 0x05, 0x00}, 5)
	check("two runs", v2, unsigned, []byte{0x00, 0x01, 0x00, 0x02}, 1, 1, 1, 2, 2, 2)
}

// TestUnpack compares each width of the table with bits set one by one.
func TestUnpack(t *testing.T) {
	t.Parallel()
	for _, width := range widths {
		want := make([]int64, 37)
		encoded := make([]byte, (len(want)*int(width)+7)/8)
		for i := range want {
			v := uint64(i+1) * 0x9e3779b97f4a7c15 >> (64 - width)
			want[i] = int64(v)
			for bit := range width {
				if v>>(width-1-bit)&1 == 1 {
					at := uint(i)*width + bit
					encoded[at/8] |= 0x80 >> (at % 8)
				}
			}
		}
		got := make([]int64, len(want))
		r := ints{s: open(encoded)}
		if !r.unpack(got, width) || !slices.Equal(got, want) {
			t.Errorf("width %d: got %x, want %x", width, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	check := func(encoded []byte, want ...byte) {
		t.Helper()
		r := bytesRLE{s: open(encoded)}
		var got []byte
		for range want {
			b, _ := r.next()
			got = append(got, b)
		}
		if _, ok := r.next(); ok || !bytes.Equal(got, want) {
			t.Errorf("%x: got %x, want %x", encoded, got, want)
		}
	}
	check([]byte{0x61, 0x00}, make([]byte, 100)...)
	check([]byte{0xfe, 0x44, 0x45}, 0x44, 0x45)
	check([]byte{0xff, 0x01, 0x00, 0x02}, 1, 2, 2, 2)
}

func TestBools(t *testing.T) {
	t.Parallel()
	b := bools{bytes: bytesRLE{s: open([]byte{0xfe, 0b1010_0000, 0b1111_1111})}}
	for i, want := range []bool{true, false, true, false} {
		if got, ok := b.next(); !ok || got != want {
			t.Errorf("%d: got %t, want %t", i, got, want)
		}
	}
	if set, ok := b.skip(7); !ok || set != 3 {
		t.Errorf("%d of the next 7 are true, want 3", set)
	}
	if _, ok := b.skip(6); ok {
		t.Error("skipped beyond the end")
	}
}

// TestUvarint reads numbers near the end of a stream, and others.
func TestUvarint(t *testing.T) {
	t.Parallel()
	check := func(encoded []byte, want uint64, wantOK bool) {
		t.Helper()
		for _, after := range []int{0, 20} {
			v, ok := open(append(slices.Clone(encoded), make([]byte, after)...)).uvarint()
			if v != want && wantOK || ok != wantOK {
				t.Errorf("%x: got %d, %t, want %d, %t", encoded, v, ok, want, wantOK)
			}
		}
	}
	check([]byte{0x00}, 0, true)
	check([]byte{0x7f}, 127, true)
	check([]byte{0x80, 0x80, 0x01}, 16384, true)
	check([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 1<<64-1, true)
	check(bytes.Repeat([]byte{0x80}, 11), 0, false)
}
