package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/report"
)

// chunkRun is one chunk being worked through. The reader owns the end of the
// list of windows, the committer its head; workers meet them in the windows only.
type chunkRun struct {
	config Config
	job    *Job
	claim  Claim
	stop   context.CancelFunc // take no more rows

	breaks sync.Once
	broken error // why the chunk cannot go on: what the first task without an outcome, or that fails the job, said

	memory memory
	slots  chan struct{} // one per window in flight
	first  *window       // where workers start
	wake   chan struct{} // a window has ended

	// The committer's own.
	head    *window   // the window that is taken in now
	at      int64     // rows of head taken in
	rest    job.Chunk // of the chunk, after the rows taken in
	done    bool      // the end of the list, or a row without outcome, was reached
	segment segment
}

// segment gathers outcomes until they are committed.
type segment struct {
	tally      job.Tally
	rows       int64
	parts      [2][]byte // report rows: of succeeded, of failed tasks
	partRows   [2]int64
	reportable [2]bool
}

// read fills windows until the chunk ends or soft does.
func (c *chunkRun) read(soft context.Context, rows *manifest.CSV, want int64) error {
	w := c.first
	for want > 0 {
		select {
		case c.slots <- struct{}{}:
		case <-soft.Done():
			want = 0
			continue
		}
		mem := c.memory.get()
		n := rows.Fill(&mem.batch, int(min(want, windowRows)))
		if n == 0 {
			break
		}
		want -= int64(n)
		w.publish(mem)
		w = w.next
	}
	w.publish(nil)
	if err := rows.Err(); err != nil && soft.Err() == nil {
		// Planning read these very bytes and found them good: it is the reading that failed.
		return unreadable(err)
	}
	return nil
}

// work takes rows and does their tasks until there are none or soft ends.
func (c *chunkRun) work(soft, hard context.Context) {
	w := &worker{scratch: operation.NewScratch()}
	for win := c.first; ; win = win.next {
		select {
		case <-win.published:
		case <-hard.Done():
			return
		}
		if win.n == 0 {
			return
		}
		for soft.Err() == nil {
			i, ok := win.take()
			if !ok {
				break
			}
			state := ended
			out := &win.rows.outcomes[i]
			err := w.do(soft, hard, c.job, win.rows.batch.Row(int(i)), out)
			if err != nil {
				c.breaks.Do(func() { c.broken = err })
				c.stop()
			}
			if failed, is := errors.AsType[*job.FailedError](err); is {
				// So has the task: those behind it may be done, and must not be missing in the report.
				*out = job.Outcome{Failed: true, HTTPStatus: http.StatusInternalServerError, Code: failed.Reason.FailureCode, Message: failed.Reason.FailureReason, Attempts: 1}
			} else if err != nil {
				state = unsettled // nothing behind this row can be committed any more
			}
			if state == ended {
				c.job.Meter.count(out.Failed)
			}
			if win.settle(i, state) {
				select {
				case c.wake <- struct{}{}:
				default:
				}
			}
		}
		if soft.Err() != nil {
			return
		}
	}
}

// worker is what one goroutine needs to do tasks.
type worker struct {
	scratch *operation.Scratch
	bucket  string // of the task before, so that it is not made anew for each
	task    operation.Task
}

// do does one task. An error means that it has no outcome.
func (w *worker) do(soft, ctx context.Context, j *Job, row manifest.Row, out *job.Outcome) (err error) {
	defer func() {
		if p := recover(); p != nil { // a bug costs its task, not the process
			*out = job.Outcome{Failed: true, HTTPStatus: 500, Code: job.CodeInternal, Message: fmt.Sprintf("panic: %v", p), Attempts: 1}
			err = nil
		}
	}()
	if w.bucket != string(row.Bucket) {
		w.bucket = string(row.Bucket)
	}
	w.task = operation.Task{Bucket: w.bucket, Key: row.Key, RawKey: row.RawKey, VersionID: row.VersionID}
	if j.Layout.HasVersionID() {
		keeps, err := j.Versions.keeps(ctx, w.bucket)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && len(row.VersionID) == 0:
			*out = job.Outcome{Failed: true, HTTPStatus: 503, Code: "ServiceUnavailable", Message: "cannot tell whether the bucket keeps versions: " + err.Error()}
			return nil
		case err == nil && !keeps:
			w.task.VersionID = nil
		case len(row.VersionID) == 0:
			*out = job.Outcome{Failed: true, HTTPStatus: 400, Code: "InvalidRequest", Message: "Task failed due to missing VersionId"}
			return nil
		}
	}
	err = j.Operation.Do(ctx, &w.task, w.scratch, out)
	if _, failed := errors.AsType[*job.FailedError](err); err != nil && !failed && ctx.Err() == nil && errors.Is(context.Cause(soft), ErrEnding) {
		// It gave up since the job ends, and it will not be done again.
		*out = job.Outcome{Failed: true, HTTPStatus: 500, Code: job.CodeInternal, Message: ErrEnding.Error(), Attempts: 1}
		return nil
	}
	return err
}

// commitUntil takes in outcomes and commits them, until everybody else is idle
// and all is committed.
func (c *chunkRun) commitUntil(hard context.Context, idle <-chan struct{}) error {
	for i := range 2 {
		c.segment.reportable[i] = c.job.Report.Wants(i == 1)
	}
	tick := time.NewTicker(c.config.SegmentEvery)
	defer tick.Stop()
	for {
		last, due := false, false
		select {
		case <-idle:
			last = true
		case <-tick.C:
			due = true
		case <-c.wake:
		}
		if err := c.takeIn(hard); err != nil {
			return err
		}
		if c.segment.rows > 0 && (due || last || c.rest.Rows == 0) {
			if err := c.commit(hard); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// takeIn moves outcomes from the windows to the segment, in the order of the
// rows, as far as they are there.
func (c *chunkRun) takeIn(hard context.Context) error {
	for !c.done {
		select {
		case <-c.head.published:
		default:
			return nil
		}
		w := c.head
		for c.at < w.n {
			switch w.rows.state[c.at].Load() {
			case pending:
				return nil
			case unsettled:
				// Rows behind this one may have their outcome; without it they cannot be counted.
				c.done = true
				return nil
			}
			row, out := w.rows.batch.Row(int(c.at)), &w.rows.outcomes[c.at]
			c.segment.add(row, out)
			end := w.rows.batch.End(int(c.at))
			c.rest.Row++
			c.rest.Rows--
			c.rest.Offset, c.rest.Line = end.Offset, end.Line
			c.at++
			if len(c.segment.parts[0])+len(c.segment.parts[1]) >= c.config.SegmentBytes {
				if err := c.commit(hard); err != nil {
					return err
				}
			}
		}
		if w.n == 0 {
			c.done = true
			return nil
		}
		c.head, c.at = w.next, 0
		c.memory.put(w.rows) // every row has ended and was taken in: no worker looks at them again
		<-c.slots
	}
	return nil
}

func (s *segment) add(row manifest.Row, out *job.Outcome) {
	i := 0
	if out.Failed {
		i = 1
		s.tally.Fail(out.Code, out.HTTPStatus, string(row.Bucket)+"/"+string(row.RawKey))
	} else {
		s.tally.Succeeded++
	}
	if out.Attempts > 1 {
		s.tally.Retried += int64(out.Attempts - 1)
	}
	s.rows++
	if s.reportable[i] {
		s.parts[i] = report.AppendRow(s.parts[i], row.Bucket, row.RawKey, row.VersionID, out)
		s.partRows[i]++
	}
}

func (s *segment) reset() {
	s.tally, s.rows = job.Tally{}, 0
	for i := range s.parts {
		s.parts[i], s.partRows[i] = s.parts[i][:0], 0
	}
}

// commit writes the report parts of the segment and then, in one transaction,
// the segment, the counters and the rest of the chunk. A crash in between leaves
// parts that no segment counts; they are deleted with the others at the end.
func (c *chunkRun) commit(hard context.Context) error {
	s := &c.segment
	seg := job.Segment{
		Row: c.rest.Row - s.rows, Rows: s.rows,
		Succeeded: s.tally.Succeeded, Failed: s.tally.Failed,
	}
	lost := c.job.reportLost.Load()
	if lost != nil {
		seg.ReportError = *lost
	}
	for i, data := range s.parts {
		if s.partRows[i] == 0 || lost != nil {
			continue
		}
		part, err := c.putPart(hard, seg.Row, i == 1, s.partRows[i], data)
		if hard.Err() != nil {
			return context.Cause(hard)
		}
		if err != nil {
			c.config.Logger.Warn("report part cannot be written", slog.Int64("row", seg.Row), slog.Any("err", err))
			// One hole and there is no report: the other segments need not wait for it.
			seg.Parts, seg.ReportError = nil, err.Error()
			c.job.reportLost.Store(new(seg.ReportError))
			break
		}
		seg.Parts = append(seg.Parts, part)
	}
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		err := c.claim.Commit(hard, seg, s.tally, c.rest)
		if err == nil {
			break
		}
		if errors.Is(err, ErrFenced) || hard.Err() != nil {
			return err
		}
		// The outcomes are kept until the job store takes them.
		c.config.Logger.Warn("segment cannot be committed yet", slog.Int64("row", seg.Row), slog.Any("err", err))
		if !pause(hard, wait) {
			return context.Cause(hard)
		}
	}
	s.reset()
	return nil
}

// putPart writes a report part. The store's client has its own retries; on top
// of them a store that does not answer is given ReportPatience, since giving up
// costs the user the report of a job that may have run for days.
func (c *chunkRun) putPart(hard context.Context, row int64, failed bool, rows int64, data []byte) (job.Part, error) {
	deadline := time.Now().Add(c.config.ReportPatience)
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		part, err := c.job.Report.PutPart(hard, row, failed, rows, data)
		if err == nil || hard.Err() != nil || Refused(err) || time.Now().Add(wait).After(deadline) {
			return part, err
		}
		if !pause(hard, wait/2+rand.N(wait/2)) {
			return part, context.Cause(hard)
		}
	}
}

// Refused reports whether the store has answered for good: asking again will not
// help. What it may answer otherwise later, or has not answered at all, is not;
// credentials that have expired are about to be renewed.
func Refused(err error) bool {
	e, ok := errors.AsType[*objectstore.Error](err)
	if !ok || e.Status < 300 || e.Status >= 500 {
		return false
	}
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	}
	switch e.Code {
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return false
	}
	return true
}

// pause waits and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
