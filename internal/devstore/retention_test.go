//go:build !slim

package devstore

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// withQuery adds a parameter to the query, before the request is signed.
func withQuery(name, value string) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Build.Add(middleware.BuildMiddlewareFunc("query", func(
			ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
		) (middleware.BuildOutput, middleware.Metadata, error) {
			r := in.Request.(*smithyhttp.Request)
			q := r.URL.Query()
			q.Set(name, value)
			r.URL.RawQuery = q.Encode()
			return next.HandleBuild(ctx, in)
		}), middleware.After)
	})
}

// createLockBucket makes bucket bkt with Object Lock.
func createLockBucket(t *testing.T, c *s3.Client) {
	t.Helper()
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("bkt"), ObjectLockEnabledForBucket: new(true)})
	if err != nil {
		t.Fatal(err)
	}
}

func retain(t *testing.T, c *s3.Client, key string, version *string, mode types.ObjectLockRetentionMode, until time.Time) {
	t.Helper()
	_, err := c.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
		Bucket: new("bkt"), Key: &key, VersionId: version,
		Retention: &types.ObjectLockRetention{Mode: mode, RetainUntilDate: &until},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestClearRetention(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createLockBucket(t, c)
	old := put(t, c, "bkt", "k", "one").VersionId
	put(t, c, "bkt", "k", "two")
	put(t, c, "bkt", "strict", "x")
	put(t, c, "bkt", "free", "x")
	until := time.Now().Add(time.Hour)
	retain(t, c, "k", old, "GOVERNANCE", until)
	retain(t, c, "strict", nil, "COMPLIANCE", until)
	remove := func(key string, version *string, bypass bool) error {
		in := &s3.PutObjectRetentionInput{Bucket: new("bkt"), Key: &key, VersionId: version, Retention: &types.ObjectLockRetention{}}
		if bypass {
			in.BypassGovernanceRetention = new(true)
		}
		_, err := c.PutObjectRetention(t.Context(), in)
		return err
	}
	mode := func(key string, version *string) types.ObjectLockMode {
		return head(t, c, "bkt", key, version).ObjectLockMode
	}

	wantCode(t, remove("k", old, false), "AccessDenied")
	if got := mode("k", old); got != types.ObjectLockModeGovernance {
		t.Errorf("refused: got mode %q of the noncurrent version, want GOVERNANCE", got)
	}
	if err := remove("k", old, true); err != nil {
		t.Fatal(err)
	}
	if got := mode("k", old); got != "" {
		t.Errorf("got mode %q, want none", got)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new("bkt"), Key: new("k"), VersionId: old}); err != nil {
		t.Errorf("delete of the version that is free now: %v", err)
	}
	wantCode(t, remove("strict", nil, true), "AccessDenied")
	if got := mode("strict", nil); got != types.ObjectLockModeCompliance {
		t.Errorf("got mode %q, want COMPLIANCE", got)
	}
	if err := remove("free", nil, false); err != nil {
		t.Errorf("nothing to clear: %v", err)
	}
	wantCode(t, remove("none", nil, true), "NoSuchKey")

	past := time.Now().Add(-time.Hour)
	_, err := c.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
		Bucket: new("bkt"), Key: new("free"), Retention: &types.ObjectLockRetention{Mode: "GOVERNANCE", RetainUntilDate: &past},
	})
	wantCode(t, err, "InvalidArgument")
}
