package jobstoretest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

func (s suite) reopen(t *testing.T) {
	dir := t.TempDir()
	store := s.at(t, dir)
	a := join(t, store, "a")
	j := planned(t, store, a, "a", 3, 10)
	c := commit(t, a, claim(t, a, j), 4, 1)
	done := move(t, store, add(t, store, "b"), job.Failed)
	claim(t, a, j)
	want := segments(t, store, j.ID)
	j = read(t, store, j)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	<-a.Lost()
	if _, err := a.Commit(t.Context(), c, job.Segment{Row: 4, Rows: 1, Succeeded: 1}, job.Tally{Succeeded: 1},
		job.Chunk{First: c.Chunk.First, Row: c.Chunk.Row + 1, Rows: c.Chunk.Rows - 1}); err == nil {
		t.Error("committed to a closed store")
	}

	store = s.at(t, dir)
	if diff := cmp.Diff(j, read(t, store, j)); diff != "" {
		t.Errorf("job:\n%s", diff)
	}
	if diff := cmp.Diff(want, segments(t, store, j.ID)); diff != "" {
		t.Errorf("segments:\n%s", diff)
	}
	list, _ := store.List(account, region, nil, job.Cursor{}, 10)
	summaries := map[string]job.Summary{j.ID: j.Summary(), done.ID: done.Summary()}
	for _, got := range list {
		if diff := cmp.Diff(summaries[got.ID], got); diff != "" {
			t.Errorf("listed:\n%s", diff)
		}
	}
	if len(list) != len(summaries) {
		t.Errorf("%d jobs listed, want %d", len(list), len(summaries))
	}
	reborn := join(t, store, "a")
	for range 3 {
		again := claim(t, reborn, j)
		commit(t, reborn, again, again.Chunk.Rows, 0)
	}
	if w := work(t, store, j.ID); w != (jobstore.Work{Segments: 4, Covered: 30}) {
		t.Errorf("at the end: %+v", w)
	}
}

func (s suite) closed(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	j := planned(t, store, n, "a", 2, 10)
	c := claim(t, n, j)
	if err := store.Ready(); err != nil {
		t.Errorf("Ready while open: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	<-n.Lost()
	seg, delta, rest := next(c.Chunk, 10, 0)
	_, err1 := n.Commit(t.Context(), c, seg, delta, rest)
	_, _, err2 := n.Claim(t.Context(), j)
	_, err3 := store.Job(t.Context(), account, j.ID)
	_, _, err4 := store.Create(t.Context(), j)
	_, err5 := store.Work(t.Context(), j.ID)
	for i, err := range []error{err1, err2, err3, err4, err5, n.Release(t.Context(), c), store.Ready()} {
		if !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("call %d after Close: %v", i+1, err)
		}
	}
	for _, err := range store.Segments(t.Context(), j.ID) {
		if !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("segments after Close: %v", err)
		}
	}
}

// closeDuringCommits closes the store under its users: what was acknowledged is
// there when it opens again.
func (s suite) closeDuringCommits(t *testing.T) {
	dir := t.TempDir()
	store := s.at(t, dir)
	n := join(t, store, "a")
	const workers, size = 4, 10_000
	j := planned(t, store, n, "a", workers, size)
	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	begun := make(chan struct{})
	for range workers {
		c := claim(t, n, j)
		wg.Go(func() {
			for {
				seg, delta, rest := next(c.Chunk, 1, 0)
				var err error
				if c, err = n.Commit(t.Context(), c, seg, delta, rest); err != nil {
					if !errors.Is(err, job.ErrUnavailable) {
						t.Errorf("Commit while closing: %v", err)
					}
					return
				}
				if acknowledged.Add(1) == 50 {
					close(begun)
				}
			}
		})
	}
	<-begun
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	store = s.at(t, dir)
	acked := acknowledged.Load()
	if w := work(t, store, j.ID); w.Covered < acked || w.Covered > acked+workers || w.Covered != w.Segments {
		t.Errorf("%+v, %d were acknowledged", w, acked)
	}
	if got := read(t, store, j).Tally.Executed(); got < acked || got > acked+workers {
		t.Errorf("tally %d, %d were acknowledged", got, acked)
	}
}
