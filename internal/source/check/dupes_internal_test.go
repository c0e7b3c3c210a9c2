package check

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHashes finds repeated hashes in memory and on disk.
func TestHashes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	check := func(count int, few uint64) {
		t.Helper()
		h, err := newHashes()
		if err != nil {
			t.Fatal(err)
		}
		defer h.close()
		times, repeats := map[uint64]int{}, int64(0)
		for range count {
			hash := random.Uint64N(uint64(4*count))*parts + random.Uint64N(few)
			if times[hash]++; times[hash] > 1 {
				repeats++
			}
			if err := h.add(hash); err != nil {
				t.Fatal(err)
			}
		}
		want := map[uint64]bool{}
		for hash, n := range times {
			if n > 1 {
				want[hash] = true
			}
		}
		got, rows, err := h.repeated(t.Context())
		if err != nil || rows != repeats || !cmp.Equal(got, want) {
			t.Errorf("%d hashes in %d parts: got %d in %d rows, %v, want %d in %d rows", count, few, len(got), rows, err, len(want), repeats)
		}
		if spilled := h.size > 0; spilled != (count/int(few) > block) {
			t.Errorf("%d hashes in %d parts: %d bytes on disk", count, few, h.size)
		}
	}
	check(1, 1)
	check(1000, parts)
	check(3*block+5, 1)
	check(10*block, 3)
}
