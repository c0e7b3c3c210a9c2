package gunzip_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"

	"stevedore/internal/manifest/gunzip"
)

func TestIndex(t *testing.T) {
	t.Parallel()
	x := gunzip.NewIndex(0)
	for _, out := range []int64{500, 100, 300, 100} {
		x.Add("a", gunzip.Point{In: out / 2, Out: out})
	}
	x.Add("b", gunzip.Point{In: 1, Out: 50})
	check := func(key string, out, want int64) {
		t.Helper()
		p, ok := x.Nearest(key, out)
		if p.Out != want || ok != (want > 0) {
			t.Errorf("nearest to %d in %s: %d, %t, want %d", out, key, p.Out, ok, want)
		}
	}
	check("a", 0, 0)
	check("a", 99, 0)
	check("a", 100, 100)
	check("a", 299, 100)
	check("a", 300, 300)
	check("a", 499, 300)
	check("a", 1<<40, 500)
	check("b", 100, 50)
	check("c", 100, 0)
}

// The file asked for or added to least recently is forgotten first.
func TestIndexForgets(t *testing.T) {
	t.Parallel()
	const each = 1 + 256 + 64 // a file with one point
	x := gunzip.NewIndex(3 * each)
	add := func(key string) { x.Add(key, gunzip.Point{In: 1, Out: 1}) }
	check := func(key string, want bool) {
		t.Helper()
		if _, ok := x.Nearest(key, 1); ok != want {
			t.Errorf("file %s known: %t, want %t", key, ok, want)
		}
	}
	add("a")
	add("b")
	add("c")
	check("a", true) // so b is the oldest
	add("d")
	check("b", false)
	check("a", true)
	check("c", true)
	check("d", true)
	add("a") // known, but used
	add("e")
	check("c", false)
	check("a", true)
	if x.Size() != 3*each {
		t.Errorf("size %d, want %d", x.Size(), 3*each)
	}
}

// A file too large for the whole index keeps points, ever farther apart.
func TestIndexThinsOut(t *testing.T) {
	t.Parallel()
	x := gunzip.NewIndex(1000)
	for i := range int64(1000) {
		x.Add("a", gunzip.Point{In: i + 1, Out: i + 1})
		if x.Size() > 1000 {
			t.Fatalf("size %d after %d points", x.Size(), i+1)
		}
	}
	known := map[int64]bool{}
	for i := range int64(1000) {
		if p, ok := x.Nearest("a", i); ok {
			known[p.Out] = true
		}
	}
	if len(known) < 3 || len(known) > 11 {
		t.Errorf("%d points left: %v", len(known), known)
	}
	tiny := gunzip.NewIndex(10)
	tiny.Add("a", gunzip.Point{In: 1, Out: 1})
	if _, ok := tiny.Nearest("a", 1); ok || tiny.Size() != 0 {
		t.Errorf("an index too small for anything has %d bytes", tiny.Size())
	}
}

// Readers of many files share an index that is too small for all of them.
func TestIndexTogether(t *testing.T) {
	t.Parallel()
	const limit = 100 << 10
	x := gunzip.NewIndex(limit)
	text := inventory(5000, true)
	file := packed(t, text, 6)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 6 {
				key := fmt.Sprint("file ", (n+i)%4)
				want := int64(len(text) / (i + 1))
				p, _ := x.Nearest(key, want)
				z := gunzip.Resume(bytes.NewReader(file[p.In:]), p)
				z.Mark(100_000, func(p gunzip.Point) { x.Add(key, p) })
				if err := z.Discard(want - p.Out); err != nil {
					t.Error(err)
				}
				if tail, err := io.ReadAll(z); err != nil || !bytes.Equal(tail, text[want:]) {
					t.Errorf("from %d: %d bytes, error %v", want, len(tail), err)
				}
				if x.Size() > limit {
					t.Errorf("size %d, limit %d", x.Size(), limit)
				}
			}
		})
	}
	wg.Wait()
}
