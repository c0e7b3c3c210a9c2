package operation

import (
	"context"
	"encoding/xml"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// locked sends the job's request to every object as it is, once the object's
// bucket was found to have Object Lock. A job may name several buckets; each is
// looked at before its first task.
//
// This is more than AWS's courtesy: there are stores that know no Object Lock
// and take PUT ?legal-hold for the object's new content.
type locked struct {
	onObject

	mu      sync.Mutex
	buckets map[string]*lockedBucket
}

// lockedBucket is what is known of one bucket.
type lockedBucket struct {
	allowed atomic.Bool // tasks may go on

	turn   chan struct{} // has an element while the store is asked, so that it is asked once
	failed error         // the bucket has no Object Lock, for good
	outage job.Outcome   // the store could not say, believed until retry
	retry  time.Time
}

const (
	// askAgain is how long a store that could not say is left alone, so that the
	// workers of a job do not wait for it one after the other.
	askAgain = 5 * time.Second
	// maxBuckets bounds what is remembered; a manifest of more buckets asks again.
	maxBuckets = 10_000
)

func newLocked(c Client, req objectstore.Request) Operation {
	return &locked{onObject: onObject{c, req}, buckets: map[string]*lockedBucket{}}
}

// Do implements Operation.
func (o *locked) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	if b := o.bucket(t.Bucket); !b.allowed.Load() {
		if answered, err := o.ask(ctx, b, t.Bucket, s, out); !answered || err != nil {
			return err
		}
	}
	return o.onObject.Do(ctx, t, s, out)
}

// Precheck implements Prechecker. A store that cannot say now is asked again by
// the tasks.
func (o *locked) Precheck(ctx context.Context, bucket string) error {
	_, err := o.ask(ctx, o.bucket(bucket), bucket, NewScratch(), new(job.Outcome))
	return err
}

func (o *locked) bucket(name string) *lockedBucket {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.buckets[name]
	if b == nil {
		if len(o.buckets) >= maxBuckets {
			clear(o.buckets)
		}
		b = &lockedBucket{turn: make(chan struct{}, 1)}
		o.buckets[name] = b
	}
	return b
}

// ask finds out whether tasks in a bucket may go on. If the store cannot say now,
// allowed is false and out is how the task ended.
func (o *locked) ask(ctx context.Context, b *lockedBucket, name string, s *Scratch, out *job.Outcome) (allowed bool, err error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	switch {
	case b.allowed.Load():
		return true, nil
	case b.failed != nil:
		return false, b.failed
	case time.Now().Before(b.retry):
		*out = b.outage
		return false, nil
	}
	s.req = objectstore.Request{Method: http.MethodGet, Bucket: name, OnBucket: true, Query: "object-lock"}
	o.client.Do(ctx, &s.req, &s.res)
	switch r := &s.res; {
	case r.Interrupted():
		return false, r.Err
	case r.OK():
		if !lockEnabled(r.Body) {
			b.failed = lockMissing(name, "")
		}
	case r.Code == "NoSuchBucket":
		// Every task will hear so itself.
	case r.Status == http.StatusNotFound, r.Status == http.StatusNotImplemented, r.Status == http.StatusMethodNotAllowed:
		b.failed = lockMissing(name, r.Code)
	case r.Status < 300, r.Status >= 500, r.Status == http.StatusTooManyRequests:
		*out = outcomeOf(r)
		out.Message = oneLine("cannot tell whether the bucket has Object Lock: " + out.Message)
		b.outage, b.retry = *out, time.Now().Add(askAgain)
		return false, nil
	default:
		// Refused, most likely for want of s3:GetBucketObjectLockConfiguration: the
		// answer to each task decides.
	}
	b.allowed.Store(b.failed == nil)
	return b.failed == nil, b.failed
}

// lockEnabled reads the answer to GET ?object-lock. A store that does not know
// the call may have listed the bucket instead.
func lockEnabled(body []byte) bool {
	var config struct {
		XMLName           xml.Name `xml:"ObjectLockConfiguration"`
		ObjectLockEnabled string
	}
	return xml.Unmarshal(body, &config) == nil && config.ObjectLockEnabled == "Enabled"
}

// lockMissing fails the job: no task in that bucket can succeed.
func lockMissing(bucket, code string) error {
	text := "Object Lock is not enabled on the bucket " + bucket + ": legal holds and retention need it"
	if code != "" {
		text += " (the store answered " + code + ")"
	}
	return &job.FailedError{Reason: job.Fail(job.CodeObjectLock, oneLine(text))}
}
