package lz4_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go"

	"stevedore/internal/manifest/orc/lz4"
)

// TestDecode decodes what another implementation compressed.
func TestDecode(t *testing.T) {
	t.Parallel()
	random := make([]byte, 70_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	half := bytes.Clone(random)
	for i := range half {
		half[i] &= 3
	}
	for name, text := range map[string][]byte{
		"one byte": []byte("a"),
		"text":     []byte("data/photos/2024/1.jpg data/photos/2024/2.jpg data/photos/2024/3.jpg"),
		"run":      bytes.Repeat([]byte("x"), 100_000),
		"pairs":    bytes.Repeat([]byte("xy"), 5_000),
		"random":   random,
		"half":     half,
	} {
		packed, err := parquet.Lz4Raw.Encode(nil, text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := lz4.Decode([]byte("before"), packed, len(text))
		if err != nil || !bytes.Equal(got, append([]byte("before"), text...)) {
			t.Errorf("%s: got %d bytes, want %d: %v", name, len(got), len(text), err)
		}
		if got, err := lz4.Decode(nil, packed, len(text)-1); !errors.Is(err, lz4.ErrCorrupt) || len(got) >= len(text) {
			t.Errorf("%s: %d bytes where %d are allowed: %v", name, len(got), len(text)-1, err)
		}
		for i := range min(len(packed), 1000) {
			if got, err := lz4.Decode(nil, packed[:i], len(text)); err == nil && bytes.Equal(got, text) {
				t.Errorf("%s: cut to %d bytes of %d it has it all", name, i, len(packed))
			}
		}
	}
}

// TestCorrupt has blocks written by hand.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	check := func(what, block, want string) {
		t.Helper()
		got, err := lz4.Decode(nil, []byte(block), 100)
		if want == "" && !errors.Is(err, lz4.ErrCorrupt) || want != "" && (err != nil || string(got) != want) {
			t.Errorf("%s: got %q, %v, want %q", what, got, err, want)
		}
	}
	check("literals", "\x30abc", "abc")
	check("a match that overlaps itself", "\x12a\x01\x00\x10b", "aaaaaaab")
	check("nothing", "", "")
	check("a match before the start", "\x10a\x02\x00\x10b", "")
	check("a match at no distance", "\x10a\x00\x00\x10b", "")
	check("a match with half a distance", "\x10a\x01", "")
	check("a match at the end", "\x10a\x01\x00", "")
	check("fewer literals than said", "\x50ab", "")
	check("a length without an end", "\xf0\xff\xff", "")
	check("more than asked for", "\x1fa\x01\x00\xff\x00\x10b", "")
}

// FuzzDecode never gets more than it asks for.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x12a\x01\x00\x10b"))
	f.Fuzz(func(t *testing.T, block []byte) {
		if got, _ := lz4.Decode(nil, block, 1000); len(got) > 1000 {
			t.Errorf("%d bytes", len(got))
		}
	})
}
