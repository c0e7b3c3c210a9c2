package jobstoretest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

func (s suite) plan(t *testing.T) {
	store := s.new(t)
	a := join(t, store, "a")
	j := move(t, store, add(t, store, "a"), job.Preparing)
	if _, ok, err := store.Checkpoint(t.Context(), j.ID); ok || err != nil {
		t.Errorf("checkpoint before planning: %t, %v", ok, err)
	}
	put := func(n *jobstore.Node, o jobstore.Ownership, first, count int64) {
		t.Helper()
		rows := (first + count) * 10
		want := jobstore.Checkpoint{
			Chunks: first + count, Rows: rows, Offset: rows * bytesPerRow, Line: rows + 1,
			ETag: "etag", VersionID: "v", Size: 1 << 40,
		}
		if err := n.PutChunks(t.Context(), o, cut(first*10, count, 10), want); err != nil {
			t.Fatalf("PutChunks: %v", err)
		}
		got, ok, err := store.Checkpoint(t.Context(), j.ID)
		if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
			t.Errorf("checkpoint: %t, %v\n%s", ok, err, diff)
		}
	}
	first := own(t, a, j)
	put(a, first, 0, jobstore.MaxChunks)
	put(a, first, jobstore.MaxChunks-1, 1) // again: a planner that goes on from an older checkpoint
	// A change that is none of the planner's business must not disturb it.
	if _, err := store.Update(t.Context(), account, j.ID, func(j *job.Job) error { j.Priority++; return nil }); err != nil {
		t.Fatal(err)
	}
	put(a, first, jobstore.MaxChunks, 3)

	if err := a.Disown(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	b := join(t, store, "b")
	put(b, own(t, b, j), jobstore.MaxChunks+3, 2)
	if w := work(t, store, j.ID); w.Chunks != jobstore.MaxChunks+5 {
		t.Errorf("%d chunks, want %d", w.Chunks, jobstore.MaxChunks+5)
	}
}

func (s suite) planFenced(t *testing.T) {
	store := s.new(t)
	a := join(t, store, "a")
	j := move(t, store, add(t, store, "a"), job.Preparing)
	fenced := func(what string, n *jobstore.Node, o jobstore.Ownership) {
		t.Helper()
		err := n.PutChunks(t.Context(), o, cut(10, 1, 10), jobstore.Checkpoint{Rows: 20})
		if !errors.Is(err, jobstore.ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
		if w := work(t, store, j.ID); w.Chunks != 1 {
			t.Fatalf("%s: %d chunks are stored, want the first one only", what, w.Chunks)
		}
	}
	first := own(t, a, j)
	// Once this has worked, the next call is refused by its transaction alone.
	if err := a.PutChunks(t.Context(), first, cut(0, 1, 10), jobstore.Checkpoint{Rows: 10}); err != nil {
		t.Fatal(err)
	}
	if err := a.Disown(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	fenced("after Disown", a, first)
	second := own(t, a, j)
	fenced("under an older ownership", a, first)
	reborn := join(t, store, "a")
	fenced("after the lease is gone", a, second)
	third := own(t, reborn, j)
	if err := reborn.PutChunks(t.Context(), third, cut(0, 1, 10), jobstore.Checkpoint{Rows: 10}); err != nil {
		t.Fatal(err)
	}
	move(t, store, j, job.Cancelling)
	fenced("while cancelling", reborn, third)
}

func (s suite) planRefuses(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	o := own(t, n, move(t, store, add(t, store, "a"), job.Preparing))
	refused := func(what string, chunks []job.Chunk, rows int64) {
		t.Helper()
		if err := n.PutChunks(t.Context(), o, chunks, jobstore.Checkpoint{Rows: rows}); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	refused("too many chunks", cut(0, jobstore.MaxChunks+1, 10), (jobstore.MaxChunks+1)*10)
	refused("a gap", append(cut(0, 1, 10), cut(20, 1, 10)...), 30)
	refused("a checkpoint elsewhere", cut(0, 2, 10), 30)
	refused("an empty chunk", []job.Chunk{{}}, 0)
	refused("a chunk begun", []job.Chunk{{First: 0, Row: 1, Rows: 9}}, 9)
}

func (s suite) own(t *testing.T) {
	store := s.new(t)
	nodes := []*jobstore.Node{join(t, store, "a"), join(t, store, "b")}
	j := add(t, store, "a")
	var mu sync.Mutex
	var got []jobstore.Ownership
	var by []*jobstore.Node
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			o, ok, err := nodes[i%2].Own(t.Context(), j)
			if err != nil {
				t.Errorf("Own: %v", err)
			}
			if ok {
				mu.Lock()
				defer mu.Unlock()
				got, by = append(got, o), append(by, nodes[i%2])
			}
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Fatalf("%d own the job, want 1", len(got))
	}
	if err := by[0].Disown(t.Context(), got[0]); err != nil {
		t.Fatal(err)
	}
	if again := own(t, nodes[0], j); again.Fence <= got[0].Fence {
		t.Errorf("fence went from %d to %d, want it to grow", got[0].Fence, again.Fence)
	}
	if err := nodes[1].Disown(t.Context(), got[0]); err != nil { // an old one: no harm
		t.Fatal(err)
	}
	if _, ok, err := nodes[1].Own(t.Context(), j); ok || err != nil {
		t.Errorf("owned by two: %t, %v", ok, err)
	}
	move(t, store, j, job.Preparing) // j is out of date now
	if err := nodes[0].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	own(t, nodes[1], j)
}

func (s suite) claimOnce(t *testing.T) {
	store := s.new(t)
	nodes := []*jobstore.Node{join(t, store, "a"), join(t, store, "b")}
	const chunks = 300 // several pages
	j := planned(t, store, nodes[0], "a", chunks, 10)
	var mu sync.Mutex
	var firsts []int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for {
				c, ok, err := nodes[i%2].Claim(t.Context(), j)
				if err != nil {
					t.Errorf("Claim: %v", err)
				}
				if !ok {
					return
				}
				mu.Lock()
				firsts = append(firsts, c.Chunk.First)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(firsts)
	if n := len(slices.Compact(slices.Clone(firsts))); len(firsts) != chunks || n != chunks {
		t.Errorf("%d claims of %d chunks, want each of %d once", len(firsts), n, chunks)
	}
	if w := work(t, store, j.ID); w.Claims != chunks || w.Chunks != chunks {
		t.Errorf("%d claims and %d chunks, want %d", w.Claims, w.Chunks, chunks)
	}
}

func (s suite) claimRunnableOnly(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	stale := planned(t, store, n, "a", 4, 10)
	check := func(want bool) {
		t.Helper()
		if _, ok, err := n.Claim(t.Context(), stale); ok != want || err != nil {
			t.Errorf("claim in %s: %t, %v; want %t", read(t, store, stale).Status, ok, err, want)
		}
	}
	check(true)
	move(t, store, stale, job.Pausing)
	check(false)
	move(t, store, stale, job.Paused)
	check(false)
	move(t, store, stale, job.Active)
	check(true)
	move(t, store, stale, job.Cancelling)
	check(false)
}

func (s suite) release(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	j := planned(t, store, n, "a", 1, 10)
	first := claim(t, n, j)
	begun := commit(t, n, first, 3, 0)
	if _, ok, _ := n.Claim(t.Context(), j); ok {
		t.Fatal("a claimed chunk was claimed")
	}
	if err := n.Release(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	second := claim(t, join(t, store, "b"), j)
	if second.Fence <= first.Fence {
		t.Errorf("fence went from %d to %d, want it to grow", first.Fence, second.Fence)
	}
	if diff := cmp.Diff(begun.Chunk, second.Chunk); diff != "" {
		t.Errorf("released and claimed chunk differ:\n%s", diff)
	}
	if err := n.Release(t.Context(), begun); err != nil { // gone already: no harm
		t.Fatal(err)
	}
	if w := work(t, store, j.ID); w.Claims != 1 {
		t.Errorf("%d claims, want the second one to stay", w.Claims)
	}
}

func (s suite) commit(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	j := planned(t, store, n, "a", 1, 10)
	c := claim(t, n, j)
	seg1, delta1, rest1 := next(c.Chunk, 4, 1)
	c1, err := n.Commit(t.Context(), c, seg1, delta1, rest1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.Commit(t.Context(), c, seg1, delta1, rest1)
	if diff := cmp.Diff(c1, again); diff != "" || err != nil {
		t.Errorf("commit repeated: %v\n%s", err, diff)
	}
	other, delta, rest := next(c.Chunk, 5, 0)
	if _, err := n.Commit(t.Context(), c, other, delta, rest); err == nil || errors.Is(err, jobstore.ErrFenced) {
		t.Errorf("the same rows committed otherwise, the claim being ours: %v", err)
	}
	if w := work(t, store, j.ID); w != (jobstore.Work{Chunks: 1, Claims: 1, Segments: 1, Covered: 4}) {
		t.Errorf("after four rows: %+v", w)
	}
	seg2, delta2, rest2 := next(c1.Chunk, 6, 0)
	for range 2 { // the last one may be repeated too, when its claim is gone
		if _, err := n.Commit(t.Context(), c1, seg2, delta2, rest2); err != nil {
			t.Fatal(err)
		}
	}
	if w := work(t, store, j.ID); w != (jobstore.Work{Segments: 2, Covered: 10}) {
		t.Errorf("after all rows: %+v", w)
	}
	if diff := cmp.Diff([]job.Segment{seg1, seg2}, segments(t, store, j.ID)); diff != "" {
		t.Errorf("segments:\n%s", diff)
	}
	want := &job.Tally{Succeeded: 9, Failed: 1, Codes: delta1.Codes}
	if diff := cmp.Diff(want, read(t, store, j).Tally); diff != "" {
		t.Errorf("tally:\n%s", diff)
	}
	if _, ok, err := n.Claim(t.Context(), j); ok || err != nil {
		t.Errorf("claim without chunks: %t, %v", ok, err)
	}
}

func (s suite) commitConcurrently(t *testing.T) {
	store := s.new(t)
	nodes := []*jobstore.Node{join(t, store, "a"), join(t, store, "b")}
	const chunks, size = 40, 12
	j := planned(t, store, nodes[0], "a", chunks, size)
	var wg sync.WaitGroup
	for i := range 8 {
		n := nodes[i%2]
		wg.Go(func() {
			for {
				c, ok, err := n.Claim(t.Context(), j)
				if !ok || err != nil {
					if err != nil {
						t.Errorf("Claim: %v", err)
					}
					return
				}
				for c.Chunk.Rows > 0 {
					seg, delta, rest := next(c.Chunk, 4, 1)
					if c, err = n.Commit(t.Context(), c, seg, delta, rest); err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	const rows = chunks * size
	if w := work(t, store, j.ID); w != (jobstore.Work{Segments: rows / 4, Covered: rows}) {
		t.Errorf("when all is done: %+v", w)
	}
	if got := read(t, store, j).Tally; got.Succeeded != rows*3/4 || got.Failed != rows/4 {
		t.Errorf("tally %+v, want %d succeeded and %d failed", got, rows*3/4, rows/4)
	}
	var at int64
	for _, seg := range segments(t, store, j.ID) {
		if seg.Row != at {
			t.Fatalf("segment at row %d, want %d", seg.Row, at)
		}
		at += seg.Rows
	}
	if at != rows {
		t.Errorf("segments end at row %d, want %d", at, rows)
	}
}

func (s suite) commitRefuses(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	j := planned(t, store, n, "a", 1, 10)
	c := claim(t, n, j)
	refused := func(what string, change func(*job.Segment, *job.Tally, *job.Chunk)) {
		t.Helper()
		seg, delta, rest := next(c.Chunk, 4, 1)
		change(&seg, &delta, &rest)
		if _, err := n.Commit(t.Context(), c, seg, delta, rest); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	refused("a gap before", func(s *job.Segment, _ *job.Tally, _ *job.Chunk) { s.Row++ })
	refused("no rows", func(s *job.Segment, d *job.Tally, r *job.Chunk) {
		*s, *d, *r = job.Segment{Row: s.Row}, job.Tally{}, c.Chunk
	})
	refused("more rows than the chunk has", func(s *job.Segment, d *job.Tally, r *job.Chunk) {
		*s, *d, *r = next(c.Chunk, 11, 0)
	})
	refused("a rest that skips a row", func(_ *job.Segment, _ *job.Tally, r *job.Chunk) { r.Row++ })
	refused("a rest that loses a row", func(_ *job.Segment, _ *job.Tally, r *job.Chunk) { r.Rows-- })
	refused("a rest of another chunk", func(_ *job.Segment, _ *job.Tally, r *job.Chunk) { r.First++ })
	refused("a rest that ends elsewhere", func(_ *job.Segment, _ *job.Tally, r *job.Chunk) { r.End++ })
	refused("a rest that goes back", func(_ *job.Segment, _ *job.Tally, r *job.Chunk) { r.Offset = -1 })
	refused("rows without outcome", func(s *job.Segment, _ *job.Tally, _ *job.Chunk) { s.Succeeded-- })
	refused("another tally", func(_ *job.Segment, d *job.Tally, _ *job.Chunk) { d.Succeeded++ })
	if w := work(t, store, j.ID); w.Segments != 0 || w.Covered != 0 {
		t.Errorf("a refused commit left %+v", w)
	}
	commit(t, n, c, 10, 0)
}

// fencedNode takes a node's lease away behind its back, by another of its name.
func (s suite) fencedNode(t *testing.T) {
	store := s.new(t)
	dead := join(t, store, "a")
	j := planned(t, store, dead, "a", 2, 10)
	c := commit(t, dead, claim(t, dead, j), 3, 1)
	reborn := join(t, store, "a")

	seg, delta, rest := next(c.Chunk, 7, 0)
	if _, err := dead.Commit(t.Context(), c, seg, delta, rest); !errors.Is(err, jobstore.ErrFenced) {
		t.Fatalf("commit without lease: %v", err)
	}
	if w := work(t, store, j.ID); w != (jobstore.Work{Chunks: 2, Segments: 1, Covered: 3}) {
		t.Errorf("after the fenced commit: %+v", w)
	}
	if _, _, err := dead.Claim(t.Context(), j); !errors.Is(err, jobstore.ErrFenced) {
		t.Errorf("claim without lease: %v", err)
	}
	for range 2 {
		again := claim(t, reborn, j)
		if again.Chunk.First == c.Chunk.First && again.Chunk != c.Chunk {
			t.Errorf("claimed %+v, want to go on at %+v", again.Chunk, c.Chunk)
		}
		commit(t, reborn, again, again.Chunk.Rows, 0)
	}
	if got := read(t, store, j).Tally; got.Succeeded != 19 || got.Failed != 1 {
		t.Errorf("tally %+v, want 19 succeeded and 1 failed", got)
	}
	select {
	case <-dead.Lost():
	case <-t.Context().Done():
		t.Error("the dead node never noticed")
	}
	select {
	case <-reborn.Lost():
		t.Error("the living node is lost")
	default:
	}
}

func (s suite) leave(t *testing.T) {
	store := s.new(t)
	a, b := join(t, store, "a"), join(t, store, "b")
	j := planned(t, store, a, "a", 1, 10)
	claim(t, a, j)
	for range 2 { // leaving twice is fine
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	<-a.Lost()
	claim(t, b, j)
	join(t, store, "a")
}

func (s suite) changes(t *testing.T) {
	store := s.new(t)
	a := join(t, store, "a")
	j := planned(t, store, a, "a", 1, 10)
	sub := store.Changes()
	quiet := func() { // Create returns when all before it is known, Changes included
		add(t, store, t.Name()+string(rune('A'+len(store.Jobs()))))
		select {
		case <-sub.C():
		default:
			t.Error("no token for a job made before")
		}
	}
	woken := func(what string) {
		t.Helper()
		select {
		case <-sub.C():
		case <-t.Context().Done():
			t.Errorf("no token for %s", what)
		}
		quiet()
	}
	quiet()
	c := claim(t, a, j)
	woken("a claim")
	commit(t, a, c, 5, 0)
	woken("a commit")
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	woken("a claim that went with its node")
	sub.Close()
	add(t, store, "last")
	select {
	case <-sub.C():
		t.Error("a token after Close")
	default:
	}
}
