package objectstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

// TestSignsAsRecorded signs the recorded requests of a real client again, from what is signed in them.
func TestSignsAsRecorded(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/s3-requests/*.http")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d recorded requests, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		lines := strings.Split(string(head), "\r\n")
		start := strings.Split(lines[0], " ")
		values := make(map[string]string)
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, ": ")
			values[strings.ToLower(name)] = value
		}
		at, err := time.Parse("20060102T150405Z", values["x-amz-date"])
		if err != nil {
			t.Fatal(err)
		}
		_, names, _ := strings.Cut(values["authorization"], "SignedHeaders=")
		names, _, _ = strings.Cut(names, ",")
		req := &Request{Method: start[0], Body: Body{Bytes: body, SHA256: values["x-amz-content-sha256"]}}
		for name := range strings.SplitSeq(names, ";") {
			switch {
			case name == "content-md5":
				req.Body.MD5 = values[name]
			case !ours(name):
				req.Headers = append(req.Headers, Header{name, values[name]})
			}
		}
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != req.Body.SHA256 {
			t.Fatalf("%s: body does not have its sum", file)
		}

		g := signer{region: "us-east-1"}
		date := g.stampOf(at)
		key := g.keyFor(&aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secretsecret"}, date[:8])
		x := exchange{sum: req.Body.SHA256}
		x.gather(req, values["host"], date, "")
		target := start[1]
		path, query, asked := strings.Cut(target, "?")
		if asked { // boto sends a query as it comes and signs it sorted; ours is sorted
			parts := strings.Split(query, "&")
			slices.Sort(parts)
			target = path + "?" + strings.Join(parts, "&")
		}
		got := x.sign.append(nil, key, req.Method, []byte(target), len(path), x.headers, date, req.Body.SHA256)
		if string(got) != values["authorization"] {
			t.Errorf("%s:\n got %s\nwant %s", filepath.Base(file), got, values["authorization"])
		}
	}
}

// TestSendsTheRecordedTarget builds path and query of the recorded requests from bucket, key and version.
func TestSendsTheRecordedTarget(t *testing.T) {
	t.Parallel()
	recorded := func(file string) string {
		raw, err := os.ReadFile("testdata/s3-requests/" + file + ".http")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(raw), " ")[1]
	}
	check := func(file string, req Request) {
		t.Helper()
		got, path := appendTarget(nil, &req, false)
		if want := recorded(file); string(got) != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
		if before, _, _ := strings.Cut(string(got), "?"); path != len(before) {
			t.Errorf("%s: path ends at %d, want %d", file, path, len(before))
		}
	}
	key := []byte("dir/a b+c%é.txt")
	check("PutObjectTagging", Request{Bucket: "src", Key: key, Query: "tagging", VersionID: []byte("v1")})
	check("PutObjectTagging-empty", Request{Bucket: "src", Key: key, Query: "tagging"})
	check("DeleteObjectTagging", Request{Bucket: "src", Key: key, Query: "tagging", VersionID: []byte("v1")})
	check("HeadObject-checksum", Request{Bucket: "src", Key: key, VersionID: []byte("v1")})
	check("CopyObject-full", Request{Bucket: "dest", Key: append([]byte("Folder1/"), key...)})
	check("GetObjectLockConfiguration", Request{Bucket: "src", OnBucket: true, Query: "object-lock"})
	if got := CopySource("src", key, []byte("v1")); got != "src/dir/a%20b%2Bc%25%C3%A9.txt?versionId=v1" {
		t.Errorf("copy source %s", got)
	}
}

// composed has a store compose one request, and reads it as a server would.
func composed(t interface{ Fatal(...any) }, s *Store, req *Request, credentials aws.Credentials, at time.Time) (*http.Request, []byte) {
	x := new(exchange)
	x.target, x.path = appendTarget(nil, req, s.endpoint.inHost(req.Bucket))
	x.name, x.host = s.hostOf(x, req)
	var err error
	if x.sum, err = s.bodySum(req); err != nil {
		t.Fatal(err)
	}
	s.compose(x, req, &credentials, at)
	got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(x.head)))
	if err != nil {
		t.Fatal("not a request:", err, string(x.head))
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got, body
}

// resign signs a request that was read with the SDK's signer.
func resign(t interface{ Fatal(...any) }, got *http.Request, credentials aws.Credentials, region string, at time.Time) string {
	path, query, _ := strings.Cut(got.RequestURI, "?")
	again := &http.Request{
		Method: got.Method, Host: got.Host, Header: got.Header.Clone(),
		URL: &url.URL{Scheme: "http", Host: got.Host, Opaque: "//" + got.Host + path, RawQuery: query},
	}
	for _, unsigned := range []string{"Authorization", "Content-Length", "User-Agent"} {
		again.Header.Del(unsigned)
	}
	err := v4.NewSigner().SignHTTP(context.Background(), credentials, again, got.Header.Get("X-Amz-Content-Sha256"), "s3", region, at,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		t.Fatal(err)
	}
	return again.Header.Get("Authorization")
}

// TestSignsLikeTheSDK has the AWS SDK sign what we send, whatever it is.
func TestSignsLikeTheSDK(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		credentials := aws.Credentials{
			AccessKeyID:     rapid.StringMatching(`[A-Z0-9]{4,20}`).Draw(t, "access key"),
			SecretAccessKey: rapid.StringMatching(`[!-~]{1,40}`).Draw(t, "secret"),
			SessionToken:    rapid.StringMatching(`([A-Za-z0-9+/=]{20})?`).Draw(t, "token"),
		}
		region := rapid.StringMatching(`[a-z]{2}-[a-z]{4,9}-[1-9]`).Draw(t, "region")
		at := time.Unix(rapid.Int64Range(1e9, 4e9).Draw(t, "time"), 0)
		req := &Request{
			Method:    rapid.SampledFrom([]string{"GET", "HEAD", "PUT", "POST", "DELETE"}).Draw(t, "method"),
			Bucket:    rapid.StringMatching(`[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]`).Draw(t, "bucket"),
			Key:       rapid.SliceOfN(rapid.Byte(), 1, 1024).Draw(t, "key"),
			Query:     rapid.SampledFrom([]string{"", "tagging", "tagging=", "acl", "legal-hold", "a=1&b=%20&tagging"}).Draw(t, "query"),
			VersionID: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "version"),
		}
		if rapid.Bool().Draw(t, "with body") && req.Method != "GET" && req.Method != "HEAD" {
			req.Body = NewBody(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "body"))
		}
		seen := map[string]bool{"x-amz-": true}
		for range rapid.IntRange(0, 6).Draw(t, "headers") {
			name := rapid.SampledFrom([]string{"x-amz-", "x-amz-meta-", "cache-", "z"}).Draw(t, "name") +
				rapid.StringMatching(`[a-z0-9-]{1,12}`).Draw(t, "rest")
			value := rapid.StringMatching(`([!-~é]([ -~]{0,30}[!-~])?)?`).Draw(t, "value")
			if !seen[name] && !ours(name) {
				seen[name] = true
				req.Headers = append(req.Headers, Header{name, value})
			}
		}
		s, err := New(Config{
			Endpoint: "http://s3.test:9000", Region: region, VirtualHost: rapid.Bool().Draw(t, "virtual host"),
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials, nil }),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if !new(Result).check(req) {
			t.Fatal("request is refused")
		}

		got, body := composed(t, s, req, credentials, at)
		if want := resign(t, got, credentials, region, at); got.Header.Get("Authorization") != want {
			t.Fatalf("%s %s\n got %s\nwant %s", got.Method, got.RequestURI, got.Header.Get("Authorization"), want)
		}
		if !bytes.Equal(body, req.Body.Bytes) {
			t.Fatalf("body %q, want %q", body, req.Body.Bytes)
		}
		path, _, _ := strings.Cut(got.RequestURI, "?")
		if s.endpoint.inHost(req.Bucket) {
			path = "/" + strings.TrimSuffix(got.Host, ".s3.test:9000") + path
		}
		if decoded, err := url.PathUnescape(path); err != nil || decoded != "/"+req.Bucket+"/"+string(req.Key) {
			t.Fatalf("sent %q for bucket %q and key %q: %v", path, req.Bucket, req.Key, err)
		}
		for _, h := range req.Headers {
			if !slices.Equal(got.Header[http.CanonicalHeaderKey(h.Name)], []string{strings.TrimSpace(h.Value)}) {
				t.Fatalf("header %s arrived as %q, want %q", h.Name, got.Header[http.CanonicalHeaderKey(h.Name)], h.Value)
			}
		}
	})
}

func TestSigningKeyFollowsDayAndCredentials(t *testing.T) {
	t.Parallel()
	g := signer{region: "us-east-1"}
	one, two := aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s"}, aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s", SessionToken: "t"}
	first := g.keyFor(&one, "20260102")
	if g.keyFor(&one, "20260102") != first {
		t.Error("key of the same day is derived again")
	}
	if k := g.keyFor(&one, "20260103"); bytes.Equal(k.key, first.key) || k.scope != "20260103/us-east-1/s3/aws4_request" {
		t.Errorf("key of the next day: %+v", k)
	}
	if k := g.keyFor(&two, "20260103"); k.token != "t" {
		t.Errorf("key of other credentials: %+v", k)
	}
}

func FuzzEscape(f *testing.F) {
	for _, key := range []string{"", "a//b", "../x", "a%2Fb", "a b+c%é.txt", "\x00\xff~", "a?b#c&d=e"} {
		f.Add([]byte(key))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		path, value := string(AppendPath(nil, key)), string(AppendValue(nil, key))
		for name, got := range map[string]string{"path": path, "value": value} {
			back, err := url.PathUnescape(got)
			if err != nil || back != string(key) {
				t.Errorf("%s %q becomes %q becomes %q, %v", name, key, got, back, err)
			}
			for _, c := range []byte(got) {
				if !plain[c] && c != '%' && (c != '/' || name == "value") {
					t.Errorf("%s %q has a bare %q in %q", name, key, c, got)
				}
			}
		}
		if strings.Count(path, "/") != bytes.Count(key, []byte("/")) {
			t.Errorf("slashes of %q are not kept in %q", key, path)
		}
		if strings.ReplaceAll(value, "%2F", "/") != path {
			t.Errorf("value %q and path %q differ in more than slashes", value, path)
		}
	})
}
