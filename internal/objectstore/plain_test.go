package objectstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// numbers is a text in which every place can be told from every other.
func numbers(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strings.Repeat(string(rune('a'+i%26)), 1+i%7))
	}
	return b.String()[:n]
}

func read(t *testing.T, store *objectstore.Store, o objectstore.Object, offset, length int64) (string, objectstore.Info, error) {
	t.Helper()
	r, info, err := store.Open(t.Context(), o, offset, length)
	if err != nil {
		return "", info, err
	}
	body, err := io.ReadAll(r)
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	return string(body), info, err
}

func TestOpenAndHead(t *testing.T) {
	t.Parallel()
	for _, server := range []objectstoretest.Config{{}, {CloseEach: true}, {TLS: true}} {
		s3, store := start(t, server, nil)
		s3.SetVersioning("b", "Enabled")
		const key = "a//b/../ %2F+é?&="
		text := numbers(100_000)
		old := s3.Put("b", key, text)
		s3.Put("b", key, "new")
		s3.Put("b", "empty", "")
		o := objectstore.Object{Bucket: "b", Key: key, VersionID: old.VersionID}
		check := func(offset, length int64, want string) {
			t.Helper()
			got, info, err := read(t, store, o, offset, length)
			if err != nil || got != want || info.Size != int64(len(text)) || info.ETag != old.ETag || info.VersionID != old.VersionID {
				t.Errorf("%d+%d: %d bytes, %+v, %v", offset, length, len(got), info, err)
			}
		}
		check(0, -1, text)
		check(10, -1, text[10:])
		check(10, 20, text[10:30])
		check(0, 1, text[:1])
		check(99_990, 100, text[99_990:])
		check(5, 0, "")
		for _, etag := range []string{old.ETag, `"` + old.ETag + `"`, `W/"` + old.ETag + `"`} {
			o.ETag = etag
			check(0, -1, text)
		}
		if got, info, err := read(t, store, objectstore.Object{Bucket: "b", Key: "empty"}, 0, -1); got != "" || info.Size != 0 || err != nil {
			t.Errorf("empty: %q, %+v, %v", got, info, err)
		}
		info, err := store.Head(t.Context(), o)
		if err != nil || info.Size != int64(len(text)) || info.ETag != old.ETag || info.VersionID != old.VersionID || info.LastModified.IsZero() {
			t.Errorf("head: %+v, %v", info, err)
		}
		for _, r := range s3.Requests("GetObject") {
			if r.Key == key && r.VersionID != old.VersionID {
				t.Errorf("%s has lost the version", r.URI)
			}
			if got := r.Header.Get("If-Match"); got != "" && got != `"`+old.ETag+`"` {
				t.Errorf("If-Match: %s", got)
			}
		}
	}
}

func TestPlainErrors(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Put("b", "k", "x")
	s3.Put("secret", "k", "x")
	s3.Fault(objectstoretest.Match{Bucket: "secret"}, objectstoretest.Status(403, "AccessDenied"))
	ctx := t.Context()
	check := func(name string, err error, is func(error) bool, status int, code string) {
		t.Helper()
		e, ok := errors.AsType[*objectstore.Error](err)
		if !ok || !is(err) || e.Status != status || e.Code != code || e.Op == "" || e.RequestID != "TESTREQUEST" {
			t.Errorf("%s: %#v", name, err)
			return
		}
		n := 0
		for _, is := range []func(error) bool{objectstore.NotFound, objectstore.AccessDenied, objectstore.PreconditionFailed} {
			if is(err) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: %v is %d kinds of error", name, err, n)
		}
	}
	open := func(o objectstore.Object) error {
		_, _, err := store.Open(ctx, o, 0, -1)
		return err
	}
	head := func(o objectstore.Object) error {
		_, err := store.Head(ctx, o)
		return err
	}
	missing := objectstore.Object{Bucket: "b", Key: "missing"}
	other := objectstore.Object{Bucket: "b", Key: "k", ETag: "0123"}
	denied := objectstore.Object{Bucket: "secret", Key: "k"}
	check("open missing", open(missing), objectstore.NotFound, 404, "NoSuchKey")
	check("open in no bucket", open(objectstore.Object{Bucket: "none", Key: "k"}), objectstore.NotFound, 404, "NoSuchBucket")
	check("open no version", open(objectstore.Object{Bucket: "b", Key: "k", VersionID: "v9"}), objectstore.NotFound, 404, "NoSuchVersion")
	check("open another", open(other), objectstore.PreconditionFailed, 412, "PreconditionFailed")
	check("open denied", open(denied), objectstore.AccessDenied, 403, "AccessDenied")
	check("head missing", head(missing), objectstore.NotFound, 404, "NotFound")
	check("head another", head(other), objectstore.PreconditionFailed, 412, "PreconditionFailed")
	check("head denied", head(denied), objectstore.AccessDenied, 403, "Forbidden")
	_, err := store.Put(ctx, objectstore.PutInput{Bucket: "secret", Key: "k", Body: strings.NewReader("x"), Size: 1})
	check("put denied", err, objectstore.AccessDenied, 403, "AccessDenied")
	if want := "PutObject secret/k: 403 AccessDenied: Injected AccessDenied."; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	check("delete denied", store.Delete(ctx, "secret", "k"), objectstore.AccessDenied, 403, "AccessDenied")
	_, err = store.Versioning(ctx, "secret")
	check("versioning denied", err, objectstore.AccessDenied, 403, "AccessDenied")
	for _, err = range store.List(ctx, "secret", "") {
	}
	check("list denied", err, objectstore.AccessDenied, 403, "AccessDenied")
	if n := s3.Count("ListObjectsV2"); n != 1 {
		t.Errorf("denied listing was asked for %d times", n)
	}
	if _, _, err := store.Open(ctx, objectstore.Object{Bucket: "b", Key: "k"}, -1, 1); err == nil {
		t.Error("negative offset is accepted")
	}
}

// TestPlainCallsRetry has every call meet with what Do repeats: refusals for a while, answers that do not come or are cut
// short.
func TestPlainCallsRetry(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	access, err := objectstore.NewAccess(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	limited := access.Limited(objectstore.NewLimiter(objectstore.Limits{MaxConcurrency: 1}))
	ctx := t.Context()
	check := func(op string, call func() error) {
		t.Helper()
		for name, actions := range map[string][]objectstoretest.Action{
			"refused":   {objectstoretest.SlowDown(), objectstoretest.Status(429, "TooManyRequests"), objectstoretest.Status(500, "InternalError")},
			"reset":     {objectstoretest.ResetBefore(), objectstoretest.ResetAfter()},
			"cut short": {objectstoretest.CutBody(60), objectstoretest.CutBody(0), objectstoretest.Answer(200, "<VersioningConfigurat"), objectstoretest.Answer(200, "")},
		} {
			if name == "cut short" && op != "GetBucketVersioning" {
				continue // there is nothing in their answers
			}
			before := s3.Count(op)
			for _, a := range actions {
				s3.Fault(objectstoretest.Match{Op: op, Times: 1}, a)
			}
			if err := call(); err != nil {
				t.Errorf("%s, %s: %v", op, name, err)
			}
			if n := s3.Count(op) - before; n != len(actions)+1 {
				t.Errorf("%s, %s: %d attempts, want %d", op, name, n, len(actions)+1)
			}
		}
	}
	check("PutObject", func() error {
		_, err := store.Put(ctx, objectstore.PutInput{Bucket: "b", Key: "k", Body: strings.NewReader("text"), Size: 4})
		return err
	})
	if o, _ := s3.Object("b", "k"); string(o.Body) != "text" {
		t.Errorf("stored %q", o.Body)
	}
	s3.SetVersioning("b", "Suspended")
	for _, c := range []interface {
		Head(ctx context.Context, o objectstore.Object) (objectstore.Info, error)
		Versioning(ctx context.Context, bucket string) (string, error)
	}{store, limited} {
		check("HeadObject", func() error {
			info, err := c.Head(ctx, objectstore.Object{Bucket: "b", Key: "k"})
			if err == nil && info.Size != 4 {
				err = fmt.Errorf("size %d", info.Size)
			}
			return err
		})
		check("GetBucketVersioning", func() error {
			status, err := c.Versioning(ctx, "b")
			if err == nil && status != "Suspended" {
				err = fmt.Errorf("status %q", status)
			}
			return err
		})
	}
	check("DeleteObject", func() error { return store.Delete(ctx, "b", "k") })

	s3.Put("b", "k", "text")
	s3.Fault(objectstoretest.Match{Op: "GetObject"}, objectstoretest.SlowDown())
	if _, _, err := store.Open(ctx, objectstore.Object{Bucket: "b", Key: "k"}, 0, -1); err == nil || s3.Count("GetObject") != 5 {
		t.Errorf("%v after %d attempts, want 5", err, s3.Count("GetObject"))
	}
	s3.Fault(objectstoretest.Match{Op: "GetBucketVersioning"}, objectstoretest.Answer(200, "<html></html>"))
	_, err = store.Versioning(ctx, "b")
	if e, ok := errors.AsType[*objectstore.Error](err); !ok || e.Status != 500 || e.Attempts != 5 {
		t.Errorf("nonsense: %v", err)
	}
}

func TestOpenResumes(t *testing.T) {
	t.Parallel()
	text := numbers(1 << 20)
	for _, pinned := range []bool{false, true} {
		for _, span := range [][2]int64{{0, -1}, {1000, -1}, {1000, 900_000}} {
			s3, store := start(t, objectstoretest.Config{}, nil)
			s3.SetVersioning("b", "Enabled")
			put := s3.Put("b", "k", text)
			o := objectstore.Object{Bucket: "b", Key: "k"}
			if pinned {
				o.VersionID, o.ETag = put.VersionID, put.ETag
			}
			rule := s3.Fault(objectstoretest.Match{Op: "GetObject", Times: 6}, objectstoretest.CutBody(100_000))
			got, _, err := read(t, store, o, span[0], span[1])
			want := text[span[0]:]
			if span[1] >= 0 {
				want = want[:span[1]]
			}
			if err != nil || got != want {
				t.Errorf("pinned %t, %v: %d bytes of %d, %v", pinned, span, len(got), len(want), err)
			}
			requests := s3.Requests("GetObject")
			if len(requests) != 7 || rule.Hits() != 6 {
				t.Errorf("%d requests, want 7", len(requests))
			}
			for i, r := range requests[1:] { // pinned by the first answer, if not before
				if r.Header.Get("If-Match") != `"`+put.ETag+`"` || r.VersionID != put.VersionID || r.Header.Get("Range") == "" {
					t.Errorf("resuming request %d: %s %v", i+1, r.URI, r.Header)
				}
			}
		}
	}
}

func TestOpenNoticesAnOverwrite(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Put("b", "k", numbers(1<<20))
	s3.Fault(objectstoretest.Match{Op: "GetObject", Times: 1}, objectstoretest.CutBody(1000))
	r, _, err := store.Open(t.Context(), objectstore.Object{Bucket: "b", Key: "k"}, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	s3.Put("b", "k", strings.ToUpper(numbers(1<<20)))
	got, err := io.ReadAll(r)
	if !objectstore.PreconditionFailed(err) || len(got) > 1000 {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if _, again := r.Read(make([]byte, 1)); !errors.Is(again, err) {
		t.Errorf("reading on: %v", again)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestOpenGivesUpWithoutProgress(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Put("b", "k", numbers(1000))
	s3.Fault(objectstoretest.Match{Op: "GetObject"}, objectstoretest.CutBody(0))
	got, _, err := read(t, store, objectstore.Object{Bucket: "b", Key: "k"}, 0, -1)
	e, ok := errors.AsType[*objectstore.Error](err)
	if got != "" || !ok || !errors.Is(err, io.ErrUnexpectedEOF) && e.Status != 0 {
		t.Errorf("%q, %v", got, err)
	}
	if n := s3.Count("GetObject"); n != 5 && n != 6 {
		t.Errorf("%d requests", n)
	}
}

func TestOpenResumesAfterSilence(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) { c.AttemptTimeout = 200 * time.Millisecond })
	s3.Put("b", "k", "hello")
	gate := objectstoretest.NewGate()
	s3.Fault(objectstoretest.Match{Op: "GetObject", Times: 2}, objectstoretest.Block(gate))
	if got, _, err := read(t, store, objectstore.Object{Bucket: "b", Key: "k"}, 0, -1); got != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if n := s3.Count("GetObject"); n < 3 {
		t.Errorf("%d requests, want at least 3", n)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Put("b", "k", numbers(1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := store.Open(ctx, objectstore.Object{Bucket: "b", Key: "k"}, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	_ = r.Close()
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("closed reader reads on")
	}
}

func TestOpenDistrustsAStoreThatIgnoresIfMatch(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	put := s3.Put("b", "k", "text")
	s3.Fault(objectstoretest.Match{Op: "GetObject"}, objectstoretest.Garble())
	_, _, err := store.Open(t.Context(), objectstore.Object{Bucket: "b", Key: "k", ETag: put.ETag}, 0, -1)
	if !objectstore.PreconditionFailed(err) {
		t.Errorf("%v", err)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	text := numbers(3 << 20) // large enough for Expect: 100-continue
	etag, err := store.Put(t.Context(), objectstore.PutInput{
		Bucket: "b", Key: "out/job-x/é+manifest.json", Body: bytes.NewReader([]byte(text)), Size: int64(len(text)),
		ContentType: "application/json", SSE: "AES256", ExpectedBucketOwner: "123456789012",
	})
	o, ok := s3.Object("b", "out/job-x/é+manifest.json")
	if err != nil || !ok || etag != o.ETag || string(o.Body) != text || o.ContentType != "application/json" {
		t.Fatalf("%s, %v: %t", etag, err, ok)
	}
	h := s3.Requests("PutObject")[0].Header
	for name, want := range map[string]string{
		"X-Amz-Server-Side-Encryption": "AES256", "X-Amz-Expected-Bucket-Owner": "123456789012", "Content-Md5": objectstore.NewBody([]byte(text)).MD5,
		"X-Amz-Trailer": "", "Content-Encoding": "", "X-Amz-Checksum-Crc32": "", "X-Amz-Sdk-Checksum-Algorithm": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	_, err = store.Put(t.Context(), objectstore.PutInput{Bucket: "b", Key: "k", Body: strings.NewReader("x"), Size: 1, ContentMD5: objectstore.NewBody([]byte("y")).MD5})
	if e, ok := errors.AsType[*objectstore.Error](err); !ok || e.Code != "BadDigest" || e.Status != 400 {
		t.Errorf("wrong sum: %v", err)
	}
	if _, ok := s3.Object("b", "k"); ok {
		t.Error("an object with a wrong sum was stored")
	}
}

func TestListVersioningDelete(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{PageSize: 3}, nil)
	want := []string{"p/ +%", "p/1", "p/2", "p/<&>", "p/a//b", "p/é", "p/\x01"}
	slices.Sort(want)
	for _, key := range want {
		s3.Put("b", key, "x")
	}
	s3.Put("b", "q", "x")
	list := func(prefix string) (keys []string) {
		t.Helper()
		for key, err := range store.List(t.Context(), "b", prefix) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		return keys
	}
	if diff := cmp.Diff(want, list("p/")); diff != "" {
		t.Error("keys (-want +got):\n" + diff)
	}
	for range store.List(t.Context(), "b", "") { // may be left early
		break
	}
	for _, key := range want {
		if err := store.Delete(t.Context(), "b", key); err != nil {
			t.Error(err)
		}
		if err := store.Delete(t.Context(), "b", key); err != nil {
			t.Errorf("second time: %v", err)
		}
	}
	if got := list(""); !slices.Equal(got, []string{"q"}) {
		t.Errorf("left: %q", got)
	}
	for _, status := range []string{"", "Enabled", "Suspended"} {
		s3.SetVersioning("b", status)
		if got, err := store.Versioning(t.Context(), "b"); got != status || err != nil {
			t.Errorf("versioning %q, %v; want %q", got, err, status)
		}
	}
	s3.Fault(objectstoretest.Match{Op: "ListObjectsV2"}, objectstoretest.Answer(200, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"))
	var err error
	for _, err = range store.List(t.Context(), "b", "") {
	}
	if err == nil || !strings.Contains(err.Error(), "does not advance") {
		t.Errorf("endless listing: %v", err)
	}
}

// TestVersioningByOtherNames: moto calls the element after the operation.
func TestVersioningByOtherNames(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	for body, want := range map[string]string{
		`<?xml version="1.0"?><VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`: "Enabled",
		`<GetBucketVersioningResponse><Status>Suspended</Status></GetBucketVersioningResponse>`:                                                            "Suspended",
		`<VersioningConfiguration/>`: "",
	} {
		fault := s3.Fault(objectstoretest.Match{Op: "GetBucketVersioning"}, objectstoretest.Answer(200, body))
		if got, err := store.Versioning(t.Context(), "b"); got != want || err != nil {
			t.Errorf("%s: got %q, %v", body, got, err)
		}
		fault.Remove()
	}
}
