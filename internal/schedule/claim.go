package schedule

import (
	"context"
	"errors"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/report"
	"stevedore/internal/run"
	"stevedore/internal/source"
)

// claim takes chunks of a runnable job while this node has room for them, and
// finishes the job when there are none left anywhere.
func (s *Scheduler) claim(hard context.Context, w *work) {
	for s.counts[running] < s.config.Chunks {
		c, ok, err := s.next(hard, w)
		if err != nil {
			if failed, is := errors.AsType[*job.FailedError](err); is {
				s.fail(hard, w, failed.Reason)
			} else if hard.Err() == nil && !errors.Is(err, job.ErrNotFound) {
				w.retryAt = time.Now().Add(time.Second)
				s.logger.WarnContext(hard, "no chunk can be claimed", "job_id", w.job.ID, "err", err)
			}
			return
		}
		if !ok {
			if w.chunks == 0 {
				s.finishIfFree(hard, w)
			}
			return
		}
		s.counts[running]++
		w.chunks++
		id, soft, shared := w.job.ID, w.soft, w.shared
		go func() {
			err := s.runner.Chunk(soft, hard, shared, c)
			if !errors.Is(err, run.ErrFenced) && c.Chunk().Rows > 0 {
				s.release(hard, c)
			}
			s.ended <- ending{what: running, id: id, err: err}
		}()
	}
}

// release gives the rest of a chunk back. A claim left behind would hold up the
// end of the job for as long as this node lives.
func (s *Scheduler) release(hard context.Context, c *claim) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := s.node.Release(context.WithoutCancel(hard), c.claim)
		if err == nil || errors.Is(err, jobstore.ErrFenced) {
			return
		}
		s.logger.WarnContext(hard, "chunk cannot be given back yet", "job_id", c.claim.Job, "err", err)
		if !sleep(hard, wait) {
			return // the claim dies with the lease
		}
	}
}

// next claims a chunk of w's job, preparing the job's running first.
func (s *Scheduler) next(hard context.Context, w *work) (*claim, bool, error) {
	if w.soft.Err() != nil {
		if w.chunks > 0 {
			return nil, false, nil // its last chunks here are still being put away
		}
		w.renew(hard)
	}
	if w.shared == nil {
		if err := s.prepare(hard, w); err != nil {
			return nil, false, err
		}
	}
	c, ok, err := s.node.Claim(hard, w.job)
	return &claim{s.node, c}, ok, err
}

// prepare makes a job that may run Active and builds what its chunks share.
func (s *Scheduler) prepare(ctx context.Context, w *work) error {
	j, err := s.change(ctx, w.job.Account, w.job.ID, func(j *job.Job) error {
		if j.Status == job.Ready {
			j.Become(job.Active, time.Now())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if j.Status != job.Active {
		return job.ErrNotFound // cancelled just now
	}
	w.job = j
	store, err := s.stores.Store(ctx, j.Account, j.Spec.RoleArn)
	if err != nil {
		return err
	}
	spec, objects := s.manifestOf(&j, store)
	src, err := source.Locate(ctx, objects, spec)
	if err != nil {
		return err
	}
	w.limiter = objectstore.NewLimiter(limitsOf(j.Tags))
	limited := store.Limited(w.limiter)
	var client operation.Client = run.NewClient(limited, w.soft)
	var guard *operation.Guard
	if operation.OnObjects(j.Spec.Operation) {
		guard = operation.NewGuard(client)
		client = guard
	}
	op, err := operation.New(j.Spec.Operation, operation.Env{
		Client: client, Objects: limited, Functions: s.config.Functions, Job: &j, Soft: w.soft,
		Replication: s.replication(&j), Credentials: store.Credentials(), Memory: s.memory.Of(store),
	})
	if err != nil {
		return unsupported(err)
	}
	w.tripped = make(chan struct{})
	trip := func() {
		close(w.tripped)
		select {
		case s.poke <- struct{}{}:
		default:
		}
	}
	var tally job.Tally
	if j.Tally != nil {
		tally = *j.Tally
	}
	w.shared = &run.Job{
		Source:    src,
		Operation: op,
		Guard:     guard,
		Report:    s.reportOf(store, &j),
		Versions:  run.NewVersions(store),
		Meter:     run.NewMeter(tally, trip), // trips at once if a crash came between the outcomes and the status
	}
	return nil
}

// limitsOf are the limits that the tags of a job set. They are for its tasks:
// manifest and report are a handful of requests.
func limitsOf(tags []job.Tag) objectstore.Limits {
	o, _ := job.OptionsOf(tags) // the others were refused when they were set
	return limits(o)
}

func limits(o job.Options) objectstore.Limits {
	return objectstore.Limits{MaxConcurrency: o.MaxConcurrency, RequestsPerSecond: o.MaxRequestsPerSecond}
}

// replication is what the configuration says in place of stores.
func (s *Scheduler) replication(j *job.Job) map[string]operation.ReplicationConfig {
	if r, ok := s.stores.(Replications); ok {
		return r.Replication(j.Account, j.Spec.RoleArn)
	}
	return nil
}

func (s *Scheduler) reportOf(store *objectstore.Access, j *job.Job) *report.Writer {
	return report.NewWriter(store, j, report.Options{
		JSONCopy: s.config.ReportJSON, SSE: s.config.ReportSSE,
		TempDir: s.config.TempDir, MaxFileRows: s.config.ReportFileRows,
	})
}

// unsupported fails a job by name of what this server cannot do, unless err says
// itself why the job fails.
func unsupported(err error) error {
	if failed, is := errors.AsType[*job.FailedError](err); is {
		return failed
	}
	return &job.FailedError{Reason: job.Fail(job.CodeUnsupported, err.Error()), Err: err}
}

// claim is a chunk of the job store as run sees it.
type claim struct {
	node  *jobstore.Node
	claim jobstore.Claim
}

func (c *claim) Chunk() job.Chunk { return c.claim.Chunk }

func (c *claim) Commit(ctx context.Context, seg job.Segment, delta job.Tally, rest job.Chunk) error {
	next, err := c.node.Commit(ctx, c.claim, seg, delta, rest)
	if errors.Is(err, jobstore.ErrFenced) {
		return run.ErrFenced
	}
	if err == nil {
		c.claim = next
	}
	return err
}
