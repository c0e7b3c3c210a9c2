package generate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// flat returns n objects with keys of one kind.
func flat(n int, key func(r *rand.Rand, i int) string) []item {
	r := rand.New(rand.NewPCG(1, 7))
	items := make([]item, n)
	for i := range items {
		items[i] = item{key: key(r, i), size: 1}
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	return slices.CompactFunc(items, func(a, b item) bool { return a.key == b.key })
}

// kinds are keys as flat buckets have them.
var kinds = []struct {
	name string
	key  func(r *rand.Rand, i int) string
}{
	{"numbers", func(_ *rand.Rand, i int) string { return fmt.Sprintf("img/%012d.jpg", i) }},
	{"ragged numbers", func(_ *rand.Rand, i int) string { return fmt.Sprint(i) }},
	{"hexadecimal", func(r *rand.Rand, _ int) string { return fmt.Sprintf("%016x", r.Uint64()) }},
	{"capitals", func(r *rand.Rand, _ int) string { return fmt.Sprintf("objects/%016X.bin", r.Uint64()) }},
	{"uuids", func(r *rand.Rand, _ int) string {
		return fmt.Sprintf("data/blob/%08x-%04x-4%03x-%04x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<16), r.Uint64()&(1<<48-1))
	}},
	{"dates", func(_ *rand.Rand, i int) string {
		return time.Date(2021, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i)*time.Minute).Format("events/2006-01-02T15-04-05") + ".json"
	}},
	{"folders of dates", func(r *rand.Rand, i int) string {
		return time.Date(2021, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(2000))*time.Hour).Format("year=2006/month=01/day=02/hour=15/") + fmt.Sprint(i)
	}},
	{"base64", func(r *rand.Rand, _ int) string {
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		var b [12]byte
		for i := range b {
			b[i] = letters[r.IntN(64)]
		}
		return string(b[:])
	}},
	{"one large folder of many", func(r *rand.Rand, i int) string {
		if i%10 > 0 {
			return fmt.Sprintf("archive/raw/%09d", i)
		}
		return fmt.Sprintf("%c%c/%d", 'a'+r.IntN(26), 'a'+r.IntN(26), i)
	}},
	{"words", func(r *rand.Rand, i int) string {
		words := []string{"apple", "banana", "cherry", "damson", "elder", "fig", "grape", "öl", "日本", "zebra"}
		return words[r.IntN(10)] + "/" + words[r.IntN(10)] + "/" + words[r.IntN(10)] + fmt.Sprint(i)
	}},
	{"counted from behind", func(_ *rand.Rand, i int) string { return fmt.Sprintf("log-%d", 1<<62-i) }},
}

// TestSpread lists a thousand pages of flat keys, each of which takes its time, with 16 workers.
func TestSpread(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			items := flat(50_000, kind.key)
			synctest.Test(t, func(t *testing.T) {
				b := newBucket(1, items)
				b.pageSize, b.latency = 50, 20*time.Millisecond
				s, d := newShelf(), &diary{tb: t}
				began := time.Now()
				res, err := Run(t.Context(), generation(b, s, d, nil), State{})
				if err != nil || res.Rows != int64(len(items)) {
					t.Fatalf("%d rows, %v, want %d", res.Rows, err, len(items))
				}
				alone := time.Duration(len(items)/b.pageSize) * b.latency
				took := time.Since(began)
				t.Logf("%.1f times as fast as one worker, %.2f times its requests, %d files", alone.Seconds()/took.Seconds(), float64(b.pages*b.pageSize)/float64(len(items)), res.Files)
				if took > alone/8 {
					t.Errorf("took %v, want less than an eighth of the %v that one worker takes", took, alone)
				}
				if b.pages > len(items)/b.pageSize*3/2 {
					t.Errorf("%d pages, want at most half more than %d", b.pages, len(items)/b.pageSize)
				}
			})
		})
	}
}

// FuzzMiddle checks that a split lies where it must, whatever the keys.
func FuzzMiddle(f *testing.F) {
	f.Add("", "img/0001", "img/0009", "img/0002\nimg/0007", true)
	f.Add("img/", "img/0001", "", "", false)
	f.Add("", "a", "b", "a\nb", true)
	f.Add("", "\xff\xfe", "\xff\xff", "\xf0", true)
	f.Fuzz(func(t *testing.T, prefix, lower, upper, known string, bounded bool) {
		var l letters
		for key := range strings.SplitSeq(known, "\n") {
			l.learn([]byte(key))
		}
		var until []byte
		if bounded {
			until = []byte(upper)
		}
		middles := [][]byte{l.middle(prefix, []byte(lower), until)}
		if bounded {
			middles = append(middles, l.near(prefix, []byte(known), []byte(lower), until))
		}
		for _, m := range middles {
			if m != nil && (string(m) <= lower || bounded && string(m) >= upper || !strings.HasPrefix(string(m), prefix) || !utf8.Valid(m)) {
				t.Errorf("the middle of %q and %q (%t) under %q is %q", lower, upper, bounded, prefix, m)
			}
		}
		m := middles[0]
		if m != nil && bounded && lower < upper {
			if n := l.left([]byte(lower), m, until, 10); n < 0 || n != n {
				t.Errorf("%g rows are left of %q from %q to %q", n, lower, m, until)
			}
		}
	})
}

// TestMiddleHalves finds any key of a range by halving it.
func TestMiddleHalves(t *testing.T) {
	t.Parallel()
	var l letters
	r := rand.New(rand.NewPCG(1, 8))
	for range 100 {
		l.learn(fmt.Appendf(nil, "k/%016x", r.Uint64()))
	}
	for range 1000 {
		lower, upper := []byte("k/0"), []byte("k/ffffffffffffffff")
		key := fmt.Appendf(nil, "k/%016x", r.Uint64())
		steps := 0
		for ; steps < 40; steps++ {
			m := l.middle("k/", lower, upper)
			if m == nil {
				t.Fatalf("no middle of %q and %q", lower, upper)
			}
			if bytes.Compare(key, m) > 0 {
				lower = m
			} else {
				upper = m
			}
		}
		// After 40 halvings of 64 bits, the upper 40 of the bounds are those of the key.
		if agree(lower, key) < 10 && agree(upper, key) < 10 {
			t.Fatalf("%q lies between %q and %q, after %d steps", key, lower, upper, steps)
		}
	}
}
