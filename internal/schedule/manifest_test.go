package schedule_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/manifesttest"
	s3test "stevedore/internal/objectstore/objectstoretest"
)

// inventory is a job that tags the objects of an inventory, one data file for each
// list of keys.
func (w *world) inventory(lists ...[]string) job.Spec {
	w.t.Helper()
	spec := w.specOf("", job.FieldBucket, job.FieldKey)
	folder := fmt.Sprintf("inventory/%d/", w.jobs)
	inv := manifest.NewInventory("data", "manifests", time.Now(), manifest.Columns{})
	for i, keys := range lists {
		var data bytes.Buffer
		file := manifest.NewDataWriter(&data, manifest.Columns{})
		for _, key := range keys {
			if err := file.Write(&manifest.Row{Bucket: []byte("data"), Key: []byte(key)}); err != nil {
				w.t.Fatal(err)
			}
		}
		described, err := file.Close()
		if err != nil {
			w.t.Fatal(err)
		}
		described.Key = fmt.Sprintf("%sdata/%d.csv.gz", folder, i)
		w.s3.Put("manifests", described.Key, data.String())
		inv.Files = append(inv.Files, described)
	}
	text, err := inv.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	o := w.s3.Put("manifests", folder+"manifest.json", string(text))
	spec.Manifest.Spec = &job.ManifestSpec{Format: job.ManifestInventory}
	spec.Manifest.Location = &job.ManifestLocation{ObjectArn: "arn:aws:s3:::manifests/" + folder + "manifest.json", ETag: o.ETag}
	return spec
}

func TestInventory(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	keys := w.seed(4001)
	w.s3.Put("data", "with space+", "x")
	id := w.create(w.inventory(keys[:1700], nil, keys[1700:], []string{"with space+", "missing"}))
	w.awaitStatus(id, job.Complete)
	j, rows := w.verify(id)
	if j.Plan.Tasks != 4003 || j.Tally.Succeeded != 4002 || j.Tally.Failed != 1 || len(rows) != 4003 || j.StatusUpdateReason != "" {
		t.Errorf("%d rows, plan %+v, tally %+v", len(rows), j.Plan, j.Tally)
	}
	if !strings.HasPrefix(rows[len(rows)-2].key, "with%20space%2B") {
		t.Errorf("reported as %q", rows[len(rows)-2].key)
	}
}

// A store that fails again and again ends no job that gets on in between.
func TestPlanningGetsOnBetweenOutages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Attempts, w.objects.MaxAttempts = 2, 1
	keys := w.seed(12)
	var lists [][]string
	for i := range keys {
		lists = append(lists, keys[i:i+1])
	}
	spec := w.inventory(lists...)
	var outages []*s3test.Fault
	for i := range lists[1:] {
		name := fmt.Sprintf("data/%d.csv.gz", i+1)
		outages = append(outages, w.s3.Fault(s3test.Match{Op: "GetObject", Key: hasSuffix(name), Times: 1}, s3test.Status(503, "SlowDown")))
	}
	w.run()
	id := w.create(spec)
	w.awaitStatus(id, job.Complete)
	if j, _ := w.verify(id); j.Tally.Succeeded != int64(len(keys)) {
		t.Errorf("tally %+v", j.Tally)
	}
	for i, f := range outages {
		if f.Hits() == 0 {
			t.Errorf("file %d was never out of reach", i+1)
		}
	}
}

// A node dies in the middle of planning a file, and in the middle of its tasks: the
// next one goes on there, and nothing is done to an object that is not counted.
func TestInventoryThroughCrashes(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]s3test.Match{
		"manifest.json read": {Op: "GetObject", Bucket: "manifests", Key: hasSuffix("manifest.json")},
		"second file read":   {Op: "GetObject", Bucket: "manifests", Key: hasSuffix("/1.csv.gz")},
		"chunk opened":       {Op: "GetObject", Bucket: "manifests", Key: hasSuffix("/2.csv.gz"), Skip: 1},
		"tasks in flight":    {Op: "PutObjectTagging", Skip: 1600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			keys := w.seed(4500)
			w.run()
			gate := s3test.NewGate()
			fault := w.s3.Fault(at, s3test.Block(gate))
			id := w.create(w.inventory(keys[:1500], keys[1500:3000], keys[3000:]))
			w.arrived(gate)
			w.crash()
			gate.Open()
			fault.Remove()
			w.run()
			w.awaitStatus(id, job.Complete)
			if j, rows := w.verify(id); j.Tally.Succeeded != 4500 || len(rows) != 4500 {
				t.Errorf("%d rows, tally %+v", len(rows), j.Tally)
			}
		})
	}
}

// A data file that is replaced while the job runs is not read.
func TestInventoryFileIsPinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	keys := w.seed(2000)
	spec := w.inventory(keys[:1000], keys[1000:])
	spec.ConfirmationRequired = nil
	id := w.create(spec)
	w.awaitStatus(id, job.Suspended)
	folder := fmt.Sprintf("inventory/%d/", w.jobs)
	other, _ := w.s3.Object("manifests", folder+"data/0.csv.gz")
	w.s3.Put("manifests", folder+"data/1.csv.gz", string(other.Body))
	if _, err := w.request(id, job.Ready); err != nil {
		t.Fatal(err)
	}
	w.awaitStatus(id, job.Failed)
	j, rows := w.verify(id)
	if r := w.reason(j); r.FailureCode != job.CodeManifestChanged {
		t.Errorf("reason %+v", r)
	}
	for _, r := range rows {
		if r.key >= keys[1000] {
			t.Errorf("%s was tagged", r.key)
		}
	}
}

// An inventory whose files are not what it says fails before a task runs.
func TestBadInventories(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	keys := w.seed(10)
	folder := func() string { return fmt.Sprintf("inventory/%d/", w.jobs) }
	for name, c := range map[string]struct {
		spoil func(spec *job.Spec)
		code  string
		text  string
	}{
		"MD5": {func(*job.Spec) {
			o, _ := w.s3.Object("manifests", folder()+"data/0.csv.gz")
			w.s3.Put("manifests", folder()+"data/1.csv.gz", string(o.Body))
		}, job.CodeInvalidManifest, "1.csv.gz"},
		"no file": {func(*job.Spec) {
			if err := w.node.objects.Delete(t.Context(), "manifests", folder()+"data/1.csv.gz"); err != nil {
				t.Error(err)
			}
		}, job.CodeManifestNotFound, "1.csv.gz"},
		"no gzip": {func(*job.Spec) { w.s3.Put("manifests", folder()+"data/1.csv.gz", "data,k000000\n") }, job.CodeInvalidManifest, "1.csv.gz"},
		"as CSV": {func(s *job.Spec) {
			s.Manifest.Spec = &job.ManifestSpec{Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey}}
		}, job.CodeInvalidManifest, "manifest.json"},
		"empty": {func(s *job.Spec) { *s = w.inventory(nil, nil) }, job.CodeInvalidManifest, "no rows"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := w.inventory(keys[:5], keys[5:])
			c.spoil(&spec)
			id := w.create(spec)
			w.awaitStatus(id, job.Failed)
			j, _ := w.verify(id)
			if r := w.reason(j); r.FailureCode != c.code || !strings.Contains(r.FailureReason, c.text) {
				t.Errorf("reason %+v", r)
			}
			if n := w.s3.Count("PutObjectTagging"); n != 0 {
				t.Errorf("%d tasks ran", n)
			}
			w.noReport(id)
		})
	}
}

// Every manifest that breaks a rule fails its job with the documented code and a
// text that says where and why, and not one task runs.
func TestBadManifests(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	bads := manifesttest.Bads("manifests")
	if len(bads) < 40 {
		t.Fatalf("only %d manifests", len(bads))
	}
	for _, bad := range bads {
		spec := w.specOf("", bad.Fields...)
		for key, data := range bad.Objects {
			w.s3.Put("manifests", key, string(data))
		}
		o, _ := w.s3.Object("manifests", bad.Key)
		spec.Manifest = &job.Manifest{
			Spec:     &job.ManifestSpec{Format: bad.Format, Fields: bad.Fields},
			Location: &job.ManifestLocation{ObjectArn: "arn:aws:s3:::manifests/" + bad.Key, ETag: o.ETag},
		}
		id := w.create(spec)
		j := w.await(id, bad.Name, func(j job.Job) bool { return j.Status.Terminal() || j.Plan != nil })
		if j.Status != job.Failed || len(j.FailureReasons) != 1 {
			t.Errorf("%s: job is %s, %v", bad.Name, j.Status, j.FailureReasons)
			continue
		}
		if r := j.FailureReasons[0]; r.FailureCode != bad.Code || !strings.Contains(r.FailureReason, bad.Reason) || len(r.FailureReason) > 256 {
			t.Errorf("%s: got %s: %s, want %s: %s", bad.Name, r.FailureCode, r.FailureReason, bad.Code, bad.Reason)
		}
		if j.Plan != nil || j.Tally.Executed() != 0 {
			t.Errorf("%s: plan %+v, tally %+v", bad.Name, j.Plan, j.Tally)
		}
	}
	if n := w.s3.Count("PutObjectTagging"); n != 0 {
		t.Errorf("%d tasks ran", n)
	}
}

func TestLenience(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.seed(2)
	w.s3.Put("data", "a b", "x")
	const text = "\ufeffBucket,Key\r\ndata,k000000\r\ndata,a b\r\n"

	spec := w.specOf(text, job.FieldBucket, job.FieldKey)
	strict := w.create(spec)
	w.awaitStatus(strict, job.Failed)
	if j, _ := w.verify(strict); !strings.Contains(w.reason(j).FailureReason, "stevedore:manifest=lenient") {
		t.Errorf("reasons %+v", j.FailureReasons)
	}

	spec = w.specOf(text, job.FieldBucket, job.FieldKey)
	spec.Tags = []job.Tag{{Key: job.TagManifest, Value: "lenient"}}
	spec.ConfirmationRequired = nil
	id := w.create(spec)
	j := w.awaitStatus(id, job.Suspended)
	if want := "Manifest read leniently: byte order mark skipped, header row skipped, 1 key with unencoded spaces"; j.StatusUpdateReason != want || j.Plan.Tasks != 2 {
		t.Errorf("got %q, want %q; plan %+v", j.StatusUpdateReason, want, j.Plan)
	}
	// What was decided when it was planned holds, whatever becomes of the tag.
	if err := w.desk.SetTags(t.Context(), account, region, id, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.request(id, job.Ready); err != nil {
		t.Fatal(err)
	}
	w.awaitStatus(id, job.Complete)
	if j, rows := w.verify(id); j.Tally.Succeeded != 2 || rows[1].key != "a%20b" || j.StatusUpdateReason != "because" {
		t.Errorf("rows %v, reason %q", rows, j.StatusUpdateReason)
	}
}
