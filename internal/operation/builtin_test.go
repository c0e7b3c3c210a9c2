package operation_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

func newBuiltin(t testing.TB, name string, args map[string]string, c operation.Client) operation.Operation {
	t.Helper()
	o, err := operation.New(job.Operation{LambdaInvoke: &job.LambdaInvoke{
		FunctionArn: "arn:aws:lambda:eu-west-1:999999999999:function:stevedore-" + name, InvocationSchemaVersion: "2.0", UserArguments: args,
	}}, operation.Env{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A trash is a store that deletes, and says no where it is told to.
type trash struct {
	whole  objectstore.Result // what DeleteObjects is answered, unless it is OK
	mute   map[string]bool    // keys that the answer leaves out
	errors map[string]string  // codes by key
	body   string             // the answer to DeleteObjects, if not empty
	folds  bool               // odd keys are refused, but taken for plain ones by DeleteObjects: MinIO does that

	deleted  []string // bucket/key?version, as often as it was asked for
	requests int
	sizes    []int // objects of each DeleteObjects
}

func (s *trash) Do(_ context.Context, req *objectstore.Request, res *objectstore.Result) {
	s.requests++
	*res = objectstore.Result{Status: 204, Attempts: 1}
	if !req.OnBucket {
		if s.folds && plainKey(string(req.Key)) != string(req.Key) {
			*res = objectstore.Result{Status: 400, Code: "XMinioInvalidResourceName", Message: "no", Attempts: 1}
			return
		}
		s.deleted = append(s.deleted, fmt.Sprintf("%s/%s?%s", req.Bucket, req.Key, req.VersionID))
		if code := s.errors[string(req.Key)]; code != "" && code != "SlowDown" {
			*res = objectstore.Result{Status: 403, Code: code, Message: "no", Attempts: 1}
		}
		return
	}
	var in struct {
		XMLName xml.Name                          `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Delete"`
		Object  []struct{ Key, VersionId string } //nolint:revive // the API's spelling
		Quiet   string
	}
	if err := xml.Unmarshal(req.Body.Bytes, &in); err != nil || req.Method != "POST" || req.Query != "delete" || req.Body.MD5 == "" || in.Quiet != "false" || !req.ErrorIn200 {
		*res = objectstore.Result{Status: 400, Code: "MalformedXML", Attempts: 1}
		return
	}
	s.sizes = append(s.sizes, len(in.Object))
	if s.whole.Status != 0 {
		*res = s.whole
		return
	}
	var out strings.Builder
	out.WriteString(`<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, o := range in.Object {
		name := "<Key>" + escaped(o.Key) + "</Key>"
		if o.VersionId != "" {
			name += "<VersionId>" + o.VersionId + "</VersionId>"
		}
		switch code := s.errors[o.Key]; {
		case s.mute[o.Key]:
		case code != "":
			out.WriteString("<Error>" + name + "<Code>" + code + "</Code><Message>no</Message></Error>")
		default:
			key := o.Key
			if s.folds {
				key = plainKey(key)
			}
			s.deleted = append(s.deleted, fmt.Sprintf("%s/%s?%s", req.Bucket, key, o.VersionId))
			out.WriteString("<Deleted>" + name + "<DeleteMarker>true</DeleteMarker></Deleted>")
		}
	}
	*res = objectstore.Result{Status: 200, Attempts: 1, Body: []byte(out.String() + "</DeleteResult>")}
	if s.body != "" {
		res.Body = []byte(s.body)
	}
}

// plainKey is a key as a file system would have it.
func plainKey(key string) string { return strings.TrimPrefix(path.Clean("/"+key), "/") }

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// deleteAll does tasks in one batch and returns their outcomes.
func deleteAll(t testing.TB, s *trash, tasks []operation.Task) []job.Outcome {
	t.Helper()
	o, ok := newBuiltin(t, "delete-object", map[string]string{"confirm": "permanently delete"}, s).(operation.Batcher)
	if !ok || o.Batch() != 1000 {
		t.Fatal("objects are not deleted together")
	}
	outs := make([]job.Outcome, len(tasks))
	if err := o.DoBatch(t.Context(), tasks, operation.NewScratch(), outs); err != nil {
		t.Fatal(err)
	}
	return outs
}

func TestDeleteObjectsTogether(t *testing.T) {
	t.Parallel()
	var tasks []operation.Task
	var want []string
	for i := range 1000 {
		task := operation.Task{Bucket: "b", Key: fmt.Appendf(nil, "k/%d <&> é", i), VersionID: fmt.Append(nil, i)}
		tasks = append(tasks, task)
		want = append(want, fmt.Sprintf("b/%s?%d", task.Key, i))
	}
	s := new(trash)
	for i, out := range deleteAll(t, s, tasks) {
		if out != (job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1}) {
			t.Errorf("%d: got %+v", i, out)
		}
	}
	if s.requests != 1 || !slices.Equal(s.deleted, want) {
		t.Errorf("%d requests deleted %d objects, want one that deletes %d", s.requests, len(s.deleted), len(want))
	}

	// Another bucket, or an answer that would be too large, needs another request.
	long := strings.Repeat("k", 1020)
	tasks = tasks[:0]
	for i := range 1000 {
		tasks = append(tasks, operation.Task{Bucket: "a", Key: fmt.Appendf(nil, "%s%d", long, i)})
	}
	tasks = append(tasks, operation.Task{Bucket: "b", Key: []byte("k")}, operation.Task{Bucket: "c", Key: []byte("k")}, operation.Task{Bucket: "c", Key: []byte("l")})
	s = new(trash)
	deleteAll(t, s, tasks)
	if len(s.deleted) != 1003 || len(s.sizes) != 4 || slices.Max(s.sizes) > 400 || s.requests != 5 {
		t.Errorf("%d objects by %d requests of %d", len(s.deleted), s.requests, s.sizes)
	}
}

// TestDeleteAnswers looks at what becomes of one object among three.
func TestDeleteAnswers(t *testing.T) {
	t.Parallel()
	check := func(name string, s *trash, key string, want job.Outcome, wantSingles int) {
		t.Helper()
		s.deleted = nil
		tasks := []operation.Task{{Bucket: "b", Key: []byte("first")}, {Bucket: "b", Key: []byte(key), VersionID: []byte("7")}, {Bucket: "b", Key: []byte("last")}}
		outs := deleteAll(t, s, tasks)
		if diff := cmp.Diff(want, outs[1]); diff != "" {
			t.Errorf("%s: want (-) and got (+):\n%s", name, diff)
		}
		if singles := s.requests - len(s.sizes); singles != wantSingles {
			t.Errorf("%s: %d objects deleted by themselves, want %d", name, singles, wantSingles)
		}
	}
	deleted := func(attempts int) job.Outcome {
		return job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: attempts}
	}
	failed := func(status int, code string, attempts int) job.Outcome {
		return job.Outcome{Failed: true, HTTPStatus: status, Code: code, Message: "no", Attempts: attempts}
	}
	check("plain", &trash{}, "k", deleted(1), 0)
	check("left out", &trash{mute: map[string]bool{"k": true}}, "k", deleted(2), 1)
	check("denied", &trash{errors: map[string]string{"k": "AccessDenied"}}, "k", failed(403, "AccessDenied", 1), 0)
	check("odd", &trash{errors: map[string]string{"k": "SomethingNew"}}, "k", failed(400, "SomethingNew", 1), 0)
	check("not there", &trash{errors: map[string]string{"k": "NoSuchVersion"}}, "k", deleted(1), 0)
	check("busy", &trash{errors: map[string]string{"k": "SlowDown"}}, "k", deleted(2), 1)
	check("not in XML", &trash{}, "k\r\n\x01", deleted(1), 3)
	check("garbage", &trash{body: "<html>"}, "k", deleted(2), 3)
	check("other root", &trash{body: "<Deleted/>"}, "k", deleted(2), 3)
	check("no such call", &trash{whole: objectstore.Result{Status: 501, Code: "NotImplemented", Attempts: 1}}, "k", deleted(2), 3)
	check("not like this", &trash{whole: objectstore.Result{Status: 400, Code: "InvalidArgument", Attempts: 1}}, "k", deleted(2), 3)
	check("down", &trash{whole: objectstore.Result{Status: 503, Code: "SlowDown", Message: "no", Attempts: 5}}, "k", failed(503, "SlowDown", 5), 0)
	check("no bucket", &trash{whole: objectstore.Result{Status: 404, Code: "NoSuchBucket", Message: "no", Attempts: 1}}, "k", failed(404, "NoSuchBucket", 1), 0)

	// A store without the call is asked for it once.
	s := &trash{whole: objectstore.Result{Status: 501, Code: "NotImplemented", Attempts: 1}}
	o, ok := newBuiltin(t, "delete-object", map[string]string{"confirm": "permanently delete"}, s).(operation.Batcher)
	if !ok {
		t.Fatal("no batches")
	}
	tasks := []operation.Task{{Bucket: "b", Key: []byte("k")}, {Bucket: "b", Key: []byte("l")}}
	for range 3 {
		if err := o.DoBatch(t.Context(), tasks, operation.NewScratch(), make([]job.Outcome, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.sizes) != 1 || len(s.deleted) != 6 {
		t.Errorf("asked %d times, deleted %d", len(s.sizes), len(s.deleted))
	}
}

// TestDeleteKeepsOffOtherObjects deletes odd keys among plain ones on a store that
// folds keys in DeleteObjects only, where no Guard notices.
func TestDeleteKeepsOffOtherObjects(t *testing.T) {
	t.Parallel()
	tasks := []operation.Task{{Bucket: "b", Key: []byte("first")}, {Bucket: "b", Key: []byte("second")}}
	for _, key := range append([]string{"./a", "m/./a", "x/../a", "..", "."}, aliases...) {
		tasks = append(tasks, operation.Task{Bucket: "b", Key: []byte(key)})
	}
	tasks = append(tasks, operation.Task{Bucket: "b", Key: []byte("third")}, operation.Task{Bucket: "b", Key: []byte("fourth")})
	s := &trash{folds: true}
	outs := deleteAll(t, s, tasks)
	if want := []string{"b/first?", "b/second?", "b/third?", "b/fourth?"}; !slices.Equal(s.deleted, want) {
		t.Errorf("deleted %q, want %q", s.deleted, want)
	}
	for i, out := range outs {
		if odd := i > 1 && i < len(tasks)-2; out.Failed != odd || odd && out.Code != "XMinioInvalidResourceName" {
			t.Errorf("%s: got %+v", tasks[i].Key, out)
		}
	}
}

func TestHeadObject(t *testing.T) {
	t.Parallel()
	var asked objectstore.Request
	o := newBuiltin(t, "head-object", nil, clientFunc(func(req *objectstore.Request, res *objectstore.Result) {
		asked = *req
		*res = objectstore.Result{Status: 200, Attempts: 2, Header: []objectstore.Header{
			{Name: "content-length", Value: "1048576"},
			{Name: "etag", Value: `"abc-2"`},
			{Name: "x-amz-version-id", Value: "v&<1>"},
			{Name: "last-modified", Value: "Sun, 22 Nov 2026 07:00:00 GMT"},
			{Name: "x-amz-storage-class", Value: "GLACIER"},
			{Name: "content-type", Value: "image/png"},
			{Name: "x-amz-checksum-crc32", Value: "bS9TOQ=="},
			{Name: "x-amz-checksum-type", Value: "FULL_OBJECT"},
			{Name: "x-amz-meta-secret", Value: "x"},
		}}
	}))
	var out job.Outcome
	if err := o.Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k"), VersionID: []byte("v1")}, operation.NewScratch(), &out); err != nil {
		t.Fatal(err)
	}
	const want = `{"size":1048576,"etag":"abc-2","versionId":"v&<1>","lastModified":"2026-11-22T07:00:00Z","storageClass":"GLACIER",` +
		`"contentType":"image/png","checksumType":"FULL_OBJECT","checksums":{"CRC32":"bS9TOQ=="}}`
	if diff := cmp.Diff(job.Outcome{HTTPStatus: 200, Message: want, Attempts: 2}, out); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	if asked.Method != "HEAD" || string(asked.VersionID) != "v1" || asked.Headers[0] != (objectstore.Header{Name: "x-amz-checksum-mode", Value: "ENABLED"}) {
		t.Errorf("asked by %+v", asked)
	}

	o = newBuiltin(t, "head-object", nil, clientFunc(func(_ *objectstore.Request, res *objectstore.Result) {
		*res = objectstore.Result{Status: 404, Code: "NotFound", Message: "Not Found", Attempts: 1}
	}))
	if err := o.Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out); err != nil || !out.Failed || out.HTTPStatus != 404 {
		t.Errorf("got %+v, %v", out, err)
	}
	if !json.Valid([]byte(want)) {
		t.Error("the wish is no JSON")
	}
}

func TestMergeTags(t *testing.T) {
	t.Parallel()
	check := func(args, before, after map[string]string, want job.Outcome) {
		t.Helper()
		var sent []string
		now := maps.Clone(before)
		client := clientFunc(func(req *objectstore.Request, res *objectstore.Result) {
			sent = append(sent, req.Method)
			if req.Query != "tagging" || string(req.VersionID) != "v" {
				t.Errorf("got %+v", req)
			}
			*res = objectstore.Result{Status: 200, Attempts: 1}
			type tag struct{ Key, Value string }
			var document struct {
				XMLName xml.Name `xml:"Tagging"`
				Tags    []tag    `xml:"TagSet>Tag"`
			}
			if req.Method == "GET" {
				if before == nil {
					*res = objectstore.Result{Status: 404, Code: "NoSuchTagSet", Attempts: 1}
					return
				}
				for k, v := range before {
					document.Tags = append(document.Tags, tag{k, v})
				}
				res.Body, _ = xml.Marshal(document)
				return
			}
			if err := xml.Unmarshal(req.Body.Bytes, &document); err != nil || req.Body.MD5 == "" {
				t.Errorf("%s: %v", req.Body.Bytes, err)
			}
			now = map[string]string{}
			for _, tag := range document.Tags {
				now[tag.Key] = tag.Value
			}
		})
		var out job.Outcome
		task := operation.Task{Bucket: "b", Key: []byte("k"), VersionID: []byte("v")}
		if err := newBuiltin(t, "merge-tags", args, client).Do(t.Context(), &task, operation.NewScratch(), &out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("%v on %v: want (-) and got (+):\n%s", args, before, diff)
		}
		if !maps.Equal(now, after) {
			t.Errorf("%v on %v: got %v, want %v", args, before, now, after)
		}
		if wrote := slices.Contains(sent, "PUT"); wrote == maps.Equal(before, after) {
			t.Errorf("%v on %v: sent %v", args, before, sent)
		}
	}
	type tags = map[string]string
	ok := job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1}
	check(tags{"add.a": "1"}, tags{"b": "2"}, tags{"a": "1", "b": "2"}, ok)
	check(tags{"add.a": "1 <&>\n"}, nil, tags{"a": "1 <&>\n"}, ok)
	check(tags{"add.a": "3", "remove": "b,c"}, tags{"a": "1", "b": "2", "d": "é"}, tags{"a": "3", "d": "é"}, ok)
	check(tags{"remove.x,y": ""}, tags{"x,y": "1"}, tags{}, ok)
	check(tags{"add.a": "1", "remove": "b"}, tags{"a": "1"}, tags{"a": "1"}, ok)
	ten := tags{}
	for i := range 10 {
		ten[fmt.Sprint(i)] = ""
	}
	check(tags{"add.0": "x"}, ten, func() tags { m := maps.Clone(ten); m["0"] = "x"; return m }(), ok)
	check(tags{"add.a": "1", "remove": "0"}, ten, func() tags { m := maps.Clone(ten); delete(m, "0"); m["a"] = "1"; return m }(), ok)
	check(tags{"add.a": "1"}, ten, ten, job.Outcome{
		Failed: true, HTTPStatus: 400, Code: "BadRequest", Attempts: 1,
		Message: "Object tags cannot be greater than 10: with those to be added it would have 11",
	})
}

// TestBuiltinsTellOfFailures has the store refuse, give garbage, and go away.
func TestBuiltinsTellOfFailures(t *testing.T) {
	t.Parallel()
	merge := func(res objectstore.Result) (out job.Outcome, err error) {
		o := newBuiltin(t, "merge-tags", map[string]string{"add.a": "1"}, clientFunc(func(_ *objectstore.Request, r *objectstore.Result) { *r = res }))
		err = o.Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out)
		return out, err
	}
	if out, err := merge(objectstore.Result{Status: 404, Code: "NoSuchKey", Message: "gone", Attempts: 1}); err != nil || out.Code != "NoSuchKey" {
		t.Errorf("got %+v, %v", out, err)
	}
	if out, err := merge(objectstore.Result{Status: 200, Body: []byte("<html/>"), Attempts: 1}); err != nil || !out.Failed || out.HTTPStatus != 500 {
		t.Errorf("got %+v, %v", out, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	store, err := objectstore.New(objectstore.Config{Endpoint: "http://127.0.0.1:1", Credentials: credentials.NewStaticCredentialsProvider("a", "s", "")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	for name, args := range map[string]map[string]string{
		"merge-tags": {"add.a": "1"}, "head-object": nil, "delete-object": {"confirm": "permanently delete"},
	} {
		o := newBuiltin(t, name, args, store)
		out := job.Outcome{Message: "left alone"}
		tasks := []operation.Task{{Bucket: "b", Key: []byte("k")}, {Bucket: "b", Key: []byte("l")}}
		if err := o.Do(ctx, &tasks[0], operation.NewScratch(), &out); err == nil || err.Error() != "enough" {
			t.Errorf("%s: got %v", name, err)
		}
		if b, ok := o.(operation.Batcher); ok {
			if err := b.DoBatch(ctx, tasks, operation.NewScratch(), make([]job.Outcome, 2)); err == nil || err.Error() != "enough" {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
}
