//go:build !slim

package devstore

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReplicationConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, c := startStore(t, Config{Dir: dir})
	createBucket(t, c, "bkt")
	config := &types.ReplicationConfiguration{
		Role: new("arn:aws:iam::123456789012:role/replicate"),
		Rules: []types.ReplicationRule{{
			ID: new("all"), Status: types.ReplicationRuleStatusEnabled, Priority: new(int32(1)),
			Filter:                  &types.ReplicationRuleFilter{And: &types.ReplicationRuleAndOperator{Prefix: new("a & b/"), Tags: []types.Tag{{Key: new("k"), Value: new("v")}}}},
			DeleteMarkerReplication: &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusDisabled},
			Destination:             &types.Destination{Bucket: new("arn:aws:s3:::dest"), StorageClass: types.StorageClassStandardIa},
		}},
	}
	put := func() error {
		_, err := c.PutBucketReplication(t.Context(), &s3.PutBucketReplicationInput{Bucket: new("bkt"), ReplicationConfiguration: config})
		return err
	}
	read := func() (*types.ReplicationConfiguration, error) {
		out, err := c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: new("bkt")})
		if err != nil {
			return nil, err
		}
		return out.ReplicationConfiguration, nil
	}
	const none = "ReplicationConfigurationNotFoundError"
	_, err := read()
	wantCode(t, err, none)
	wantCode(t, put(), "InvalidRequest") // not versioned
	enableVersioning(t, c, "bkt")
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, c = startStore(t, Config{Dir: dir})
	got, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config, got, cmpopts.IgnoreUnexported(
		types.ReplicationConfiguration{}, types.ReplicationRule{}, types.ReplicationRuleFilter{}, types.ReplicationRuleAndOperator{},
		types.Tag{}, types.DeleteMarkerReplication{}, types.Destination{},
	)); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}

	wrong := newClient(t, s.Endpoint())
	_, err = wrong.DeleteBucketReplication(t.Context(), &s3.DeleteBucketReplicationInput{Bucket: new("bkt")}, func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(testKey, "wrong", "")
	})
	wantCode(t, err, "SignatureDoesNotMatch")
	if _, err := read(); err != nil {
		t.Errorf("after a refused request: %v", err)
	}
	config.Rules[0].Status = "Perhaps"
	wantCode(t, put(), "MalformedXML")
	if _, err := c.DeleteBucketReplication(t.Context(), &s3.DeleteBucketReplicationInput{Bucket: new("bkt")}); err != nil {
		t.Fatal(err)
	}
	_, err = read()
	wantCode(t, err, none)
	if _, err := c.DeleteBucketReplication(t.Context(), &s3.DeleteBucketReplicationInput{Bucket: new("bkt")}); err != nil {
		t.Errorf("delete again: %v", err)
	}
	_, err = c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: new("none")})
	wantCode(t, err, "NoSuchBucket")

	// The configuration goes with its bucket.
	config.Rules[0].Status = types.ReplicationRuleStatusEnabled
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: new("bkt")}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir + "/replication"); err != nil || len(left) != 0 {
		t.Errorf("got files %v and %v, want none", left, err)
	}
}
