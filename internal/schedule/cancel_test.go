package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"stevedore/internal/job"
	s3test "stevedore/internal/objectstore/objectstoretest"
)

// refuses checks that a status cannot be asked for.
func (w *world) refuses(id string, want job.Status) {
	w.t.Helper()
	_, err := w.request(id, want)
	if _, ok := errors.AsType[*job.StatusError](err); !ok {
		w.t.Errorf("%s asked for in %s: %v", want, w.job(id).Status, err)
	}
}

func TestCancelBeforeAnythingRan(t *testing.T) {
	t.Parallel()
	ended := func(t *testing.T, w *world, id string) {
		t.Helper()
		w.awaitStatus(id, job.Cancelled)
		j, _ := w.verify(id)
		if len(j.FailureReasons) != 0 || j.TerminationDate == nil || j.StatusUpdateReason != "because" || j.Tally.Executed() != 0 {
			t.Errorf("cancelled: %+v", j)
		}
		if n := w.s3.Count("PutObjectTagging"); n != 0 {
			t.Errorf("%d tasks ran", n)
		}
		w.noReport(id)
		if j, err := w.request(id, job.Cancelled); err != nil || j.Status != job.Cancelled {
			t.Errorf("cancelled again: %s, %v", j.Status, err)
		}
	}
	t.Run("new", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).up()
		id := w.create(w.spec(w.seed(3)))
		w.refuses(id, job.Ready)
		if j, err := w.request(id, job.Cancelled); err != nil || j.Status != job.Cancelled {
			t.Errorf("cancel: %s, %v", j.Status, err)
		}
		w.run()
		ended(t, w, id)
	})
	for name, op := range map[string]string{"preparing, looking": "HeadObject", "preparing, reading": "GetObject"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			gate := s3test.NewGate() // never opened: the planner must let go by itself
			w.s3.Fault(s3test.Match{Op: op, Bucket: "manifests"}, s3test.Block(gate))
			id := w.create(w.spec(w.seed(3)))
			w.arrived(gate)
			w.refuses(id, job.Ready)
			if j, err := w.request(id, job.Cancelled); err != nil || j.Status != job.Cancelling {
				t.Errorf("cancel: %s, %v", j.Status, err)
			}
			ended(t, w, id)
		})
	}
	t.Run("preparing, store down", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).run()
		w.s3.Fault(s3test.Match{Bucket: "manifests"}, s3test.ResetBefore())
		id := w.create(w.spec(w.seed(3)))
		w.awaitStatus(id, job.Preparing)
		w.cancel(id)
		ended(t, w, id)
	})
	t.Run("suspended", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).run()
		spec := w.spec(w.seed(3))
		spec.ConfirmationRequired = nil
		id := w.create(spec)
		w.awaitStatus(id, job.Suspended)
		if j, err := w.request(id, job.Cancelled); err != nil || j.Status != job.Cancelled {
			t.Errorf("cancel: %s, %v", j.Status, err)
		}
		ended(t, w, id)
	})
	t.Run("ready", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.config.Chunks = 1
		w.run()
		gate := s3test.NewGate()
		w.s3.Fault(s3test.Match{Op: "DeleteObjectTagging"}, s3test.Block(gate))
		defer gate.Open()
		hog := w.spec(w.seed(3))
		hog.Operation = job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}
		w.create(hog)
		w.arrived(gate)
		id := w.create(w.spec([]string{"k000000"}))
		w.awaitStatus(id, job.Ready)
		if j, err := w.request(id, job.Ready); err != nil || j.Status != job.Ready {
			t.Errorf("confirmed twice: %s, %v", j.Status, err)
		}
		if j, err := w.request(id, job.Cancelled); err != nil || j.Status != job.Cancelled {
			t.Errorf("cancel: %s, %v", j.Status, err)
		}
		ended(t, w, id)
	})
}

func TestCancelWhileTasksRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		match  s3test.Match
		action s3test.Action
	}{
		"healthy store":       {s3test.Match{Op: "none"}, s3test.SlowDown()},
		"slow down, always":   {s3test.Match{Op: "PutObjectTagging", Skip: 1500}, s3test.SlowDown()},
		"every third resets":  {s3test.Match{Op: "PutObjectTagging", Every: 3}, s3test.ResetAfter()},
		"all reset after":     {s3test.Match{Op: "PutObjectTagging", Skip: 1500}, s3test.ResetAfter()},
		"manifest unreadable": {s3test.Match{Op: "GetObject", Bucket: "manifests", Skip: 3}, s3test.Status(503, "SlowDown")},
		"manifest gone":       {s3test.Match{Op: "GetObject", Bucket: "manifests", Skip: 4}, s3test.Status(404, "NoSuchKey")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.config.Chunks = 2
			w.objects.MaxAttempts = 200 // it is the drain that ends the retrying
			w.run()
			keys := w.seed(4000)
			gate := s3test.NewGate()
			w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 1700, Times: 1}, s3test.Block(gate))
			w.s3.Fault(c.match, c.action)
			id := w.create(w.spec(keys))
			w.arrived(gate)
			w.refuses(id, job.Ready)
			j, err := w.request(id, job.Cancelled)
			if _, late := errors.AsType[*job.StatusError](err); late && name == "manifest gone" {
				gate.Open() // the last chunk has looked for its rows already
				w.awaitStatus(id, job.Failed)
				if j, _ := w.verify(id); w.reason(j).FailureCode != job.CodeManifestNotFound {
					t.Errorf("reasons %+v", j.FailureReasons)
				}
				return
			}
			if err != nil || j.Status != job.Cancelling {
				t.Fatalf("cancel: %s, %v", j.Status, err)
			}
			gate.Open()
			w.awaitStatus(id, job.Cancelled)
			j, rows := w.verify(id)
			w.untouched(keys, rows)
			if n := j.Tally.Executed(); n == 0 || n == 4000 || len(j.FailureReasons) != 0 {
				t.Errorf("tally %+v, reasons %v", j.Tally, j.FailureReasons)
			}
			if name == "healthy store" && j.Tally.Failed > 0 {
				t.Errorf("tasks failed that were not attempted: %+v", j.Tally)
			}
			for _, r := range rows {
				if r.status == "failed" && r.errorCode != "SlowDown" && !strings.HasPrefix(r.httpStatus, "50") {
					t.Errorf("failed: %+v", r)
				}
			}
		})
	}
}

func TestCancelWhileTheReportIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	gate := s3test.NewGate()
	isIndex := func(key string) bool { return strings.HasSuffix(key, "/manifest.json") }
	w.s3.Fault(s3test.Match{Op: "PutObject", Key: isIndex}, s3test.Block(gate))
	id := w.create(w.spec(w.seed(30)))
	w.arrived(gate)
	if j := w.job(id); j.Status != job.Completing {
		t.Errorf("the report is written in %s", j.Status)
	}
	w.refuses(id, job.Cancelled)
	w.refuses(id, job.Ready)
	gate.Open()
	w.awaitStatus(id, job.Complete)
	w.verify(id)
}

// While the report of a cancelled job is written, whatever else changes in the
// job store must not disturb it.
func TestReportOfACancelledJobIsWrittenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	tasks, index := s3test.NewGate(), s3test.NewGate()
	isIndex := func(key string) bool { return strings.HasSuffix(key, "/manifest.json") }
	w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 10, Times: 1}, s3test.Block(tasks))
	w.s3.Fault(s3test.Match{Op: "PutObject", Key: isIndex}, s3test.Block(index))
	id := w.create(w.spec(w.seed(2000)))
	w.arrived(tasks)
	w.cancel(id)
	tasks.Open()
	w.arrived(index)
	for i := range 20 {
		w.cancel(id)
		if err := w.desk.SetTags(t.Context(), account, region, id, []job.Tag{{Key: "n", Value: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	w.s3.Put("data", "other", "x")
	spec := w.spec([]string{"other"})
	spec.Report = job.Report{}
	other := w.create(spec)
	w.awaitStatus(other, job.Complete)
	index.Open()
	w.awaitStatus(id, job.Cancelled)
	w.verify(id)
	n := 0
	for _, r := range w.s3.Requests("PutObject") {
		if isIndex(r.Key) && strings.Contains(r.Key, id) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the index was written %d times", n)
	}
}

func TestReportOfACancelledJobDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	gate := s3test.NewGate()
	w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 10, Times: 1}, s3test.Block(gate))
	w.s3.Fault(s3test.Match{Op: "PutObject", Bucket: "reports"}, s3test.Status(403, "AccessDenied"))
	id := w.create(w.spec(w.seed(2000)))
	w.arrived(gate)
	w.cancel(id)
	gate.Open()
	w.awaitStatus(id, job.Failed)
	j, _ := w.verify(id)
	if w.reason(j).FailureCode != job.CodeReportFailed || j.Tally.Executed() == 0 {
		t.Errorf("reasons %+v, tally %+v", j.FailureReasons, j.Tally)
	}
}

// Many clients at once confirm, cancel and re-prioritise many jobs. Whatever was
// answered stays true, and every job ends.
func TestStormOfOrders(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	keys := w.seed(1500)
	const jobs, clients = 6, 8
	var ids []string
	for i := range jobs {
		spec := w.spec(keys)
		if i%2 == 0 {
			spec.ConfirmationRequired = nil
		}
		ids = append(ids, w.create(spec))
	}
	var (
		mu        sync.Mutex
		cancelled = map[string]bool{}
		clientsWG sync.WaitGroup
	)
	ctx := t.Context()
	for range clients {
		clientsWG.Go(func() {
			for range 60 {
				id := ids[rand.N(jobs)]
				var err error
				switch n := rand.N(20); {
				case n == 0:
					if _, err = w.request(id, job.Cancelled); err == nil {
						mu.Lock()
						cancelled[id] = true
						mu.Unlock()
					}
				case n < 10:
					_, err = w.request(id, job.Ready)
				default:
					_, err = w.desk.SetPriority(ctx, account, region, id, rand.Int32N(100))
				}
				if _, refused := errors.AsType[*job.StatusError](err); err != nil && !refused && !errors.Is(err, job.ErrTerminal) {
					t.Error(err)
				}
			}
		})
	}
	clientsWG.Wait()
	for _, id := range ids {
		_, err := w.request(id, job.Ready) // those that nobody has confirmed
		if _, refused := errors.AsType[*job.StatusError](err); err != nil && !refused {
			t.Error(err)
		}
		want := job.Complete
		if cancelled[id] {
			want = job.Cancelled
		}
		for {
			j := w.await(id, "its end", func(j job.Job) bool { return j.Status.Terminal() || j.Status == job.Suspended })
			if j.Status.Terminal() {
				break
			}
			if _, err := w.request(id, job.Ready); err != nil {
				t.Error(err)
			}
		}
		if j, _ := w.verifyCounts(id); j.Status != want {
			t.Errorf("job is %s, want %s: %v", j.Status, want, j.FailureReasons)
		}
	}
}

// Sixty-four clients send the same request at the same time: one job.
func TestCreateIsIdempotentUnderConcurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	spec := w.spec(w.seed(2))
	ids := make([]string, 64)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := w.desk.Create(context.WithoutCancel(t.Context()), account, region, spec)
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("jobs %v", ids)
		}
	}
	w.awaitStatus(ids[0], job.Complete)
	w.verify(ids[0])
	spec.Priority++
	if _, err := w.desk.Create(t.Context(), account, region, spec); !errors.Is(err, job.ErrTokenReused) {
		t.Errorf("another request with the token: %v", err)
	}
	if list := w.store.Jobs(); len(list) != 1 {
		t.Errorf("%d jobs", len(list))
	}
}
