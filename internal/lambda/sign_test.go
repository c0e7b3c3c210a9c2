package lambda

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// TestRecordedSignatures signs what boto3 has sent, and must come to the same.
func TestRecordedSignatures(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/*.http")
	if err != nil || len(names) != 2 {
		t.Fatalf("got %q, %v, want two recorded requests", names, err)
	}
	for _, name := range names {
		recorded, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(recorded)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(sent.Body)
		if err != nil {
			t.Fatal(err)
		}
		api, err := newInvokeAPI(Function{Lambda: &Endpoint{
			Endpoint: "http://" + sent.Host, Region: "us-east-1", AccessKey: "AKIDEXAMPLE", SecretKey: "secretsecret",
		}}, newTransport(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		api.now = func() time.Time {
			at, err := time.Parse("20060102T150405Z", sent.Header.Get("X-Amz-Date"))
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		req, err := http.NewRequestWithContext(t.Context(), sent.Method, "http://"+sent.Host+sent.RequestURI, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := sent.Header.Get("Authorization")
		if strings.Contains(want, "x-amz-invocation-type") {
			req.Header.Set("X-Amz-Invocation-Type", sent.Header.Get("X-Amz-Invocation-Type"))
		}
		if err := api.sign(req, Call{Payload: body}); err != nil {
			t.Fatal(err)
		}
		if got := req.Header.Get("Authorization"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	check := func(text string, want Name, ok bool) {
		t.Helper()
		if got, is := ParseName(text); got != want || is != ok {
			t.Errorf("%q: got %+v, %t, want %+v, %t", text, got, is, want, ok)
		}
	}
	check("f", Name{Function: "f"}, true)
	check("f:PROD", Name{Function: "f", Qualifier: "PROD"}, true)
	check("function:f:$LATEST", Name{Function: "f", Qualifier: "$LATEST"}, true)
	check("123456789012:function:f", Name{Account: "123456789012", Function: "f"}, true)
	check("us-gov-west-1:123456789012:f", Name{Region: "us-gov-west-1", Account: "123456789012", Function: "f"}, true)
	check("arn:aws-cn:lambda:cn-north-1:123456789012:function:stevedore-head-object:7",
		Name{Partition: "aws-cn", Region: "cn-north-1", Account: "123456789012", Function: "stevedore-head-object", Qualifier: "7"}, true)
	check("", Name{}, false)
	check("a/b", Name{}, false)
	check("arn:aws:s3:::b", Name{}, false)
}

// TestTheRoleSigns for an endpoint that has no keys of its own.
func TestTheRoleSigns(t *testing.T) {
	t.Parallel()
	api, err := newInvokeAPI(Function{Lambda: &Endpoint{Endpoint: "http://127.0.0.1:1"}}, nil, Options{Credentials: credentials.NewStaticCredentialsProvider("DEFAULT", "s", "")})
	if err != nil {
		t.Fatal(err)
	}
	for id, role := range map[string]aws.CredentialsProvider{"DEFAULT": nil, "ROLE": credentials.NewStaticCredentialsProvider("ROLE", "s", "")} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:1/f", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := api.sign(req, Call{Credentials: role}); err != nil || !strings.Contains(req.Header.Get("Authorization"), " Credential="+id+"/") {
			t.Errorf("%s: got %s, %v", id, req.Header.Get("Authorization"), err)
		}
	}
}
