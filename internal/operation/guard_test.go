package operation_test

import (
	"context"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

func guarded(t *testing.T, srv *objectstoretest.Server) *objectstore.Store {
	t.Helper()
	s, err := objectstore.New(objectstore.Config{
		Endpoint: srv.URL(), Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		BackoffBase: time.Millisecond, BackoffCap: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// folding is a store that keeps keys as paths, as a file system does.
type folding struct {
	operation.Client

	mu    sync.Mutex
	wrote []string
}

func (f *folding) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	plain := *req
	plain.Key = []byte(strings.TrimPrefix(path.Clean("/"+string(req.Key)), "/"))
	if req.Method != http.MethodGet && req.Method != http.MethodHead && !strings.HasPrefix(string(plain.Key), ".stevedore-probe/") {
		f.mu.Lock()
		f.wrote = append(f.wrote, string(plain.Key))
		f.mu.Unlock()
	}
	f.Client.Do(ctx, &plain, res)
}

var aliases = []string{"a//b", "/a/b", "a/./b", "x/../a/b", "a/b/", "./a/b", "../a/b", "a/b//"}

// TestGuardKeepsOffOtherObjects runs every odd key as a task and as the target of
// a copy on a store that folds keys.
func TestGuardKeepsOffOtherObjects(t *testing.T) {
	t.Parallel()
	srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"})
	srv.CreateBucket("b")
	srv.SetVersioning("b", "Enabled")
	srv.Put("b", "a/b", "x")
	f := &folding{Client: guarded(t, srv)}
	g := operation.NewGuard(f)
	for _, key := range aliases {
		var out job.Outcome
		refused, err := g.Refuses(t.Context(), "b", []byte(key), &out)
		if err != nil || !refused || !out.Failed || out.Code != "KeyAliased" || out.HTTPStatus != 400 {
			t.Errorf("%q: refused %t, %v, %+v", key, refused, err, out)
		}
		var res objectstore.Result
		g.Do(t.Context(), &objectstore.Request{Method: http.MethodPut, Bucket: "b", Key: []byte(key)}, &res)
		if res.OK() || res.Code != "KeyAliased" {
			t.Errorf("%q was written to: %d %s", key, res.Status, res.Code)
		}
	}
	if len(f.wrote) > 0 {
		t.Errorf("touched %q", f.wrote)
	}
	// A folder whose name no object has is harmless, and plain keys are not looked at.
	for _, key := range []string{"folder/", "a/b", "a.b/..c/d", ".", "a"} {
		var out job.Outcome
		if refused, err := g.Refuses(t.Context(), "b", []byte(key), &out); (refused || err != nil) && key != "." {
			t.Errorf("%q: refused %t, %v, %+v", key, refused, err, out)
		}
	}
	for _, key := range srv.Keys("b") {
		if strings.HasPrefix(key, ".stevedore-probe/") {
			t.Errorf("left behind: %s", key)
		}
	}
}

// TestGuardKnowsBuckets asks the store nothing about a bucket that can be none.
func TestGuardKnowsBuckets(t *testing.T) {
	t.Parallel()
	g := operation.NewGuard(nil) // asked, it would panic
	for _, bucket := range []string{"odd/a", "odd%2Fa", "a%20b", "s3://photos", "arn:aws:s3:::photos/", "caf\u00e9", "a b", "b?acl", strings.Repeat("x/", 1000)} {
		var out job.Outcome
		refused, err := g.Refuses(t.Context(), bucket, []byte("a"), &out)
		if err != nil || !refused || !out.Failed || out.Code != "InvalidBucketName" || out.HTTPStatus != 400 || len(out.Message) > 200 {
			t.Errorf("%.20q: refused %t, %v, %+v", bucket, refused, err, out)
		}
	}
	for _, bucket := range []string{"b", "photos", "my-photos.example.com", "Old_Bucket", "tenant:bucket", strings.Repeat("x", 255)} {
		var out job.Outcome
		if refused, err := g.Refuses(t.Context(), bucket, []byte("a"), &out); err != nil || refused {
			t.Errorf("%.20q: refused %t, %v, %+v", bucket, refused, err, out)
		}
	}
}

// TestGuardTrustsExactStores: a store that keeps every key apart is asked once.
func TestGuardTrustsExactStores(t *testing.T) {
	t.Parallel()
	srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"})
	srv.CreateBucket("b")
	g := operation.NewGuard(guarded(t, srv))
	for _, key := range aliases {
		var out job.Outcome
		if refused, err := g.Refuses(t.Context(), "b", []byte(key), &out); refused || err != nil {
			t.Errorf("%q: refused %t, %v, %+v", key, refused, err, out)
		}
	}
	if n := srv.Count("PutObject"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if keys := srv.Keys("b"); len(keys) != 0 {
		t.Errorf("left behind: %q", keys)
	}
}

// TestGuardWithoutAnswer: where nothing may be written the store is trusted; one
// that does not answer fails the task.
func TestGuardWithoutAnswer(t *testing.T) {
	t.Parallel()
	check := func(action objectstoretest.Action, want bool) {
		t.Helper()
		srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"})
		srv.CreateBucket("b")
		srv.Fault(objectstoretest.Match{Op: "PutObject"}, action)
		var out job.Outcome
		refused, err := operation.NewGuard(guarded(t, srv)).Refuses(t.Context(), "b", []byte("a//b"), &out)
		if err != nil || refused != want || refused && out.HTTPStatus != 503 {
			t.Errorf("refused %t, %v, %+v", refused, err, out)
		}
	}
	check(objectstoretest.Status(403, "AccessDenied"), false)
	check(objectstoretest.SlowDown(), true)
}
