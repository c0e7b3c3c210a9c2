package jobstoretest

import (
	"errors"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

func (s suite) create(t *testing.T) {
	store := s.new(t)
	id := store.JobID(account, region, "token")
	var made atomic.Int32
	got := make([]job.Job, 64)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			j, isNew, err := store.Create(t.Context(), job.Job{
				ID: id, Account: account, Region: region,
				Status: job.New, CreationTime: began, Priority: int32(i),
			})
			if err != nil {
				t.Errorf("Create: %v", err)
			}
			if isNew {
				made.Add(1)
				if j.Priority != int32(i) {
					t.Errorf("made the job of caller %d, got that of %d", i, j.Priority)
				}
			}
			got[i] = j
		})
	}
	wg.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("%d callers made the job, want 1", n)
	}
	want := read(t, store, got[0])
	if want.Revision == 0 {
		t.Error("the job has no revision")
	}
	want.Tally = nil
	for _, j := range got {
		if diff := cmp.Diff(want, j); diff != "" {
			t.Fatalf("callers got different jobs:\n%s", diff)
		}
	}
	if list, _ := store.List(account, region, nil, job.Cursor{}, 10); len(list) != 1 {
		t.Errorf("%d jobs are listed, want 1", len(list))
	}
}

func (s suite) jobID(t *testing.T) {
	dir := t.TempDir()
	store := s.at(t, dir)
	id := store.JobID(account, region, "token")
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("%s is not a random UUID", id)
	}
	differs := func(account, region, token string) {
		t.Helper()
		if store.JobID(account, region, token) == id {
			t.Errorf("%s %s %s gives the same ID", account, region, token)
		}
	}
	differs(account, region, "token2")
	differs(account, "us-east-2", "token")
	differs("210987654321", region, "token")
	differs(account+"u", "s-east-1", "token")
	differs(account, region+"t", "oken")
	if other := s.new(t).JobID(account, region, "token"); other == id {
		t.Error("another store gives the same ID: it can be guessed")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if again := s.at(t, dir).JobID(account, region, "token"); again != id {
		t.Errorf("ID is %s after opening again, was %s", again, id)
	}
}

func (s suite) notFound(t *testing.T) {
	store := s.new(t)
	j := add(t, store, "a")
	if _, err := store.Job(t.Context(), "210987654321", j.ID); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("job of another account: %v", err)
	}
	_, err := store.Update(t.Context(), account, "none", func(*job.Job) error {
		t.Error("change was called without a job")
		return nil
	})
	if !errors.Is(err, job.ErrNotFound) {
		t.Errorf("update of no job: %v", err)
	}
	if err := store.Delete(t.Context(), account, "none"); err != nil {
		t.Errorf("delete of no job: %v", err)
	}
	if _, _, err := store.Create(t.Context(), job.Job{ID: "a/b", Account: account}); err == nil {
		t.Error("an ID that is no key was taken")
	}
}

func (s suite) updateRace(t *testing.T) {
	store := s.new(t)
	j := move(t, store, add(t, store, "a"), job.Preparing, job.Suspended)
	lost := errors.New("too late")
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		to := []job.Status{job.Ready, job.Cancelled}[i%2]
		wg.Go(func() {
			got, err := store.Update(t.Context(), account, j.ID, func(j *job.Job) error {
				if j.Status != job.Suspended {
					return lost
				}
				j.Become(to, began)
				return nil
			})
			switch {
			case err == nil && got.Status == to:
				won.Add(1)
			case !errors.Is(err, lost):
				t.Errorf("update to %s: got %s, %v", to, got.Status, err)
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d status changes won, want 1", n)
	}

	const each = 10
	for range 8 {
		wg.Go(func() {
			for range each {
				_, err := store.Update(t.Context(), account, j.ID, func(j *job.Job) error {
					j.Priority++
					return nil
				})
				if err != nil {
					t.Errorf("raise priority: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := read(t, store, j).Priority, j.Priority+8*each; got != want {
		t.Errorf("priority is %d, want %d: updates were lost", got, want)
	}
}

func (s suite) updateRefuses(t *testing.T) {
	store := s.new(t)
	j := add(t, store, "a")
	refused := func(what string, change func(*job.Job)) {
		t.Helper()
		_, err := store.Update(t.Context(), account, j.ID, func(j *job.Job) error {
			change(j)
			return nil
		})
		if err == nil {
			t.Errorf("%s was taken", what)
		}
		if diff := cmp.Diff(j.Status, read(t, store, j).Status); diff != "" {
			t.Errorf("%s left a trace:\n%s", what, diff)
		}
	}
	for _, to := range job.Statuses() {
		if to != j.Status && !j.Status.CanBecome(to) {
			refused("New to "+string(to), func(j *job.Job) { j.Status = to })
		}
	}
	refused("another account", func(j *job.Job) { j.Account = "210987654321" })
	refused("another ID", func(j *job.Job) { j.ID = "other" })
	refused("another region", func(j *job.Job) { j.Region = "other" })
	refused("another age", func(j *job.Job) { j.CreationTime = j.CreationTime.Add(1) })

	_, err := store.Update(t.Context(), account, j.ID, func(j *job.Job) error {
		j.Status = job.Active
		return nil
	})
	if e, ok := errors.AsType[*job.StatusError](err); !ok || e.From != job.New || e.Want != job.Active {
		t.Errorf("New to Active: %v", err)
	}
}

func (s suite) updateWithoutChange(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	j := planned(t, store, n, "a", 1, 10)
	commit(t, n, claim(t, n, j), 4, 1)
	got, err := store.Update(t.Context(), account, j.ID, func(j *job.Job) error {
		if j.Tally.Executed() != 4 {
			t.Errorf("change is told %d tasks, want 4", j.Tally.Executed())
		}
		j.Tally.Succeeded = 99
		return nil
	})
	if err != nil || got.Revision != j.Revision {
		t.Errorf("revision %d, want %d as before; %v", got.Revision, j.Revision, err)
	}
	if got.Tally.Succeeded != 3 {
		t.Errorf("%d succeeded, want 3: change has no say in it", got.Tally.Succeeded)
	}
}

func (s suite) terminal(t *testing.T) {
	store := s.new(t)
	a, b := join(t, store, "a"), join(t, store, "b")
	j := planned(t, store, a, "a", 3, 10)
	commit(t, a, claim(t, a, j), 10, 2)
	commit(t, b, claim(t, b, j), 3, 1)
	late := claim(t, a, j)
	own(t, b, j)
	running := j
	j = move(t, store, j, job.Cancelling, job.Cancelled)

	want := job.Tally{Succeeded: 10, Failed: 3, Codes: map[string]job.CodeTally{
		"AccessDenied": {Count: 3, HTTPStatus: 403, Samples: []string{"bucket/key", "bucket/key", "bucket/key"}},
	}}
	if diff := cmp.Diff(&want, j.Tally); diff != "" {
		t.Errorf("tally of the answer:\n%s", diff)
	}
	if diff := cmp.Diff(j, read(t, store, j)); diff != "" {
		t.Errorf("stored and answered differ:\n%s", diff)
	}
	if w := work(t, store, j.ID); w != (jobstore.Work{}) {
		t.Errorf("left behind: %+v", w)
	}
	if _, ok, err := store.Checkpoint(t.Context(), j.ID); ok || err != nil {
		t.Errorf("checkpoint is left: %t, %v", ok, err)
	}
	seg, delta, rest := next(late.Chunk, 5, 0)
	if _, err := a.Commit(t.Context(), late, seg, delta, rest); !errors.Is(err, jobstore.ErrFenced) {
		t.Errorf("commit after the end: %v", err)
	}
	for _, j := range []job.Job{j, running} { // whatever the caller believes
		if _, ok, err := a.Claim(t.Context(), j); ok || err != nil {
			t.Errorf("claim after the end: %t, %v", ok, err)
		}
		if _, ok, err := a.Own(t.Context(), j); ok || err != nil {
			t.Errorf("own after the end: %t, %v", ok, err)
		}
	}
	tagged, err := store.Update(t.Context(), account, j.ID, func(j *job.Job) error {
		j.Tags = []job.Tag{{Key: "k", Value: "v"}}
		return nil
	})
	if err != nil {
		t.Fatalf("tag an ended job: %v", err)
	}
	if diff := cmp.Diff(&want, tagged.Tally); diff != "" {
		t.Errorf("tally after a later update:\n%s", diff)
	}
}

// terminalDuringCommits ends a job while its tasks are being committed: the
// record must count exactly those whose commit was acknowledged.
func (s suite) terminalDuringCommits(t *testing.T) {
	store := s.new(t)
	nodes := []*jobstore.Node{join(t, store, "a"), join(t, store, "b")}
	j := planned(t, store, nodes[0], "a", 40, 20)
	j = move(t, store, j, job.Pausing)
	j = move(t, store, j, job.Paused, job.Active)

	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	halfway := make(chan struct{})
	for i := range 8 {
		n := nodes[i%2]
		wg.Go(func() {
			for {
				c, ok, err := n.Claim(t.Context(), j)
				if err != nil {
					t.Errorf("Claim: %v", err)
				}
				if !ok {
					return
				}
				for c.Chunk.Rows > 0 {
					seg, delta, rest := next(c.Chunk, 1, 0)
					c, err = n.Commit(t.Context(), c, seg, delta, rest)
					if errors.Is(err, jobstore.ErrFenced) {
						return
					}
					if err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					if acknowledged.Add(1) == 100 {
						close(halfway)
					}
				}
			}
		})
	}
	<-halfway
	j = move(t, store, j, job.Cancelling, job.Cancelled)
	wg.Wait()
	if got, want := j.Tally.Executed(), acknowledged.Load(); got != want {
		t.Errorf("the record counts %d tasks, %d were acknowledged", got, want)
	}
	if w := work(t, store, j.ID); w != (jobstore.Work{}) {
		t.Errorf("left behind: %+v", w)
	}
}

func (s suite) delete(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "a")
	j, other := planned(t, store, n, "a", 3, 10), planned(t, store, n, "b", 3, 10)
	commit(t, n, claim(t, n, j), 4, 0)
	if err := store.Delete(t.Context(), account, j.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Job(t.Context(), account, j.ID); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("deleted job: %v", err)
	}
	if w := work(t, store, j.ID); w != (jobstore.Work{}) {
		t.Errorf("left behind: %+v", w)
	}
	if list, _ := store.List(account, region, nil, job.Cursor{}, 10); len(list) != 1 || list[0].ID != other.ID {
		t.Errorf("listed after the deletion: %v", list)
	}
	if _, ok, err := n.Claim(t.Context(), j); ok || err != nil {
		t.Errorf("claim of a deleted job: %t, %v", ok, err)
	}
	if w := work(t, store, other.ID); w.Chunks != 3 {
		t.Errorf("the other job has %d chunks, want 3", w.Chunks)
	}
	if again := add(t, store, "a"); again.ID != j.ID {
		t.Errorf("made again as %s, want %s", again.ID, j.ID)
	}
}

func (s suite) list(t *testing.T) {
	store := s.new(t)
	var want []job.Cursor
	for i := range 30 {
		// Three jobs share each instant, and they come in no order.
		at := began.Add(time.Duration(i*7%10) * time.Millisecond)
		j, _, err := store.Create(t.Context(), job.Job{
			ID: store.JobID(account, region, string(rune('A'+i))), Account: account, Region: region,
			Status: job.New, CreationTime: at,
		})
		if err != nil {
			t.Fatal(err)
		}
		c := job.Cursor{CreationTime: j.CreationTime, ID: j.ID}
		i := 0
		for i < len(want) && want[i].Compare(c) < 0 {
			i++
		}
		want = append(want[:i], append([]job.Cursor{c}, want[i:]...)...)
	}
	if _, _, err := store.Create(t.Context(), job.Job{ID: "x", Account: account, Region: "other", CreationTime: began}); err != nil {
		t.Fatal(err)
	}
	check := func(want []job.Cursor, limit int, statuses ...job.Status) {
		t.Helper()
		var got []job.Cursor
		var after job.Cursor
		for more := true; more; {
			var page []job.Summary
			page, more = store.List(account, region, statuses, after, limit)
			if len(page) > limit || len(page) == 0 && len(want) > 0 {
				t.Fatalf("page of %d, at most %d were asked for", len(page), limit)
			}
			for _, s := range page {
				got = append(got, s.Cursor())
				after = s.Cursor()
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("list by %d of %v:\n%s", limit, statuses, diff)
		}
	}
	check(want, 7)
	check(want, 10)
	check(want, 30)
	check(want, 1000)
	check(nil, 10, job.Active)

	var odd []job.Cursor
	for i, c := range want {
		if i%2 == 1 {
			move(t, store, job.Job{Account: account, ID: c.ID}, job.Preparing)
			odd = append(odd, c)
		}
		check(odd, 4, job.Preparing, job.Active) // what was just changed shows at once
	}
	check(want, 7, job.New, job.Preparing)

	after := want[3]
	if err := store.Delete(t.Context(), account, after.ID); err != nil {
		t.Fatal(err)
	}
	page, _ := store.List(account, region, nil, after, 1)
	if len(page) != 1 || page[0].Cursor() != want[4] {
		t.Errorf("after a job that is gone comes %v, want %v", page, want[4])
	}
}

func (s suite) listProgress(t *testing.T) {
	store := s.new(t)
	a, b := join(t, store, "a"), join(t, store, "b")
	j := planned(t, store, a, "a", 2, 10)
	sub := store.Changes()
	defer sub.Close()
	commit(t, a, claim(t, a, j), 5, 1)
	commit(t, b, claim(t, b, j), 6, 3)
	for {
		list, _ := store.List(account, region, nil, job.Cursor{}, 10)
		if len(list) == 1 && list[0].Tasks == 20 && list[0].Succeeded == 7 && list[0].Failed == 4 {
			break
		}
		select {
		case <-sub.C():
		case <-t.Context().Done():
			t.Fatalf("listed: %+v", list)
		}
	}
	move(t, store, j, job.Cancelling, job.Cancelled)
	if list, _ := store.List(account, region, nil, job.Cursor{}, 10); list[0].Succeeded != 7 || list[0].Failed != 4 {
		t.Errorf("listed after the end: %+v", list)
	}
}

func (s suite) jobs(t *testing.T) {
	store := s.new(t)
	for _, j := range []job.Job{
		{ID: "low", Account: "1", Priority: 1, CreationTime: began, Status: job.Ready},
		{ID: "young", Account: "2", Priority: 5, CreationTime: began.Add(time.Second), Status: job.Active},
		{ID: "old", Account: "1", Priority: 5, CreationTime: began, Status: job.Ready},
		{ID: "done", Account: "1", Priority: 9, CreationTime: began, Status: job.Complete},
	} {
		if _, _, err := store.Create(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want []string, statuses ...job.Status) {
		t.Helper()
		var got []string
		for _, s := range store.Jobs(statuses...) {
			got = append(got, s.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("jobs in %v:\n%s", statuses, diff)
		}
	}
	check([]string{"done", "old", "young", "low"})
	check([]string{"old", "young", "low"}, job.Ready, job.Active)
	check([]string{"old", "low"}, job.Ready)
	check([]string{"done", "young"}, job.Complete, job.Active)
}
