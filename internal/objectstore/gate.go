package objectstore

import (
	"context"
	"net/http"
	"sync"
)

// A gate bounds how many requests are in flight, first come first served, and finds out how many the store can bear: it
// halves the bound when the store asks to slow down, and otherwise lets it creep up, by one each time that as many
// requests have come back well as are allowed at once. Requests that set out before the last cut say nothing about the
// bound of now: so a burst of refusals halves it once, not down to nothing.
type gate struct {
	mu      sync.Mutex
	most    int     // limit never exceeds it
	limit   float64 // requests that may be in flight, at least 1
	epoch   int     // cuts so far
	inUse   int
	waiting int
	first   *turn // in the queue
	last    *turn
	sums    sums
}

// sums count the ends of attempts.
type sums struct{ attempts, throttled int64 }

func newGate(most int) *gate { return &gate{most: most, limit: float64(most)} }

// A turn is a request's place at a gate. It belongs to one goroutine and is used again and again.
type turn struct {
	ready      chan struct{} // one element: it is your turn
	epoch      int           // of the gate when the request was let in
	prev, next *turn
	queued     bool
}

// A sign is what the end of an attempt says about the load of a store.
type sign int

const (
	silent    sign = iota // nothing: no answer, or a failure of another kind
	welcome               // it could bear that
	throttled             // it asks to slow down
)

// signOf reads an answer.
func signOf(status int, code string) sign {
	switch {
	case throttling(code), status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return throttled
	case status > 0 && status < 500:
		return welcome
	}
	return silent
}

// enter waits for t's turn. It returns false if done or stopped was closed first.
func (g *gate) enter(ctx context.Context, stopped <-chan struct{}, t *turn) bool {
	g.mu.Lock()
	if g.first == nil && g.inUse < int(g.limit) {
		g.inUse++
		t.epoch = g.epoch
		g.mu.Unlock()
		return true
	}
	if t.ready == nil {
		t.ready = make(chan struct{}, 1)
	}
	g.pushLocked(t)
	g.mu.Unlock()
	select {
	case <-t.ready:
		return true
	case <-ctx.Done():
	case <-stopped:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.queued {
		g.removeLocked(t)
	} else { // let in at the same moment
		<-t.ready
		g.inUse--
		g.admitLocked()
	}
	return false
}

// leave ends an attempt that enter let in.
func (g *gate) leave(t *turn, s sign) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sums.attempts++
	current := t.epoch == g.epoch
	switch {
	case s == throttled:
		g.sums.throttled++
		if current {
			g.limit = max(1, g.limit/2)
			g.epoch++
		}
	case s == welcome && current && g.inUse >= int(g.limit): // a bound that nobody reaches has not been tried
		g.limit = min(g.limit+1/g.limit, float64(g.most))
	}
	g.inUse--
	g.admitLocked()
}

// resize sets the most requests in flight, and allows so many.
func (g *gate) resize(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most, g.limit = most, float64(most)
	g.admitLocked()
}

func (g *gate) admitLocked() {
	for g.first != nil && g.inUse < int(g.limit) {
		t := g.first
		g.removeLocked(t)
		g.inUse++
		t.epoch = g.epoch
		t.ready <- struct{}{}
	}
}

func (g *gate) pushLocked(t *turn) {
	t.prev, t.next, t.queued = g.last, nil, true
	if g.last == nil {
		g.first = t
	} else {
		g.last.next = t
	}
	g.last = t
	g.waiting++
}

func (g *gate) removeLocked(t *turn) {
	if t.prev == nil {
		g.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		g.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.queued = nil, nil, false
	g.waiting--
}

// Stats is how a store is doing.
type Stats struct {
	Concurrency    int // requests that may be in flight now
	MaxConcurrency int // as configured
	InFlight       int
	Waiting        int   // for their turn
	Attempts       int64 // made so far
	Throttled      int64 // of them answered with SlowDown or its like
	Cuts           int64 // how often Concurrency was halved
}

// Stats reports on the requests of Do.
func (s *Store) Stats() Stats {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return Stats{
		Concurrency: int(g.limit), MaxConcurrency: g.most, InFlight: g.inUse, Waiting: g.waiting,
		Attempts: g.sums.attempts, Throttled: g.sums.throttled, Cuts: int64(g.epoch),
	}
}
