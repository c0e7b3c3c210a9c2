package run

import (
	"sync"
	"sync/atomic"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
)

const (
	// windowRows is how many rows are read at once, more if an operation takes more
	// at once; windowsInFlight how many such windows may wait for their first row to
	// end. One slow task holds up at most their product.
	windowRows      = 512
	windowsInFlight = 16
)

// The ways a task stands.
const (
	pending   uint32 = iota // not ended
	ended                   // has its outcome
	unsettled               // was interrupted: no outcome
	unstarted               // was not attempted before the job ended: needs no outcome
)

// window is some consecutive rows on their way through the workers. Windows form
// a list in the order of the rows. The reader fills a window and publishes it;
// workers take its rows one by one; the committer takes the outcomes in order.
type window struct {
	published chan struct{} // closed by the reader once the fields below are set
	rows      *rowsAndOutcomes
	n         int64   // rows; 0 ends the list
	next      *window // the window after this one

	taken atomic.Int64 // rows handed to workers; may run past n
	left  atomic.Int64 // rows that are still pending
}

// rowsAndOutcomes is the memory of a window, used again for later ones.
type rowsAndOutcomes struct {
	batch    manifest.Batch
	outcomes []job.Outcome
	state    []atomic.Uint32
}

func newWindow() *window { return &window{published: make(chan struct{})} }

// publish hands the window to the workers; rows is nil at the end of the list.
func (w *window) publish(rows *rowsAndOutcomes) {
	if rows != nil {
		w.rows = rows
		w.n = int64(rows.batch.Len())
		w.left.Store(w.n)
		w.next = newWindow()
	}
	close(w.published)
}

// take hands out the next rows, at most limit of them, none if all are.
func (w *window) take(limit int64) (first, n int64) {
	first = w.taken.Add(limit) - limit
	return first, max(0, min(limit, w.n-first))
}

// settle notes how row i stands and reports whether it was the last to end.
func (w *window) settle(i int64, state uint32) bool {
	w.rows.state[i].Store(state)
	return w.left.Add(-1) == 0
}

// memory lends the memory of windows.
type memory struct {
	rows int64 // of a window
	pool sync.Pool
}

func (m *memory) get() *rowsAndOutcomes {
	if r, ok := m.pool.Get().(*rowsAndOutcomes); ok {
		return r
	}
	return &rowsAndOutcomes{outcomes: make([]job.Outcome, m.rows), state: make([]atomic.Uint32, m.rows)}
}

func (m *memory) put(r *rowsAndOutcomes) {
	for i := range r.batch.Len() {
		r.state[i].Store(pending)
		r.outcomes[i] = job.Outcome{}
	}
	m.pool.Put(r)
}
