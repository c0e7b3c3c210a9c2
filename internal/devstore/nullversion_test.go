//go:build !slim

package devstore

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestTheNullVersion is what was there before a bucket had versions: it can be named
// in every call, while it is current and when it is not any more.
func TestTheNullVersion(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	put(t, c, "bkt", "k", "before")
	enableVersioning(t, c, "bkt")
	ctx, bucket, key, null := t.Context(), new("bkt"), new("k"), new("null")
	check := func(when string) {
		t.Helper()
		try := func(call string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s, %s: %v", when, call, err)
			}
		}
		tags := &types.Tagging{TagSet: []types.Tag{{Key: new("when"), Value: &when}}}
		_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: key, VersionId: null, Tagging: tags})
		try("PutObjectTagging", err)
		out, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key, VersionId: null})
		try("GetObjectTagging", err)
		if err == nil && (len(out.TagSet) != 1 || aws.ToString(out.TagSet[0].Value) != when) {
			t.Errorf("%s: got tags %v", when, out.TagSet)
		}
		_, err = c.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: key, VersionId: null})
		try("DeleteObjectTagging", err)
		h, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key, VersionId: null})
		try("HeadObject", err)
		if err == nil && aws.ToInt64(h.ContentLength) != int64(len("before")) {
			t.Errorf("%s: got %d bytes", when, aws.ToInt64(h.ContentLength))
		}
		if got := get(t, c, "bkt", "k", null); got != "before" {
			t.Errorf("%s: got %q", when, got)
		}
		_, err = c.PutObjectAcl(ctx, &s3.PutObjectAclInput{Bucket: bucket, Key: key, VersionId: null, ACL: "public-read"})
		try("PutObjectAcl", err)
		_, err = c.GetObjectAcl(ctx, &s3.GetObjectAclInput{Bucket: bucket, Key: key, VersionId: null})
		try("GetObjectAcl", err)
		_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: new("copy"), CopySource: new("bkt/k?versionId=null")})
		try("CopyObject", err)
		_, err = c.UpdateObjectEncryption(ctx, &s3.UpdateObjectEncryptionInput{Bucket: bucket, Key: key, VersionId: null, ObjectEncryption: toKMS(testKeyARN)})
		try("UpdateObjectEncryption", err)
	}
	check("while it is current")
	put(t, c, "bkt", "k", "after")
	check("when it is not")
	if got := head(t, c, "bkt", "k", nil); aws.ToInt32(got.TagCount) != 0 {
		t.Errorf("the current version has %d tags", aws.ToInt32(got.TagCount))
	}
	_, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: new("copy"), VersionId: null})
	if err == nil {
		t.Error("an object that was written later has a null version")
	}
}
