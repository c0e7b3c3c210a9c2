//go:build !slim

package devstore

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func toKMS(arn string) types.ObjectEncryption {
	return &types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: &arn, BucketKeyEnabled: new(true)}}
}

func TestUpdateObjectEncryption(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	enableVersioning(t, c, "bkt")
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: new("bkt"), Key: new("k"), Body: strings.NewReader("precious"), ServerSideEncryption: "AES256",
		StorageClass: "GLACIER", Metadata: map[string]string{"origin": "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	old := head(t, c, "bkt", "k", nil)
	put(t, c, "bkt", "k", "newer")
	update := func(version *string, encryption types.ObjectEncryption) error {
		_, err := c.UpdateObjectEncryption(t.Context(), &s3.UpdateObjectEncryptionInput{
			Bucket: new("bkt"), Key: new("k"), VersionId: version, ObjectEncryption: encryption,
		})
		return err
	}
	if err := update(old.VersionId, toKMS(testKeyARN)); err != nil {
		t.Fatal(err)
	}
	got := head(t, c, "bkt", "k", old.VersionId)
	if got.ServerSideEncryption != types.ServerSideEncryptionAwsKms || aws.ToString(got.SSEKMSKeyId) != testKeyARN || !aws.ToBool(got.BucketKeyEnabled) {
		t.Errorf("got encryption %s with %v, bucket key %v", got.ServerSideEncryption, got.SSEKMSKeyId, got.BucketKeyEnabled)
	}
	if *got.ETag != *old.ETag || !got.LastModified.Equal(*old.LastModified) || *got.ContentLength != *old.ContentLength ||
		got.StorageClass != types.StorageClassGlacier || got.Metadata["origin"] != "test" {
		t.Errorf("more than the encryption has changed: %+v", got)
	}
	if out := head(t, c, "bkt", "k", nil); out.ServerSideEncryption != "" {
		t.Errorf("current version: got encryption %s", out.ServerSideEncryption)
	}
	if err := update(nil, toKMS(testKeyARN)); err != nil { // without a label: the default of S3
		t.Error(err)
	}
	if body := get(t, c, "bkt", "k", nil); body != "newer" {
		t.Errorf("got body %q", body)
	}
	list, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: new("bkt")})
	if err != nil || len(list.Versions) != 2 {
		t.Errorf("got versions %v and %v, want two", list.Versions, err)
	}

	wantCode(t, update(nil, toKMS("arn:aws:kms:us-east-1:123456789012:alias/name")), "InvalidRequest")
	wantCode(t, update(new("01HZZZZZZZZZZZZZZZZZZZZZZZ"), toKMS(testKeyARN)), "NoSuchVersion")
	_, err = c.UpdateObjectEncryption(t.Context(), &s3.UpdateObjectEncryptionInput{
		Bucket: new("bkt"), Key: new("none"), ObjectEncryption: toKMS(testKeyARN),
	})
	wantCode(t, err, "NoSuchKey")
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("dsse"), ServerSideEncryption: "aws:kms:dsse"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.UpdateObjectEncryption(t.Context(), &s3.UpdateObjectEncryptionInput{
		Bucket: new("bkt"), Key: new("dsse"), ObjectEncryption: toKMS(testKeyARN),
	})
	wantCode(t, err, "InvalidRequest")
}

// TestUpdateObjectEncryptionNeverWrites sends what is no UpdateObjectEncryption:
// whatever it is, it is not the new body of the object.
func TestUpdateObjectEncryptionNeverWrites(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "k", "precious")
	for _, body := range []string{"", "garbage", "<ObjectEncryption/>", "<Tagging></Tagging>", strings.Repeat("x", 100_000)} {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("k"), Body: bytes.NewReader([]byte(body))},
			withQuery("encryption", ""))
		wantCode(t, err, "MalformedXML")
	}
	if got := get(t, c, "bkt", "k", nil); got != "precious" {
		t.Errorf("got body %q, want precious", got)
	}
}

func TestUpdateObjectEncryptionOfLockedObject(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createLockBucket(t, c)
	put(t, c, "bkt", "k", "x")
	update := func() error {
		_, err := c.UpdateObjectEncryption(t.Context(), &s3.UpdateObjectEncryptionInput{
			Bucket: new("bkt"), Key: new("k"), ObjectEncryption: toKMS(testKeyARN),
		})
		return err
	}
	retain(t, c, "k", nil, "GOVERNANCE", time.Now().Add(time.Hour))
	wantCode(t, update(), "AccessDenied")
}
