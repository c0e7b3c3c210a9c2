package run_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/operation"
	"stevedore/internal/run"
)

// batch is an operation of many tasks a call made of a function.
type batch struct {
	size int
	do   func(ctx context.Context, tasks []operation.Task, outs []job.Outcome) error
}

func (b batch) Batch() int { return b.size }

func (b batch) Do(ctx context.Context, t *operation.Task, _ *operation.Scratch, out *job.Outcome) error {
	outs := make([]job.Outcome, 1)
	err := b.do(ctx, []operation.Task{*t}, outs)
	*out = outs[0]
	return err
}

func (b batch) DoBatch(ctx context.Context, tasks []operation.Task, _ *operation.Scratch, outs []job.Outcome) error {
	return b.do(ctx, tasks, outs)
}

// TestBatches runs chunks of any size by batches of any size, through drains.
func TestBatches(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		rows := rapid.Int64Range(1, 5000).Draw(rt, "rows")
		size := rapid.IntRange(1, 1000).Draw(rt, "size")
		workers := rapid.IntRange(1, 8).Draw(rt, "workers")
		drains := rapid.IntRange(0, 3).Draw(rt, "drains")
		every := rapid.Int64Range(1, 20).Draw(rt, "every")
		fails := func(row int64) bool { return row%every == 0 }

		var mu sync.Mutex
		var drain context.CancelFunc
		var largest int
		calls := 0
		b := newBench(t, rows, batch{size, func(_ context.Context, tasks []operation.Task, outs []job.Outcome) error {
			mu.Lock()
			defer mu.Unlock()
			calls++
			if largest = max(largest, len(tasks)); calls <= drains {
				drain()
			}
			if len(tasks) == 0 || len(tasks) != len(outs) {
				rt.Errorf("%d tasks and %d outcomes", len(tasks), len(outs))
			}
			for i := range tasks {
				if string(tasks[i].RawKey) != string(tasks[i].Key) || i > 0 && number(string(tasks[i].Key)) != number(string(tasks[i-1].Key))+1 {
					rt.Errorf("task %q behind %q", tasks[i].Key, tasks[max(0, i-1)].Key)
				}
				settle(&outs[i], fails(number(string(tasks[i].Key))))
			}
			return nil
		}})
		for b.book.left() > 0 {
			soft, cancel := context.WithCancel(t.Context())
			mu.Lock()
			drain = cancel
			mu.Unlock()
			if err := run.New(run.Config{Workers: workers}).Chunk(soft, t.Context(), b.job, b.book.claim()); err != nil {
				rt.Fatal(err)
			}
			cancel()
		}
		b.check(rt, fails)
		if largest > size {
			rt.Errorf("got %d tasks at once, want at most %d", largest, size)
		}
		if size == 1000 && rows >= 1000 && drains == 0 && largest != 1000 {
			rt.Errorf("got at most %d tasks at once, want 1000", largest)
		}
	})
}

// TestBatchesLeaveOutWhatHasItsOutcome mixes rows that are no tasks into a batch.
func TestBatchesLeaveOutWhatHasItsOutcome(t *testing.T) {
	t.Parallel()
	var got []string
	b := newBench(t, 0, batch{1000, func(_ context.Context, tasks []operation.Task, outs []job.Outcome) error {
		for i := range tasks {
			got = append(got, tasks[i].Bucket+" "+string(tasks[i].VersionID))
			settle(&outs[i], false)
		}
		return nil
	}})
	b.job.Versions = run.NewVersions(new(buckets))
	b.manifest.data = "enabled,a,1\nenabled,b,\nnever,c,3\nenabled,d,4\ndown,e,\n"
	b.job.Source = b.manifest.locate(t, job.FieldBucket, job.FieldKey, job.FieldVersionID)
	b.book.chunk = job.Chunk{Rows: 5, End: int64(len(b.manifest.data)), Line: 1}
	if err := run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim()); err != nil {
		t.Fatal(err)
	}
	if want := "enabled 1, never , enabled 4"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, ", "), want)
	}
	if b.book.tally.Succeeded != 3 || b.book.tally.Failed != 2 || b.book.tally.Codes["InvalidRequest"].Count != 1 {
		t.Errorf("got %+v", b.book.tally)
	}
}

// TestBatchesThatDoNotEndWell panic, give up, or fail the job.
func TestBatchesThatDoNotEndWell(t *testing.T) {
	t.Parallel()
	const rows = 900
	chunk := func(do func(cancel context.CancelCauseFunc) func(context.Context, []operation.Task, []job.Outcome) error) (*bench, error) {
		soft, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		b := newBench(t, rows, batch{100, do(cancel)})
		return b, run.New(run.Config{Workers: 3}).Chunk(soft, t.Context(), b.job, b.book.claim())
	}
	b, err := chunk(func(context.CancelCauseFunc) func(context.Context, []operation.Task, []job.Outcome) error {
		return func(context.Context, []operation.Task, []job.Outcome) error { panic("ouch") }
	})
	if err != nil || b.book.tally.Failed != rows || b.book.tally.Codes[job.CodeInternal].Count != rows {
		t.Errorf("panics: got %v, %+v", err, b.book.tally)
	}

	reason := job.Fail("Hopeless", "no task can succeed")
	b, err = chunk(func(context.CancelCauseFunc) func(context.Context, []operation.Task, []job.Outcome) error {
		return func(context.Context, []operation.Task, []job.Outcome) error { return &job.FailedError{Reason: reason} }
	})
	if e, ok := errors.AsType[*job.FailedError](err); !ok || e.Reason != reason || b.book.tally.Codes["Hopeless"].Count == 0 {
		t.Errorf("failed jobs: got %v, %+v", err, b.book.tally)
	}

	// What a batch had done before it gave up counts when the job ends.
	b, err = chunk(func(cancel context.CancelCauseFunc) func(context.Context, []operation.Task, []job.Outcome) error {
		return func(_ context.Context, _ []operation.Task, outs []job.Outcome) error {
			settle(&outs[0], false)
			cancel(run.ErrEnding)
			return errors.New("gave up")
		}
	})
	if n := b.book.tally.Succeeded; err != nil || n == 0 || b.book.tally.Failed != 99*n {
		t.Errorf("ends: got %v, %+v", err, b.book.tally)
	}

	// When it only pauses, none of them does.
	b, err = chunk(func(cancel context.CancelCauseFunc) func(context.Context, []operation.Task, []job.Outcome) error {
		return func(_ context.Context, tasks []operation.Task, outs []job.Outcome) error {
			if number(string(tasks[0].Key)) >= 300 {
				cancel(errors.New("paused"))
				return errors.New("gave up")
			}
			for i := range outs {
				settle(&outs[i], rand.N(2) == 0)
			}
			return nil
		}
	})
	if n := b.book.tally.Executed(); err != nil || n > 300 || n%100 != 0 {
		t.Errorf("pauses: got %v, %+v", err, b.book.tally)
	}
}
