package gunzip_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stevedore/internal/manifest/gunzip"
)

// bitWriter writes deflate data by hand.
type bitWriter struct {
	data []byte
	free uint // bits of the last byte
}

// bits appends the n lowest bits of v, the lowest first.
func (w *bitWriter) bits(v, n uint) {
	for ; n > 0; n-- {
		if w.free == 0 {
			w.data, w.free = append(w.data, 0), 8
		}
		w.data[len(w.data)-1] |= byte(v&1) << (8 - w.free)
		w.free--
		v >>= 1
	}
}

// code appends a Huffman code, the highest bit first.
func (w *bitWriter) code(c uint, n uint) { w.bits(uint(bits.Reverse16(uint16(c)))>>(16-n), n) }

// canonical returns the codes with the given lengths.
func canonical(lens []uint) []uint {
	codes := make([]uint, len(lens))
	code := uint(0)
	for n := uint(1); n <= 15; n++ {
		for symbol, have := range lens {
			if have == n {
				codes[symbol] = code
				code++
			}
		}
		code <<= 1
	}
	return codes
}

// head begins a dynamic block. Each length is written by itself, in 4 bits.
func (w *bitWriter) head(final uint, lits, dists []uint) {
	w.bits(final, 1)
	w.bits(2, 2)
	w.bits(uint(len(lits)-257), 5)
	w.bits(uint(len(dists)-1), 5)
	w.bits(19-4, 4)
	for _, symbol := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} {
		if symbol < 16 {
			w.bits(4, 3)
		} else {
			w.bits(0, 3)
		}
	}
	for _, n := range slices.Concat(lits, dists) {
		w.code(n, 4)
	}
}

// Lengths and distances of RFC 1951, 3.2.5.
var (
	lengthBase = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits = []uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distBits   = []uint{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// tree returns the lengths of a complete code for count of the symbols, must among them.
func tree(random *rand.Rand, symbols, count, must int) []uint {
	leaves := []uint{1, 1}
	for len(leaves) < count {
		i := random.IntN(len(leaves))
		if random.IntN(3) > 0 { // mostly the deepest, for long codes
			i = len(leaves) - 1
		}
		if leaves[i] == 15 {
			if i = slices.IndexFunc(leaves, func(n uint) bool { return n < 15 }); i < 0 {
				break
			}
		}
		leaves[i]++
		leaves = append(leaves, leaves[i])
	}
	lens := make([]uint, symbols)
	order := random.Perm(symbols)
	at := slices.Index(order, must)
	order[0], order[at] = order[at], order[0]
	random.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	for i, n := range leaves {
		lens[order[i]] = n
	}
	return lens
}

// block appends a dynamic block with codes of any shape and symbols at random.
func (w *bitWriter) block(random *rand.Rand, final uint, text []byte) []byte {
	lits := tree(random, 286, 2+random.IntN(285), 256)
	dists := tree(random, 30, 2+random.IntN(29), random.IntN(30))
	w.head(final, lits, dists)
	litCodes, distCodes := canonical(lits), canonical(dists)
	var haveLits, haveDists []int
	for symbol, n := range lits {
		if n > 0 && symbol != 256 {
			haveLits = append(haveLits, symbol)
		}
	}
	for symbol, n := range dists {
		if n > 0 {
			haveDists = append(haveDists, symbol)
		}
	}
	for range random.IntN(2000) {
		symbol := haveLits[random.IntN(len(haveLits))]
		if symbol < 256 {
			w.code(litCodes[symbol], lits[symbol])
			text = append(text, byte(symbol))
			continue
		}
		l, d := symbol-257, haveDists[random.IntN(len(haveDists))]
		extra, far := random.UintN(1<<lengthBits[l]), random.UintN(1<<distBits[d])
		length, dist := lengthBase[l]+int(extra), distBase[d]+int(far)
		if dist > len(text) {
			continue
		}
		w.code(litCodes[symbol], lits[symbol])
		w.bits(extra, lengthBits[l])
		w.code(distCodes[d], dists[d])
		w.bits(far, distBits[d])
		for range length {
			text = append(text, text[len(text)-dist])
		}
	}
	w.code(litCodes[256], lits[256])
	return text
}

// Codes no compressor would choose: all lengths up to 15 in both, second tables of all sizes.
func TestAnyCodes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var (
			w    bitWriter
			text []byte
		)
		for range rapid.IntRange(0, 10).Draw(t, "blocks") {
			text = w.block(random, 0, text)
		}
		text = w.block(random, 1, text)
		if want, err := io.ReadAll(flate.NewReader(bytes.NewReader(w.data))); err != nil || !bytes.Equal(want, text) {
			t.Fatalf("the test writes bad data: %v", err)
		}
		got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(member(w.data, text))))
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("got %d bytes of %d, error %v", len(got), len(text), err)
		}
		checkPoints(t, member(w.data, text), text, 1)
	})
}

// What is corrupt, by its reason. The standard library refuses the same.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	check := func(reason string, write func(w *bitWriter)) {
		t.Helper()
		for _, tail := range []int{0, 100} { // in the careful and in the fast loop
			var w bitWriter
			write(&w)
			body := append(w.data, make([]byte, tail)...)
			if tail == 0 {
				body = append(body, 0, 0, 0) // room to notice
			}
			if _, err := io.ReadAll(flate.NewReader(bytes.NewReader(body))); err == nil {
				t.Errorf("%s: good for the standard library", reason)
			}
			_, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(member(body, nil))))
			bad, ok := errors.AsType[*gunzip.Error](err)
			if !ok || bad.Reason != reason || bad.In < 10 || bad.In > int64(10+len(body)) {
				t.Errorf("error %v, want %s", err, reason)
			}
		}
	}
	lens := func(size int, set map[int]uint) []uint {
		l := make([]uint, size)
		for symbol, n := range set {
			l[symbol] = n
		}
		return l
	}
	two := lens(258, map[int]uint{0: 2, 1: 2, 256: 2, 257: 2}) // literals 0 and 1, the end, a match of 3
	one := lens(1, map[int]uint{0: 1})

	check("invalid block type", func(w *bitWriter) { w.bits(7, 3) })
	check("invalid length of a stored block", func(w *bitWriter) { w.bits(1, 8); w.bits(5, 16); w.bits(0xfffb, 16) })
	check("too many length or distance symbols", func(w *bitWriter) { w.bits(5, 3); w.bits(30, 5); w.bits(0, 9) })
	check("too many length or distance symbols", func(w *bitWriter) { w.bits(5, 3); w.bits(29, 5); w.bits(30, 9) })
	pres := func(lens ...uint) func(w *bitWriter) {
		return func(w *bitWriter) {
			w.bits(5, 3)
			w.bits(0, 10)
			w.bits(uint(len(lens)-4), 4)
			for _, n := range lens {
				w.bits(n, 3)
			}
		}
	}
	check("invalid code lengths set", pres(0, 0, 0, 0))     // none
	check("invalid code lengths set", pres(1, 0, 0, 0))     // one symbol is too few here
	check("invalid code lengths set", pres(1, 1, 1, 0))     // too many codes
	check("invalid code lengths set", pres(1, 2, 0, 0))     // too few
	check("invalid bit length repeat", pres(1, 1, 0, 0))    // 16, repeat, comes first
	check("invalid bit length repeat", func(w *bitWriter) { // zeros beyond the last symbol
		pres(0, 1, 1, 0)(w)
		for range 3 {
			w.code(1, 1)
			w.bits(127, 7)
		}
	})
	check("missing end-of-block", func(w *bitWriter) { w.head(1, lens(257, map[int]uint{0: 1, 1: 1}), one) })
	check("invalid literal/lengths set", func(w *bitWriter) { w.head(1, lens(257, map[int]uint{0: 1, 1: 1, 256: 1}), one) })
	check("invalid literal/lengths set", func(w *bitWriter) { w.head(1, lens(257, map[int]uint{0: 1, 256: 2}), one) })
	check("invalid literal/lengths set", func(w *bitWriter) { w.head(1, lens(257, map[int]uint{256: 2}), one) })
	check("invalid distances set", func(w *bitWriter) { w.head(1, two, []uint{1, 1, 1}) })
	check("invalid distances set", func(w *bitWriter) { w.head(1, two, []uint{2}) })
	check("invalid distances set", func(w *bitWriter) { w.head(1, two, []uint{15, 1, 15}) })
	check("invalid literal/length code", func(w *bitWriter) { // the code of one symbol and no other
		w.head(1, lens(257, map[int]uint{256: 1}), one)
		w.bits(1, 1)
	})
	check("invalid literal/length code", func(w *bitWriter) { w.bits(3, 3); w.code(0b11000110, 8) }) // 286, fixed
	check("invalid distance code", func(w *bitWriter) { w.bits(3, 3); w.code(0x30, 8); w.code(1, 7); w.code(30, 5) })
	check("invalid distance code", func(w *bitWriter) { // none at all
		w.head(1, two, []uint{0})
		w.code(0, 2)
		w.code(3, 2)
	})
	check("invalid distance code", func(w *bitWriter) { // the other of one
		w.head(1, two, one)
		w.code(0, 2)
		w.code(3, 2)
		w.bits(1, 1)
	})
	check("invalid distance too far back", func(w *bitWriter) { w.bits(3, 3); w.code(1, 7); w.code(0, 5) })
	check("invalid distance too far back", func(w *bitWriter) { // one byte of two
		w.head(1, two, []uint{1, 1})
		w.code(0, 2)
		w.code(3, 2)
		w.code(1, 1)
	})
}

// Codes that are not complete but good, because what they leave open does not come.
func TestLoneCodes(t *testing.T) {
	t.Parallel()
	check := func(text string, write func(w *bitWriter)) {
		t.Helper()
		var w bitWriter
		write(&w)
		if got, err := io.ReadAll(flate.NewReader(bytes.NewReader(w.data))); err != nil || string(got) != text {
			t.Errorf("the standard library: %q, error %v", got, err)
		}
		got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(member(w.data, []byte(text)))))
		if err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
	alone := make([]uint, 257)
	alone[256] = 1
	check("", func(w *bitWriter) { w.head(1, alone, []uint{0}); w.bits(0, 1) })
	check("", func(w *bitWriter) { w.head(1, alone, []uint{0, 0, 1}); w.bits(0, 1) })
	run := make([]uint, 286)
	run['a'], run[256], run[285] = 1, 2, 2
	check(string(bytes.Repeat([]byte("a"), 259)), func(w *bitWriter) {
		w.head(1, run, []uint{1})
		w.bits(0, 1) // a
		w.code(3, 2) // 258 times
		w.bits(0, 1) // the byte before
		w.code(2, 2) // end
	})
	check("", func(w *bitWriter) { // empty blocks of all types
		w.bits(0, 8)
		w.bits(0, 16)
		w.bits(0xffff, 16)
		w.bits(2, 3)
		w.code(0, 7)
		w.head(0, alone, []uint{0})
		w.bits(0, 1)
		w.bits(3, 3)
		w.code(0, 7)
	})
}

// A distance does not reach into the member before.
func TestHistoryEndsWithMember(t *testing.T) {
	t.Parallel()
	var w bitWriter
	w.bits(3, 3)
	w.code(1, 7) // 3 bytes
	w.code(0, 5) // of the last one
	w.code(0, 7)
	file := append(packed(t, []byte("text"), 6), member(w.data, []byte("ttt"))...)
	got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(file)))
	if bad, ok := errors.AsType[*gunzip.Error](err); !ok || bad.Reason != "invalid distance too far back" || string(got) != "text" {
		t.Errorf("got %q, error %v", got, err)
	}
}

// Trailers with a wrong checksum or length.
func TestTrailer(t *testing.T) {
	t.Parallel()
	file := packed(t, []byte("text"), 6)
	for i, want := range map[int]string{1: "incorrect length check", 8: "incorrect data check"} {
		bad := slices.Clone(file)
		bad[len(bad)-i]++
		got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(bad)))
		if e, ok := errors.AsType[*gunzip.Error](err); !ok || e.Reason != want || string(got) != "text" {
			t.Errorf("got %q, error %v, want %s", got, err, want)
		}
	}
}
