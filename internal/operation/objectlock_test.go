package operation_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

const lockEnabled = `<?xml version="1.0" encoding="UTF-8"?>
<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`

func hold() job.Operation {
	return job.Operation{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: "ON"}}}
}

func retention() job.Operation {
	return job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{Retention: &job.Retention{}}}
}

// TestObjectLockIsLookedAtFirst goes through what a store may say of a bucket,
// and whether the objects in it are touched then.
func TestObjectLockIsLookedAtFirst(t *testing.T) {
	t.Parallel()
	check := func(name string, op job.Operation, status int, body string, goesOn bool) {
		t.Helper()
		var asked, touched atomic.Int32
		store := newStore(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				asked.Add(1)
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
				return
			}
			touched.Add(1)
		})
		o := newOperation(t, op, store)
		for range 3 {
			var out job.Outcome
			err := o.Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out)
			failed, is := errors.AsType[*job.FailedError](err)
			switch {
			case goesOn && (err != nil || out.Failed):
				t.Errorf("%s: got %+v, %v, want success", name, out, err)
			case !goesOn && (!is || failed.Reason.FailureCode != "ObjectLockNotEnabled" || !strings.Contains(failed.Reason.FailureReason, "bucket b")):
				t.Errorf("%s: got %+v, %v, want the job to fail", name, out, err)
			}
		}
		if want := map[bool]int32{true: 3}[goesOn]; asked.Load() != 1 || touched.Load() != want {
			t.Errorf("%s: asked %d times, touched %d objects, want 1 and %d", name, asked.Load(), touched.Load(), want)
		}
	}
	fault := func(code string) string { return "<Error><Code>" + code + "</Code><Message>m</Message></Error>" }
	for name, op := range map[string]job.Operation{"hold": hold(), "retention": retention()} {
		check(name+" enabled", op, 200, lockEnabled, true)
		check(name+" no namespace", op, 200, `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`, true)
		check(name+" none", op, 404, fault("ObjectLockConfigurationNotFoundError"), false)
		check(name+" none, by another name", op, 404, fault("NoSuchObjectLockConfiguration"), false)
		check(name+" empty", op, 200, `<ObjectLockConfiguration/>`, false)
		check(name+" a listing", op, 200, `<ListBucketResult><Name>b</Name></ListBucketResult>`, false)
		check(name+" nothing", op, 200, "", false)
		check(name+" unheard of", op, 501, fault("NotImplemented"), false)
		check(name+" not allowed here", op, 405, fault("MethodNotAllowed"), false)
		check(name+" forbidden", op, 403, fault("AccessDenied"), true) // the right may be missing, the lock need not
		check(name+" no bucket", op, 404, fault("NoSuchBucket"), true) // every task will say so
	}
}

// TestObjectLockThatCannotBeLookedUp keeps objects untouched while the store is
// down, without waiting for it once per task, and goes on when it is up.
func TestObjectLockThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, down := 0, true
		o := newOperation(t, hold(), clientFunc(func(req *objectstore.Request, res *objectstore.Result) {
			switch {
			case !req.OnBucket:
				*res = objectstore.Result{Status: 200, Attempts: 1}
			case down:
				asked++
				*res = objectstore.Result{Status: 503, Code: "SlowDown", Message: "slow", Attempts: 5}
			default:
				asked++
				*res = objectstore.Result{Status: 200, Body: []byte(lockEnabled), Attempts: 1}
			}
		}))
		try := func(want job.Outcome) {
			t.Helper()
			var out job.Outcome
			err := o.Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out)
			if err != nil || out != want {
				t.Errorf("got %+v, %v, want %+v", out, err, want)
			}
		}
		lost := job.Outcome{
			Failed: true, HTTPStatus: 503, Code: "SlowDown", Attempts: 5,
			Message: "cannot tell whether the bucket has Object Lock: slow",
		}
		try(lost)
		try(lost)
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		down = false
		try(lost)
		time.Sleep(10 * time.Second)
		try(job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1})
	})
}

// TestObjectLockIsAskedOnce has many workers begin at once, in two buckets.
func TestObjectLockIsAskedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		o := newOperation(t, retention(), clientFunc(func(req *objectstore.Request, res *objectstore.Result) {
			if !req.OnBucket {
				*res = objectstore.Result{Status: 200, Attempts: 1}
				return
			}
			asked.Add(1)
			time.Sleep(time.Second)
			*res = objectstore.Result{Status: 200, Body: []byte(lockEnabled), Attempts: 1}
		}))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				var out job.Outcome
				err := o.Do(t.Context(), &operation.Task{Bucket: []string{"a", "b"}[i%2], Key: []byte("k")}, operation.NewScratch(), &out)
				if err != nil || out.Failed {
					t.Errorf("got %+v, %v", out, err)
				}
			})
		}
		wg.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times, want once per bucket", n)
		}
	})
}

// TestObjectLockWaitEnds lets go of those who wait for somebody else's question.
func TestObjectLockWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		o := newOperation(t, hold(), clientFunc(func(_ *objectstore.Request, res *objectstore.Result) {
			<-answer
			*res = objectstore.Result{Status: 200, Body: []byte(lockEnabled), Attempts: 1}
		}))
		task := operation.Task{Bucket: "b", Key: []byte("k")}
		var wg sync.WaitGroup
		wg.Go(func() {
			var out job.Outcome
			if err := o.Do(t.Context(), &task, operation.NewScratch(), &out); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		over := errors.New("over")
		wg.Go(func() {
			var out job.Outcome
			if err := o.Do(ctx, &task, operation.NewScratch(), &out); !errors.Is(err, over) {
				t.Errorf("got %+v, %v, want %v", out, err, over)
			}
		})
		synctest.Wait()
		cancel(over)
		synctest.Wait()
		close(answer)
		wg.Wait()
	})
}
