package run_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/run"
)

// Whatever happens to the claims on a chunk - drained, dropped, fenced off, its
// manifest broken, the job store out of order - the rows end up committed once
// each, in order, with the outcome they had.
func TestEachRowIsCommittedOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			n := rapid.Int64Range(1, 1500).Draw(rt, "rows")
			modulus := rapid.Int64Range(1, 7).Draw(rt, "every nth fails")
			fails := func(row int64) bool { return row%modulus == 3 }
			slow := rapid.Int64Range(1, 500).Draw(rt, "every nth is slow")
			var attempted sync.Map
			b := newBench(t, n, do(func(ctx context.Context, key string, out *job.Outcome) error {
				row := number(key)
				wait := time.Duration(row%7) * time.Millisecond
				if row%slow == 0 {
					wait = time.Second
				}
				time.Sleep(wait)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				attempted.Store(row, true)
				settle(out, fails(row))
				return nil
			}))
			runner := run.New(run.Config{
				Workers:      rapid.IntRange(1, 70).Draw(rt, "workers"),
				SegmentEvery: time.Duration(rapid.IntRange(1, 300).Draw(rt, "segment every")) * time.Millisecond,
				SegmentBytes: rapid.IntRange(1, 100_000).Draw(rt, "segment bytes"),
			})
			for claims := 0; b.book.left() > 0; claims++ {
				hard, kill := context.WithCancelCause(t.Context())
				soft, drain := context.WithCancel(hard)
				after := time.Duration(rapid.IntRange(0, 3000).Draw(rt, "after")) * time.Millisecond
				what := rapid.SampledFrom([]string{"drain", "kill", "fence", "break", "refuse", "nothing"}).Draw(rt, "fault")
				if claims > 20 {
					what = "nothing"
				}
				c := b.book.claim()
				errKilled := errors.New("killed")
				stop := func() bool { return false }
				switch what {
				case "drain":
					stop = time.AfterFunc(after, drain).Stop
				case "kill":
					stop = time.AfterFunc(after, func() { kill(errKilled) }).Stop
				case "fence":
					stop = time.AfterFunc(after, b.book.lose).Stop
				case "break":
					b.manifest.breaks.Store(1)
				case "refuse":
					b.book.refusals = 3
				}
				err := runner.Chunk(soft, hard, b.job, c)
				stop()
				switch {
				case err == nil:
					if b.book.left() > 0 && what != "drain" {
						rt.Errorf("chunk ended with %d rows left after %q", b.book.left(), what)
					}
				case what == "kill" && errors.Is(err, errKilled):
				case what == "fence" && errors.Is(err, run.ErrFenced):
				case what == "break" && strings.Contains(err.Error(), "connection reset"):
				default:
					rt.Errorf("%s: %v", what, err)
				}
				kill(nil)
				drain()
				b.manifest.breaks.Store(0)
			}
			b.check(rt, fails)
			for row := range n {
				if _, ok := attempted.Load(row); !ok {
					rt.Errorf("row %d was never attempted", row)
				}
			}
		})
	})
}

// A drain lets what was started end and commits it: no row is done twice.
func TestDrainLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var done [5000]atomic.Int32
		b := newBench(t, int64(len(done)), do(func(_ context.Context, key string, out *job.Outcome) error {
			row := number(key)
			time.Sleep(time.Duration(1+row%50) * time.Millisecond)
			done[row].Add(1)
			settle(out, false)
			return nil
		}))
		runner := run.New(run.Config{})
		for claims := 0; b.book.left() > 0; claims++ {
			soft, drain := context.WithCancel(t.Context())
			time.AfterFunc(200*time.Millisecond, drain)
			if err := runner.Chunk(soft, t.Context(), b.job, b.book.claim()); err != nil {
				t.Fatal(err)
			}
			if claims > 100 {
				t.Fatal("no progress")
			}
			drain()
		}
		for row := range done {
			if n := done[row].Load(); n != 1 {
				t.Errorf("row %d was done %d times", row, n)
			}
		}
		b.check(t, func(int64) bool { return false })
	})
}

// One task that does not end holds up a bounded number of rows behind it.
func TestASlowTaskHoldsUpABoundedNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int64
		gate := make(chan struct{})
		b := newBench(t, 50_000, do(func(_ context.Context, key string, out *job.Outcome) error {
			if key == "0" {
				<-gate
			}
			done.Add(1)
			settle(out, false)
			return nil
		}))
		ended := make(chan error)
		go func() { ended <- run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim()) }()
		synctest.Wait()
		if n := done.Load(); n != 16*512-1 {
			t.Errorf("%d tasks were done behind one that hangs", n)
		}
		close(gate)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		b.check(t, func(int64) bool { return false })
	})
}

func TestAHardStopIsNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hard, kill := context.WithCancelCause(t.Context())
		b := newBench(t, 1000, do(func(ctx context.Context, _ string, _ *job.Outcome) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		start := time.Now()
		cause := errors.New("cause")
		time.AfterFunc(time.Second, func() { kill(cause) })
		err := run.New(run.Config{}).Chunk(hard, hard, b.job, b.book.claim())
		if !errors.Is(err, cause) || time.Since(start) != time.Second || len(b.book.segments) != 0 {
			t.Errorf("%v after %s, %d segments", err, time.Since(start), len(b.book.segments))
		}
	})
}

// A task without an outcome, though nobody asked it to stop, ends the chunk; what
// lies before it is committed.
func TestATaskWithoutOutcomeEndsTheChunk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		closed := errors.New("store was closed")
		b := newBench(t, 50_000, do(func(_ context.Context, key string, out *job.Outcome) error {
			if key == "700" {
				return closed
			}
			settle(out, false)
			return nil
		}))
		err := run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim())
		if !errors.Is(err, closed) || b.book.tally.Succeeded != 700 {
			t.Errorf("%v, tally %+v", err, b.book.tally)
		}
		b.check(t, func(int64) bool { return false })
	})
}

// A task that gives up because the job ends is reported as failed: it is not done
// again. In any other drain it has no outcome.
func TestGivingUpAtTheEnd(t *testing.T) {
	t.Parallel()
	check := func(cause error, failed int64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			soft, drain := context.WithCancelCause(t.Context())
			b := newBench(t, 10, do(func(context.Context, string, *job.Outcome) error {
				<-soft.Done()
				return context.Cause(soft)
			}))
			time.AfterFunc(time.Second, func() { drain(cause) })
			err := run.New(run.Config{Workers: 3}).Chunk(soft, t.Context(), b.job, b.book.claim())
			if got := b.book.tally; err != nil || got.Failed != failed || got.Codes[job.CodeInternal].Count != failed || got.Succeeded != 0 {
				t.Errorf("%v: %v, tally %+v", cause, err, got)
			}
		})
	}
	check(run.ErrEnding, 3)
	check(errors.New("paused"), 0)
}

// A task that fails the job has failed itself: what was done beside it is
// committed.
func TestATaskFailsTheJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int64
		b := newBench(t, 50_000, do(func(_ context.Context, key string, out *job.Outcome) error {
			time.Sleep(time.Millisecond)
			done.Add(1)
			if key == "700" {
				return &job.FailedError{Reason: job.Fail("NoSuchFunction", "There is no such function.")}
			}
			settle(out, false)
			return nil
		}))
		err := run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim())
		failed, is := errors.AsType[*job.FailedError](err)
		if !is || failed.Reason.FailureCode != "NoSuchFunction" || b.book.tally.Executed() != done.Load() || b.book.tally.Failed != 1 {
			t.Errorf("%v, tally %+v, %d tasks done", err, b.book.tally, done.Load())
		}
	})
}

func TestAPanicCostsItsTask(t *testing.T) {
	t.Parallel()
	b := newBench(t, 600, do(func(_ context.Context, key string, out *job.Outcome) error {
		if key == "77" {
			panic("bug")
		}
		settle(out, false)
		return nil
	}))
	if err := run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim()); err != nil {
		t.Fatal(err)
	}
	c := b.book.tally.Codes[job.CodeInternal]
	if b.book.tally.Succeeded != 599 || c.Count != 1 || c.Samples[0] != "b/77" {
		t.Errorf("tally %+v", b.book.tally)
	}
}

func TestManifestThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		code string
		text string
	}{
		"gone":      {&objectstore.Error{Status: 404}, job.CodeManifestNotFound, "The manifest was deleted while the job ran"},
		"changed":   {&objectstore.Error{Status: 412}, job.CodeManifestChanged, "The manifest was changed while the job ran"},
		"forbidden": {&objectstore.Error{Status: 403}, job.CodeManifestForbidden, "Reading the manifest is forbidden: AccessDenied"},
		"down":      {&objectstore.Error{Status: 503, Code: "SlowDown"}, "", ""},
	} {
		b := newBench(t, 10, nil)
		b.manifest.err = fmt.Errorf("wrapped: %w", c.err)
		err := run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim())
		failed, is := errors.AsType[*job.FailedError](err)
		if err == nil || is != (c.code != "") || is && (failed.Reason.FailureCode != c.code || failed.Reason.FailureReason != c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for want, errs := range map[bool][]error{
		true:  {&objectstore.Error{Status: 403, Code: "AccessDenied"}, fmt.Errorf("write report: %w", &objectstore.Error{Status: 400})},
		false: {&objectstore.Error{Status: 409}, &objectstore.Error{Status: 503}, errors.New("disk full")},
	} {
		for _, err := range errs {
			if run.Refused(err) != want {
				t.Errorf("%#v: refused %t", err, !want)
			}
		}
	}
}

func TestReportThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20_000, do(func(_ context.Context, _ string, out *job.Outcome) error {
			time.Sleep(time.Millisecond)
			settle(out, false)
			return nil
		}))
		b.report.err = &objectstore.Error{Status: 403, Code: "AccessDenied"}
		start := time.Now()
		if err := run.New(run.Config{SegmentEvery: 10 * time.Millisecond}).Chunk(t.Context(), t.Context(), b.job, b.book.claim()); err != nil {
			t.Fatal(err)
		}
		if b.book.tally.Succeeded != 20_000 || len(b.book.segments) < 2 || time.Since(start) > time.Second {
			t.Errorf("tally %+v in %d segments after %s", b.book.tally, len(b.book.segments), time.Since(start))
		}
		for _, s := range b.book.segments {
			if s.ReportError == "" || s.Parts != nil {
				t.Errorf("segment %+v", s)
			}
		}
		if b.report.puts != 1 {
			t.Errorf("%d parts were tried though the first was refused", b.report.puts)
		}
	})
}

// A report store that does not answer is waited for, but not for ever, and not
// once more with every segment.
func TestReportStoreThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20_000, do(func(_ context.Context, _ string, out *job.Outcome) error {
			settle(out, false)
			return nil
		}))
		b.report.err = errors.New("no route")
		start := time.Now()
		config := run.Config{ReportPatience: 10 * time.Minute, SegmentBytes: 10_000}
		if err := run.New(config).Chunk(t.Context(), t.Context(), b.job, b.book.claim()); err != nil {
			t.Fatal(err)
		}
		if b.book.tally.Succeeded != 20_000 || len(b.book.segments) < 2 {
			t.Errorf("tally %+v in %d segments", b.book.tally, len(b.book.segments))
		}
		if d := time.Since(start); d < 5*time.Minute || d > 11*time.Minute {
			t.Errorf("given up after %s", d)
		}
	})
}

func TestMeter(t *testing.T) {
	t.Parallel()
	trips := 0
	run.NewMeter(job.Tally{Succeeded: 500, Failed: 500}, func() { trips++ })
	run.NewMeter(job.Tally{Failed: 999}, func() { trips++ })
	if trips != 0 {
		t.Errorf("%d trips below the threshold", trips)
	}
	run.NewMeter(job.Tally{Succeeded: 499, Failed: 501}, func() { trips++ })
	if trips != 1 {
		t.Errorf("%d trips from a start above the threshold", trips)
	}
}

// The meter trips at the very task that passes the threshold, and once.
func TestMeterTripsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		failing := rapid.IntRange(0, 1100).Draw(rt, "failing")
		start := rapid.Int64Range(0, 600).Draw(rt, "failed before")
		executed, failed := start, start
		want := int64(0)
		trips := 0
		b := newBench(t, 1100, do(func(_ context.Context, key string, out *job.Outcome) error {
			bad := number(key) < int64(failing)
			settle(out, bad)
			if executed++; bad {
				failed++
			}
			if want == 0 && executed >= 1000 && failed*2 > executed {
				want = executed
			}
			return nil
		}))
		b.job.Meter = run.NewMeter(job.Tally{Failed: start}, func() {
			trips++
			if executed != want {
				rt.Errorf("tripped at task %d, want %d", executed, want)
			}
		})
		if err := run.New(run.Config{Workers: 1}).Chunk(t.Context(), t.Context(), b.job, b.book.claim()); err != nil {
			rt.Fatal(err)
		}
		if (want != 0) != (trips == 1) || trips > 1 {
			rt.Errorf("%d trips, want one at task %d", trips, want)
		}
	})
}
