package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"stevedore/internal/devstore"
	"stevedore/internal/objectstore"
)

// objects is an S3 server that outlives the process under test.
type objects struct {
	endpoint string
	sdk      *s3.Client
	lean     *objectstore.Store
}

func startObjects(t *testing.T) *objects {
	t.Helper()
	store, err := devstore.Start(t.Context(), devstore.Config{Dir: t.TempDir(), AccessKey: access, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return clientsOf(t, store.Endpoint())
}

func clientsOf(t *testing.T, s3Endpoint string) *objects {
	t.Helper()
	provider := credentials.NewStaticCredentialsProvider(access, secret, "")
	lean, err := objectstore.New(objectstore.Config{Endpoint: s3Endpoint, Credentials: provider, MaxConcurrency: 32})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lean.Close)
	return &objects{
		endpoint: s3Endpoint,
		sdk: s3.New(s3.Options{
			Region: "us-east-1", Credentials: provider, BaseEndpoint: aws.String(s3Endpoint), UsePathStyle: true,
			RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		}),
		lean: lean,
	}
}

func (o *objects) buckets(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := o.sdk.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *objects) put(t *testing.T, bucket, key string, body []byte) (etag string) {
	t.Helper()
	out, err := o.sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.ETag)
}

func (o *objects) get(t *testing.T, bucket, key string) []byte {
	t.Helper()
	out, err := o.sdk.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("get %s/%s: %v", bucket, key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (o *objects) keys(t *testing.T, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	for key, err := range o.lean.List(t.Context(), bucket, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// each calls f for 0 to n-1, on as many goroutines as the store takes well.
func each(t *testing.T, n int, f func(i int, res *objectstore.Result) error) {
	t.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 32 {
		wg.Go(func() {
			var res objectstore.Result
			for !t.Failed() {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				if err := f(i, &res); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// seed puts n small objects and returns the CSV manifest over them.
func (o *objects) seed(t *testing.T, bucket string, n int) []byte {
	t.Helper()
	body := objectstore.NewBody([]byte("seed"))
	each(t, n, func(i int, res *objectstore.Result) error {
		o.lean.Do(t.Context(), &objectstore.Request{Method: http.MethodPut, Bucket: bucket, Key: []byte(key(i)), Body: body}, res)
		if !res.OK() {
			return fmt.Errorf("put %s: %d %s %w", key(i), res.Status, res.Code, res.Err)
		}
		return nil
	})
	var manifest bytes.Buffer
	for i := range n {
		fmt.Fprintf(&manifest, "%s,%s\n", bucket, key(i))
	}
	return manifest.Bytes()
}

func key(i int) string { return fmt.Sprintf("data/%06d.txt", i) }

// tagged checks that every seeded object carries exactly one tag.
func (o *objects) tagged(t *testing.T, bucket string, n int, name, value string) {
	t.Helper()
	want := "<Key>" + name + "</Key><Value>" + value + "</Value>"
	each(t, n, func(i int, res *objectstore.Result) error {
		o.lean.Do(t.Context(), &objectstore.Request{Method: http.MethodGet, Bucket: bucket, Key: []byte(key(i)), Query: "tagging="}, res)
		if !res.OK() || !bytes.Contains(res.Body, []byte(want)) || bytes.Count(res.Body, []byte("<Key>")) != 1 {
			return fmt.Errorf("tags of %s: %d %s", key(i), res.Status, res.Body)
		}
		return nil
	})
}
