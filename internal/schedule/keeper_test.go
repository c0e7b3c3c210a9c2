package schedule_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/schedule"
)

// shelf is a few jobs in memory.
type shelf struct {
	mu    sync.Mutex
	jobs  map[string]*job.Job
	fails int // calls of Delete that fail first
}

func (s *shelf) Jobs(statuses ...job.Status) (out []job.Summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		for _, want := range statuses {
			if j.Status == want {
				out = append(out, j.Summary())
			}
		}
	}
	return out
}

func (s *shelf) Update(_ context.Context, _, id string, change func(*job.Job) error) (job.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil {
		return job.Job{}, job.ErrNotFound
	}
	err := change(j)
	return *j, err
}

func (s *shelf) Delete(_ context.Context, _, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return errors.New("job store is out of order")
	}
	delete(s.jobs, id)
	return nil
}

func (s *shelf) job(id string) *job.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[id]; j != nil {
		return new(*j)
	}
	return nil
}

func (s *shelf) put(id string, to ...job.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &job.Job{ID: id, Status: job.New, CreationTime: time.Now()}
	for _, status := range to {
		if !j.Become(status, time.Now()) {
			panic("the table forbids " + status)
		}
	}
	s.jobs[id] = j
}

func TestKeeper(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		terms                   schedule.Terms
		confirmation, retention time.Duration // what is to be seen
		text                    string
		late                    time.Duration // at most
	}{
		"default":  {schedule.Terms{}, 30 * day, 90 * day, "The job was not confirmed within 30 days.", time.Hour},
		"set":      {schedule.Terms{Confirmation: 36 * time.Hour, Retention: 7 * day}, 36 * time.Hour, 7 * day, "The job was not confirmed within 36h0m0s.", time.Hour},
		"one day":  {schedule.Terms{Confirmation: day, Retention: day}, day, day, "The job was not confirmed within 1 day.", time.Hour},
		"very few": {schedule.Terms{Confirmation: 10 * time.Second, Retention: 20 * time.Second}, 10 * time.Second, 20 * time.Second, "The job was not confirmed within 10s.", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{jobs: map[string]*job.Job{}}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go schedule.NewKeeper(s, c.terms, slog.New(slog.DiscardHandler)).Run(ctx)
				synctest.Wait() // its first look finds nothing
				s.put("waiting", job.Preparing, job.Suspended)
				s.put("confirmed", job.Preparing, job.Suspended, job.Ready)
				s.put("active", job.Preparing, job.Ready, job.Active)
				s.put("complete", job.Preparing, job.Ready, job.Active, job.Completing, job.Complete)
				s.put("failed", job.Failed)
				s.put("cancelled", job.Cancelled)
				start := time.Now()
				at := func(d time.Duration) {
					time.Sleep(time.Until(start.Add(d)))
					synctest.Wait()
				}
				at(c.confirmation - time.Millisecond)
				if j := s.job("waiting"); j.Status != job.Suspended {
					t.Errorf("failed before its time: %+v", j)
				}
				at(c.confirmation + c.late)
				j := s.job("waiting")
				if j == nil {
					t.Fatal("a job was deleted together with its confirmation timeout")
				}
				if j.Status != job.Failed || len(j.FailureReasons) != 1 || j.FailureReasons[0] != (job.FailureReason{FailureCode: "ConfirmationTimeout", FailureReason: c.text}) {
					t.Errorf("not confirmed in time: %+v", j)
				}
				if c.retention > c.confirmation+c.late {
					at(c.retention - time.Millisecond)
					for _, id := range []string{"complete", "failed", "cancelled"} {
						if s.job(id) == nil {
							t.Errorf("%s was deleted before its time", id)
						}
					}
				}
				at(c.retention + c.late)
				for _, id := range []string{"complete", "failed", "cancelled"} {
					if s.job(id) != nil {
						t.Errorf("%s is still there", id)
					}
				}
				at(j.TerminationDate.Sub(start) + c.retention + c.late)
				if s.job("waiting") != nil {
					t.Error("the job that failed for its confirmation is still there")
				}
				at(4 * c.retention)
				for _, id := range []string{"confirmed", "active"} {
					if s.job(id) == nil {
						t.Errorf("%s was deleted", id)
					}
				}
			})
		})
	}
}

func TestKeeperTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{jobs: map[string]*job.Job{}, fails: 3}
		s.put("old", job.Failed)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go schedule.NewKeeper(s, schedule.Terms{}, slog.New(slog.DiscardHandler)).Run(ctx)
		time.Sleep(90*24*time.Hour + 5*time.Minute)
		synctest.Wait()
		if s.job("old") != nil {
			t.Error("still there")
		}
	})
}
