package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"stevedore/internal/job"
)

// Shelf is what the Keeper needs of the job store.
type Shelf interface {
	Jobs(statuses ...job.Status) []job.Summary
	Update(ctx context.Context, account, id string, change func(*job.Job) error) (job.Job, error)
	Delete(ctx context.Context, account, id string) error
}

// Terms are how long jobs are waited for and kept. Zero values mean the defaults.
type Terms struct {
	Confirmation time.Duration // in Suspended before the job fails, default 30 days
	Retention    time.Duration // after the end before the record is deleted, default 90 days
}

func (t Terms) withDefaults() Terms {
	if t.Confirmation <= 0 {
		t.Confirmation = 30 * 24 * time.Hour
	}
	if t.Retention <= 0 {
		t.Retention = 90 * 24 * time.Hour
	}
	return t
}

// Keeper fails jobs that were never confirmed and deletes the records of jobs
// that ended long ago (states.md sections 2 and 9). Every node may run one: what
// it does is compare-and-set, and the second to try finds nothing to do.
type Keeper struct {
	shelf  Shelf
	terms  Terms
	logger *slog.Logger
}

// NewKeeper returns a Keeper over shelf.
func NewKeeper(shelf Shelf, terms Terms, logger *slog.Logger) *Keeper {
	return &Keeper{shelf, terms.withDefaults(), logger}
}

// Run looks through the jobs until ctx ends: when the next term is over, and, for
// the sake of jobs it has not seen, at least every hour and within the shortest
// term.
func (k *Keeper) Run(ctx context.Context) {
	longest := min(time.Hour, k.terms.Confirmation, k.terms.Retention)
	for {
		next := k.pass(ctx, time.Now())
		if !sleep(ctx, max(min(next, longest), time.Second)) {
			return
		}
	}
}

// pass does what is due at now and returns how long until something else is.
func (k *Keeper) pass(ctx context.Context, now time.Time) time.Duration {
	next := time.Hour
	due := func(since *time.Time, term time.Duration) bool {
		if since == nil {
			return false
		}
		left := since.Add(term).Sub(now)
		if left > 0 {
			next = min(next, left)
		}
		return left <= 0
	}
	for _, s := range k.shelf.Jobs(job.Suspended, job.Complete, job.Cancelled, job.Failed) {
		var err error
		switch {
		case s.Status == job.Suspended && due(s.SuspendedDate, k.terms.Confirmation):
			err = k.expire(ctx, s, now)
		case s.Status.Terminal() && due(s.TerminationDate, k.terms.Retention):
			if err = k.shelf.Delete(ctx, s.Account, s.ID); err == nil {
				k.logger.InfoContext(ctx, "job deleted after its retention", "job_id", s.ID)
			}
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, job.ErrNotFound) {
			k.logger.WarnContext(ctx, "job cannot be tidied up", "job_id", s.ID, "err", err)
			next = min(next, time.Minute)
		}
	}
	return next
}

func (k *Keeper) expire(ctx context.Context, s job.Summary, now time.Time) error {
	from := s.Status
	j, err := k.shelf.Update(ctx, s.Account, s.ID, func(j *job.Job) error {
		if from = j.Status; from != job.Suspended {
			return nil // confirmed or cancelled just now
		}
		j.FailureReasons = append(j.FailureReasons, job.Fail(job.CodeConfirmationTimeout,
			fmt.Sprintf("The job was not confirmed within %s.", days(k.terms.Confirmation))))
		j.Become(job.Failed, now)
		return nil
	})
	if err == nil && j.Status != from {
		logStatus(k.logger, &j, from)
	}
	return err
}

func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	default:
		return d.String()
	}
}

// sleep waits and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
