package e2e

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/google/go-cmp/cmp"
)

// TestLargeCopiesAndEncryption copies what CopyObject refuses, and encrypts it
// again, on a real server: objects stay the same.
func TestLargeCopiesAndEncryption(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1, "--copy-limit", "1000")
	d.buckets(t, "large", "copies")
	c := control(d.host())
	keys := []string{"plain.txt", "a b+c%é&=?.txt", "dir/日本語"}
	var manifest bytes.Buffer
	content := map[string]string{}
	for i, key := range keys {
		content[key] = strings.Repeat("x", 1000+i) // the first can still be copied with one request
		_, err := d.sdk.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("large"), Key: &key, Body: strings.NewReader(content[key]), ContentType: aws.String("text/odd"),
			CacheControl: aws.String("no-cache"), Metadata: map[string]string{"a": "1"}, Tagging: aws.String("t=v+%2B"),
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&manifest, "large,%s\n", url.QueryEscape(key))
	}
	run := func(op types.JobOperation, messages ...string) {
		t.Helper()
		in := tagJob(d.put(t, "manifests", "manifest.csv", manifest.Bytes()), "", "")
		in.Operation = &op
		out, err := c.CreateJob(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		until(t, c, *out.JobId, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusComplete })
		got := map[string]string{}
		for _, row := range d.report(t, "reports", "r", *out.JobId) {
			key, err := url.QueryUnescape(row[1])
			if err != nil {
				t.Fatal(err)
			}
			got[key] = row[3] + ": " + row[6]
		}
		want := map[string]string{}
		for i, key := range keys {
			want[key] = "succeeded: " + messages[i]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want (-) and got (+):\n%s", diff)
		}
	}
	same := func(bucket, encryption string) {
		t.Helper()
		for key, body := range content {
			if got := d.get(t, bucket, key); string(got) != body {
				t.Errorf("%s/%s has %d bytes, want %d", bucket, key, len(got), len(body))
			}
			head, err := d.sdk.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				t.Fatal(err)
			}
			tags, err := d.sdk.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key})
			if err != nil {
				t.Fatal(err)
			}
			if aws.ToString(head.ContentType) != "text/odd" || aws.ToString(head.CacheControl) != "no-cache" || head.Metadata["a"] != "1" ||
				len(tags.TagSet) != 1 || aws.ToString(tags.TagSet[0].Value) != "v +" || string(head.ServerSideEncryption) != encryption {
				t.Errorf("%s/%s: got %+v, tags %+v", bucket, key, head, tags.TagSet)
			}
		}
	}
	const inParts = "Successful (multipart copy, 1 part)"
	run(types.JobOperation{S3PutObjectCopy: &types.S3CopyObjectOperation{TargetResource: aws.String("arn:aws:s3:::copies")}},
		"Successful", inParts, inParts)
	same("copies", "")
	run(types.JobOperation{S3UpdateObjectEncryption: &types.S3UpdateObjectEncryptionOperation{
		ObjectEncryption: &types.ObjectEncryption{SSEKMS: &types.S3UpdateObjectEncryptionSSEKMS{
			KMSKeyArn: aws.String("arn:aws:kms:us-east-1:" + account + ":key/1234abcd-12ab-34cd-56ef-1234567890ab"),
		}},
	}}, "Successful", "Successful", "Successful")
	same("large", "aws:kms")
	if left := d.keys(t, "large", ".stevedore-probe/"); len(left) > 0 {
		t.Errorf("probes were left: %q", left)
	}
}

// TestReplication takes a bucket's own configuration at its word.
func TestReplication(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1, "--copy-limit", "1000")
	d.buckets(t, "source", "replica")
	for _, bucket := range []string{"source", "replica"} {
		if _, err := d.sdk.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
			Bucket: &bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.sdk.PutBucketReplication(t.Context(), &s3.PutBucketReplicationInput{
		Bucket: aws.String("source"), ReplicationConfiguration: &s3types.ReplicationConfiguration{
			Role: aws.String(role), Rules: []s3types.ReplicationRule{{
				Status: s3types.ReplicationRuleStatusEnabled, Priority: aws.Int32(1), Filter: &s3types.ReplicationRuleFilter{Prefix: aws.String("data/")},
				DeleteMarkerReplication: &s3types.DeleteMarkerReplication{Status: s3types.DeleteMarkerReplicationStatusDisabled},
				Destination:             &s3types.Destination{Bucket: aws.String("arn:aws:s3:::replica")},
			}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	var manifest bytes.Buffer
	want := map[string]string{}
	for key, body := range map[string]string{"data/short": "short", "data/a b+c%é": strings.Repeat("x", 2000), "other": "other"} {
		out, err := d.sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("source"), Key: &key, Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&manifest, "source,%s,%s\n", url.QueryEscape(key), aws.ToString(out.VersionId))
		want[key] = "succeeded 200  success"
		if key == "other" {
			want[key] = "failed 500 SrcObjectNotEligible Object is not eligible for replication"
		}
	}
	in := tagJob(d.put(t, "manifests", "manifest.csv", manifest.Bytes()), "", "")
	in.Operation = &types.JobOperation{S3ReplicateObject: &types.S3ReplicateObjectOperation{}}
	in.Manifest.Spec.Fields = []types.JobManifestFieldName{"Bucket", "Key", "VersionId"}
	c := control(d.host())
	for range 2 { // the second job finds everything done
		in.ClientRequestToken = nil
		out, err := c.CreateJob(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		until(t, c, *out.JobId, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusComplete })
		got := map[string]string{}
		for _, row := range d.report(t, "reports", "r", *out.JobId) {
			key, err := url.QueryUnescape(row[1])
			if err != nil {
				t.Fatal(err)
			}
			got[key] = strings.Join(row[3:7], " ")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want (-) and got (+):\n%s", diff)
		}
	}
	for key := range want {
		versions, err := d.sdk.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("replica"), Prefix: &key})
		if err != nil {
			t.Fatal(err)
		}
		n := 1
		if key == "other" {
			n = 0
		}
		if len(versions.Versions) != n {
			t.Errorf("%s has %d versions in the replica, want %d", key, len(versions.Versions), n)
		} else if n == 1 && !bytes.Equal(d.get(t, "source", key), d.get(t, "replica", key)) {
			t.Errorf("%s differs in the replica", key)
		}
	}
}

// TestCopyBetweenTwoServers routes the target to a server of its own.
func TestCopyBetweenTwoServers(t *testing.T) {
	t.Parallel()
	near, far := startObjects(t), startObjects(t)
	near.buckets(t, "data", "manifests", "reports")
	far.buckets(t, "target")
	bodies := map[string][]byte{
		"empty": {}, "a b+c%é": []byte("short"), "large": bytes.Repeat([]byte("0123456789abcdef"), (33<<20)/16), // more than two parts
	}
	var manifest bytes.Buffer
	want := map[string]string{}
	for key, body := range bodies {
		_, err := near.sdk.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("data"), Key: &key, Body: bytes.NewReader(body), ContentType: aws.String("text/odd"), Metadata: map[string]string{"a": "1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&manifest, "data,%s\n", url.QueryEscape(key))
		want[key] = "succeeded: Successful (streamed between stores)"
	}
	want["large"] = "succeeded: Successful (streamed between stores, 3 parts)"

	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "stores:\n  far:\n    endpoint: %s\n    access_key: %s\n    secret_key: %s\nbuckets:\n  target: far\n",
		far.endpoint, access, secret), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, near, dir, address, "--config", config)
	c := control(address)
	in := tagJob(near.put(t, "manifests", "manifest.csv", manifest.Bytes()), "", "")
	in.Operation = &types.JobOperation{S3PutObjectCopy: &types.S3CopyObjectOperation{TargetResource: aws.String("arn:aws:s3:::target")}}
	out, err := c.CreateJob(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	until(t, c, *out.JobId, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusComplete })
	got := map[string]string{}
	for _, row := range near.report(t, "reports", "r", *out.JobId) {
		key, err := url.QueryUnescape(row[1])
		if err != nil {
			t.Fatal(err)
		}
		got[key] = row[3] + ": " + row[6]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	for key, body := range bodies {
		head, err := far.sdk.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("target"), Key: &key})
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if aws.ToString(head.ContentType) != "text/odd" || head.Metadata["a"] != "1" || !bytes.Equal(far.get(t, "target", key), body) {
			t.Errorf("%s differs: %+v", key, head)
		}
	}
}
