package generate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"stevedore/internal/job"
)

// rare are faults as a bad day brings them.
var rare = faults{repeat: 50, short: 20, empty: 20, end: 20, shuffle: 10, tokenless: 50, busy: 5}

// TestEveryObjectOnce compares what 200 random filters let through with a model, against a store with paging faults. The
// bucket has 30,000 keys, and pages of 100 to make many of them; STEVEDORE_GENERATE_KEYS=1000000 takes minutes.
func TestEveryObjectOnce(t *testing.T) {
	t.Parallel()
	const filters = 200
	items := corpus(1, size(t))
	histories := versioned(1, items[:len(items)/4])
	for shard := range 4 {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			for n := shard; n < filters; n += 4 {
				r := rand.New(rand.NewPCG(uint64(n), 4))
				b := newBucket(uint64(n), items)
				b.faults, b.pageSize = rare, max(100, len(items)/1000)
				all := false
				if r.IntN(4) == 0 {
					b.items, b.versioning, b.grouped, all = histories, "Enabled", r.IntN(2) == 0, r.IntN(2) == 0
				}
				f := randomFilter(r, items)
				s, d := newShelf(), &diary{tb: t}
				j := generation(b, s, d, f)
				if j.AllVersions = all; all { // whoever asks for that does it in one go
					b.faults.busy = 0
				}
				j.Workers = 1 + r.IntN(20)
				j.Eligible = func(_ context.Context, c Candidate) (bool, error) {
					return eligible(c.Object.Key, c.Object.VersionID), nil
				}
				want := model(b, f, all)
				res, err := runOut(t, j, d)
				if fails, ok := errors.AsType[*job.FailedError](err); ok && len(want) == 0 && fails.Reason.FailureCode == CodeNoMatch {
					continue
				}
				if err != nil {
					t.Fatalf("filter %d: %v", n, err)
				}
				if res.Rows != int64(len(want)) {
					t.Errorf("filter %d: %d rows, want %d", n, res.Rows, len(want))
				}
				compareRows(t, rows(t, s, res), want)
				t.Logf("filter %d: %d rows in %d saves", n, res.Rows, d.saves) // -v tells how far a long run is
				if t.Failed() {
					t.Fatalf("filter %d: %+v, versions %q, all %t, walk %t", n, f, b.versioning, all, d.last().Walk)
				}
			}
		})
	}
}

// TestCrash stops at random places, be it before or after what was to be done, and goes on from what was saved.
func TestCrash(t *testing.T) {
	t.Parallel()
	items := corpus(2, 20_000)
	histories := versioned(2, items[:4000])
	for n := range 24 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(n), 5))
			b := newBucket(uint64(n), items)
			b.pageSize = 50 + r.IntN(200)
			all := false
			if n%3 == 0 {
				b.items, b.versioning, all = histories, "Suspended", n%2 == 0
			}
			s, d := newShelf(), &diary{tb: t}
			j := generation(b, s, d, nil)
			j.AllVersions = all
			j.Workers = 1 + r.IntN(12)
			tiny := 100 + r.IntN(1000) // rows of a file
			var crashes atomic.Int64
			boom := func() error {
				crashes.Add(1)
				return errLost
			}
			luck := func() func() bool {
				r := rand.New(rand.NewPCG(r.Uint64(), 6))
				return func() bool { return r.IntN(12) == 0 }
			}
			putFails, saveFails, answerLost := luck(), luck(), luck()
			s.fail = func(string) error {
				if putFails() {
					return boom()
				}
				return nil
			}
			d.fail = func(int) error {
				if saveFails() {
					return boom()
				}
				return nil
			}
			d.lost = func(int) bool { return answerLost() && boom() != nil }
			want := model(b, nil, all)
			res, err := runSmall(t, j, d, tiny)
			if err != nil {
				t.Fatal(err)
			}
			if crashes.Load() == 0 {
				t.Error("nothing crashed")
			}
			if d.last().Walk {
				t.Error("a store in order was walked")
			}
			compareRows(t, rows(t, s, res), want)
		})
	}
}
