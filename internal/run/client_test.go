package run_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	s3test "stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
	"stevedore/internal/run"
)

func storeOf(t *testing.T, s *s3test.Server, concurrency int) *objectstore.Store {
	t.Helper()
	store, err := objectstore.New(objectstore.Config{
		Endpoint: s.URL(), Credentials: s.Credentials(), MaxConcurrency: concurrency,
		MaxAttempts: 1_000_000, BackoffBase: time.Millisecond, BackoffCap: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

var remove = objectstore.Request{Method: "DELETE", Query: "tagging", Bucket: "b", Key: []byte("k")}

func TestClientStopsRetrying(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		action  s3test.Action
		cause   error
		settled bool
		status  int
		code    string
	}{
		"answered, job ends":   {s3test.SlowDown(), run.ErrEnding, true, 503, "SlowDown"},
		"answered, node ends":  {s3test.SlowDown(), errors.New("shutdown"), false, 0, ""},
		"no answer, job ends":  {s3test.ResetAfter(), run.ErrEnding, true, 0, "ConnectionError"},
		"no answer, node ends": {s3test.ResetAfter(), errors.New("shutdown"), false, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s3test.Start(t, s3test.Config{})
			s.Put("b", "k", "x")
			gate := s3test.NewGate()
			s.Fault(s3test.Match{Op: "DeleteObjectTagging", Skip: 5}, s3test.Block(gate).Then(c.action))
			s.Fault(s3test.Match{Op: "DeleteObjectTagging"}, c.action)
			soft, drain := context.WithCancelCause(t.Context())
			defer drain(nil)
			client := run.NewClient(storeOf(t, s, 8), soft)
			var res objectstore.Result
			done := make(chan struct{})
			go func() {
				defer close(done)
				client.Do(t.Context(), &remove, &res)
			}()
			<-gate.Arrived()
			drain(c.cause)
			gate.Open()
			<-done
			if res.Interrupted() == c.settled {
				t.Fatalf("result %+v", res)
			}
			if n := s.Count("DeleteObjectTagging"); n != 6 {
				t.Errorf("%d requests, want 6: no more after the drain", n)
			}
			if c.settled && (res.OK() || res.Status != c.status || res.Code != c.code || res.Attempts != 6) {
				t.Errorf("result %+v", res)
			}
		})
	}
}

// A task that waited for its turn when the drain began gets it: rows behind it
// may have been done already.
func TestClientGivesEveryTaskItsTurn(t *testing.T) {
	t.Parallel()
	s := s3test.Start(t, s3test.Config{})
	s.Put("b", "k", "x")
	gate := s3test.NewGate()
	s.Fault(s3test.Match{Op: "DeleteObjectTagging", Times: 1}, s3test.Block(gate))
	soft, drain := context.WithCancelCause(t.Context())
	client := run.NewClient(storeOf(t, s, 1), soft)
	results := make(chan objectstore.Result, 4)
	begin := func() {
		go func() {
			var res objectstore.Result
			client.Do(t.Context(), &remove, &res)
			results <- res
		}()
	}
	begin()
	<-gate.Arrived() // the only place is taken
	for range 3 {
		begin()
	}
	drain(errors.New("shutdown"))
	gate.Open()
	for range 4 {
		if res := <-results; !res.OK() {
			t.Errorf("result %+v", res)
		}
	}
}

// tag is an operation that removes tags by way of a client.
type tag struct {
	client *run.Client
	before func() // each task's request
}

func (o tag) Do(ctx context.Context, t *operation.Task, _ *operation.Scratch, out *job.Outcome) error {
	if o.before != nil {
		o.before()
	}
	req, res := remove, objectstore.Result{}
	req.Key = t.Key
	if o.client.Do(ctx, &req, &res); res.Interrupted() {
		return res.Err
	}
	settle(out, !res.OK())
	return nil
}

// tags is tag for many tasks at once, one after the other.
type tags struct{ tag }

func (o tags) Batch() int { return 5 }

func (o tags) DoBatch(ctx context.Context, tasks []operation.Task, s *operation.Scratch, outs []job.Outcome) error {
	for i := range tasks {
		if err := o.Do(ctx, &tasks[i], s, &outs[i]); err != nil {
			return err
		}
	}
	return nil
}

// A job that is called off counts what was attempted, and nothing else, however
// many rows had been taken and waited for their turn at the store.
func TestRowsThatWereNotAttemptedAreNotCounted(t *testing.T) {
	t.Parallel()
	for name, operationOf := range map[string]func(tag) operation.Operation{
		"one by one": func(o tag) operation.Operation { return o },
		"in batches": func(o tag) operation.Operation { return tags{o} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rows, workers, places = 200, 16, 3
			s := s3test.Start(t, s3test.Config{})
			for i := range rows {
				s.Put("b", fmt.Sprint(i), "x")
			}
			gate := s3test.NewGate()
			s.Fault(s3test.Match{Op: "DeleteObjectTagging", Times: places}, s3test.Block(gate))
			soft, drain := context.WithCancelCause(t.Context())
			defer drain(nil)
			b := newBench(t, rows, nil)
			var asking atomic.Int64
			full := make(chan struct{}) // closed when every worker waits for the store
			b.job.Operation = operationOf(tag{run.NewClient(storeOf(t, s, places), soft), func() {
				if asking.Add(1) == workers {
					close(full)
				}
			}})
			done := make(chan error)
			go func() {
				done <- run.New(run.Config{Workers: workers}).Chunk(soft, t.Context(), b.job, b.book.claim())
			}()
			<-full
			for range places {
				<-gate.Arrived()
			}
			drain(run.ErrEnding)
			gate.Open()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			var skipped, next int64
			for _, seg := range b.book.segments {
				if seg.Row != next {
					t.Errorf("segment of row %d comes at row %d", seg.Row, next)
				}
				next, skipped = seg.Row+seg.Rows, skipped+seg.Skipped
			}
			sent := int64(s.Count("DeleteObjectTagging")) // a batch that has begun is done
			if got := b.book.tally; got.Succeeded != sent || got.Failed != 0 || skipped == 0 {
				t.Errorf("%d requests, %d rows skipped, tally %+v", sent, skipped, got)
			}
		})
	}
}

func TestClientEndsWithHard(t *testing.T) {
	t.Parallel()
	s := s3test.Start(t, s3test.Config{})
	s.Put("b", "k", "x")
	s.Fault(s3test.Match{}, s3test.SlowDown())
	hard, kill := context.WithCancel(t.Context())
	soft, drain := context.WithCancelCause(hard)
	defer drain(nil)
	client := run.NewClient(storeOf(t, s, 1), soft)
	kill()
	var res objectstore.Result
	if client.Do(hard, &remove, &res); !res.Interrupted() {
		t.Errorf("result %+v", res)
	}
}
