package jobstoretest

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

// Schedules runs random schedules of claims, commits, releases and deaths of
// nodes against a model: whatever happens, the tallies are the sum of the
// commits that counted, and in the end every row has exactly one outcome. The
// store may answer job.ErrUnavailable at any time, with or without having done
// what it was asked.
func Schedules(t *testing.T, open Open) {
	store := suite{open}.at(t, t.TempDir())
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := &model{t: t, rt: rt, store: store, round: round}
		m.begin()
		rt.Repeat(map[string]func(*rapid.T){
			"claim":   m.claim,
			"commit":  m.commit,
			"stale":   m.stale,
			"release": m.release,
			"die":     m.die,
			"":        m.check,
		})
		m.finish()
	})
}

// model is what must be true of one job.
type model struct {
	t     *testing.T
	rt    *rapid.T
	store Store
	round int

	job    job.Job
	nodes  []*jobstore.Node
	rows   int64
	done   map[int64]job.Segment // by row
	claims []held
	gone   []held // claims that ended one way or the other
}

type held struct {
	node  int
	claim jobstore.Claim
}

// insist repeats a call while the store is out of order.
func (m *model) insist(what string, call func() error) {
	for {
		err := call()
		if err == nil {
			return
		}
		if !errors.Is(err, job.ErrUnavailable) {
			m.rt.Fatalf("%s: %v", what, err)
		}
	}
}

func (m *model) name(node int) string { return fmt.Sprintf("round%d-node%d", m.round, node) }

func (m *model) join(node int) {
	m.insist("Join", func() (err error) {
		m.nodes[node], err = m.store.Join(m.t.Context(), m.name(node))
		return err
	})
}

func (m *model) begin() {
	ctx := m.t.Context()
	m.done = map[int64]job.Segment{}
	m.nodes = make([]*jobstore.Node, 2)
	m.join(0)
	m.join(1)
	fresh := job.Job{
		ID: m.store.JobID(account, region, m.name(0)), Account: account, Region: region,
		Status: job.Preparing, CreationTime: began,
	}
	m.insist("Create", func() (err error) {
		m.job, _, err = m.store.Create(ctx, fresh)
		return err
	})
	var own jobstore.Ownership
	m.insist("Own", func() error {
		o, ok, err := m.nodes[0].Own(ctx, m.job)
		if err == nil && !ok {
			m.rt.Fatal("the job is not to be had")
		}
		own = o
		return err
	})
	size := rapid.Int64Range(1, 9).Draw(m.rt, "size")
	chunks := cut(0, rapid.Int64Range(1, 5).Draw(m.rt, "chunks"), size)
	m.rows = size * int64(len(chunks))
	m.insist("PutChunks", func() error {
		return m.nodes[0].PutChunks(ctx, own, chunks, jobstore.Checkpoint{Rows: m.rows})
	})
	for _, to := range []job.Status{job.Ready, job.Active} {
		m.insist("Update", func() (err error) {
			m.job, err = m.store.Update(ctx, account, fresh.ID, func(j *job.Job) error {
				j.Status = to
				return nil
			})
			return err
		})
	}
}

func (m *model) claim(rt *rapid.T) { m.claimBy(rapid.IntRange(0, 1).Draw(rt, "node")) }

// claimBy reports whether there was a chunk to claim.
func (m *model) claimBy(node int) bool {
	var c jobstore.Claim
	var ok bool
	m.insist("Claim", func() (err error) {
		c, ok, err = m.nodes[node].Claim(m.t.Context(), m.job)
		return err
	})
	if !ok {
		return false
	}
	for _, h := range m.claims {
		if h.claim.Chunk.First == c.Chunk.First {
			m.rt.Fatalf("chunk %d is claimed twice", c.Chunk.First)
		}
	}
	if _, twice := m.done[c.Chunk.Row]; twice || c.Chunk.Rows == 0 {
		m.rt.Fatalf("claimed rows that are done: %+v", c.Chunk)
	}
	m.claims = append(m.claims, held{node, c})
	return true
}

// pick takes one of the claims out.
func (m *model) pick(rt *rapid.T) (held, bool) {
	if len(m.claims) == 0 {
		return held{}, false
	}
	i := rapid.IntRange(0, len(m.claims)-1).Draw(rt, "claim")
	h := m.claims[i]
	m.claims = append(m.claims[:i:i], m.claims[i+1:]...)
	return h, true
}

func (m *model) commit(rt *rapid.T) {
	if h, ok := m.pick(rt); ok {
		m.commitRows(h, rapid.Int64Range(1, h.claim.Chunk.Rows).Draw(rt, "rows"))
	}
}

func (m *model) commitRows(h held, rows int64) {
	seg, delta, rest := next(h.claim.Chunk, rows, rows/3)
	before := h
	m.insist("Commit", func() (err error) {
		h.claim, err = m.nodes[h.node].Commit(m.t.Context(), before.claim, seg, delta, rest)
		return err
	})
	m.done[seg.Row] = seg
	m.gone = append(m.gone, before)
	if rest.Rows > 0 {
		m.claims = append(m.claims, h)
	}
}

// stale commits under a claim that has moved on: it must not count.
func (m *model) stale(rt *rapid.T) {
	if len(m.gone) == 0 {
		return
	}
	h := m.gone[rapid.IntRange(0, len(m.gone)-1).Draw(rt, "gone")]
	rows := rapid.Int64Range(1, h.claim.Chunk.Rows).Draw(rt, "rows")
	seg, delta, rest := next(h.claim.Chunk, rows, rows/3)
	if done, ok := m.done[seg.Row]; ok && done.Rows == rows {
		return // a repetition, which is answered with success and does not count either
	}
	err := job.ErrUnavailable
	for errors.Is(err, job.ErrUnavailable) {
		_, err = m.nodes[h.node].Commit(m.t.Context(), h.claim, seg, delta, rest)
	}
	if err == nil {
		rt.Fatalf("stale commit of %d rows at row %d was taken", rows, seg.Row)
	}
}

func (m *model) release(rt *rapid.T) {
	h, ok := m.pick(rt)
	if !ok {
		return
	}
	m.gone = append(m.gone, h)
	m.insist("Release", func() error { return m.nodes[h.node].Release(m.t.Context(), h.claim) })
}

// die takes a node's lease away and lets it come back.
func (m *model) die(rt *rapid.T) {
	node := rapid.IntRange(0, 1).Draw(rt, "node")
	old := m.nodes[node]
	m.join(node)
	var left []held
	for _, h := range m.claims {
		if h.node != node {
			left = append(left, h)
			continue
		}
		m.gone = append(m.gone, h)
		seg, delta, rest := next(h.claim.Chunk, 1, 0)
		err := job.ErrUnavailable
		for errors.Is(err, job.ErrUnavailable) {
			_, err = old.Commit(m.t.Context(), h.claim, seg, delta, rest)
		}
		if !errors.Is(err, jobstore.ErrFenced) {
			rt.Fatalf("commit of a dead node: %v", err)
		}
	}
	m.claims = left
}

func (m *model) check(rt *rapid.T) {
	ctx := m.t.Context()
	var j job.Job
	m.insist("Job", func() (err error) {
		j, err = m.store.Job(ctx, account, m.job.ID)
		return err
	})
	var stored map[int64]job.Segment
	m.insist("Segments", func() error {
		stored = map[int64]job.Segment{}
		for seg, err := range m.store.Segments(ctx, m.job.ID) {
			if err != nil {
				return err
			}
			stored[seg.Row] = seg
		}
		return nil
	})
	var want job.Tally
	for at, seg := range m.done {
		want.Succeeded += seg.Succeeded
		want.Failed += seg.Failed
		if got := stored[at]; got.Rows != seg.Rows || got.Failed != seg.Failed {
			rt.Fatalf("segment at row %d is %+v, want %+v", at, got, seg)
		}
	}
	if len(stored) != len(m.done) {
		rt.Fatalf("%d segments, want %d", len(stored), len(m.done))
	}
	if j.Tally.Succeeded != want.Succeeded || j.Tally.Failed != want.Failed || j.Tally.Codes["AccessDenied"].Count != want.Failed {
		rt.Fatalf("tally %+v, want %d succeeded and %d failed", j.Tally, want.Succeeded, want.Failed)
	}
}

// finish does what is left, and counts.
func (m *model) finish() {
	for {
		for len(m.claims) > 0 {
			h := m.claims[0]
			m.claims = m.claims[1:]
			m.commitRows(h, h.claim.Chunk.Rows)
		}
		// A claim whose answer got lost is found by its own node only.
		if !m.claimBy(0) && !m.claimBy(1) {
			break
		}
	}
	m.check(m.rt)
	var covered int64
	for at := int64(0); covered < m.rows; {
		seg, ok := m.done[at]
		if !ok {
			m.rt.Fatalf("row %d has no outcome", at)
		}
		at += seg.Rows
		covered += seg.Rows
	}
	var w jobstore.Work
	m.insist("Work", func() (err error) {
		w, err = m.store.Work(m.t.Context(), m.job.ID)
		return err
	})
	if want := (jobstore.Work{Segments: int64(len(m.done)), Covered: m.rows}); w != want {
		m.rt.Fatalf("at the end %+v, want %+v", w, want)
	}
	for _, n := range m.nodes {
		m.insist("Leave", func() error { return n.Leave(m.t.Context()) })
	}
}
