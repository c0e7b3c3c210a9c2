package objectstoretest

import (
	"net/http"
	"sync"
	"time"
)

// A Match says which requests a fault is for. All that is given must hold.
type Match struct {
	Op     string                // the S3 call, such as "PutObjectTagging"; empty: any
	Bucket string                // empty: any
	Key    func(key string) bool // nil: any
	Skip   int                   // the first Skip that match pass
	Every  int                   // of the rest only each Every-th; 0 and 1: all
	Times  int                   // at most so many are hit; 0: no limit
}

// Key matches one key.
func Key(key string) func(string) bool { return func(k string) bool { return k == key } }

// A Fault is a rule in force.
type Fault struct {
	server *Server
	match  Match
	action Action

	seen, hits int // guarded by server.mu
	removed    bool
}

// Fault sets a rule: requests that match suffer the action. Of several rules that hit, the oldest acts.
func (s *Server) Fault(m Match, a Action) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &Fault{server: s, match: m, action: a}
	s.faults = append(s.faults, f)
	return f
}

// Hits counts the requests that were hit.
func (f *Fault) Hits() int {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	return f.hits
}

// Remove ends the rule.
func (f *Fault) Remove() {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	f.removed = true
}

func (s *Server) pickLocked(r *Request) (Action, *Gate) {
	for _, f := range s.faults {
		if f.hitLocked(r) {
			return f.action, f.action.gate
		}
	}
	return Action{}, nil
}

func (f *Fault) hitLocked(r *Request) bool {
	m := &f.match
	switch {
	case f.removed,
		m.Times > 0 && f.hits >= m.Times,
		m.Op != "" && m.Op != r.Op,
		m.Bucket != "" && m.Bucket != r.Bucket,
		m.Key != nil && !m.Key(r.Key):
		return false
	}
	f.seen++
	if n := f.seen - m.Skip; n <= 0 || m.Every > 1 && n%m.Every != 0 {
		return false
	}
	f.hits++
	return true
}

// An Action is what befalls a request. The functions below make them.
type Action struct {
	gate    *Gate                  // passed first
	instead func(*Request) *answer // answers instead of the store: no effect
	after   func(*answer) *answer  // spoils the store's answer: the effect has taken place
	page    func(*page)            // spoils the page of a listing
	silent  bool                   // reset instead of any answer
	cuts    bool                   // reset after cut bytes of the body
	cut     int
	header  http.Header
}

// With adds a header to the answer, such as Retry-After.
func (a Action) With(name, value string) Action {
	a.header = a.header.Clone()
	if a.header == nil {
		a.header = make(http.Header)
	}
	a.header.Set(name, value)
	return a
}

// SlowDown answers 503 SlowDown without any effect.
func SlowDown() Action { return Status(503, "SlowDown") }

// Status answers with an S3 error without any effect. An empty code: no body either, as to HEAD or from a proxy.
func Status(status int, code string) Action {
	return Action{instead: func(*Request) *answer {
		if code == "" {
			return reply(status, "")
		}
		return refusal(status, code, "Injected "+code+".")
	}}
}

// Answer answers with any status and body without any effect.
func Answer(status int, body string) Action {
	return Action{instead: func(*Request) *answer { return reply(status, body) }}
}

// OKWithError answers 200 with an error in the body, as CopyObject may, without any effect.
func OKWithError(code string) Action {
	return Action{instead: func(*Request) *answer {
		return refusal(200, code, "Injected "+code+".")
	}}
}

// ResetBefore resets the connection without any effect.
func ResetBefore() Action {
	return Action{instead: func(*Request) *answer { return nil }, silent: true}
}

// ResetAfter resets the connection after the effect: the answer is lost.
func ResetAfter() Action { return Action{silent: true} }

// CutBody answers, but resets the connection after n bytes of the body.
func CutBody(n int) Action { return Action{cuts: true, cut: n} }

// TruncateXML answers after the effect with the first half of the document, as if it were all.
func TruncateXML() Action {
	return Action{after: func(a *answer) *answer {
		a.body = a.body[:len(a.body)/2]
		return a
	}}
}

// Garble answers with another ETag than the object's.
func Garble() Action { return Action{}.With("ETag", `"00000000000000000000000000000000"`) }

// Delay answers as always, but d later.
func Delay(d time.Duration) Action { return Action{gate: &Gate{delay: d}} }

// Block holds requests until the gate is opened, then answers as always.
func Block(g *Gate) Action { return Action{gate: g} }

// Then delays or blocks like a, and then does what b does.
func (a Action) Then(b Action) Action {
	b.gate = a.gate
	return b
}

// A Gate holds requests until it is opened. Make it with NewGate.
type Gate struct {
	delay   time.Duration
	arrived chan struct{}
	open    chan struct{}
	once    sync.Once
}

// NewGate returns a closed gate.
func NewGate() *Gate {
	return &Gate{arrived: make(chan struct{}, 1<<16), open: make(chan struct{})}
}

// Arrived gives one element per request that has come to the gate.
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Open lets all requests pass, also later ones.
func (g *Gate) Open() { g.once.Do(func() { close(g.open) }) }

// pass waits; false means that client or server have gone.
func (g *Gate) pass(r *http.Request, stop <-chan struct{}) bool {
	var elapsed <-chan time.Time
	if g.delay > 0 {
		timer := time.NewTimer(g.delay)
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case g.arrived <- struct{}{}:
	default: // nobody counts that far, or nobody counts at all
	}
	select {
	case <-elapsed:
	case <-g.open:
	case <-r.Context().Done():
		return false
	case <-stop:
		return false
	}
	return true
}
