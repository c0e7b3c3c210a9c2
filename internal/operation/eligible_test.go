package operation_test

import (
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

func TestEligibility(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	put(t, a, srv, "tagged/yes", "x", "x-amz-tagging", "x=1")
	put(t, a, srv, "tagged/no", "x")
	rules := []operation.ReplicationRule{
		{Status: "Enabled", Filter: &operation.ReplicationFilter{Prefix: "docs/"}},
		{Status: "Enabled", Filter: &operation.ReplicationFilter{Tag: &job.Tag{Key: "x", Value: "1"}}},
		{Status: "Disabled", Prefix: "off/"},
	}
	check := func(bucket, key, class string, want bool, requests int) {
		t.Helper()
		before := srv.Count("GetObjectTagging")
		e := operation.NewEligibility(operation.Env{Client: a, Replication: map[string]operation.ReplicationConfig{
			"src": {Rules: rules}, "plain": {Rules: rules[:1]},
		}})
		got, err := e.Of(t.Context(), objectstore.Object{Bucket: bucket, Key: key}, class)
		if n := srv.Count("GetObjectTagging") - before; got != want || err != nil || n != requests {
			t.Errorf("%s/%s: got %t, %v after %d requests", bucket, key, got, err, n)
		}
	}
	srv.CreateBucket("plain", "none")
	check("src", "docs/gone", "", true, 0)
	check("src", "docs/gone", "GLACIER", false, 0)
	check("src", "docs/gone", "STANDARD_IA", true, 0)
	check("src", "tagged/yes", "", true, 1)
	check("src", "tagged/no", "", false, 1)
	check("src", "off/gone", "", false, 1)
	check("plain", "off/gone", "", false, 0)
	check("none", "docs/gone", "", false, 0)
}
