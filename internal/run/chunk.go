package run

import (
	"context"
	"errors"
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

	batch   int64             // rows that a worker takes at once
	batcher operation.Batcher // if that is more than one
	memory  memory
	slots   chan struct{} // one per window in flight
	first   *window       // where workers start
	wake    chan struct{} // a window has ended

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
	skipped    int64     // of rows: not attempted, since the job ends
	parts      [2][]byte // report rows: of succeeded, of failed tasks
	partRows   [2]int64
	reportable [2]bool
}

// read fills windows until the chunk ends or soft does.
func (c *chunkRun) read(soft context.Context, rows manifest.Rows, want int64) error {
	w := c.first
	for want > 0 {
		select {
		case c.slots <- struct{}{}:
		case <-soft.Done():
			want = 0
			continue
		}
		mem := c.memory.get()
		n := rows.Fill(&mem.batch, int(min(want, c.memory.rows)))
		if n == 0 {
			break
		}
		want -= int64(n)
		w.publish(mem)
		w = w.next
	}
	w.publish(nil)
	if err := rows.Err(); err != nil && soft.Err() == nil {
		return unreadable(err)
	}
	return nil
}

// work takes rows and does their tasks until there are none or soft ends.
func (c *chunkRun) work(soft, hard context.Context) {
	w := &worker{scratch: operation.NewScratch()}
	ctx := w.try.with(hard)
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
			first, n := win.take(c.batch)
			if n == 0 {
				break
			}
			var err error
			if n == 1 {
				err = w.do(soft, ctx, c.job, win.rows.batch.Row(int(first)), &win.rows.outcomes[first])
			} else {
				err = w.doBatch(soft, ctx, c.job, c.batcher, win.rows, first, n)
			}
			if c.settle(win, first, n, err) {
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

// settle notes how n rows of a window stand whose tasks came to err, and reports
// whether they were the last of it to end.
func (c *chunkRun) settle(win *window, first, n int64, err error) (last bool) {
	missing := errors.Is(err, errNotStarted)
	if err != nil && !missing {
		c.breaks.Do(func() { c.broken = err })
		c.stop()
	}
	state := ended
	failed, fails := errors.AsType[*job.FailedError](err)
	if err != nil && !fails && !missing {
		state = unsettled // nothing behind these rows can be committed any more
	}
	for i := first; i < first+n; i++ {
		out := &win.rows.outcomes[i]
		if fails {
			// So have the tasks: those behind them may be done, and must not be missing in the report.
			*out = job.Outcome{Failed: true, HTTPStatus: http.StatusInternalServerError, Code: failed.Reason.FailureCode, Message: failed.Reason.FailureReason, Attempts: 1}
		}
		state := state
		if missing && *out == (job.Outcome{}) {
			state = unstarted
		}
		if state == ended {
			c.job.Meter.count(out.Failed)
		}
		last = win.settle(i, state) || last
	}
	return last
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
			if w.rows.state[c.at].Load() == unstarted {
				c.segment.rows++
				c.segment.skipped++
			} else {
				c.segment.add(w.rows.batch.Row(int(c.at)), &w.rows.outcomes[c.at])
			}
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
	s.tally, s.rows, s.skipped = job.Tally{}, 0, 0
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
		Succeeded: s.tally.Succeeded, Failed: s.tally.Failed, Skipped: s.skipped,
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
			c.config.Logger.WarnContext(hard, "report part cannot be written", "row", seg.Row, "err", err)
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
		c.config.Logger.WarnContext(hard, "segment cannot be committed yet", "row", seg.Row, "err", err)
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

// Refused reports whether the store has refused for good to write a report or a
// part of one. To [objectstore.Refused] it adds that a conflict is not for good: the
// other request will be over.
func Refused(err error) bool {
	e, ok := errors.AsType[*objectstore.Error](err)
	return ok && e.Status != http.StatusConflict && objectstore.Refused(err)
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
