package objectstore

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound the requests of one job, or of all of one store. Zero means no bound.
type Limits struct {
	MaxConcurrency    int     // requests in flight
	RequestsPerSecond float64 // attempts started; a tenth of a second's worth may go at once
}

// A Limiter holds requests to Limits that may change at any time, for those that wait already, too. See [Access.Limited].
type Limiter struct {
	gate *gate
	pace pacer

	mu     sync.Mutex
	limits Limits
	gated  atomic.Bool // there is a bound of requests in flight
}

// NewLimiter returns a Limiter with these limits.
func NewLimiter(limits Limits) *Limiter {
	l := &Limiter{gate: newGate(math.MaxInt32)}
	l.Set(limits)
	return l
}

// Set changes the limits. Requests in flight are left alone.
func (l *Limiter) Set(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limits == l.limits {
		return
	}
	if limits.MaxConcurrency != l.limits.MaxConcurrency {
		most := limits.MaxConcurrency
		if most <= 0 {
			most = math.MaxInt32
		}
		l.gated.Store(limits.MaxConcurrency > 0)
		l.gate.resize(most)
	}
	if limits.RequestsPerSecond != l.limits.RequestsPerSecond {
		l.pace.set(limits.RequestsPerSecond)
	}
	l.limits = limits
}

// Limits are those that hold now.
func (l *Limiter) Limits() Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits
}

// A pacer spaces requests out. The zero value does not.
type pacer struct{ pace atomic.Pointer[pace] }

type pace struct {
	bucket *rate.Limiter
	over   chan struct{} // closed when there is another pace
}

func (p *pacer) set(perSecond float64) {
	var next *pace
	if perSecond > 0 {
		const burst = 10 // of them make a second
		next = &pace{rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/burst))), make(chan struct{})}
	}
	if old := p.pace.Swap(next); old != nil {
		close(old.over)
	}
}

// wait waits until the next request may start. It returns false if ctx ended or stopped was closed first.
func (p *pacer) wait(ctx context.Context, stopped <-chan struct{}) bool {
	for {
		now := p.pace.Load()
		if now == nil {
			return true
		}
		place := now.bucket.Reserve()
		delay := place.Delay()
		if delay == 0 {
			return true
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			return true
		case <-now.over:
			timer.Stop()
			continue
		case <-ctx.Done():
		case <-stopped:
		}
		timer.Stop()
		place.Cancel() // those behind need not wait for it
		return false
	}
}
