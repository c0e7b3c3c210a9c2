package objectstore_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore"
)

// listen answers every request on one raw TCP port with 200 and hands out the bytes of its head and body.
func listen(t *testing.T) (endpoint string, requests <-chan string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		in := bufio.NewReader(c)
		for {
			var head strings.Builder
			length := 0
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				head.WriteString(line)
				if line == "content-length: 4\r\n" {
					length = 4
				}
				if line == "\r\n" {
					break
				}
			}
			body := make([]byte, length)
			if _, err := io.ReadFull(in, body); err != nil {
				return
			}
			seen <- head.String() + string(body)
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String(), seen
}

func TestBytesOnTheWire(t *testing.T) {
	t.Parallel()
	endpoint, requests := listen(t)
	store := open(t, objectstore.Config{Endpoint: endpoint, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "token"}, nil
	})})
	t.Cleanup(store.Close) // before the listener, which waits for the connection to end

	var res objectstore.Result
	send := func(req *objectstore.Request) string {
		t.Helper()
		store.Do(t.Context(), req, &res)
		if !res.OK() {
			t.Fatalf("%+v", res)
		}
		return <-requests
	}
	for key, want := range map[string]string{
		"a//b": "/b/a//b", "../x": "/b/../x", "./x": "/b/./x", ".": "/b/.", "..": "/b/..", "/lead": "/b//lead", "//": "/b///", "trail/": "/b/trail/",
		"a%2Fb": "/b/a%252Fb", "a b": "/b/a%20b", "a+b": "/b/a%2Bb", "é": "/b/%C3%A9", "😀": "/b/%F0%9F%98%80", "a\r\nb": "/b/a%0D%0Ab",
		"a?b#c": "/b/a%3Fb%23c", "~!*'();:@&=$,[]": "/b/~%21%2A%27%28%29%3B%3A%40%26%3D%24%2C%5B%5D", "\x00\xff": "/b/%00%FF",
		"http://x/y": "/b/http%3A//x/y", strings.Repeat("ü", 512): "/b/" + strings.Repeat("%C3%BC", 512),
	} {
		got, _, _ := strings.Cut(send(&objectstore.Request{Method: http.MethodHead, Bucket: "b", Key: []byte(key), Query: "acl"}), "\r\n")
		if want := "HEAD " + want + "?acl HTTP/1.1"; got != want {
			t.Errorf("key %q: got %s, want %s", key, got, want)
		}
	}

	hide := regexp.MustCompile(`(x-amz-date: |AKID/|Signature=)[0-9a-fTZ]+`)
	got := hide.ReplaceAllString(send(&objectstore.Request{
		Method: http.MethodPut, Bucket: "b", Key: []byte("k"), Query: "tagging", VersionID: []byte("v/1"),
		Headers: []objectstore.Header{{Name: "x-amz-request-payer", Value: "requester"}, {Name: "cache-control", Value: "a  b"}},
		Body:    objectstore.NewBody([]byte("body")),
	}), "$1*")
	want := strings.Join([]string{
		"PUT /b/k?tagging&versionId=v%2F1 HTTP/1.1",
		"cache-control: a  b",
		"content-md5: hBotaJrYa9FhFEdFPCLG/A==",
		"host: " + strings.TrimPrefix(endpoint, "http://"),
		"x-amz-content-sha256: 230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5",
		"x-amz-date: *",
		"x-amz-request-payer: requester",
		"x-amz-security-token: token",
		"user-agent: stevedore",
		"authorization: AWS4-HMAC-SHA256 Credential=AKID/*/us-east-1/s3/aws4_request, SignedHeaders=cache-control;content-md5;host;" +
			"x-amz-content-sha256;x-amz-date;x-amz-request-payer;x-amz-security-token, Signature=*",
		"content-length: 4", "", "body",
	}, "\r\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("request (-want +got):\n" + diff)
	}
}
