package schedule_test

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"stevedore/internal/job"
	s3test "stevedore/internal/objectstore/objectstoretest"
)

// generated is a job that tags what its generator finds in bucket data.
func (w *world) generated(output bool, filter *job.GeneratorFilter) job.Spec {
	spec := w.specOf("", job.FieldBucket, job.FieldKey)
	spec.Manifest = nil
	g := &job.S3JobManifestGenerator{SourceBucket: "arn:aws:s3:::data", EnableManifestOutput: output, Filter: filter}
	if output {
		g.ManifestOutputLocation = &job.ManifestOutputLocation{
			Bucket: "arn:aws:s3:::manifests", ManifestPrefix: "made", ManifestFormat: job.GeneratedManifestCSV,
		}
	}
	spec.ManifestGenerator = &job.ManifestGenerator{S3JobManifestGenerator: g}
	return spec
}

// spools are the jobs that have something in the spool.
func (w *world) spools() (ids []string) {
	w.t.Helper()
	entries, err := os.ReadDir(w.config.Spool)
	if err != nil && !os.IsNotExist(err) {
		w.t.Error(err)
	}
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids
}

func TestGenerator(t *testing.T) {
	t.Parallel()
	for _, output := range []bool{false, true} {
		t.Run(fmt.Sprintf("output %t", output), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			keys := w.seed(3000)
			w.s3.Put("data", "kept+ %/", "longer")
			spec := w.generated(output, &job.GeneratorFilter{KeyNameConstraint: &job.KeyNameConstraint{MatchAnyPrefix: []string{"k"}}})
			spec.ConfirmationRequired = nil
			w.s3.Put("data", "other", "x")
			id := w.create(spec)
			j := w.awaitStatus(id, job.Suspended)
			if j.Plan.Tasks != 3001 || j.Generated == nil {
				t.Fatalf("plan %+v, generated %+v", j.Plan, j.Generated)
			}
			made := func(key string) bool { return strings.HasPrefix(key, "made/job-"+id+"/") }
			if got := slices.ContainsFunc(w.s3.Keys("manifests"), made); got != output || slices.Contains(w.spools(), id) == output {
				t.Errorf("in the bucket: %t; in the spool: %q", got, w.spools())
			}
			w.s3.Put("data", "k-too late", "x")
			w.halt() // the manifest outlives the process
			w.run()
			if _, err := w.request(id, job.Ready); err != nil {
				t.Fatal(err)
			}
			w.awaitStatus(id, job.Complete)
			j, rows := w.verify(id)
			if j.Tally.Succeeded != 3001 || len(rows) != 3001 {
				t.Errorf("%d rows, tally %+v", len(rows), j.Tally)
			}
			w.untouched(append(keys, "other", "k-too late"), rows)
			w.halt() // looks after what has ended before it stops, or when it starts again
			w.run()
			w.awaitSpools()
			if !output {
				return
			}
			// It can be given to another job.
			again := w.specOf("", job.FieldBucket, job.FieldKey)
			again.Manifest.Spec = &job.ManifestSpec{Format: job.ManifestInventory}
			again.Manifest.Location = &job.ManifestLocation{ObjectArn: "arn:aws:s3:::" + j.Generated.Bucket + "/" + j.Generated.Key, ETag: j.Generated.ETag}
			id = w.create(again)
			w.awaitStatus(id, job.Complete)
			if j, _ := w.verify(id); j.Tally.Succeeded != 3001 {
				t.Errorf("again: %+v", j.Tally)
			}
		})
	}
}

// awaitSpools waits until nothing is left in the spool: one more job goes through.
func (w *world) awaitSpools() {
	w.t.Helper()
	w.s3.Put("data", "any", "x")
	w.awaitStatus(w.create(w.spec([]string{"any"})), job.Complete)
	if left := w.spools(); len(left) > 0 {
		w.t.Errorf("left in the spool: %q", left)
	}
}

// Wherever the node dies while it generates, the next one ends it, and every object
// is listed once.
func TestGeneratorThroughCrashes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at     s3test.Match
		output bool
	}{
		"first page":     {s3test.Match{Op: "ListObjectsV2", Bucket: "data"}, false},
		"a later page":   {s3test.Match{Op: "ListObjectsV2", Bucket: "data", Skip: 3}, false},
		"file written":   {s3test.Match{Op: "PutObject", Bucket: "manifests", Key: hasSuffix(".csv.gz")}, true},
		"index written":  {s3test.Match{Op: "PutObject", Bucket: "manifests", Key: hasSuffix("manifest.json")}, true},
		"what it made":   {s3test.Match{Op: "GetObject", Bucket: "manifests", Key: hasSuffix("manifest.json")}, true},
		"tasks, spooled": {s3test.Match{Op: "PutObjectTagging", Skip: 1000}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.seed(2500)
			w.run()
			gate := s3test.NewGate()
			fault := w.s3.Fault(c.at, s3test.Block(gate))
			id := w.create(w.generated(c.output, nil))
			w.arrived(gate)
			w.crash()
			gate.Open()
			fault.Remove()
			w.run()
			w.awaitStatus(id, job.Complete)
			if j, rows := w.verify(id); j.Tally.Succeeded != 2500 || len(rows) != 2500 {
				t.Errorf("%d rows, tally %+v", len(rows), j.Tally)
			}
		})
	}
}

func TestGeneratorIsCalledOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.seed(2500)
	gate := s3test.NewGate() // never opened
	fault := w.s3.Fault(s3test.Match{Op: "ListObjectsV2", Bucket: "data", Skip: 2}, s3test.Block(gate))
	id := w.create(w.generated(false, nil))
	w.arrived(gate)
	w.cancel(id)
	w.awaitStatus(id, job.Cancelled)
	if j, _ := w.verify(id); j.Generated != nil || j.Plan != nil || len(j.FailureReasons) > 0 {
		t.Errorf("generated %+v, plan %+v, reasons %v", j.Generated, j.Plan, j.FailureReasons)
	}
	w.noReport(id)
	fault.Remove()
	w.awaitSpools()
}

// Only what replication would send somewhere is listed.
func TestGeneratorOfWhatIsEligible(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s3.Fault(s3test.Match{Op: "GetBucketReplication"}, s3test.Answer(200, `<ReplicationConfiguration><Rule><Status>Enabled</Status>
<Filter><Tag><Key>send</Key><Value>yes</Value></Tag></Filter><Destination><Bucket>arn:aws:s3:::there</Bucket></Destination></Rule></ReplicationConfiguration>`))
	w.run()
	keys := w.seed(4)
	first := w.spec(keys[:2])
	first.Operation.S3PutObjectTagging.TagSet = []job.Tag{{Key: "send", Value: "yes"}}
	first.Report = job.Report{}
	w.awaitStatus(w.create(first), job.Complete)
	id := w.create(w.generated(false, &job.GeneratorFilter{EligibleForReplication: new(true)}))
	w.awaitStatus(id, job.Complete)
	if j, rows := w.verify(id); j.Tally.Succeeded != 2 || rows[0].key != keys[0] || rows[1].key != keys[1] {
		t.Errorf("rows %v", rows)
	}
}

// A generator that cannot go on ends its job, with the reason.
func TestGeneratorThatCannotGoOn(t *testing.T) {
	t.Parallel()
	check := func(name, text string, breaks func(w *world)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.config.Attempts = 1
			w.seed(20)
			breaks(w)
			w.run()
			id := w.create(w.generated(false, nil))
			w.awaitStatus(id, job.Failed)
			j, _ := w.verify(id)
			if r := w.reason(j); !strings.HasPrefix(r.FailureReason, "The manifest cannot be generated: ") || !strings.Contains(r.FailureReason, text) {
				t.Errorf("reason %+v", r)
			}
		})
	}
	check("listing that stands still", "does not advance", func(w *world) {
		w.s3.Fault(s3test.Match{Op: "ListObjectsV2", Bucket: "data"}, s3test.EmptyPage())
	})
	check("spool that cannot be written", "not a directory", func(w *world) {
		w.config.Spool += "/file"
		if err := os.MkdirAll(path.Dir(w.config.Spool), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(w.config.Spool, nil, 0o600); err != nil {
			w.t.Fatal(err)
		}
	})
}

// An outage is not the last one that a job bears if it got on before.
func TestGeneratorGetsOnBetweenOutages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Attempts, w.objects.MaxAttempts = 1, 1
	w.seed(6000)
	outage := w.s3.Fault(s3test.Match{Op: "ListObjectsV2", Bucket: "data", Skip: 6, Times: 1}, s3test.Status(503, "SlowDown"))
	spec := w.generated(false, nil)
	spec.ConfirmationRequired = nil
	w.run()
	id := w.create(spec)
	w.awaitStatus(id, job.Suspended)
	if j := w.job(id); j.Plan.Tasks != 6000 || outage.Hits() != 1 {
		t.Errorf("plan %+v, %d outages", j.Plan, outage.Hits())
	}
}
