package jobstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

// crashDir names the variable that makes the test binary commit until it is killed.
const crashDir = "JOBSTORE_CRASH_DIR"

const (
	crashChunks = 400
	crashRows   = 50
	crashKills  = 5
)

// commitForever is the child: it opens the store, makes the job if there is
// none, and says which row it commits, first when it begins and again, with ok,
// when that was acknowledged.
func commitForever(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := jobstore.Open(ctx, jobstore.Config{Dir: dir})
	fail(err)
	n, err := s.Join(ctx, "node")
	fail(err)
	j, err := s.Job(ctx, "1", s.JobID("1", "r", "token"))
	fail(err)
	for {
		c, ok, err := n.Claim(ctx, j)
		fail(err)
		if !ok {
			os.Exit(0)
		}
		for c.Chunk.Rows > 0 {
			row := c.Chunk.Row
			seg, delta, rest := after(c.Chunk, 1)
			c, err = n.Commit(ctx, c, seg, delta, rest)
			fail(err)
			fmt.Println(row)
		}
	}
}

// TestKill kills a process in the middle of committing, again and again. What
// it had been told is stored is stored, once, and the rest can be done at once.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	n, j := active(t, s, crashChunks, crashRows)
	if err := n.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	acknowledged := map[int64]bool{}
	for kill := range crashKills {
		killCommitting(t, dir, 100+77*kill, acknowledged)
	}

	s = open(t, dir)
	defer s.Close()
	stored := map[int64]bool{}
	for seg, err := range s.Segments(t.Context(), j.ID) {
		if err != nil {
			t.Fatal(err)
		}
		for row := seg.Row; row < seg.Row+seg.Rows; row++ {
			if stored[row] {
				t.Errorf("row %d has two outcomes", row)
			}
			stored[row] = true
		}
	}
	for row := range acknowledged {
		if !stored[row] {
			t.Errorf("row %d was acknowledged and is not stored", row)
		}
	}
	// Of each life, one commit at most may be stored without its process having said so.
	if extra := len(stored) - len(acknowledged); extra < 0 || extra > crashKills {
		t.Errorf("%d rows stored, %d acknowledged", len(stored), len(acknowledged))
	}
	got, err := s.Job(t.Context(), j.Account, j.ID)
	if err != nil || got.Tally.Executed() != int64(len(stored)) {
		t.Errorf("tally %d, %v; want %d", got.Tally.Executed(), err, len(stored))
	}

	if n, err = s.Join(t.Context(), "node"); err != nil {
		t.Fatal(err)
	}
	for {
		c, ok, err := n.Claim(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if c = commitRows(t, n, c, c.Chunk.Rows); c.Chunk.Rows != 0 {
			t.Fatalf("left: %+v", c.Chunk)
		}
	}
	w, err := s.Work(t.Context(), j.ID)
	if err != nil || w.Covered != crashChunks*crashRows || w.Chunks != 0 || w.Claims != 0 {
		t.Errorf("at the end %+v, %v; want %d rows covered", w, err, crashChunks*crashRows)
	}
}

// killCommitting lets a child commit, kills it after some commits and notes
// the rows it had acknowledged, up to the last word it said.
func killCommitting(t *testing.T, dir string, commits int, acknowledged map[int64]bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), exe)
	child.Env = append(os.Environ(), crashDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var row int64
		if _, err := fmt.Sscan(lines.Text(), &row); err != nil {
			t.Errorf("child said %q", lines.Text())
			continue
		}
		if acknowledged[row] {
			t.Errorf("row %d was acknowledged twice", row)
		}
		acknowledged[row] = true
		if said++; said == commits {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := child.Wait(); err == nil || said < commits {
		t.Fatalf("child ended by itself after %d commits: %v", said, err)
	}
}

// TestKilledAtBirth opens a store whose predecessor was killed after it had made
// its log and before anything was in it. etcd alone would wait for ever.
func TestKilledAtBirth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "member", "wal")
	w, err := wal.OpenForRead(nil, log, &walpb.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	metadata, _, _, err := w.ReadAll()
	_ = w.Close() // it says that what was opened for reading cannot be synced
	if err := errors.Join(err, os.RemoveAll(filepath.Join(dir, "member"))); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	if w, err = wal.Create(zap.NewNop(), log, metadata); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := jobstore.Open(ctx, jobstore.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if aside, err := filepath.Glob(filepath.Join(dir, "member.unborn-*")); err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
	// A store that holds something is never set aside.
	s = open(t, dir)
	id := s.JobID("1", "r", "token")
	if _, _, err := s.Create(t.Context(), job.Job{Account: "1", Region: "r", ID: id, Status: job.New}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if _, err := s.Job(t.Context(), "1", id); err != nil {
		t.Error(err)
	}
}
