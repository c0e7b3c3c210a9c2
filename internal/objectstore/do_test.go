package objectstore_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// start starts a server with bucket "b" and a store that speaks to it and hardly ever waits.
func start(t testing.TB, server objectstoretest.Config, change func(*objectstore.Config)) (*objectstoretest.Server, *objectstore.Store) {
	t.Helper()
	server.AccessKey, server.Secret = "AKID", "secret"
	s3 := objectstoretest.Start(t, server)
	s3.CreateBucket("b")
	cfg := objectstore.Config{
		Endpoint: s3.URL(), Region: "eu-central-1", Credentials: s3.Credentials(), TLS: s3.ClientTLS(),
		BackoffBase: time.Microsecond, BackoffCap: time.Microsecond,
	}
	if change != nil {
		change(&cfg)
	}
	return s3, open(t, cfg)
}

func open(t testing.TB, cfg objectstore.Config) *objectstore.Store {
	t.Helper()
	store, err := objectstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

const tags = `<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>`

func tag(key string) *objectstore.Request {
	return &objectstore.Request{Method: "PUT", Bucket: "b", Key: []byte(key), Query: "tagging", Body: objectstore.NewBody([]byte(tags))}
}

func copyTo(key, from string) *objectstore.Request {
	return &objectstore.Request{
		Method: "PUT", Bucket: "b", Key: []byte(key), ErrorIn200: true,
		Headers: []objectstore.Header{{Name: "x-amz-copy-source", Value: objectstore.CopySource("b", []byte(from), nil)}},
	}
}

func do(t testing.TB, store *objectstore.Store, req *objectstore.Request) *objectstore.Result {
	t.Helper()
	res := new(objectstore.Result)
	store.Do(t.Context(), req, res)
	return res
}

func TestDoWorksOnOddKeys(t *testing.T) {
	t.Parallel()
	for _, server := range []objectstoretest.Config{{}, {CloseEach: true}, {TLS: true}, {SessionToken: "session/token+="}} {
		s3, store := start(t, server, nil)
		for _, key := range []string{
			"a", "a//b", "/lead", "trail/", "../x", "q/../z", ".", "..", "a%2Fb", "a b", "a+b", "é漢😀", "\x00\x01\x7f\xff", "a?b#c&d=e;f", "~!*'()",
			"//host/x", "http://elsewhere/x", strings.Repeat("é", 512),
		} {
			s3.Put("b", key, "body of "+key)
			if res := do(t, store, tag(key)); !res.OK() || res.Attempts != 1 {
				t.Errorf("tag %q: %+v", key, res)
			}
			if o, _ := s3.Object("b", key); !cmp.Equal(o.Tags, map[string]string{"k": "v"}) {
				t.Errorf("%q has tags %v", key, o.Tags)
			}
			if res := do(t, store, copyTo("copies/"+key, key)); !res.OK() || res.Status != 200 || !strings.Contains(string(res.Body), "ETag") {
				t.Errorf("copy %q: %+v", key, res)
			}
			if o, _ := s3.Object("b", "copies/"+key); string(o.Body) != "body of "+key {
				t.Errorf("copy of %q is %q", key, o.Body)
			}
			if res := do(t, store, &objectstore.Request{Method: "DELETE", Bucket: "b", Key: []byte(key), Query: "tagging"}); res.Status != 204 || !res.OK() {
				t.Errorf("untag %q: %+v", key, res)
			}
			if res := do(t, store, &objectstore.Request{Method: "HEAD", Bucket: "b", Key: []byte(key)}); !res.OK() || len(res.Body) != 0 {
				t.Errorf("head %q: %+v", key, res)
			}
		}
	}
}

func TestDoSendsTheVersion(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.SetVersioning("b", "Enabled")
	old := s3.Put("b", "k", "old").VersionID
	s3.Put("b", "k", "new")
	req := tag("k")
	req.VersionID = []byte(old)
	if res := do(t, store, req); !res.OK() {
		t.Fatalf("%+v", res)
	}
	if o, _ := s3.Version("b", "k", old); len(o.Tags) != 1 {
		t.Error("old version is not tagged")
	}
	if o, _ := s3.Object("b", "k"); len(o.Tags) != 0 {
		t.Error("current version is tagged")
	}
	req.VersionID = []byte("a/b+c&d=é")
	if res := do(t, store, req); res.Status != 404 || res.Code != "NoSuchVersion" {
		t.Errorf("%+v", res)
	}
	if got := s3.Requests("PutObjectTagging")[1].VersionID; got != "a/b+c&d=é" {
		t.Errorf("version arrived as %q", got)
	}
}

func TestDoInVirtualHostStyle(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret", Domain: "s3.test"})
	var names sync.Map
	store := open(t, objectstore.Config{
		Endpoint: "http://s3.test", VirtualHost: true, Credentials: s3.Credentials(),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			names.Store(address, true)
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(s3.URL(), "http://"))
		},
	})
	for _, bucket := range []string{"one", "two", "with.dots"} { // the last one cannot stand in a certificate's name
		for _, key := range []string{"k", "/lead", "//x"} {
			s3.Put(bucket, key, "x")
			req := tag(key)
			req.Bucket = bucket
			if res := do(t, store, req); !res.OK() {
				t.Errorf("%s %s: %+v", bucket, key, res)
			}
		}
	}
	for _, address := range []string{"one.s3.test:80", "two.s3.test:80", "s3.test:80"} {
		if _, ok := names.Load(address); !ok {
			t.Errorf("%s was not dialled", address)
		}
	}
	if got := s3.Requests()[0].Host; got != "one.s3.test" {
		t.Errorf("host %s", got)
	}
	if n := s3.Connections(); n != 3 {
		t.Errorf("%d connections, want one per host", n)
	}
}

// TestDoJudges: one fault of each class, and what a task gets to see of it.
func TestDoJudges(t *testing.T) {
	t.Parallel()
	type want struct {
		Status   int
		Code     string
		Attempts int
		Effect   bool // the object has the tags at the end
	}
	check := func(name string, m objectstoretest.Match, a objectstoretest.Action, w want) {
		t.Helper()
		s3, store := start(t, objectstoretest.Config{}, nil)
		s3.Put("b", "k", "x")
		s3.Put("b", "warm", "x")
		do(t, store, tag("warm")) // so that the fault meets a connection that was used before
		m.Key = objectstoretest.Key("k")
		s3.Fault(m, a)
		res := do(t, store, tag("k"))
		o, _ := s3.Object("b", "k")
		if diff := cmp.Diff(w, want{res.Status, res.Code, res.Attempts, len(o.Tags) == 1}); diff != "" {
			t.Errorf("%s (-want +got):\n%s%+v", name, diff, res)
		}
		if res.OK() != (w.Status == 200) || res.Interrupted() || (res.Err != nil) != (w.Status == 0) {
			t.Errorf("%s: %+v", name, res)
		}
	}
	once, twice, always := objectstoretest.Match{Times: 1}, objectstoretest.Match{Times: 2}, objectstoretest.Match{}
	check("none", objectstoretest.Match{Op: "None"}, objectstoretest.SlowDown(), want{200, "", 1, true})
	check("slow down twice", twice, objectstoretest.SlowDown(), want{200, "", 3, true})
	check("slow down for ever", always, objectstoretest.SlowDown(), want{503, "SlowDown", 5, false})
	check("internal error", once, objectstoretest.Status(500, "InternalError"), want{200, "", 2, true})
	check("bare 502 for ever", always, objectstoretest.Status(502, ""), want{502, "BadGateway", 5, false})
	check("bare 404", always, objectstoretest.Status(404, ""), want{404, "NotFound", 1, false})
	check("bare 403", always, objectstoretest.Status(403, ""), want{403, "Forbidden", 1, false})
	check("bare 503", once, objectstoretest.Status(503, ""), want{200, "", 2, true})
	check("429", once, objectstoretest.Status(429, "TooManyRequests"), want{200, "", 2, true})
	check("400 request timeout", once, objectstoretest.Status(400, "RequestTimeout"), want{200, "", 2, true})
	check("409 aborted", once, objectstoretest.Status(409, "OperationAborted"), want{200, "", 2, true})
	check("501", always, objectstoretest.Status(501, "NotImplemented"), want{501, "NotImplemented", 1, false})
	check("skewed", always, objectstoretest.Status(403, "RequestTimeTooSkewed"), want{403, "RequestTimeTooSkewed", 1, false})
	check("denied", always, objectstoretest.Status(403, "AccessDenied"), want{403, "AccessDenied", 1, false})
	check("redirect", always, objectstoretest.Status(301, "PermanentRedirect"), want{301, "PermanentRedirect", 1, false})
	check("expired for ever", always, objectstoretest.Status(400, "ExpiredToken"), want{400, "ExpiredToken", 1, false}) // no others to be had
	check("html", always, objectstoretest.Answer(504, "<html><Code>no</Code></html>"), want{504, "GatewayTimeout", 5, false})
	check("reset before", once, objectstoretest.ResetBefore(), want{200, "", 1, true}) // the connection counts as stale
	check("reset thrice", objectstoretest.Match{Times: 3}, objectstoretest.ResetBefore(), want{200, "", 3, true})
	check("reset after for ever", always, objectstoretest.ResetAfter(), want{0, "ConnectionError", 5, true})
	check("too large", always, objectstoretest.Answer(200, strings.Repeat("x", 1<<20+1)), want{0, "ConnectionError", 1, false})
}

func TestErrorsOfTheStoreArePassedOn(t *testing.T) {
	t.Parallel()
	_, store := start(t, objectstoretest.Config{}, nil)
	res := do(t, store, tag("missing"))
	got := *res
	got.Body = nil
	want := objectstore.Result{Status: 404, Code: "NoSuchKey", Message: "The specified key does not exist.", RequestID: "TESTREQUEST", Attempts: 1}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(objectstore.Result{})); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
	// The next use of the same Result starts afresh.
	store.Do(t.Context(), &objectstore.Request{Method: "HEAD", Bucket: "b", OnBucket: true}, res)
	if !res.OK() || res.Code != "" || res.Message != "" || res.RequestID != "" || len(res.Body) != 0 {
		t.Errorf("after success: %+v", res)
	}
	store.Do(t.Context(), tag(""), res)
	if res.OK() || res.Attempts != 0 || res.Code != "InvalidURI" {
		t.Errorf("empty key: %+v", res)
	}
}

func TestErrorIn200(t *testing.T) {
	t.Parallel()
	check := func(name string, times int, a objectstoretest.Action, status int, code string, attempts int) {
		t.Helper()
		s3, store := start(t, objectstoretest.Config{}, nil)
		s3.Put("b", "k", "x")
		s3.Fault(objectstoretest.Match{Op: "CopyObject", Times: times}, a)
		if res := do(t, store, copyTo("copy", "k")); res.Status != status || res.Code != code || res.Attempts != attempts || res.OK() != (status == 200) {
			t.Errorf("%s: %+v", name, res)
		}
	}
	check("internal error once", 1, objectstoretest.OKWithError("InternalError"), 200, "", 2)
	check("internal error for ever", 0, objectstoretest.OKWithError("InternalError"), 500, "InternalError", 5)
	check("slow down for ever", 0, objectstoretest.OKWithError("SlowDown"), 503, "SlowDown", 5)
	check("denied", 0, objectstoretest.OKWithError("AccessDenied"), 403, "AccessDenied", 1)
	check("unknown", 0, objectstoretest.OKWithError("Surprise"), 500, "Surprise", 5)
	check("no code", 0, objectstoretest.Answer(200, "<Error></Error>"), 500, "InternalError", 5)
	check("truncated once", 1, objectstoretest.TruncateXML(), 200, "", 2)
	check("empty for ever", 0, objectstoretest.Answer(200, ""), 500, "InternalError", 5)
	check("cut", 1, objectstoretest.CutBody(20), 200, "", 2)
}

// rotating hands out one key pair after the other, as often as it is asked.
type rotating struct {
	asked atomic.Int32
	keys  []aws.Credentials
}

func (r *rotating) Retrieve(context.Context) (aws.Credentials, error) {
	n := int(r.asked.Add(1)) - 1
	return r.keys[min(n, len(r.keys)-1)], nil
}

func TestExpiredCredentialsAreRenewed(t *testing.T) {
	t.Parallel()
	provider := &rotating{keys: []aws.Credentials{
		{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "one"},
		{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "two"},
	}}
	s3, store := start(t, objectstoretest.Config{SessionToken: "one"}, func(c *objectstore.Config) { c.Credentials = provider })
	s3.Put("b", "k", "x")
	if res := do(t, store, tag("k")); !res.OK() || res.Attempts != 1 {
		t.Fatalf("%+v", res)
	}
	s3.Rotate("AKID", "secret", "two")
	var wg sync.WaitGroup
	for range 16 { // all of them meet the expiry; not all of them fetch
		wg.Go(func() {
			if res := do(t, store, tag("k")); !res.OK() || res.Attempts > 2 {
				t.Errorf("%+v", res)
			}
		})
	}
	wg.Wait()
	if n := provider.asked.Load(); n > 4 {
		t.Errorf("credentials were fetched %d times", n)
	}
}

func TestCredentialsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	broken := errors.New("no role")
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) {
		c.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, broken })
	})
	res := do(t, store, tag("k"))
	if !errors.Is(res.Err, broken) || res.Status != 0 || res.Attempts != 5 || s3.Count("") != 0 {
		t.Errorf("%+v after %d requests", res, s3.Count(""))
	}
}

func TestStaleConnectionsCostNoAttempt(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Put("b", "k", "x")
	for range 5 {
		if res := do(t, store, tag("k")); !res.OK() || res.Attempts != 1 {
			t.Errorf("%+v", res)
		}
		s3.CloseConnections()
	}
	if n := s3.Connections(); n != 5 {
		t.Errorf("%d connections, want 5", n)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) { c.MaxConcurrency = 4 })
	s3.Put("b", "k", "x")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			var res objectstore.Result
			for range 20 {
				if store.Do(t.Context(), tag("k"), &res); !res.OK() {
					t.Errorf("%+v", res)
				}
			}
		})
	}
	wg.Wait()
	if n := s3.Connections(); n > 4 {
		t.Errorf("%d connections for 4 places", n)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	store := open(t, objectstore.Config{
		Endpoint: "http://" + address, Credentials: &rotating{keys: []aws.Credentials{{AccessKeyID: "a", SecretAccessKey: "s"}}},
		BackoffBase: 1, BackoffCap: 1, MaxAttempts: 3,
	})
	if res := do(t, store, tag("k")); res.Err == nil || res.Code != "ConnectionError" || res.Attempts != 3 || res.OK() || res.Message == "" {
		t.Errorf("%+v", res)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) { c.MaxConcurrency = 3 })
	s3.Put("b", "k", "x")
	gate := objectstoretest.NewGate()
	s3.Fault(objectstoretest.Match{Op: "PutObjectTagging"}, objectstoretest.Block(gate))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if res := do(t, store, tag("k")); !res.OK() {
				t.Errorf("%+v", res)
			}
		})
	}
	for range 3 {
		<-gate.Arrived()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	var res objectstore.Result
	store.Do(ctx, tag("k"), &res) // does not wait for a place
	if !res.Interrupted() || !errors.Is(res.Err, reason) || res.Attempts != 0 || res.OK() {
		t.Errorf("%+v", res)
	}
	select {
	case <-gate.Arrived():
		t.Error("a fourth request is in flight")
	default:
	}
	gate.Open()
	wg.Wait()
}

func TestBackingOffTakesNoPlace(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) {
		c.MaxConcurrency, c.BackoffCap, c.MaxRetryTime = 1, time.Hour, 2*time.Hour
	})
	s3.Put("b", "slow", "x")
	s3.Put("b", "quick", "x")
	gate := objectstoretest.NewGate()
	s3.Fault(objectstoretest.Match{Key: objectstoretest.Key("slow")}, objectstoretest.Block(gate).Then(objectstoretest.SlowDown().With("Retry-After", "3000")))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		var res objectstore.Result
		store.Do(ctx, tag("slow"), &res)
		if !res.Interrupted() || res.Attempts != 1 || res.Code != "SlowDown" {
			t.Errorf("slow: %+v", res)
		}
	})
	<-gate.Arrived()
	gate.Open()
	if res := do(t, store, tag("quick")); !res.OK() { // would wait for good if the place were taken
		t.Errorf("quick: %+v", res)
	}
	cancel()
	wg.Wait()
}

func TestAttemptsTimeOut(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) {
		c.AttemptTimeout, c.MaxAttempts = 50*time.Millisecond, 2
	})
	gate := objectstoretest.NewGate()
	s3.Fault(objectstoretest.Match{}, objectstoretest.Block(gate))
	if res := do(t, store, tag("k")); res.Code != "RequestTimeout" || res.Attempts != 2 || res.Err == nil || res.Interrupted() {
		t.Errorf("%+v", res)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var res objectstore.Result
	if store.Do(ctx, tag("k"), &res); !res.Interrupted() || !errors.Is(res.Err, context.DeadlineExceeded) {
		t.Errorf("deadline of the context: %+v", res)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	gate := objectstoretest.NewGate()
	s3.Fault(objectstoretest.Match{}, objectstoretest.Block(gate))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if res := do(t, store, tag("k")); !res.Interrupted() || !errors.Is(res.Err, objectstore.ErrClosed) {
				t.Errorf("in flight: %+v", res)
			}
		})
		wg.Go(func() {
			if _, err := store.Head(t.Context(), objectstore.Object{Bucket: "b", Key: "k"}); !errors.Is(err, objectstore.ErrClosed) {
				t.Errorf("HEAD in flight: %v", err)
			}
		})
	}
	for range 6 {
		<-gate.Arrived()
	}
	store.Close()
	wg.Wait()
	store.Close()
	if res := do(t, store, tag("k")); !res.Interrupted() || !errors.Is(res.Err, objectstore.ErrClosed) {
		t.Errorf("afterwards: %+v", res)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	credentials := &rotating{keys: []aws.Credentials{{}}}
	check := func(cfg objectstore.Config, want ...string) {
		t.Helper()
		store, err := objectstore.New(cfg)
		if len(want) == 0 {
			if err != nil {
				t.Errorf("%+v: %v", cfg, err)
				return
			}
			store.Close()
			return
		}
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%+v: got %v, want %q", cfg, err, text)
			}
		}
	}
	check(objectstore.Config{Credentials: credentials})
	check(objectstore.Config{Credentials: credentials, Endpoint: "http://[::1]:9000/"})
	check(objectstore.Config{}, "credentials are missing")
	check(objectstore.Config{MaxAttempts: -1, AttemptTimeout: -1}, "credentials are missing", "max attempts", "attempt timeout")
	for _, endpoint := range []string{"127.0.0.1:9000", "ftp://x", "http://", "http://h/path", "http://u:p@h", "http://h?q", "http://h\x7f"} {
		check(objectstore.Config{Credentials: credentials, Endpoint: endpoint}, "endpoint")
	}
	if _, err := objectstore.New(objectstore.Config{Credentials: credentials, Endpoint: "http://u:hunter2@h"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("password in %v", err)
	}
}
