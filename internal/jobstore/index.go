package jobstore

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"stevedore/internal/job"
)

// index holds a summary of every job in memory. It follows the store, so it is
// behind by as long as the watch takes; what this process changes is waited for.
type index struct {
	mu       sync.Mutex
	revision int64         // of the store, up to which it is complete
	moved    chan struct{} // closed and replaced when revision grows
	err      error         // why it cannot follow just now
	jobs     map[string]*entry
	live     map[string]*entry  // those that have not ended
	lists    map[place][]*entry // by cursor: newest first
	subs     map[*Subscription]struct{}
}

// place is what a list of jobs is about.
type place struct{ account, region string }

type entry struct {
	sum     job.Summary
	cursor  job.Cursor
	tallies map[string]counts // by node; empty once the job has ended
}

type counts struct{ succeeded, failed int64 }

func newIndex() *index {
	x := &index{moved: make(chan struct{}), subs: map[*Subscription]struct{}{}}
	x.clear()
	return x
}

func (x *index) clear() {
	x.jobs, x.live, x.lists = map[string]*entry{}, map[string]*entry{}, map[place][]*entry{}
}

// summary is the entry with the counters of its tallies.
func (e *entry) summary() job.Summary {
	s := e.sum
	for _, c := range e.tallies {
		s.Succeeded += c.succeeded
		s.Failed += c.failed
	}
	return s
}

func byCursor(e *entry, c job.Cursor) int { return e.cursor.Compare(c) }

// put takes in a record. Call with mu held.
func (x *index) put(j *job.Job) {
	e := x.jobs[j.ID]
	if e == nil {
		e = &entry{cursor: job.Cursor{CreationTime: j.CreationTime, ID: j.ID}, tallies: map[string]counts{}}
		x.jobs[j.ID] = e
		at := place{j.Account, j.Region}
		i, _ := slices.BinarySearchFunc(x.lists[at], e.cursor, byCursor)
		x.lists[at] = slices.Insert(x.lists[at], i, e)
	}
	e.sum = j.Summary()
	if j.Status.Terminal() {
		e.tallies = nil
		delete(x.live, j.ID)
	} else {
		x.live[j.ID] = e
	}
}

// remove forgets a job. Call with mu held.
func (x *index) remove(id string) {
	e := x.jobs[id]
	if e == nil {
		return
	}
	delete(x.jobs, id)
	delete(x.live, id)
	at := place{e.sum.Account, e.sum.Region}
	if i, ok := slices.BinarySearchFunc(x.lists[at], e.cursor, byCursor); ok {
		x.lists[at] = slices.Delete(x.lists[at], i, i+1)
	}
	if len(x.lists[at]) == 0 {
		delete(x.lists, at)
	}
}

// tally takes in what a node has counted. Call with mu held.
func (x *index) tally(id, node string, t counts) {
	if e := x.live[id]; e != nil {
		e.tallies[node] = t
	}
}

// advance says that the index is complete up to revision and wakes whoever
// waits for changes. Call with mu held.
func (x *index) advance(revision int64) {
	x.revision, x.err = revision, nil
	close(x.moved)
	x.moved = make(chan struct{})
	for sub := range x.subs {
		select {
		case sub.c <- struct{}{}:
		default: // it has a token already
		}
	}
}

// wait returns when the index is complete up to revision, or a context ends.
func (x *index) wait(ctx, life context.Context, revision int64) {
	for {
		x.mu.Lock()
		done, moved := x.revision >= revision, x.moved
		x.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		case <-life.Done():
			return
		}
	}
}

func (x *index) failure() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

func (x *index) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err = err
}

// ended reports whether a job is over, or unknown.
func (x *index) ended(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.live[id] == nil
}

// List returns at most limit jobs of an account and region that come after a
// place in the list, newest first, and whether there are more. Without statuses
// it lists every job. It takes no time worth mentioning, and shows every change
// made through this Store that has returned.
func (s *Store) List(account, region string, statuses []job.Status, after job.Cursor, limit int) (page []job.Summary, more bool) {
	x := s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	list := x.lists[place{account, region}]
	if after != (job.Cursor{}) {
		i, ok := slices.BinarySearchFunc(list, after, byCursor)
		if ok {
			i++
		}
		list = list[i:]
	}
	for _, e := range list {
		if len(statuses) > 0 && !slices.Contains(statuses, e.sum.Status) {
			continue
		}
		if len(page) >= limit {
			return page, true
		}
		page = append(page, e.summary())
	}
	return page, false
}

// Jobs returns the jobs of all accounts in the given statuses, or all jobs, in
// the order in which they may run: by priority, then the oldest first. Asking
// for statuses that are not terminal costs nothing for the jobs that have ended.
func (s *Store) Jobs(statuses ...job.Status) []job.Summary {
	x := s.index
	x.mu.Lock()
	from := x.jobs
	if len(statuses) > 0 && !slices.ContainsFunc(statuses, job.Status.Terminal) {
		from = x.live
	}
	var out []job.Summary
	for _, e := range from {
		if len(statuses) == 0 || slices.Contains(statuses, e.sum.Status) {
			out = append(out, e.summary())
		}
	}
	x.mu.Unlock()
	slices.SortFunc(out, func(a, b job.Summary) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), b.Cursor().Compare(a.Cursor()))
	})
	return out
}

// Subscription wakes its owner when something in the store has changed.
type Subscription struct {
	c     chan struct{}
	index *index
}

// Changes subscribes to every change of the store, also those of other nodes.
// The owner calls Close.
func (s *Store) Changes() *Subscription {
	sub := &Subscription{make(chan struct{}, 1), s.index}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	s.index.subs[sub] = struct{}{}
	return sub
}

// C gets a token when anything has changed since the last one was taken.
func (sub *Subscription) C() <-chan struct{} { return sub.c }

// Close ends the subscription. No token comes after it.
func (sub *Subscription) Close() {
	sub.index.mu.Lock()
	defer sub.index.mu.Unlock()
	delete(sub.index.subs, sub)
}
