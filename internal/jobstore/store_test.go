package jobstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	"stevedore/internal/jobstore/jobstoretest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		commitForever(dir)
	}
	goleak.VerifyTestMain(m)
}

// lease is as short as etcd lets it be.
const lease = 2 * time.Second

func open(t testing.TB, dir string) *jobstore.Store {
	t.Helper()
	s, err := jobstore.Open(t.Context(), jobstore.Config{Dir: dir, LeaseTTL: lease})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openForTest(t testing.TB) *jobstore.Store {
	t.Helper()
	s := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	jobstoretest.Run(t, func(t testing.TB, dir string) jobstoretest.Store {
		t.Helper()
		return open(t, dir)
	})
}

// TestFaultySchedules is the model test on a store that often answers with a
// timeout, half of the times after having done what it was asked.
func TestFaultySchedules(t *testing.T) {
	t.Parallel()
	jobstoretest.Schedules(t, func(t testing.TB, dir string) jobstoretest.Store {
		t.Helper()
		s := open(t, dir)
		s.InjectFaults(func() jobstore.Fault {
			switch rand.IntN(10) {
			case 0:
				return jobstore.LoseCall
			case 1:
				return jobstore.LoseAnswer
			default:
				return jobstore.NoFault
			}
		})
		return s
	})
}

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := jobstore.Open(t.Context(), jobstore.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened twice: %v; want an error that names %s", err, dir)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	if _, err := jobstore.Open(t.Context(), jobstore.Config{}); err == nil {
		t.Error("opened without a directory")
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := jobstore.Open(t.Context(), jobstore.Config{Dir: file}); err == nil {
		t.Error("opened in a file")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := jobstore.Open(ended, jobstore.Config{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("opened with a context that has ended: %v", err)
	}
	if err := open(t, dir).Close(); err != nil { // and nothing of it stays open
		t.Fatal(err)
	}
}

func TestDirIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/a/b"
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o700 {
		t.Errorf("mode %o, want 700", mode)
	}
}

// TestTerminalKeys looks under the hood: of an ended job one key is left, of a
// deleted one none.
func TestTerminalKeys(t *testing.T) {
	t.Parallel()
	s := openForTest(t)
	n, j := active(t, s, 3, 10)
	c, _, err := n.Claim(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	commitRows(t, n, c, 4)
	if _, _, err := n.Own(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	count := func() (keys []string) {
		for _, k := range s.Keys(t) {
			if strings.Contains(k, j.ID) {
				keys = append(keys, k)
			}
		}
		return keys
	}
	if keys := count(); len(keys) != 9 { // record, checkpoint, owner, 3 chunks, claim, segment, tally
		t.Errorf("while it runs: %q", keys)
	}
	setStatus(t, s, j, job.Cancelling, job.Cancelled)
	if keys := count(); len(keys) != 1 {
		t.Errorf("when it has ended: %q", keys)
	}
	if err := s.Delete(t.Context(), j.Account, j.ID); err != nil {
		t.Fatal(err)
	}
	if keys := count(); len(keys) != 0 {
		t.Errorf("when it is deleted: %q", keys)
	}
}

// TestLostAnswers loses the answer to each call once: nothing may be counted
// twice, and no chunk may stay claimed by nobody.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	s := openForTest(t)
	n, j := active(t, s, 1, 10)
	var mu sync.Mutex
	var faults []jobstore.Fault
	s.InjectFaults(func() jobstore.Fault {
		mu.Lock()
		defer mu.Unlock()
		if len(faults) == 0 {
			return jobstore.NoFault
		}
		f := faults[0]
		faults = faults[1:]
		return f
	})
	next := func(f ...jobstore.Fault) {
		mu.Lock()
		defer mu.Unlock()
		faults = f
	}

	next(jobstore.NoFault, jobstore.LoseAnswer) // the search succeeds, the claim's answer is lost
	if _, _, err := n.Claim(t.Context(), j); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("claim whose answer is lost: %v", err)
	}
	c, ok, err := n.Claim(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("the claim is nobody's: %t, %v", ok, err)
	}
	next(jobstore.LoseAnswer, jobstore.LoseCall)
	c = commitRows(t, n, c, 4)
	next(jobstore.LoseCall, jobstore.LoseAnswer, jobstore.LoseAnswer)
	c = commitRows(t, n, c, 1)
	next(jobstore.LoseAnswer)
	if err := n.Release(t.Context(), c); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("release whose answer is lost: %v", err)
	}
	c, ok, err = n.Claim(t.Context(), j)
	if err != nil || !ok || c.Chunk.Row != 5 {
		t.Fatalf("claim of what is left: %+v, %t, %v", c, ok, err)
	}
	next(jobstore.LoseCall)
	if err := n.Release(t.Context(), c); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("release that is lost: %v", err)
	}
	c, ok, err = n.Claim(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("the claim that was not released: %t, %v", ok, err)
	}
	next(jobstore.LoseAnswer)
	commitRows(t, n, c, 5)

	next(jobstore.LoseAnswer)
	if _, _, err := n.Own(t.Context(), j); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("ownership whose answer is lost: %v", err)
	}
	if _, ok, err := n.Own(t.Context(), j); err != nil || !ok {
		t.Errorf("the ownership is nobody's: %t, %v", ok, err)
	}
	w, err := s.Work(t.Context(), j.ID)
	if want := (jobstore.Work{Segments: 3, Covered: 10}); err != nil || w != want {
		t.Errorf("at the end %+v, %v; want %+v", w, err, want)
	}
}

// TestCommitGivesUp: a commit is not tried for ever, and may be repeated.
func TestCommitGivesUp(t *testing.T) {
	t.Parallel()
	s := openForTest(t)
	n, j := active(t, s, 1, 10)
	c, _, err := n.Claim(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	s.InjectFaults(func() jobstore.Fault {
		if tries++; tries <= 10 {
			return jobstore.LoseAnswer
		}
		return jobstore.NoFault
	})
	rest := job.Chunk{First: 0, Row: 10}
	seg, delta := job.Segment{Rows: 10, Succeeded: 10}, job.Tally{Succeeded: 10}
	if _, err := n.Commit(t.Context(), c, seg, delta, rest); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("commit without an answer: %v", err)
	}
	if _, err := n.Commit(t.Context(), c, seg, delta, rest); err != nil {
		t.Fatalf("repeated: %v", err)
	}
	if got, err := s.Job(t.Context(), j.Account, j.ID); err != nil || got.Tally.Succeeded != 10 {
		t.Errorf("tally %+v, %v; want 10 succeeded", got.Tally, err)
	}
}

// TestWatchCompacted lets the watch of the list fall behind compaction.
func TestWatchCompacted(t *testing.T) {
	t.Parallel()
	s := openForTest(t)
	_, j := active(t, s, 1, 10)
	s.Compact(t)
	if err := s.Watch(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "compacted") {
		t.Fatalf("watch from a compacted revision: %v", err)
	}
	sub := s.Changes()
	defer sub.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.FollowFrom(ctx, 1) })
	<-sub.C() // it has been loaded again
	cancel()
	wg.Wait()
	if list := s.Jobs(); len(list) != 1 || list[0].ID != j.ID || list[0].Status != job.Active {
		t.Errorf("listed: %+v", list)
	}
	if err := s.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	setStatus(t, s, j, job.Pausing)
	if list := s.Jobs(job.Pausing); len(list) != 1 {
		t.Errorf("listed: %+v", list)
	}
}

// TestSegmentsCompacted reads segments for so long that their revision goes.
func TestSegmentsCompacted(t *testing.T) {
	t.Parallel()
	s := openForTest(t)
	const total = 1234
	keys := make([]string, total)
	for i := range keys {
		keys[i] = fmt.Sprintf("segments/id/%019d", i)
	}
	put := func(keys []string) {
		s.PutRaw(t, keys, func(i int) string { return fmt.Sprintf(`{"Row":%d,"Rows":1,"Fence":5}`, i) })
	}
	put(keys)
	readAll := func(meanwhile func()) (rows int64, err error) {
		for seg, err := range s.Segments(t.Context(), "id") {
			if err != nil {
				return rows, err
			}
			if seg.Row != rows {
				t.Fatalf("segment at row %d, want %d", seg.Row, rows)
			}
			if rows == 3 {
				meanwhile()
			}
			rows++
		}
		return rows, nil
	}
	// A segment that comes meanwhile is not seen: it is one revision that is read.
	if rows, err := readAll(func() { put([]string{fmt.Sprintf("segments/id/%019d", total)}) }); rows != total || err != nil {
		t.Errorf("%d segments, %v; want %d", rows, err, total)
	}
	total1 := int64(total + 1)
	s.PutRaw(t, []string{fmt.Sprintf("segments/id/%019d", total)}, func(int) string { return fmt.Sprintf(`{"Row":%d}`, total) })
	forget := func() {
		s.PutRaw(t, []string{"nodes/x"}, func(int) string { return "{}" })
		s.Compact(t)
	}
	if rows, err := readAll(forget); rows != total1 || err != nil {
		t.Errorf("%d segments, %v; want %d", rows, err, total1)
	}
	_, err := readAll(func() {
		if err := s.Delete(t.Context(), "account", "id"); err != nil {
			t.Fatal(err)
		}
		forget()
	})
	if err == nil {
		t.Error("read segments that are gone")
	}
}

// TestQuota fills the store: it says so, refuses writes, and works again with more room.
func TestQuota(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log syncBuffer
	c := jobstore.Config{Dir: dir, QuotaBytes: 1 << 20, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s, err := jobstore.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	create := func(i int) error {
		_, _, err := s.Create(t.Context(), job.Job{
			ID: fmt.Sprintf("job-%d", i), Account: "1", StatusUpdateReason: strings.Repeat("x", 100_000),
		})
		return err
	}
	made := 0
	for err == nil {
		if err = create(made); err == nil {
			made++
		}
		if made > 100 {
			t.Fatal("100 jobs of 100 kB fit in 1 MiB")
		}
	}
	if !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("write beyond the quota: %v", err)
	}
	if err := s.Ready(); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "quota") {
		t.Errorf("Ready: %v", err)
	}
	if _, err := s.Job(t.Context(), "1", "job-0"); err != nil {
		t.Errorf("read beyond the quota: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "component=etcd") {
		t.Errorf("etcd's alarm is not in the log: %s", log.String())
	}

	c.QuotaBytes = 0
	if s, err = jobstore.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ready(); err != nil {
		t.Errorf("Ready with more room: %v", err)
	}
	if err := create(made); err != nil {
		t.Errorf("create with more room: %v", err)
	}
	if n := len(s.Jobs()); n < made+1 {
		t.Errorf("%d jobs, want at least %d", n, made+1)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// active makes a node and an Active job of count chunks of size rows.
func active(t testing.TB, s *jobstore.Store, count, size int64) (*jobstore.Node, job.Job) {
	t.Helper()
	n, err := s.Join(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	return n, activate(t, s, n, "token", count, size)
}

func activate(t testing.TB, s *jobstore.Store, n *jobstore.Node, token string, count, size int64) job.Job {
	t.Helper()
	j, _, err := s.Create(t.Context(), job.Job{ID: s.JobID("1", "r", token), Account: "1", Region: "r", Status: job.Preparing})
	if err != nil {
		t.Fatal(err)
	}
	own, _, err := n.Own(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < count; at += jobstore.MaxChunks {
		var chunks []job.Chunk
		for i := at; i < min(at+jobstore.MaxChunks, count); i++ {
			chunks = append(chunks, job.Chunk{First: i * size, Row: i * size, Rows: size, Offset: i * size, End: (i + 1) * size})
		}
		cp := jobstore.Checkpoint{Rows: (at + int64(len(chunks))) * size}
		if err := n.PutChunks(t.Context(), own, chunks, cp); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Disown(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	return setStatus(t, s, j, job.Ready, job.Active)
}

func setStatus(t testing.TB, s *jobstore.Store, j job.Job, statuses ...job.Status) job.Job {
	t.Helper()
	for _, to := range statuses {
		var err error
		j, err = s.Update(t.Context(), j.Account, j.ID, func(j *job.Job) error { j.Status = to; return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// after is what is committed when rows of a chunk have succeeded.
func after(c job.Chunk, rows int64) (job.Segment, job.Tally, job.Chunk) {
	seg := job.Segment{Row: c.Row, Rows: rows, Succeeded: rows}
	c.Row, c.Rows, c.Offset = c.Row+rows, c.Rows-rows, c.Offset+rows
	return seg, job.Tally{Succeeded: rows}, c
}

func commitRows(t testing.TB, n *jobstore.Node, c jobstore.Claim, rows int64) jobstore.Claim {
	t.Helper()
	seg, delta, rest := after(c.Chunk, rows)
	c, err := n.Commit(t.Context(), c, seg, delta, rest)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
