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
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// A Task is one row of the manifest, about to be worked on. Its slices are only
// read, and only during Do.
type Task struct {
	Bucket    string
	Key       []byte // decoded
	RawKey    []byte // as the manifest has it, URL-encoded
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
	//
	// A *job.FailedError means that the whole job must fail: no task of it can
	// succeed.
	Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error
}

// A Batcher is an Operation that does many tasks with one call.
type Batcher interface {
	Operation
	// Batch is how many tasks DoBatch takes at most.
	Batch() int
	// DoBatch does tasks and puts how they ended into outs, of the same length. An
	// error means what it means for Do, for each of them.
	DoBatch(ctx context.Context, tasks []Task, s *Scratch, outs []job.Outcome) error
}

// Env is what the operations of one job are made with.
type Env struct {
	Client    Client    // sends the requests, wherever their buckets are; stops retrying when the job is stopped
	Objects   Objects   // for all that a Client does not do
	Functions Functions // for LambdaInvoke; nil: there are none
	Job       *job.Job  // whose tasks are to be done; not to be changed any more
	// Soft ends when the job is to stop taking tasks, at the latest with the
	// context of Do. What takes long then gives up and leaves its task without an
	// outcome. Nil: never.
	Soft context.Context //nolint:containedctx // of the job, not of a call
	// Credentials are the role's, for functions at endpoints without keys of their
	// own. Nil: what Functions has.
	Credentials aws.CredentialsProvider
	// Replication is for buckets whose store keeps no replication configuration, by
	// the name of the source bucket.
	Replication map[string]ReplicationConfig
	// Memory is what other jobs have found out about the stores. Nil: nothing.
	Memory *Recollection
	// PartSize is how many bytes of an object that goes in parts make a part, unless
	// it would have more than 10,000. Zero: what is best. Tests make it small.
	PartSize int64
}

// Objects are the calls of an object store that operations make beside those of
// Client: with answers that have more than a short body.
type Objects interface {
	Head(ctx context.Context, o objectstore.Object) (objectstore.Info, error)
	Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error)
	Versioning(ctx context.Context, bucket string) (string, error)
}

// A Client sends S3 requests to an object store.
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

// A Prechecker is an operation that needs something of a bucket.
type Prechecker interface {
	// Precheck looks at a bucket before any task of the job runs. A
	// *job.FailedError means that no task could succeed there.
	Precheck(ctx context.Context, bucket string) error
}

// UnsupportedError says that jobs may ask for an operation that this server
// cannot do yet.
type UnsupportedError struct{ Name job.OperationName }

func (e *UnsupportedError) Error() string {
	return "operation " + string(e.Name) + " is not implemented by this server yet"
}

// New returns the operation op asks for, to be done with env. op must be valid
// (see job.Spec.Validate) and must not change any more. To learn whether there is
// such an operation the zero Env will do. The error is an *UnsupportedError, or a
// *job.FailedError if no job with these parameters can succeed.
func New(op job.Operation, env Env) (Operation, error) {
	o, err := newOperation(op, env)
	if err != nil {
		return nil, err
	}
	return verify(o, op, env), nil
}

func newOperation(op job.Operation, env Env) (Operation, error) {
	switch {
	case op.S3PutObjectTagging != nil:
		return newPutTagging(op.S3PutObjectTagging, env.Client), nil
	case op.S3DeleteObjectTagging != nil:
		return newDeleteTagging(env.Client), nil
	case op.S3PutObjectAcl != nil:
		return newPutACL(op.S3PutObjectAcl.AccessControlPolicy, env.Client), nil
	case op.S3InitiateRestoreObject != nil:
		return newRestore(op.S3InitiateRestoreObject, env.Client), nil
	case op.S3PutObjectLegalHold != nil:
		return newPutLegalHold(op.S3PutObjectLegalHold.LegalHold, env.Client), nil
	case op.S3PutObjectRetention != nil:
		return newPutRetention(op.S3PutObjectRetention, env.Client), nil
	case op.S3ComputeObjectChecksum != nil:
		return newChecksum(op.S3ComputeObjectChecksum, env), nil
	case op.S3PutObjectCopy != nil:
		return newCopy(op.S3PutObjectCopy, env), nil
	case op.S3UpdateObjectEncryption != nil:
		return newUpdateEncryption(op.S3UpdateObjectEncryption.ObjectEncryption, env)
	case op.S3ReplicateObject != nil:
		return newReplicate(env), nil
	case op.LambdaInvoke != nil:
		return newLambda(op.LambdaInvoke, env)
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
