package generate

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// worthSplitting is how many pages a range must have left before another worker takes over half of them.
const worthSplitting = 2

// incredible is a number of pages that no bucket has: a range that seems to have so many left ends far from its last key.
const incredible = 1e8

// list lists what is left to list.
func (r *run) list(ctx context.Context) error {
	if !r.state.Walk {
		err := r.spread(ctx)
		if !errors.Is(err, errDisordered) {
			return err
		}
		if r.versions {
			return failed(CodeFailed, "The store lists the versions of objects in the source bucket "+r.bucket+" in an order that is not that of their keys.", err)
		}
	}
	if err := r.again(ctx); err != nil {
		return err
	}
	return r.walk(ctx)
}

// again begins a new pass, as a walk. The files of the one before do not count any more.
func (r *run) again(ctx context.Context) error {
	s := r.state
	s.Pass++
	s.Walk, s.Rows, s.Bytes, s.Ranges = true, 0, 0, []Range{{}}
	r.pass = s.Pass
	return r.save(ctx, s, nil)
}

// spread lists all ranges of the state side by side.
func (r *run) spread(hard context.Context) error {
	ctx, cancel := context.WithCancelCause(hard) // ends when a worker fails, too
	defer cancel(nil)
	l := &lister{run: r, rows: r.state.Rows, bytes: r.state.Bytes}
	l.changed.L = &l.mu
	for _, g := range r.state.Ranges {
		l.spans = append(l.spans, &span{after: g.After, version: g.Version, until: g.Until})
	}
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer stop()
	places := make(chan struct{}, r.job.Heads)
	var workers sync.WaitGroup
	for range r.job.Workers {
		workers.Go(func() {
			w := &worker{lister: l, sieve: &sieve{run: r, places: places}, draft: newDraft(r)}
			if err := w.work(ctx, hard); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return l.save(ctx, nil, 0, func() {})
}

// A lister hands out ranges to its workers.
type lister struct {
	run *run

	saving  sync.Mutex // held while the journal is written
	unsaved error      // of the journal, after which nothing more is saved

	mu      sync.Mutex
	changed sync.Cond // something below did
	spans   []*span   // not listed, or listed and not saved
	letters letters
	rows    int64 // saved
	bytes   int64 // of their objects
}

// A span is a range that is being listed, or is to be. The mutex of its lister guards all but the cursor, which belongs to
// the worker that took it.
type span struct {
	after, version []byte // where to begin if what follows is not saved
	until          []byte // the last key, nil if there is no end; comes nearer as the span is split

	cursor *cursor
	ahead  []objectstore.ListEntry // the page that the split began with

	taken     bool
	splitting bool   // somebody looks for its middle
	whole     bool   // there is no way to split it until it has got further
	rigid     bool   // the store would not have it
	first, at []byte // keys that the last page began and ended with; at is nil before the first page
	rows      int    // of that page
}

// A worker lists one range after the other.
type worker struct {
	*lister
	sieve *sieve
	draft *draft

	after, version []byte // how far the draft goes in the range at hand
}

func (w *worker) work(ctx, hard context.Context) error {
	for {
		s, err := w.take(ctx)
		if err != nil {
			return w.broken(ctx, err)
		}
		if s == nil {
			return nil
		}
		if err := w.listSpan(ctx, s); err != nil {
			w.keep(hard, s, errors.Join(err, context.Cause(ctx)))
			return err
		}
	}
}

// keep saves what a worker has found before it or another one failed, if all of err may pass: else a store that fails now
// and then would have the same rows listed again, and again.
func (w *worker) keep(hard context.Context, s *span, err error) {
	const most = time.Minute // a store that is down must not hold up the next try
	if _, ends := errors.AsType[*job.FailedError](err); ends || errors.Is(err, errDisordered) || hard.Err() != nil || w.lost() ||
		bytes.Equal(w.after, s.after) || w.version != nil { // whoever goes on among the versions of a key may meet some again
		return
	}
	ctx, cancel := context.WithTimeout(hard, most)
	defer cancel()
	_ = w.settle(ctx, s, false) // err is the one to tell
}

// listSpan lists a range to its end.
func (w *worker) listSpan(ctx context.Context, s *span) error {
	if s.cursor == nil {
		s.cursor = newCursor(w.run, s.after, s.version)
	}
	w.draft.begun = time.Now() // the wait for the range does not count
	w.after, w.version = s.after, s.version
	for {
		rows, more := s.ahead, true
		if s.ahead = nil; rows == nil {
			var err error
			if rows, more, err = s.cursor.next(ctx); err != nil {
				return w.broken(ctx, err)
			}
		}
		rows, last := w.claim(s, rows)
		kept, err := w.sieve.sift(ctx, rows)
		if err != nil {
			return err
		}
		if err := w.draft.add(kept); err != nil {
			return err
		}
		w.after, w.version = s.cursor.at()
		done := last || !more
		if !done && !w.draft.due(time.Now()) {
			continue
		}
		if err := w.settle(ctx, s, done); err != nil || done {
			return err
		}
	}
}

// broken says what an error of a cursor means.
func (w *worker) broken(ctx context.Context, err error) error {
	if errors.Is(err, errDisordered) && ctx.Err() == nil {
		return err
	}
	return w.run.unlisted(ctx, err)
}

// claim cuts off the rows behind the end of s, and notes how far it got: from there on it may be split. last says that
// there are such rows, so that the range is at its end.
func (l *lister) claim(s *span, rows []objectstore.ListEntry) (kept []objectstore.ListEntry, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(rows); n > 0 {
		for _, i := range [...]int{0, n / 3, n / 2, n - 1} {
			l.letters.learn(rows[i].Key)
		}
		s.first, s.rows = clone(rows[0].Key), n
	}
	s.at, s.whole = []byte(s.cursor.q.After), false
	l.changed.Broadcast()
	if s.until == nil {
		return rows, false
	}
	n := sort.Search(len(rows), func(i int) bool { return bytes.Compare(rows[i].Key, s.until) > 0 })
	return rows[:n], n < len(rows) || bytes.Compare(s.at, s.until) > 0
}

// settle saves what was found in s, and how far it has come with that.
func (w *worker) settle(ctx context.Context, s *span, done bool) error {
	files, size, err := w.draft.put(ctx)
	if err != nil {
		w.after, w.version = s.after, s.version // the draft is gone
		return err
	}
	after, version := w.after, w.version
	moved := func() {
		s.after, s.version = after, version
		if done {
			w.spans = slices.DeleteFunc(w.spans, func(other *span) bool { return other == s })
			w.changed.Broadcast()
		}
	}
	if done && len(files) == 0 { // nothing would be lost but the way
		w.mu.Lock()
		defer w.mu.Unlock()
		moved()
		return nil
	}
	return w.save(ctx, files, size, moved)
}

// lost reports whether the journal could not be written, so that nothing more can be saved.
func (l *lister) lost() bool {
	l.saving.Lock()
	defer l.saving.Unlock()
	return l.unsaved != nil
}

// save does what moves a range on, and saves it with the files that hold what was found on the way.
func (l *lister) save(ctx context.Context, files []File, size int64, moved func()) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	if l.unsaved != nil { // what it did not save must not count as saved with the next
		return l.unsaved
	}
	l.mu.Lock()
	moved()
	for _, f := range files {
		l.rows += f.Rows
		l.bytes += size
	}
	s := l.run.state
	s.Rows, s.Bytes, s.Ranges = l.rows, l.bytes, nil
	for _, p := range l.spans {
		s.Ranges = append(s.Ranges, Range{After: p.after, Version: p.version, Until: p.until})
	}
	l.mu.Unlock()
	l.unsaved = l.run.save(ctx, s, files)
	return l.unsaved
}

// take waits for a range: one that nobody has, or the far half of another. It returns nil if there is nothing left to list.
func (l *lister) take(ctx context.Context) (*span, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(l.spans) == 0 {
			return nil, nil
		}
		if i := slices.IndexFunc(l.spans, func(s *span) bool { return !s.taken }); i >= 0 {
			l.spans[i].taken = true
			return l.spans[i], nil
		}
		s, middle := l.choose()
		if s == nil {
			l.changed.Wait()
			continue
		}
		part, err := l.split(ctx, s, middle)
		if part != nil || err != nil {
			return part, err
		}
	}
}

// choose returns the span that has most left and where to split it, nil if none is worth it.
func (l *lister) choose() (*span, []byte) {
	for {
		var best *span
		var most float64
		for _, s := range l.spans {
			if s.at == nil || s.splitting || s.whole || s.rigid {
				continue
			}
			n := l.letters.left(s.first, s.at, s.until, s.rows)
			if n >= worthSplitting*float64(s.rows) && (n > most || math.IsInf(n, 1) && s.until == nil) {
				best, most = s, n
			}
		}
		if best == nil {
			return nil, nil
		}
		middle := l.letters.middle
		if best.until != nil && most > incredible*float64(best.rows) {
			middle = func(prefix string, lower, upper []byte) []byte {
				return l.letters.near(prefix, best.first, lower, upper)
			}
		}
		if m := middle(l.run.filter.prefix, best.at, best.until); m != nil {
			return best, m
		}
		best.whole = true
	}
}

// split takes over the part of s that lies behind middle, if there is anything. It gives up the mutex meanwhile.
func (l *lister) split(ctx context.Context, s *span, middle []byte) (*span, error) {
	s.splitting = true
	l.mu.Unlock()
	c := newCursor(l.run, middle, nil)
	rows, more, err := c.next(ctx)
	l.mu.Lock()
	s.splitting = false
	defer l.changed.Broadcast() // others may have waited for s

	switch {
	case err != nil && refused(err):
		s.rigid = true // the store takes no such key to begin after: it was worth a try
		return nil, nil
	case err != nil:
		return nil, err
	case bytes.Compare(s.at, middle) >= 0 || !slices.Contains(l.spans, s):
		return nil, nil // it was faster
	case len(rows) == 0 && !more, len(rows) > 0 && s.until != nil && bytes.Compare(rows[0].Key, s.until) > 0:
		s.until = middle
		return nil, nil
	}
	part := &span{after: middle, until: s.until, cursor: c, ahead: rows, taken: true}
	s.until = middle
	l.spans = append(l.spans, part)
	return part, nil
}
