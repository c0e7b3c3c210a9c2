package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

func TestFailure(t *testing.T) {
	t.Parallel()
	answer := func(status int, code string) error {
		return fmt.Errorf("read: %w", &objectstore.Error{Op: "GetObject", Bucket: "b", Key: "m.csv", Status: status, Code: code})
	}
	check := func(err error, code, text string) {
		t.Helper()
		got := source.Failure(t.Context(), err)
		failed, ok := errors.AsType[*job.FailedError](got)
		switch {
		case ok != (code != ""):
			t.Errorf("%v: got %v, want code %q", err, got, code)
		case ok && (failed.Reason.FailureCode != code || !strings.Contains(failed.Reason.FailureReason, text)):
			t.Errorf("%v: got %+v, want %s, %q", err, failed.Reason, code, text)
		case !errors.Is(got, err) && got != err: //nolint:errorlint // the very same error
			t.Errorf("%v: got %v, which does not wrap it", err, got)
		}
	}
	check(answer(412, "PreconditionFailed"), job.CodeManifestChanged, "The manifest was changed while it was read. Create the job again with the manifest's present ETag. (b/m.csv)")
	check(answer(404, "NoSuchKey"), job.CodeManifestNotFound, "does not exist: ")
	check(answer(404, "NoSuchBucket"), job.CodeManifestNotFound, "m.csv")
	check(answer(403, "AccessDenied"), job.CodeManifestForbidden, "Reading the manifest is forbidden: AccessDenied (b/m.csv)")
	check(&objectstore.Error{Status: 403}, job.CodeManifestForbidden, "Reading the manifest is forbidden: AccessDenied")
	check(answer(400, "InvalidRequest"), job.CodeManifestUnreadable, "The manifest cannot be read: ")
	check(answer(400, "ExpiredToken"), "", "")
	check(answer(429, "TooManyRequests"), "", "")
	check(answer(408, "RequestTimeout"), "", "")
	check(answer(503, "SlowDown"), "", "")
	check(io.ErrUnexpectedEOF, "", "")
	check(&job.FailedError{Reason: job.Fail("Own", "text")}, "Own", "text")

	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if got := source.Failure(ctx, answer(404, "NoSuchKey")); !errors.Is(got, stopped) {
		t.Errorf("got %v, want %v", got, stopped)
	}
}

// headless is a store whose answers to HEAD have no code of their own, as HTTP has it.
type headless struct {
	store
	head, open error
}

func (h headless) Head(context.Context, objectstore.Object) (objectstore.Info, error) {
	return objectstore.Info{}, h.head
}

func (h headless) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	if h.open != nil {
		return nil, objectstore.Info{}, h.open
	}
	return h.store.Open(ctx, o, offset, length)
}

// A job tells whether it is the bucket or the manifest that is missing.
func TestMissing(t *testing.T) {
	t.Parallel()
	check := func(open error, want string) {
		t.Helper()
		s := store{"b/m.csv": []byte("src,a\n")}
		head := &objectstore.Error{Op: "HeadObject", Bucket: "b", Key: "m.csv", Status: 404, Code: "NotFound"}
		_, err := source.Locate(t.Context(), headless{s, head, open}, s.csv())
		failed, ok := errors.AsType[*job.FailedError](err)
		want = "The manifest, or a file of it, does not exist: " + want
		if !ok || failed.Reason.FailureCode != job.CodeManifestNotFound || failed.Reason.FailureReason != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	answer := func(status int, code string) error {
		return &objectstore.Error{Op: "GetObject", Bucket: "b", Key: "m.csv", Status: status, Code: code}
	}
	check(answer(404, "NoSuchBucket"), "GetObject b/m.csv: 404 NoSuchBucket")
	check(answer(404, "NoSuchKey"), "GetObject b/m.csv: 404 NoSuchKey")
	check(answer(403, "AccessDenied"), "HeadObject b/m.csv: 404 NotFound")
	check(nil, "HeadObject b/m.csv: 404 NotFound")
}

// A bad request for the head of a manifest may be about credentials that have expired, which is told where its bytes are asked for.
func TestBadRequest(t *testing.T) {
	t.Parallel()
	answer := func(op, code string) error {
		return &objectstore.Error{Op: op, Bucket: "b", Key: "m.csv", Status: 400, Code: code}
	}
	s := store{"b/m.csv": []byte("src,a\n")}
	head := answer("HeadObject", "BadRequest")
	src, err := source.Locate(t.Context(), headless{s, head, nil}, s.csv())
	if err != nil || src.Size != 6 || src.Object.ETag != s.etag("m.csv") {
		t.Errorf("got %+v, %v", src, err)
	}
	_, err = source.Locate(t.Context(), headless{s, head, answer("GetObject", "ExpiredToken")}, s.csv())
	if _, ok := errors.AsType[*job.FailedError](err); ok || err == nil {
		t.Errorf("expired credentials: got %v, want an error that may pass", err)
	}
	_, err = source.Locate(t.Context(), headless{s, head, answer("GetObject", "InvalidRequest")}, s.csv())
	if e, ok := errors.AsType[*job.FailedError](err); !ok || e.Reason.FailureReason != "The manifest cannot be read: GetObject b/m.csv: 400 InvalidRequest" {
		t.Errorf("a key of the customer: got %v", err)
	}
}

// The ETag that a job names may be written in many ways, but is that of the object.
func TestLocatePins(t *testing.T) {
	t.Parallel()
	s := store{"b/m.csv": []byte("src,a\n")}
	etag := s.etag("m.csv")
	check := func(written, code string) {
		t.Helper()
		spec := s.csv()
		spec.Object.ETag = written
		src, err := source.Locate(t.Context(), s, spec)
		failed, ok := errors.AsType[*job.FailedError](err)
		switch {
		case ok != (code != ""), ok && failed.Reason.FailureCode != code:
			t.Errorf("%s: error %v, want %q", written, err, code)
		case err == nil && (src.Object.ETag != etag || src.Size != 6 || src.Files[0].Object.ETag != etag):
			t.Errorf("%s: got %+v of %d bytes", written, src.Object, src.Size)
		}
	}
	check(etag, "")
	check(`"`+etag+`"`, "")
	check(`W/"`+etag+`"`, "")
	check(" "+etag+"\n", "")
	check(strings.Repeat("0", 32), job.CodeManifestChanged)

	spec := s.csv()
	spec.Object.Key = "gone.csv"
	if _, err := source.Locate(t.Context(), s, spec); !strings.Contains(fmt.Sprint(err), job.CodeManifestNotFound) {
		t.Errorf("located what is gone: %v", err)
	}
	// What was pinned already is not asked for again: reading tells.
	spec.Size = 6
	if src, err := source.Locate(t.Context(), s, spec); err != nil || src.Size != 6 {
		t.Errorf("located again: %v", err)
	}
}
