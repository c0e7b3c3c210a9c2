//go:build !slim

package devstore

import (
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func tag(t *testing.T, c *s3.Client, key string, tags map[string]string) error {
	t.Helper()
	var set []types.Tag
	for k, v := range tags {
		set = append(set, types.Tag{Key: &k, Value: &v})
	}
	_, err := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: new("bkt"), Key: &key, Tagging: &types.Tagging{TagSet: set}})
	return err
}

func tagsNow(t *testing.T, c *s3.Client, key string) map[string]string {
	t.Helper()
	out, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: new("bkt"), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{}
	for _, tag := range out.TagSet {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags
}

// TestTagsAreCountedInCharacters, as S3 does: a character may have four bytes.
func TestTagsAreCountedInCharacters(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "k", "text")
	long := map[string]string{strings.Repeat("ä", 128): strings.Repeat("日", 256), "plain": "ASCII"}
	if err := tag(t, c, "k", long); err != nil {
		t.Error(err)
	}
	if got := tagsNow(t, c, "k"); !maps.Equal(got, long) {
		t.Errorf("got %v", got)
	}
	for _, bad := range []map[string]string{
		{strings.Repeat("ä", 129): ""}, {"k": strings.Repeat("日", 257)}, {"": "v"}, {"k": "ä" + strings.Repeat("!", 256)},
	} {
		wantCode(t, tag(t, c, "k", bad), "InvalidTag")
	}
	if got := tagsNow(t, c, "k"); !maps.Equal(got, long) {
		t.Errorf("after tags that were refused: %v", got)
	}
	wantCode(t, tag(t, c, "none", long), "NoSuchKey")
}

// TestASlashAtTheEndIsAnotherKey in calls about what belongs to an object.
func TestASlashAtTheEndIsAnotherKey(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	put(t, c, "bkt", "tail", "text")
	put(t, c, "bkt", "dir/", "")
	if err := tag(t, c, "tail", map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	ctx, bucket, odd := t.Context(), new("bkt"), new("tail/")
	for name, call := range map[string]func() error{
		"PutObjectTagging": func() error { return tag(t, c, "tail/", map[string]string{"c": "d"}) },
		"GetObjectTagging": func() error {
			_, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: odd})
			return err
		},
		"DeleteObjectTagging": func() error {
			_, err := c.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: odd})
			return err
		},
		"PutObjectAcl": func() error {
			_, err := c.PutObjectAcl(ctx, &s3.PutObjectAclInput{Bucket: bucket, Key: odd, ACL: "public-read"})
			return err
		},
		"UpdateObjectEncryption": func() error {
			_, err := c.UpdateObjectEncryption(ctx, &s3.UpdateObjectEncryptionInput{Bucket: bucket, Key: odd, ObjectEncryption: toKMS(testKeyARN)})
			return err
		},
	} {
		if err := call(); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			wantCode(t, err, "NoSuchKey")
		}
	}
	if got := tagsNow(t, c, "tail"); !maps.Equal(got, map[string]string{"a": "b"}) {
		t.Errorf("the object that was not asked for has the tags %v", got)
	}
	if err := tag(t, c, "dir/", map[string]string{"c": "d"}); err != nil {
		t.Errorf("a key that ends in a slash: %v", err)
	}
}
