package objectstoretest_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore/objectstoretest"
)

func TestAnSDKListsIt(t *testing.T) {
	t.Parallel()
	s, ctx := start(t), t.Context()
	c := client(t, s)
	const odd = "a//b/../ %2F+é?&='\"<" // XML can hold it
	for _, key := range []string{"a", "b/1", "b/2", "b/3/x", "c", "d/1", odd} {
		s.Put("b", key, "x")
	}
	s.Fill("b", []objectstoretest.Row{{Key: "e", Size: 5 << 40, ETag: "tag", StorageClass: "GLACIER", Modified: time.Unix(1e9, 0)}, {Key: "b/2a"}})
	list := func(in s3.ListObjectsV2Input) (got []string) {
		t.Helper()
		in.Bucket = aws.String("b")
		for {
			out := must[*s3.ListObjectsV2Output](t)(c.ListObjectsV2(ctx, &in))
			if n := len(out.Contents) + len(out.CommonPrefixes); n > 2 || int(aws.ToInt32(out.KeyCount)) != n {
				t.Errorf("%d rows, said to be %d", n, aws.ToInt32(out.KeyCount))
			}
			for _, o := range out.Contents {
				got = append(got, aws.ToString(o.Key))
			}
			for _, p := range out.CommonPrefixes {
				got = append(got, aws.ToString(p.Prefix))
			}
			if !aws.ToBool(out.IsTruncated) {
				slices.Sort(got) // objects come before prefixes on a page
				return got
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
	check := func(what string, in s3.ListObjectsV2Input, want ...string) {
		t.Helper()
		if got := list(in); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	check("all", s3.ListObjectsV2Input{}, "a", odd, "b/1", "b/2", "b/2a", "b/3/x", "c", "d/1", "e")
	check("prefix", s3.ListObjectsV2Input{Prefix: aws.String("b/2")}, "b/2", "b/2a")
	check("start after", s3.ListObjectsV2Input{StartAfter: aws.String("b/2a")}, "b/3/x", "c", "d/1", "e")
	check("one each", s3.ListObjectsV2Input{Prefix: aws.String("b/"), MaxKeys: aws.Int32(1)}, "b/1", "b/2", "b/2a", "b/3/x")
	check("folded", s3.ListObjectsV2Input{Delimiter: aws.String("/")}, "a", "a/", "b/", "c", "d/", "e")
	check("folded below", s3.ListObjectsV2Input{Delimiter: aws.String("/"), Prefix: aws.String("b/")}, "b/1", "b/2", "b/2a", "b/3/")

	s.Put("b", "b/4", "x") // after the bucket was listed
	check("one more", s3.ListObjectsV2Input{Prefix: aws.String("b/"), StartAfter: aws.String("b/3/x")}, "b/4")

	head := must[*s3.HeadObjectOutput](t)(c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("b"), Key: aws.String("e")}))
	if aws.ToInt64(head.ContentLength) != 5<<40 || aws.ToString(head.ETag) != `"tag"` || head.StorageClass != "GLACIER" || head.LastModified.Unix() != 1e9 {
		t.Errorf("head of a row: %+v", head)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String("e")}); statusOf(err) != 501 {
		t.Errorf("get of a row: %v", err)
	}
}

func TestAnSDKListsVersions(t *testing.T) {
	t.Parallel()
	s, ctx := start(t), t.Context()
	c := client(t, s)
	s.Put("b", "k", "null version")
	s.SetVersioning("b", "Enabled")
	s.Put("b", "k", "v1")
	s.Put("b", "gone", "v2")
	must[*s3.DeleteObjectOutput](t)(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("b"), Key: aws.String("gone")}))
	s.Fill("b", []objectstoretest.Row{
		{Key: "row", VersionID: "r3"}, {Key: "row", VersionID: "r2", DeleteMarker: true}, {Key: "row", VersionID: "r1", Header: http.Header{
			"X-Amz-Server-Side-Encryption-Customer-Algorithm": {"AES256"},
		}},
	})
	want := []string{"gone v3 true true", "gone v2 false false", "k v1 true false", "k null false false", "row r3 true false", "row r2 false true", "row r1 false false"}
	for size := range int32(4) {
		var got []string
		in := &s3.ListObjectVersionsInput{Bucket: aws.String("b"), MaxKeys: aws.Int32(size + 1)}
		for {
			out := must[*s3.ListObjectVersionsOutput](t)(c.ListObjectVersions(ctx, in))
			for _, v := range out.Versions {
				got = append(got, fmt.Sprintf("%s %s %t false", *v.Key, *v.VersionId, *v.IsLatest))
			}
			for _, v := range out.DeleteMarkers {
				got = append(got, fmt.Sprintf("%s %s %t true", *v.Key, *v.VersionId, *v.IsLatest))
			}
			if !aws.ToBool(out.IsTruncated) {
				break
			}
			in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", size+1, diff)
		}
	}
	head := func(version string) int {
		_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("b"), Key: aws.String("row"), VersionId: aws.String(version)})
		return statusOf(err)
	}
	if r3, r2, r1, r0 := head("r3"), head("r2"), head("r1"), head("r0"); r3 != 0 || r2 != 405 || r1 != 400 || r0 != 404 {
		t.Errorf("heads: %d %d %d %d", r3, r2, r1, r0)
	}
}

func TestPageFaults(t *testing.T) {
	t.Parallel()
	s, ctx := objectstoretest.Start(t, objectstoretest.Config{PageSize: 4, Owner: "111122223333"}), t.Context()
	c := client(t, s)
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		s.Put("b", key, "x")
	}
	check := func(what string, a objectstoretest.Action, versions bool, want string) {
		t.Helper()
		f := s.Fault(objectstoretest.Match{}, a)
		defer f.Remove()
		var got string
		if versions {
			out := must[*s3.ListObjectVersionsOutput](t)(c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String("b"), KeyMarker: aws.String("b")}))
			for _, v := range out.Versions {
				got += *v.Key
			}
			got += fmt.Sprintf(" %t %s", *out.IsTruncated, aws.ToString(out.NextKeyMarker))
		} else {
			out := must[*s3.ListObjectsV2Output](t)(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("b"), StartAfter: aws.String("b")}))
			for _, o := range out.Contents {
				got += *o.Key
			}
			got += fmt.Sprintf(" %t ", *out.IsTruncated)
			if out.NextContinuationToken != nil { // what comes next tells where it leads
				f.Remove()
				next := must[*s3.ListObjectsV2Output](t)(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("b"), ContinuationToken: out.NextContinuationToken}))
				got += "> " + *next.Contents[0].Key
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	check("repeat", objectstoretest.RepeatRows(3), false, "abcdef true > g")
	check("repeat", objectstoretest.RepeatRows(1), true, "bcdef true f")
	check("reverse", objectstoretest.ReverseRows(), false, "fedc true > g")
	check("swap", objectstoretest.SwapRows(), true, "dcfe true f")
	check("short", objectstoretest.ShortPage(2), false, "cd true > e")
	check("short", objectstoretest.ShortPage(2), true, "cd true d")
	check("lose", objectstoretest.LoseRows(2), false, "cd true > g")
	check("lose", objectstoretest.LoseRows(9), true, "c true f")
	check("empty", objectstoretest.EmptyPage(), false, " true > c")
	check("empty", objectstoretest.EmptyPage(), true, " true b")
	check("end early", objectstoretest.EndEarly(3), false, "cde false ")
	check("end late", objectstoretest.EndLate(), true, "cdef true f")
	check("no token", objectstoretest.NoToken(), false, "cdef true ")
	check("no marker", objectstoretest.NoToken(), true, "cdef true ")
	check("stuck", objectstoretest.StuckPage(), false, " true ")

	if _, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("b"), ExpectedBucketOwner: aws.String("999999999999")}); statusOf(err) != 403 {
		t.Errorf("another owner: %v", err)
	}
	if _, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("b"), ExpectedBucketOwner: aws.String("111122223333")}); err != nil {
		t.Errorf("the owner: %v", err)
	}
}
