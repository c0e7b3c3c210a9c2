package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/report"
)

// finishIfFree starts to finish a job that has nothing running here.
func (s *Scheduler) finishIfFree(hard context.Context, w *work) {
	if w.chunks == 0 && !w.busy && s.counts[finishing] < s.config.Reports {
		s.start(hard, w, finishing, s.finish)
	}
}

// finish brings a job without work left to its end: an Active one whose tasks
// all have their outcome by way of Completing, a Cancelling or Failing one once
// its chunks are given back. It does nothing if there is work left, or if
// another node is at it.
func (s *Scheduler) finish(ctx context.Context, w *work) error {
	left, err := s.store.Work(ctx, w.job.ID)
	if err != nil || left.Claims > 0 {
		return err
	}
	own, ok, err := s.node.Own(ctx, job.Job{ID: w.job.ID, Account: w.job.Account})
	if err != nil || !ok {
		return err
	}
	defer s.disown(ctx, own)
	j, err := s.store.Job(ctx, w.job.Account, w.job.ID)
	if err != nil {
		return err
	}
	if j.Status == job.Active {
		if left.Chunks > 0 {
			return nil
		}
		if j, err = s.complete(ctx, &j); err != nil {
			return err
		}
	}
	switch j.Status {
	case job.Completing:
		return s.end(ctx, w, &j, job.Complete)
	case job.Cancelling:
		return s.end(ctx, w, &j, job.Cancelled)
	case job.Failing:
		return s.end(ctx, w, &j, job.Failed)
	default:
		return nil
	}
}

// complete moves a job to Completing, all of whose rows must have an outcome.
func (s *Scheduler) complete(ctx context.Context, j *job.Job) (job.Job, error) {
	var covered int64
	for seg, err := range s.store.Segments(ctx, j.ID) {
		if err != nil {
			return *j, err
		}
		if seg.Row != covered {
			break
		}
		covered += seg.Rows
	}
	return s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		switch {
		case j.Status != job.Active:
			return nil
		case covered != j.Plan.Tasks:
			s.logger.Error("rows of a job have no outcome", slog.String("job_id", j.ID), slog.Int64("row", covered))
			j.Become(job.Failing, time.Now())
			j.FailureReasons = append(j.FailureReasons, job.Fail(job.CodeInternal, fmt.Sprintf("Row %d of the manifest and maybe later ones have no outcome.", covered)))
		case job.OverThreshold(j.Tally.Succeeded, j.Tally.Failed):
			j.Become(job.Failing, time.Now())
			j.FailureReasons = append(j.FailureReasons, thresholdReason())
		default:
			j.Become(job.Completing, time.Now())
		}
		return nil
	})
}

func thresholdReason() job.FailureReason {
	return job.Fail(job.CodeThreshold, "More than half of the executed tasks failed. The job was stopped; the report lists what failed.")
}

// end writes the report, if there is anything to report, and ends the job.
func (s *Scheduler) end(ctx context.Context, w *work, j *job.Job, to job.Status) error {
	if j.Spec.Report.Enabled && j.Tally != nil && j.Tally.Executed() > 0 && !reportGivenUp(j) {
		store, err := s.stores.Store(ctx, j.Account, j.Spec.RoleArn)
		if err != nil {
			return err
		}
		writer := s.reportOf(store, j)
		if err := s.writeReport(ctx, writer, j); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !reportRefused(err) && w.failures+1 < s.config.ReportAttempts {
				return err // tried again by and by
			}
			s.logger.Warn("report cannot be written", slog.String("job_id", j.ID), slog.Any("err", err))
			return s.giveUpReport(ctx, j)
		}
		if err := writer.DeleteParts(ctx, s.store.Segments(ctx, j.ID)); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.logger.Warn("report parts cannot be deleted; they may be removed by hand", slog.String("job_id", j.ID), slog.Any("err", err))
		}
	}
	_, err := s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		j.Become(to, time.Now())
		return nil
	})
	return err
}

// writeReport writes the report unless that was done before a crash.
func (s *Scheduler) writeReport(ctx context.Context, writer *report.Writer, j *job.Job) error {
	if j.ReportDone {
		return nil
	}
	if err := writer.Finish(ctx, *j.WorkEnded, s.store.Segments(ctx, j.ID)); err != nil {
		return err
	}
	// From here on the parts may go: a crash must not send us back to joining them.
	_, err := s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		j.ReportDone = true
		return nil
	})
	return err
}

// giveUpReport fails a job for its report; the counters stay (reports.md section 1).
func (s *Scheduler) giveUpReport(ctx context.Context, j *job.Job) error {
	_, err := s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		if j.Status != job.Failing {
			j.Become(job.Failing, time.Now())
		}
		j.FailureReasons = append(j.FailureReasons, job.Fail(job.CodeReportFailed, report.FailureText))
		return nil
	})
	return err
}

func reportGivenUp(j *job.Job) bool {
	for _, r := range j.FailureReasons {
		if r.FailureCode == job.CodeReportFailed {
			return true
		}
	}
	return false
}

// reportRefused reports whether writing the report again would fail again: the
// store has refused it, or rows of it are lost. A store that does not answer may
// do so later.
func reportRefused(err error) bool {
	if e, ok := errors.AsType[*objectstore.Error](err); ok {
		return e.Status >= 400 && e.Status < 500
	}
	_, lost := errors.AsType[*report.WriteError](err)
	return lost
}
