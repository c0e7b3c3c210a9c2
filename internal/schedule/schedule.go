// Package schedule moves jobs through their lives.
//
//	users ─▶ Desk ─▶ job records ◀─ Keeper (terms)
//	                    │ ▲
//	             watch  ▼ │ compare-and-set
//	                 Scheduler ─▶ plan, run chunks by priority, finish
//
// There is no leader. Every node runs a Scheduler that looks at all unfinished
// jobs whenever something changes and does what it can get hold of: ownership of
// a job to plan or finish it, a claim on a chunk to run it. What it holds dies
// with its lease, and another node goes on. A status is changed by
// compare-and-set along the table in package job; whoever loses looks again.
package schedule

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	"stevedore/internal/manifest/gunzip"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/run"
)

// Stores finds what a role may reach, with the credentials it has there. A
// *job.FailedError means that the role is no more.
type Stores interface {
	Store(ctx context.Context, account, role string) (*objectstore.Access, error)
}

// Replications is a Stores that knows where buckets are replicated to whose store
// keeps no replication configuration: by source bucket, nil if none.
type Replications interface {
	Replication(account, role string) map[string]operation.ReplicationConfig
}

// Config bounds what one node does at once. Zero values mean the defaults.
type Config struct {
	Chunks  int // chunks run at once, default 4
	Plans   int // manifests planned at once, default 2
	Reports int // reports written at once, default 2

	ReportJSON     bool   // also write report.json beside manifest.json
	ReportSSE      string // server-side encryption asked for reports, such as AES256; empty: none
	TempDir        string // where report files are put together; empty: the system's
	ReportFileRows int64  // rows of one report file, default 1,000,000

	// Spool is the folder for generated manifests that their users do not want to
	// have. It must outlive the process and belongs to it alone. Default: a folder in
	// TempDir.
	Spool string

	// Attempts is how often planning or writing the report is tried while the
	// object store does not answer, before the job fails; from the sixth on they
	// are 30 s apart. Default 12. A refusal is final at once.
	Attempts int

	// Functions are what LambdaInvoke calls. Nil: only what is built in.
	Functions operation.Functions

	Grace  time.Duration // from being asked to stop to dropping what is in flight, default 30 s
	Run    run.Config
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	set := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	set(&c.Chunks, 4)
	set(&c.Plans, 2)
	set(&c.Reports, 2)
	set(&c.Attempts, 12)
	if c.Spool == "" {
		c.Spool = filepath.Join(cmp.Or(c.TempDir, os.TempDir()), "stevedore-spool")
	}
	if c.Grace <= 0 {
		c.Grace = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Run.Logger == nil {
		c.Run.Logger = c.Logger
	}
	return c
}

// ErrLeaseLost ends a Scheduler whose node was given up for dead: what it held
// belongs to others now. A new node may start over.
var ErrLeaseLost = errors.New("the node's lease was lost")

// Scheduler does the work of one node.
type Scheduler struct {
	config Config
	store  *jobstore.Store
	node   *jobstore.Node
	stores Stores
	runner *run.Runner
	index  *gunzip.Index    // where the files of all manifests can be entered
	memory operation.Memory // what jobs have found out about stores
	logger *slog.Logger

	// Written by Run only.
	jobs   map[string]*work // jobs this node has a hand in
	counts map[activity]int

	ended chan ending // what a goroutine of ours has to say at its end
	poke  chan struct{}
}

// activity is what a goroutine of the Scheduler does for a job.
type activity int

const (
	planning activity = iota
	running
	finishing
)

// work is what this node does for one job.
type work struct {
	job     job.Job
	shared  *run.Job                // for chunks; nil until the first is claimed
	limiter *objectstore.Limiter    // of the tasks of shared
	soft    context.Context         //nolint:containedctx // the chunks of a job share it, and it outlives the call that made it
	drain   context.CancelCauseFunc // ends soft: take no more rows
	chunks  int                     // chunks running here
	busy    bool                    // planned or finished here
	doing   activity                // what busy is about
	stop    context.CancelFunc      // ends it
	tripped chan struct{}           // closed by the meter at the failure threshold

	status   job.Status // when last looked at
	failures int        // of the kind that may pass, in a row, in this status
	retryAt  time.Time  // not to be touched before
}

// The causes of a drain, next to run.ErrEnding.
var errStopping = errors.New("this node does no more of the job")

// errElsewhere: another node is at it, or was a moment ago.
var errElsewhere = errors.New("another node is at it")

// elsewhere is how long to leave alone what another node is at. Its end wakes
// us, too, but so does every step of its work.
const elsewhere = 200 * time.Millisecond

// turn is one try of planning or finishing a job.
type turn struct {
	account, id string
	before      int         // failures in a row of the tries before it
	advanced    atomic.Bool // the job got on in it, durably: those count no more
}

// last reports whether the job is not to be tried again if this try fails.
func (t *turn) last(attempts int) bool { return !t.advanced.Load() && t.before+1 >= attempts }

// ending tells how a goroutine ended.
type ending struct {
	what     activity
	id       string
	err      error
	advanced bool // for all that, the job got on
}

// New returns a Scheduler for node. Run starts it.
func New(c Config, store *jobstore.Store, node *jobstore.Node, stores Stores) *Scheduler {
	c = c.withDefaults()
	return &Scheduler{
		config: c, store: store, node: node, stores: stores, runner: run.New(c.Run), index: gunzip.NewIndex(0), logger: c.Logger,
		jobs: map[string]*work{}, counts: map[activity]int{},
		ended: make(chan ending), poke: make(chan struct{}, 1),
	}
}

// Run works until ctx ends: then it claims nothing more, ends and commits what
// is in flight, gives the rest back and returns nil. What takes longer than the
// grace period is dropped; it is done again by whoever goes on. Run returns
// ErrLeaseLost, having dropped everything, if the node is given up for dead.
func (s *Scheduler) Run(ctx context.Context) error {
	changes := s.store.Changes()
	defer changes.Close()
	s.sweep()
	hard, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)

	var grace <-chan time.Time
	stopping := ctx.Done()
	lost := s.node.Lost()
	var result error
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if ctx.Err() == nil && result == nil {
			timer.Reset(s.pass(hard, time.Now()))
		} else if s.idle() {
			return result
		}
		select {
		case <-changes.C():
		case <-s.poke:
		case <-timer.C:
		case e := <-s.ended:
			s.settle(hard, e)
		case <-stopping:
			stopping = nil
			s.drainAll()
			grace = time.After(s.config.Grace)
		case <-grace:
			kill(errors.New("stopped before it was done"))
		case <-lost:
			lost = nil
			result = ErrLeaseLost
			s.drainAll()
			kill(ErrLeaseLost)
		}
	}
}

// idle reports whether no goroutine of ours is left.
func (s *Scheduler) idle() bool {
	return s.counts[planning]+s.counts[running]+s.counts[finishing] == 0
}

func (s *Scheduler) drainAll() {
	for _, w := range s.jobs {
		w.drain(errStopping)
		if w.stop != nil {
			w.stop()
		}
	}
}

// pass looks at every unfinished job, the most urgent first, and starts what can
// be started. It returns how long until the next look even if nothing happens.
func (s *Scheduler) pass(hard context.Context, now time.Time) time.Duration {
	const quiet = time.Minute // nothing depends on it; it heals a wake-up that was missed
	next := quiet
	seen := make(map[string]bool)
	for _, j := range s.store.Jobs(unfinished()...) {
		seen[j.ID] = true
		w := s.jobs[j.ID]
		if w == nil {
			w = s.open(hard, &j)
		}
		if s.react(hard, w, &j); now.Before(w.retryAt) {
			next = min(next, w.retryAt.Sub(now))
			continue
		}
		switch {
		case j.Status == job.New || j.Status == job.Preparing:
			if !w.busy && s.counts[planning] < s.config.Plans {
				s.start(hard, w, planning, s.plan)
			}
		case j.Status.Runnable():
			if !w.busy { // its planner may still be packing up
				s.claim(hard, w)
			}
		case j.Status == job.Completing || j.Status == job.Cancelling || j.Status == job.Failing:
			s.finishIfFree(hard, w)
		default: // Suspended waits for its user, Pausing and Paused for a job of higher priority
		}
	}
	for id, w := range s.jobs {
		if !seen[id] { // ended, or deleted
			w.drain(run.ErrEnding)
			if w.stop != nil {
				w.stop()
			}
			if w.chunks == 0 && !w.busy {
				delete(s.jobs, id)
				s.forget(id)
			}
		}
	}
	return next
}

// unfinished lists the statuses in which there may be something to do.
func unfinished() []job.Status {
	return slices.DeleteFunc(job.Statuses(), job.Status.Terminal)
}

// open starts to keep track of a job.
func (s *Scheduler) open(hard context.Context, j *job.Summary) *work {
	w := &work{job: job.Job{ID: j.ID, Account: j.Account}}
	w.renew(hard)
	s.jobs[j.ID] = w
	return w
}

// renew makes a job that was drained fit to run.
func (w *work) renew(hard context.Context) {
	w.soft, w.drain = context.WithCancelCause(hard)
	w.shared = nil
}

// react lets what runs here follow the status of the job.
func (s *Scheduler) react(hard context.Context, w *work, j *job.Summary) {
	if w.status != j.Status { // what failed before was about something else
		w.status, w.failures, w.retryAt = j.Status, 0, time.Time{}
	}
	switch {
	case j.Status == job.Cancelling || j.Status == job.Failing:
		w.drain(run.ErrEnding)
	case !j.Status.Runnable() && w.shared != nil:
		w.drain(errStopping)
	}
	if w.busy && w.doing == planning && j.Status == job.Cancelling {
		w.stop()
	}
	if w.shared == nil {
		return
	}
	w.limiter.Set(limits(j.Options)) // its tags may have changed
	select {
	case <-w.tripped:
		if j.Status == job.Active {
			s.fail(hard, w, thresholdReason())
		}
	default:
	}
}

// start runs f for w on a goroutine of its own.
func (s *Scheduler) start(hard context.Context, w *work, what activity, f func(context.Context, *turn) error) {
	ctx, stop := context.WithCancel(hard)
	w.busy, w.doing, w.stop = true, what, stop
	s.counts[what]++
	t := &turn{account: w.job.Account, id: w.job.ID, before: w.failures}
	go func() {
		err := f(ctx, t)
		s.ended <- ending{what: what, id: t.id, err: err, advanced: t.advanced.Load()}
	}()
}

// settle takes note of the end of a goroutine.
func (s *Scheduler) settle(hard context.Context, e ending) {
	s.counts[e.what]--
	w := s.jobs[e.id]
	if e.what == running {
		w.chunks--
	} else {
		w.stop()
		w.busy, w.stop = false, nil
	}
	if e.advanced {
		w.failures = 0
	}
	failed, isFailed := errors.AsType[*job.FailedError](e.err)
	switch {
	case e.err == nil:
		w.failures = 0
	case hard.Err() != nil, errors.Is(e.err, context.Canceled), errors.Is(e.err, job.ErrNotFound):
		// stopped, drained or deleted: nothing is wrong
	case errors.Is(e.err, run.ErrFenced), errors.Is(e.err, jobstore.ErrFenced):
		s.logger.WarnContext(hard, "work was taken over by another node", "job_id", e.id)
		w.retryAt = time.Now().Add(elsewhere)
	case errors.Is(e.err, errElsewhere):
		w.retryAt = time.Now().Add(elsewhere)
	case isFailed:
		s.fail(hard, w, failed.Reason)
	default:
		w.failures++
		w.retryAt = time.Now().Add(min(time.Second<<min(w.failures-1, 5), 30*time.Second))
		s.logger.WarnContext(hard, "work on a job failed and will be tried again", "job_id", e.id, "err", e.err)
	}
}

// fail moves a job to its end with a reason: at once if none of its tasks can
// have run, else by way of Failing. A job that its user has called off ends as
// cancelled, whatever else befalls it.
func (s *Scheduler) fail(hard context.Context, w *work, reason job.FailureReason) {
	err := s.update(hard, w, func(j *job.Job) error {
		to := job.Failing
		switch j.Status {
		case job.New, job.Preparing:
			to = job.Failed
		case job.Cancelling:
			return nil
		default:
		}
		if j.Become(to, time.Now()) {
			j.FailureReasons = append(j.FailureReasons, reason)
		}
		return nil
	})
	if err != nil && hard.Err() == nil {
		s.logger.ErrorContext(hard, "job cannot be failed", "job_id", w.job.ID, "err", err)
		w.retryAt = time.Now().Add(time.Second)
	}
}

// update changes the record of a job and tells the log of a new status. Only the
// goroutine that looks after w calls it.
func (s *Scheduler) update(ctx context.Context, w *work, change func(*job.Job) error) error {
	_, err := s.change(ctx, w.job.Account, w.job.ID, change)
	return err
}

func (s *Scheduler) change(ctx context.Context, account, id string, change func(*job.Job) error) (job.Job, error) {
	var from job.Status
	j, err := s.store.Update(ctx, account, id, func(j *job.Job) error {
		from = j.Status
		return change(j)
	})
	if err == nil && from != j.Status {
		logStatus(s.logger, &j, from)
	}
	return j, err
}
