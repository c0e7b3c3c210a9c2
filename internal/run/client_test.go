package run_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"stevedore/internal/objectstore"
	s3test "stevedore/internal/objectstore/objectstoretest"
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
