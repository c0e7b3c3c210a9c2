// Package run works through one chunk: rows become tasks, tasks become
// outcomes, outcomes become segments.
//
//	manifest ─▶ windows of rows ─▶ workers ─▶ outcomes ─▶ segment: report part, then commit
//	                  ▲                          │
//	                  └── a bounded number ◀─────┘  freed in the order of the rows
//
// Workers take the rows of a window one after the other, so what was started is
// always a run of rows without holes, and what is finished in front is committed
// every few seconds. To pause, cancel or shut down, workers stop taking rows and
// tasks stop retrying; what has ended is committed, the rest of the chunk is
// given back.
// A task is never stored: after a crash the rows behind the last commit are done
// again, and are counted and reported only then.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/operation"
	"stevedore/internal/source"
)

// ErrFenced is what Claim.Commit answers when the claim is no longer ours.
var ErrFenced = errors.New("the claim on the chunk was lost")

// Claim is the right to one chunk.
type Claim interface {
	// Chunk is what is left of the chunk.
	Chunk() job.Chunk
	// Commit makes the outcomes of the first rows of the chunk durable, adds delta
	// to the job's counters and leaves rest of the chunk, or ends the chunk if rest
	// has no rows; all of it or nothing. It answers ErrFenced if another may hold
	// the chunk by now; after any other error the same call may be made again.
	Commit(ctx context.Context, s job.Segment, delta job.Tally, rest job.Chunk) error
}

// Report takes the rows of the completion report.
type Report interface {
	// Wants reports whether rows of failed, or else of succeeded, tasks are reported.
	Wants(failed bool) bool
	// PutPart stores rows of one status of the segment that starts at row.
	PutPart(ctx context.Context, row int64, failed bool, rows int64, data []byte) (job.Part, error)
}

// Config bounds what running costs. Zero values mean the defaults.
type Config struct {
	Workers      int           // tasks of one chunk in flight, default 64
	SegmentEvery time.Duration // how often outcomes are committed, default 2 s
	SegmentBytes int           // report rows gathered before an early commit, default 4 MiB
	// ReportPatience is how long a report part is tried to be written while the
	// report's store does not answer, default 5 minutes. A refusal is final at once.
	ReportPatience time.Duration
	Logger         *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Workers <= 0 {
		c.Workers = 64
	}
	if c.SegmentEvery <= 0 {
		c.SegmentEvery = 2 * time.Second
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 4 << 20
	}
	if c.ReportPatience <= 0 {
		c.ReportPatience = 5 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Job is what all chunks of one job share on this node.
type Job struct {
	Source    *source.Source      // the manifest
	Operation operation.Operation // over a Client
	Guard     *operation.Guard    // nil where keys are no keys of objects
	Report    Report
	Versions  *Versions
	Meter     *Meter

	reportLost atomic.Pointer[string] // why there will be no report
}

// Runner runs chunks. It keeps no state of its own and may run many at once.
type Runner struct{ config Config }

// New returns a Runner.
func New(c Config) *Runner { return &Runner{c.withDefaults()} }

// Chunk works through the chunk of claim until it is finished, or until soft
// ends: then it ends what it has started and commits it. When hard ends, of which
// soft is a child, it stops at once, and what is not committed is lost, not
// counted. Chunk answers nil if the chunk was finished or drained, ErrFenced if
// the claim was lost, a *job.FailedError if the job must fail, and any other
// error if the chunk may be tried again later.
func (r *Runner) Chunk(soft, hard context.Context, j *Job, claim Claim) error {
	chunk := claim.Chunk()
	drain := soft
	hard, cancel := context.WithCancelCause(hard)
	defer cancel(nil)
	// Ends with the drain or, if the chunk cannot go on, before it. Reading ends
	// with it too: a store that does not answer must not hold up a drain.
	soft, stop := context.WithCancel(soft)
	defer stop()

	rows, err := j.Source.Open(soft, chunk.File, chunk.ETag,
		manifest.Position{Offset: chunk.Offset, Line: chunk.Line}, manifest.Position{Offset: chunk.End})
	switch {
	case hard.Err() != nil:
		return context.Cause(hard)
	case drain.Err() != nil:
		if err == nil {
			rows.Close()
		}
		return nil
	case err != nil:
		return unreadable(err)
	}
	defer rows.Close()

	c := &chunkRun{
		config: r.config, job: j, claim: claim, stop: stop,
		rest: chunk, slots: make(chan struct{}, windowsInFlight), wake: make(chan struct{}, 1), batch: 1,
	}
	if b, ok := j.Operation.(operation.Batcher); ok {
		c.batch, c.batcher = int64(b.Batch()), b
	}
	c.memory.rows = max(windowRows, c.batch)
	c.first = newWindow()
	c.head = c.first

	var wg sync.WaitGroup
	var readErr error
	wg.Go(func() { readErr = c.read(soft, rows, chunk.Rows) })
	for range min(int64(r.config.Workers), chunk.Rows) {
		wg.Go(func() { c.work(soft, hard) })
	}
	idle := make(chan struct{})
	go func() {
		wg.Wait()
		close(idle)
	}()

	err = c.commitUntil(hard, idle)
	if err != nil {
		cancel(err) // nobody may act on a chunk that is not ours
		stop()
	}
	<-idle
	failed, isFailed := errors.AsType[*job.FailedError](c.broken)
	switch {
	case err != nil:
		return err
	case isFailed && hard.Err() == nil:
		return failed
	case drain.Err() != nil || c.rest.Rows == 0:
		return context.Cause(hard)
	case readErr != nil:
		return readErr
	case c.broken != nil:
		return fmt.Errorf("task without an outcome: %w", c.broken)
	default:
		return fmt.Errorf("manifest: %d rows of chunk %d are missing", c.rest.Rows, chunk.First)
	}
}

// unreadable tells a manifest that is gone for good from a store that is down.
// Planning has read the same bytes: whatever else is wrong with them may pass.
func unreadable(err error) error {
	failed, ok := errors.AsType[*job.FailedError](err)
	if !ok {
		return err
	}
	fail := func(text string) error {
		return &job.FailedError{Reason: job.Fail(failed.Reason.FailureCode, text), Err: err}
	}
	switch failed.Reason.FailureCode {
	case job.CodeManifestChanged:
		return fail("The manifest was changed while the job ran")
	case job.CodeManifestNotFound:
		return fail("The manifest was deleted while the job ran")
	case job.CodeManifestForbidden:
		return failed
	default:
		return fmt.Errorf("read manifest: %w", cause(failed))
	}
}

// cause is what a job would fail for that is not to fail: without what makes it fail.
func cause(failed *job.FailedError) error {
	if failed.Err != nil {
		return failed.Err
	}
	return errors.New(failed.Reason.FailureReason)
}
