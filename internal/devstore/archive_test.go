//go:build !slim

package devstore

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

func putClass(t *testing.T, c *s3.Client, key string, class types.StorageClass, metadata map[string]string) {
	t.Helper()
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: new("bkt"), Key: &key, StorageClass: class, Body: strings.NewReader("bytes of " + key), Metadata: metadata,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func restoreRequest(days int32, tier types.Tier) *types.RestoreRequest {
	r := &types.RestoreRequest{}
	if days != 0 {
		r.Days = &days
	}
	if tier != "" {
		r.GlacierJobParameters = &types.GlacierJobParameters{Tier: tier}
	}
	return r
}

func TestStorageClasses(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	want := map[string]string{}
	for _, class := range []types.StorageClass{"STANDARD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "INTELLIGENT_TIERING"} {
		key := "dir/" + string(class)
		putClass(t, c, key, class, nil)
		want[key] = string(class)
	}
	put(t, c, "bkt", "none", "x")
	want["none"] = "STANDARD"

	got := map[string]string{}
	for key := range want {
		got[key] = string(head(t, c, "bkt", key, nil).StorageClass)
		if got[key] == "" {
			got[key] = "STANDARD"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("HeadObject (-want +got):\n%s", diff)
	}
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: new("bkt")})
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	for _, o := range list.Contents {
		got[*o.Key] = string(o.StorageClass)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ListObjectsV2 (-want +got):\n%s", diff)
	}
	attributes, err := c.GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{
		Bucket: new("bkt"), Key: new("dir/GLACIER"), ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesStorageClass},
	})
	if err != nil || attributes.StorageClass != types.StorageClassGlacier {
		t.Errorf("GetObjectAttributes: got %+v, %v, want GLACIER", attributes, err)
	}
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("k"), StorageClass: "SHOEBOX"})
	wantCode(t, err, "InvalidStorageClass")
}

func TestArchivedBytesAreKeptBack(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{RestoreAfter: time.Hour})
	createBucket(t, c, "bkt")
	putClass(t, c, "k", types.StorageClassGlacier, nil)
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("bkt"), Key: new("k")})
	wantCode(t, err, "InvalidObjectState")
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("copy"), CopySource: new("bkt/k")})
	wantCode(t, err, "InvalidObjectState")
	upload, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: new("bkt"), Key: new("copy")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
		Bucket: new("bkt"), Key: new("copy"), UploadId: upload.UploadId, PartNumber: new(int32(1)), CopySource: new("bkt/k"),
	})
	wantCode(t, err, "InvalidObjectState")
	if _, err := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{
		Bucket: new("bkt"), Key: new("k"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: new("a"), Value: new("b")}}},
	}); err != nil {
		t.Errorf("tagging of an archived object: %v", err)
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{RestoreAfter: 50 * time.Millisecond})
	createBucket(t, c, "bkt")
	enableVersioning(t, c, "bkt")
	restore := func(key string, version *string, r *types.RestoreRequest) error {
		_, err := c.RestoreObject(t.Context(), &s3.RestoreObjectInput{Bucket: new("bkt"), Key: &key, VersionId: version, RestoreRequest: r})
		return err
	}
	putClass(t, c, "k", types.StorageClassGlacier, nil)
	old := head(t, c, "bkt", "k", nil).VersionId
	put(t, c, "bkt", "k", "new and hot")

	wantCode(t, restore("k", nil, restoreRequest(2, "Bulk")), "InvalidObjectState")
	wantCode(t, restore("none", nil, restoreRequest(2, "Bulk")), "NoSuchKey")
	wantCode(t, restore("k", old, restoreRequest(0, "Bulk")), "InvalidArgument")
	wantCode(t, restore("k", old, restoreRequest(2, "Quick")), "InvalidArgument")
	if err := restore("k", old, restoreRequest(2, "")); err != nil {
		t.Fatal(err)
	}
	out := awaitRestore(t, c, "k", old)
	day := time.Now().UTC().Truncate(24 * time.Hour).Add(3 * 24 * time.Hour).Format(time.RFC1123)
	if want := `ongoing-request="false", expiry-date="` + strings.Replace(day, "UTC", "GMT", 1) + `"`; *out.Restore != want {
		t.Errorf("got x-amz-restore %s, want %s", *out.Restore, want)
	}
	if got := get(t, c, "bkt", "k", old); got != "bytes of k" {
		t.Errorf("got body %q of the restored version", got)
	}
	if out.StorageClass != types.StorageClassGlacier {
		t.Errorf("got storage class %s of a restored object, want GLACIER", out.StorageClass)
	}
	copied, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: new("bkt"), Key: new("copy"), CopySource: new("bkt/k?versionId=" + *old),
	})
	if err != nil || *copied.CopySourceVersionId != *old {
		t.Errorf("copy of a restored version: %v, %v", copied, err)
	}
	if got := get(t, c, "bkt", "k", nil); got != "new and hot" {
		t.Errorf("got body %q of the current version", got)
	}
	versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: new("bkt"), Prefix: new("k")})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions.Versions {
		want := types.ObjectVersionStorageClassStandard
		if *v.VersionId == *old {
			want = "GLACIER"
		}
		if v.StorageClass != want {
			t.Errorf("version %s: got storage class %s, want %s", *v.VersionId, v.StorageClass, want)
		}
	}
}

// awaitRestore waits for the end of a restore.
func awaitRestore(t *testing.T, c *s3.Client, key string, version *string) *s3.HeadObjectOutput {
	t.Helper()
	for {
		out := head(t, c, "bkt", key, version)
		if out.Restore != nil && *out.Restore == `ongoing-request="true"` {
			continue // each look is a request: the store sets the pace
		}
		if out.Restore == nil {
			t.Fatalf("%s: no x-amz-restore", key)
		}
		return out
	}
}

func TestRestoreInProgress(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{RestoreAfter: time.Hour})
	createBucket(t, c, "bkt")
	restore := func(key string, r *types.RestoreRequest) error {
		_, err := c.RestoreObject(t.Context(), &s3.RestoreObjectInput{Bucket: new("bkt"), Key: &key, RestoreRequest: r})
		return err
	}
	putClass(t, c, "k", types.StorageClassGlacier, nil)
	if err := restore("k", restoreRequest(2, "Bulk")); err != nil {
		t.Fatal(err)
	}
	if got := head(t, c, "bkt", "k", nil).Restore; got == nil || *got != `ongoing-request="true"` {
		t.Errorf("got x-amz-restore %v", got)
	}
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("bkt"), Key: new("k")})
	wantCode(t, err, "InvalidObjectState")
	wantCode(t, restore("k", restoreRequest(2, "Bulk")), "RestoreAlreadyInProgress")
	wantCode(t, restore("k", restoreRequest(3, "Standard")), "RestoreAlreadyInProgress")
	if err := restore("k", restoreRequest(2, "Standard")); err != nil {
		t.Errorf("the same days, faster: %v", err)
	}
	wantCode(t, restore("k", restoreRequest(2, "Standard")), "RestoreAlreadyInProgress")

	putClass(t, c, "deep", types.StorageClassDeepArchive, nil)
	wantCode(t, restore("deep", restoreRequest(2, "Expedited")), "InvalidArgument")

	putClass(t, c, "warm", types.StorageClassIntelligentTiering, nil)
	wantCode(t, restore("warm", restoreRequest(0, "Standard")), "InvalidObjectState")
}

func TestRestoreFromIntelligentTiering(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{RestoreAfter: 300 * time.Millisecond})
	createBucket(t, c, "bkt")
	putClass(t, c, "k", types.StorageClassIntelligentTiering, map[string]string{"stevedore-archive-status": "ARCHIVE_ACCESS"})
	if got := head(t, c, "bkt", "k", nil).ArchiveStatus; got != types.ArchiveStatusArchiveAccess {
		t.Errorf("got archive status %q", got)
	}
	restore := func(r *types.RestoreRequest) error {
		_, err := c.RestoreObject(t.Context(), &s3.RestoreObjectInput{Bucket: new("bkt"), Key: new("k"), RestoreRequest: r})
		return err
	}
	wantCode(t, restore(restoreRequest(2, "Standard")), "InvalidArgument")
	if err := restore(restoreRequest(0, "Standard")); err != nil {
		t.Fatal(err)
	}
	for head(t, c, "bkt", "k", nil).ArchiveStatus != "" {
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("bkt"), Key: new("k")})
		if err == nil {
			break // it has become readable between the two requests
		}
	}
	if got := get(t, c, "bkt", "k", nil); got != "bytes of k" {
		t.Errorf("got body %q", got)
	}
	if out := head(t, c, "bkt", "k", nil); out.Restore != nil || out.StorageClass != types.StorageClassIntelligentTiering {
		t.Errorf("got x-amz-restore %v and class %s after the restore", out.Restore, out.StorageClass)
	}
}

func TestRestoreTimes(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 2, 23, 59, 59, 0, time.UTC)
	l := labels{Class: types.StorageClassGlacier}
	ask := func(at time.Time, r *types.RestoreRequest, want int) {
		t.Helper()
		after, got, err := l.restore(r, at, time.Minute)
		if got != want || err != nil {
			t.Errorf("at %v: got status %d and error %v, want %d", at, got, err, want)
		}
		l = after
	}
	check := func(at time.Time, readable bool, header string) {
		t.Helper()
		if err := l.readable(at); (err == nil) != readable {
			t.Errorf("at %v: got %v, want readable %t", at, err, readable)
		}
		got := ""
		if h := l.restoreHeader(at); h != nil {
			got = *h
		}
		if got != header {
			t.Errorf("at %v: got %s, want %s", at, got, header)
		}
	}
	check(begin, false, "")
	ask(begin, restoreRequest(1, ""), 202)
	check(begin.Add(59*time.Second), false, `ongoing-request="true"`)
	check(begin.Add(time.Minute), true, `ongoing-request="false", expiry-date="Mon, 05 Jan 2026 00:00:00 GMT"`)
	ask(begin.Add(2*time.Minute), restoreRequest(5, "Bulk"), 200)
	expiry := time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC)
	check(expiry.Add(-1), true, `ongoing-request="false", expiry-date="Fri, 09 Jan 2026 00:00:00 GMT"`)
	check(expiry, false, "")
	ask(expiry, restoreRequest(1, "Expedited"), 202)
	check(expiry, false, `ongoing-request="true"`)
}

func TestLabelsGoWithTheirVersion(t *testing.T) {
	t.Parallel()
	for name, prepare := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := startStore(t, Config{Dir: prepare(t)})
			createBucket(t, c, "bkt")
			remove := func(key string, version *string) {
				t.Helper()
				if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new("bkt"), Key: &key, VersionId: version}); err != nil {
					t.Fatal(err)
				}
			}
			plain := func(key string) {
				t.Helper()
				if class := head(t, c, "bkt", key, nil).StorageClass; class != types.StorageClassStandard && class != "" {
					t.Errorf("%s: got storage class %s, want the label gone with the object", key, class)
				}
			}
			// Unversioned: deleted and written again, and overwritten.
			for _, key := range []string{"k", "dir/"} {
				archive := func() {
					if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: &key, StorageClass: "GLACIER"}); err != nil {
						t.Fatal(err)
					}
				}
				rewrite := func() {
					if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: &key}); err != nil {
						t.Fatal(err)
					}
				}
				archive()
				if class := head(t, c, "bkt", key, nil).StorageClass; class != types.StorageClassGlacier {
					t.Errorf("%s: got storage class %s", key, class)
				}
				remove(key, nil)
				rewrite()
				plain(key)
				archive()
				rewrite()
				plain(key)
			}
			// Versioned: the version below comes up without the labels of the deleted one.
			enableVersioning(t, c, "bkt")
			put(t, c, "bkt", "v", "hot")
			putClass(t, c, "v", types.StorageClassGlacier, nil)
			cold := head(t, c, "bkt", "v", nil).VersionId
			remove("v", nil) // a marker
			put(t, c, "bkt", "v", "hot again")
			plain("v")
			if class := head(t, c, "bkt", "v", cold).StorageClass; class != types.StorageClassGlacier {
				t.Errorf("noncurrent: got storage class %s, want GLACIER", class)
			}
			remove("v", head(t, c, "bkt", "v", nil).VersionId)
			versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: new("bkt"), Prefix: new("v")})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range versions.DeleteMarkers {
				remove("v", m.VersionId)
			}
			if class := head(t, c, "bkt", "v", nil).StorageClass; class != types.StorageClassGlacier {
				t.Errorf("brought back: got storage class %s, want GLACIER", class)
			}
			remove("v", cold)
			plain("v")
			out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("bkt"), Key: new("v")})
			if err != nil {
				t.Fatal(err)
			}
			defer out.Body.Close()
			if body, _ := io.ReadAll(out.Body); string(body) != "hot" {
				t.Errorf("got body %q, want hot", body)
			}
		})
	}
}
