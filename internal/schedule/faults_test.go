package schedule_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/job"
	s3test "stevedore/internal/objectstore/objectstoretest"
)

func TestEveryRowHasOneOutcomeWhateverTheStoreDoes(t *testing.T) {
	t.Parallel()
	tagging := func(every int) s3test.Match { return s3test.Match{Op: "PutObjectTagging", Every: every} }
	one := s3test.Match{Op: "PutObjectTagging", Key: s3test.Key("k000007")}
	manifest := func(m s3test.Match) s3test.Match {
		m.Bucket = "manifests"
		return m
	}
	reports := func(m s3test.Match) s3test.Match {
		m.Bucket = "reports"
		return m
	}
	for name, c := range map[string]struct {
		match  s3test.Match
		action s3test.Action
		failed int64
		code   string // of the task that fails
		status string
	}{
		"nothing":                     {match: s3test.Match{Op: "none"}, action: s3test.SlowDown()},
		"503 to every third":          {match: tagging(3), action: s3test.SlowDown()},
		"500 to every third":          {match: tagging(3), action: s3test.Status(500, "InternalError")},
		"502 of a proxy":              {match: tagging(3), action: s3test.Status(502, "")},
		"reset before the effect":     {match: tagging(5), action: s3test.ResetBefore()},
		"reset after the effect":      {match: tagging(5), action: s3test.ResetAfter()},
		"slow":                        {match: tagging(50), action: s3test.Delay(50 * time.Millisecond)},
		"one object always slow down": {match: one, action: s3test.SlowDown(), failed: 1, code: "SlowDown", status: "503"},
		"one object denied":           {match: one, action: s3test.Status(403, "AccessDenied"), failed: 1, code: "AccessDenied", status: "403"},
		"one object unreachable":      {match: one, action: s3test.ResetBefore(), failed: 1, code: "InternalError", status: "500"},
		"manifest cut":                {match: manifest(s3test.Match{Op: "GetObject", Times: 3}), action: s3test.CutBody(100)},
		"manifest slow down":          {match: manifest(s3test.Match{Times: 2}), action: s3test.SlowDown()},
		"manifest reset":              {match: manifest(s3test.Match{Op: "GetObject", Times: 2}), action: s3test.ResetBefore()},
		"report slow down":            {match: reports(s3test.Match{Every: 3, Times: 4}), action: s3test.SlowDown()},
		"report reset after":          {match: reports(s3test.Match{Every: 2, Times: 4}), action: s3test.ResetAfter()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			const n = 300
			w.s3.Fault(c.match, c.action)
			id := w.create(w.spec(w.seed(n)))
			w.awaitStatus(id, job.Complete)
			j, rows := w.verify(id)
			if j.Tally.Failed != c.failed || j.Tally.Succeeded != n-c.failed || len(rows) != n {
				t.Errorf("%d rows, tally %+v", len(rows), j.Tally)
			}
			for _, r := range rows {
				if r.status == "failed" && (r.key != "k000007" || r.errorCode != c.code || r.httpStatus != c.status) {
					t.Errorf("failed: %+v", r)
				}
			}
		})
	}
}

func TestCopyOutcomesAreThoseOfTheBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		match  s3test.Match
		action s3test.Action
		failed string // code
	}{
		"200 with an error, then well":  {match: s3test.Match{Op: "CopyObject", Every: 4}, action: s3test.OKWithError("InternalError")},
		"200 with an error, each time":  {match: s3test.Match{Op: "CopyObject", Key: s3test.Key("k000003")}, action: s3test.OKWithError("InternalError"), failed: "InternalError"},
		"200 with a final error":        {match: s3test.Match{Op: "CopyObject", Key: s3test.Key("k000003")}, action: s3test.OKWithError("AccessDenied"), failed: "AccessDenied"},
		"answers cut short, then whole": {match: s3test.Match{Op: "CopyObject", Every: 4}, action: s3test.TruncateXML()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.s3.CreateBucket("copies")
			w.run()
			w.s3.Fault(c.match, c.action)
			keys := w.seed(100)
			spec := w.spec(keys)
			spec.Operation = job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::copies"}}
			id := w.create(spec)
			w.awaitStatus(id, job.Complete)
			_, rows := w.verify(id)
			for _, r := range rows {
				want := "succeeded"
				if c.failed != "" && r.key == "k000003" {
					want = "failed"
				}
				if _, there := w.s3.Object("copies", r.key); r.status != want || r.errorCode != "" && r.errorCode != c.failed || there != (want == "succeeded") {
					t.Errorf("%+v, copied: %t", r, there)
				}
			}
		})
	}
}

func TestCredentialsRotateUnderTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var fresh atomic.Bool
	w.objects.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		if fresh.Load() {
			return aws.Credentials{AccessKeyID: "AKID2", SecretAccessKey: "secret2"}, nil
		}
		return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, nil
	}))
	w.run()
	gate := s3test.NewGate()
	w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 100}, s3test.Block(gate))
	id := w.create(w.spec(w.seed(400)))
	w.arrived(gate)
	fresh.Store(true)
	w.s3.Rotate("AKID2", "secret2", "")
	gate.Open()
	w.awaitStatus(id, job.Complete)
	if j, _ := w.verify(id); j.Tally.Succeeded != 400 {
		t.Errorf("tally %+v", j.Tally)
	}
}

func TestReportThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	const text = "The job report could not be written to your report bucket. Please check your permissions."
	details := map[string]string{
		"denied":          " (reports: 403 AccessDenied)",
		"no such bucket":  " (nowhere: 404 NoSuchBucket)",
		"one part denied": " (reports: 403 AccessDenied)",
		"index denied":    " (reports: 403 AccessDenied)",
		"part lost":       " (reports: 404 NoSuchKey)",
		"parts garbled":   " (reports: ", // and which part
	}
	for name, set := range map[string]func(w *world, spec *job.Spec){
		"denied": func(w *world, _ *job.Spec) {
			w.s3.Fault(s3test.Match{Op: "PutObject", Bucket: "reports"}, s3test.Status(403, "AccessDenied"))
		},
		"no such bucket": func(_ *world, spec *job.Spec) { spec.Report.Bucket = "arn:aws:s3:::nowhere" },
		"one part denied": func(w *world, _ *job.Spec) {
			w.s3.Fault(s3test.Match{Op: "PutObject", Bucket: "reports", Skip: 1, Times: 1}, s3test.Status(403, "AccessDenied"))
		},
		"index denied": func(w *world, _ *job.Spec) {
			w.s3.Fault(s3test.Match{Op: "PutObject", Bucket: "reports", Key: func(k string) bool { return strings.HasSuffix(k, ".json") }}, s3test.Status(403, "AccessDenied"))
		},
		"part lost": func(w *world, _ *job.Spec) {
			w.s3.Fault(s3test.Match{Op: "GetObject", Bucket: "reports", Times: 1}, s3test.Status(404, "NoSuchKey"))
		},
		"parts garbled": func(w *world, _ *job.Spec) {
			w.s3.Fault(s3test.Match{Op: "GetObject", Bucket: "reports"}, s3test.Answer(200, "something else"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			keys := append(w.seed(300), "missing")
			w.config.Run.SegmentEvery = time.Millisecond
			spec := w.spec(keys)
			set(w, &spec)
			id := w.create(spec)
			w.awaitStatus(id, job.Failed)
			j, _ := w.verify(id)
			if r := w.reason(j); r.FailureCode != job.CodeReportFailed || !strings.HasPrefix(r.FailureReason, text+details[name]) || len(r.FailureReason) > 256 {
				t.Errorf("got the reason %+v, want %q", r, text+details[name])
			}
			if j.Tally.Succeeded != 300 || j.Tally.Failed != 1 || j.Plan.Tasks != 301 || j.TerminationDate == nil {
				t.Errorf("tally %+v", j.Tally)
			}
		})
	}
}

func TestReportWhoseStoreNeverAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Attempts = 1
	w.run()
	isIndex := func(k string) bool { return strings.HasSuffix(k, "/manifest.json") }
	w.s3.Fault(s3test.Match{Op: "PutObject", Bucket: "reports", Key: isIndex}, s3test.ResetBefore())
	id := w.create(w.spec(w.seed(20)))
	w.awaitStatus(id, job.Failed)
	j, _ := w.verify(id)
	if r := w.reason(j); r.FailureCode != job.CodeReportFailed || !strings.HasSuffix(r.FailureReason, " (reports: no answer)") {
		t.Errorf("reason %+v", r)
	}
}

func TestReportIsWaitedForWhileItsStoreIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	// More refusals than one call's attempts, in each of the three steps.
	w.s3.Fault(s3test.Match{Op: "PutObject", Bucket: "reports", Times: 20}, s3test.Status(503, "ServiceUnavailable"))
	w.s3.Fault(s3test.Match{Op: "GetObject", Bucket: "reports", Times: 20}, s3test.Status(503, "ServiceUnavailable"))
	w.s3.Fault(s3test.Match{Op: "DeleteObject", Bucket: "reports", Times: 20}, s3test.Status(503, "ServiceUnavailable"))
	id := w.create(w.spec(w.seed(20)))
	w.awaitStatus(id, job.Complete)
	w.verify(id)
}

func TestReportScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.seed(10)
	run := func(name string, keys []string, set func(*job.Report), wantRows int, wantIndex bool) {
		t.Run(name, func(t *testing.T) {
			spec := w.spec(keys)
			set(&spec.Report)
			id := w.create(spec)
			w.awaitStatus(id, job.Complete)
			_, rows := w.verifyCounts(id)
			index, there := w.s3.Object("reports", "p/job-"+id+"/manifest.json")
			if len(rows) != wantRows || there != wantIndex {
				t.Errorf("%d rows, want %d; index %s", len(rows), wantRows, index.Body)
			}
			if wantIndex && wantRows == 0 && !strings.Contains(string(index.Body), `"Results": []`) {
				t.Errorf("index %s", index.Body)
			}
		})
	}
	failedOnly := func(r *job.Report) { r.ReportScope = job.FailedTasks }
	run("all tasks", []string{"k000001", "missing"}, func(*job.Report) {}, 2, true)
	run("failed tasks only", []string{"k000001", "missing"}, failedOnly, 1, true)
	run("failed tasks only, none failed", []string{"k000001"}, failedOnly, 0, true)
	run("none", []string{"k000001", "missing"}, func(r *job.Report) { *r = job.Report{} }, 0, false)
}

func TestVersionIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s3.CreateBucket("plain", "versioned", "silent")
	w.s3.Put("versioned", "old", "before versioning")
	w.s3.SetVersioning("versioned", "Enabled")
	w.s3.SetVersioning("silent", "Enabled")
	first := w.s3.Put("versioned", "k", "1")
	second := w.s3.Put("versioned", "k", "2")
	silent := w.s3.Put("silent", "k", "1")
	w.s3.Put("plain", "k", "1")
	w.s3.Put("plain", "l", "1")
	w.s3.Fault(s3test.Match{Op: "GetBucketVersioning", Bucket: "silent"}, s3test.Status(403, "AccessDenied"))
	w.run()
	rows := []string{
		"versioned,k," + first.VersionID,
		"versioned,k,",
		"versioned,old,null",
		"versioned,k,no-such-version",
		"plain,k,whatever",
		"plain,l,",
		"silent,k," + silent.VersionID,
		"silent,k,",
	}
	id := w.create(w.specOf(strings.Join(rows, "\n"), job.FieldBucket, job.FieldKey, job.FieldVersionID))
	w.awaitStatus(id, job.Complete)
	got := map[string]string{}
	all, _ := w.report(id)
	for _, r := range all {
		got[r.bucket+","+r.key+","+r.version] = fmt.Sprint(r.status, " ", r.httpStatus, " ", r.message)
	}
	const missing = "failed 400 Task failed due to missing VersionId"
	for row, want := range map[string]string{
		rows[0]: "succeeded 200 Successful", rows[1]: missing, rows[2]: "succeeded 200 Successful", rows[3]: "failed 404",
		rows[4]: "succeeded 200 Successful", rows[5]: "succeeded 200 Successful", rows[6]: "succeeded 200 Successful", rows[7]: missing,
	} {
		if !strings.HasPrefix(got[row], want) {
			t.Errorf("%s: %q, want %q", row, got[row], want)
		}
	}
	if v, _ := w.s3.Version("versioned", "k", second.VersionID); len(v.Tags) != 0 {
		t.Errorf("the current version was tagged: %v", v.Tags)
	}
	if n := w.s3.Count("GetBucketVersioning"); n != 3 {
		t.Errorf("the store was asked about versioning %d times for 3 buckets", n)
	}
}
