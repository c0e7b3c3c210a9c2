package objectstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	readBuffer = 16 << 10         // also bounds the header of an answer
	idleFor    = 30 * time.Second // an unused connection is closed after this, twice this at most
)

// A conn is one connection, in the hands of one goroutine or idle in the pool.
type conn struct {
	net.Conn
	answers *bufio.Reader
	name    string // the host it leads to
	used    bool   // it has carried a request before, so the store may have closed it meanwhile
	broken  bool   // a request was not sent to its end
	since   time.Time
}

// expire gives what follows on c so much time, or less if ctx has. It fails only if c is closed, which the next use finds.
func (c *conn) expire(ctx context.Context, patience time.Duration) {
	deadline := time.Now().Add(patience)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	_ = c.SetDeadline(deadline)
}

// A pool keeps the connections of a store. It never holds a request up: admission bounds how many are in use, and no
// more than that are kept.
type pool struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	tls     *tls.Config // nil: plain TCP
	port    string
	timeout time.Duration
	keep    int

	mu     sync.Mutex
	idle   []*conn // the most recently used one last
	all    map[*conn]struct{}
	reaper *time.Timer // running while something is idle
	closed bool
}

func newPool(cfg Config, at endpoint) *pool {
	p := &pool{dial: cfg.Dial, port: at.port, timeout: cfg.AttemptTimeout, keep: cfg.MaxConcurrency, all: make(map[*conn]struct{})}
	if at.secure {
		p.tls = new(tls.Config)
		if cfg.TLS != nil {
			p.tls = cfg.TLS.Clone()
		}
		p.tls.NextProtos = []string{"http/1.1"}
		if p.tls.ClientSessionCache == nil {
			p.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
	}
	return p
}

// take returns an idle connection to the named host, or nil.
func (p *pool) take(name []byte) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range slices.Backward(p.idle) {
		if c.name == string(name) {
			p.idle = slices.Delete(p.idle, i, i+1)
			return c
		}
	}
	return nil
}

// open dials the named host.
func (p *pool) open(ctx context.Context, name string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	raw, err := p.dial(ctx, "tcp", net.JoinHostPort(name, p.port))
	if err != nil {
		return nil, err
	}
	if p.tls != nil {
		cfg := p.tls
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			cfg.ServerName = name
		}
		secure := tls.Client(raw, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		raw = secure
	}
	c := &conn{Conn: raw, answers: bufio.NewReaderSize(raw, readBuffer), name: name}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = raw.Close()
		return nil, ErrClosed
	}
	p.all[c] = struct{}{}
	return c, nil
}

// put gives back a connection that is between two requests.
func (p *pool) put(c *conn) {
	c.used, c.since = true, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if len(p.idle) >= p.keep { // only with more than one host
		p.dropLocked(p.idle[0])
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.idle = append(p.idle, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(idleFor, p.reap)
	}
}

// drop closes a connection that is not idle.
func (p *pool) drop(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(c)
}

func (p *pool) dropLocked(c *conn) {
	delete(p.all, c)
	_ = c.Close()
}

// reap closes what has not been used for a while, and comes back while there is more.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		old := now.Sub(c.since) >= idleFor
		if old {
			p.dropLocked(c)
		}
		return old
	})
	p.reaper = nil
	if len(p.idle) > 0 && !p.closed {
		p.reaper = time.AfterFunc(idleFor, p.reap)
	}
}

// close closes everything, also what is in use.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	for c := range p.all {
		p.dropLocked(c)
	}
	p.idle = nil
}
