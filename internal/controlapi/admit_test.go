package controlapi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"stevedore/internal/controlapi"
)

// noon is the time of the standing clock in the tests that sign for themselves.
func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

const jobID = "00000000-0000-4000-8000-000000000001"

// A letter is a request about to be signed and sent.
type letter struct {
	method, target, body string
	header               map[string]string // besides x-amz-account-id; "" removes
	at                   time.Time         // zero: noon
	region, service      string            // empty: the usual ones
	secret, session      string
	payload              string // what is signed as the body's hash; empty: the true one
	after                func(*http.Request)
}

// post signs a letter with the AWS SDK's signer and sends it.
func post(t *testing.T, server *httptest.Server, l letter) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), l.method, server.URL+l.target, strings.NewReader(l.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Account-Id", account)
	for name, value := range l.header {
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
	sum := sha256.Sum256([]byte(l.body))
	payload := or(l.payload, hex.EncodeToString(sum[:]))
	r.Header.Set("X-Amz-Content-Sha256", payload)
	at := l.at
	if at.IsZero() {
		at = noon()
	}
	creds := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: or(l.secret, "secretsecret"), SessionToken: l.session}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(t.Context(), creds, r, payload, or(l.service, "s3"), or(l.region, region), at); err != nil {
		t.Fatal(err)
	}
	if l.after != nil {
		l.after(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// fault reads an answer in the wrapped form; the code is empty if it is no error.
func fault(t *testing.T, body string) (code, message, blame string) {
	t.Helper()
	var e struct {
		XMLName xml.Name
		Error   struct{ Type, Code, Message string }
	}
	if err := xml.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if (e.XMLName.Local == "ErrorResponse") != (e.Error.Code != "") {
		t.Errorf("not the wrapped form: %s", body)
	}
	return e.Error.Code, e.Error.Message, e.Error.Type
}

// expect posts a letter and compares status and code of the answer.
func expect(t *testing.T, server *httptest.Server, name string, l letter, status int, code string) (message string) {
	t.Helper()
	response, body := post(t, server, l)
	if l.method == http.MethodHead {
		if response.StatusCode != status {
			t.Errorf("%s: got %d, want %d", name, response.StatusCode, status)
		}
		return ""
	}
	got, message, blame := fault(t, body)
	if response.StatusCode != status || got != code {
		t.Errorf("%s: got %d %s (%s), want %d %s", name, response.StatusCode, got, message, status, code)
	}
	if wantBlame := map[bool]string{true: "Receiver", false: "Sender"}[status >= 500]; got != "" && (blame != wantBlame || message == "") {
		t.Errorf("%s: type %s, message %q, want type %s and a message", name, blame, message, wantBlame)
	}
	withoutIDs(t, response, []byte(body))
	return message
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	server, jobs := serve(t, noon(), nil)
	jobs.add(waiting(region, noon()))
	describe := letter{method: "GET", target: "/v20180820/jobs/" + jobID}
	check := func(name string, status int, code string, edit func(*letter)) string {
		t.Helper()
		l := describe
		edit(&l)
		return expect(t, server, name, l, status, code)
	}
	set := func(name, value string) func(*letter) {
		return func(l *letter) { l.after = func(r *http.Request) { r.Header.Set(name, value) } }
	}
	check("as it should be", 200, "", func(*letter) {})
	check("body not signed", 200, "", func(l *letter) { l.payload = "UNSIGNED-PAYLOAD" })
	check("almost too old", 200, "", func(l *letter) { l.at = noon().Add(-15 * time.Minute) })

	check("too old", 403, "RequestTimeTooSkewed", func(l *letter) { l.at = noon().Add(-16 * time.Minute) })
	message := check("too new", 403, "RequestTimeTooSkewed", func(l *letter) { l.at = noon().Add(16 * time.Minute) })
	if !strings.Contains(message, "12:00:00Z") || !strings.Contains(message, "12:16:00Z") {
		t.Errorf("%q does not name both times", message)
	}
	check("wrong secret", 403, "SignatureDoesNotMatch", func(l *letter) { l.secret = "guess" })
	check("unknown key", 403, "InvalidAccessKeyId", func(l *letter) {
		l.after = func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AKIDEXAMPLE", "AKIDSTRANGER", 1))
		}
	})
	message = check("account of others", 403, "AccessDenied", func(l *letter) { l.header = map[string]string{"X-Amz-Account-Id": "210987654321"} })
	if want := "the access key belongs to account 123456789012, the request is for account 210987654321"; message != want {
		t.Errorf("got %q, want %q", message, want)
	}
	check("account header changed", 403, "SignatureDoesNotMatch", set("X-Amz-Account-Id", "210987654321"))
	check("account header added after signing", 403, "AccessDenied", func(l *letter) {
		l.header = map[string]string{"X-Amz-Account-Id": ""}
		l.after = func(r *http.Request) { r.Header.Set("X-Amz-Account-Id", account) }
	})
	check("tampered query", 403, "SignatureDoesNotMatch", func(l *letter) {
		l.after = func(r *http.Request) { r.URL.RawQuery = "x=1" }
	})
	check("tampered path", 403, "SignatureDoesNotMatch", func(l *letter) {
		l.after = func(r *http.Request) { r.URL.Path += "2" }
	})
	check("tampered host", 403, "SignatureDoesNotMatch", func(l *letter) {
		l.after = func(r *http.Request) { r.Host = "elsewhere.example" }
	})
	check("tampered body", 403, "SignatureDoesNotMatch", func(l *letter) {
		l.method, l.target, l.body = "PUT", l.target+"/tagging", "<PutJobTaggingRequest><Tags/></PutJobTaggingRequest>"
		l.after = func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Replace(l.body, "/", " ", 1))) }
	})
	check("unsigned", 403, "MissingAuthenticationToken", func(l *letter) {
		l.after = func(r *http.Request) { r.Header.Del("Authorization") }
	})
	check("presigned", 403, "AccessDenied", func(l *letter) {
		l.after = func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=x&X-Amz-Signature=0"
		}
	})
	check("signed for another service", 400, "AuthorizationHeaderMalformed", func(l *letter) { l.service = "s3control" })
	check("session token", 400, "InvalidToken", func(l *letter) { l.session = "token" })
	check("no account", 400, "BadRequestException", func(l *letter) { l.header = map[string]string{"X-Amz-Account-Id": ""} })
	check("short account", 400, "BadRequestException", func(l *letter) { l.header = map[string]string{"X-Amz-Account-Id": "123"} })
	check("no account on ListJobs", 400, "InvalidRequestException", func(l *letter) {
		l.target, l.header = "/v20180820/jobs", map[string]string{"X-Amz-Account-Id": ""}
	})
	check("no account on GetJobTagging", 400, "InvalidRequest", func(l *letter) {
		l.target, l.header = l.target+"/tagging", map[string]string{"X-Amz-Account-Id": "123"}
	})
	if got := jobs.all()[0]; len(got.Tags) != 2 {
		t.Errorf("somebody without the right changed tags to %v", got.Tags)
	}
}

func TestSessionToken(t *testing.T) {
	t.Parallel()
	key := testKey()
	key.SessionToken = "token"
	server := httptest.NewServer(controlapi.New(controlapi.Config{Jobs: &memJobs{now: noon}, Keys: key, Now: noon}))
	t.Cleanup(server.Close)
	list := letter{method: "GET", target: "/v20180820/jobs", session: "token"}
	expect(t, server, "right token", list, 200, "")
	list.session = "other"
	expect(t, server, "wrong token", list, 400, "InvalidToken")
	list.session = ""
	expect(t, server, "no token", list, 400, "InvalidToken")
}
