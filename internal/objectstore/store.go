// Package objectstore speaks to one S3-compatible store: the thin signed client that every request goes through, and
// the calls made of it that manifests, reports and operations need.
//
//	task ─▶ Do ─▶ admission ─▶ attempt: sign, send, judge ─▶ Result
//	                  ▲              │ worth another try
//	                  └── back off ◀─┘
//
//	listing, manifest, report ─▶ ListPage, Open, Put, ... ─▶ the same way
//
// [Store.Do] is the hot path. It writes the request bytes itself, so that a key goes out exactly as it is signed, and
// allocates next to nothing. What is worth another attempt is decided here and only here, from the code of the answer;
// what an answer means for a task is for the operation to say.
package objectstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// ErrClosed ends every call on a Store that was closed.
var ErrClosed = errors.New("object store is closed")

// Config says where a store is, who asks, and how hard it may be pressed. The zero value of every field but Credentials
// is usable.
type Config struct {
	// Endpoint is the URL of the store, such as "http://127.0.0.1:9000": a scheme, a host, nothing after it.
	// Empty means AWS's own endpoint for Region.
	Endpoint string
	// Region is part of every signature. Default us-east-1.
	Region string
	// Credentials sign the requests. They may rotate at any time: they are asked for before every attempt, cached until
	// they expire, and asked for again when the store calls them expired. Required.
	Credentials aws.CredentialsProvider
	// VirtualHost puts the bucket into the host name. A bucket that cannot stand there, and any bucket of an endpoint that
	// is an IP address, is still put into the path. Default: path style.
	VirtualHost bool
	// MaxConcurrency bounds the requests of Do in flight, and so the connections kept. While the store asks to slow down,
	// fewer are allowed, see [Store.Stats]. Default 64.
	MaxConcurrency int
	// RequestsPerSecond bounds the attempts of Do that start in a second. Default: no bound.
	RequestsPerSecond float64
	// AttemptTimeout bounds one attempt of Do from dialling to the last byte; where large bodies go either way it bounds the
	// time without any progress. Default 30 s.
	AttemptTimeout time.Duration
	// MaxAttempts bounds the attempts of one request. Default 5.
	MaxAttempts int
	// MaxRetryTime bounds the time that one request spends on attempts and on backing off between them; waiting for its turn
	// does not count. Default 5 minutes.
	MaxRetryTime time.Duration
	// BackoffBase and BackoffCap shape the wait before attempt n+1: anything between nothing and BackoffBase*2^(n-1), at
	// most BackoffCap. A longer Retry-After of the store is honoured up to BackoffCap. Default 100 ms and 20 s.
	BackoffBase, BackoffCap time.Duration
	// TLS is for https endpoints. Nil means the system's roots.
	TLS *tls.Config
	// Dial opens connections. Nil means a [net.Dialer]. No proxy is ever used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// withDefaults fills in what was left empty and reports every problem at once.
func (c Config) withDefaults() (Config, error) {
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.Endpoint = cmp.Or(c.Endpoint, awsEndpoint(c.Region))
	c.MaxConcurrency = cmp.Or(c.MaxConcurrency, 64)
	c.AttemptTimeout = cmp.Or(c.AttemptTimeout, 30*time.Second)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 5)
	c.MaxRetryTime = cmp.Or(c.MaxRetryTime, 5*time.Minute)
	c.BackoffBase = cmp.Or(c.BackoffBase, 100*time.Millisecond)
	c.BackoffCap = cmp.Or(c.BackoffCap, 20*time.Second)
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	var problems []error
	if c.Credentials == nil {
		problems = append(problems, errors.New("credentials are missing"))
	}
	for name, n := range map[string]int64{
		"max concurrency": int64(c.MaxConcurrency), "max attempts": int64(c.MaxAttempts),
		"attempt timeout": int64(c.AttemptTimeout), "max retry time": int64(c.MaxRetryTime),
		"backoff base": int64(c.BackoffBase), "backoff cap": int64(c.BackoffCap),
	} {
		if n < 0 {
			problems = append(problems, fmt.Errorf("%s is negative", name))
		}
	}
	if c.RequestsPerSecond < 0 {
		problems = append(problems, errors.New("requests per second is negative"))
	}
	return c, errors.Join(problems...)
}

// awsEndpoint is where AWS serves S3 in a region.
func awsEndpoint(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "https://s3." + region + ".amazonaws.com.cn"
	}
	return "https://s3." + region + ".amazonaws.com"
}

// A Store is one S3-compatible store. It is safe for any number of goroutines.
type Store struct {
	cfg         Config
	endpoint    endpoint
	credentials *aws.CredentialsCache
	signer      signer
	conns       *pool
	gate        *gate
	pace        pacer
	scratch     sync.Pool       // of *exchange
	closed      context.Context //nolint:containedctx // the store's own life, not a call's: done once Close was called
	markClosed  context.CancelFunc
}

// New returns the store cfg describes. It connects to nothing yet.
func New(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	at, err := parseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	at.virtual = cfg.VirtualHost && net.ParseIP(at.name) == nil
	s := &Store{
		cfg:      cfg,
		endpoint: at,
		signer:   signer{region: cfg.Region},
		conns:    newPool(cfg, at),
		gate:     newGate(cfg.MaxConcurrency),
	}
	s.pace.set(cfg.RequestsPerSecond)
	s.scratch.New = func() any { return new(exchange) }
	cached, ok := cfg.Credentials.(*aws.CredentialsCache)
	if !ok {
		cached = aws.NewCredentialsCache(cfg.Credentials)
	}
	s.credentials = cached
	s.closed, s.markClosed = context.WithCancel(context.Background())
	return s, nil
}

// Close drops every connection. Requests in flight end at once with [ErrClosed], and so do all later ones. It may be
// called more than once.
func (s *Store) Close() {
	s.markClosed()
	s.conns.close()
}

// An endpoint is the parsed form of Config.Endpoint.
type endpoint struct {
	secure  bool
	name    string // host without port
	port    string // what to dial
	host    string // as the Host header and the signature have it: a default port is left out
	virtual bool
}

func parseEndpoint(raw string) (endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return endpoint{}, fmt.Errorf("endpoint: %w", err)
	}
	e := endpoint{secure: u.Scheme == "https", name: u.Hostname(), port: u.Port(), host: u.Host}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return endpoint{}, fmt.Errorf("endpoint %q: want http:// or https://", raw)
	case e.name == "":
		return endpoint{}, fmt.Errorf("endpoint %q: no host", raw)
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return endpoint{}, fmt.Errorf("endpoint %q: want nothing but scheme, host and port", u.Redacted())
	}
	standard := "80"
	if e.secure {
		standard = "443"
	}
	if e.port == "" || e.port == standard {
		e.port = standard
		e.host = strings.TrimSuffix(strings.TrimSuffix(u.Host, ":"), ":"+standard)
	}
	return e, nil
}

// url is the endpoint without anything that goes without saying.
func (e endpoint) url() string {
	if e.secure {
		return "https://" + e.host
	}
	return "http://" + e.host
}

// inHost reports whether bucket may stand in the host name: one DNS label, so that a wildcard certificate covers it.
func (e endpoint) inHost(bucket string) bool {
	if !e.virtual || len(bucket) < 3 || len(bucket) > 63 || bucket[0] == '-' || bucket[len(bucket)-1] == '-' {
		return false
	}
	for _, c := range []byte(bucket) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
