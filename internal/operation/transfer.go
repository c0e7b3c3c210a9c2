package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

const (
	maxParts     = 10_000
	maxCopy      = 5 << 30   // bytes that S3 copies with one request
	copyPart     = 128 << 20 // bytes; a part is copied by the store, so only the number of requests counts
	leastPart    = 5 << 20   // bytes of any part but the last, as S3 wants it
	sideBySide   = 4         // parts of one object at a time
	abortTimeout = 30 * time.Second
)

// A transfer makes one object from another by more than one request.
type transfer struct {
	env    *Env
	client Client
	recipe *recipe
	from   objectstore.Object // with its ETag, once it was looked at
	to     objectstore.Object
	limit  int64 // bytes of an object that the store did not copy with one request; 0: unknown

	head    objectstore.Head     // of from
	headers []objectstore.Header // of to
	bare    bool                 // give to no checksum just because from has one
	halved  int                  // times that the parts were found too large
	remark  string               // for the report
}

// look learns all about the source, and pins it. Once is enough.
func (x *transfer) look(ctx context.Context) error {
	if x.headers != nil {
		return nil
	}
	var err error
	if x.head, err = objectstore.HeadFull(ctx, x.client, x.from); err != nil {
		return named(err, x.from.VersionID)
	}
	x.from.ETag = x.head.ETag
	if !x.recipe.allows(&x.head) {
		return x.refusal(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	x.headers, err = x.recipe.of(ctx, x.client, x.from, &x.head)
	return err
}

// named gives the answer to a HEAD, which has no body, the code that it stands for.
func named(err error, version string) error {
	e, ok := asStoreError(err)
	if !ok || e.Status != http.StatusNotFound || e.Code != "NotFound" {
		return err
	}
	n := *e
	n.Code, n.Message = "NoSuchKey", "The specified key does not exist."
	if version != "" {
		n.Code, n.Message = "NoSuchVersion", "The specified version does not exist."
	}
	return &n
}

func (x *transfer) refusal(status int, code, message string) error {
	return &objectstore.Error{Op: "CopyObject", Bucket: x.to.Bucket, Key: x.to.Key, Status: status, Code: code, Message: message}
}

// copyWhole has the store make the object with one request, of the source as it was
// found, with headers that say all there is to say. large says that the store wants
// it in parts.
func (x *transfer) copyWhole(ctx context.Context, size int64, headers ...objectstore.Header) (large bool, err error) {
	if size > maxCopy {
		return true, nil
	}
	req := objectstore.Request{
		Method: http.MethodPut, Bucket: x.to.Bucket, Key: []byte(x.to.Key), ErrorIn200: true, Timeout: objectstore.CopyTimeout(size),
		Headers: append(headers,
			objectstore.Header{Name: copySource, Value: objectstore.CopySource(x.from.Bucket, []byte(x.from.Key), []byte(x.from.VersionID))},
			objectstore.Header{Name: copySource + "-if-match", Value: `"` + x.from.ETag + `"`}),
	}
	var res objectstore.Result
	x.client.Do(ctx, &req, &res)
	switch {
	case tooLarge(&res):
		return true, nil
	case !res.OK():
		return false, &resultError{res}
	}
	return false, nil
}

// inParts has the store make the object of parts that it copies itself.
func (x *transfer) inParts(ctx context.Context) (parts int, err error) {
	if err := x.look(ctx); err != nil {
		return 0, err
	}
	algorithm, inherited := x.recipe.checksumOf(&x.head)
	create, complete := checksumHeaders(algorithm)
	parts, err = x.copyParts(ctx, create, complete)
	for refusesPart(err) && ctx.Err() == nil {
		if x.limit = x.part(); !x.shrink() {
			break
		}
		parts, err = x.copyParts(ctx, create, complete)
	}
	if e, ok := asStoreError(err); ok && inherited && ctx.Err() == nil &&
		(e.Status == http.StatusNotImplemented || e.Status == http.StatusBadRequest) {
		// There are stores that copy no parts into an upload with checksums. This one
		// was nobody's wish.
		return x.copyParts(ctx, nil, nil)
	}
	return parts, err
}

// part is how large the parts are that the store is asked to copy.
func (x *transfer) part() int64 { return cmp.Or(x.env.PartSize, copyPart) >> x.halved }

// shrink halves the parts until they are below the limit, or too small to be halved.
func (x *transfer) shrink() bool {
	least := int64(leastPart)
	if x.env.PartSize > 0 { // a test
		least = 1
	}
	for x.limit > 0 && x.part() >= x.limit {
		if x.part()/2 < least {
			return false
		}
		x.halved++
	}
	return true
}

// refusesPart reports whether a store copies no parts of that size.
func refusesPart(err error) bool {
	e, ok := asStoreError(err)
	return ok && e.Op == "UploadPartCopy" && tooLarge(&objectstore.Result{Status: e.Status, Code: e.Code, Message: e.Message})
}

func (x *transfer) copyParts(ctx context.Context, create, complete []objectstore.Header) (parts int, err error) {
	x.shrink()
	size := partSize(x.head.Size, x.part())
	parts = max(1, int((x.head.Size+size-1)/size))
	upload, err := objectstore.CreateMultipart(ctx, x.client, x.to, append(create, x.headers...)...)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = abort(ctx, upload, err)
		}
	}()
	uploaded := make([]objectstore.Uploaded, parts)
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for i := range parts {
		if working.Err() != nil {
			break
		}
		group.Go(func() error {
			offset := int64(i) * size
			var err error
			uploaded[i], err = upload.CopyPart(working, i+1, x.from, offset, min(size, x.head.Size-offset))
			return err
		})
	}
	if err := cmpErr(group.Wait(), ctx); err != nil {
		return 0, err
	}
	// Some stores ignore the condition that each part came with.
	now, err := objectstore.HeadFull(ctx, x.client, x.from)
	if err != nil {
		return 0, err
	}
	if now.ETag != x.head.ETag || now.Size != x.head.Size {
		return 0, x.refusal(http.StatusPreconditionFailed, "PreconditionFailed", "The source was changed while it was copied.")
	}
	return parts, x.complete(ctx, upload, uploaded, complete)
}

// cmpErr is err, or why ctx ended.
func cmpErr(err error, ctx context.Context) error { //nolint:revive // ctx is what is asked
	if err == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// complete makes the object and looks whether it is what it should be.
func (x *transfer) complete(ctx context.Context, u *objectstore.Upload, parts []objectstore.Uploaded, headers []objectstore.Header) error {
	x.sweep(ctx, u)
	written, err := u.Complete(ctx, parts, headers...)
	if err != nil {
		return err
	}
	made, err := objectstore.HeadFull(ctx, x.client, x.to)
	if err != nil || made.ETag != written.ETag {
		return nil //nolint:nilerr // it may not be read, or somebody else has written it since
	}
	if made.Size != x.head.Size {
		return x.refusal(http.StatusInternalServerError, codeVerification,
			fmt.Sprintf("The object has %d bytes after the copy; the source has %d.", made.Size, x.head.Size))
	}
	return nil
}

// codeVerification is the code of a task whose effect is not what it should be.
const codeVerification = "VerificationFailed"

// partSize is wanted, or as much more as it takes to get by with maxParts.
func partSize(size, wanted int64) int64 {
	const round = 1 << 20
	if least := (size + maxParts - 1) / maxParts; least > wanted {
		return (least + round - 1) / round * round
	}
	return wanted
}

// abort drops an upload that has come to err, also when ctx has ended.
func abort(ctx context.Context, u *objectstore.Upload, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	left := u.Abort(ctx)
	e, ok := asStoreError(err)
	if left == nil || !ok {
		return err
	}
	n := *e
	n.Message += " (The parts that were sent could not be deleted: upload " + u.ID + ".)"
	return &n
}

func asStoreError(err error) (*objectstore.Error, bool) {
	return errors.AsType[*objectstore.Error](err)
}

// end says how a task ended that went another way than that of one request.
// before is how many requests were made in vain. An error means that it has no
// outcome.
func (x *transfer) end(ctx context.Context, way string, parts, before int, err error, out *job.Outcome) error {
	switch {
	case err == nil:
		*out = job.Outcome{HTTPStatus: http.StatusOK, Attempts: before}
		if parts > 0 {
			noun := "parts"
			if parts == 1 {
				noun = "part"
			}
			way = fmt.Sprintf("%s, %d %s", way, parts, noun)
		}
		if x.remark != "" {
			way += ", " + x.remark
		}
		out.Message = success + " (" + way + ")"
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case objectstore.Interrupted(err), errors.Is(err, objectstore.ErrClosed):
		return err
	}
	if e, ok := errors.AsType[*resultError](err); ok && e.Interrupted() {
		return e.Err
	}
	*out = outcomeOfError(err)
	out.Attempts = max(out.Attempts, before)
	return nil
}

// outcomeOfError says how a task ended that came to err.
func outcomeOfError(err error) job.Outcome {
	if e, ok := errors.AsType[*resultError](err); ok {
		return outcomeOf(&e.Result)
	}
	e, ok := asStoreError(err)
	if !ok {
		e = &objectstore.Error{Err: err}
	}
	r := objectstore.Result{Status: e.Status, Code: e.Code, Message: e.Message, Attempts: max(1, e.Attempts)}
	if r.Status < http.StatusMultipleChoices {
		r.Err = cmp.Or(e.Err, err)
	}
	return outcomeOf(&r)
}
