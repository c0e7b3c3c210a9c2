package lambda_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"stevedore/internal/lambda"
)

// remote has handler be the function f of both kinds.
func remote(t *testing.T, f lambda.Function, handler http.HandlerFunc) (api, hook *lambda.Functions) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	a, h := f, f
	a.Lambda = &lambda.Endpoint{Endpoint: server.URL, Region: "us-east-1", AccessKey: "AKIDEXAMPLE", SecretKey: "secretsecret"}
	a.Headers, a.BearerToken = nil, ""
	h.URL = server.URL + "/hook?x=1"
	return functions(t, a, nil), functions(t, h, nil)
}

func TestRemoteRequests(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	api, hook := remote(t, lambda.Function{Headers: map[string]string{"X-Mine": "yes"}, BearerToken: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r
		_, _ = w.Write(append([]byte("got "), body...))
	})
	call := func(fs *lambda.Functions, name string) *http.Request {
		t.Helper()
		a, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: name, Payload: []byte("{}")})
		if err != nil || string(a.Payload) != "got {}" || a.Error != "" {
			t.Errorf("%s: got %s, %v", name, a.Payload, err)
		}
		return <-seen
	}
	r := call(api, "arn:aws:lambda:us-east-1:123456789012:function:f:1")
	if want := "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af%3A1/invocations"; r.RequestURI != want {
		t.Errorf("got %s, want %s", r.RequestURI, want)
	}
	if got := r.Header.Get("Authorization"); r.Method != "POST" || r.Header.Get("X-Amz-Invocation-Type") != "RequestResponse" ||
		!strings.HasPrefix(got, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") || !strings.Contains(got, "/us-east-1/lambda/aws4_request") {
		t.Errorf("got %s %v", r.Method, r.Header)
	}
	role := lambda.Call{Function: "f", Payload: []byte("{}"), Credentials: credentials.NewStaticCredentialsProvider("ROLE", "secret", "")}
	if _, err := api.Invoke(t.Context(), t.Context(), role); err != nil {
		t.Error(err)
	}
	if got := (<-seen).Header.Get("Authorization"); !strings.Contains(got, " Credential=AKIDEXAMPLE/") {
		t.Errorf("an endpoint with keys of its own: got %s", got)
	}
	if r = call(api, "f:$LATEST"); r.RequestURI != "/2015-03-31/functions/f%3A%24LATEST/invocations" {
		t.Errorf("got %s", r.RequestURI)
	}
	r = call(hook, "f")
	if r.RequestURI != "/hook?x=1" || r.Method != "POST" || r.Header.Get("X-Mine") != "yes" ||
		r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %s %v", r.Method, r.RequestURI, r.Header)
	}
}

func TestRemoteAnswers(t *testing.T) {
	t.Parallel()
	check := func(handler http.HandlerFunc, status int, code string, temporary bool) {
		t.Helper()
		api, hook := remote(t, lambda.Function{Timeout: 10 * time.Second}, handler)
		for _, fs := range []*lambda.Functions{api, hook} {
			_, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: "f"})
			if e, ok := errors.AsType[*lambda.Error](err); !ok || e.Status != status || e.Code != code || e.Temporary != temporary {
				t.Errorf("got %v, want %d %s, temporary %t", err, status, code, temporary)
			}
		}
	}
	answer := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if kind != "" {
				w.Header().Set("X-Amzn-Errortype", kind)
			}
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	check(answer(429, "TooManyRequestsException:http://internal/", `{"Reason":"x","Message":"Rate exceeded"}`), 429, "TooManyRequestsException", true)
	check(answer(500, "", `{"__type":"com.amazon#ServiceException","message":"x"}`), 500, "ServiceException", true)
	check(answer(502, "", "<html>"), 502, "BadGateway", true)
	check(answer(501, "", ""), 501, "NotImplemented", false)
	check(answer(404, "ResourceNotFoundException", `{"Message":"Function not found"}`), 404, "ResourceNotFoundException", false)
	check(answer(403, "", ""), 403, "Forbidden", false)
	check(answer(499, "", ""), 499, "Status499", false)
	check(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	}, 302, "Found", false)
	check(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 503, "ServiceUnavailable", true)

	api, hook := remote(t, lambda.Function{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		_, _ = io.WriteString(w, `{"errorMessage":"x"}`)
	})
	for _, fs := range []*lambda.Functions{api, hook} {
		if a := invoke(t, fs, "k"); a.Error != "Unhandled" || string(a.Payload) != `{"errorMessage":"x"}` {
			t.Errorf("got %+v", a)
		}
	}
	api, hook = remote(t, lambda.Function{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, lambda.MaxPayload+1))
	})
	for _, fs := range []*lambda.Functions{api, hook} {
		failed(t, invoke(t, fs, "k"), "Function.ResponseSizeTooLarge", "6291456")
	}
}

func TestRemoteTimeouts(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}
	api, hook := remote(t, lambda.Function{Timeout: 50 * time.Millisecond}, hang)
	_, err := api.Invoke(t.Context(), t.Context(), lambda.Call{Function: "f"})
	if e, ok := errors.AsType[*lambda.Error](err); !ok || e.Status != 504 || !e.Temporary {
		t.Errorf("got %v, want that the endpoint did not answer", err)
	}
	failed(t, invoke(t, hook, "k"), "Sandbox.Timedout", "Task timed out after 0.05 seconds")

	api, hook = remote(t, lambda.Function{}, hang)
	for _, fs := range []*lambda.Functions{api, hook} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("enough"))
		if _, err := fs.Invoke(t.Context(), ctx, lambda.Call{Function: "f"}); err == nil || err.Error() != "enough" {
			t.Errorf("got %v, want the end of the context", err)
		}
		cancel()
	}
}

func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	t.Cleanup(server.Close)
	fs, err := lambda.New(lambda.Config{
		"f":      {URL: server.URL + "/plain"},
		"f:PROD": {URL: server.URL + "/prod"},
		"arn:aws:lambda:us-east-1:111111111111:function:f": {URL: server.URL + "/exact"},
		"mine":    {URL: server.URL + "/mine", Accounts: []string{"123456789012"}},
		"renamed": {Lambda: &lambda.Endpoint{Endpoint: server.URL + "/base", AccessKey: "a", SecretKey: "s", Function: "other:7"}},
		"*":       {Lambda: &lambda.Endpoint{Endpoint: server.URL, AccessKey: "a", SecretKey: "s"}},
	}, lambda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fs.Close)
	check := func(name, want string) {
		t.Helper()
		if err := fs.Check(name, "123456789012"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: name, Account: "123456789012"})
		if err != nil || string(a.Payload) != want {
			t.Errorf("%s: got %s, %v, want %s", name, a.Payload, err, want)
		}
	}
	check("f", "/plain")
	check("function:f", "/plain")
	check("123456789012:function:f", "/plain")
	check("arn:aws:lambda:eu-west-1:123456789012:function:f:DEV", "/plain")
	check("f:PROD", "/prod")
	check("arn:aws:lambda:eu-west-1:123456789012:function:f:PROD", "/prod")
	check("arn:aws:lambda:us-east-1:111111111111:function:f", "/exact")
	check("arn:aws:lambda:us-east-1:111111111111:function:f:PROD", "/exact")
	check("mine", "/mine")
	check("renamed:9", "/base/2015-03-31/functions/other/invocations")
	check("whatever", "/2015-03-31/functions/whatever/invocations")

	refused := func(name, account, code string) {
		t.Helper()
		_, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: name, Account: account})
		e, ok := errors.AsType[*lambda.Error](err)
		if !ok || e.Code != code || e.Temporary || err.Error() != fs.Check(name, account).Error() {
			t.Errorf("%s: got %v, want %s", name, err, code)
		}
	}
	refused("mine", "999999999999", "AccessDeniedException")
	refused("http://127.0.0.1/", "123456789012", "InvalidParameterValueException")
	none, err := lambda.New(nil, lambda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(none.Close)
	if e, ok := errors.AsType[*lambda.Error](none.Check("f", "1")); !ok || e.Status != 404 {
		t.Errorf("got %v, want not found", e)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	program := bootstrap
	check := func(name string, f lambda.Function, want string) {
		t.Helper()
		err := lambda.Config{name: f}.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), name)) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	check("f", lambda.Function{Bootstrap: program}, "")
	check("f:PROD", lambda.Function{URL: "https://h/x"}, "")
	check("*", lambda.Function{Lambda: &lambda.Endpoint{}}, "")
	check("f", lambda.Function{}, "exactly one of")
	check("f", lambda.Function{Bootstrap: program, URL: "http://h"}, "exactly one of")
	check("*", lambda.Function{URL: "http://h"}, "lambda endpoint only")
	check("a b", lambda.Function{URL: "http://h"}, "neither the name nor the ARN")
	check("stevedore-x", lambda.Function{URL: "http://h"}, "built-in")
	check("f", lambda.Function{Bootstrap: "no/such/file"}, "no such file")
	check("f", lambda.Function{Bootstrap: "local.go"}, "not a program")
	check("f", lambda.Function{Bootstrap: program, Env: map[string]string{"a=b": ""}}, "env")
	check("f", lambda.Function{Bootstrap: program, BearerToken: "x"}, "go with url only")
	check("f", lambda.Function{URL: "http://h", MemoryMB: 1}, "go with bootstrap only")
	check("f", lambda.Function{URL: "ftp://h"}, "want http://")
	check("f", lambda.Function{URL: "http://u:p@h"}, "do not go into the URL")
	check("f", lambda.Function{URL: "http://h", Headers: map[string]string{"a": "b\nc"}}, "cannot be sent")
	check("f", lambda.Function{URL: "http://h", Headers: map[string]string{"host": "b"}}, "set by the client")
	check("f", lambda.Function{URL: "http://h", Concurrency: -1}, "concurrency")
	check("f", lambda.Function{URL: "http://h", Accounts: []string{"1"}}, "12-digit")
	check("f", lambda.Function{Lambda: &lambda.Endpoint{AccessKey: "a"}}, "together")
	check("f", lambda.Function{Lambda: &lambda.Endpoint{Endpoint: "x"}}, "lambda.endpoint")
	check("f", lambda.Function{Lambda: &lambda.Endpoint{Function: "/"}}, "lambda.function")
	if _, err := lambda.New(lambda.Config{"f": {Lambda: &lambda.Endpoint{}}}, lambda.Options{}); err == nil || !strings.Contains(err.Error(), "no credentials") {
		t.Errorf("got %v, want that there are no credentials", err)
	}
}
