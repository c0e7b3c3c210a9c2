package objectstore

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// BenchmarkCompose measures writing and signing a request, without sending it.
func BenchmarkCompose(b *testing.B) {
	credentials := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secretsecret"}
	s, err := New(Config{
		Endpoint:    "http://127.0.0.1:9000",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials, nil }),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	req := &Request{Method: "PUT", Bucket: "bench", Key: []byte("data/some key-0000000000.bin"), Query: "tagging", Body: NewBody([]byte("<Tagging/>"))}
	x := new(exchange)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		x.target, x.path = appendTarget(x.target[:0], req, false)
		x.name, x.host = s.hostOf(x, req)
		x.sum, _ = s.bodySum(req)
		s.compose(x, req, &credentials, now)
	}
}

// TestComposeAllocatesNothing: tasks by the billion must not feed the garbage collector.
func TestComposeAllocatesNothing(t *testing.T) {
	credentials := aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s", SessionToken: "t"}
	s, err := New(Config{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials, nil })})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	req := &Request{Method: "PUT", Bucket: "b", Key: []byte("k é"), VersionID: []byte("v/1"), Query: "tagging", Body: NewBody([]byte("x"))}
	x := new(exchange)
	var res Result
	now := time.Now()
	allocs := testing.AllocsPerRun(100, func() {
		res.reset()
		if !res.check(req) {
			t.Fatal("refused")
		}
		x.target, x.path = appendTarget(x.target[:0], req, false)
		x.name, x.host = s.hostOf(x, req)
		x.sum, _ = s.bodySum(req)
		s.compose(x, req, &credentials, now)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per request", allocs)
	}
}
