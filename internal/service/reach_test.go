package service

import (
	"net/http"
	"strings"
	"testing"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// TestOpenReach follows routes and roles to the stores they lead to.
func TestOpenReach(t *testing.T) {
	t.Parallel()
	near := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "near", Secret: "secret"})
	far := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "far", Secret: "secret"})
	store := func(s *objectstoretest.Server, key string) Store {
		return Store{Endpoint: s.URL(), AccessKey: key, SecretKey: "secret", MaxAttempts: 9}
	}
	const arn = "arn:aws:iam::123456789012:role/"
	c := Config{
		Store:   store(near, "near"),
		Stores:  map[string]Store{"far": store(far, "far")},
		Buckets: map[string]string{"logs-*": "far"},
		Roles:   []Role{{ARN: arn + "near"}, {ARN: arn + "far-*", Store: "far"}},
	}
	check := func(role, bucket string, want *objectstoretest.Server) {
		t.Helper()
		r, err := OpenReach(t.Context(), c, role, bucket, 1)
		if err != nil {
			t.Errorf("%s, %s: %v", role, bucket, err)
			return
		}
		defer r.Close()
		if r.Endpoint != want.URL() || r.Region != "us-east-1" {
			t.Errorf("%s, %s: got %s in %s, want %s", role, bucket, r.Endpoint, r.Region, want.URL())
		}
		want.CreateBucket(bucket)
		want.Fault(objectstoretest.Match{Op: "HeadObject", Bucket: bucket}, objectstoretest.SlowDown())
		before := want.Count("HeadObject")
		var res objectstore.Result
		r.Access.Do(t.Context(), &objectstore.Request{Method: http.MethodHead, Bucket: bucket, Key: []byte("k")}, &res)
		if n := want.Count("HeadObject") - before; n != 1 {
			t.Errorf("%s, %s: %d attempts, want 1", role, bucket, n)
		}
	}
	check("", "photos", near)
	check("", "logs-1", far)
	check(arn+"near", "photos", near)
	check(arn+"far-away", "photos", far)
	if _, err := OpenReach(t.Context(), c, arn+"nobody", "photos", 1); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("got %v, want that there is no such role", err)
	}
	if c.Store.MaxAttempts != 9 || c.Stores["far"].MaxAttempts != 9 {
		t.Error("the configuration was changed")
	}
}
