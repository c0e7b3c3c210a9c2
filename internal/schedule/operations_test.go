package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
	s3test "stevedore/internal/objectstore/objectstoretest"
)

// TestSettingsOfObjects runs a job of each operation that sets something about
// an object, by versions, with one that is not there, while the store is unwell.
func TestSettingsOfObjects(t *testing.T) {
	t.Parallel()
	until := time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		op   job.Operation
		done func(s3test.Object) bool
	}{
		"acl": {
			job.Operation{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &job.AccessControlPolicy{CannedAccessControlList: "public-read"}}},
			func(o s3test.Object) bool { return o.ACL == "public-read" },
		},
		"hold": {
			job.Operation{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: "ON"}}},
			func(o s3test.Object) bool { return o.LegalHold == "ON" },
		},
		"retention": {
			job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{Retention: &job.Retention{Mode: "COMPLIANCE", RetainUntilDate: &until}}},
			func(o s3test.Object) bool { return o.RetainMode == "COMPLIANCE" && o.RetainUntil.Equal(until) },
		},
		"restore": {
			job.Operation{S3InitiateRestoreObject: &job.S3InitiateRestoreObject{ExpirationInDays: new(int32(2)), GlacierJobTier: "BULK"}},
			func(o s3test.Object) bool { return o.Restoring == "Bulk 2" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			w.s3.SetObjectLock("data")
			var manifest strings.Builder
			const n = 60
			old := map[string]string{}
			for i := range n {
				key := fmt.Sprintf("k%03d", i)
				old[key] = w.s3.Put("data", key, "old").VersionID
				w.s3.SetStorageClass("data", key, "GLACIER")
				w.s3.Put("data", key, "new")
				fmt.Fprintf(&manifest, "data,%s,%s\n", key, old[key])
			}
			manifest.WriteString("data,gone,v1\n")
			w.s3.Fault(s3test.Match{Op: operationCall(c.op), Every: 5}, s3test.SlowDown())
			w.s3.Fault(s3test.Match{Op: operationCall(c.op), Every: 7}, s3test.ResetAfter())
			spec := w.specOf(manifest.String(), job.FieldBucket, job.FieldKey, job.FieldVersionID)
			spec.Operation = c.op
			id := w.create(spec)
			w.awaitStatus(id, job.Complete)
			j, rows := w.verify(id)
			if j.Tally.Succeeded != n || j.Tally.Failed != 1 {
				t.Errorf("tally %+v", j.Tally)
			}
			for _, r := range rows {
				if r.key == "gone" {
					if r.httpStatus != "404" || r.errorCode != "NoSuchVersion" {
						t.Errorf("row of what is not there: %+v", r)
					}
					continue
				}
				if r.status != "succeeded" || r.httpStatus != "200" || r.message != "Successful" {
					t.Errorf("row %+v", r)
				}
			}
			for key, version := range old {
				if o, _ := w.s3.Version("data", key, version); !c.done(o) || string(o.Body) != "old" {
					t.Errorf("%s %s is not done: %+v", key, version, o)
				}
				if o, _ := w.s3.Object("data", key); c.done(o) || string(o.Body) != "new" {
					t.Errorf("%s: the current version was touched", key)
				}
			}
		})
	}
}

// operationCall is the S3 call of a job's operation.
func operationCall(op job.Operation) string {
	if op.S3InitiateRestoreObject != nil {
		return "RestoreObject"
	}
	return strings.TrimPrefix(string(op.Name()), "S3")
}

// TestWithoutObjectLockTheJobFails makes sure that no object is touched in a
// bucket that has no Object Lock, while those of the bucket before are reported.
func TestWithoutObjectLockTheJobFails(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"hold", "retention"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			op := job.Operation{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: "ON"}}}
			if name == "retention" {
				op = job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{Retention: &job.Retention{}}}
			}
			w.s3.SetObjectLock("locked")
			w.s3.Put("locked", "k", "x")
			keys := w.seed(700)
			manifest := "locked,k\n"
			for _, key := range keys {
				manifest += "data," + key + "\n"
			}
			spec := w.specOf(manifest, job.FieldBucket, job.FieldKey)
			spec.Operation = op
			id := w.create(spec)
			w.awaitStatus(id, job.Failed)
			j, rows := w.verify(id)
			if r := w.reason(j); r.FailureCode != "ObjectLockNotEnabled" || !strings.Contains(r.FailureReason, "data") {
				t.Errorf("reason %+v", r)
			}
			succeeded := 0
			for _, r := range rows {
				if r.status == "succeeded" {
					succeeded++
				}
			}
			if succeeded > 1 {
				t.Errorf("rows %+v", rows)
			}
			if n := w.s3.Count(operationCall(op)); n > 1 {
				t.Errorf("%d objects were touched", n)
			}
			// While Preparing for the first bucket, then once for each.
			if n := w.s3.Count("GetObjectLockConfiguration"); n > 3 {
				t.Errorf("asked for Object Lock %d times", n)
			}
		})
	}
}

// TestObjectLockIsLookedAtBeforeAnyTask ends a job at Preparing whose bucket has
// no Object Lock: no task, no report.
func TestObjectLockIsLookedAtBeforeAnyTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	spec := w.spec(w.seed(10))
	spec.Operation = job.Operation{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: "ON"}}}
	id := w.create(spec)
	w.awaitStatus(id, job.Failed)
	j, _ := w.verify(id)
	if r := w.reason(j); r.FailureCode != "ObjectLockNotEnabled" || j.Plan != nil || j.Tally.Executed() != 0 {
		t.Errorf("reason %+v, plan %+v, tally %+v", r, j.Plan, j.Tally)
	}
	if n := w.s3.Count("PutObjectLegalHold"); n != 0 {
		t.Errorf("%d objects were touched", n)
	}
	w.noReport(id)
}

// TestChecksumsInTheReport has the report as the only effect.
func TestChecksumsInTheReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.s3.PutParts("data", "parts", strings.Repeat("a", 100_000), "b")
	w.s3.Put("data", "a b+c", "123456789")
	w.s3.Put("data", "frozen", "x")
	w.s3.SetStorageClass("data", "frozen", "DEEP_ARCHIVE")
	w.s3.Fault(s3test.Match{Op: "GetObject", Bucket: "data", Every: 2}, s3test.CutBody(3))
	spec := w.specOf("data,parts\ndata,a+b%2Bc\ndata,frozen\ndata,gone\n", job.FieldBucket, job.FieldKey)
	spec.Operation = job.Operation{S3ComputeObjectChecksum: &job.S3ComputeObjectChecksum{ChecksumAlgorithm: "MD5", ChecksumType: "COMPOSITE"}}
	id := w.create(spec)
	w.awaitStatus(id, job.Complete)
	j, rows := w.verify(id)
	if j.Tally.Succeeded != 2 || j.Tally.Failed != 2 || len(rows) != 4 {
		t.Errorf("tally %+v, %d rows", j.Tally, len(rows))
	}
	for _, r := range rows {
		o, _ := w.s3.Object("data", r.key)
		switch r.key {
		case "parts":
			// S3's own ETag of an object in parts is their MD5, put together like this.
			if sum, _, _ := strings.Cut(o.ETag, "-"); r.status != "succeeded" || !strings.HasSuffix(r.message, `"checksum_hex":"`+strings.ToUpper(sum)+`"}`) {
				t.Errorf("row %+v of ETag %s", r, o.ETag)
			}
		case "a+b%2Bc":
			if want := `{"checksum_base64":"`; r.status != "succeeded" || r.httpStatus != "200" || r.errorCode != "" || !strings.HasPrefix(r.message, want) {
				t.Errorf("row %+v", r)
			}
		default:
			code := map[string]string{"frozen": "403", "gone": "404"}[r.key]
			if r.status != "failed" || r.httpStatus != "200" || r.errorCode != "PermanentFailure" || !strings.HasSuffix(r.message, `"errorCode": "`+code+`"}`) {
				t.Errorf("row %+v", r)
			}
		}
	}
}
