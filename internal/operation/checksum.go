package operation

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// checksum reads every object and writes its checksum into the report
// (operations.md section 9). Objects stream through one small buffer.
//
// A COMPOSITE checksum is that of the checksums of the parts the object was
// uploaded in, one after the other; parts are those the store tells of.
type checksum struct {
	env       Env
	algorithm job.ChecksumAlgorithm
	kind      job.ChecksumType
	free      sync.Pool // of *summer
	slow      bool      // summing up takes longer than reading
	tasks     atomic.Int32
}

func newChecksum(p *job.S3ComputeObjectChecksum, env Env) Operation {
	o := &checksum{
		env:       env,
		algorithm: cmp.Or(p.ChecksumAlgorithm, job.ChecksumCRC64NVME),
		kind:      cmp.Or(p.ChecksumType, "FULL_OBJECT"),
	}
	o.free.New = func() any {
		return &summer{hash: newHash(o.algorithm), outer: newHash(o.algorithm), buf: make([]byte, blockBytes)}
	}
	o.slow = slow(o.algorithm)
	return o
}

// Do implements Operation.
func (o *checksum) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	ctx, cancel := o.env.untilDrained(ctx)
	defer cancel()
	w := o.free.Get().(*summer) //nolint:errcheck // the pool holds nothing else
	defer o.free.Put(w)
	// With as many objects at a time as there are cores, all of them are busy anyway.
	w.ahead = int(o.tasks.Add(1)) < runtime.GOMAXPROCS(0) && o.slow
	defer o.tasks.Add(-1)
	object := objectstore.Object{Bucket: t.Bucket, Key: string(t.Key), VersionID: string(t.VersionID)}
	sum := o.full
	if o.kind == job.ChecksumComposite {
		sum = o.composite
	}
	etag, err := sum(ctx, object, w, s)
	_, cut := errors.AsType[*interrupted](err)
	switch {
	case err == nil:
		*out = job.Outcome{HTTPStatus: http.StatusOK, Message: o.result(w.sum, etag), Attempts: 1}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case cut, errors.Is(err, objectstore.ErrClosed):
		return err
	default:
		*out = checksumFailure(err)
	}
	return nil
}

// full leaves the checksum of a whole object in w.sum.
func (o *checksum) full(ctx context.Context, object objectstore.Object, w *summer, _ *Scratch) (etag string, err error) {
	body, info, err := o.env.Objects.Open(ctx, object, 0, -1)
	if err != nil {
		return "", err
	}
	defer body.Close()
	w.hash.Reset()
	if err := w.read(body, info.Size); err != nil {
		return "", err
	}
	w.sum = w.hash.Sum(w.sum[:0])
	return info.ETag, nil
}

// composite leaves the checksum of the checksums of an object's parts in w.sum.
// The object is read once, in one piece, after the sizes of its parts were asked
// for: a stream that is open takes a place among the requests that may be in
// flight. All of it is about the version and the ETag that came first.
func (o *checksum) composite(ctx context.Context, object objectstore.Object, w *summer, s *Scratch) (etag string, err error) {
	sizes, err := o.parts(ctx, &object, s)
	if err != nil {
		return "", err
	}
	body, info, err := o.env.Objects.Open(ctx, object, 0, -1)
	if err != nil {
		return "", err
	}
	defer body.Close()
	left := info.Size
	for _, size := range sizes {
		if left -= size; left < 0 {
			break
		}
	}
	if left != 0 {
		return "", objectError(object, http.StatusNotImplemented, "NotImplemented", "the sizes of the parts that the store tells do not make up the object's")
	}
	w.outer.Reset()
	for _, size := range sizes {
		w.hash.Reset()
		if err := w.read(body, size); err != nil {
			return "", err
		}
		w.sum = w.hash.Sum(w.sum[:0])
		w.outer.Write(w.sum)
	}
	w.sum = w.outer.Sum(w.sum[:0])
	return info.ETag, nil
}

// objectError is an error that is not the store's but about it.
func objectError(o objectstore.Object, status int, code, message string) error {
	return &objectstore.Error{Op: "HeadObject", Bucket: o.Bucket, Key: o.Key, Status: status, Code: code, Message: message}
}

// interrupted ends a task without an outcome.
type interrupted struct{ error }

// result is the one message that AWS writes for a checksum: an equals sign is
// escaped, hex is in upper case. A composite checksum has no suffix "-<parts>":
// it is the bare value in either form.
func (o *checksum) result(sum []byte, etag string) string {
	m, _ := json.Marshal(struct { // of strings only
		Base64    string `json:"checksum_base64"`
		ETag      string `json:"etag"`
		Algorithm string `json:"checksumAlgorithm"`
		Type      string `json:"checksumType"`
		Hex       string `json:"checksum_hex"`
	}{base64.StdEncoding.EncodeToString(sum), etag, string(o.algorithm), string(o.kind), fmt.Sprintf("%X", sum)})
	return strings.ReplaceAll(string(m), "=", `\u003d`)
}

// checksumFailure is a failed row as AWS writes it: 200 and PermanentFailure,
// whatever it was, which stands in the message.
func checksumFailure(err error) job.Outcome {
	r := objectstore.Result{Err: err, Attempts: 1}
	if e, ok := errors.AsType[*objectstore.Error](err); ok {
		r.Status, r.Code, r.Message, r.Attempts = e.Status, e.Code, e.Message, max(1, e.Attempts)
	}
	was := outcomeOf(&r)
	text := was.Code + ": " + was.Message
	switch {
	case was.Code == "NoSuchKey", was.Code == "NotFound": // HEAD has no code of its own
		text = "Key not found"
	case was.HTTPStatus >= 500 && was.HTTPStatus != http.StatusNotImplemented:
		text = "Internal server error, please retry: " + text
	}
	quoted, _ := json.Marshal(text) // of a string
	return job.Outcome{
		Failed: true, HTTPStatus: http.StatusOK, Code: "PermanentFailure", Attempts: was.Attempts,
		Message: fmt.Sprintf(`error details: {"failureMessage":%s, "errorCode": "%d"}`, quoted, was.HTTPStatus),
	}
}
