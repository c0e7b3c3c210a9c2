//go:build !slim

package devstore

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func tagsOf(t *testing.T, c *s3.Client, key string) string {
	t.Helper()
	out, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: new("bkt"), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, tag := range out.TagSet {
		fmt.Fprintf(&b, "%s=%s;", *tag.Key, *tag.Value)
	}
	return b.String()
}

func TestCopyObject(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	src, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: new("bkt"), Key: new("src +%"), Body: strings.NewReader("body"), ContentType: new("text/x"), CacheControl: new("no-cache"),
		ContentLanguage: new("de"), Metadata: map[string]string{"a": "b"}, Tagging: new("t%20t=u%2B%3D%2Fu"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		WebsiteRedirectLocation: new("/elsewhere"),
	})
	if err != nil {
		t.Fatal(err)
	}
	source := new("bkt/src%20%2B%25")
	check := func(key, contentType, metadata, tags string) {
		t.Helper()
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("bkt"), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		if aws.ToString(out.ContentType) != contentType || out.Metadata["a"] != metadata {
			t.Errorf("%s: got type %s and metadata %v", key, *out.ContentType, out.Metadata)
		}
		if got := tagsOf(t, c, key); got != tags {
			t.Errorf("%s: got tags %s, want %s", key, got, tags)
		}
		if aws.ToString(out.ChecksumSHA256) != *src.ChecksumSHA256 || *out.ETag != *src.ETag {
			t.Errorf("%s: got checksum %v and ETag %s", key, out.ChecksumSHA256, *out.ETag)
		}
		if out.WebsiteRedirectLocation != nil {
			t.Errorf("%s: got redirect %s", key, *out.WebsiteRedirectLocation)
		}
		if got := get(t, c, "bkt", key, nil); got != "body" {
			t.Errorf("%s: got body %q", key, got)
		}
	}
	copied, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("same"), CopySource: source})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(copied.CopyObjectResult.ChecksumSHA256) != *src.ChecksumSHA256 || copied.CopyObjectResult.LastModified == nil {
		t.Errorf("got result %+v", copied.CopyObjectResult)
	}
	check("same", "text/x", "b", "t t=u+=/u;")
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: new("bkt"), Key: new("other"), CopySource: source, MetadataDirective: "REPLACE", ContentType: new("text/y"),
		Metadata: map[string]string{"a": "c"}, TaggingDirective: "REPLACE", Tagging: new("x=y"),
	})
	if err != nil {
		t.Fatal(err)
	}
	check("other", "text/y", "c", "x=y;")
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("bare"), CopySource: source, TaggingDirective: "REPLACE"})
	if err != nil {
		t.Fatal(err)
	}
	check("bare", "text/x", "b", "")

	refuse := func(code string, in s3.CopyObjectInput) {
		t.Helper()
		in.Bucket, in.CopySource = new("bkt"), aws.String(aws.ToString(in.CopySource))
		if *in.CopySource == "" {
			in.CopySource = source
		}
		if in.Key == nil {
			in.Key = new("refused")
		}
		_, err := c.CopyObject(t.Context(), &in)
		wantCode(t, err, code)
	}
	refuse("PreconditionFailed", s3.CopyObjectInput{CopySourceIfMatch: new(`"x"`)})
	refuse("PreconditionFailed", s3.CopyObjectInput{CopySourceIfNoneMatch: src.ETag})
	refuse("PreconditionFailed", s3.CopyObjectInput{CopySourceIfUnmodifiedSince: new(time.Now().Add(-time.Hour))})
	refuse("NoSuchKey", s3.CopyObjectInput{CopySource: new("bkt/none")})
	refuse("NoSuchBucket", s3.CopyObjectInput{CopySource: new("none/none")})
	refuse("AccessDenied", s3.CopyObjectInput{ExpectedSourceBucketOwner: new("123456789012")})
	_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("bkt"), Key: new("refused")})
	wantCode(t, err, "NotFound")
}

func TestCopyOntoItself(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	enableVersioning(t, c, "bkt")
	first := put(t, c, "bkt", "k", "body").VersionId
	copyObject := func(change func(*s3.CopyObjectInput)) (*s3.CopyObjectOutput, error) {
		in := &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("k"), CopySource: new("bkt/k")}
		change(in)
		return c.CopyObject(t.Context(), in)
	}
	_, err := copyObject(func(*s3.CopyObjectInput) {})
	wantCode(t, err, "InvalidRequest") // it would change nothing
	out, err := copyObject(func(in *s3.CopyObjectInput) { in.ServerSideEncryption = "AES256" })
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.VersionId) == *first || aws.ToString(out.CopySourceVersionId) != *first {
		t.Errorf("got version %v from %v, want a new one from %s", out.VersionId, out.CopySourceVersionId, *first)
	}
	got := head(t, c, "bkt", "k", nil)
	if got.ServerSideEncryption != types.ServerSideEncryptionAes256 || got.Metadata["origin"] != "test" || *got.VersionId != *out.VersionId {
		t.Errorf("got %+v", got)
	}
	if old := head(t, c, "bkt", "k", first); old.ServerSideEncryption != "" {
		t.Errorf("first version: got encryption %s", old.ServerSideEncryption)
	}
	for _, version := range []*string{first, out.VersionId} {
		if body := get(t, c, "bkt", "k", version); body != "body" {
			t.Errorf("version %s: got body %q", *version, body)
		}
	}
	_, err = copyObject(func(in *s3.CopyObjectInput) { in.CopySource = new("bkt/k?versionId=" + *first) })
	if err != nil {
		t.Errorf("an old version made current: %v", err)
	}
	marker, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new("bkt"), Key: new("k")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = copyObject(func(in *s3.CopyObjectInput) {
		in.Key, in.CopySource = new("copy"), new("bkt/k?versionId="+*marker.VersionId)
	})
	wantCode(t, err, "InvalidRequest")
	_, err = copyObject(func(in *s3.CopyObjectInput) { in.Key = new("copy") })
	wantCode(t, err, "NoSuchKey")
}

func TestCopyOfANullVersion(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "k", "before versioning")
	enableVersioning(t, c, "bkt")
	put(t, c, "bkt", "k", "after")
	for _, key := range []string{"k", "copy"} {
		_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: &key, CopySource: new("bkt/k?versionId=null")})
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, c, "bkt", key, nil); got != "before versioning" {
			t.Errorf("%s: got body %q", key, got)
		}
	}
}

// TestChecksumOfCopyInParts: the checksum of each part is that of its range, so
// the SDK accepts the bytes of the whole.
func TestChecksumOfCopyInParts(t *testing.T) {
	t.Parallel()
	const part = 5 << 20
	_, c := startStore(t, Config{CopyLimit: part})
	createBucket(t, c, "bkt")
	body := bytes.Repeat([]byte("0123456789abcdef"), (part+1000)/16)
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("k"), Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	copyInParts(t, c, "bkt", "k", "copy", &s3.CreateMultipartUploadInput{
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject, StorageClass: "STANDARD_IA",
	}, fmt.Sprintf("0-%d", part-1), fmt.Sprintf("%d-%d", part, len(body)-1))
	sum := func(key string) string {
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("bkt"), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.ChecksumCRC64NVME)
	}
	if got, want := sum("copy"), sum("k"); got != want || got == "" {
		t.Errorf("got checksum %q, want %q", got, want)
	}
	if got := get(t, c, "bkt", "copy", nil); got != string(body) {
		t.Errorf("got %d bytes that differ", len(got))
	}
	if got := head(t, c, "bkt", "copy", nil).StorageClass; got != types.StorageClassStandardIa {
		t.Errorf("got storage class %s", got)
	}
}
