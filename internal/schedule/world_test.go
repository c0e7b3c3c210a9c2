package schedule_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/run"
	"stevedore/internal/schedule"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	role    = "arn:aws:iam::" + account + ":role/batch"
)

// world is an object store, a data directory and whatever node is at work on it.
type world struct {
	t        *testing.T
	s3       *objectstoretest.Server
	dir      string
	config   schedule.Config
	objects  objectstore.Config
	jobs     int
	roleGone bool // for the next node

	*node // the one that is up
}

// node is one process.
type node struct {
	store   *jobstore.Store
	member  *jobstore.Node
	objects *objectstore.Store
	desk    *schedule.Desk
	stop    context.CancelFunc
	running sync.WaitGroup
}

type roles struct{}

func (roles) Allowed(context.Context, string, string) error { return nil }

type stores struct {
	one  *objectstore.Store
	gone bool // the role is not in the configuration any more
}

func (s stores) Store(context.Context, string, string) (*objectstore.Access, error) {
	if s.gone {
		return nil, &job.FailedError{Reason: job.Fail("RoleGone", "The role is gone.")}
	}
	return objectstore.NewAccess(s.one, nil)
}

// newWorld returns a world with buckets data, manifests and reports, and no node.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, s3: objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"}), dir: t.TempDir(),
		config: schedule.Config{
			TempDir: t.TempDir(), Spool: filepath.Join(t.TempDir(), "spool"), ReportJSON: true, Grace: 20 * time.Second,
			Run:    run.Config{SegmentEvery: 20 * time.Millisecond, ReportPatience: time.Minute},
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
		},
	}
	w.objects = objectstore.Config{
		MaxAttempts: 15, // so that "every third" never hits one task each time
		Endpoint:    w.s3.URL(), Credentials: w.s3.Credentials(), MaxConcurrency: 16,
		BackoffBase: time.Millisecond, BackoffCap: 20 * time.Millisecond,
	}
	w.s3.CreateBucket("data", "manifests", "reports")
	t.Cleanup(func() {
		if w.node != nil {
			w.halt()
		}
	})
	return w
}

// up opens everything but the scheduler.
func (w *world) up() *world {
	w.t.Helper()
	store, err := jobstore.Open(w.t.Context(), jobstore.Config{Dir: w.dir, LeaseTTL: 30 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	objects, err := objectstore.New(w.objects)
	if err != nil {
		w.t.Fatal(err)
	}
	w.node = &node{store: store, objects: objects, desk: schedule.NewDesk(store, roles{}, w.config.Logger), stop: func() {}}
	return w
}

// run starts the scheduler, on what up opened if that was done.
func (w *world) run() *world {
	w.t.Helper()
	if w.node == nil {
		w.up()
	}
	w.join()
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	w.stop = stop
	scheduler := schedule.New(w.config, w.store, w.member, stores{w.node.objects, w.roleGone})
	w.running.Go(func() { _ = scheduler.Run(ctx) })
	return w
}

func (w *world) join() {
	w.t.Helper()
	member, err := w.store.Join(w.t.Context(), "n")
	if err != nil {
		w.t.Fatal(err)
	}
	w.member = member
}

// halt stops the node as an orderly end of the process does. It reports what the
// node left behind.
func (w *world) halt() {
	w.t.Helper()
	n := w.node
	w.node = nil
	n.stop()
	n.running.Wait()
	ctx := context.WithoutCancel(w.t.Context())
	for _, s := range n.store.Jobs() {
		if work, err := n.store.Work(ctx, s.ID); err != nil || work.Claims > 0 {
			w.t.Errorf("job %s after an orderly stop: %+v, %v", s.ID, work, err)
		}
	}
	if n.member != nil {
		if err := n.member.Leave(ctx); err != nil {
			w.t.Error(err)
		}
	}
	if err := n.store.Close(); err != nil {
		w.t.Error(err)
	}
	n.objects.Close()
}

// crash ends the node as SIGKILL would: nothing it does from now on reaches the
// job store or the object store.
func (w *world) crash() {
	w.t.Helper()
	n := w.node
	w.node = nil
	if err := n.store.Close(); err != nil {
		w.t.Error(err)
	}
	n.objects.Close()
	n.stop()
	n.running.Wait()
}

// seed puts n objects into bucket data and returns their keys.
func (w *world) seed(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%06d", i)
		w.s3.Put("data", keys[i], "x")
	}
	return keys
}

// spec is a job that tags the objects of a manifest with those keys.
func (w *world) spec(keys []string) job.Spec {
	var b strings.Builder
	for _, key := range keys {
		b.WriteString("data," + key + "\n")
	}
	return w.specOf(b.String(), job.FieldBucket, job.FieldKey)
}

func (w *world) specOf(manifest string, fields ...job.Field) job.Spec {
	w.jobs++
	name := fmt.Sprintf("m%d.csv", w.jobs)
	o := w.s3.Put("manifests", name, manifest)
	return job.Spec{
		ConfirmationRequired: new(false), ClientRequestToken: name, Priority: 10, RoleArn: role,
		Operation: job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "done", Value: name}}}},
		Manifest: &job.Manifest{
			Spec:     &job.ManifestSpec{Format: job.ManifestCSV, Fields: fields},
			Location: &job.ManifestLocation{ObjectArn: "arn:aws:s3:::manifests/" + name, ETag: o.ETag},
		},
		Report: job.Report{Enabled: true, Bucket: "arn:aws:s3:::reports", Format: job.ReportCSV, ReportScope: job.AllTasks, Prefix: "p"},
	}
}

func (w *world) create(spec job.Spec) string {
	w.t.Helper()
	id, err := w.desk.Create(w.t.Context(), account, region, spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) job(id string) job.Job {
	w.t.Helper()
	j, err := w.desk.Job(w.t.Context(), account, region, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// await waits until the job fulfils a condition; a job that ends otherwise is fatal.
func (w *world) await(id, what string, ok func(job.Job) bool) job.Job {
	w.t.Helper()
	changes := w.store.Changes()
	defer changes.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	for {
		j := w.job(id)
		if ok(j) {
			return j
		}
		if j.Status.Terminal() {
			w.t.Fatalf("waiting for %s: job ended %s %v", what, j.Status, j.FailureReasons)
		}
		select {
		case <-changes.C():
		case <-ctx.Done():
			w.t.Fatalf("waiting for %s: job is %s, %+v", what, j.Status, j.Tally)
		}
	}
}

func (w *world) awaitStatus(id string, want ...job.Status) job.Job {
	w.t.Helper()
	return w.await(id, fmt.Sprint(want), func(j job.Job) bool { return slices.Contains(want, j.Status) })
}

func (w *world) request(id string, want job.Status) (job.Job, error) {
	return w.desk.RequestStatus(context.WithoutCancel(w.t.Context()), account, region, id, want, "because")
}

func (w *world) cancel(id string) {
	w.t.Helper()
	if _, err := w.request(id, job.Cancelled); err != nil {
		w.t.Fatal(err)
	}
}

// arrived waits for the first request at a gate.
func (w *world) arrived(g *objectstoretest.Gate) {
	w.t.Helper()
	select {
	case <-g.Arrived():
	case <-time.After(2 * time.Minute):
		w.t.Fatal("nobody came to the gate")
	}
}

// row is a row of a report.
type row struct {
	bucket, key, version  string
	status                string
	httpStatus, errorCode string
	message               string
}

// report reads the report of a job; ok is false if there is none.
func (w *world) report(id string) (rows []row, ok bool) {
	w.t.Helper()
	folder := "p/job-" + id + "/"
	index, ok := w.s3.Object("reports", folder+"manifest.json")
	if !ok {
		return nil, false
	}
	var parsed struct {
		Format  string
		Results []struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
	}
	if err := json.Unmarshal(index.Body, &parsed); err != nil || parsed.Format != "Report_CSV_20180820" {
		w.t.Errorf("report index: %s, %v", index.Body, err)
	}
	if same, _ := w.s3.Object("reports", folder+"report.json"); !bytes.Equal(same.Body, index.Body) {
		w.t.Errorf("report.json is not manifest.json: %s", same.Body)
	}
	if sum, _ := w.s3.Object("reports", folder+"manifest.json.md5"); string(sum.Body) != fmt.Sprintf("%x\n", md5.Sum(index.Body)) {
		w.t.Errorf("manifest.json.md5 is %q", sum.Body)
	}
	for _, result := range parsed.Results {
		o, _ := w.s3.Object(result.Bucket, result.Key)
		if fmt.Sprintf("%x", md5.Sum(o.Body)) != result.MD5Checksum {
			w.t.Errorf("MD5 of %s is wrong", result.Key)
		}
		lines, err := csv.NewReader(bytes.NewReader(o.Body)).ReadAll()
		if err != nil {
			w.t.Error(err)
		}
		for _, l := range lines {
			if l[3] != result.TaskExecutionStatus {
				w.t.Errorf("row %q in the file of those that %s", l, result.TaskExecutionStatus)
			}
			rows = append(rows, row{l[0], l[1], l[2], l[3], l[4], l[5], l[6]})
		}
	}
	return rows, true
}

// verify checks a job that has ended against its report and the store, and that
// nothing is left behind.
func (w *world) verify(id string) (j job.Job, rows []row) {
	w.t.Helper()
	j, rows = w.verifyCounts(id)
	for _, r := range rows {
		if tags := j.Spec.Operation.S3PutObjectTagging; tags != nil && r.status == "succeeded" {
			key, err := url.QueryUnescape(r.key) // as manifests encode keys
			if err != nil {
				w.t.Error(err)
			}
			o, _ := w.s3.Version(r.bucket, key, r.version)
			if o.Tags["done"] != tags.TagSet[0].Value {
				w.t.Errorf("%s/%s is reported succeeded, its tags are %v", r.bucket, r.key, o.Tags)
			}
		}
	}
	return j, rows
}

// verifyCounts is verify for objects that more than one job has changed.
func (w *world) verifyCounts(id string) (j job.Job, rows []row) {
	w.t.Helper()
	j = w.job(id)
	if !j.Status.Terminal() {
		w.t.Fatalf("job is %s", j.Status)
	}
	rows, written := w.report(id)
	succeeded, seen := int64(0), map[row]bool{}
	for _, r := range rows {
		if r.status == "succeeded" {
			succeeded++
		}
		where := row{bucket: r.bucket, key: r.key, version: r.version}
		if seen[where] {
			w.t.Errorf("%s/%s is reported twice", r.bucket, r.key)
		}
		seen[where] = true
	}
	var t job.Tally
	if j.Tally != nil {
		t = *j.Tally
	}
	wanted := j.Spec.Report.Enabled && t.Executed() > 0 && !slices.ContainsFunc(j.FailureReasons, func(r job.FailureReason) bool { return r.FailureCode == job.CodeReportFailed })
	if written != wanted {
		w.t.Errorf("report written: %t, want %t (%s, %+v)", written, wanted, j.Status, t)
	}
	if written && j.Spec.Report.ReportScope == job.AllTasks && (succeeded != t.Succeeded || int64(len(rows)) != t.Executed()) {
		w.t.Errorf("report has %d rows, %d succeeded; counters say %d succeeded, %d failed", len(rows), succeeded, t.Succeeded, t.Failed)
	}
	if j.Status == job.Complete && t.Executed() != j.Plan.Tasks {
		w.t.Errorf("%d tasks executed of %d", t.Executed(), j.Plan.Tasks)
	}
	codes := int64(0)
	for _, c := range t.Codes {
		codes += c.Count
	}
	if codes != t.Failed {
		w.t.Errorf("codes count %d failures, tally %d", codes, t.Failed)
	}
	for _, key := range w.s3.Keys("reports") {
		if strings.Contains(key, id+"/parts/") {
			w.t.Errorf("left behind: %s", key)
		}
	}
	if left, err := w.store.Work(w.t.Context(), id); err != nil || left != (jobstore.Work{}) {
		w.t.Errorf("left in the job store: %+v, %v", left, err)
	}
	return j, rows
}

// untouched fails for every object that carries a tag without being in rows.
func (w *world) untouched(keys []string, rows []row) {
	w.t.Helper()
	reported := map[string]bool{}
	for _, r := range rows {
		reported[r.key] = true
	}
	for _, key := range keys {
		if o, _ := w.s3.Object("data", key); len(o.Tags) > 0 && !reported[key] {
			w.t.Errorf("%s was changed and is not reported", key)
		}
	}
}

// reason is the only failure reason of a job.
func (w *world) reason(j job.Job) job.FailureReason {
	w.t.Helper()
	if len(j.FailureReasons) != 1 {
		w.t.Fatalf("failure reasons: %+v", j.FailureReasons)
	}
	return j.FailureReasons[0]
}
