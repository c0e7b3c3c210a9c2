package objectstore_test

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// TestConcurrencyFindsWhatAStoreCanBear has 64 workers press a store that bears a few requests at a time.
func TestConcurrencyFindsWhatAStoreCanBear(t *testing.T) {
	t.Parallel()
	for _, bears := range []int64{1, 5, 20, 200} {
		synctest.Test(t, func(t *testing.T) {
			var inFlight atomic.Int64
			store := piped(t, func(int) string {
				defer inFlight.Add(-1)
				if inFlight.Add(1) > bears {
					return answerOf(503)
				}
				time.Sleep(20 * time.Millisecond)
				return answerOf(200)
			}, nil)
			defer store.Close()
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var done atomic.Int64
			for range 64 {
				wg.Go(func() {
					var res objectstore.Result
					for ctx.Err() == nil {
						if store.Do(ctx, tag("k"), &res); res.OK() {
							done.Add(1)
						}
					}
				})
			}
			time.Sleep(4 * time.Second)
			cancel()
			wg.Wait()
			got := store.Stats()
			best := 200 * min(bears, 64) // in four seconds at 20 ms each
			t.Logf("bears %d: %d of %d, %+v", bears, done.Load(), best, got)
			if share := float64(done.Load()) / float64(best); share < 0.7 || share > 1.01 {
				t.Errorf("bears %d: %d requests, at best %d", bears, done.Load(), best)
			}
			if refused := float64(got.Throttled) / float64(got.Attempts); bears > 1 && refused > 0.2 || bears == 1 && refused > 0.5 {
				t.Errorf("bears %d: %d of %d refused", bears, got.Throttled, got.Attempts)
			}
			if int64(got.Concurrency) > 2*bears+1 || got.Concurrency < 1 || got.MaxConcurrency != 64 || got.InFlight != 0 || got.Waiting != 0 {
				t.Errorf("bears %d: %+v", bears, got)
			}
			if bears > 64 && (got.Concurrency != 64 || got.Cuts != 0) {
				t.Errorf("never pressed, and yet %+v", got)
			}
		})
	}
}

// limitedTo is an access within limits to a store that answers after d, and what goes on there.
func limitedTo(t *testing.T, d time.Duration, limits objectstore.Limits) (a *objectstore.Access, l *objectstore.Limiter, inFlight, worst, done *atomic.Int64) {
	t.Helper()
	inFlight, worst, done = new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)
	store := piped(t, func(int) string {
		defer inFlight.Add(-1)
		worst.Store(max(worst.Load(), inFlight.Add(1)))
		time.Sleep(d)
		done.Add(1)
		return answerOf(200)
	}, nil)
	all, err := objectstore.NewAccess(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	l = objectstore.NewLimiter(limits)
	return all.Limited(l), l, inFlight, worst, done
}

// press has 64 workers send requests until the returned function is called.
func press(t *testing.T, a *objectstore.Access) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			var res objectstore.Result
			for ctx.Err() == nil {
				a.Do(ctx, tag("k"), &res)
				if !res.OK() && !errors.Is(res.Err, context.Canceled) {
					t.Errorf("%+v", res)
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
		a.For("b").Close()
		if got := a.For("b").Stats(); got.InFlight != 0 || got.Waiting != 0 {
			t.Errorf("left behind: %+v", got)
		}
	}
}

func TestLimitsOfConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, l, inFlight, worst, _ := limitedTo(t, time.Second, objectstore.Limits{MaxConcurrency: 3})
		defer press(t, a)()
		check := func(want int64) {
			t.Helper()
			time.Sleep(10*time.Second + time.Millisecond)
			synctest.Wait()
			if inFlight.Load() != want || worst.Load() != want {
				t.Errorf("%d in flight, at most %d, want %d", inFlight.Load(), worst.Load(), want)
			}
		}
		check(3)
		l.Set(objectstore.Limits{MaxConcurrency: 7})
		check(7)
		l.Set(objectstore.Limits{})
		check(64)
		l.Set(objectstore.Limits{MaxConcurrency: 1})
		time.Sleep(2 * time.Second) // for what is in flight
		worst.Store(0)
		check(1)
		if got := l.Limits(); got != (objectstore.Limits{MaxConcurrency: 1}) {
			t.Errorf("limits are %+v", got)
		}
	})
}

func TestLimitsOfRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, l, _, _, done := limitedTo(t, time.Millisecond, objectstore.Limits{RequestsPerSecond: 50})
		stop := press(t, a)
		check := func(during time.Duration, want int64) {
			t.Helper()
			before := done.Load()
			time.Sleep(during)
			synctest.Wait()
			if got := done.Load() - before; math.Abs(float64(got-want)) > 11 { // a tenth of a second's worth at once, and what was on its way
				t.Errorf("%d in %v, want %d", got, during, want)
			}
		}
		check(10*time.Second, 500)
		l.Set(objectstore.Limits{RequestsPerSecond: 2.5})
		check(100*time.Second, 250)
		l.Set(objectstore.Limits{RequestsPerSecond: 0.001})
		check(time.Minute, 1)
		l.Set(objectstore.Limits{RequestsPerSecond: 100}) // for those that wait already, too
		check(5*time.Second, 500)
		l.Set(objectstore.Limits{RequestsPerSecond: 0.001})
		stop()
	})
}

func TestAStoreHasARateOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := piped(t, func(int) string { return answerOf(200) }, func(c *objectstore.Config) { c.RequestsPerSecond = 5 })
		defer store.Close()
		begin := time.Now()
		for range 51 {
			if res := do(t, store, tag("k")); !res.OK() {
				t.Fatalf("%+v", res)
			}
		}
		if got := time.Since(begin); got != 10*time.Second {
			t.Errorf("51 requests took %v", got)
		}
	})
}

// TestJobsShareAStore: of two jobs that press a store equally, one gets no more than the other; one with limits keeps to
// them and leaves the rest to the other.
func TestJobsShareAStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := piped(t, func(int) string {
			time.Sleep(20 * time.Millisecond)
			return answerOf(200)
		}, func(c *objectstore.Config) { c.MaxConcurrency = 8 })
		all, err := objectstore.NewAccess(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		job := func(l objectstore.Limits) (*objectstore.Limiter, *atomic.Int64) {
			limiter, n := objectstore.NewLimiter(l), new(atomic.Int64)
			a := all.Limited(limiter)
			for range 32 {
				wg.Go(func() {
					var res objectstore.Result
					for a.Do(ctx, tag("k"), &res); res.OK(); a.Do(ctx, tag("k"), &res) {
						n.Add(1)
					}
				})
			}
			return limiter, n
		}
		one, first := job(objectstore.Limits{})
		_, second := job(objectstore.Limits{})
		time.Sleep(10 * time.Second)
		a, b := float64(first.Load()), float64(second.Load())
		if a+b < 0.98*4000 || a/b > 1.02 || b/a > 1.02 {
			t.Errorf("shares are %v and %v of 4000", a, b)
		}
		one.Set(objectstore.Limits{MaxConcurrency: 2})
		time.Sleep(time.Second)
		a, b = float64(first.Load()), float64(second.Load())
		time.Sleep(10 * time.Second)
		a, b = float64(first.Load())-a, float64(second.Load())-b
		if a > 1.02*1000 || a+b < 0.98*4000 {
			t.Errorf("with two of eight at once, shares are %v and %v of 4000", a, b)
		}
		cancel()
		wg.Wait()
		store.Close()
	})
}

func TestWaitingWithinLimitsEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, l, _, _, _ := limitedTo(t, 0, objectstore.Limits{RequestsPerSecond: 0.001, MaxConcurrency: 1})
		var res objectstore.Result
		if a.Do(t.Context(), tag("k"), &res); !res.OK() {
			t.Fatalf("%+v", res)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				var res objectstore.Result
				if a.Do(ctx, tag("k"), &res); !res.Interrupted() || !errors.Is(res.Err, gone) || res.Attempts != 0 {
					t.Errorf("do: %+v", res)
				}
			})
			wg.Go(func() {
				if _, err := a.Head(ctx, objectstore.Object{Bucket: "b", Key: "k"}); !errors.Is(err, gone) {
					t.Errorf("head: %v", err)
				}
				if _, _, err := a.Open(ctx, objectstore.Object{Bucket: "b", Key: "k"}, 0, -1); !errors.Is(err, gone) {
					t.Errorf("open: %v", err)
				}
				if _, err := a.Versioning(ctx, "b"); !errors.Is(err, gone) {
					t.Errorf("versioning: %v", err)
				}
			})
		}
		synctest.Wait()
		cancel(gone)
		wg.Wait()
		l.Set(objectstore.Limits{MaxConcurrency: 1})
		if a.Do(t.Context(), tag("k"), &res); !res.OK() {
			t.Errorf("afterwards: %+v", res)
		}
		a.For("b").Close()
	})
}

// TestWaitingForATurnIsNoRetrying: a request that waits long within its limits keeps its attempts.
func TestWaitingForATurnIsNoRetrying(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := piped(t, func(n int) string {
			if n < 4 {
				return answerOf(503)
			}
			return answerOf(200)
		}, func(c *objectstore.Config) { c.RequestsPerSecond, c.MaxRetryTime = 0.001, time.Minute })
		defer store.Close()
		if res := do(t, store, tag("k")); !res.OK() || res.Attempts != 4 {
			t.Errorf("%+v", res)
		}
	})
}

// TestReadingTakesAPlace: within limits a stream is a request in flight from its opening until its last byte was read,
// or it is closed; so is a connection in its stead.
func TestReadingTakesAPlace(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) { c.MaxAttempts = 1 })
	text := numbers(1 << 20)
	s3.Put("b", "k", text)
	all, err := objectstore.NewAccess(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := all.Limited(objectstore.NewLimiter(objectstore.Limits{MaxConcurrency: 1}))
	o := objectstore.Object{Bucket: "b", Key: "k"}
	busy := func(want int) {
		t.Helper()
		if got := store.Stats().InFlight; got != want {
			t.Errorf("%d requests in flight, want %d", got, want)
		}
	}
	open := func() io.ReadCloser {
		t.Helper()
		r, _, err := a.Open(t.Context(), o, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open()
	busy(1)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := a.Open(soon, o, 0, -1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second stream: %v", err)
	}
	if _, err := io.CopyN(io.Discard, r, int64(len(text))); err != nil {
		t.Error(err)
	}
	busy(0) // nobody has closed it yet
	other := open()
	busy(1)
	_ = other.Close()
	_ = other.Close()
	busy(0)
	_ = r.Close()

	s3.Fault(objectstoretest.Match{Op: "GetObject", Times: 1}, objectstoretest.CutBody(100_000))
	r = open()
	if n, err := io.Copy(io.Discard, r); n != int64(len(text)) || err != nil {
		t.Errorf("over two connections: %d bytes, %v", n, err)
	}
	busy(0)
	_ = r.Close()

	free, _, err := all.Open(t.Context(), o, 0, -1) // a manifest is read all the while its tasks are done
	if err != nil {
		t.Fatal(err)
	}
	busy(0)
	_ = free.Close()

	s3.Fault(objectstoretest.Match{Op: "GetObject"}, objectstoretest.SlowDown())
	if _, _, err := a.Open(t.Context(), o, 0, -1); err == nil {
		t.Error("no error")
	}
	if got := store.Stats(); got.Throttled != 1 || got.Cuts != 1 || got.Concurrency != 32 || got.InFlight != 0 {
		t.Errorf("asked to slow down: %+v", got)
	}
}
