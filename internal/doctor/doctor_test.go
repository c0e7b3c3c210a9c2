package doctor

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/devstore"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

var update = flag.Bool("update", false, "rewrite the goldens in testdata")

func TestMain(m *testing.M) {
	if code, ran := devstore.Main(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const (
	testKey    = "doctor"
	testSecret = "doctor-secret"
)

// open returns a client that gives up soon.
func open(t *testing.T, endpoint string) *objectstore.Store {
	t.Helper()
	s, err := objectstore.New(objectstore.Config{
		Endpoint: endpoint, Credentials: objectstore.StaticCredentials(testKey, testSecret, ""), MaxAttempts: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func startDev(t *testing.T) *objectstore.Store {
	t.Helper()
	d, err := devstore.Start(t.Context(), devstore.Config{Dir: t.TempDir(), AccessKey: testKey, Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return open(t, d.Endpoint())
}

// golden compares the findings of a report with a file in testdata.
func golden(t *testing.T, name string, r *Report) {
	t.Helper()
	var got bytes.Buffer
	if err := r.writeFindings(&got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// examine expects an examination to come to its end and to leave nothing behind.
func examine(t *testing.T, s Store, c Config) *Report {
	t.Helper()
	r, err := Examine(t.Context(), s, c)
	if err != nil {
		t.Fatalf("got %v, checks %+v", err, r.Checks)
	}
	if len(r.LeftBehind) > 0 {
		t.Errorf("left behind: %q", r.LeftBehind)
	}
	return r
}

// do sends one request and returns its status and body.
func do(ctx context.Context, s Store, req objectstore.Request) (int, string) {
	var res objectstore.Result
	s.Do(ctx, &req, &res)
	return res.Status, string(res.Body)
}

// TestDevelopmentStore examines the store of stevedore dev in a bucket of its
// own, with versions and Object Lock, and finds the bucket gone after it.
func TestDevelopmentStore(t *testing.T) {
	t.Parallel()
	s := startDev(t)
	steps := 0
	r := examine(t, s, Config{Bucket: "scratch", Create: true, KMSKey: noKey, Progress: func(string) { steps++ }})
	if steps != Steps {
		t.Errorf("told of %d steps, want %d", steps, Steps)
	}
	golden(t, "devstore.txt", r)
	if status, _ := do(t.Context(), s, objectstore.Request{Method: http.MethodGet, Bucket: "scratch", OnBucket: true}); status != http.StatusNotFound {
		t.Errorf("the bucket answers %d, want 404", status)
	}
}

// TestDevelopmentStorePlain does so in a bucket of somebody else's that keeps no
// versions: what is in there must stay.
func TestDevelopmentStorePlain(t *testing.T) {
	t.Parallel()
	s, ctx := startDev(t), t.Context()
	if status, body := do(ctx, s, objectstore.Request{Method: http.MethodPut, Bucket: "theirs", OnBucket: true}); status != http.StatusOK {
		t.Fatalf("create: %d %s", status, body)
	}
	for _, key := range []string{"photo.jpg", Prefix + "other/photo.jpg"} {
		if _, err := s.Put(ctx, objectstore.PutInput{Bucket: "theirs", Key: key, Body: strings.NewReader("bytes"), Size: 5}); err != nil {
			t.Fatal(err)
		}
	}
	r := examine(t, s, Config{Bucket: "theirs"})
	golden(t, "devstore-plain.txt", r)
	var keys []string
	for key, err := range s.List(ctx, "theirs", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if want := []string{Prefix + "other/photo.jpg", "photo.jpg"}; !slices.Equal(keys, want) {
		t.Errorf("got %q, want %q", keys, want)
	}
}

// finding returns one of a report.
func finding(t *testing.T, r *Report, operation, parameter string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Operation == operation && f.Parameter == parameter {
			return f
		}
	}
	t.Fatalf("no finding for %s %q", operation, parameter)
	return Finding{}
}

// lying is a store that says yes to calls and does not carry them out.
type lying struct{ *objectstore.Store }

func (s lying) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	r := *req
	switch r.Query {
	case "tagging", "acl", "legal-hold", "retention":
		if r.Method != http.MethodGet {
			r.Method, r.Query, r.Body = http.MethodHead, "", objectstore.NewBody(nil)
		}
	}
	r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h objectstore.Header) bool {
		return h.Name == "x-amz-storage-class" || h.Name == "x-amz-checksum-algorithm" || h.Name == "if-match" ||
			h.Name == "x-amz-object-lock-legal-hold" ||
			h.Name == "x-amz-copy-source-if-unmodified-since"
	})
	s.Store.Do(ctx, &r, res)
}

func TestLies(t *testing.T) {
	t.Parallel()
	r := examine(t, lying{startDev(t)}, Config{Bucket: "scratch", Create: true})
	for _, c := range []struct{ operation, parameter string }{
		{"reading", "If-Match"},
		{"S3PutObjectTagging", ""},
		{"S3PutObjectTagging", "VersionId"},
		{"S3PutObjectTagging", "empty TagSet"},
		{"S3DeleteObjectTagging", ""},
		{"S3PutObjectCopy", "StorageClass"},
		{"S3PutObjectCopy", "ChecksumAlgorithm SHA256"},
		{"S3PutObjectCopy", "UnModifiedSinceConstraint"},
		{"S3PutObjectAcl", "CannedAccessControlList"},
		{"S3PutObjectAcl", "AccessControlList"},
		{"S3PutObjectLegalHold", "ON"},
		{"S3PutObjectLegalHold", "ON, deleting"},
		{"S3PutObjectRetention", "GOVERNANCE"},
	} {
		if f := finding(t, r, c.operation, c.parameter); f.Verdict != Ignored && (!strings.HasSuffix(c.parameter, "deleting") || f.Verdict != Dangerous) {
			t.Errorf("got %+v, want ignored", f)
		}
	}
	if f := finding(t, r, copyName, ""); f.Verdict != Works {
		t.Errorf("got %+v, want it to work", f)
	}
}

// overwriting is a store that takes calls it does not know for new content.
type overwriting struct{ *objectstore.Store }

func (s overwriting) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	r := *req
	if r.Method == http.MethodPut && (r.Query == "encryption" || r.Query == "tagging" || r.Query == "acl") {
		r.Query, r.VersionID = "", nil
	}
	s.Store.Do(ctx, &r, res)
}

func TestDangers(t *testing.T) {
	t.Parallel()
	d := objectstoretest.Start(t, objectstoretest.Config{AccessKey: testKey, Secret: testSecret})
	d.CreateBucket("b")
	d.Put("b", "theirs", "bytes")
	r := examine(t, overwriting{open(t, d.URL())}, Config{Bucket: "b"})
	for operation, parameter := range map[string]string{
		"S3PutObjectTagging":       "",
		"S3PutObjectAcl":           "AccessControlList",
		"S3UpdateObjectEncryption": "PUT ?encryption itself",
	} {
		if f := finding(t, r, operation, parameter); f.Verdict != Dangerous {
			t.Errorf("got %+v, want dangerous", f)
		}
	}
	if keys := d.Keys("b"); !slices.Equal(keys, []string{"theirs"}) {
		t.Errorf("there are %q, want theirs", keys)
	}
}

// TestInterrupted ends the examination in the middle: what was made must go.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	d := objectstoretest.Start(t, objectstoretest.Config{AccessKey: testKey, Secret: testSecret})
	d.CreateBucket("b")
	d.SetObjectLock("b")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Examine(ctx, open(t, d.URL()), Config{Bucket: "b", Progress: func(operation string) {
		if operation == copyName {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
	if len(r.Findings) == 0 || r.Findings[len(r.Findings)-1].Operation == copyName {
		t.Errorf("got %+v, want what was found before the copies", r.Findings)
	}
	if len(r.LeftBehind) > 0 || len(d.Keys("b")) > 0 || d.Uploads("b") > 0 {
		t.Errorf("left behind: %q, %q, %d uploads", r.LeftBehind, d.Keys("b"), d.Uploads("b"))
	}
}

// TestLeftBehind has a store that deletes nothing once it was examined.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	d := objectstoretest.Start(t, objectstoretest.Config{AccessKey: testKey, Secret: testSecret})
	d.CreateBucket("b")
	d.Fault(objectstoretest.Match{Op: "DeleteObject", Skip: 1}, objectstoretest.Status(http.StatusForbidden, "AccessDenied"))
	r, err := Examine(t.Context(), open(t, d.URL()), Config{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Keys("b")) == 0 || len(r.LeftBehind) < len(d.Keys("b")) {
		t.Errorf("told of %d objects, left are %d", len(r.LeftBehind), len(d.Keys("b")))
	}
}

// TestCheckErrors keeps what the first checks make of a store that cannot be
// examined.
func TestCheckErrors(t *testing.T) {
	t.Parallel()
	d := objectstoretest.Start(t, objectstoretest.Config{AccessKey: testKey, Secret: testSecret})
	d.Put("b", "theirs", "bytes")
	locked := objectstoretest.Start(t, objectstoretest.Config{AccessKey: testKey, Secret: testSecret})
	locked.CreateBucket("b")
	locked.Fault(objectstoretest.Match{Op: "PutObject"}, objectstoretest.Status(http.StatusForbidden, "AccessDenied"))
	stranger, err := objectstore.New(objectstore.Config{
		Endpoint: d.URL(), Credentials: objectstore.StaticCredentials(testKey, "wrong", ""), MaxAttempts: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Close)
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()

	for _, c := range []struct {
		name   string
		store  Store
		config Config
		check  string
		status int
	}{
		{"nobody listens", open(t, nobody.URL), Config{Bucket: "b"}, "endpoint", 0},
		{"wrong secret", stranger, Config{Bucket: "b"}, "credentials", http.StatusForbidden},
		{"no bucket", open(t, d.URL()), Config{Bucket: "none"}, "bucket", http.StatusNotFound},
		{"bucket to create is there", open(t, d.URL()), Config{Bucket: "b", Create: true}, "bucket", http.StatusConflict},
		{"may not write", open(t, locked.URL()), Config{Bucket: "b"}, "write", http.StatusForbidden},
	} {
		r, err := Examine(t.Context(), c.store, c.config)
		e, ok := errors.AsType[*CheckError](err)
		if !ok || e.Check != c.check || e.Status != c.status {
			t.Errorf("%s: got %+v, want check %s and status %d", c.name, err, c.check, c.status)
			continue
		}
		if last := r.Checks[len(r.Checks)-1]; last.OK || last.Name != c.check || len(r.Findings) > 0 {
			t.Errorf("%s: got checks %+v and findings %+v", c.name, r.Checks, r.Findings)
		}
	}
	if keys := d.Keys("b"); !slices.Equal(keys, []string{"theirs"}) {
		t.Errorf("there are %q, want theirs", keys)
	}
}

func TestWriteTable(t *testing.T) {
	t.Parallel()
	r := &Report{
		Checks: []Check{{Name: "endpoint", OK: true, Detail: "answers"}, {Name: "write", Detail: "403 AccessDenied no\nway\x1b[1m"}},
		Findings: []Finding{
			{Operation: "S3PutObjectTagging", Verdict: Works},
			{Operation: "S3PutObjectTagging", Parameter: "VersionId", Verdict: Refused, Code: "501 NotImplemented"},
			{Operation: "keys", Parameter: "..", Verdict: Dangerous, Detail: "writes the object up instead"},
		},
		LeftBehind: []string{"object x"},
	}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	want := `ok  endpoint  answers
NO  write     403 AccessDenied no way [1m

OPERATION           PARAMETER  RESULT     DETAIL
S3PutObjectTagging  -          works      -
                    VersionId  refused    501 NotImplemented
keys                ..         DANGEROUS  writes the object up instead

1 work, 1 refused, 0 ignored, 1 dangerous, 0 untested
left behind: object x
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
