package operation

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// copyObject copies every object with one CopyObject: PUT to the destination,
// with the source in a header (operations.md section 1). What CopyObject cannot
// do is done another way, which the report names: an object above the store's
// limit goes in parts, one from another store is read and written.
type copyObject struct {
	env    Env
	client Client              // env's, paying if the job does
	req    objectstore.Request // all but key and x-amz-copy-source
	source int                 // where x-amz-copy-source stands among the headers
	folder string              // what stands before every destination key: empty or with a slash at its end
	recipe recipe              // for the other ways
	apart  func(bucket string) bool
	memory *semaphore.Weighted // bytes of objects between two stores
	bare   atomic.Bool         // the other store has refused a checksum that its source had

	// The store's limit is learned. As long as objects above it come up, each is
	// looked at before it is copied.
	large   atomic.Bool
	refused atomic.Int64 // size of the smallest object that was refused; 0: none was
}

const copySource = "x-amz-copy-source"

func newCopy(p *job.S3PutObjectCopy, env Env) Operation {
	headers, source := copyHeaders(p)
	o := &copyObject{
		env:    env,
		client: env.Client,
		req: objectstore.Request{
			Method:     http.MethodPut,
			Bucket:     job.BucketName(p.TargetResource),
			Headers:    headers,
			ErrorIn200: true, // CopyObject starts to answer before it is done
		},
		source: source,
		folder: p.TargetKeyPrefix,
		recipe: newRecipe(p, headers),
		memory: semaphore.NewWeighted(streamMemory),
	}
	if o.folder != "" && !strings.HasSuffix(o.folder, "/") {
		o.folder += "/"
	}
	if p.RequesterPays != nil && *p.RequesterPays {
		o.client = paying{env.Client}
	}
	if stores, ok := env.Objects.(interface{ Same(one, other string) bool }); ok {
		o.apart = func(bucket string) bool { return !stores.Same(bucket, o.req.Bucket) }
	}
	return o
}

// Do implements Operation.
func (o *copyObject) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	if o.apart != nil && o.apart(t.Bucket) {
		return o.between(ctx, t, out)
	}
	if o.large.Load() {
		head, err := objectstore.HeadFull(ctx, o.client, sourceOf(t))
		if err == nil && head.Size >= o.refused.Load() {
			return o.inParts(ctx, t, 1, out)
		}
		o.large.Store(false) // or it cannot be looked at, and CopyObject will say why
	}
	s.req = o.req
	s.req.Key = t.Key
	if o.folder != "" {
		s.key = append(append(s.key[:0], o.folder...), t.Key...)
		s.req.Key = s.key
	}
	s.headers = append(s.headers[:0], o.req.Headers...)
	s.headers[o.source].Value = objectstore.CopySource(t.Bucket, t.Key, t.VersionID)
	s.req.Headers = s.headers
	s.req.NotSlower = true
	before := *out
	err := s.do(ctx, o.client, out)
	if err != nil || !out.Failed {
		return err
	}
	attempts := out.Attempts
	if tooSlow(&s.res) {
		large, size := o.sizeable(ctx, t)
		if !large { // it is not for its size, so the same may do better
			s.req.NotSlower, s.req.Timeout = false, objectstore.CopyTimeout(size)
			*out = before
			if err = s.do(ctx, o.client, out); err == nil {
				out.Attempts += attempts
			}
			return err
		}
	} else if !tooLarge(&s.res) {
		return nil
	}
	*out = before // should it have no outcome
	return o.inParts(ctx, t, attempts, out)
}

// tooLarge reports whether a store refuses to copy an object in one piece. S3
// has no code of its own for that.
func tooLarge(r *objectstore.Result) bool {
	switch {
	case r.Status == http.StatusRequestEntityTooLarge, r.Code == "EntityTooLarge":
		return true
	case r.Code == "InvalidRequest":
		return strings.Contains(r.Message, "larger than the maximum allowable size")
	}
	return false
}

// tooSlow reports whether a store did not come to an end in time. A part takes
// less, and gets the time that its size may need.
func tooSlow(r *objectstore.Result) bool { return r.Status == 0 && r.Code == "RequestTimeout" }

// sizeable reports whether an object makes more than one part, and its size if that
// can be had.
func (o *copyObject) sizeable(ctx context.Context, t *Task) (large bool, size int64) {
	head, err := objectstore.HeadFull(ctx, o.client, sourceOf(t))
	return err == nil && head.Size > cmp.Or(o.env.PartSize, copyPart), head.Size
}

// sourceOf is the object that a task is about.
func sourceOf(t *Task) objectstore.Object {
	return objectstore.Object{Bucket: t.Bucket, Key: string(t.Key), VersionID: string(t.VersionID)}
}

// transfer is the way of t's object that CopyObject cannot go.
func (o *copyObject) transfer(t *Task) *transfer {
	from := sourceOf(t)
	_, from.RequesterPays = o.client.(paying)
	return &transfer{
		env: &o.env, client: o.client, from: from, recipe: &o.recipe,
		to: objectstore.Object{Bucket: o.req.Bucket, Key: o.folder + string(t.Key)},
	}
}

// inParts copies an object in parts within its store. attempts is how many
// requests of the task have been made in vain.
func (o *copyObject) inParts(ctx context.Context, t *Task, attempts int, out *job.Outcome) error {
	ctx, cancel := o.env.untilDrained(ctx)
	defer cancel()
	x := o.transfer(t)
	var parts int
	err := x.look(ctx)
	if err == nil {
		o.learn(x.head.Size)
		x.limit = o.refused.Load()
		parts, err = x.inParts(ctx)
		o.learn(x.limit) // it may not have taken such parts either
	}
	return x.end(ctx, "multipart copy", parts, attempts, err, out)
}

// learn notes that an object of that size was too large.
func (o *copyObject) learn(size int64) {
	if size == 0 {
		return
	}
	for {
		known := o.refused.Load()
		if known != 0 && known <= size || o.refused.CompareAndSwap(known, size) {
			break
		}
	}
	o.large.Store(true)
}

// between brings an object to another store.
func (o *copyObject) between(ctx context.Context, t *Task, out *job.Outcome) error {
	ctx, cancel := o.env.untilDrained(ctx)
	defer cancel()
	x := o.transfer(t)
	x.bare = o.bare.Load()
	parts, err := x.stream(ctx, o.memory)
	if x.bare && err == nil {
		o.bare.Store(true)
	}
	return x.end(ctx, "streamed between stores", parts, 1, err, out)
}

// paying is a Client whose requests all say that the requester pays.
type paying struct{ Client }

func (c paying) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	r := *req
	r.Headers = nil
	for _, h := range req.Headers {
		if h.Name != requestPayer {
			r.Headers = append(r.Headers, h)
		}
	}
	r.Headers = append(r.Headers, objectstore.Header{Name: requestPayer, Value: "requester"})
	c.Client.Do(ctx, &r, res)
}

const requestPayer = "x-amz-request-payer"
