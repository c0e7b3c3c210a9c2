package operation_test

import (
	"context"
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

func TestUnsupported(t *testing.T) {
	t.Parallel()
	o, err := operation.New(job.Operation{}, operation.Env{Client: new(recorder)})
	if e, ok := errors.AsType[*operation.UnsupportedError](err); !ok || e.Name != "" || o != nil {
		t.Errorf("got %v, %v", o, err)
	}
	err = &operation.UnsupportedError{Name: "S3Unheard"}
	if want := "operation S3Unheard is not implemented by this server yet"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

const gone = `<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`

func TestOutcomes(t *testing.T) {
	t.Parallel()
	untag := job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}
	copying := job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest"}}
	check := func(op job.Operation, status int, body string, want job.Outcome) {
		t.Helper()
		store := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				_, _ = w.Write([]byte(body))
			}
		})
		var got job.Outcome
		err := newOperation(t, op, store).Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &got)
		if err != nil || got != want {
			t.Errorf("%d %s:\n got %+v, %v\nwant %+v", status, body, got, err, want)
		}
	}
	failed := func(status int, code, message string, attempts int) job.Outcome {
		return job.Outcome{Failed: true, HTTPStatus: status, Code: code, Message: message, Attempts: attempts}
	}
	success := job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1}
	check(untag, 204, "", success) // a success is 200, whatever the store answers
	check(untag, 200, "", success)
	check(untag, 202, "", success)
	check(copying, 200, `<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>`, success)
	check(untag, 404, gone, failed(404, "NoSuchKey", "The specified key does not exist.", 1))
	check(untag, 403, "", failed(403, "Forbidden", "Forbidden", 1))
	check(untag, 503, `<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>`, failed(503, "SlowDown", "Reduce your rate.", 3))
	check(untag, 501, `<Error><Code>NotImplemented</Code><Message>no</Message></Error>`, failed(501, "NotImplemented", "no", 1))
	check(untag, 307, `<Error><Code>TemporaryRedirect</Code><Message>there</Message></Error>`, failed(307, "TemporaryRedirect", "there", 1))
	// CopyObject may think better of its 200.
	check(copying, 200, `<Error><Code>InternalError</Code><Message>We failed.</Message></Error>`, failed(500, "InternalError", "We failed.", 3))
	check(copying, 200, `<Error><Code>AccessDenied</Code><Message>No.</Message></Error>`, failed(403, "AccessDenied", "No.", 1))
	check(copying, 200, "", failed(500, "InternalError", "The answer of the store was cut short.", 3))
	// A message is one line, and not a page.
	check(untag, 400, "<Error><Code>Bad</Code><Message>one\r\ntwo\tthree</Message></Error>", failed(400, "Bad", "one two three", 1))
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	check := func(dialling error, status int, code string) {
		t.Helper()
		store, err := objectstore.New(objectstore.Config{
			Endpoint:    "http://127.0.0.1:1",
			Credentials: credentials.NewStaticCredentialsProvider("a", "s", ""),
			MaxAttempts: 2, BackoffBase: 1, BackoffCap: 1,
			Dial: func(context.Context, string, string) (net.Conn, error) { return nil, dialling },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		o := newOperation(t, job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}, store)
		var got job.Outcome
		if err := o.Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &got); err != nil {
			t.Fatal(err)
		}
		want := job.Outcome{Failed: true, HTTPStatus: status, Code: code, Attempts: 2}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(job.Outcome{}, "Message")); diff != "" {
			t.Errorf("%v: want (-) and got (+):\n%s", dialling, diff)
		}
		if !strings.Contains(got.Message, dialling.Error()) {
			t.Errorf("got message %q, want it to say %q", got.Message, dialling)
		}
	}
	check(&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, 503, "ServiceUnavailable")
	check(&net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, 503, "ServiceUnavailable")
	check(&net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset")}, 500, "InternalError")
	check(errors.New("what is this"), 500, "InternalError")
}

// TestEnd makes sure that a task cut off has no outcome, while one that got its
// answer keeps it.
func TestEnd(t *testing.T) {
	t.Parallel()
	over := errors.New("the chunk was given back")
	untouched := job.Outcome{Message: "untouched"}
	task := operation.Task{Bucket: "b", Key: []byte("k")}
	check := func(h func(w http.ResponseWriter, stop func()), before bool, wantErr error, want job.Outcome) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		if before {
			cancel(over)
		}
		store := newStore(t, func(w http.ResponseWriter, _ *http.Request) { h(w, func() { cancel(over) }) })
		out := untouched
		err := newOperation(t, job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}, store).
			Do(ctx, &task, operation.NewScratch(), &out)
		if !errors.Is(err, wantErr) || out != want {
			t.Errorf("got %+v, %v, want %+v, %v", out, err, want, wantErr)
		}
	}
	check(func(http.ResponseWriter, func()) { t.Error("a request went out") }, true, over, untouched)
	check(func(w http.ResponseWriter, stop func()) { stop(); w.WriteHeader(503) }, false, over, untouched)
	check(func(w http.ResponseWriter, stop func()) { stop(); w.WriteHeader(204) }, false, nil,
		job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1})
	check(func(w http.ResponseWriter, stop func()) { stop(); w.WriteHeader(404); _, _ = w.Write([]byte(gone)) }, false, nil,
		job.Outcome{Failed: true, HTTPStatus: 404, Code: "NoSuchKey", Message: "The specified key does not exist.", Attempts: 1})
}

// TestMessages holds for whatever a store may say.
func TestMessages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		texts := rapid.Custom(func(rt *rapid.T) string {
			return strings.Repeat(string(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes")), rapid.IntRange(1, 50).Draw(rt, "times"))
		})
		res := objectstore.Result{
			Status: rapid.IntRange(0, 599).Draw(rt, "status"), Code: texts.Draw(rt, "code"), Message: texts.Draw(rt, "message"),
			Err: errors.New(texts.Draw(rt, "error")),
		}
		o := newOperation(t, job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}},
			clientFunc(func(_ *objectstore.Request, r *objectstore.Result) { *r = res }))
		var out job.Outcome
		if err := o.Do(t.Context(), &operation.Task{}, operation.NewScratch(), &out); err != nil {
			rt.Fatal(err)
		}
		if !out.Failed || out.HTTPStatus < 300 || out.Code == "" {
			rt.Errorf("got %+v, want a failure", out)
		}
		for _, s := range []string{out.Code, out.Message} {
			if len(s) > 1024 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				rt.Errorf("%q is not one line of at most 1024 bytes", s)
			}
		}
		if m := res.Message; len(m) <= 1024 && m != "" && utf8.ValidString(m) && !strings.ContainsFunc(m, func(r rune) bool { return r < ' ' || r == 0x7f }) && out.Message != m {
			rt.Errorf("got %q, want %q unchanged", out.Message, m)
		}
	})
}

// TestTaggingReadBack parses the body for any tags XML can carry.
func TestTaggingReadBack(t *testing.T) {
	t.Parallel()
	text := rapid.StringMatching(`[\p{L}\p{Z}\p{N}_.:/=+\-@<>&"']*`)
	rapid.Check(t, func(rt *rapid.T) {
		var want []job.Tag
		for range rapid.IntRange(0, 10).Draw(rt, "n") {
			want = append(want, job.Tag{Key: text.Draw(rt, "key"), Value: text.Draw(rt, "value")})
		}
		r := do(t, job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: want}}, operation.Task{Bucket: "b", Key: []byte("k")})
		var got struct {
			Tags []job.Tag `xml:"TagSet>Tag"`
		}
		if err := xml.Unmarshal(r.last.Body.Bytes, &got); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Tags); diff != "" {
			rt.Errorf("%s: want (-) and got (+):\n%s", r.last.Body.Bytes, diff)
		}
		if r.last.Body.SHA256 == "" || r.last.Body.MD5 == "" {
			rt.Error("the sums of the body are not worked out")
		}
	})
}

type nothing struct{}

func (nothing) Do(_ context.Context, req *objectstore.Request, res *objectstore.Result) {
	res.Status = 200
	if req.OnBucket {
		res.Body = []byte(lockEnabled)
	}
}

func tasks() map[string]job.Operation {
	return map[string]job.Operation{
		"tag":   {S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "k", Value: "v"}}}},
		"hold":  hold(),
		"untag": {S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}},
		"copy":  {S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest", TargetKeyPrefix: "p", StorageClass: "STANDARD"}},
	}
}

// TestAllocations is about a task's own cost, not that of its request. A copy
// has a header of its own to make.
func TestAllocations(t *testing.T) {
	for name, op := range tasks() {
		o := newOperation(t, op, nothing{})
		s, task := operation.NewScratch(), &operation.Task{Bucket: "b", Key: []byte("some/key"), VersionID: []byte("v")}
		var out job.Outcome
		want := 0.0
		if name == "copy" {
			want = 2
		}
		if got := testing.AllocsPerRun(100, func() { _ = o.Do(context.Background(), task, s, &out) }); got > want {
			t.Errorf("%s: got %v allocations, want at most %v", name, got, want)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	for name, op := range tasks() {
		b.Run(name, func(b *testing.B) {
			o, err := operation.New(op, operation.Env{Client: nothing{}})
			if err != nil {
				b.Fatal(err)
			}
			s, task := operation.NewScratch(), &operation.Task{Bucket: "b", Key: []byte("some/key/of/usual/length.txt"), VersionID: []byte("v")}
			var out job.Outcome
			b.ReportAllocs()
			for b.Loop() {
				if err := o.Do(b.Context(), task, s, &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
