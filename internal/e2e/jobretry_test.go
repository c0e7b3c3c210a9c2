package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// oddKeys are keys that lists of objects get wrong.
func oddKeys() []string {
	return []string{
		"with space.txt", " leading", "100%.txt", "%41", "a+b", "comma, and more", `say "hi"`, `"quoted"`,
		"line\nbreak", "tab\there", "dépôt/ключ/鍵", "🚢", "semi;colon", "a=b&c?d#e", `back\slash`, "'single'", "`tick`",
	}
}

// manifestOf are rows for keys, URL-encoded.
func manifestOf(bucket string, keys ...string) []byte {
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%s,%s\n", bucket, inManifest(k))
	}
	return []byte(b.String())
}

// reportIndex is manifest.json of a report.
type reportIndex struct {
	Results []struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
}

// failedObjects are the keys of the files of failed tasks in a report.
func (o *objects) failedObjects(t *testing.T, id string) (keys []string) {
	t.Helper()
	var index reportIndex
	if err := json.Unmarshal(o.get(t, "reports", "r/job-"+id+"/manifest.json"), &index); err != nil {
		t.Fatal(err)
	}
	for _, r := range index.Results {
		if r.TaskExecutionStatus == "failed" {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

// keysOf are the keys, decoded and sorted, of those rows of a report that have a status.
func keysOf(t *testing.T, rows [][]string, status string) (keys []string) {
	t.Helper()
	for _, row := range rows {
		if row[3] != status {
			continue
		}
		k, err := url.PathUnescape(row[1])
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// tagOf is the value of a tag of an object, "" if it has none.
func (o *objects) tagOf(t *testing.T, bucket, key, name string) string {
	t.Helper()
	out, err := o.sdk.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	for _, tag := range out.TagSet {
		if *tag.Key == name {
			return *tag.Value
		}
	}
	return ""
}

// TestFailedRowsAreAManifest: the file of failed tasks of a report, as it lies, is
// the manifest of a second job of the AWS CLI.
func TestFailedRowsAreAManifest(t *testing.T) {
	t.Parallel()
	d := startDev(t, 3)
	c, sdk := newAWSCLI(t, d), control(d.host())
	want := slices.Sorted(slices.Values(oddKeys()))
	body := append(manifestOf("demo", key(0), key(1), key(2)), manifestOf("demo", oddKeys()...)...)
	etag := d.put(t, "manifests", "odd.csv", body)

	var first, second struct{ JobID string }
	c.jobs(t, &first, "create-job", createArgs("odd.csv", strings.Trim(etag, `"`), "--no-confirmation-required")...)
	until(t, sdk, first.JobID, ended)
	rows := d.report(t, "reports", "r", first.JobID)
	if got := keysOf(t, rows, "failed"); !slices.Equal(got, want) {
		t.Fatalf("failed: got %q, want %q", got, want)
	}

	for _, k := range oddKeys() {
		d.put(t, "demo", k, []byte(k))
	}
	files := d.failedObjects(t, first.JobID)
	if len(files) != 1 {
		t.Fatalf("got the files %q, want one", files)
	}
	var head struct{ ETag string }
	c.ok(t, &head, "s3api", "head-object", "--bucket", "reports", "--key", files[0])
	manifest := fmt.Sprintf(`{"Spec":{"Format":"S3BatchOperations_CSV_20180820","Fields":["Bucket","Key","Ignore","Ignore","Ignore","Ignore","Ignore"]},`+
		`"Location":{"ObjectArn":"arn:aws:s3:::reports/%s","ETag":%s}}`, files[0], head.ETag)
	c.jobs(t, &second, "create-job", "--priority", "7", "--role-arn", role, "--no-confirmation-required",
		"--operation", `{"S3PutObjectTagging":{"TagSet":[{"Key":"by","Value":"second"}]}}`, "--manifest", manifest,
		"--report", `{"Enabled":true,"Bucket":"arn:aws:s3:::reports","Prefix":"r","Format":"Report_CSV_20180820","ReportScope":"AllTasks"}`)
	if j := until(t, sdk, second.JobID, ended); j.Status != types.JobStatusComplete || *j.ProgressSummary.TotalNumberOfTasks != int64(len(want)) {
		t.Errorf("the second job ended %s: %+v %+v", j.Status, j.FailureReasons, j.ProgressSummary)
	}
	if got := keysOf(t, d.report(t, "reports", "r", second.JobID), "succeeded"); !slices.Equal(got, want) {
		t.Errorf("succeeded: got %q, want %q", got, want)
	}
	for _, k := range oddKeys() {
		if got := d.tagOf(t, "demo", k, "by"); got != "second" {
			t.Errorf("%q is tagged %q", k, got)
		}
	}
	if got := d.tagOf(t, "demo", key(0), "by"); got != "cli" {
		t.Errorf("a task that had succeeded was done again: tagged %q", got)
	}
}

// TestJobRetry retries what failed with one command: all of it, some of it, and
// never twice.
func TestJobRetry(t *testing.T) {
	t.Parallel()
	d := startDev(t, 3)
	c, sdk := ourClient{d}, control(d.host())
	body := slices.Concat(manifestOf("demo", key(0)), manifestOf("demo", oddKeys()...), manifestOf("nowhere", "x", "y z"))
	etag := d.put(t, "manifests", "manifest.csv", body)
	id := c.create(t, jobJSON(strings.Trim(etag, `"`), `, "ConfirmationRequired": false, "Description": "nightly",
		"Tags": [{"Key": "team", "Value": "storage"}, {"Key": "stevedore:max-requests-per-second", "Value": "500"}]`))
	until(t, sdk, id, ended)
	for _, k := range oddKeys() {
		d.put(t, "demo", k, []byte(k))
	}
	failed := int64(len(oddKeys()) + 2)

	// A dry run says what would be, and does nothing.
	contains(t, "dry run", c.run(t, 0, "", "retry", id, "--dry-run").stdout, fmt.Sprintf("%d of %d failed tasks", failed, failed), "NoSuchBucket 2", "as it lies")
	var plan struct {
		FailedTasks, Tasks int64
		Codes              map[string]int64
		Joined             bool
		Request            json.RawMessage
	}
	if err := json.Unmarshal([]byte(c.run(t, 0, "", "retry", id, "--codes", "NoSuchBucket", "--dry-run", "-o", "json").stdout), &plan); err != nil {
		t.Fatal(err)
	}
	if plan.FailedTasks != failed || plan.Tasks != 2 || plan.Codes["NoSuchBucket"] != 2 || !plan.Joined {
		t.Errorf("the plan is %+v", plan)
	}
	contains(t, "no such code", c.run(t, 9, "", "retry", id, "--codes", "SlowDown").stderr, "no task failed with SlowDown", "NoSuchBucket, NoSuchKey")
	if list, err := sdk.ListJobs(t.Context(), listAll()); err != nil || len(list.Jobs) != 1 {
		t.Errorf("dry runs made jobs: %v, %v", list.Jobs, err)
	}

	// All of it: the file of the report is the manifest.
	e := c.run(t, 0, "", "retry", id[:8], "--watch")
	contains(t, "retry", e.stdout, fmt.Sprintf("created for %d of %d failed tasks of %s", failed, failed, id[:8]),
		fmt.Sprintf("Complete: %d of %d tasks succeeded, 2 failed", len(oddKeys()), failed))
	again := c.run(t, 0, "", "retry", id, "-o", "name")
	retry := strings.TrimPrefix(strings.TrimSpace(again.stdout), "job/")
	contains(t, "retry", e.stdout, retry)
	contains(t, "retry again", again.stderr, "--again")
	j := describe(t, sdk, retry)
	if got := *j.Manifest.Location.ObjectArn; got != "arn:aws:s3:::reports/"+d.failedObjects(t, id)[0] {
		t.Errorf("the manifest is %s", got)
	}
	if *j.Description != "Retry of "+id[:8]+": nightly" || j.Priority != 5 {
		t.Errorf("described as %q, priority %d", *j.Description, j.Priority)
	}
	contains(t, "tags", c.run(t, 0, "", "tag", "get", retry).stdout, "team", "storage", "max-requests-per-second", "500", "stevedore:parent", id)
	if got, want := keysOf(t, d.report(t, "reports", "r", retry), "succeeded"), slices.Sorted(slices.Values(oddKeys())); !slices.Equal(got, want) {
		t.Errorf("succeeded: got %q, want %q", got, want)
	}

	c.run(t, 0, "", "tag", "set", id, "later=yes")
	contains(t, "other request", c.run(t, 7, "", "retry", id).stderr, "there is a retry of it already", "--again")
	c.run(t, 0, "", "tag", "unset", id, "later")

	// A part of it: the rows are put together beside the report.
	e = c.run(t, 0, "", "retry", id, "--codes", "NoSuchKey,NoSuchKey", "-o", "name")
	part := strings.TrimPrefix(strings.TrimSpace(e.stdout), "job/")
	if j := until(t, sdk, part, ended); *j.ProgressSummary.NumberOfTasksSucceeded != int64(len(oddKeys())) || *j.ProgressSummary.NumberOfTasksFailed != 0 {
		t.Errorf("ended %s: %+v", j.Status, j.ProgressSummary)
	}
	if got := *describe(t, sdk, part).Manifest.Location.ObjectArn; !strings.HasPrefix(got, "arn:aws:s3:::reports/r/job-"+id+"/retry-") {
		t.Errorf("the manifest is %s", got)
	}
	contains(t, "nothing left", c.run(t, 9, "", "retry", part).stderr, "none of its tasks has failed")
	e = c.run(t, 0, "", "retry", id, "--codes", "NoSuchKey", "-o", "name")
	if got := strings.TrimPrefix(strings.TrimSpace(e.stdout), "job/"); got != part {
		t.Errorf("the same retry is %s, was %s", got, part)
	}
	e = c.run(t, 0, "", "retry", id, "--codes", "NoSuchKey", "--again", "-o", "name")
	if got := strings.TrimPrefix(strings.TrimSpace(e.stdout), "job/"); got == part {
		t.Error("--again made no other job")
	}

	// A report that was changed is not believed.
	d.put(t, "reports", d.failedObjects(t, id)[0], []byte("demo,a,,failed,404,NoSuchKey,x\n"))
	contains(t, "changed", c.run(t, 1, "", "retry", id).stderr, "its report is not what was written", "MD5")
}

// TestJobRetryVersions: version ids are kept, and the column is left out where the
// manifest had none, since an empty one fails its task in a bucket with versions.
func TestJobRetryVersions(t *testing.T) {
	t.Parallel()
	d := startDev(t, 0)
	d.buckets(t, "kept", "manifests", "reports")
	bucket := "kept"
	if _, err := d.sdk.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	c, sdk := ourClient{d}, control(d.host())
	run := func(fields, body string) (id string) {
		t.Helper()
		etag := d.put(t, "manifests", "manifest.csv", []byte(body))
		request := strings.Replace(jobJSON(strings.Trim(etag, `"`), `, "ConfirmationRequired": false`), `"Bucket", "Key"`, fields, 1)
		id = c.create(t, request)
		until(t, sdk, id, ended)
		return id
	}
	plain := run(`"Bucket", "Key"`, "kept,a\nkept,b\n")
	d.put(t, bucket, "a", []byte("1"))
	d.put(t, bucket, "b", []byte("1"))
	c.run(t, 0, "", "retry", plain, "--watch", "--exit-status")

	ids := map[string]string{}
	for _, v := range d.versions(t, bucket) {
		ids[*v.Key] = *v.VersionId
	}
	d.put(t, bucket, "a", []byte("2")) // now there is a newer one
	missing := "00000000-none"
	exact := run(`"Key", "VersionId", "Bucket"`, "a,"+missing+",kept\nb,"+ids["b"]+",kept\nb,,kept\n")
	rows, err := csv.NewReader(strings.NewReader(string(d.get(t, "reports", d.failedObjects(t, exact)[0])))).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("failed: %q, %v", rows, err)
	}
	c.run(t, 3, "", "retry", exact, "--watch", "--exit-status")
	list, err := sdk.ListJobs(t.Context(), listAll())
	if err != nil {
		t.Fatal(err)
	}
	retry := *list.Jobs[0].JobId
	again := d.report(t, "reports", "r", retry)
	if len(again) != 2 || again[0][2] != missing || again[0][3] != "failed" || again[1][2] != "" || again[1][3] != "failed" {
		t.Errorf("the retry did %q, want the same two rows to fail", again)
	}
}

// TestJobRetryOfStopped: what never ran is said not to be covered.
func TestJobRetryOfStopped(t *testing.T) {
	t.Parallel()
	d := startDev(t, 0)
	d.buckets(t, "manifests", "reports")
	c, sdk := ourClient{d}, control(d.host())
	const rows = 50_000 // of which more than half of the first thousand fail, and so does the job
	body := []byte(strings.Repeat("nowhere,x\n", rows))
	etag := d.put(t, "manifests", "manifest.csv", body)
	id := c.create(t, jobJSON(strings.Trim(etag, `"`), `, "ConfirmationRequired": false`))
	c.run(t, 5, "", "watch", id, "--exit-status", "--progress", "none")
	p := describe(t, sdk, id).ProgressSummary
	ran := *p.NumberOfTasksFailed
	if ran == rows {
		t.Fatal("all tasks ran")
	}
	var plan struct{ FailedTasks, NotRun, Tasks int64 }
	e := c.run(t, 0, "", "retry", id, "--dry-run", "-o", "json")
	if err := json.Unmarshal([]byte(e.stdout), &plan); err != nil || plan.Tasks != ran || plan.FailedTasks != ran || plan.NotRun != rows-ran {
		t.Errorf("got %+v, %v, want %d tasks of which %d ran", plan, err, rows, ran)
	}
	contains(t, "dry run", e.stderr, "of 50,000 tasks never ran, as job "+id[:8]+" was Failed; they are not covered")
}
