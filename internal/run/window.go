package run

import (
	"sync"
	"sync/atomic"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
)

const (
	// windowRows is how many rows are read at once; windowsInFlight how many such
	// windows may wait for their first row to end. One slow task holds up at most
	// their product.
	windowRows      = 512
	windowsInFlight = 16
)

// The ways a task stands.
const (
	pending   uint32 = iota // not ended
	ended                   // has its outcome
	unsettled               // was interrupted: no outcome
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
	outcomes [windowRows]job.Outcome
	state    [windowRows]atomic.Uint32
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

// take hands out the next row, false if all are.
func (w *window) take() (int64, bool) {
	i := w.taken.Add(1) - 1
	return i, i < w.n
}

// settle notes how row i stands and reports whether it was the last to end.
func (w *window) settle(i int64, state uint32) bool {
	w.rows.state[i].Store(state)
	return w.left.Add(-1) == 0
}

// memory lends the memory of windows.
type memory struct{ pool sync.Pool }

func (m *memory) get() *rowsAndOutcomes {
	if r, ok := m.pool.Get().(*rowsAndOutcomes); ok {
		return r
	}
	return new(rowsAndOutcomes)
}

func (m *memory) put(r *rowsAndOutcomes) {
	for i := range r.batch.Len() {
		r.state[i].Store(pending)
		r.outcomes[i] = job.Outcome{}
	}
	m.pool.Put(r)
}
