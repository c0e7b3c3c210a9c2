//go:build !slim

package devstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

const (
	testKey    = "stevedore"
	testSecret = "stevedore-secret"
	parentRole = "test-parent" // argument that makes the test binary start a store and wait
)

func TestMain(m *testing.M) {
	if code, ran := Main(os.Args); ran {
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == parentRole {
		os.Exit(parent(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// parent starts a store, prints its endpoint and never ends it.
func parent(dir, listen string) int {
	s, err := Start(context.Background(), Config{Dir: dir, Listen: listen, AccessKey: testKey, Secret: testSecret, Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(s.Endpoint())
	<-s.Done()
	return 1
}

func startStore(t *testing.T, cfg Config) (*Store, *s3.Client) {
	t.Helper()
	cfg.AccessKey, cfg.Secret = testKey, testSecret
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, newClient(t, s.Endpoint())
}

func newClient(tb testing.TB, endpoint string) *s3.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		BaseEndpoint: &endpoint,
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider(testKey, testSecret, ""),
		UsePathStyle: true,
		HTTPClient:   &http.Client{Transport: transport},
	})
}

func createBucket(tb testing.TB, c *s3.Client, bucket string) {
	tb.Helper()
	if _, err := c.CreateBucket(tb.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		tb.Fatal(err)
	}
}

func put(tb testing.TB, c *s3.Client, bucket, key, body string) *s3.PutObjectOutput {
	tb.Helper()
	out, err := c.PutObject(tb.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(body), Metadata: map[string]string{"origin": "test"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func enableVersioning(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func head(t *testing.T, c *s3.Client, bucket, key string, version *string) *s3.HeadObjectOutput {
	t.Helper()
	out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: version})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// copyInParts copies an object by one UploadPartCopy for each range, or for the
// whole of it, as create says.
func copyInParts(t *testing.T, c *s3.Client, bucket, from, to string, create *s3.CreateMultipartUploadInput, ranges ...string) {
	t.Helper()
	create.Bucket, create.Key = &bucket, &to
	upload, err := c.CreateMultipartUpload(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	if ranges == nil {
		ranges = []string{""}
	}
	var parts []types.CompletedPart
	for i, r := range ranges {
		in := &s3.UploadPartCopyInput{
			Bucket: &bucket, Key: &to, UploadId: upload.UploadId, CopySource: new(bucket + "/" + from), PartNumber: new(int32(i + 1)),
		}
		if r != "" {
			in.CopySourceRange = new("bytes=" + r)
		}
		part, err := c.UploadPartCopy(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{
			ETag: part.CopyPartResult.ETag, PartNumber: in.PartNumber, ChecksumCRC64NVME: part.CopyPartResult.ChecksumCRC64NVME,
		})
	}
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &to, UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *s3.Client, bucket, key string, version *string) string {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: version})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code {
		t.Errorf("got error %v, want code %s", err, code)
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "dir/a", "hello")

	tags := []types.Tag{{Key: new("tier"), Value: new("cold")}}
	_, err := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{
		Bucket: new("bkt"), Key: new("dir/a"), Tagging: &types.Tagging{TagSet: tags},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("copy"), CopySource: new("bkt/dir/a")}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"dir/a", "copy"} {
		if got := get(t, c, "bkt", key, nil); got != "hello" {
			t.Errorf("%s: got body %q, want hello", key, got)
		}
		tagging, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: new("bkt"), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, tag := range tagging.TagSet {
			got[*tag.Key] = *tag.Value
		}
		if diff := cmp.Diff(map[string]string{"tier": "cold"}, got); diff != "" {
			t.Errorf("%s: tags (-want +got):\n%s", key, diff)
		}
		head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("bkt"), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		if head.Metadata["origin"] != "test" {
			t.Errorf("%s: got metadata %v, want origin=test", key, head.Metadata)
		}
	}
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("bkt"), Key: new("none")})
	wantCode(t, err, "NoSuchKey")
}

func TestVersions(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt")
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket:                  new("bkt"),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := put(t, c, "bkt", "k", "one").VersionId
	second := put(t, c, "bkt", "k", "two").VersionId
	if first == nil || second == nil || *first == *second {
		t.Fatalf("got versions %v and %v, want two", first, second)
	}
	if got := get(t, c, "bkt", "k", first); got != "one" {
		t.Errorf("first version: got %q, want one", got)
	}
	if got := get(t, c, "bkt", "k", nil); got != "two" {
		t.Errorf("current version: got %q, want two", got)
	}
}

func TestCopyLimit(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{CopyLimit: 1000})
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "small", strings.Repeat("x", 1000))
	put(t, c, "bkt", "large", strings.Repeat("x", 1001))
	if _, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("copy"), CopySource: new("bkt/small")}); err != nil {
		t.Errorf("copy at the limit: %v", err)
	}
	_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("bkt"), Key: new("copy"), CopySource: new("bkt/large")})
	wantCode(t, err, "InvalidRequest")

	// What is too large goes in parts, and small objects have one.
	copyInParts(t, c, "bkt", "large", "copy", &s3.CreateMultipartUploadInput{})
	if got := get(t, c, "bkt", "copy", nil); len(got) != 1001 {
		t.Errorf("copy in parts: got %d bytes, want 1001", len(got))
	}
}

func TestWrongSecretIsRefused(t *testing.T) {
	t.Parallel()
	s, _ := startStore(t, Config{})
	wrong := newClient(t, s.Endpoint())
	_, err := wrong.ListBuckets(t.Context(), &s3.ListBucketsInput{}, func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(testKey, "wrong", "")
	})
	wantCode(t, err, "SignatureDoesNotMatch")
}

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(dir string) error{
		"attributes": func(string) error { return nil },
		"sidecar":    func(dir string) error { return os.Mkdir(dir+"/sidecar", 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			s, c := startStore(t, Config{Dir: dir})
			createBucket(t, c, "bkt")
			put(t, c, "bkt", "k", "kept")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}

			// The same port, too: clients of a restarted `stevedore dev` keep their endpoint.
			again, c := startStore(t, Config{Dir: dir, Listen: strings.TrimPrefix(s.Endpoint(), "http://")})
			if again.Endpoint() != s.Endpoint() {
				t.Errorf("got endpoint %s, want %s", again.Endpoint(), s.Endpoint())
			}
			if got := get(t, c, "bkt", "k", nil); got != "kept" {
				t.Errorf("got body %q, want kept", got)
			}
			head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("bkt"), Key: new("k")})
			if err != nil {
				t.Fatal(err)
			}
			if head.Metadata["origin"] != "test" {
				t.Errorf("got metadata %v, want origin=test", head.Metadata)
			}
		})
	}
}

func TestStoresSideBySide(t *testing.T) {
	t.Parallel()
	_, one := startStore(t, Config{})
	_, two := startStore(t, Config{})
	createBucket(t, one, "only-in-one")
	createBucket(t, two, "only-in-two")
	for _, check := range []struct {
		client *s3.Client
		want   string
	}{{one, "only-in-one"}, {two, "only-in-two"}} {
		out, err := check.client.ListBuckets(t.Context(), &s3.ListBucketsInput{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range out.Buckets {
			got = append(got, aws.ToString(b.Name))
		}
		if diff := cmp.Diff([]string{check.want}, got); diff != "" {
			t.Errorf("buckets (-want +got):\n%s", diff)
		}
	}
}

func TestStoreDiesWithItsParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, parentRole, dir, "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Parent and store hold the writing end: it is at its end when both are gone.
	alive, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.Close()
	var endpoint string
	if _, err := fmt.Fscanln(stdout, &endpoint); err != nil {
		said, _ := io.ReadAll(alive)
		t.Fatalf("parent gave no endpoint: %v\n%s", err, said)
	}
	c := newClient(t, endpoint) // keeps its connection open
	createBucket(t, c, "bkt")
	put(t, c, "bkt", "k", "kept")

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed

	// A successor takes the port from the dying store.
	address, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	_, c = startStore(t, Config{Dir: dir, Listen: address.Host})
	if got := get(t, c, "bkt", "k", nil); got != "kept" {
		t.Errorf("got body %q, want kept", got)
	}
	if said, err := io.ReadAll(alive); err != nil { // blocks while the orphan lives
		t.Errorf("read output of parent and store: %v\n%s", err, said)
	}
}

func TestSignalsOfTheGroupDoNotEndTheStore(t *testing.T) {
	t.Parallel()
	s, c := startStore(t, Config{})
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	createBucket(t, c, "bkt")
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestCrashIsReported(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), Config{Dir: t.TempDir(), AccessKey: testKey, Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); err != nil {
		t.Errorf("running: got error %v", err)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	for range 2 {
		if err := s.Close(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("got error %v, want killed", err)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	refuse := func(cfg Config, want string) {
		t.Helper()
		s, err := Start(t.Context(), cfg)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
	dir := t.TempDir()
	good := Config{Dir: dir, AccessKey: testKey, Secret: testSecret}
	with := func(change func(*Config)) Config {
		cfg := good
		change(&cfg)
		return cfg
	}
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:9701", "example.com:9701"} {
		refuse(with(func(c *Config) { c.Listen = addr }), "loopback addresses only")
	}
	refuse(with(func(c *Config) { c.Listen = "127.0.0.1" }), "want host:port")
	refuse(with(func(c *Config) { c.Dir = "data" }), "not absolute")
	refuse(with(func(c *Config) { c.Secret = "" }), "access key and secret are required")
	refuse(with(func(c *Config) { c.CopyLimit = -1 }), "negative")
	refuse(with(func(c *Config) { c.RestoreAfter = -1 }), "negative")

	if err := os.WriteFile(dir+"/objects", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(good, "not a directory") // the child's own words
}

func TestLogTakesTheOutputOfTheServer(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, _ := startStore(t, Config{Log: &log})
	if err := s.Close(); err != nil { // Close waits for the last of it
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "versions") {
		t.Errorf("got log %q, want the server's line about its versions", log.String())
	}
}

func TestLocalhostIsLoopback(t *testing.T) {
	t.Parallel()
	s, _ := startStore(t, Config{Listen: "localhost:0"})
	if !strings.HasPrefix(s.Endpoint(), "http://127.0.0.1:") {
		t.Errorf("got endpoint %s, want an address on 127.0.0.1", s.Endpoint())
	}
}

func TestBindWaitsForATakenPort(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:9701"
	taken := fmt.Errorf("listen: %w", syscall.EADDRINUSE)
	synctest.Test(t, func(t *testing.T) {
		free := time.Now().Add(bindPatience / 2)
		err := bind(t.Context(), addr, func(got string) error {
			if got != addr {
				t.Errorf("got address %s, want %s", got, addr)
			}
			if time.Now().Before(free) {
				return taken
			}
			return nil
		})
		if err != nil {
			t.Errorf("port that becomes free: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		err := bind(t.Context(), addr, func(string) error { return taken })
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("port that stays taken: got %v, want %v", err, syscall.EADDRINUSE)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no such interface")
		begin := time.Now()
		err := bind(t.Context(), addr, func(string) error { return broken })
		if !errors.Is(err, broken) || time.Since(begin) != 0 {
			t.Errorf("other error: got %v after %v, want it at once", err, time.Since(begin))
		}
	})
}
