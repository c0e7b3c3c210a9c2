package objectstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/valyala/fasthttp"
)

// maxAnswer bounds the body of an answer to Do, unless the request does. Only errors and short documents come this way.
const maxAnswer = 1 << 20

// fat is the body of an answer that is handed on rather than copied.
const fat = 64 << 10

// Do sends req until it succeeds, fails for good or has used up its attempts, and tells of it in res. It waits for its
// turn first, and gives up its place while it backs off.
//
// When ctx ends, Do returns at once if it waits or dials. An attempt on the wire is not torn apart, for its effect would
// be unknown: it ends by itself, at the latest after Config.AttemptTimeout or at the deadline of ctx. If it has a final
// answer then, that is the result; otherwise there is none, see [Result.Interrupted]. [Store.Close] does not wait.
//
// A request may take effect more than once: an answer can get lost on the way. A connection that the store closed while
// it was idle costs no attempt.
func (s *Store) Do(ctx context.Context, req *Request, res *Result) { s.do(ctx, req, res, nil) }

// do is Do within limits, if there are any.
func (s *Store) do(ctx context.Context, req *Request, res *Result, limits *Limiter) {
	x := s.scratch.Get().(*exchange) //nolint:errcheck // nothing else is put in
	defer s.release(x)
	s.persist(ctx, x, req, res, limits)
}

// persist makes the attempts of req. If one leaves the body of its answer unread, it keeps its place: see [Store.download].
func (s *Store) persist(ctx context.Context, x *exchange, req *Request, res *Result, limits *Limiter) {
	res.reset()
	if !res.check(req) {
		return
	}
	x.target, x.path = appendTarget(x.target[:0], req, s.endpoint.inHost(req.Bucket))
	x.name, x.host = s.hostOf(x, req)
	var err error
	if x.sum, err = s.bodySum(req); err != nil {
		res.unread(err)
		return
	}
	x.doubt = false
	var spent time.Duration // on attempts and between them; waiting for a turn is no fault of the store
	for {
		if err := s.admit(ctx, x, limits); err != nil {
			res.interrupt(err)
			return
		}
		res.Attempts++
		started := time.Now()
		next := s.attempt(ctx, x, req, res)
		if x.unread != nil {
			return
		}
		s.dismiss(x, limits, signOf(res.Status, res.Code))
		if next == final || res.interrupted || res.Attempts >= s.cfg.MaxAttempts {
			return
		}
		wait := max(s.backoff(res.Attempts), min(x.retryAfter, s.cfg.BackoffCap))
		if spent += time.Since(started) + wait; spent > s.cfg.MaxRetryTime {
			return
		}
		if err := s.pause(ctx, wait); err != nil {
			res.interrupt(err)
			return
		}
	}
}

// An exchange is the memory of one request: what to send, how to sign, what came back.
type exchange struct {
	target     []byte // path and query
	path       int    // how much of target is the path
	name       []byte // host to connect to
	host       string // host as sent and signed
	hostBuffer []byte
	sum        string // x-amz-content-sha256
	headers    []Header
	head       []byte
	sign       authorizer
	answer     fasthttp.Response
	retryAfter time.Duration
	doubt      bool  // it was sent, and no answer said that it had no effect
	turn       turn  // at the store's gate
	own        turn  // at that of the job's limits
	limited    bool  // own was used
	unread     *conn // it has a body that a stream is to read; nil: it has been read
}

// release keeps x for another request, unless this one has made it fat.
func (s *Store) release(x *exchange) {
	if cap(x.head)+cap(x.sign.canonical)+len(x.answer.Body()) > 128<<10 {
		return
	}
	clear(x.headers)
	s.scratch.Put(x)
}

// hostOf is where req goes to. Path style needs no memory; a bucket in the host costs a string.
func (s *Store) hostOf(x *exchange, req *Request) (name []byte, host string) {
	x.hostBuffer = x.hostBuffer[:0]
	if s.endpoint.inHost(req.Bucket) {
		x.hostBuffer = append(append(x.hostBuffer, req.Bucket...), '.')
		host = req.Bucket + "." + s.endpoint.host
	} else {
		host = s.endpoint.host
	}
	x.hostBuffer = append(x.hostBuffer, s.endpoint.name...)
	return x.hostBuffer, host
}

// admit waits until the next attempt may start: within the limits of its job, then at the store's own pace, then among
// the requests that the store has in flight. Whoever waits here holds nothing of the store.
func (s *Store) admit(ctx context.Context, x *exchange, limits *Limiter) error {
	if err := s.ended(ctx); err != nil {
		return err
	}
	closed := s.closed.Done()
	x.limited = limits != nil && limits.gated.Load()
	if x.limited && !limits.gate.enter(ctx, closed, &x.own) {
		return s.ended(ctx)
	}
	if limits != nil && !limits.pace.wait(ctx, closed) || !s.pace.wait(ctx, closed) || !s.gate.enter(ctx, closed, &x.turn) {
		if x.limited {
			limits.gate.leave(&x.own, silent)
		}
		return s.ended(ctx)
	}
	return nil
}

// dismiss ends what admit began.
func (s *Store) dismiss(x *exchange, limits *Limiter, end sign) {
	s.gate.leave(&x.turn, end)
	if x.limited {
		limits.gate.leave(&x.own, silent)
	}
}

// ended is why no further attempt may start, if so.
func (s *Store) ended(ctx context.Context) error {
	if s.closed.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		return context.DeadlineExceeded // ctx is about to notice; a connection with the same deadline may be quicker
	}
	return nil
}

// backoff is the wait after the nth attempt: exponential, with full jitter, so that requests that failed together do
// not come back together.
func (s *Store) backoff(n int) time.Duration {
	limit := s.cfg.BackoffCap
	if shift := min(n-1, 30); s.cfg.BackoffBase < limit>>shift {
		limit = s.cfg.BackoffBase << shift
	}
	return time.Duration(rand.Int64N(int64(limit) + 1))
}

func (s *Store) pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	case <-s.closed.Done():
	}
	return s.ended(ctx)
}

// interrupt ends r without an outcome.
func (r *Result) interrupt(err error) { r.Err, r.interrupted = err, true }

// lost ends an attempt that got no answer.
func (r *Result) lost(err error) {
	r.Status, r.RequestID, r.Body, r.Header = 0, "", r.Body[:0], r.Header[:0]
	r.Code, r.Err = "ConnectionError", err
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		r.Code = "RequestTimeout"
	}
	r.Message = clip(err.Error())
}

// attempt sends req once and judges the answer.
func (s *Store) attempt(ctx context.Context, x *exchange, req *Request, res *Result) verdict {
	x.retryAfter = 0
	credentials, err := s.credentials.Retrieve(ctx)
	if err == nil {
		s.compose(x, req, &credentials, time.Now())
		err = s.exchange(ctx, x, req)
	} else {
		err = fmt.Errorf("get credentials: %w", err)
	}
	if bad, ok := errors.AsType[*bodyError](err); ok {
		res.unread(bad.err)
		return final
	}
	if err != nil {
		res.lost(err)
		if ended := s.ended(ctx); ended != nil {
			res.interrupt(ended)
		}
		if errors.Is(err, fasthttp.ErrBodyTooLarge) || req.NotSlower && x.doubt && res.Code == "RequestTimeout" {
			return final
		}
		return again
	}
	res.read(&x.answer, req.ErrorIn200)
	if req.accept != nil && res.OK() {
		res.accept(req.accept)
	}
	res.Doubt = x.doubt
	if req.KeepHeader {
		res.keep(&x.answer.Header)
	}
	next := judge(res.Status, res.Code)
	switch {
	case next == again:
		x.doubt = x.doubt || res.Status >= 500 && res.Status != http.StatusServiceUnavailable
		x.retryAfter = retryAfter(x.answer.Header.Peek("Retry-After"), time.Now())
	case next == refresh && !s.renew(ctx, &credentials):
		next = final
	}
	return next
}

// renew has the credentials fetched again and reports whether there are others now.
func (s *Store) renew(ctx context.Context, refused *aws.Credentials) bool {
	now, err := s.credentials.Retrieve(ctx)
	if err == nil && sameKeys(&now, refused) { // nobody else has renewed them yet
		s.credentials.Invalidate()
		now, err = s.credentials.Retrieve(ctx)
	}
	return err != nil || !sameKeys(&now, refused)
}

func sameKeys(a, b *aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// compose writes and signs the bytes of one attempt.
func (s *Store) compose(x *exchange, req *Request, credentials *aws.Credentials, now time.Time) {
	date := s.signer.stampOf(now)
	key := s.signer.keyFor(credentials, date[:8])
	x.gather(req, x.host, date, credentials.SessionToken)

	b := append(x.head[:0], req.Method...)
	b = append(b, ' ')
	b = append(b, x.target...)
	b = append(b, " HTTP/1.1\r\n"...)
	bodySum := ""
	for i := range x.headers {
		h := &x.headers[i]
		b = append(b, h.Name...)
		b = append(b, ": "...)
		b = append(b, h.Value...)
		b = append(b, "\r\n"...)
		if h.Name == "x-amz-content-sha256" {
			bodySum = h.Value
		}
	}
	b = append(b, "user-agent: stevedore\r\nauthorization: "...)
	b = x.sign.append(b, key, req.Method, x.target, x.path, x.headers, date, bodySum)
	size := req.Body.size()
	if size > 0 || req.Method != "GET" && req.Method != "HEAD" {
		b = append(b, "\r\ncontent-length: "...)
		b = strconv.AppendInt(b, size, 10)
	}
	b = append(b, "\r\n\r\n"...)
	if !req.Body.streams() {
		b = append(b, req.Body.Bytes...)
	}
	x.head = b
}

// exchange sends what was composed and reads the answer. If an idle connection turns out to be dead, a fresh one gets
// the same bytes: closing idle connections is a server's good right.
func (s *Store) exchange(ctx context.Context, x *exchange, req *Request) error {
	c := s.conns.take(x.name)
	if c != nil {
		stale, err := s.roundTrip(ctx, c, x, req)
		if !stale {
			return err
		}
	}
	c, err := s.conns.open(ctx, string(x.name))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_, err = s.roundTrip(ctx, c, x, req)
	return err
}

// roundTrip has c carry one request. stale means that c had been closed before the store could see any of it.
func (s *Store) roundTrip(ctx context.Context, c *conn, x *exchange, req *Request) (stale bool, err error) {
	c.expire(ctx, cmp.Or(req.Timeout, s.cfg.AttemptTimeout))
	_, err = c.Write(x.head)
	if err == nil && req.Body.streams() {
		err = s.sendBody(ctx, c, req)
	}
	if err == nil {
		_, err = c.answers.Peek(1)
	}
	if err != nil {
		x.doubt = true
		s.conns.drop(c)
		if errors.Is(err, io.EOF) {
			err = errors.New("connection closed without an answer")
		}
		_, ours := errors.AsType[*bodyError](err)
		ours = ours || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errGivenUp) || s.closed.Err() != nil
		return c.used && !ours, fmt.Errorf("send request: %w", err)
	}
	x.answer.Reset()
	x.answer.Header.SetNoDefaultContentType(true)
	x.answer.SkipBody = req.Method == "HEAD"
	if req.stream {
		err = x.readHead(c)
	} else {
		err = x.answer.ReadLimitBody(c.answers, cmp.Or(req.maxAnswer, maxAnswer))
	}
	if err != nil {
		x.doubt = true
		s.conns.drop(c)
		return false, fmt.Errorf("read answer: %w", err)
	}
	if x.unread != nil {
		return false, nil
	}
	if x.answer.ConnectionClose() || c.broken || c.answers.Buffered() > 0 { // more than was asked for: it would answer the next request
		s.conns.drop(c)
	} else {
		s.conns.put(c)
	}
	return false, nil
}

// accept has the answer read, and turns a success that makes no sense into a failure of the store, worth another try.
func (r *Result) accept(read func(body []byte) error) {
	if err := read(r.Body); err != nil {
		r.Status, r.Code, r.Message, r.Err = http.StatusInternalServerError, "InternalError", clip(err.Error()), err
	}
}

// read takes the result from an answer.
func (r *Result) read(a *fasthttp.Response, errorIn200 bool) {
	r.Status, r.Code, r.Message, r.RequestID, r.Err = a.StatusCode(), "", "", "", nil
	if len(a.Body()) > fat {
		r.Body = a.SwapBody(r.Body[:0])
	} else {
		r.Body = append(r.Body[:0], a.Body()...)
	}
	if r.Status >= 200 && r.Status < 300 {
		if !errorIn200 {
			return
		}
		switch rootOf(r.Body) {
		case "Error", "ErrorResponse":
		case "":
			r.Status, r.Code, r.Message = 500, "InternalError", "The answer of the store was cut short."
			r.RequestID = clip(string(a.Header.Peek("x-amz-request-id")))
			return
		default:
			return
		}
	}
	e := parseError(r.Body)
	r.Code, r.Message, r.RequestID = e.code, e.message, e.requestID
	if id := a.Header.Peek("x-amz-request-id"); len(id) > 0 {
		r.RequestID = clip(string(bytes.TrimSpace(id)))
	}
	if r.Status < 300 {
		r.Status = naturalStatus(e.code)
	}
	if r.Code == "" {
		r.Code = codeOf(r.Status)
	}
	if r.Message == "" {
		r.Message = fasthttp.StatusMessage(r.Status)
	}
}
