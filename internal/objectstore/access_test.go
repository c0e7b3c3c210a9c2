package objectstore_test

import (
	"io"
	"strings"
	"testing"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

func TestAccessLeadsEveryCallToTheStoreOfItsBucket(t *testing.T) {
	t.Parallel()
	home, homeStore := start(t, objectstoretest.Config{}, nil)
	away, awayStore := start(t, objectstoretest.Config{}, nil)
	a, err := objectstore.NewAccess(homeStore, map[string]*objectstore.Store{"away": awayStore, "far-*": awayStore})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for bucket, there := range map[string]*objectstoretest.Server{"b": home, "away": away, "far-off": away} {
		home.Forget()
		away.Forget()
		there.CreateBucket(bucket)
		if _, err := a.Put(ctx, objectstore.PutInput{Bucket: bucket, Key: "k", Body: strings.NewReader("text"), Size: 4}); err != nil {
			t.Errorf("%s: put: %v", bucket, err)
		}
		o := objectstore.Object{Bucket: bucket, Key: "k"}
		if info, err := a.Head(ctx, o); err != nil || info.Size != 4 {
			t.Errorf("%s: head: %+v, %v", bucket, info, err)
		}
		r, _, err := a.Open(ctx, o, 0, -1)
		if err != nil {
			t.Fatalf("%s: open: %v", bucket, err)
		}
		if text, err := io.ReadAll(r); string(text) != "text" || err != nil || r.Close() != nil {
			t.Errorf("%s: read %q, %v", bucket, text, err)
		}
		req, res := tag("k"), new(objectstore.Result)
		req.Bucket = bucket
		if a.Do(ctx, req, res); !res.OK() {
			t.Errorf("%s: tag: %+v", bucket, res)
		}
		if status, err := a.Versioning(ctx, bucket); status != "" || err != nil {
			t.Errorf("%s: versioning: %q, %v", bucket, status, err)
		}
		n := 0
		for key, err := range a.List(ctx, bucket, "") {
			if n++; key != "k" || err != nil {
				t.Errorf("%s: list: %q, %v", bucket, key, err)
			}
		}
		if err := a.Delete(ctx, bucket, "k"); err != nil || n != 1 || len(there.Keys(bucket)) != 0 {
			t.Errorf("%s: delete: %v; %d listed", bucket, err, n)
		}
		if got := home.Count("") + away.Count(""); there.Count("") != 7 || got != 7 {
			t.Errorf("%s: %d of %d requests where they belong, want 7 of 7", bucket, there.Count(""), got)
		}
	}
	check := func(one, other string, want bool) {
		t.Helper()
		if got := a.Same(one, other); got != want {
			t.Errorf("%s and %s the same store: got %t, want %t", one, other, got, want)
		}
	}
	check("b", "other", true)
	check("b", "away", false)
	check("away", "far-off", true)
	twin := open(t, objectstore.Config{Endpoint: strings.ToUpper(home.URL()[:4]) + home.URL()[4:], Credentials: home.Credentials()})
	if a, err = objectstore.NewAccess(homeStore, map[string]*objectstore.Store{"twin": twin}); err != nil {
		t.Fatal(err)
	}
	check("b", "twin", true)
}

func TestTheMostSpecificRouteWins(t *testing.T) {
	t.Parallel()
	stores := map[string]*objectstore.Store{}
	_, rest := start(t, objectstoretest.Config{}, nil)
	for _, pattern := range []string{"a-exact", "a-*", "a-*-x", "*", "a-*-*-log", "*.bak"} {
		if pattern != "*" {
			_, stores[pattern] = start(t, objectstoretest.Config{}, nil)
		}
	}
	a, err := objectstore.NewAccess(rest, stores)
	if err != nil {
		t.Fatal(err)
	}
	check := func(bucket, pattern string) {
		t.Helper()
		want := rest
		if pattern != "" {
			want = stores[pattern]
		}
		if a.For(bucket) != want {
			t.Errorf("%s does not take the route %q", bucket, pattern)
		}
	}
	check("a-exact", "a-exact")
	check("a-", "a-*")
	check("a-b", "a-*")
	check("a-b-x", "a-*-x")
	check("a-x", "a-*") // the two hyphens cannot be one
	check("a-1-2-log", "a-*-*-log")
	check("a-1-log", "a-*")
	check("x.bak", "*.bak")
	check("a.bak.x", "")
	check("", "")
	if _, err := objectstore.NewAccess(nil, map[string]*objectstore.Store{"": rest, "x": nil}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("bad routes: %v", err)
	}
}
