package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"stevedore/internal/objectstore/objectstoretest"
)

// TestAudit: the audit of the demonstration finds whatever is wrong, and
// nothing where nothing is.
func TestAudit(t *testing.T) {
	t.Parallel()
	const (
		objects = 5
		id      = "an-id"
		all     = "report has exactly one row"
		sums    = "MD5 sum"
		same    = "report.json is the same"
		counts  = "counters"
		changed = "every object has the new tag"
	)
	// A world where the job has done all it should.
	type outcome struct {
		rows     []string
		rowsSum  string
		manifest string
		copied   string
		sum      string
		ended    *types.JobDescriptor
		store    *objectstoretest.Server
	}
	good := func(t *testing.T) *outcome {
		t.Helper()
		o := &outcome{store: objectstoretest.Start(t, objectstoretest.Config{})}
		o.store.CreateBucket(demoBucket, reportsBucket)
		for i := range objects {
			o.store.Put(demoBucket, objectKey(i), string(objectBody(i)))
			o.store.SetTags(demoBucket, objectKey(i), map[string]string{"tier": "cold"})
			o.rows = append(o.rows, "demo,"+objectKey(i)+",,succeeded,200,,Successful\n")
		}
		o.ended = &types.JobDescriptor{JobId: new(id), ProgressSummary: &types.JobProgressSummary{
			TotalNumberOfTasks: new(int64(objects)), NumberOfTasksSucceeded: new(int64(objects)), NumberOfTasksFailed: new(int64(0)),
		}}
		return o
	}
	finish := func(o *outcome) {
		rows := strings.Join(o.rows, "")
		o.store.Put(reportsBucket, "rows.csv", rows)
		if o.rowsSum == "" {
			o.rowsSum = md5Hex([]byte(rows))
		}
		if o.manifest == "" {
			o.manifest = fmt.Sprintf(`{"Results":[{"TaskExecutionStatus":"succeeded","Bucket":"reports","MD5Checksum":"%s","Key":"rows.csv"}]}`, o.rowsSum)
		}
		if o.copied == "" {
			o.copied = o.manifest
		}
		if o.sum == "" {
			o.sum = md5Hex([]byte(o.manifest)) + "\n"
		}
		o.store.Put(reportsBucket, reportKey(id, "manifest.json"), o.manifest)
		o.store.Put(reportsBucket, reportKey(id, "report.json"), o.copied)
		o.store.Put(reportsBucket, reportKey(id, "manifest.json.md5"), o.sum)
	}
	check := func(name string, spoil func(o *outcome), want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := good(t)
			spoil(o)
			finish(o)
			r := ready{S3: o.store.URL(), AccessKey: "k", SecretKey: "s", Region: devRegion}
			a, _ := actOf("tag")
			client, done := newS3(r)
			defer done()
			st := newStage(world{stdout: &strings.Builder{}}, r, a, objects)
			result := st.audit(t.Context(), client, o.ended)
			var failed []string
			for _, c := range result.checks {
				if c.err != nil {
					failed = append(failed, c.what)
				}
			}
			if len(failed) != len(want) || result.failed() != len(want) {
				t.Errorf("got %d failed: %q, want %q", result.failed(), failed, want)
				return
			}
			for i, w := range want {
				if !strings.Contains(failed[i], w) {
					t.Errorf("got %q, want %q", failed[i], w)
				}
			}
		})
	}
	check("all is well", func(*outcome) {})
	check("keys are URL-encoded", func(o *outcome) { o.rows[0] = strings.Replace(o.rows[0], "/", "%2F", 1) })
	check("not tagged", func(o *outcome) { o.store.SetTags(demoBucket, objectKey(3), nil) }, changed)
	check("tagged otherwise", func(o *outcome) { o.store.SetTags(demoBucket, objectKey(3), map[string]string{"tier": "hot"}) }, changed)
	check("one tag too many", func(o *outcome) {
		o.store.SetTags(demoBucket, objectKey(3), map[string]string{"tier": "cold", "x": "y"})
	}, changed)
	check("a row is missing", func(o *outcome) { o.rows = o.rows[1:] }, all, counts)
	check("a row is there twice", func(o *outcome) { o.rows = append(o.rows, o.rows[0]) }, all, counts)
	check("a row twice, another missing", func(o *outcome) { o.rows[1] = o.rows[0] }, all)
	check("a row of another object", func(o *outcome) { o.rows[0] = strings.Replace(o.rows[0], "0.txt", "9.txt", 1) }, all, counts)
	check("a row of another bucket", func(o *outcome) { o.rows[0] = strings.Replace(o.rows[0], "demo", "omed", 1) }, all, counts)
	check("a row of a failure", func(o *outcome) { o.rows[0] = "demo,data/000000.txt,,failed,404,NoSuchKey,gone\n" }, all, counts)
	check("a row with the wrong status", func(o *outcome) { o.rows[0] = strings.Replace(o.rows[0], "200", "500", 1) }, all)
	check("columns are missing", func(o *outcome) { o.rows[0] = "demo,data/000000.txt\n" }, all, sums, same, counts)
	check("the sum of the rows is wrong", func(o *outcome) { o.rowsSum = strings.Repeat("0", 32) }, sums)
	check("the sum of the index is wrong", func(o *outcome) { o.sum = strings.Repeat("0", 32) + "\n" }, sums)
	check("the sum has no line end", func(o *outcome) { o.sum = strings.Repeat("0", 32) }, sums)
	check("report.json differs", func(o *outcome) { o.copied = "{}" }, same)
	check("no index", func(o *outcome) { o.manifest = "nonsense" }, all, sums, same, counts)
	check("the counters are wrong", func(o *outcome) { o.ended.ProgressSummary.NumberOfTasksSucceeded = new(int64(objects - 1)) }, counts)
	check("the total is wrong", func(o *outcome) { o.ended.ProgressSummary.TotalNumberOfTasks = new(int64(objects + 1)) }, counts)
	check("no report", func(o *outcome) { o.ended.JobId = new("other") }, all, sums, same, counts)
}

// TestCheckCopy: a copy has to be there and to have the same bytes.
func TestCheckCopy(t *testing.T) {
	t.Parallel()
	store := objectstoretest.Start(t, objectstoretest.Config{})
	store.CreateBucket(copiesBucket)
	store.Put(copiesBucket, objectKey(0), string(objectBody(0)))
	store.Put(copiesBucket, objectKey(1), string(objectBody(0)))
	client, done := newS3(ready{S3: store.URL(), AccessKey: "k", SecretKey: "s", Region: devRegion})
	defer done()
	check := func(n int, want string) {
		t.Helper()
		if err := checkCopy(t.Context(), client, n); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("object %d: got %v, want %q", n, err, want)
		}
	}
	check(0, "")
	check(1, "the copy of data/000001.txt is")
	check(2, "NoSuchKey")
}

func TestFaults(t *testing.T) {
	t.Parallel()
	var f faults
	f.add(nil)
	if err := f.err(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for i := range 5 {
		f.addf("number %d", i)
	}
	if got, want := f.err().Error(), "number 0\nnumber 1\nnumber 2\nand 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestObjectIndex(t *testing.T) {
	t.Parallel()
	check := func(key string, want int) {
		t.Helper()
		if got := objectIndex(key); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
	check(objectKey(0), 0)
	check(objectKey(1234567), 1234567)
	check("data/1.txt", -1)
	check("data/000001.txt.bak", -1)
	check("data/-00001.txt", -1)
	check("", -1)
}
