package sigv4

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recorded reads the requests of real AWS clients: those to S3 here, those to
// the job API next door. (Those to Lambda follow other rules: the path encoded
// twice, no header with the payload's hash.)
func recorded(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{"testdata/*.http", "../testdata/wire/requests/*.http"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(name)] = data
		}
	}
	if len(files) != 75 {
		t.Fatalf("found %d recorded requests, want 75", len(files))
	}
	return files
}

func request(t *testing.T, raw []byte) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lookup(accessKey string) (Credentials, bool) {
	return Credentials{Secret: "secretsecret"}, accessKey == "AKIDEXAMPLE"
}

func timeOf(t *testing.T, r *http.Request) time.Time {
	t.Helper()
	at, err := time.Parse(timeFormat, r.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func TestRecordedRequests(t *testing.T) {
	t.Parallel()
	for name, raw := range recorded(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(t, raw)
			caller, err := Verify(r, "s3", timeOf(t, r), lookup)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if err := caller.CheckBody(body); err != nil {
				t.Error(err)
			}
			if err := caller.CheckBody(append(body, 'x')); codeOf(err) != SignatureDoesNotMatch {
				t.Errorf("tampered body: got %v, want %s", err, SignatureDoesNotMatch)
			}
			if caller.AccessKey != "AKIDEXAMPLE" || !strings.Contains(string(raw), "/"+caller.Region+"/s3/aws4_request") {
				t.Errorf("caller is %+v", caller)
			}
			if !caller.Signed("host") || caller.Signed("user-agent") {
				t.Errorf("signed headers %q", caller.signed)
			}
		})
	}
}

// TestEverySignedByteCounts flips what a signature covers, one thing at a time.
func TestEverySignedByteCounts(t *testing.T) {
	t.Parallel()
	for name, raw := range recorded(t) {
		original := request(t, raw)
		auth, err := parseAuthorization(original.Header.Get("Authorization"))
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, change func(*http.Request)) {
			t.Helper()
			r := request(t, raw)
			change(r)
			if _, err := Verify(r, "s3", timeOf(t, original), lookup); codeOf(err) != SignatureDoesNotMatch {
				t.Errorf("%s: %s changed: got %v, want %s", name, what, err, SignatureDoesNotMatch)
			}
		}
		check("method", func(r *http.Request) { r.Method = "PATCH" })
		check("path", func(r *http.Request) { r.RequestURI = "/x" + r.RequestURI })
		check("query", func(r *http.Request) {
			if strings.Contains(r.RequestURI, "?") {
				r.RequestURI += "&x=1"
			} else {
				r.RequestURI += "?x=1"
			}
		})
		for _, header := range auth.signed {
			check(header, func(r *http.Request) {
				switch header {
				case "host":
					r.Host += "x"
				case "content-length":
					r.ContentLength++
				case "x-amz-date":
					at := timeOf(t, r).Add(time.Second)
					r.Header.Set(header, at.Format(timeFormat))
				case "x-amz-content-sha256":
					r.Header.Set(header, strings.Repeat("0", 64))
				default:
					r.Header.Set(header, r.Header.Get(header)+"x")
				}
			})
		}
	}
}

func TestAbsoluteFormAndBasePath(t *testing.T) {
	t.Parallel()
	raw := recorded(t)["go-ListJobs.http"]
	r := request(t, bytes.Replace(raw, []byte("GET /v2"), []byte("GET http://127.0.0.1:18080/v2"), 1))
	if _, err := Verify(r, "s3", timeOf(t, r), lookup); err != nil {
		t.Errorf("absolute form: %v", err)
	}
	for uri, want := range map[string]string{
		"/":                       "/",
		"/a%2Fb/v?x=1":            "/a%2Fb/v",
		"http://h":                "/",
		"http://h?x=1":            "/",
		"http://h/p/jobs?u=a://b": "/p/jobs",
		"/p?u=http://h/q":         "/p",
	} {
		got, err := parseTarget(&http.Request{RequestURI: uri})
		if err != nil || got.path != want {
			t.Errorf("path of %q is %q, %v, want %q", uri, got.path, err, want)
		}
	}
}

func TestOrderOfQuery(t *testing.T) {
	t.Parallel()
	check := func(raw, want string) {
		t.Helper()
		target, err := parseTarget(&http.Request{RequestURI: "/?" + raw})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		writeQuery(&b, target.query)
		if b.String() != want {
			t.Errorf("%q is written %q, want %q", raw, b.String(), want)
		}
	}
	check("b=2&a=1", "a=1&b=2")
	check("a=2&a=1", "a=1&a=2")
	check("a", "a=")
	check("a=b=c", "a=b%3Dc")
	check("a-=1&a=2", "a=2&a-=1") // by name first: - stands before =
	check("a=%7E%20+%2f", "a=~%20%20%2F")
	check("a=%C3%A9", "a=%C3%A9")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	raw := recorded(t)["boto3-UpdateJobPriority.http"]
	signedAt := timeOf(t, request(t, raw))
	check := func(name, want string, change func(*http.Request), offset time.Duration) {
		t.Helper()
		r := request(t, raw)
		if change != nil {
			change(r)
		}
		_, err := Verify(r, "s3", signedAt.Add(offset), lookup)
		if codeOf(err) != want {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%s: %v tells the secret", name, err)
		}
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	replace := func(name, from, to string) func(*http.Request) {
		return func(r *http.Request) {
			if !strings.Contains(r.Header.Get(name), from) {
				t.Errorf("%s has no %q", name, from)
			}
			r.Header.Set(name, strings.ReplaceAll(r.Header.Get(name), from, to))
		}
	}
	check("as recorded", "", nil, 0)
	check("15 minutes old", "", nil, MaxSkew)
	check("from 15 minutes ahead", "", nil, -MaxSkew)
	check("older", RequestTimeTooSkewed, nil, MaxSkew+time.Second)
	check("from further ahead", RequestTimeTooSkewed, nil, -MaxSkew-time.Second)

	check("unsigned", MissingAuthenticationToken, func(r *http.Request) { r.Header.Del("Authorization") }, 0)
	check("presigned", AccessDenied, func(r *http.Request) {
		r.Header.Del("Authorization")
		r.RequestURI += "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"
	}, 0)
	check("two authorizations", AuthorizationHeaderMalformed, func(r *http.Request) {
		r.Header.Add("Authorization", r.Header.Get("Authorization"))
	}, 0)
	check("version 2", InvalidRequest, header("Authorization", "AWS AKIDEXAMPLE:c2ln"), 0)
	check("other algorithm", InvalidRequest, replace("Authorization", "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), 0)
	check("wrong key", InvalidAccessKeyID, replace("Authorization", "AKIDEXAMPLE", "AKIDSTRANGER"), 0)
	check("other service", AuthorizationHeaderMalformed, replace("Authorization", "/s3/", "/iam/"), 0)
	check("other region", SignatureDoesNotMatch, replace("Authorization", "us-east-1", "us-east-2"), 0)
	check("scope of another day", SignatureDoesNotMatch, replace("Authorization", "/20261122/", "/20261121/"), 0)
	check("date not signed", AccessDenied, replace("Authorization", ";x-amz-date", ""), 0)
	check("host not signed", AccessDenied, replace("Authorization", "host;", ""), 0)
	check("no date", AccessDenied, func(r *http.Request) { r.Header.Del("X-Amz-Date") }, 0)
	check("bad date", AccessDenied, header("X-Amz-Date", "yesterday"), 0)
	check("no payload hash", InvalidRequest, func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, 0)
	check("streaming payload", InvalidRequest, header("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), 0)
	check("a session token the key has not", InvalidToken, header("X-Amz-Security-Token", "t"), 0)
	check("broken query", InvalidRequest, func(r *http.Request) { r.RequestURI += "&a=%zz" }, 0)
}

func TestSkewNamesBothTimes(t *testing.T) {
	t.Parallel()
	r := request(t, recorded(t)["go-ListJobs.http"])
	_, err := Verify(r, "s3", timeOf(t, r).Add(time.Hour), lookup)
	for _, want := range []string{"2026-11-22T03:36:21Z", "2026-11-22T04:36:21Z"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a message with %s", err, want)
		}
	}
}

func TestSessionToken(t *testing.T) {
	t.Parallel()
	raw := recorded(t)["go-ListJobs.http"]
	with := func(accessKey string) (Credentials, bool) {
		c, ok := lookup(accessKey)
		c.SessionToken = "token"
		return c, ok
	}
	for sent, want := range map[string]string{"": InvalidToken, "other": InvalidToken, "token": ""} {
		r := request(t, raw)
		if sent != "" {
			r.Header.Set("X-Amz-Security-Token", sent)
		}
		if _, err := Verify(r, "s3", timeOf(t, r), with); codeOf(err) != want {
			t.Errorf("token %q: got %v, want %q", sent, err, want)
		}
	}
}

func TestMalformedAuthorization(t *testing.T) {
	t.Parallel()
	const (
		credential = "Credential=A/20260101/r/s3/aws4_request"
		signed     = "SignedHeaders=host;x-amz-date"
	)
	signature := "Signature=" + strings.Repeat("0a", 32)
	check := func(header, want string) {
		t.Helper()
		if _, err := parseAuthorization(header); codeOf(err) != want {
			t.Errorf("%q: got %v, want %q", header, err, want)
		}
	}
	check(algorithm+" "+credential+", "+signed+", "+signature, "")
	check(algorithm+" "+signature+","+signed+","+credential, "")
	check(algorithm+" Credential=A/b/c/20260101/r/s3/aws4_request,"+signed+","+signature, "")
	for _, rest := range []string{
		"",
		credential,
		credential + "," + signed,
		credential + "," + credential + "," + signed + "," + signature,
		credential + "," + signed + "," + signature + ",More=1",
		credential + "," + signed + "," + signature + ",",
		"Credential=A/20260101/r/s3," + signed + "," + signature,
		"Credential=/20260101/r/s3/aws4_request," + signed + "," + signature,
		"Credential=A/2026-1-1/r/s3/aws4_request," + signed + "," + signature,
		"Credential=A/20260101//s3/aws4_request," + signed + "," + signature,
		"Credential=A/20260101/r:r/s3/aws4_request," + signed + "," + signature,
		credential + ",SignedHeaders=," + signature,
		credential + ",SignedHeaders=Host," + signature,
		credential + ",SignedHeaders=host;host," + signature,
		credential + ",SignedHeaders=x;host," + signature,
		credential + "," + signed + ",Signature=00",
		credential + "," + signed + ",Signature=" + strings.Repeat("0A", 32),
	} {
		check(algorithm+" "+rest, AuthorizationHeaderMalformed)
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64))
	f.Add("AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=")
	f.Add("AWS A:b")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := parseAuthorization(header)
		if err != nil {
			if codeOf(err) == "" {
				t.Errorf("error %v has no code", err)
			}
			return
		}
		again := algorithm + " Credential=" + a.accessKey + "/" + a.scope() +
			",SignedHeaders=" + strings.Join(a.signed, ";") + ",Signature=" + a.signature
		b, err := parseAuthorization(again)
		if err != nil {
			t.Fatalf("%q written again as %q: %v", header, again, err)
		}
		if b.accessKey != a.accessKey || b.scope() != a.scope() || b.signature != a.signature {
			t.Errorf("%q: got %+v, then %+v", header, a, b)
		}
	})
}
