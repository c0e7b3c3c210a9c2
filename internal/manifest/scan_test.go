package manifest

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// scan sees in eight bytes at a time what a loop over the bytes sees.
func TestScan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		common := rapid.SampledFrom([]byte("aZ09.,,,\"%+ ~!#$&*-\x7e"))
		odd := rapid.Byte()
		text := rapid.SliceOfN(common, 0, 40).Draw(t, "line")
		if rapid.Bool().Draw(t, "odd") {
			text = slices.Insert(text, rapid.IntRange(0, len(text)).Draw(t, "at"), odd.Draw(t, "byte"))
		}
		// What lies behind the line must not matter.
		line := append(slices.Clone(text), "\x00,\"\xff%+,"...)[:len(text)]

		ends := slices.Repeat([]int{-1}, rapid.IntRange(1, 10).Draw(t, "columns"))
		commas, m := scan(line, ends)

		if want := bytes.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r >= 0x7f }); m.odd != want {
			t.Fatalf("odd %t, want %t: %q", m.odd, want, line)
		}
		if want := bytes.ContainsFunc(line, func(r rune) bool { return r > 0x7f }); m.wide != want {
			t.Fatalf("wide %t, want %t: %q", m.wide, want, line)
		}
		if m.wide {
			return
		}
		if want := bytes.Count(line, []byte{'"'}); m.quotes != want {
			t.Fatalf("%d quotes, want %d: %q", m.quotes, want, line)
		}
		if want := bytes.ContainsAny(line, "%+"); m.escapes != want {
			t.Fatalf("escapes %t, want %t: %q", m.escapes, want, line)
		}
		if want := bytes.Count(line, []byte(",")); commas != want {
			t.Fatalf("%d commas, want %d: %q", commas, want, line)
		}
		want := []int{-1}
		for i, b := range line {
			if b == ',' {
				want = append(want, i)
			}
		}
		for len(want) < len(ends) {
			want = append(want, -1)
		}
		if want = want[:len(ends)]; !slices.Equal(ends, want) {
			t.Fatalf("ends %v, want %v: %q", ends, want, line)
		}
	})
}

// Each byte alone, at each place of a word.
func TestScanEachByte(t *testing.T) {
	t.Parallel()
	for b := range 256 {
		for at := range 11 {
			line := bytes.Repeat([]byte{'x'}, 11)
			line[at] = byte(b)
			commas, m := scan(line, make([]int, 3))
			odd, wide := b <= ' ' || b >= 0x7f, b > 0x7f
			if m.odd != odd || m.wide != wide {
				t.Errorf("byte 0x%02X at %d: odd %t, want %t, wide %t, want %t", b, at, m.odd, odd, m.wide, wide)
			}
			if !wide && ((m.quotes == 1) != (b == '"') || m.escapes != (b == '%' || b == '+') || (commas == 1) != (b == ',')) {
				t.Errorf("byte 0x%02X at %d: %+v and %d commas", b, at, m, commas)
			}
		}
	}
}
