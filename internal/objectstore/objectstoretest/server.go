// Package objectstoretest is an S3 in process, for the tests of everything that talks to an object store.
//
//	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "stevedore", Secret: "stevedore-secret"})
//	s3.Put("data", "a//b c", "hello")
//	s3.Fault(objectstoretest.Match{Op: "PutObjectTagging", Every: 7}, objectstoretest.SlowDown())
//	... run a job against s3.URL() ...
//	s3.Object("data", "a//b c").Tags   // what became of it
//	s3.Count("PutObjectTagging")       // what it took
//
// It is a double, not a store: enough of S3 to put, get (ranges, If-Match, versions), head, copy, tag, list and delete.
// Millions of keys that are only listed cost little, see [Server.Fill].
// Keys are any bytes and are kept byte for byte, which no real server here does. Signatures are checked with the AWS
// SDK's signer, so that ours is proven by another. Faults come by rule, see [Server.Fault].
package objectstoretest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Config shapes a Server. The zero value takes any request, signed or not.
type Config struct {
	// AccessKey and Secret are the one pair that is accepted; signatures over any region are. Empty: nothing is checked.
	AccessKey, Secret string
	// SessionToken must come with every request, if not empty.
	SessionToken string
	// Domain makes "<bucket>.<Domain>" in Host name a bucket. Empty: path style only.
	Domain string
	// PageSize bounds the keys of one page of a listing. Default 1000.
	PageSize int
	// RawKeys has listings ignore encoding-type, as some servers do: keys come as XML text, what XML cannot hold is lost.
	RawKeys bool
	// OddVersions lists versions as versitygw does: a page has the delete markers first; it begins with the very key that it
	// should begin after, or with the very version if that is the latest; and after an old null version there are only the
	// null versions of the keys that follow.
	OddVersions bool
	// Owner is the account whose buckets these are: who expects another is refused. Empty: anybody's.
	Owner string
	// CopyLimit is the most bytes that one CopyObject or UploadPartCopy may copy. 0: no limit.
	CopyLimit int
	// CloseEach closes the connection after every answer, as some servers do.
	CloseEach bool
	// TLS serves https; see [Server.ClientTLS].
	TLS bool
}

// A Request is one that arrived, as it arrived.
type Request struct {
	Op          string // the S3 call, such as "PutObjectTagging"; "Unknown" if it is none we know
	Method      string
	URI         string // raw, escaped as sent
	Host        string
	Bucket, Key string // decoded
	VersionID   string
	Header      http.Header
	Body        []byte
	Connection  string // the client's end: the same for requests on one connection
	Time        time.Time
}

// A Server is an S3 on a loopback port. All methods may be called at any time from any goroutine.
type Server struct {
	cfg  Config
	http *httptest.Server
	stop chan struct{} // closed first, so that nothing stays blocked

	mu          sync.Mutex
	buckets     map[string]*bucket
	faults      []*Fault
	requests    []Request
	connections int
	versions    int
	tokens      int    // spoilt pages so far
	accepted    Config // its credentials are those accepted now
}

// Start starts a Server that lives as long as the test.
func Start(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	if cfg.PageSize == 0 {
		cfg.PageSize = 1000
	}
	s := &Server{cfg: cfg, accepted: cfg, stop: make(chan struct{}), buckets: make(map[string]*bucket)}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.http.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			s.connections++
			s.mu.Unlock()
		}
	}
	if cfg.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	tb.Cleanup(func() {
		close(s.stop)
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// URL is the endpoint, such as "http://127.0.0.1:40001".
func (s *Server) URL() string { return s.http.URL }

// ClientTLS is a client's configuration that trusts this server. Nil without Config.TLS.
func (s *Server) ClientTLS() *tls.Config {
	if !s.cfg.TLS {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.http.Certificate())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// Credentials are those that the server was configured with.
func (s *Server) Credentials() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{
			AccessKeyID: cmp.Or(s.cfg.AccessKey, "anybody"), SecretAccessKey: cmp.Or(s.cfg.Secret, "anything"), SessionToken: s.cfg.SessionToken,
		}, nil
	})
}

// Rotate changes the credentials that are accepted: requests with another key or token fail with ExpiredToken.
func (s *Server) Rotate(accessKey, secret, sessionToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted.AccessKey, s.accepted.Secret, s.accepted.SessionToken = accessKey, secret, sessionToken
}

// CloseConnections cuts all connections, as a restart would.
func (s *Server) CloseConnections() { s.http.CloseClientConnections() }

// Requests returns what arrived, in order of arrival. With ops, only those calls.
func (s *Server) Requests(ops ...string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r Request) bool {
		return len(ops) > 0 && !slices.Contains(ops, r.Op)
	})
}

// Count counts the requests that arrived for a call, "" for any.
func (s *Server) Count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := range s.requests {
		if op == "" || s.requests[i].Op == op {
			n++
		}
	}
	return n
}

// Connections counts the connections opened so far.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// Forget drops the record of requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// maxBody bounds what the server takes in one request.
const maxBody = 256 << 20

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return // the client has gone
	}
	req, query, bad := s.parse(r, body)
	s.mu.Lock()
	s.requests = append(s.requests, req)
	action, gate := s.pickLocked(&req)
	s.mu.Unlock()

	if gate != nil && !gate.pass(r, s.stop) {
		abort(w)
		return
	}
	a := bad
	switch {
	case a != nil:
	case action.instead != nil:
		a = action.instead(&req)
	default:
		if a = s.authenticate(&req); a == nil {
			a = s.handle(&req, query, action.page)
		}
		if action.after != nil {
			a = action.after(a)
		}
	}
	s.send(w, r, a, action)
}

// parse makes a Request of r. bad is the answer if it is none.
func (s *Server) parse(r *http.Request, body []byte) (req Request, query url.Values, bad *answer) {
	req = Request{
		Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: r.Header.Clone(), Body: body,
		Connection: r.RemoteAddr, Time: time.Now(),
	}
	path, rawQuery, _ := strings.Cut(r.RequestURI, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return req, nil, refusal(400, "InvalidURI", "The query cannot be read.")
	}
	path = strings.TrimPrefix(path, "/")
	rawBucket, rawKey, _ := strings.Cut(path, "/")
	if host, _, _ := strings.Cut(r.Host, ":"); s.cfg.Domain != "" && strings.HasSuffix(host, "."+s.cfg.Domain) {
		rawBucket, rawKey = strings.TrimSuffix(host, "."+s.cfg.Domain), path
	}
	var err2 error
	req.Bucket, err = url.PathUnescape(rawBucket)
	req.Key, err2 = url.PathUnescape(rawKey)
	if err != nil || err2 != nil {
		return req, nil, refusal(400, "InvalidURI", "The path cannot be read.")
	}
	req.VersionID = query.Get("versionId")
	req.Op = opOf(&req, query)
	if sum := req.Header.Get("Content-Md5"); sum != "" {
		if got := md5.Sum(body); base64.StdEncoding.EncodeToString(got[:]) != sum {
			return req, nil, refusal(400, "BadDigest", "The Content-MD5 does not match the body.")
		}
	}
	return req, query, nil
}

// An answer is a response that has not been sent yet, so that a fault can still spoil it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func reply(status int, body string) *answer {
	a := &answer{status: status, header: make(http.Header), body: []byte(body)}
	if body != "" {
		a.header.Set("Content-Type", "application/xml")
	}
	return a
}

// refusal is an S3 error.
func refusal(status int, code, message string) *answer {
	return reply(status, xmlHeader+"<Error><Code>"+code+"</Code><Message>"+message+"</Message><RequestId>TESTREQUEST</RequestId></Error>")
}

func (s *Server) send(w http.ResponseWriter, r *http.Request, a *answer, action Action) {
	if action.silent {
		abort(w)
		return
	}
	maps.Copy(a.header, action.header)
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("X-Amz-Request-Id", "TESTREQUEST")
	if s.cfg.CloseEach {
		h.Set("Connection", "close")
	}
	if h.Get("Content-Length") == "" && a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return
	}
	if action.cuts && action.cut < len(a.body) {
		_, _ = w.Write(a.body[:action.cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = io.Copy(w, bytes.NewReader(a.body))
}

// abort tears the connection down without a word.
func abort(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, not an orderly end
	}
	_ = c.Close()
}
