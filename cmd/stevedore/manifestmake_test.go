package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore/objectstoretest"
)

func TestEncryptionFlags(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kms:us-east-1:123456789012:key/k"
	kms := func(key string, bucketKey *bool) []job.ObjectEncryptionFilter {
		return []job.ObjectEncryptionFilter{{SSEKMS: &job.SSEKMSFilter{KmsKeyArn: key, BucketKeyEnabled: bucketKey}}}
	}
	for _, c := range []struct {
		way, key, bucketKey string
		want                []job.ObjectEncryptionFilter
		wrong               string
	}{
		{"", "", "", nil, ""},
		{"sse-kms", arn, "", kms(arn, nil), ""},
		{"SSE-KMS", "", "true", kms("", new(true)), ""},
		{"SSE-KMS", arn, "False", kms(arn, new(false)), ""},
		{"DSSE-KMS", arn, "", []job.ObjectEncryptionFilter{{DSSEKMS: &job.DSSEKMSFilter{KmsKeyArn: arn}}}, ""},
		{"SSE-KMS", "", "on", nil, "--bucket-key on: want one of true, false"},
		{"DSSE-KMS", "", "true", nil, "--bucket-key goes with --encryption SSE-KMS"},
		{"", "", "true", nil, "--bucket-key goes with --encryption SSE-KMS"},
	} {
		got, err := (&filterFlags{encryption: c.way, kmsKey: c.key, bucketKey: c.bucketKey}).encrypted()
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) || !cmp.Equal(got, c.want) {
			t.Errorf("%q: got %+v, %v, want %+v, %q", c.way, got, err, c.want, c.wrong)
		}
	}
}

// TestMakeEligible lists what replication rules ask for, with sizes where the format has them.
func TestMakeEligible(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "key", Secret: "secret"})
	s3.CreateBucket("lists")
	s3.Put("src", "a", "12345")
	s3.Put("src", "sent/b", "123")
	s3.Fault(objectstoretest.Match{Op: "GetBucketReplication"}, objectstoretest.Answer(200, `<ReplicationConfiguration><Rule><Status>Enabled</Status>
<Filter><Prefix>sent/</Prefix></Filter><Destination><Bucket>arn:aws:s3:::there</Bucket></Destination></Rule></ReplicationConfiguration>`))
	run := inFolder(t, []string{"AWS_ENDPOINT_URL_S3=" + s3.URL(), "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret"}, nil)
	if got := run("", "make", "s3://src", "--eligible-for-replication"); got.code != 0 || got.stdout != "src,sent/b\n" {
		t.Errorf("got %+v", got)
	}
	if got := run("", "make", "s3://src", "--eligible-for-replication", "--to", "inventory", "--out", "s3://lists/inv"); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	object, _ := s3.Object("lists", "inv/manifest.json")
	var inventory manifest.Inventory
	if err := json.Unmarshal(object.Body, &inventory); err != nil || inventory.FileSchema != "Bucket, Key, Size" {
		t.Errorf("got %+v, %v", inventory, err)
	}
	if got := run("", "head", "s3://lists/inv"); got.stdout != "src,sent/b\n" {
		t.Errorf("got %+v", got)
	}
}
