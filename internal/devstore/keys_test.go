//go:build !slim

package devstore

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend/posix"
	"pgregory.net/rapid"
)

var aliases = []string{"a//b", "/a/b", "a/./b", "a/c/../b", "./a/b", "a/b/.", "../bkt/a/b", "a/b//", "a/b/..", "//a/b", ".sgwtmp/x"}

// TestAliased: a key that is not refused is a path that the file system takes as
// it is, so two of them never name one file.
func TestAliased(t *testing.T) {
	t.Parallel()
	segments := rapid.SampledFrom([]string{"", ".", "..", "...", "a", "b", "a.", ".a", " ", "\\", "ä", posix.MetaTmpDir})
	rapid.Check(t, func(t *rapid.T) {
		key := strings.Join(rapid.SliceOfN(segments, 1, 5).Draw(t, "segments"), "/")
		if key == "" {
			return // the bucket
		}
		kept := strings.TrimSuffix(key, "/")
		keeps := filepath.Join("bkt", key) == "bkt/"+kept && kept != "" && !strings.HasPrefix(kept+"/", posix.MetaTmpDir+"/")
		if aliased(key) == keeps {
			t.Errorf("%q: got aliased %t, want %t", key, keeps, !keeps)
		}
	})
}

// TestAliasesAreRefused asks for each key that the file system would take for
// a/b, or for a file of versitygw's, in every way a key can be named.
func TestAliasesAreRefused(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	put(t, c, "bkt", "a/b", "precious")
	ctx, bucket := t.Context(), new("bkt")
	for _, key := range aliases {
		for name, call := range map[string]func() error{
			"PutObject": func() error {
				_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("overwritten")})
				return err
			},
			"GetObject": func() error {
				_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})
				return err
			},
			"DeleteObject": func() error {
				_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &key})
				return err
			},
			"CopyObject from": func() error {
				_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: new("copy"), CopySource: new("bkt/" + key)})
				return err
			},
			"CopyObject to": func() error {
				_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: &key, CopySource: new("bkt/a/b")})
				return err
			},
			"PutObjectTagging": func() error {
				_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: &key, Tagging: &types.Tagging{
					TagSet: []types.Tag{{Key: new("a"), Value: new("b")}},
				}})
				return err
			},
			"DeleteObjectTagging": func() error {
				_, err := c.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: &key})
				return err
			},
			"PutObjectAcl": func() error {
				_, err := c.PutObjectAcl(ctx, &s3.PutObjectAclInput{Bucket: bucket, Key: &key, ACL: "public-read"})
				return err
			},
			"UpdateObjectEncryption": func() error {
				_, err := c.UpdateObjectEncryption(ctx, &s3.UpdateObjectEncryptionInput{Bucket: bucket, Key: &key, ObjectEncryption: toKMS(testKeyARN)})
				return err
			},
			"CreateMultipartUpload": func() error {
				_, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: &key})
				return err
			},
		} {
			if err := call(); err == nil {
				t.Errorf("%s %s: accepted", name, key)
			} else {
				wantCode(t, err, "InvalidArgument")
			}
		}
		out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &key}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Errors) != 1 || aws.ToString(out.Errors[0].Code) != "InvalidArgument" {
			t.Errorf("DeleteObjects %s: got deleted %v and errors %v", key, out.Deleted, out.Errors)
		}
	}
	if got := get(t, c, "bkt", "a/b", nil); got != "precious" {
		t.Errorf("the object that was not asked for has body %q", got)
	}
	if out := head(t, c, "bkt", "a/b", nil); aws.ToInt32(out.TagCount) != 0 || out.ServerSideEncryption != "" {
		t.Errorf("the object that was not asked for has changed: %+v", out)
	}
	list, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
	if err != nil || len(list.Contents) != 1 {
		t.Errorf("got objects %v and %v, want one", list.Contents, err)
	}
}

func TestOddKeysAreKept(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	keys := []string{
		"with space", "plus+plus", "per%cent", "per%2Fcent", "ünïcode/日本語", "a.b/..c/d..", ".hidden", "x...", "q?a=b", "h#sh", "dir/",
		"semi;colon", "am&per", "quote\"'", "back\\slash", "tab\tkey", strings.Repeat("long/", 204) + "1234",
	}
	for _, key := range keys {
		body := "body of " + key
		if strings.HasSuffix(key, "/") {
			body = ""
		}
		put(t, c, "bkt", key, body)
		if got := get(t, c, "bkt", key, nil); got != body {
			t.Errorf("%q: got body %q", key, got)
		}
	}
}

func TestRefusalIsXML(t *testing.T) {
	t.Parallel()
	s, _ := startStore(t, Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Endpoint()+"/bkt//k", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || res.Header.Get("Content-Type") != "application/xml" {
		t.Errorf("got status %d and type %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
}
