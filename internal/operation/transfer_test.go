package operation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// access is one store in process, or two: then the bucket far is in the second.
func access(t *testing.T, servers ...*objectstoretest.Server) *objectstore.Access {
	t.Helper()
	var stores []*objectstore.Store
	for _, srv := range servers {
		store, err := objectstore.New(objectstore.Config{
			Endpoint: srv.URL(), Credentials: srv.Credentials(),
			MaxAttempts: 3, BackoffBase: time.Nanosecond, BackoffCap: time.Nanosecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		stores = append(stores, store)
	}
	routes := map[string]*objectstore.Store{}
	if len(stores) > 1 {
		routes["far"] = stores[1]
	}
	a, err := objectstore.NewAccess(stores[0], routes)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// limited is a store that copies no more than ten bytes with one request.
func limited(t *testing.T) *objectstoretest.Server {
	t.Helper()
	srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret", CopyLimit: 10})
	srv.CreateBucket("dest")
	return srv
}

// copier copies to the bucket of p in parts of ten bytes.
func copier(t *testing.T, a *objectstore.Access, p job.S3PutObjectCopy) operation.Operation {
	t.Helper()
	p.TargetResource = "arn:aws:s3:::" + p.TargetResource
	o, err := operation.New(job.Operation{S3PutObjectCopy: &p}, operation.Env{Client: a, Objects: a, Job: new(job.Job), PartSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// task does one task that must come to an end.
func task(t *testing.T, o operation.Operation, bucket, key, version string) job.Outcome {
	t.Helper()
	var out job.Outcome
	err := o.Do(t.Context(), &operation.Task{Bucket: bucket, Key: []byte(key), VersionID: []byte(version)}, operation.NewScratch(), &out)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// put stores an object with metadata and tags.
func put(t *testing.T, a *objectstore.Access, srv *objectstoretest.Server, key, body string, header ...string) objectstoretest.Object {
	t.Helper()
	req := objectstore.Request{Method: http.MethodPut, Bucket: "src", Key: []byte(key), Body: objectstore.NewBody([]byte(body))}
	for i := 0; i < len(header); i += 2 {
		req.Headers = append(req.Headers, objectstore.Header{Name: header[i], Value: header[i+1]})
	}
	srv.CreateBucket("src")
	var res objectstore.Result
	if a.Do(t.Context(), &req, &res); !res.OK() {
		t.Fatalf("put: %+v", res)
	}
	o, _ := srv.Object("src", key)
	return o
}

// same compares what a copy keeps.
func same(t rapid.TB, want, got objectstoretest.Object) {
	t.Helper()
	kept := func(o objectstoretest.Object) objectstoretest.Object {
		if len(o.Tags) == 0 {
			o.Tags = nil
		}
		return objectstoretest.Object{Body: o.Body, ContentType: o.ContentType, Metadata: o.Metadata, Tags: o.Tags}
	}
	if diff := cmp.Diff(kept(want), kept(got)); diff != "" {
		t.Errorf("source (-) and copy (+):\n%s", diff)
	}
}

const long = "thirty-five bytes, so in four parts"

// TestCopyInParts copies what is too large for one request, under odd keys and by version.
func TestCopyInParts(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.SetVersioning("src", "Enabled")
	o := copier(t, a, job.S3PutObjectCopy{TargetResource: "dest"})
	for _, key := range oddKeys {
		source := put(t, a, srv, key, long, "content-type", "text/odd", "x-amz-meta-a", "1", "x-amz-tagging", "k=v%20%2B&e=")
		put(t, a, srv, key, "another version, long as well")
		out := task(t, o, "src", key, source.VersionID)
		if out.Failed || out.Message != "Successful (multipart copy, 4 parts)" || out.HTTPStatus != 200 {
			t.Errorf("%q: got %+v", key, out)
		}
		made, _ := srv.Object("dest", key)
		same(t, source, made)
	}
	if n := srv.Uploads("dest"); n != 0 {
		t.Errorf("%d uploads were left", n)
	}
}

// TestTheLimitIsLearned counts the requests made in vain.
func TestTheLimitIsLearned(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.Put("src", "small", "small")
	srv.Put("src", "large", long)
	o := copier(t, a, job.S3PutObjectCopy{TargetResource: "dest"})
	check := func(key string, copies, heads int) {
		t.Helper()
		srv.Forget()
		if out := task(t, o, "src", key, ""); out.Failed {
			t.Errorf("%s: %+v", key, out)
		}
		if c, h := srv.Count("CopyObject"), srv.Count("HeadObject"); c != copies || h != heads {
			t.Errorf("%s: got %d CopyObject and %d HeadObject, want %d and %d", key, c, h, copies, heads)
		}
	}
	check("small", 1, 0)
	check("large", 1, 3) // before, after, and the copy
	check("large", 0, 4) // and the look whether it is large
	check("small", 1, 1)
	check("small", 1, 0)
}

// TestPartsKeepToTheLimit: what is too large for CopyObject may be too large for a
// part. Parts are made smaller until they are not, and start so the next time.
func TestPartsKeepToTheLimit(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.Put("src", "k", long)
	p := job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest"}
	o, err := operation.New(job.Operation{S3PutObjectCopy: &p}, operation.Env{Client: a, Objects: a, PartSize: 64})
	if err != nil {
		t.Fatal(err)
	}
	check := func(uploads, copies int) {
		t.Helper()
		srv.Forget()
		if out := task(t, o, "src", "k", ""); out.Message != "Successful (multipart copy, 5 parts)" {
			t.Errorf("got %+v", out)
		}
		if n := srv.Count("CreateMultipartUpload"); n != uploads || srv.Uploads("dest") != 0 || srv.Count("CopyObject") != copies {
			t.Errorf("%d uploads, want %d; %d are left; %d CopyObject, want %d", n, uploads, srv.Uploads("dest"), srv.Count("CopyObject"), copies)
		}
	}
	check(3, 1) // of 32 bytes, 16, and 8
	check(1, 0)
	srv.Fault(objectstoretest.Match{Op: "UploadPartCopy"}, objectstoretest.Status(413, "EntityTooLarge"))
	if out := task(t, o, "src", "k", ""); out.Code != "EntityTooLarge" || srv.Uploads("dest") != 0 {
		t.Errorf("a store that copies no part at all: %+v, %d uploads left", out, srv.Uploads("dest"))
	}
}

// TestACopyThatTakesTooLong is done in parts if it is large, else once more: neither
// spends all its attempts on waiting.
func TestACopyThatTakesTooLong(t *testing.T) {
	t.Parallel()
	srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"})
	srv.CreateBucket("dest")
	store, err := objectstore.New(objectstore.Config{
		Endpoint: srv.URL(), Credentials: srv.Credentials(), AttemptTimeout: time.Second, BackoffBase: time.Nanosecond, BackoffCap: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	a, err := objectstore.NewAccess(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	srv.Put("src", "small", "small")
	srv.Put("src", "large", long)
	check := func(key, message string, copies, attempts int) {
		t.Helper()
		srv.Forget()
		gate := objectstoretest.NewGate()
		defer gate.Open()
		rule := srv.Fault(objectstoretest.Match{Op: "CopyObject", Times: 1}, objectstoretest.Block(gate))
		defer rule.Remove()
		out := task(t, copier(t, a, job.S3PutObjectCopy{TargetResource: "dest"}), "src", key, "")
		if n := srv.Count("CopyObject"); out.Message != message || n != copies || out.Attempts != attempts {
			t.Errorf("%s: got %+v after %d CopyObject, want %s after %d", key, out, n, message, copies)
		}
	}
	check("large", "Successful (multipart copy, 4 parts)", 1, 1)
	check("small", "Successful", 2, 2)
}

// TestPartsCarryWhatCopyObjectWould looks at the headers of the object to be.
func TestPartsCarryWhatCopyObjectWould(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	put(t, a, srv, "k", long, "content-type", "text/a", "x-amz-meta-a", "1", "x-amz-tagging", "t=1", "x-amz-storage-class", "STANDARD_IA")
	check := func(p job.S3PutObjectCopy, want map[string]string) {
		t.Helper()
		srv.Forget()
		p.TargetResource = "dest"
		if out := task(t, copier(t, a, p), "src", "k", ""); out.Failed {
			t.Errorf("%+v: %+v", p, out)
		}
		got := map[string]string{}
		for name := range srv.Requests("CreateMultipartUpload")[0].Header {
			switch name = strings.ToLower(name); name {
			case "user-agent", "authorization", "content-length", "x-amz-date", "x-amz-content-sha256":
			default:
				got[name] = srv.Requests("CreateMultipartUpload")[0].Header.Get(name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: want (-) and got (+):\n%s", p, diff)
		}
		for _, r := range srv.Requests("UploadPartCopy", "CompleteMultipartUpload", "HeadObject") {
			if payer := r.Header.Get("X-Amz-Request-Payer"); (payer != "") != (p.RequesterPays != nil) {
				t.Errorf("%s: requester pays: got %q", r.Op, payer)
			}
		}
	}
	type sent = map[string]string
	until := time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)
	check(job.S3PutObjectCopy{}, sent{"content-type": "text/a", "x-amz-meta-a": "1", "x-amz-tagging": "t=1"})
	check(job.S3PutObjectCopy{MetadataDirective: "COPY", NewObjectTagging: []job.Tag{}}, sent{"content-type": "text/a", "x-amz-meta-a": "1"})
	check(job.S3PutObjectCopy{MetadataDirective: "REPLACE", NewObjectTagging: []job.Tag{{Key: "n", Value: "2"}}}, sent{"x-amz-tagging": "n=2"})
	check(job.S3PutObjectCopy{
		NewObjectMetadata:       &job.ObjectMetadata{ContentType: "text/b", UserMetadata: map[string]string{"b": "2"}, SSEAlgorithm: "KMS"},
		CannedAccessControlList: "private", StorageClass: "GLACIER", RedirectLocation: "/r", ObjectLockLegalHoldStatus: "ON",
		ObjectLockMode: "GOVERNANCE", ObjectLockRetainUntilDate: &until, RequesterPays: new(true),
		NewObjectTagging: []job.Tag{}, ChecksumAlgorithm: "CRC32C", UnModifiedSinceConstraint: &until,
	}, sent{
		"content-type": "text/b", "x-amz-meta-b": "2", "x-amz-server-side-encryption": "aws:kms", "x-amz-acl": "private",
		"x-amz-storage-class": "GLACIER", "x-amz-website-redirect-location": "/r", "x-amz-object-lock-legal-hold": "ON",
		"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2036-01-02T03:04:05Z",
		"x-amz-request-payer":      "requester",
		"x-amz-checksum-algorithm": "CRC32C", "x-amz-checksum-type": "FULL_OBJECT",
	})
}

func TestConstraintsHoldForParts(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.Put("src", "k", long)
	before, after := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	check := func(p job.S3PutObjectCopy, want int) {
		t.Helper()
		p.TargetResource = "dest"
		if out := task(t, copier(t, a, p), "src", "k", ""); out.HTTPStatus != want || out.Failed && out.Code != "PreconditionFailed" {
			t.Errorf("%+v: got %+v, want %d", p, out, want)
		}
	}
	check(job.S3PutObjectCopy{ModifiedSinceConstraint: &before}, 200)
	check(job.S3PutObjectCopy{ModifiedSinceConstraint: &after}, 412)
	check(job.S3PutObjectCopy{UnModifiedSinceConstraint: &after}, 200)
	check(job.S3PutObjectCopy{UnModifiedSinceConstraint: &before}, 412)
}

// TestPartsThatFail makes sure that nothing is left behind, and nothing half done.
func TestPartsThatFail(t *testing.T) {
	t.Parallel()
	check := func(m objectstoretest.Match, fault objectstoretest.Action, status int, code string) {
		t.Helper()
		srv := limited(t)
		a := access(t, srv)
		srv.Put("src", "k", long)
		f := srv.Fault(m, fault)
		out := task(t, copier(t, a, job.S3PutObjectCopy{TargetResource: "dest"}), "src", "k", "")
		if out.HTTPStatus != status || out.Code != code || out.Failed != (status != 200) || f.Hits() == 0 {
			t.Errorf("%s: got %+v, want %d %s", m.Op, out, status, code)
		}
		if _, made := srv.Object("dest", "k"); made == out.Failed || srv.Uploads("dest") != 0 {
			t.Errorf("%s: object made: %t, uploads left: %d", m.Op, made, srv.Uploads("dest"))
		}
	}
	type match = objectstoretest.Match
	check(match{Op: "UploadPartCopy", Skip: 2, Times: 1}, objectstoretest.Status(403, "AccessDenied"), 403, "AccessDenied")
	check(match{Op: "UploadPartCopy", Skip: 1, Times: 2}, objectstoretest.SlowDown(), 200, "")
	check(match{Op: "UploadPartCopy", Times: 1}, objectstoretest.ResetAfter(), 200, "")
	check(match{Op: "UploadPartCopy"}, objectstoretest.OKWithError("InternalError"), 500, "InternalError")
	check(match{Op: "CompleteMultipartUpload"}, objectstoretest.OKWithError("AccessDenied"), 403, "AccessDenied")
	check(match{Op: "CompleteMultipartUpload", Times: 1}, objectstoretest.OKWithError("InternalError"), 200, "")
	check(match{Op: "CompleteMultipartUpload", Times: 1}, objectstoretest.ResetAfter(), 200, "")
	check(match{Op: "CreateMultipartUpload"}, objectstoretest.Status(501, "NotImplemented"), 501, "NotImplemented")
	check(match{Op: "HeadObject", Times: 1}, objectstoretest.Status(404, ""), 404, "NoSuchKey")
	check(match{Op: "GetObjectTagging"}, objectstoretest.Status(403, "AccessDenied"), 403, "AccessDenied")
	check(match{Op: "GetObjectTagging"}, objectstoretest.Status(501, "NotImplemented"), 200, "")
	// A store that ignores x-amz-copy-source-if-match.
	check(match{Op: "HeadObject", Skip: 1, Times: 1}, objectstoretest.Garble(), 412, "PreconditionFailed")
	// What there is no reason to be asked again.
	check(match{Op: "CopyObject"}, objectstoretest.Status(400, "InvalidRequest"), 400, "InvalidRequest")
}

// TestSourceChangesWhileItIsCopied overwrites it after the first parts.
func TestSourceChangesWhileItIsCopied(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.Put("src", "k", long)
	gate := objectstoretest.NewGate()
	srv.Fault(objectstoretest.Match{Op: "UploadPartCopy", Skip: 2}, objectstoretest.Block(gate))
	ended := make(chan job.Outcome, 1)
	go func() {
		ended <- task(t, copier(t, a, job.S3PutObjectCopy{TargetResource: "dest"}), "src", "k", "")
	}()
	<-gate.Arrived()
	srv.Put("src", "k", strings.ToUpper(long))
	gate.Open()
	if out := <-ended; out.HTTPStatus != 412 || out.Code != "PreconditionFailed" {
		t.Errorf("got %+v", out)
	}
	if _, made := srv.Object("dest", "k"); made || srv.Uploads("dest") != 0 {
		t.Errorf("object made: %t, uploads left: %d", made, srv.Uploads("dest"))
	}
}

// TestPartsOfAJobThatEnds makes sure that a task cut off has no outcome and leaves no parts.
func TestPartsOfAJobThatEnds(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.Put("src", "k", long)
	gate := objectstoretest.NewGate()
	srv.Fault(objectstoretest.Match{Op: "UploadPartCopy", Skip: 1}, objectstoretest.Block(gate))
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	out := job.Outcome{Message: "untouched"}
	go func() {
		ended <- copier(t, a, job.S3PutObjectCopy{TargetResource: "dest"}).
			Do(ctx, &operation.Task{Bucket: "src", Key: []byte("k")}, operation.NewScratch(), &out)
	}()
	<-gate.Arrived()
	cancel(over)
	gate.Open()
	if err := <-ended; !errors.Is(err, over) || out != (job.Outcome{Message: "untouched"}) {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, made := srv.Object("dest", "k"); made || srv.Uploads("dest") != 0 || srv.Count("AbortMultipartUpload") != 1 {
		t.Errorf("object made: %t, uploads left: %d", made, srv.Uploads("dest"))
	}
}

// TestCopyBetweenStores has the bytes go through here, in one piece and in parts.
func TestCopyBetweenStores(t *testing.T) {
	t.Parallel()
	near, far := limited(t), limited(t)
	a := access(t, near, far)
	near.SetVersioning("src", "Enabled")
	far.CreateBucket("far")
	o := copier(t, a, job.S3PutObjectCopy{TargetResource: "far", TargetKeyPrefix: "p"})
	for body, message := range map[string]string{
		"":      "Successful (streamed between stores)",
		"short": "Successful (streamed between stores)",
		long:    "Successful (streamed between stores, 4 parts)",
	} {
		for _, key := range oddKeys[:len(oddKeys)-1] {
			source := put(t, a, near, key, body, "content-type", "text/odd", "x-amz-meta-a", "1", "x-amz-tagging", "k=v%20%2B&e=")
			put(t, a, near, key, "another version")
			if out := task(t, o, "src", key, source.VersionID); out.Failed || out.Message != message {
				t.Errorf("%q: got %+v, want %s", key, out, message)
			}
			made, _ := far.Object("far", "p/"+key)
			same(t, source, made)
		}
	}
	if near.Count("CopyObject")+far.Count("CopyObject")+far.Uploads("far") != 0 {
		t.Error("a store was asked to copy from another, or an upload was left")
	}
}

// TestTheRequesterPaysForReading, too, as for every request of such a job.
func TestTheRequesterPaysForReading(t *testing.T) {
	t.Parallel()
	near, far := limited(t), limited(t)
	a := access(t, near, far)
	far.CreateBucket("far")
	near.Put("src", "k", long)
	near.Put("src", "empty", "")
	for _, pays := range []bool{false, true} {
		o := copier(t, a, job.S3PutObjectCopy{TargetResource: "far", RequesterPays: &pays})
		near.Forget()
		for _, key := range []string{"k", "empty"} {
			if out := task(t, o, "src", key, ""); out.Failed {
				t.Errorf("%+v", out)
			}
		}
		for _, r := range near.Requests() {
			if got := r.Header.Values("x-amz-request-payer"); pays != slices.Equal(got, []string{"requester"}) || !pays && len(got) > 0 {
				t.Errorf("pays %t: %s has %q", pays, r.URI, got)
			}
		}
		if n := near.Count("GetObject"); n != 5 {
			t.Errorf("%d GETs", n)
		}
	}
}

// TestFaultsBetweenStores makes sure that what arrives is what was there, or nothing.
func TestFaultsBetweenStores(t *testing.T) {
	t.Parallel()
	check := func(body, op string, fault objectstoretest.Action, times, status int, code string) {
		t.Helper()
		near, far := limited(t), limited(t)
		a := access(t, near, far)
		far.CreateBucket("far")
		source := put(t, a, near, "k", body)
		m := objectstoretest.Match{Op: op, Times: times}
		on := far
		if op == "GetObject" || op == "HeadObject" {
			on = near
		}
		on.Fault(m, fault)
		out := task(t, copier(t, a, job.S3PutObjectCopy{TargetResource: "far"}), "src", "k", "")
		if out.HTTPStatus != status || out.Code != code {
			t.Errorf("%s: got %+v, want %d %s", op, out, status, code)
		}
		made, ok := far.Object("far", "k")
		if ok == out.Failed || far.Uploads("far") != 0 {
			t.Errorf("%s: object made: %t, uploads left: %d", op, ok, far.Uploads("far"))
		}
		if ok {
			same(t, source, made)
		}
	}
	check(long, "GetObject", objectstoretest.CutBody(3), 1, 200, "")
	check(long, "GetObject", objectstoretest.Garble(), 1, 412, "PreconditionFailed")
	check(long, "GetObject", objectstoretest.Status(403, "InvalidObjectState"), 0, 403, "InvalidObjectState")
	check(long, "HeadObject", objectstoretest.Status(404, ""), 0, 404, "NoSuchKey")
	check(long, "UploadPart", objectstoretest.ResetAfter(), 1, 200, "")
	check(long, "UploadPart", objectstoretest.Status(403, "AccessDenied"), 1, 403, "AccessDenied")
	check(long, "CompleteMultipartUpload", objectstoretest.OKWithError("InternalError"), 0, 500, "InternalError")
	check("short", "PutObject", objectstoretest.SlowDown(), 2, 200, "")
	check("short", "PutObject", objectstoretest.Status(403, "AccessDenied"), 0, 403, "AccessDenied")
}

// flipping reads something else than is there.
type flipping struct{ *objectstore.Access }

func (f flipping) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	r, info, err := f.Access.Open(ctx, o, offset, length)
	if err != nil {
		return nil, info, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	body[len(body)-1] ^= 1
	return io.NopCloser(bytes.NewReader(body)), info, err
}

// TestWhatWasReadIsCompared with the ETag, and nothing is written that differs.
func TestWhatWasReadIsCompared(t *testing.T) {
	t.Parallel()
	near, far := limited(t), limited(t)
	a := access(t, near, far)
	far.CreateBucket("far")
	for _, body := range []string{"short", long} {
		near.Put("src", "k", body)
		o, err := operation.New(job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::far"}},
			operation.Env{Client: a, Objects: flipping{a}, Job: new(job.Job), PartSize: 10})
		if err != nil {
			t.Fatal(err)
		}
		if out := task(t, o, "src", "k", ""); out.Code != "VerificationFailed" || !strings.Contains(out.Message, "MD5") {
			t.Errorf("got %+v", out)
		}
		if _, made := far.Object("far", "k"); made || far.Uploads("far") != 0 {
			t.Errorf("object made: %t, uploads left: %d", made, far.Uploads("far"))
		}
	}
}

// TestCopiesEqualTheirSources on either way, whatever they are.
func TestCopiesEqualTheirSources(t *testing.T) {
	t.Parallel()
	near, far := limited(t), limited(t)
	a := access(t, near, far)
	far.CreateBucket("far")
	ways := map[string]operation.Operation{
		"dest": copier(t, a, job.S3PutObjectCopy{TargetResource: "dest"}),
		"far":  copier(t, a, job.S3PutObjectCopy{TargetResource: "far"}),
	}
	text := rapid.StringMatching(`[!-~]([ -~]{0,20}[!-~])?`)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		key := fmt.Sprintf("%d %s", n, rapid.String().Draw(rt, "key"))
		header := []string{"content-type", text.Draw(rt, "type")}
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9-]{0,9}[a-z]`), 0, 4, rapid.ID).Draw(rt, "metadata") {
			header = append(header, "x-amz-meta-"+name, text.Draw(rt, "value"))
		}
		put(t, a, near, key, string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(rt, "body")), header...)
		near.SetTags("src", key, rapid.MapOfN(rapid.String(), rapid.String(), 0, 5).Filter(xmlText).Draw(rt, "tags"))
		source, _ := near.Object("src", key)
		for bucket, o := range ways {
			if out := task(t, o, "src", key, ""); out.Failed {
				rt.Fatalf("%s: %+v", bucket, out)
			}
			made, _ := near.Object(bucket, key)
			if bucket == "far" {
				made, _ = far.Object(bucket, key)
			}
			same(rt, source, made)
		}
	})
}

// xmlText reports whether tags can stand in a document and come back unchanged.
func xmlText(tags map[string]string) bool {
	for key, value := range tags {
		if strings.ContainsFunc(key+value, func(r rune) bool { return r < ' ' || r > 0xd7ff }) {
			return false
		}
	}
	return true
}
