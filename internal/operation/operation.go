// Package operation is what a task does: one S3 call on one object.
//
//	row ─▶ task ─▶ [ operation: job's request + key + version ] ─▶ objectstore ─▶ outcome
//
// All that the tasks of a job have in common - method, headers, body and its
// sums - is worked out once, by New. Per task only the key, the version and,
// for a copy, its source are filled in.
//
// Whether a call is repeated is decided by the object store. What its last
// answer means for the task is decided here.
package operation

import (
	"context"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// A Task is one row of the manifest, about to be worked on. Its slices are only
// read, and only during Do.
type Task struct {
	Bucket    string
	Key       []byte // decoded
	VersionID []byte // decoded; empty for the current version
}

// An Operation does tasks of one job.
type Operation interface {
	// Do does one task and puts how it ended into out. It is called from many
	// goroutines at once; s belongs to the caller alone and is used again.
	//
	// An error means that the task has no outcome, since ctx ended or the store
	// was closed first: out is left alone, and nothing may be counted. The task
	// may have had its effect all the same; every operation can be repeated.
	// A task that failed is no error.
	Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error
}

// A Client is what an operation needs of an object store.
type Client interface {
	// Do sends req, repeats it where that may help, and tells in res what came
	// of it. It may be called concurrently; req is only read.
	Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result)
}

// Scratch is the memory one goroutine needs to do tasks, whatever the job.
type Scratch struct {
	req     objectstore.Request
	res     objectstore.Result
	headers []objectstore.Header
	key     []byte
}

// NewScratch returns the memory for one goroutine.
func NewScratch() *Scratch { return new(Scratch) }

// UnsupportedError says that jobs may ask for an operation that this server
// cannot do yet.
type UnsupportedError struct{ Name job.OperationName }

func (e *UnsupportedError) Error() string {
	return "operation " + string(e.Name) + " is not implemented by this server yet"
}

// New returns the operation op asks for, to be done with c. op must be valid
// (see job.Spec.Validate) and must not change any more. The error is an
// *UnsupportedError.
func New(op job.Operation, c Client) (Operation, error) {
	switch {
	case op.S3PutObjectTagging != nil:
		return newPutTagging(op.S3PutObjectTagging, c), nil
	case op.S3DeleteObjectTagging != nil:
		return newDeleteTagging(c), nil
	case op.S3PutObjectCopy != nil:
		return newCopy(op.S3PutObjectCopy, c), nil
	default:
		return nil, &UnsupportedError{Name: op.Name()}
	}
}

// onObject sends the job's request to every object as it is.
type onObject struct {
	client Client
	req    objectstore.Request // all but bucket, key and version
}

func (o *onObject) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	s.req = o.req
	s.req.Bucket, s.req.Key, s.req.VersionID = t.Bucket, t.Key, t.VersionID
	return s.do(ctx, o.client, out)
}

// do sends s.req and turns what came of it into an outcome.
func (s *Scratch) do(ctx context.Context, c Client, out *job.Outcome) error {
	c.Do(ctx, &s.req, &s.res)
	if s.res.Interrupted() {
		return s.res.Err
	}
	*out = outcomeOf(&s.res)
	return nil
}
