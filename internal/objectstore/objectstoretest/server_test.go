package objectstoretest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore/objectstoretest"
)

const odd = "a//b/../ %2F+é?&=\x01'\"<"

// client is the AWS SDK, which knows nothing of this package: what it understands, is S3.
func client(t *testing.T, s *objectstoretest.Server) *s3.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: s.ClientTLS()}
	t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.URL()), Region: "us-east-1", Credentials: s.Credentials(), UsePathStyle: true,
		HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

func start(t *testing.T) *objectstoretest.Server {
	t.Helper()
	return objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret", PageSize: 2})
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return e.HTTPStatusCode()
	}
	return 0
}

func TestAnSDKUnderstandsIt(t *testing.T) {
	t.Parallel()
	s, ctx := start(t), t.Context()
	c := client(t, s)
	s.CreateBucket("b", "c")
	s.SetVersioning("c", "Enabled")

	must[*s3.PutObjectOutput](t)(c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String("b"), Key: aws.String(odd), Body: strings.NewReader("0123456789"),
		ContentType: aws.String("text/plain"), Metadata: map[string]string{"owner": "me"}, Tagging: aws.String("a=1&b=x%20y"),
	}))
	o, ok := s.Object("b", odd)
	if !ok || string(o.Body) != "0123456789" || o.Metadata["owner"] != "me" {
		t.Fatalf("stored %+v, %t", o, ok)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "x y"}, o.Tags); diff != "" {
		t.Error("tags (-want +got):\n" + diff)
	}
	if got := s.Requests("PutObject")[0].URI; got != "/b/a//b/../%20%252F%2B%C3%A9%3F%26%3D%01%27%22%3C?x-id=PutObject" {
		t.Errorf("recorded URI %s", got)
	}

	got := must[*s3.GetObjectOutput](t)(c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String(odd), Range: aws.String("bytes=3-5"), IfMatch: aws.String(`"` + o.ETag + `"`)}))
	if body := must[[]byte](t)(io.ReadAll(got.Body)); string(body) != "345" || aws.ToString(got.ContentRange) != "bytes 3-5/10" {
		t.Errorf("range gives %q, %q", body, aws.ToString(got.ContentRange))
	}
	_ = got.Body.Close()
	_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String(odd), Range: aws.String("bytes=10-")})
	if statusOf(err) != 416 {
		t.Errorf("range behind the end: %v", err)
	}
	_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("b"), Key: aws.String(odd), IfMatch: aws.String(`"other"`)})
	if statusOf(err) != 412 {
		t.Errorf("head of another ETag: %v", err)
	}

	copySource := "b/a//b/../%20%252F%2B%C3%A9%3F%26%3D%01%27%22%3C"
	out := must[*s3.CopyObjectOutput](t)(c.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: aws.String("c"), Key: aws.String("copy"), CopySource: aws.String(copySource), TaggingDirective: types.TaggingDirectiveReplace,
	}))
	if v, _ := s.Version("c", "copy", aws.ToString(out.VersionId)); len(v.Tags) != 0 || v.ContentType != "text/plain" || v.VersionID == "" {
		t.Errorf("copied %+v", v)
	}
	must[*s3.PutObjectTaggingOutput](t)(c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{
		Bucket: aws.String("c"), Key: aws.String("copy"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k"), Value: aws.String("<v>")}}},
	}))
	tags := must[*s3.GetObjectTaggingOutput](t)(c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String("c"), Key: aws.String("copy")}))
	if len(tags.TagSet) != 1 || aws.ToString(tags.TagSet[0].Value) != "<v>" {
		t.Errorf("tags read back: %+v", tags.TagSet)
	}
	must[*s3.DeleteObjectTaggingOutput](t)(c.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: aws.String("c"), Key: aws.String("copy")}))
	if o, _ := s.Object("c", "copy"); len(o.Tags) != 0 {
		t.Errorf("tags left: %v", o.Tags)
	}
	must[*s3.DeleteObjectOutput](t)(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("c"), Key: aws.String("copy")}))
	if _, ok := s.Object("c", "copy"); ok {
		t.Error("deleted object is still current")
	}
	if _, ok := s.Version("c", "copy", aws.ToString(out.VersionId)); !ok {
		t.Error("deleted object lost its version")
	}
	if v := must[*s3.GetBucketVersioningOutput](t)(c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String("c")})); v.Status != "Enabled" {
		t.Errorf("versioning %q", v.Status)
	}
	_, err = c.GetObjectAcl(ctx, &s3.GetObjectAclInput{Bucket: aws.String("b"), Key: aws.String(odd)})
	if statusOf(err) != 501 {
		t.Errorf("acl: %v", err)
	}
}

func TestListingPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	var want []string
	for _, key := range []string{"p/a", "p/b c", "p/d", "p/é", "p/é\x01"} {
		s.Put("b", key, "x")
		want = append(want, key)
	}
	s.Put("b", "q", "x")
	pages := s3.NewListObjectsV2Paginator(client(t, s), &s3.ListObjectsV2Input{Bucket: aws.String("b"), Prefix: aws.String("p/"), EncodingType: "url"})
	n := 0
	for pages.HasMorePages() {
		page := must[*s3.ListObjectsV2Output](t)(pages.NextPage(t.Context()))
		n += len(page.Contents)
	}
	if n != len(want) || s.Count("ListObjectsV2") != 3 {
		t.Errorf("listed %d keys in %d pages, want %d in 3", n, s.Count("ListObjectsV2"), len(want))
	}
	if diff := cmp.Diff(append(want, "q"), s.Keys("b")); diff != "" {
		t.Error("keys (-want +got):\n" + diff)
	}
}

// plainly sends an unsigned request and returns the status, 0 if the connection broke.
func plainly(t *testing.T, s *objectstoretest.Server, method, path, body string) (int, string) {
	t.Helper()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body)))
	response, err := transport.RoundTrip(r)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return -1, string(got)
	}
	return response.StatusCode, string(got)
}

func TestFaultsHitByRule(t *testing.T) {
	t.Parallel()
	s := objectstoretest.Start(t, objectstoretest.Config{})
	s.CreateBucket("b", "other")
	rule := s.Fault(objectstoretest.Match{Op: "PutObject", Bucket: "b", Key: objectstoretest.Key("k"), Skip: 1, Every: 2, Times: 2}, objectstoretest.SlowDown())
	var got []int
	for range 8 {
		for _, path := range []string{"/other/k", "/b/l"} {
			if status, _ := plainly(t, s, "PUT", path, ""); status != 200 {
				t.Errorf("%s: %d", path, status)
			}
		}
		status, _ := plainly(t, s, "PUT", "/b/k", "")
		got = append(got, status)
	}
	if diff := cmp.Diff([]int{200, 200, 503, 200, 503, 200, 200, 200}, got); diff != "" {
		t.Error("statuses (-want +got):\n" + diff)
	}
	if rule.Hits() != 2 {
		t.Errorf("%d hits, want 2", rule.Hits())
	}
}

func TestFaultsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	check := func(name string, a objectstoretest.Action, wantStatus int, wantBody string, wantEffect bool) {
		t.Helper()
		s := objectstoretest.Start(t, objectstoretest.Config{})
		s.Put("b", "k", "0123456789")
		rule := s.Fault(objectstoretest.Match{}, a)
		status, body := plainly(t, s, "DELETE", "/b/k", "")
		if wantBody != "" && wantEffect { // seen in an answer that has a body
			s.Put("b", "k", "0123456789")
			status, body = plainly(t, s, "GET", "/b/k", "")
		}
		if status != wantStatus || !strings.Contains(body, wantBody) {
			t.Errorf("%s: %d %q, want %d and %q", name, status, body, wantStatus, wantBody)
		}
		rule.Remove()
		if wantBody == "" || !wantEffect {
			if _, there := s.Object("b", "k"); there == wantEffect {
				t.Errorf("%s: object there: %t", name, there)
			}
		}
	}
	check("slow down", objectstoretest.SlowDown(), 503, "<Code>SlowDown</Code>", false)
	check("bare status", objectstoretest.Status(502, ""), 502, "", false)
	check("answer", objectstoretest.Answer(418, "tea"), 418, "tea", false)
	check("200 with error", objectstoretest.OKWithError("InternalError"), 200, "<Code>InternalError</Code>", false)
	check("reset before", objectstoretest.ResetBefore(), 0, "", false)
	check("reset after", objectstoretest.ResetAfter(), 0, "", true)
	check("delay", objectstoretest.Delay(time.Millisecond), 204, "", true)
	check("delay, then fail", objectstoretest.Delay(time.Millisecond).Then(objectstoretest.SlowDown()), 503, "SlowDown", false)
	check("cut body", objectstoretest.CutBody(4), -1, "0123", true)
	check("truncate", objectstoretest.TruncateXML(), 200, "01234", true)
}

func TestBlockHoldsUntilOpened(t *testing.T) {
	t.Parallel()
	s := objectstoretest.Start(t, objectstoretest.Config{})
	s.Put("b", "k", "x")
	gate := objectstoretest.NewGate()
	s.Fault(objectstoretest.Match{Op: "DeleteObject"}, objectstoretest.Block(gate))
	done := make(chan int, 1)
	go func() {
		status, _ := plainly(t, s, "DELETE", "/b/k", "")
		done <- status
	}()
	<-gate.Arrived()
	if _, there := s.Object("b", "k"); !there {
		t.Error("the effect came before the gate opened")
	}
	gate.Open()
	if status := <-done; status != 204 {
		t.Errorf("status %d", status)
	}
}

func TestSignaturesAreChecked(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.CreateBucket("b")
	if status, body := plainly(t, s, "PUT", "/b/k", "x"); status != 403 {
		t.Errorf("unsigned: %d %s", status, body)
	}
	must[*s3.PutObjectOutput](t)(client(t, s).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: bytes.NewReader([]byte("x"))}))
	good := s.Requests("PutObject")[1]
	if why := objectstoretest.Verify(&good, "secret"); why != "" {
		t.Fatalf("good request: %s", why)
	}
	tamper := func(name string, change func(r *objectstoretest.Request)) {
		t.Helper()
		bad := good
		bad.Header = good.Header.Clone()
		change(&bad)
		if objectstoretest.Verify(&bad, "secret") == "" {
			t.Errorf("%s: not noticed", name)
		}
	}
	tamper("key", func(r *objectstoretest.Request) { r.URI = "/b/other" })
	tamper("body", func(r *objectstoretest.Request) { r.Body = []byte("y") })
	tamper("host", func(r *objectstoretest.Request) { r.Host = "elsewhere" })
	tamper("further header", func(r *objectstoretest.Request) { r.Header.Set("X-Amz-Acl", "public-read") })
	tamper("method", func(r *objectstoretest.Request) { r.Method = "DELETE" })
	tamper("date", func(r *objectstoretest.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") })
	if objectstoretest.Verify(&good, "other") == "" {
		t.Error("another secret is not noticed")
	}

	s.Rotate("AKID", "secret2", "token2")
	_, err := client(t, s).GetObject(context.WithoutCancel(t.Context()), &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String("k")})
	if statusOf(err) != 400 || !strings.Contains(err.Error(), "ExpiredToken") {
		t.Errorf("after rotation: %v", err)
	}
}
