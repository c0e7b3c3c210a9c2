//go:build !slim

package devstore

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const testKeyARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// stores are the two ways attributes are kept: what makes the directory.
var stores = map[string]func(*testing.T) string{
	"attributes": func(t *testing.T) string { t.Helper(); return t.TempDir() },
	"sidecar": func(t *testing.T) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.Mkdir(dir+"/sidecar", 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	},
}

// withHeader adds a header that the SDK has no member for.
func withHeader(name, value string) func(*s3.Options) {
	return s3.WithAPIOptions(smithyhttp.AddHeaderValue(name, value))
}

func TestLabelsOfWrites(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "src", strings.Repeat("x", 2000))

	for name, write := range map[string]func() error{
		"put": func() error {
			out, err := c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: new("bkt"), Key: new("put"), Body: strings.NewReader("x"), StorageClass: types.StorageClassStandardIa,
				ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: new(testKeyARN), BucketKeyEnabled: new(true),
			}, withHeader("x-amz-replication-status", "REPLICA"))
			if err == nil && (out.ServerSideEncryption != types.ServerSideEncryptionAwsKms || aws.ToString(out.SSEKMSKeyId) != testKeyARN) {
				t.Errorf("put: the answer tells of %s with %v", out.ServerSideEncryption, out.SSEKMSKeyId)
			}
			return err
		},
		"copy": func() error {
			out, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
				Bucket: new("bkt"), Key: new("copy"), CopySource: new("bkt/src"), StorageClass: types.StorageClassStandardIa,
				ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: new(testKeyARN), BucketKeyEnabled: new(true),
			}, withHeader("x-amz-replication-status", "REPLICA"))
			if err == nil && out.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
				t.Errorf("copy: the answer tells of %s", out.ServerSideEncryption)
			}
			return err
		},
		"parts": func() error {
			out, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
				Bucket: new("bkt"), Key: new("parts"), StorageClass: types.StorageClassStandardIa,
				ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: new(testKeyARN), BucketKeyEnabled: new(true),
			}, withHeader("x-amz-replication-status", "REPLICA"))
			if err != nil {
				return err
			}
			part, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
				Bucket: new("bkt"), Key: new("parts"), UploadId: out.UploadId, PartNumber: new(int32(1)), Body: strings.NewReader("x"),
			})
			if err != nil {
				return err
			}
			done, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
				Bucket: new("bkt"), Key: new("parts"), UploadId: out.UploadId,
				MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: new(int32(1))}}},
			})
			if err == nil && done.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
				t.Errorf("parts: the answer tells of %s", done.ServerSideEncryption)
			}
			return err
		},
	} {
		if err := write(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out := head(t, c, "bkt", name, nil)
		if out.StorageClass != types.StorageClassStandardIa || out.ReplicationStatus != types.ReplicationStatusReplica {
			t.Errorf("%s: got storage class %s and replication status %s", name, out.StorageClass, out.ReplicationStatus)
		}
		if out.ServerSideEncryption != types.ServerSideEncryptionAwsKms || aws.ToString(out.SSEKMSKeyId) != testKeyARN || !aws.ToBool(out.BucketKeyEnabled) {
			t.Errorf("%s: got encryption %s with %v, bucket key %v", name, out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled)
		}
	}
	if out := head(t, c, "bkt", "src", nil); out.ServerSideEncryption != "" || out.ReplicationStatus != "" {
		t.Errorf("labels that nobody asked for: %+v", out)
	}
	// A copy has the labels it asks for, not those of its source.
	if _, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("plain"), CopySource: new("bkt/put")}); err != nil {
		t.Fatal(err)
	}
	if out := head(t, c, "bkt", "plain", nil); out.StorageClass == types.StorageClassStandardIa || out.ServerSideEncryption != "" {
		t.Errorf("copy of a labelled object: got class %s and encryption %s", out.StorageClass, out.ServerSideEncryption)
	}
}

func TestLabelsRefused(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	refuse := func(code string, in s3.PutObjectInput, opts ...func(*s3.Options)) {
		t.Helper()
		in.Bucket, in.Key = new("bkt"), new("k")
		_, err := c.PutObject(t.Context(), &in, opts...)
		wantCode(t, err, code)
	}
	refuse("InvalidArgument", s3.PutObjectInput{ServerSideEncryption: "rot13"})
	refuse("InvalidArgument", s3.PutObjectInput{ServerSideEncryption: "AES256", SSEKMSKeyId: new(testKeyARN)})
	refuse("InvalidArgument", s3.PutObjectInput{}, withHeader("x-amz-replication-status", "MAYBE"))
	refuse("InvalidArgument", s3.PutObjectInput{
		StorageClass: "INTELLIGENT_TIERING", Metadata: map[string]string{"stevedore-archive-status": "CELLAR"},
	})
	refuse("NotImplemented", s3.PutObjectInput{}, withHeader("x-amz-server-side-encryption-customer-algorithm", "AES256"))
	_, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("bkt"), Key: new("k")})
	wantCode(t, err, "NotFound")
}

func TestLabelsSurvive(t *testing.T) {
	t.Parallel()
	for name, prepare := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := prepare(t)
			s, c := startStore(t, Config{Dir: dir})
			createACLBucket(t, c)
			enableVersioning(t, c, "bkt")
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: new("bkt"), Key: new("k"), Body: strings.NewReader("one"), ServerSideEncryption: "AES256", ACL: "public-read",
			})
			if err != nil {
				t.Fatal(err)
			}
			first := head(t, c, "bkt", "k", nil).VersionId
			put(t, c, "bkt", "k", "two")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, c = startStore(t, Config{Dir: dir})
			if out := head(t, c, "bkt", "k", first); out.ServerSideEncryption != types.ServerSideEncryptionAes256 {
				t.Errorf("first version: got encryption %q, want AES256", out.ServerSideEncryption)
			}
			if got := grants(t, c, "k", first); len(got) != 2 {
				t.Errorf("first version: got grants %v, want those of public-read", got)
			}
			if out := head(t, c, "bkt", "k", nil); out.ServerSideEncryption != "" {
				t.Errorf("second version: got encryption %q, want none", out.ServerSideEncryption)
			}
		})
	}
}

// TestLabelsAndWritersSideBySide changes labels of a key while others overwrite
// it: each version ends with the labels it was written with, or those given to it.
func TestLabelsAndWritersSideBySide(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	enableVersioning(t, c, "bkt")
	classes := []types.StorageClass{"STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "REDUCED_REDUNDANCY"}
	var wg sync.WaitGroup
	for _, class := range classes {
		wg.Go(func() {
			for i := range 10 {
				_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
					Bucket: new("bkt"), Key: new("k"), StorageClass: class, Body: strings.NewReader(string(class) + " " + strconv.Itoa(i)),
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				_, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: new("bkt"), Key: new("k"), ACL: "public-read"})
				if err != nil {
					wantCode(t, err, "NoSuchKey") // before the first write
				}
			}
		})
	}
	wg.Wait()
	versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: new("bkt")})
	if err != nil {
		t.Fatal(err)
	}
	if want := 10 * len(classes); len(versions.Versions) != want {
		t.Errorf("got %d versions, want %d", len(versions.Versions), want)
	}
	for _, v := range versions.Versions {
		body := get(t, c, "bkt", "k", v.VersionId)
		if class, _, _ := strings.Cut(body, " "); class != string(v.StorageClass) {
			t.Errorf("version with body %q: got storage class %s", body, v.StorageClass)
		}
	}
}

// noise returns n characters that do not compress well.
func noise(seed, n int) string {
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[r.IntN(36)]
	}
	return string(b)
}

func TestFullTags(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "k", "x")
	var tags []types.Tag
	for i := range 10 {
		name, value := noise(i, 128), noise(100+i, 256)
		tags = append(tags, types.Tag{Key: &name, Value: &value})
	}
	_, err := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: new("bkt"), Key: new("k"), Tagging: &types.Tagging{TagSet: tags}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: new("bkt"), Key: new("k")})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, tag := range tags {
		want[*tag.Key] = *tag.Value
	}
	for _, tag := range out.TagSet {
		if want[*tag.Key] != *tag.Value {
			t.Errorf("got tag %s=%s", *tag.Key, *tag.Value)
		}
		delete(want, *tag.Key)
	}
	if len(want) > 0 {
		t.Errorf("%d tags are missing", len(want))
	}
}
