package schedule_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	s3test "stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// cleared is a report that a job that ran nothing must not have.
func (w *world) noReport(id string) {
	w.t.Helper()
	for _, key := range w.s3.Keys("reports") {
		if strings.Contains(key, id) {
			w.t.Errorf("a job without tasks has left %s", key)
		}
	}
}

func TestFailuresOfPreparing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Attempts = 2
	w.run()
	// fault makes an operation on the manifest of a job fail.
	fault := func(s *job.Spec, op string, status int, code string) {
		_, key, _ := job.ObjectOf(s.Manifest.Location.ObjectArn)
		w.s3.Fault(s3test.Match{Op: op, Bucket: "manifests", Key: s3test.Key(key)}, s3test.Status(status, code))
	}
	const csv = "data,k\n"
	for name, c := range map[string]struct {
		manifest string
		set      func(*job.Spec)
		code     string
		text     string // what the reason contains
	}{
		"empty":            {"", nil, "InvalidManifestContent", "Invalid Manifest Content"},
		"empty lines only": {"\n\r\n\n", nil, "InvalidManifestContent", "Invalid Manifest Content"},
		"column count":     {csv + csv + "data,k,v\n", nil, "InvalidManifestContent", "Manifest file is not properly formatted: line 3: got 3 columns, want 2"},
		"key":              {csv + "data,%zz\n", nil, "InvalidManifestContent", "Invalid object key format: line 2"},
		"late in the file": {strings.Repeat(csv, 2500) + "data\n", nil, "InvalidManifestContent", "line 2501"},
		"schema": {
			csv, func(s *job.Spec) { s.Manifest.Spec.Fields = []job.Field{job.FieldBucket, job.FieldIgnore} },
			"InvalidManifestContent", "Required fields are missing in the schema: Key",
		},
		"missing": {
			csv, func(s *job.Spec) { s.Manifest.Location.ObjectArn = "arn:aws:s3:::manifests/nothing" },
			"ManifestNotFound", "does not exist",
		},
		"missing bucket": {
			csv, func(s *job.Spec) { s.Manifest.Location.ObjectArn = "arn:aws:s3:::nowhere/m" },
			"ManifestNotFound", "does not exist",
		},
		"missing version": {
			csv, func(s *job.Spec) { s.Manifest.Location.ObjectVersionId = "gone" },
			"ManifestNotFound", "does not exist",
		},
		"forbidden to look": {
			csv, func(s *job.Spec) { fault(s, "HeadObject", 403, "") },
			"ManifestAccessDenied", "Reading the manifest is forbidden: AccessDenied",
		},
		"forbidden to read": {
			csv, func(s *job.Spec) { fault(s, "GetObject", 403, "AccessDenied") },
			"ManifestAccessDenied", "Reading the manifest is forbidden: AccessDenied",
		},
		"other ETag": {
			csv, func(s *job.Spec) { s.Manifest.Location.ETag = "00000000000000000000000000000000" },
			"ManifestETagMismatch", "has the ETag",
		},
		"changed between": {
			csv, func(s *job.Spec) { fault(s, "GetObject", 412, "PreconditionFailed") },
			"ManifestETagMismatch", "changed while it was read",
		},
		"refused": {
			csv, func(s *job.Spec) { fault(s, "GetObject", 400, "InvalidRequest") },
			"ManifestReadFailed", "The manifest cannot be read",
		},
		"store down for good": {
			csv, func(s *job.Spec) { fault(s, "GetObject", 503, "ServiceUnavailable") },
			"ManifestReadFailed", "The manifest cannot be read",
		},
		"CSV as inventory": {
			csv, func(s *job.Spec) { s.Manifest.Spec.Format = job.ManifestInventory },
			"InvalidManifestContent", "JSON",
		},
		"generator, no bucket": {csv, func(s *job.Spec) {
			s.Manifest, s.ManifestGenerator = nil, &job.ManifestGenerator{S3JobManifestGenerator: &job.S3JobManifestGenerator{SourceBucket: "arn:aws:s3:::nowhere"}}
		}, "ManifestGenerationFailed", "The source bucket nowhere does not exist."},
		"generator, no match": {csv, func(s *job.Spec) {
			s.Manifest, s.ManifestGenerator = nil, &job.ManifestGenerator{S3JobManifestGenerator: &job.S3JobManifestGenerator{
				SourceBucket: "arn:aws:s3:::data", Filter: &job.GeneratorFilter{ObjectSizeGreaterThanBytes: new(int64(1 << 40))},
			}}
		}, "ManifestGenerationNoMatches", "Manifest generation found no keys matching the filter criteria."},
	} {
		t.Run(name, func(t *testing.T) {
			spec := w.specOf(c.manifest, job.FieldBucket, job.FieldKey)
			if c.set != nil {
				c.set(&spec)
			}
			id := w.create(spec)
			w.awaitStatus(id, job.Failed)
			j, _ := w.verify(id)
			if r := w.reason(j); r.FailureCode != c.code || !strings.Contains(r.FailureReason, c.text) {
				t.Errorf("reason %+v", r)
			}
			if j.Plan != nil || j.Tally.Executed() != 0 || j.ActiveTime(*j.TerminationDate) != 0 {
				t.Errorf("plan %+v, tally %+v, active %s", j.Plan, j.Tally, j.Active)
			}
			w.noReport(id)
		})
	}
}

func TestOperationsWithoutAnExecutorFailByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	for name, op := range map[job.OperationName]job.Operation{
		"LambdaInvoke":             {LambdaInvoke: &job.LambdaInvoke{}},
		"S3ReplicateObject":        {S3ReplicateObject: &job.S3ReplicateObject{}},
		"S3UpdateObjectEncryption": {S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{}},
	} {
		_, err := operation.New(op, operation.Env{})
		if _, is := errors.AsType[*operation.UnsupportedError](err); !is {
			continue // has got its executor by now
		}
		spec := w.spec([]string{"k"})
		spec.Operation = op
		id := w.create(spec)
		w.awaitStatus(id, job.Failed)
		j, _ := w.verify(id)
		if r := w.reason(j); r.FailureCode != "NotImplemented" || !strings.Contains(r.FailureReason, string(name)) {
			t.Errorf("%s: %+v", name, r)
		}
		w.noReport(id)
	}
}

func TestStoreThatIsDownAtFirstIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.s3.Fault(s3test.Match{Op: "HeadObject", Times: 20}, s3test.Status(503, ""))
	w.s3.Fault(s3test.Match{Op: "GetObject", Bucket: "manifests", Times: 20}, s3test.ResetBefore())
	id := w.create(w.spec(w.seed(3)))
	w.awaitStatus(id, job.Complete)
	w.verify(id)
}

func TestManifestThatVanishesUnderTheJob(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		action s3test.Action
		times  int
		code   string // empty: the job goes on
	}{
		"deleted":       {s3test.Status(404, "NoSuchKey"), 0, "ManifestNotFound"},
		"overwritten":   {s3test.Status(412, "PreconditionFailed"), 0, "ManifestETagMismatch"},
		"ETag ignored":  {s3test.Garble(), 0, "ManifestETagMismatch"},
		"forbidden":     {s3test.Status(403, "AccessDenied"), 0, "ManifestAccessDenied"},
		"away a while":  {s3test.Status(503, "ServiceUnavailable"), 20, ""},
		"cut each time": {s3test.CutBody(3000), 12, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.config.Chunks = 1
			w.run()
			keys := w.seed(3000)
			// The first read is the planner's, the second the first chunk's.
			w.s3.Fault(s3test.Match{Op: "GetObject", Bucket: "manifests", Skip: 2, Times: c.times}, c.action)
			id := w.create(w.spec(keys))
			want := job.Complete
			if c.code != "" {
				want = job.Failed
			}
			w.awaitStatus(id, want)
			j, rows := w.verify(id)
			w.untouched(keys, rows)
			if c.code == "" {
				return
			}
			if r := w.reason(j); r.FailureCode != c.code || j.Tally.Succeeded != 1000 {
				t.Errorf("reason %+v, tally %+v", r, j.Tally)
			}
		})
	}
}

func TestFailureThreshold(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	for name, c := range map[string]struct {
		rows, failing int // the first ones fail
		want          job.Status
	}{
		"fewer than a thousand":       {999, 999, job.Complete},
		"the thousandth task tips it": {1000, 501, job.Failed},
		"half is not more than half":  {1000, 500, job.Complete},
		"all of a thousand":           {1000, 1000, job.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			keys := w.seed(c.rows - c.failing)
			for i := range c.failing {
				keys = append(keys, fmt.Sprint("missing", i))
			}
			id := w.create(w.spec(keys))
			w.awaitStatus(id, c.want)
			j, rows := w.verifyCounts(id)
			if c.want == job.Failed && w.reason(j).FailureCode != job.CodeThreshold {
				t.Errorf("reasons %+v", j.FailureReasons)
			}
			if j.Tally.Executed() != int64(c.rows) || len(rows) != c.rows {
				t.Errorf("tally %+v, %d rows", j.Tally, len(rows))
			}
		})
	}
}

func TestFailureThresholdStopsTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Chunks = 1
	w.run()
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = fmt.Sprint("missing", i)
	}
	id := w.create(w.spec(keys))
	w.awaitStatus(id, job.Failed)
	j, rows := w.verify(id)
	if n := j.Tally.Executed(); n < 1000 || n == 20_000 || int64(len(rows)) != n || int64(w.s3.Count("PutObjectTagging")) != n {
		t.Errorf("tally %+v, %d rows, %d requests", j.Tally, len(rows), w.s3.Count("PutObjectTagging"))
	}
	if w.reason(j).FailureCode != job.CodeThreshold {
		t.Errorf("reasons %+v", j.FailureReasons)
	}
}

// A crash after the outcomes that pass the threshold and before the status: the
// successor must stop the job, not stumble over it.
func TestFailureThresholdAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t).up()
	keys := make([]string, 5000)
	for i := range keys {
		keys[i] = fmt.Sprint("missing", i)
	}
	spec := w.spec(keys)
	spec.ConfirmationRequired = nil
	spec.Report = job.Report{}
	id := w.create(spec)
	w.run()
	w.awaitStatus(id, job.Suspended)
	w.crash()
	w.up().join()
	var j job.Job
	for _, to := range []job.Status{job.Ready, job.Active} {
		var err error
		if j, err = w.store.Update(t.Context(), account, id, func(j *job.Job) error {
			j.Become(to, j.CreationTime)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	c, ok, err := w.member.Claim(t.Context(), j)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	var delta job.Tally
	for range c.Chunk.Rows {
		delta.Fail("NoSuchKey", 404, "x")
	}
	rest := c.Chunk
	rest.Row, rest.Rows, rest.Offset = c.Chunk.Row+c.Chunk.Rows, 0, c.Chunk.End
	if _, err := w.member.Commit(t.Context(), c, job.Segment{Row: c.Chunk.Row, Rows: c.Chunk.Rows, Failed: c.Chunk.Rows}, delta, rest); err != nil {
		t.Fatal(err)
	}
	w.crash()
	w.run()
	w.awaitStatus(id, job.Failed)
	j, _ = w.verify(id)
	if n := j.Tally.Executed(); w.reason(j).FailureCode != job.CodeThreshold || n < 1000 || n == 5000 {
		t.Errorf("tally %+v, reasons %+v", j.Tally, j.FailureReasons)
	}
}

// A crash between the last chunk planned and the status: the checkpoint lies at
// the end of the manifest, where there is nothing to read.
func TestPlanIsCompleteButItsStatusIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t).up()
	w.join()
	spec := w.spec(w.seed(3))
	o, _ := w.s3.Object("manifests", "m1.csv")
	id := w.create(spec)
	j, err := w.store.Update(t.Context(), account, id, func(j *job.Job) error { j.Become(job.Preparing, j.CreationTime); return nil })
	if err != nil {
		t.Fatal(err)
	}
	own, ok, err := w.member.Own(t.Context(), j)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	size := int64(len(o.Body))
	err = w.member.PutChunks(t.Context(), own, []job.Chunk{{Rows: 3, End: size, Line: 1}},
		jobstore.Checkpoint{Chunks: 1, Rows: 3, Offset: size, Line: 4, ETag: o.ETag, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	w.crash()
	w.run()
	w.awaitStatus(id, job.Complete)
	if j, rows := w.verify(id); j.Plan.Tasks != 3 || len(rows) != 3 {
		t.Errorf("plan %+v, %d rows", j.Plan, len(rows))
	}
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	spec := w.spec(w.seed(3))
	spec.ConfirmationRequired = nil
	id := w.create(spec)
	j := w.awaitStatus(id, job.Suspended)
	if j.Plan == nil || j.Plan.Tasks != 3 || j.SuspendedDate == nil || j.SuspendedCause != "AWAITING_CONFIRMATION" {
		t.Errorf("suspended: %+v", j)
	}
	if n := w.s3.Count("PutObjectTagging"); n != 0 {
		t.Errorf("%d tasks ran before the confirmation", n)
	}
	if j, err := w.request(id, job.Ready); err != nil || j.Status != job.Ready {
		t.Errorf("confirm: %s, %v", j.Status, err)
	}
	w.awaitStatus(id, job.Complete)
	w.verify(id)
	_, err := w.request(id, job.Ready)
	if e, ok := errors.AsType[*job.StatusError](err); !ok || e.From != job.Complete {
		t.Errorf("confirmed after the end: %v", err)
	}
}

func TestUrgentJobGoesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t).up()
	w.config.Chunks = 1
	var ids []string
	keys := w.seed(40)
	for i, priority := range []int32{1, 9, 5, 9} {
		spec := w.spec(keys[10*i : 10*i+10])
		spec.Priority = priority
		spec.ConfirmationRequired = nil
		ids = append(ids, w.create(spec))
	}
	w.run()
	for _, id := range ids {
		w.awaitStatus(id, job.Suspended)
	}
	w.halt() // so that all of them are confirmed at once
	w.up()
	for _, id := range ids {
		if _, err := w.request(id, job.Ready); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.desk.SetPriority(t.Context(), account, region, ids[2], 10); err != nil {
		t.Fatal(err)
	}
	w.run()
	for _, id := range ids {
		w.awaitStatus(id, job.Complete)
		w.verify(id)
	}
	var order []byte
	for _, r := range w.s3.Requests("PutObjectTagging") {
		if of := r.Key[len(r.Key)-2]; len(order) == 0 || order[len(order)-1] != of {
			order = append(order, of)
		}
	}
	if string(order) != "2130" {
		t.Errorf("jobs ran in the order %s, want 2130", order)
	}
}

func TestTwoJobsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	gate := s3test.NewGate()
	first := w.seed(20)
	other := []string{"other"}
	w.s3.Put("data", "other", "x")
	w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Key: s3test.Key(first[10])}, s3test.Block(gate))
	a, b := w.create(w.spec(first)), w.create(w.spec(other))
	w.arrived(gate)
	w.awaitStatus(b, job.Complete)
	if j := w.job(a); j.Status != job.Active {
		t.Errorf("the first is %s", j.Status)
	}
	gate.Open()
	w.awaitStatus(a, job.Complete)
	w.verify(a)
	w.verify(b)
}
