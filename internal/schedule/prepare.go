package schedule

import (
	"context"
	"errors"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/plan"
	"stevedore/internal/source"
)

// plan brings a job from New or Preparing to Ready or Suspended, if nobody else
// is at it. A *job.FailedError fails the job.
func (s *Scheduler) plan(ctx context.Context, t *turn) error {
	own, err := s.own(ctx, t)
	if err != nil {
		return err
	}
	defer s.disown(ctx, own)
	j, err := s.change(ctx, t.account, t.id, func(j *job.Job) error {
		if j.Status == job.New {
			j.Become(job.Preparing, time.Now())
		}
		return nil
	})
	if err != nil || j.Status != job.Preparing {
		return err
	}
	if err := s.supported(&j); err != nil {
		return err
	}
	store, err := s.stores.Store(ctx, j.Account, j.Spec.RoleArn)
	if err != nil {
		return err
	}
	if j, err = s.generate(ctx, t, own, j, store); err != nil || j.Status != job.Preparing {
		return s.unlessCancelled(ctx, &j, err)
	}
	from, _, err := s.store.Checkpoint(ctx, j.ID)
	if err != nil {
		return err
	}
	spec, objects := s.manifestOf(&j, store)
	request := plan.Request{Source: spec, Most: plan.MaxTasks(j.Spec.Operation)}
	planned, err := plan.Make(ctx, request, objects, from, func(ctx context.Context, chunks []job.Chunk, cp job.Checkpoint) error {
		err := s.node.PutChunks(ctx, own, chunks, cp)
		if err == nil && len(chunks) > 0 {
			t.advanced.Store(true)
		}
		return err
	})
	if err != nil {
		if _, is := errors.AsType[*objectstore.Error](err); is && t.last(s.config.Attempts) {
			return source.Unreadable(err)
		}
		return s.unlessCancelled(ctx, &j, err)
	}
	if err := s.precheck(ctx, &j, store, planned.Bucket); err != nil {
		return err
	}
	if planned.Leniency != "" {
		s.logger.InfoContext(ctx, "manifest read leniently", "job_id", j.ID, "notes", planned.Leniency)
	}
	_, err = s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		if j.Status != job.Preparing {
			return nil // cancelled meanwhile
		}
		j.Plan = &planned
		if planned.Leniency != "" && j.StatusUpdateReason == "" {
			j.StatusUpdateReason = "Manifest read leniently: " + planned.Leniency
		}
		to := job.Ready
		if j.Spec.NeedsConfirmation() {
			to = job.Suspended
		}
		j.Become(to, time.Now())
		return nil
	})
	return err
}

// own takes a job for planning or finishing it, or answers errElsewhere.
func (s *Scheduler) own(ctx context.Context, t *turn) (jobstore.Ownership, error) {
	own, ok, err := s.node.Own(ctx, job.Job{ID: t.id, Account: t.account})
	if err == nil && !ok {
		err = errElsewhere
	}
	return own, err
}

func (s *Scheduler) disown(ctx context.Context, own jobstore.Ownership) {
	// Without it the ownership dies with the lease.
	_ = s.node.Disown(context.WithoutCancel(ctx), own)
}

// unlessCancelled returns err, or nil if it only says that the user called the job
// off under the planner.
func (s *Scheduler) unlessCancelled(ctx context.Context, j *job.Job, err error) error {
	if !errors.Is(err, jobstore.ErrFenced) {
		return err
	}
	now, e := s.store.Job(ctx, j.Account, j.ID)
	if errors.Is(e, job.ErrNotFound) || e == nil && now.Status != job.Preparing {
		return nil
	}
	return err
}

// precheck fails a job whose operation cannot be done in the bucket of its first
// row, before a task runs (operations.md sections 6 and 7).
func (s *Scheduler) precheck(ctx context.Context, j *job.Job, store *objectstore.Access, bucket string) error {
	op, err := operation.New(j.Spec.Operation, operation.Env{Client: store, Objects: store, Functions: s.config.Functions, Job: j, Soft: ctx})
	if err != nil {
		return unsupported(err)
	}
	if p, ok := op.(operation.Prechecker); ok {
		return p.Precheck(ctx, bucket)
	}
	return nil
}

// supported fails a job that asks for what this server does not do yet: it says
// so before a task runs, and by name.
func (s *Scheduler) supported(j *job.Job) error {
	if _, err := operation.New(j.Spec.Operation, operation.Env{Functions: s.config.Functions, Job: j}); err != nil {
		return unsupported(err)
	}
	return nil
}
