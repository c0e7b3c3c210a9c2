package objectstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// An stsServer hands out the keys "ASIA1", "ASIA2", ... to who is or brings what it expects.
type stsServer struct {
	*httptest.Server

	mu       sync.Mutex
	requests []url.Values
	refuse   bool
}

func startSTS(t *testing.T) *stsServer {
	t.Helper()
	s := new(stsServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			t.Errorf("form: %v", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, form)
		action := form.Get("Action")
		signed := r.Header.Get("Authorization") != ""
		if s.refuse || action == "AssumeRole" != signed || signed && !signedBy(t, r, body, "USER", "user-secret") || !signed && form.Get("WebIdentityToken") != "the token" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not you.</Message></Error></ErrorResponse>`)
			return
		}
		n := len(s.requests)
		fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>ASIA%[2]d</AccessKeyId>`+
			`<SecretAccessKey>secret%[2]d</SecretAccessKey><SessionToken>token%[2]d</SessionToken><Expiration>%[3]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
			action, n, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *stsServer) setRefuse(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

func (s *stsServer) forms() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// signedBy has the SDK's signer sign r again.
func signedBy(t *testing.T, r *http.Request, body []byte, key, secret string) bool {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	_, names, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again := &http.Request{Method: r.Method, Host: r.Host, URL: r.URL, Header: make(http.Header), ContentLength: r.ContentLength}
	again.URL.Host = r.Host
	for name := range strings.SplitSeq(names, ";") {
		if values := r.Header.Values(name); len(values) > 0 && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, again, hex.EncodeToString(sum[:]), "sts", "eu-west-1", at); err != nil {
		t.Error(err)
	}
	return again.Header.Get("Authorization") == r.Header.Get("Authorization")
}

func TestAssumesARole(t *testing.T) {
	t.Parallel()
	server := startSTS(t)
	service := objectstore.STS{Endpoint: server.URL, Region: "eu-west-1"}
	role := objectstore.Role{ARN: "arn:aws:iam::123456789012:role/batch", SessionName: "job-1", ExternalID: "partner", Duration: 20 * time.Minute}
	credentials := objectstore.AssumeRole(service, role, objectstore.StaticCredentials("USER", "user-secret", ""))
	if n := len(server.forms()); n != 0 {
		t.Errorf("%d requests before anybody asked", n)
	}

	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "ASIA1", Secret: "secret1", SessionToken: "token1"})
	s3.Put("b", "k", "text")
	store := open(t, objectstore.Config{Endpoint: s3.URL(), Credentials: credentials, BackoffBase: time.Microsecond})
	for range 3 {
		if res := do(t, store, tag("k")); !res.OK() || res.Attempts != 1 {
			t.Fatalf("%+v", res)
		}
	}
	want := url.Values{
		"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {role.ARN}, "RoleSessionName": {"job-1"}, "ExternalId": {"partner"}, "DurationSeconds": {"1200"},
	}
	if got := server.forms(); len(got) != 1 || got[0].Encode() != want.Encode() {
		t.Errorf("requests %v", got)
	}

	// The store takes the keys for expired before we do: others are fetched, without a task failing.
	s3.Rotate("ASIA2", "secret2", "token2")
	if res := do(t, store, tag("k")); !res.OK() || len(server.forms()) != 2 {
		t.Errorf("%+v after %d requests", res, len(server.forms()))
	}
	if _, err := store.Head(t.Context(), objectstore.Object{Bucket: "b", Key: "k"}); err != nil {
		t.Errorf("head: %v", err)
	}

	// No others are to be had: the store has its say.
	server.setRefuse(true)
	s3.Rotate("ASIA3", "secret3", "token3")
	if res := do(t, store, tag("k")); res.OK() || res.Status == 0 {
		t.Errorf("%+v", res)
	}
}

func TestRolesThatAreRefused(t *testing.T) {
	t.Parallel()
	server := startSTS(t)
	service := objectstore.STS{Endpoint: server.URL, Region: "eu-west-1"}
	credentials := objectstore.AssumeRole(service, objectstore.Role{ARN: "arn:aws:iam::123456789012:role/batch"}, objectstore.StaticCredentials("USER", "wrong", ""))
	if _, err := credentials.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "Not you.") {
		t.Errorf("%v", err)
	}
	if got := server.forms()[0]; got.Get("RoleSessionName") != "stevedore" || got.Get("DurationSeconds") != "3600" || got.Has("ExternalId") {
		t.Errorf("defaults: %v", got)
	}
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	store := open(t, objectstore.Config{Endpoint: s3.URL(), Credentials: credentials, MaxAttempts: 2, BackoffBase: time.Microsecond})
	if res := do(t, store, tag("k")); res.OK() || res.Err == nil || !strings.Contains(res.Message, "get credentials") || s3.Count("") != 0 {
		t.Errorf("%+v, %d requests", res, s3.Count(""))
	}
}

func TestWebIdentity(t *testing.T) {
	t.Parallel()
	server := startSTS(t)
	file := filepath.Join(t.TempDir(), "token")
	credentials := objectstore.WebIdentity(objectstore.STS{Endpoint: server.URL}, objectstore.Role{ARN: "arn:aws:iam::123456789012:role/pod"}, file)
	if _, err := credentials.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("without a token: %v", err)
	}
	for _, token := range []string{"another", "the token"} { // the platform replaces it
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := credentials.Retrieve(t.Context())
		if ok := token == "the token"; ok != (err == nil) || ok && (!strings.HasPrefix(keys.AccessKeyID, "ASIA") || keys.SessionToken == "") {
			t.Errorf("%s: %+v, %v", token, keys, err)
		}
	}
	if got := server.forms()[0]; got.Get("RoleArn") != "arn:aws:iam::123456789012:role/pod" || got.Get("DurationSeconds") != "3600" {
		t.Errorf("%v", got)
	}
}

func TestFileCredentials(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+"~", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+"~", file); err != nil {
			t.Fatal(err)
		}
	}
	keys := objectstore.FileCredentials(file, "")
	if _, err := keys.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no file: %v", err)
	}
	write("[default]\naws_access_key_id = AKID\naws_secret_access_key = secret\n[other]\naws_access_key_id=OTHER\naws_secret_access_key=x\naws_session_token=token\n[none]\nregion=x\n")
	check := func(profile string, want aws.Credentials) {
		t.Helper()
		got, err := objectstore.FileCredentials(file, profile).Retrieve(context.Background())
		if got.AccessKeyID != want.AccessKeyID || got.SecretAccessKey != want.SecretAccessKey || got.SessionToken != want.SessionToken || (err == nil) != want.HasKeys() {
			t.Errorf("%s: %+v, %v", profile, got, err)
		}
	}
	check("", aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"})
	check("other", aws.Credentials{AccessKeyID: "OTHER", SecretAccessKey: "x", SessionToken: "token"})
	check("none", aws.Credentials{})
	check("missing", aws.Credentials{})

	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"})
	s3.Put("b", "k", "text")
	store := open(t, objectstore.Config{Endpoint: s3.URL(), Credentials: keys, BackoffBase: time.Microsecond})
	if res := do(t, store, tag("k")); !res.OK() {
		t.Errorf("%+v", res)
	}
	s3.Rotate("AKID2", "secret2", "")
	write("[default]\naws_access_key_id = AKID2\naws_secret_access_key = secret2\n")
	if res := do(t, store, tag("k")); !res.OK() {
		t.Errorf("rotated: %+v", res)
	}
}
