package objectstore

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestGateHalvesOncePerBurst(t *testing.T) {
	t.Parallel()
	g := newGate(64)
	in := func(n int) []*turn {
		turns := make([]*turn, n)
		for i := range turns {
			turns[i] = new(turn)
			if !g.enter(t.Context(), nil, turns[i]) {
				t.Fatal("not let in")
			}
		}
		return turns
	}
	out := func(turns []*turn, s sign) {
		for _, t := range turns {
			g.leave(t, s)
		}
	}
	check := func(what string, limit float64, epoch int) {
		t.Helper()
		if g.limit != limit || g.epoch != epoch || g.inUse != 0 {
			t.Errorf("%s: limit %v after %d cuts, %d in flight; want %v after %d", what, g.limit, g.epoch, g.inUse, limit, epoch)
		}
	}
	out(in(64), throttled)
	check("64 refused at once", 32, 1)
	out(in(32), silent)
	check("32 without an answer", 32, 1)
	turns := in(2)
	out(turns[:1], throttled)
	out(turns[1:], welcome)
	check("one of two refused", 16, 2)
	for range 10 {
		out(in(1), throttled)
	}
	check("refused again and again", 1, 12)
	out(in(1), welcome)
	check("one went well", 2, 12)
	out(in(1), welcome)
	check("one of two places used", 2, 12)
	for range 10_000 {
		out(in(int(g.limit)), welcome)
	}
	check("ten thousand times full", 64, 12)
}

func TestGateIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		var first turn
		g.enter(t.Context(), nil, &first)
		var order []int
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 10 {
			go func() {
				ctx := ctx
				if i%3 != 0 {
					ctx = t.Context()
				}
				var own turn
				if g.enter(ctx, nil, &own) {
					order = append(order, i) // only one is let in at a time
					g.leave(&own, welcome)
				}
			}()
			synctest.Wait()
		}
		cancel() // 0, 3, 6 and 9 give up
		synctest.Wait()
		if g.waiting != 6 {
			t.Errorf("%d are waiting", g.waiting)
		}
		g.leave(&first, welcome)
		synctest.Wait()
		want := []int{1, 2, 4, 5, 7, 8}
		if len(order) != len(want) || g.inUse != 0 || g.waiting != 0 {
			t.Fatalf("order %v, %d in flight, %d waiting", order, g.inUse, g.waiting)
		}
		for i := range want {
			if order[i] != want[i] {
				t.Fatalf("order %v, want %v", order, want)
			}
		}
	})
}

// TestGateKeepsCount has requests come, give up, end and be cut in any order: no place is lost, and none is given twice.
func TestGateKeepsCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 8).Draw(rt, "most")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			g := newGate(most)
			stopped := make(chan struct{})
			var inFlight, worst atomic.Int64
			var wg sync.WaitGroup
			for i := range 40 {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				wg.Go(func() {
					var own turn
					for range 20 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(40)))
						if g.enter(ctx, stopped, &own) {
							worst.Store(max(worst.Load(), inFlight.Add(1)))
							time.Sleep(time.Duration(random.IntN(5)))
							inFlight.Add(-1)
							g.leave(&own, sign(random.IntN(3)))
						}
						cancel()
					}
				})
			}
			time.Sleep(100 * time.Nanosecond)
			close(stopped)
			wg.Wait()
			if worst.Load() > int64(most) || g.inUse != 0 || g.waiting != 0 || g.first != nil || g.last != nil || g.limit < 1 || g.limit > float64(most) {
				rt.Errorf("%d at once of %d, %d in flight, %d waiting, limit %v", worst.Load(), most, g.inUse, g.waiting, g.limit)
			}
		})
	})
}

// BenchmarkGate measures what admission costs a request: at the gate of the store, and within all the limits there are.
func BenchmarkGate(b *testing.B) {
	bench := func(name string, l *Limiter, parallelism int) {
		b.Run(name, func(b *testing.B) {
			s := &Store{closed: b.Context(), gate: newGate(64)}
			b.ReportAllocs()
			b.SetParallelism(parallelism)
			before := processorTime(b)
			b.RunParallel(func(pb *testing.PB) {
				x := new(exchange)
				for pb.Next() {
					if err := s.admit(b.Context(), x, l); err != nil {
						b.Error(err)
					}
					s.dismiss(x, l, welcome)
				}
			})
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
	bench("store", nil, 32)
	bench("store, crowded", nil, 128)
	bench("all limits", NewLimiter(Limits{MaxConcurrency: 1000, RequestsPerSecond: 1e9}), 32)
}

// processorTime is what the process has used so far, user and system.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
