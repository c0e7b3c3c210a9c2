package e2e

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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
