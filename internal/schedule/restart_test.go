package schedule_test

import (
	"testing"
	"time"

	"stevedore/internal/job"
	s3test "stevedore/internal/objectstore/objectstoretest"
)

// Wherever a job is when its node goes down, by order or by SIGKILL, the next one
// brings it to the same end.
func TestRestartInEveryPhase(t *testing.T) {
	t.Parallel()
	const n = 1100 // two chunks
	tasks := s3test.Match{Op: "PutObjectTagging", Skip: n / 2}
	for phase, at := range map[string]s3test.Match{
		"manifest looked for":   {Op: "HeadObject", Bucket: "manifests"},
		"manifest read":         {Op: "GetObject", Bucket: "manifests"},
		"first chunk opened":    {Op: "GetObject", Bucket: "manifests", Skip: 1},
		"tasks in flight":       tasks,
		"last task in flight":   {Op: "PutObjectTagging", Skip: n - 1},
		"first part written":    {Op: "PutObject", Bucket: "reports"},
		"later part written":    {Op: "PutObject", Bucket: "reports", Skip: 2},
		"parts joined":          {Op: "GetObject", Bucket: "reports"},
		"report index written":  {Op: "PutObject", Bucket: "reports", Key: hasSuffix(".md5")},
		"manifest.json written": {Op: "PutObject", Bucket: "reports", Key: hasSuffix("/manifest.json")},
		"parts deleted":         {Op: "DeleteObject", Bucket: "reports"},
		"some parts deleted":    {Op: "DeleteObject", Bucket: "reports", Skip: 2},
		"what is left of parts": {Op: "ListObjectsV2", Bucket: "reports"},
	} {
		for _, crash := range []bool{false, true} {
			name := phase + ", stopped"
			if crash {
				name = phase + ", killed"
			} else if at.Skip == 2 || at.Key != nil || at.Op == "ListObjectsV2" {
				continue // the same to an orderly stop as the phase before
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				keys := append(w.seed(n-1), "missing")
				w.run()
				gate := s3test.NewGate()
				fault := w.s3.Fault(at, s3test.Block(gate))
				id := w.create(w.spec(keys))
				w.arrived(gate)
				if crash {
					w.crash()
					gate.Open()
				} else {
					w.stop() // the node is on its way down while the store still holds the request
					gate.Open()
					w.halt()
				}
				fault.Remove()
				w.run()
				w.awaitStatus(id, job.Complete)
				j, rows := w.verify(id)
				if j.Tally.Succeeded != n-1 || j.Tally.Failed != 1 || len(rows) != n {
					t.Errorf("%d rows, tally %+v", len(rows), j.Tally)
				}
			})
		}
	}
}

func TestRestartWhileAJobIsCalledOff(t *testing.T) {
	t.Parallel()
	for _, crash := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "killed"}[crash], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			keys := w.seed(3000)
			gate := s3test.NewGate()
			fault := w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 700}, s3test.Block(gate))
			id := w.create(w.spec(keys))
			w.arrived(gate)
			w.cancel(id)
			if crash {
				w.crash()
				gate.Open()
			} else {
				w.stop()
				gate.Open()
				w.halt()
			}
			fault.Remove()
			w.run()
			w.awaitStatus(id, job.Cancelled)
			w.verify(id)
		})
	}
}

// One job, many ends: every claim runs into another crash.
func TestManyCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 1500
	keys := w.seed(n)
	w.up()
	id := w.create(w.spec(keys))
	w.run()
	for range 5 {
		gate := s3test.NewGate()
		fault := w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 150}, s3test.Block(gate))
		w.arrived(gate)
		w.crash()
		gate.Open()
		fault.Remove()
		w.run()
	}
	w.awaitStatus(id, job.Complete)
	if j, rows := w.verify(id); j.Tally.Succeeded != n || len(rows) != n {
		t.Errorf("%d rows, tally %+v", len(rows), j.Tally)
	}
}

// A graceful stop does not wait for a store that has gone silent.
func TestStopWhileTheStoreHangs(t *testing.T) {
	t.Parallel()
	for name, match := range map[string]s3test.Match{
		"planning": {Op: "GetObject", Bucket: "manifests"},
		"reading":  {Op: "GetObject", Bucket: "manifests", Skip: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			keys := w.seed(10)
			gate := s3test.NewGate()
			fault := w.s3.Fault(match, s3test.Block(gate))
			id := w.create(w.spec(keys))
			w.arrived(gate)
			w.halt() // with the gate closed
			fault.Remove()
			gate.Open()
			w.run()
			w.awaitStatus(id, job.Complete)
			w.verify(id)
		})
	}
}

// Nor for tasks that hang: an attempt on the wire ends with its timeout.
func TestStopWhileTasksHang(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.objects.AttemptTimeout = 500 * time.Millisecond
	w.config.Grace = 10 * time.Minute
	w.run()
	keys := w.seed(1200)
	gate := s3test.NewGate()
	fault := w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 500}, s3test.Block(gate))
	id := w.create(w.spec(keys))
	w.arrived(gate)
	w.halt() // with the gate closed
	fault.Remove()
	gate.Open()
	w.run()
	w.awaitStatus(id, job.Complete)
	if j, _ := w.verify(id); j.Tally.Succeeded != 1200 {
		t.Errorf("tally %+v", j.Tally)
	}
}

func hasSuffix(suffix string) func(string) bool {
	return func(key string) bool { return len(key) >= len(suffix) && key[len(key)-len(suffix):] == suffix }
}
