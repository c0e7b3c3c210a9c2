package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/report"
)

// retryParent is a job that has ended with failures.
func retryParent(total, succeeded, failed int64) *controlapi.JobDescriptor {
	return &controlapi.JobDescriptor{
		JobId: "00e123a4-c0d8-41f4-a0eb-b46f9ba5b07c", Status: job.Complete, Description: "nightly", Priority: 3, RoleArn: roleARN(devAccount),
		Operation: &job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}},
		Manifest:  &job.Manifest{Spec: &job.ManifestSpec{Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey}}},
		Report:    &job.Report{Enabled: true, Bucket: "arn:aws:s3:::reports", Prefix: "r/", Format: job.ReportCSV, ReportScope: job.AllTasks},
		ProgressSummary: controlapi.Progress{
			TotalNumberOfTasks: total, NumberOfTasksSucceeded: succeeded, NumberOfTasksFailed: failed,
		},
	}
}

func TestMayRetry(t *testing.T) {
	t.Parallel()
	check := func(code int, says string, change func(j *controlapi.JobDescriptor)) {
		t.Helper()
		j := retryParent(5, 3, 2)
		change(j)
		var stderr strings.Builder
		got := tell(&stderr, (&jobCommands{}).mayRetry(j))
		if got != code || !strings.Contains(stderr.String(), says) {
			t.Errorf("got exit code %d and\n%s\nwant %d and %q", got, &stderr, code, says)
		}
	}
	check(0, "", func(*controlapi.JobDescriptor) {})
	check(0, "", func(j *controlapi.JobDescriptor) { j.Status = job.Cancelled })
	check(exitConflict, "has not ended, it is Active", func(j *controlapi.JobDescriptor) { j.Status = job.Active })
	check(exitConflict, "has not ended, it is Suspended", func(j *controlapi.JobDescriptor) { j.Status = job.Suspended })
	check(exitNothing, "none of its tasks has failed\n", func(j *controlapi.JobDescriptor) {
		j.ProgressSummary.NumberOfTasksSucceeded, j.ProgressSummary.NumberOfTasksFailed = 5, 0
	})
	check(exitNothing, "2 never ran, and no report lists those", func(j *controlapi.JobDescriptor) {
		j.Status, j.ProgressSummary.NumberOfTasksFailed = job.Cancelled, 0
	})
	check(exitNothing, "none of its tasks ever ran", func(j *controlapi.JobDescriptor) {
		j.Status, j.ProgressSummary = job.Failed, controlapi.Progress{}
	})
	check(exitNotFound, "has no report", func(j *controlapi.JobDescriptor) { j.Report.Enabled = false })
	check(exitNotFound, "has no report", func(j *controlapi.JobDescriptor) { j.Report = nil })
	check(exitNotFound, "could not be written", func(j *controlapi.JobDescriptor) {
		j.Status, j.FailureReasons = job.Failed, []job.FailureReason{{FailureCode: job.CodeReportFailed}}
	})
}

func TestRetryUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{},
		{"00e1", "00e2"},
		{"00e1", "--exit-status"},
		{"00e1", "--dry-run", "--watch"},
		{"00e1", "--dry-run", "-o", "name"},
		{"00e1", "--codes", ""},
		{"00e1", "--codes="},
		{"00e1", "--codes", "SlowDown,"},
	} {
		if got := invoke(t.Context(), "", nil, append([]string{"job", "retry"}, args...)...); got.code != exitUsage {
			t.Errorf("%q: got %+v, want exit code %d", args, got, exitUsage)
		}
	}
}

// storeOf is the access to a store of a test.
func storeOf(t *testing.T, s3 *objectstoretest.Server) (*connection, *objectstore.Access) {
	t.Helper()
	at := &connection{s3: s3.URL(), region: devRegion}
	at.credentials.AccessKeyID, at.credentials.SecretAccessKey = "key", "secret"
	access, done, err := at.store(t.Context(), world{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return at, access
}

// putReport writes a report with such files of failed tasks.
func putReport(s3 *objectstoretest.Server, j *controlapi.JobDescriptor, files ...string) {
	bucket, folder := reportPlace(j)
	type result struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
	index := struct {
		Format  job.ReportFormat
		Results []result
	}{job.ReportCSV, []result{{"succeeded", bucket, "", folder + "results/ok.csv"}}}
	for i, text := range files {
		key := fmt.Sprintf("%sresults/%d.csv", folder, i)
		s3.Put(bucket, key, text)
		index.Results = append(index.Results, result{"failed", bucket, md5Hex([]byte(text)), key})
	}
	text, _ := json.Marshal(index)
	s3.Put(bucket, folder+"manifest.json", string(text))
	s3.Put(bucket, folder+"manifest.json.md5", md5Hex(text)+"\n")
}

const (
	failedOne = "b,a%2Cb,,failed,404,NoSuchKey,gone\n" + `b,"x,y",,failed,503,SlowDown,"slow, ""really"""` + "\n"
	failedTwo = "b,caf%C3%A9,v1,failed,503,SlowDown,slow\n"
)

// TestRetryJoins puts files and parts of files together, once.
func TestRetryJoins(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	at, access := storeOf(t, s3)
	parent := retryParent(5, 2, 3)
	putReport(s3, parent, failedOne, failedTwo)
	c := &jobCommands{}
	check := func(o retryOptions, want string) *retryPlan {
		t.Helper()
		plan, err := c.planRetry(t.Context(), at, access, parent, []job.Tag{{Key: "team", Value: "x"}, {Key: job.TagParent, Value: "old"}}, o)
		if err != nil {
			t.Fatal(err)
		}
		rows := int64(strings.Count(want, "\n"))
		if !plan.Joined || plan.FailedTasks != 3 || plan.Tasks != rows || plan.NotRun != 0 {
			t.Errorf("got %+v, want %d tasks", plan, rows)
		}
		for range 2 {
			puts := s3.Count("PutObject")
			made, err := plan.tasks.join(t.Context(), plan.place, o.codes, plan.size)
			if err != nil {
				t.Fatal(err)
			}
			plan.pin(made)
			object, ok := s3.Object(made.Bucket, made.Key)
			if !ok || string(object.Body) != want || made.ETag != object.ETag {
				t.Errorf("got %q, ETag %s of %+v\nwant %q", object.Body, object.ETag, made, want)
			}
			if n := s3.Count("PutObject") - puts; n > 1 {
				t.Errorf("written %d times", n)
			}
		}
		return plan
	}
	all := check(retryOptions{}, failedOne+failedTwo)
	slow := check(retryOptions{codes: []string{"SlowDown"}}, failedOne[strings.Index(failedOne, "\n")+1:]+failedTwo)
	if n := s3.Count("PutObject"); n != 2 {
		t.Errorf("%d objects were written, want each once", n)
	}
	if all.place.Key == slow.place.Key || all.Request.ClientRequestToken == slow.Request.ClientRequestToken {
		t.Error("different retries have one name")
	}
	spec := slow.Request
	if err := spec.Validate(); err != nil {
		t.Errorf("not valid: %v", err)
	}
	if want := []job.Tag{{Key: "team", Value: "x"}, {Key: job.TagParent, Value: parent.JobId}}; !slices.Equal(spec.Tags, want) {
		t.Errorf("got the tags %v, want %v", spec.Tags, want)
	}
	if spec.Manifest.Spec.Fields[2] != job.FieldIgnore {
		t.Errorf("the version ids of a manifest without them are used: %v", spec.Manifest.Spec.Fields)
	}
}

// TestRetryCodes: codes without a task make no job, and one among others makes the same job as those alone.
func TestRetryCodes(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	at, access := storeOf(t, s3)
	parent := retryParent(5, 3, 2)
	putReport(s3, parent, failedOne)
	var stdout, stderr strings.Builder
	c := &jobCommands{w: world{stdout: &stdout, stderr: &stderr}, output: "table"}
	_, err := c.planRetry(t.Context(), at, access, parent, nil, retryOptions{codes: []string{"Bar", "Foo"}})
	const want = "no task failed with Bar or Foo\n  why   the failed tasks have NoSuchKey, SlowDown\n"
	if got := tell(&stderr, err); got != exitNothing || !strings.Contains(stderr.String(), want) {
		t.Errorf("got exit code %d and\n%s\nwant %s", got, &stderr, want)
	}
	plan, err := c.planRetry(t.Context(), at, access, parent, nil, retryOptions{codes: []string{"SlowDown"}})
	if err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	same, err := c.planRetry(t.Context(), at, access, parent, nil, retryOptions{codes: []string{"Foo", "SlowDown"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan, same, cmpopts.IgnoreUnexported(retryPlan{})); diff != "" {
		t.Errorf("with another code (-want +got):\n%s", diff)
	}
	if want := "note: no task failed with Foo; the failed tasks have NoSuchKey, SlowDown\n"; stderr.String() != want {
		t.Errorf("got %q, want %q", &stderr, want)
	}
	if err := c.printRetry(plan); err != nil || !strings.Contains(stdout.String(), "\nChosen       SlowDown\n") {
		t.Errorf("got %v and\n%s", err, &stdout)
	}
}

// TestRetryHeader: rows whose bucket and key are called like columns are rows to the new job, the first one, too.
func TestRetryHeader(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	at, access := storeOf(t, s3)
	parent := retryParent(3, 0, 3)
	const rest = ",,failed,404,NoSuchKey,gone\n"
	putReport(s3, parent, "bucket,key"+rest+"bucket,key"+rest+"bucket,zzz"+rest)
	plan, err := (&jobCommands{}).planRetry(t.Context(), at, access, parent, nil, retryOptions{})
	if err != nil || plan.Joined {
		t.Fatalf("got %+v, %v, want the file as it lies", plan, err)
	}
	object, _ := s3.Object(plan.place.Bucket, plan.place.Key)
	layout, err := manifest.NewLayout(plan.Request.Manifest.Spec.Fields)
	if err != nil {
		t.Fatal(err)
	}
	rows, n := manifest.NewCSV(bytes.NewReader(object.Body), layout, manifest.Position{}), 0
	for row := (manifest.Row{}); rows.Next(&row); n++ {
		if n == 0 && string(row.Key) != "key" {
			t.Errorf("got the key %s", row.Key)
		}
	}
	if n != 3 || rows.Err() != nil {
		t.Errorf("got %d rows, %v", n, rows.Err())
	}
}

// TestRetryWatched tells with its exit code of a new job that fails.
func TestRetryWatched(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	putReport(s3, retryParent(2, 1, 1), failedTwo)
	check := func(want int, status string, flags ...string) {
		t.Helper()
		parent := strings.Replace(described("Complete"), "<Status>", "<Operation><S3DeleteObjectTagging/></Operation>"+
			"<Report><Bucket>arn:aws:s3:::reports</Bucket><Prefix>r</Prefix><Format>Report_CSV_20180820</Format><Enabled>true</Enabled><ReportScope>AllTasks</ReportScope></Report>"+
			"<Status>", 1)
		url, _ := fakeAPI(t, answer{200, parent}, answer{200, "<GetJobTaggingResult" + ns + "/>"}, answer{200, listed("")},
			answer{200, "<CreateJobResult" + ns + "><JobId>" + someID + "</JobId></CreateJobResult>"}, answer{200, described(status)})
		got := invoke(t.Context(), "", nil, append([]string{"job", "retry", someID, "--watch", "--endpoint-url", url, "--s3-endpoint-url", s3.URL()}, flags...)...)
		if got.code != want || !strings.Contains(got.stdout, "job/"+someID+" "+status) {
			t.Errorf("%s %q: got %+v, want exit code %d", status, flags, got, want)
		}
	}
	check(exitOK, "Failed")
	check(exitJobFailed, "Failed", "--exit-status")
	check(exitOK, "Cancelled")
	check(exitJobFailed, "Cancelled", "--exit-status")
	check(exitOK, "Complete")
	check(exitTasksFailed, "Complete", "--exit-status")
}

// TestRetryVersions: whose version ids count.
func TestRetryVersions(t *testing.T) {
	t.Parallel()
	check := func(want bool, parent *controlapi.JobDescriptor, rows string) {
		t.Helper()
		s3 := objectstoretest.Start(t, objectstoretest.Config{})
		at, access := storeOf(t, s3)
		putReport(s3, parent, rows)
		plan, err := (&jobCommands{}).planRetry(t.Context(), at, access, parent, nil, retryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Request.Manifest.Spec.Fields[2] == job.FieldVersionID; got != want || plan.Joined {
			t.Errorf("got %t, want %t for %s", got, want, rows)
		}
	}
	inventory := retryParent(1, 0, 1)
	inventory.Manifest.Spec = &job.ManifestSpec{Format: job.ManifestInventory}
	generated := retryParent(1, 0, 1)
	generated.Manifest = nil
	columns := retryParent(1, 0, 1)
	columns.Manifest.Spec.Fields = append(columns.Manifest.Spec.Fields, job.FieldVersionID)
	const none, missing = "b,k,,failed,404,NoSuchKey,gone\n", "b,k,,failed,400,InvalidRequest,Task failed due to missing VersionId\n"
	check(false, retryParent(1, 0, 1), none)
	check(true, columns, none)
	check(true, inventory, failedTwo)
	check(true, inventory, missing)
	check(false, inventory, none)
	check(true, generated, failedTwo)
	check(false, generated, none)
}

// TestRetryDistrusts: a report that is not what was written makes no job.
func TestRetryDistrusts(t *testing.T) {
	t.Parallel()
	check := func(code int, says string, change func(s3 *objectstoretest.Server, folder string)) {
		t.Helper()
		s3 := objectstoretest.Start(t, objectstoretest.Config{})
		at, access := storeOf(t, s3)
		parent := retryParent(5, 3, 2)
		putReport(s3, parent, failedOne)
		bucket, folder := reportPlace(parent)
		if bucket != "reports" || folder != "r/job-"+parent.JobId+"/" {
			t.Errorf("the report is in %s, %s", bucket, folder)
		}
		change(s3, folder)
		_, err := (&jobCommands{}).planRetry(t.Context(), at, access, parent, nil, retryOptions{codes: []string{"SlowDown"}})
		var stderr strings.Builder
		if got := tell(&stderr, err); got != code || !strings.Contains(stderr.String(), says) {
			t.Errorf("got exit code %d and\n%s\nwant %d and %q", got, &stderr, code, says)
		}
	}
	put := func(name, text string) func(*objectstoretest.Server, string) {
		return func(s3 *objectstoretest.Server, folder string) { s3.Put("reports", folder+name, text) }
	}
	check(exitFailed, "manifest.json.md5 says", put("manifest.json.md5", strings.Repeat("0", 32)+"\n"))
	check(exitFailed, "manifest.json says", put("results/0.csv", strings.Replace(failedOne, "gone", "lost", 1)))
	check(exitFailed, "wrong number of fields", put("results/0.csv", "a,b\n"))
	check(exitFailed, `a task that "succeeded"`, put("results/0.csv", "b,k,,succeeded,200,,Successful\n"))
	check(exitFailed, "lists 1 failed tasks, the job counts 2", func(s3 *objectstoretest.Server, _ string) {
		putReport(s3, retryParent(5, 3, 2), failedTwo)
	})
	check(exitNotFound, "NoSuchKey", func(s3 *objectstoretest.Server, folder string) {
		s3.Fault(objectstoretest.Match{Op: "GetObject", Key: objectstoretest.Key(folder + "results/0.csv")}, objectstoretest.Status(404, "NoSuchKey"))
	})
	check(exitDenied, "AccessDenied", func(s3 *objectstoretest.Server, _ string) {
		s3.Fault(objectstoretest.Match{Op: "GetObject"}, objectstoretest.Status(403, "AccessDenied"))
	})
}

func TestRetryDescription(t *testing.T) {
	t.Parallel()
	check := func(in, want string) {
		t.Helper()
		j := retryParent(1, 0, 1)
		j.Description = in
		if got := retryDescription(j); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	check("nightly", "Retry of 00e123a4: nightly")
	check("", "Retry of 00e123a4")
	check("Retry of 11111111: nightly", "Retry of 00e123a4: nightly")
	check("Retry of 11111111", "Retry of 00e123a4")
	check(strings.Repeat("é", 256), "Retry of 00e123a4: "+strings.Repeat("é", 237))
}

// TestFailedRowsParse: whatever row a manifest may have, that of its failed task in
// the report is a row for the same object.
func TestFailedRowsParse(t *testing.T) {
	t.Parallel()
	layout := func(fields ...job.Field) manifest.Layout {
		l, err := manifest.NewLayout(fields)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	given := layout(job.FieldBucket, job.FieldKey, job.FieldVersionID)
	reported := layout(job.FieldBucket, job.FieldKey, job.FieldVersionID, job.FieldIgnore, job.FieldIgnore, job.FieldIgnore, job.FieldIgnore)
	rapid.Check(t, func(t *rapid.T) {
		cell := func(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
		text := rapid.OneOf(rapid.StringMatching(`[a-c,"%+ /\\é;=']{1,12}`), rapid.String())
		key := text.Draw(t, "key")
		if rapid.Bool().Draw(t, "encoded") {
			key = manifest.EncodeKey(key)
		}
		line := cell(rapid.SampledFrom([]string{"b", "photos.2024"}).Draw(t, "bucket")) + "," + cell(key) + "," + cell(text.Draw(t, "version")) + "\n"
		var want, got manifest.Row
		rows := manifest.NewCSV(strings.NewReader(line), given, manifest.Position{})
		if !rows.Next(&want) {
			t.Skip() // no row of a manifest
		}
		out := job.Outcome{Failed: true, HTTPStatus: 503, Code: "SlowDown", Message: rapid.StringMatching(`[ -~é🚢]{0,40}`).Draw(t, "message")}
		again := manifest.NewCSV(bytes.NewReader(report.AppendRow(nil, want.Bucket, want.RawKey, want.VersionID, &out)), reported, manifest.Position{})
		if !again.Next(&got) {
			t.Fatalf("%q became no row: %v", line, again.Err())
		}
		if !bytes.Equal(got.Bucket, want.Bucket) || !bytes.Equal(got.Key, want.Key) || !bytes.Equal(got.VersionID, want.VersionID) {
			t.Errorf("%q became %q, %q, %q", line, got.Bucket, got.Key, got.VersionID)
		}
	})
}
