package report_test

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/report"
)

// TestStore writes a report through the real client to a store that stumbles.
func TestStore(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKIDEXAMPLE", Secret: "secretsecret"})
	s3.CreateBucket("reports")
	store, err := objectstore.New(objectstore.Config{
		Endpoint: s3.URL(), Credentials: s3.Credentials(), BackoffBase: time.Nanosecond, BackoffCap: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s3.Fault(objectstoretest.Match{Op: "PutObject", Every: 3}, objectstoretest.SlowDown())
	s3.Fault(objectstoretest.Match{Op: "PutObject", Every: 4}, objectstoretest.ResetAfter())
	s3.Fault(objectstoretest.Match{Op: "GetObject", Every: 2}, objectstoretest.CutBody(10))

	w := report.NewWriter(store, newJob(job.AllTasks), report.Options{JSONCopy: true, SSE: "AES256", TempDir: t.TempDir()})
	var segments []job.Segment
	var all []task
	for row := range int64(10) {
		tasks := []task{fine("a"), failed("b"), fine("c")}
		segments = append(segments, segment(t, w, 3*row, tasks))
		all = append(all, tasks...)
	}
	if err := w.Finish(t.Context(), created(), each(segments...)); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteParts(t.Context(), each(segments...)); err != nil {
		t.Fatal(err)
	}

	m := newMemory() // looks at the report
	for _, key := range s3.Keys("reports") {
		o, _ := s3.Object("reports", key)
		m.objects[key] = o.Body
		sum := md5.Sum(o.Body)
		for name, want := range map[string]string{
			"Content-Md5":                  base64.StdEncoding.EncodeToString(sum[:]),
			"X-Amz-Server-Side-Encryption": "AES256",
			"X-Amz-Expected-Bucket-Owner":  "123456789012",
		} {
			if got := o.Header.Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", key, name, got, want)
			}
		}
		if o.ContentType == "" || strings.HasSuffix(key, ".csv") != (o.ContentType == "text/csv") {
			t.Errorf("%s: got type %q", key, o.ContentType)
		}
	}
	if len(m.objects) != 5 {
		t.Errorf("got objects %q, want 5", s3.Keys("reports"))
	}
	for status, keys := range m.index(t, folder) {
		if got, want := string(m.objects[keys[0]]), rows(all, status == "failed"); len(keys) != 1 || got != want {
			t.Errorf("%s: got %q, want %q", status, got, want)
		}
	}

	j := newJob(job.AllTasks)
	j.Spec.Report.Bucket = "arn:aws:s3:::nowhere"
	_, err = report.NewWriter(store, j, report.Options{}).PutPart(t.Context(), 0, false, 1, []byte("x\n"))
	if _, ok := errors.AsType[*report.WriteError](err); !ok {
		t.Errorf("no such bucket: got %v, want a WriteError", err)
	}
}
