// Package controlapi is the door: the S3 Control job API over HTTP, as every
// AWS client speaks it.
//
//	request -> route -> signature -> account -> XML -> job.Spec -> Jobs -> XML
//
// It knows the wire and nothing of the machinery behind Jobs. Any Host, any
// path before /v20180820 and targets in absolute form are fine, because the
// clients put the account before the host name or come as through a proxy; the
// door answers for its own paths only and forwards nothing.
package controlapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"stevedore/internal/controlapi/restxml"
	"stevedore/internal/controlapi/sigv4"
	"stevedore/internal/job"
)

// Jobs is what the door needs of the engine. Every method may be called
// concurrently; a job of another account or Region does not exist for it. Of
// the errors it tells apart those of package job; any other is answered with
// InternalServiceException and logged.
type Jobs interface {
	// Create makes the job, or finds the one that the same client token made:
	// job.ErrTokenReused if that was asked for differently.
	Create(ctx context.Context, account, region string, spec job.Spec) (id string, err error)
	// Job returns a job with its Tally at the current sums.
	Job(ctx context.Context, account, region, id string) (job.Job, error)
	// List returns up to limit jobs after a place in the list, the zero Cursor
	// being its start, and whether there are more. No statuses means all.
	List(ctx context.Context, account, region string, statuses []job.Status, after job.Cursor, limit int) ([]job.Summary, bool, error)
	// SetPriority changes the priority: job.ErrTerminal if the job has ended.
	SetPriority(ctx context.Context, account, region, id string, priority int32) (job.Job, error)
	// RequestStatus asks for Ready or Cancelled: *job.StatusError if the job cannot go there.
	RequestStatus(ctx context.Context, account, region, id string, want job.Status, reason string) (job.Job, error)
	// SetTags replaces all tags.
	SetTags(ctx context.Context, account, region, id string, tags []job.Tag) error
}

// Keys knows the access keys that may call.
type Keys interface {
	// Lookup may be called concurrently.
	Lookup(accessKey string) (Key, bool)
}

// Key is the secret half of an access key and whose it is.
type Key struct {
	Secret       string
	SessionToken string // empty for long-lived keys
	Account      string // twelve digits
}

// LogValue keeps the secrets out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue("key of " + k.Account) }

// Config is what New needs.
type Config struct {
	Jobs   Jobs
	Keys   Keys
	Logger *slog.Logger     // nil: no log
	Now    func() time.Time // nil: time.Now
}

// root is what the path of every call begins with, after any base path.
const root = "/v20180820"

// maxBody is the largest body in bytes; the largest legal one is about half.
const maxBody = 1 << 20

// New returns the handler of the eight calls. It answers every other path with
// 404 in the API's form.
func New(cfg Config) http.Handler {
	a := &api{jobs: cfg.Jobs, keys: cfg.Keys, log: cfg.Logger, now: cfg.Now}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	mux := http.NewServeMux()
	paths := map[string][]string{} // path pattern -> methods
	for _, c := range a.calls() {
		pattern := root + c.path
		paths[pattern] = append(paths[pattern], c.method)
		mux.Handle(c.method+" "+pattern, a.serve(c))
	}
	for pattern, methods := range paths {
		allow := strings.Join(methods, ", ")
		mux.Handle(pattern, a.serve(call{do: func(_ context.Context, x *exchange) (any, error) {
			x.header.Set("Allow", allow)
			return nil, &Error{Code: MethodNotAllowed, Message: "the method is not allowed for this path; it takes " + allow}
		}, open: true}))
	}
	lost := a.serve(call{do: func(context.Context, *exchange) (any, error) {
		return nil, &Error{Code: NoSuchKey, Message: "no such path; the job API is under " + root + "/jobs"}
	}, open: true})
	mux.Handle("/", lost)
	return atRoot(mux, lost)
}

// atRoot hands requests to mux without what their path has before root. Paths
// that mux would redirect, such as /v20180820//jobs, are lost: a redirected
// request would not carry a valid signature.
func atRoot(mux, lost http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := strings.LastIndex(r.URL.EscapedPath(), root+"/")
		if at < 0 {
			lost.ServeHTTP(w, r)
			return
		}
		escaped := r.URL.EscapedPath()[at:]
		plain, err := url.PathUnescape(escaped)
		if err != nil || path.Clean(plain) != plain {
			lost.ServeHTTP(w, r)
			return
		}
		inner := *r
		inner.URL = &url.URL{Path: plain, RawPath: escaped, RawQuery: r.URL.RawQuery}
		mux.ServeHTTP(w, &inner)
	})
}

type api struct {
	jobs Jobs
	keys Keys
	log  *slog.Logger
	now  func() time.Time
}

// A call is one of the eight.
type call struct {
	name         string // as the API names it
	method, path string
	invalid      string // code for parameters that are wrong
	writes       bool   // changes something
	open         bool   // answered without a signature
	do           func(context.Context, *exchange) (any, error)
}

// exchange is one request on its way to its answer.
type exchange struct {
	call    call
	header  http.Header // of the answer
	id      string      // JobId of the path
	query   url.Values
	body    []byte
	account string
	region  string

	accessKey string // for the log
	created   string // JobId that CreateJob answered, for the log
}

// serve makes a handler of a call: everything the calls have in common.
func (a *api) serve(c call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := a.now()
		requestID, hostID := newIDs()
		h := w.Header()
		h.Set("Server", "stevedore")
		h.Set("X-Amz-Request-Id", requestID)
		h.Set("X-Amz-Id-2", hostID)
		h.Set("Content-Type", "application/xml")
		x := &exchange{call: c, header: h}

		body, err := a.answer(w, r, x)
		status := http.StatusOK
		var fault *Error
		if err != nil {
			fault = faultOf(err, c)
			status = fault.status()
			body = fault.document(requestID, hostID)
			if status == http.StatusServiceUnavailable {
				h.Set("Retry-After", "1")
			}
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = w.Write(body) // the client may be gone
		}
		a.logCall(r, x, requestID, status, fault, a.now().Sub(start))
	}
}

// answer lets the call answer. A panic in it is an error of this request only.
func (a *api) answer(w http.ResponseWriter, r *http.Request, x *exchange) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
				panic(p)
			}
			body, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if !x.call.open {
		if err := a.admit(w, r, x); err != nil {
			return nil, err
		}
	}
	answer, err := x.call.do(r.Context(), x)
	if err != nil {
		return nil, err
	}
	return restxml.Marshal(x.call.name+"Result", answer), nil
}

// admit checks who calls and fills x from the request.
func (a *api) admit(w http.ResponseWriter, r *http.Request, x *exchange) error {
	var key Key
	caller, err := sigv4.Verify(r, "s3", a.now(), func(accessKey string) (sigv4.Credentials, bool) {
		var ok bool
		key, ok = a.keys.Lookup(accessKey)
		return sigv4.Credentials{Secret: key.Secret, SessionToken: key.SessionToken}, ok
	})
	if err != nil {
		return err
	}
	x.accessKey, x.region = caller.AccessKey, caller.Region
	x.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return x.invalidf("the request body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return x.invalidf("the request body could not be read to its end")
	}
	if err := caller.CheckBody(x.body); err != nil {
		return err
	}
	if x.account, err = accountOf(r, x, caller); err != nil {
		return err
	}
	if x.account != key.Account {
		return &Error{Code: sigv4.AccessDenied, Message: "the access key belongs to account " + key.Account + ", the request is for account " + x.account}
	}
	if x.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return x.invalidf("the query string is not well-formed")
	}
	x.id = r.PathValue("id")
	if x.id != "" && !legalID(x.id) {
		return &Error{Code: NotFound, Message: "JobId: no such job; a job id has 5 to 36 letters, digits, - or _"}
	}
	return nil
}

// accountOf reads the header every call must carry.
func accountOf(r *http.Request, x *exchange, caller *sigv4.Caller) (string, error) {
	sent := r.Header.Values("X-Amz-Account-Id")
	switch {
	case len(sent) == 0:
		return "", x.invalidf("x-amz-account-id: the header is required")
	case !caller.Signed("x-amz-account-id"):
		return "", &Error{Code: sigv4.AccessDenied, Message: "the header x-amz-account-id must be signed"}
	case len(sent) > 1 || len(sent[0]) != 12 || strings.Trim(sent[0], "0123456789") != "":
		return "", x.invalidf("x-amz-account-id: want one account id of 12 digits")
	}
	return sent[0], nil
}

// legalID reports whether s has the form of a JobId ([a-zA-Z0-9\-\_]+, 5-36).
func legalID(s string) bool {
	return len(s) >= 5 && len(s) <= 36 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// invalidf is the error of a call whose parameters are wrong.
func (x *exchange) invalidf(format string, args ...any) error {
	return &Error{Code: x.call.invalid, Message: fmt.Sprintf(format, args...)}
}

// logCall writes the one line every call gets: Info for what changes something,
// Error for what a human must look at. Nothing in it is secret.
func (a *api) logCall(r *http.Request, x *exchange, requestID string, status int, fault *Error, took time.Duration) {
	level := slog.LevelDebug
	if x.call.writes {
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{
		slog.String("request_id", requestID),
		slog.String("call", x.call.name),
		slog.String("method", r.Method),
		slog.Int("http_status", status),
		slog.Float64("duration_seconds", took.Seconds()),
		slog.String("remote", r.RemoteAddr),
	}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("account", x.account)
	add("region", x.region)
	add("access_key", x.accessKey)
	add("job_id", x.id+x.created)
	if fault != nil {
		add("code", fault.Code)
		add("reason", fault.Message)
		if status == http.StatusForbidden {
			level = slog.LevelInfo // whoever runs the server wants to know who was turned away
		}
		if fault.Err != nil {
			attrs = append(attrs, slog.Any("err", fault.Err))
			level = slog.LevelWarn
		}
		if fault.Code == InternalService {
			level = slog.LevelError
		}
	}
	a.log.LogAttrs(r.Context(), level, "api call", attrs...)
}

// newIDs makes x-amz-request-id, 16 hex digits, and x-amz-id-2.
func newIDs() (requestID, hostID string) {
	var b [8 + 32]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToUpper(hex.EncodeToString(b[:8])), base64.StdEncoding.EncodeToString(b[8:])
}
