package run

import (
	"context"
	"errors"
	"fmt"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/operation"
)

// worker is what one goroutine needs to do tasks.
type worker struct {
	scratch *operation.Scratch
	bucket  string // of the task before, so that it is not made anew for each
	task    operation.Task
	try     try

	// Of a batch.
	tasks []operation.Task
	outs  []job.Outcome
	at    []int64 // which row of the window each task is
}

// prepare makes the task of a row. ready is false if the row has its outcome
// without it. An error means that it has none.
func (w *worker) prepare(ctx context.Context, j *Job, row manifest.Row, task *operation.Task, out *job.Outcome) (ready bool, err error) {
	if w.bucket != string(row.Bucket) {
		w.bucket = string(row.Bucket)
	}
	*task = operation.Task{Bucket: w.bucket, Key: row.Key, RawKey: row.RawKey, VersionID: row.VersionID}
	if j.Guard != nil {
		if refused, err := j.Guard.Refuses(ctx, w.bucket, row.Key, out); refused || err != nil {
			return false, err
		}
	}
	if !j.Source.Layout.HasVersionID() {
		return true, nil
	}
	keeps, err := j.Versions.keeps(ctx, w.bucket)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err != nil && len(row.VersionID) == 0:
		*out = job.Outcome{Failed: true, HTTPStatus: 503, Code: "ServiceUnavailable", Message: "cannot tell whether the bucket keeps versions: " + err.Error()}
		return false, nil
	case err == nil && !keeps:
		task.VersionID = nil
	case len(row.VersionID) == 0:
		*out = job.Outcome{Failed: true, HTTPStatus: 400, Code: "InvalidRequest", Message: "Task failed due to missing VersionId"}
		return false, nil
	}
	return true, nil
}

// errNotStarted: the job came to its end before the store was asked to do a task.
var errNotStarted = errors.New("the task was not started")

// do does one task. An error means that it has no outcome; errNotStarted, that it
// need not have one.
func (w *worker) do(soft, ctx context.Context, j *Job, row manifest.Row, out *job.Outcome) (err error) {
	defer func() {
		if p := recover(); p != nil { // a bug costs its task, not the process
			*out = panicked(p)
			err = nil
		}
	}()
	w.try.reset()
	ready, err := w.prepare(ctx, j, row, &w.task, out)
	if gaveUp(soft, ctx, err) {
		return errNotStarted
	}
	if err != nil || !ready {
		return err
	}
	w.try.reset() // what was looked up before it is no attempt of the task
	if err = j.Operation.Do(ctx, &w.task, w.scratch, out); gaveUp(soft, ctx, err) {
		if !w.try.started() {
			return errNotStarted
		}
		*out = stopped()
		return nil
	}
	return err
}

// doBatch does the tasks of n rows with one call. An error means that none of them
// has an outcome; errNotStarted, that those without one need none.
func (w *worker) doBatch(soft, ctx context.Context, j *Job, b operation.Batcher, rows *rowsAndOutcomes, first, n int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			for i := first; i < first+n; i++ {
				rows.outcomes[i] = panicked(p)
			}
			err = nil
		}
	}()
	w.tasks, w.outs, w.at = w.tasks[:0], w.outs[:0], w.at[:0]
	w.try.reset()
	for i := first; i < first+n; i++ {
		var task operation.Task
		ready, err := w.prepare(ctx, j, rows.batch.Row(int(i)), &task, &rows.outcomes[i])
		if gaveUp(soft, ctx, err) {
			return errNotStarted
		}
		if err != nil {
			return err
		}
		if ready {
			w.tasks, w.outs, w.at = append(w.tasks, task), append(w.outs, job.Outcome{}), append(w.at, i)
		}
	}
	if len(w.tasks) == 0 {
		return nil
	}
	w.try.reset()
	err = b.DoBatch(ctx, w.tasks, w.scratch, w.outs)
	if gaveUp(soft, ctx, err) {
		err = errNotStarted
		if w.try.started() {
			err = nil
			for i := range w.outs {
				if w.outs[i] == (job.Outcome{}) { // the others had theirs before
					w.outs[i] = stopped()
				}
			}
		}
	}
	for i, at := range w.at {
		rows.outcomes[at] = w.outs[i]
	}
	return err
}

func panicked(p any) job.Outcome {
	return job.Outcome{Failed: true, HTTPStatus: 500, Code: job.CodeInternal, Message: fmt.Sprintf("panic: %v", p), Attempts: 1}
}

// gaveUp reports whether a task ended with err since the job ends, and will not be
// done again.
func gaveUp(soft, ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil || !errors.Is(context.Cause(soft), ErrEnding) {
		return false
	}
	_, failed := errors.AsType[*job.FailedError](err)
	return !failed
}

func stopped() job.Outcome {
	return job.Outcome{Failed: true, HTTPStatus: 500, Code: job.CodeInternal, Message: ErrEnding.Error(), Attempts: 1}
}
