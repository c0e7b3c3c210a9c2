package schedule

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/report"
	"stevedore/internal/run"
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
func (s *Scheduler) finish(ctx context.Context, t *turn) error {
	left, err := s.store.Work(ctx, t.id)
	if err != nil {
		return err
	}
	if left.Claims > 0 {
		return errElsewhere
	}
	own, err := s.own(ctx, t)
	if err != nil {
		return err
	}
	defer s.disown(ctx, own)
	j, err := s.store.Job(ctx, t.account, t.id)
	if err != nil {
		return err
	}
	if j.Status == job.Active {
		if left.Chunks > 0 {
			return errElsewhere // given back by another node just now
		}
		if j, err = s.complete(ctx, &j); err != nil {
			return err
		}
	}
	switch j.Status {
	case job.Completing:
		return s.end(ctx, t, &j, job.Complete)
	case job.Cancelling:
		return s.end(ctx, t, &j, job.Cancelled)
	case job.Failing:
		return s.end(ctx, t, &j, job.Failed)
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
		if seg.Row != covered || seg.Skipped > 0 { // rows are skipped in jobs that cannot complete
			break
		}
		covered += seg.Rows
	}
	return s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		switch {
		case j.Status != job.Active:
			return nil
		case covered != j.Plan.Tasks:
			s.logger.ErrorContext(ctx, "rows of a job have no outcome", "job_id", j.ID, "row", covered)
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
func (s *Scheduler) end(ctx context.Context, t *turn, j *job.Job, to job.Status) error {
	if j.Spec.Report.Enabled && j.Tally != nil && j.Tally.Executed() > 0 {
		store, err := s.stores.Store(ctx, j.Account, j.Spec.RoleArn)
		if gone, is := errors.AsType[*job.FailedError](err); is {
			return s.endWithoutReport(ctx, j, to, gone.Reason)
		}
		if err != nil {
			return err
		}
		writer := s.reportOf(store, j)
		if !reportGivenUp(j) {
			if err := s.writeReport(ctx, writer, j); err != nil {
				if s.again(ctx, t, err) {
					return err
				}
				s.logger.WarnContext(ctx, "report cannot be written", "job_id", j.ID, "err", err)
				return s.giveUpReport(ctx, j, err)
			}
		}
		if err := writer.DeleteParts(ctx, s.store.Segments(ctx, j.ID)); err != nil {
			if s.again(ctx, t, err) {
				return err
			}
			s.logger.WarnContext(ctx, "report parts cannot be deleted; they may be removed by hand", "job_id", j.ID, "err", err)
		}
	}
	_, err := s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		j.Become(to, time.Now())
		return nil
	})
	return err
}

// endWithoutReport ends a job whose report nobody may write any more: the role it
// would be written with is gone. What lies in the report bucket stays there.
func (s *Scheduler) endWithoutReport(ctx context.Context, j *job.Job, to job.Status, reason job.FailureReason) error {
	s.logger.WarnContext(ctx, "report cannot be written", "job_id", j.ID, "reason", reason.FailureReason)
	_, err := s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		if !slices.Contains(j.FailureReasons, reason) {
			j.FailureReasons = append(j.FailureReasons, reason)
		}
		if to == job.Complete {
			j.Become(job.Failing, time.Now()) // from where it comes here once more
		} else {
			j.Become(to, time.Now())
		}
		return nil
	})
	return err
}

// again reports whether what failed with err is worth another try. It is not if
// the store has refused it, if rows of the report are lost, or if the store has
// not answered for too long.
func (s *Scheduler) again(ctx context.Context, t *turn, err error) bool {
	if ctx.Err() != nil || errors.Is(err, job.ErrUnavailable) {
		return true
	}
	_, store := errors.AsType[*objectstore.Error](err)
	if _, report := errors.AsType[*report.WriteError](err); run.Refused(err) || report && !store {
		return false
	}
	return !t.last(s.config.Attempts)
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
func (s *Scheduler) giveUpReport(ctx context.Context, j *job.Job, cause error) error {
	reason := job.Fail(job.CodeReportFailed, report.FailureText+" ("+reportDetail(job.BucketName(j.Spec.Report.Bucket), cause)+")")
	_, err := s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		if j.Status != job.Failing {
			j.Become(job.Failing, time.Now())
		}
		j.FailureReasons = append(j.FailureReasons, reason)
		return nil
	})
	return err
}

// reportDetail says in a few words why a report cannot be written. Of an answer
// of the store, status and code do: the rest names a part the user never asked
// for. What failed while tasks ran is known by its text only.
func reportDetail(bucket string, cause error) string {
	if e, ok := errors.AsType[*objectstore.Error](cause); ok && e.Status == 0 {
		return bucket + ": no answer"
	} else if ok {
		return fmt.Sprintf("%s: %d %s", bucket, e.Status, e.Code)
	}
	text := cause.Error()
	for {
		rest, again := strings.CutPrefix(text, "write report: ")
		if !again {
			break
		}
		text = rest
	}
	if m := regexp.MustCompile(`^\w+ .*: (\d+ \w+)(: |$)`).FindStringSubmatch(text); m != nil {
		text = m[1]
		if strings.HasPrefix(text, "0 ") {
			text = "no answer"
		}
	}
	return bucket + ": " + text
}

func reportGivenUp(j *job.Job) bool {
	for _, r := range j.FailureReasons {
		if r.FailureCode == job.CodeReportFailed {
			return true
		}
	}
	return false
}
