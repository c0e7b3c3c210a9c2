// Package jobstoretest holds what a job store promises, as tests that any
// implementation can be put through:
//
//	func TestStore(t *testing.T) { jobstoretest.Run(t, open) }
package jobstoretest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

// Store is what is put to the test.
type Store interface {
	Create(ctx context.Context, j job.Job) (stored job.Job, isNew bool, err error)
	JobID(account, region, token string) string
	Job(ctx context.Context, account, id string) (job.Job, error)
	Update(ctx context.Context, account, id string, change func(*job.Job) error) (job.Job, error)
	Delete(ctx context.Context, account, id string) error
	List(account, region string, statuses []job.Status, after job.Cursor, limit int) (page []job.Summary, more bool)
	Jobs(statuses ...job.Status) []job.Summary
	Changes() *jobstore.Subscription
	Join(ctx context.Context, name string) (*jobstore.Node, error)
	Checkpoint(ctx context.Context, jobID string) (jobstore.Checkpoint, bool, error)
	Generation(ctx context.Context, jobID string) (json.RawMessage, error)
	GenerationFiles(ctx context.Context, jobID string) iter.Seq2[json.RawMessage, error]
	Work(ctx context.Context, jobID string) (jobstore.Work, error)
	Segments(ctx context.Context, jobID string) iter.Seq2[job.Segment, error]
	Ready() error
	Close() error
}

// Open opens the store that lives in dir, or makes it. Leases should be short:
// some tests wait for one to be found gone.
type Open func(t testing.TB, dir string) Store

// Run puts the stores that open returns through every test.
func Run(t *testing.T, open Open) {
	s := suite{open}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Create", s.create},
		{"JobID", s.jobID},
		{"NotFound", s.notFound},
		{"UpdateRace", s.updateRace},
		{"UpdateRefuses", s.updateRefuses},
		{"UpdateWithoutChange", s.updateWithoutChange},
		{"TerminalLeavesTheRecord", s.terminal},
		{"TerminalDuringCommits", s.terminalDuringCommits},
		{"Delete", s.delete},
		{"Plan", s.plan},
		{"PlanFenced", s.planFenced},
		{"PlanRefuses", s.planRefuses},
		{"Generation", s.generation},
		{"Own", s.own},
		{"ClaimOnce", s.claimOnce},
		{"ClaimRunnableOnly", s.claimRunnableOnly},
		{"Release", s.release},
		{"Commit", s.commit},
		{"CommitConcurrently", s.commitConcurrently},
		{"CommitRefuses", s.commitRefuses},
		{"FencedNode", s.fencedNode},
		{"Leave", s.leave},
		{"List", s.list},
		{"ListProgress", s.listProgress},
		{"Jobs", s.jobs},
		{"Changes", s.changes},
		{"Reopen", s.reopen},
		{"Closed", s.closed},
		{"CloseDuringCommits", s.closeDuringCommits},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
	t.Run("Schedules", func(t *testing.T) {
		t.Parallel()
		Schedules(t, open)
	})
}

type suite struct{ open Open }

const (
	account = "123456789012"
	region  = "us-east-1"
)

// began is when the jobs of these tests are made.
var began = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

// new opens a new store.
func (s suite) new(t *testing.T) Store {
	t.Helper()
	return s.at(t, t.TempDir())
}

func (s suite) at(t testing.TB, dir string) Store {
	t.Helper()
	store := s.open(t, dir)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return store
}

// add creates a job in status New.
func add(t testing.TB, s Store, token string) job.Job {
	t.Helper()
	j, isNew, err := s.Create(t.Context(), job.Job{
		ID: s.JobID(account, region, token), Account: account, Region: region,
		Status: job.New, CreationTime: began, Priority: 10, Fingerprint: token,
	})
	if err != nil || !isNew {
		t.Fatalf("Create %s: new %t, %v", token, isNew, err)
	}
	return j
}

// move takes a job through statuses.
func move(t testing.TB, s Store, j job.Job, statuses ...job.Status) job.Job {
	t.Helper()
	for _, to := range statuses {
		var err error
		j, err = s.Update(t.Context(), j.Account, j.ID, func(j *job.Job) error {
			if !j.Become(to, began.Add(time.Minute)) {
				return &job.StatusError{From: j.Status, Want: to}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("move to %s: %v", to, err)
		}
	}
	return j
}

func join(t testing.TB, s Store, name string) *jobstore.Node {
	t.Helper()
	n, err := s.Join(t.Context(), name)
	if err != nil {
		t.Fatalf("Join %s: %v", name, err)
	}
	return n
}

// own takes a job that nobody has.
func own(t testing.TB, n *jobstore.Node, j job.Job) jobstore.Ownership {
	t.Helper()
	o, ok, err := n.Own(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("Own: %t, %v", ok, err)
	}
	return o
}

const bytesPerRow = 10

// cut makes count chunks of size rows each, the first at row first.
func cut(first, count, size int64) []job.Chunk {
	chunks := make([]job.Chunk, count)
	for i := range chunks {
		at := first + int64(i)*size
		chunks[i] = job.Chunk{First: at, Row: at, Rows: size, Offset: at * bytesPerRow, End: (at + size) * bytesPerRow, Line: at + 1}
	}
	return chunks
}

// planned makes a job in status Active with count chunks of size rows.
func planned(t testing.TB, s Store, n *jobstore.Node, token string, count, size int64) job.Job {
	t.Helper()
	j := move(t, s, add(t, s, token), job.Preparing)
	o := own(t, n, j)
	for at := int64(0); at < count; at += jobstore.MaxChunks {
		chunks := cut(at*size, min(jobstore.MaxChunks, count-at), size)
		rows := (at + int64(len(chunks))) * size
		cp := jobstore.Checkpoint{Chunks: at + int64(len(chunks)), Rows: rows, Offset: rows * bytesPerRow}
		if err := n.PutChunks(t.Context(), o, chunks, cp); err != nil {
			t.Fatalf("PutChunks: %v", err)
		}
	}
	j, err := s.Update(t.Context(), j.Account, j.ID, func(j *job.Job) error {
		j.Plan = &job.Plan{Tasks: count * size, ETag: "e"}
		j.Become(job.Ready, began)
		return nil
	})
	if err != nil {
		t.Fatalf("end planning: %v", err)
	}
	if err := n.Disown(t.Context(), o); err != nil {
		t.Fatalf("Disown: %v", err)
	}
	return move(t, s, j, job.Active)
}

func claim(t testing.TB, n *jobstore.Node, j job.Job) jobstore.Claim {
	t.Helper()
	c, ok, err := n.Claim(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("Claim: %t, %v", ok, err)
	}
	return c
}

// next makes what is committed for the next rows of a chunk, of which failed fail.
func next(c job.Chunk, rows, failed int64) (job.Segment, job.Tally, job.Chunk) {
	seg := job.Segment{Row: c.Row, Rows: rows, Succeeded: rows - failed, Failed: failed}
	seg.Parts = []job.Part{{Key: fmt.Sprintf("part-%d", c.Row), Rows: rows, Size: 100, MD5: "d41d8cd98f00b204e9800998ecf8427e"}}
	delta := job.Tally{Succeeded: rows - failed}
	for range failed {
		delta.Fail("AccessDenied", 403, "bucket/key")
	}
	c.Row += rows
	c.Rows -= rows
	c.Offset += rows * bytesPerRow
	c.Line += rows
	return seg, delta, c
}

// commit commits rows, of which failed failed, and returns what is left.
func commit(t testing.TB, n *jobstore.Node, c jobstore.Claim, rows, failed int64) jobstore.Claim {
	t.Helper()
	seg, delta, rest := next(c.Chunk, rows, failed)
	c, err := n.Commit(t.Context(), c, seg, delta, rest)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return c
}

func segments(t testing.TB, s Store, id string) []job.Segment {
	t.Helper()
	var out []job.Segment
	for seg, err := range s.Segments(t.Context(), id) {
		if err != nil {
			t.Fatalf("Segments: %v", err)
		}
		out = append(out, seg)
	}
	return out
}

func work(t testing.TB, s Store, id string) jobstore.Work {
	t.Helper()
	w, err := s.Work(t.Context(), id)
	if err != nil {
		t.Fatalf("Work: %v", err)
	}
	return w
}

func read(t testing.TB, s Store, j job.Job) job.Job {
	t.Helper()
	j, err := s.Job(t.Context(), j.Account, j.ID)
	if err != nil {
		t.Fatalf("Job: %v", err)
	}
	return j
}
