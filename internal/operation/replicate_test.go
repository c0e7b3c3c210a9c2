package operation_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// replicator replicates from src by this configuration.
func replicator(t *testing.T, c operation.Client, objects operation.Objects, rules ...operation.ReplicationRule) operation.Operation {
	t.Helper()
	o, err := operation.New(job.Operation{S3ReplicateObject: &job.S3ReplicateObject{}}, operation.Env{
		Client: c, Objects: objects, Job: new(job.Job), PartSize: 10,
		Replication: map[string]operation.ReplicationConfig{"src": {Rules: rules}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func ruleTo(bucket string) operation.ReplicationRule {
	return operation.ReplicationRule{
		Status: "Enabled", Filter: new(operation.ReplicationFilter),
		Destination: operation.ReplicationDestination{Bucket: "arn:aws:s3:::" + bucket},
	}
}

// TestRulesOfTheStore has its own configuration decide where objects go.
func TestRulesOfTheStore(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.CreateBucket("a", "b")
	srv.Fault(objectstoretest.Match{Op: "GetBucketReplication"}, objectstoretest.Answer(200, `<?xml version="1.0"?>
<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Role>r</Role>
<Rule><ID>1</ID><Priority>1</Priority><Status>Enabled</Status><Filter><Prefix>docs/</Prefix></Filter>
  <Destination><Bucket>arn:aws:s3:::a</Bucket><StorageClass>STANDARD_IA</StorageClass></Destination></Rule>
<Rule><ID>2</ID><Priority>2</Priority><Status>Enabled</Status><Filter><And><Prefix>docs/</Prefix><Tag><Key>x</Key><Value>1</Value></Tag><Tag><Key>y</Key><Value>2</Value></Tag></And></Filter>
  <Destination><Bucket>arn:aws:s3:::a</Bucket><StorageClass>GLACIER_IR</StorageClass></Destination></Rule>
<Rule><ID>3</ID><Priority>3</Priority><Status>Enabled</Status><Filter><Tag><Key>x</Key><Value>1</Value></Tag></Filter>
  <Destination><Bucket>arn:aws:s3:::b</Bucket></Destination></Rule>
<Rule><ID>4</ID><Priority>9</Priority><Status>Disabled</Status><Filter/><Destination><Bucket>arn:aws:s3:::b</Bucket></Destination></Rule>
</ReplicationConfiguration>`))
	o := replicator(t, a, a, ruleTo("dest")) // not asked
	check := func(key, tags string, want map[string]string) {
		t.Helper()
		source := put(t, a, srv, key, "short", "content-type", "text/odd", "x-amz-meta-a", "1", "x-amz-tagging", tags)
		out := task(t, o, "src", key, "")
		if len(want) == 0 {
			if out.HTTPStatus != 500 || out.Code != "SrcObjectNotEligible" {
				t.Errorf("%s: got %+v", key, out)
			}
		} else if out != (job.Outcome{HTTPStatus: 200, Message: "success", Attempts: 1}) {
			t.Errorf("%s: got %+v", key, out)
		}
		for _, bucket := range []string{"a", "b", "dest"} {
			made, ok := srv.Object(bucket, key)
			if class, wanted := want[bucket]; ok != wanted || made.StorageClass != class {
				t.Errorf("%s in %s: %t, storage class %q; want %t, %q", key, bucket, ok, made.StorageClass, wanted, class)
			} else if ok {
				same(t, source, made)
			}
		}
	}
	check("docs/plain", "", map[string]string{"a": "STANDARD_IA"})
	check("docs/one tag", "x=1", map[string]string{"a": "STANDARD_IA", "b": ""})
	check("docs/both", "x=1&y=2&z=3", map[string]string{"a": "GLACIER_IR", "b": ""})
	check("other", "x=1", map[string]string{"b": ""})
	check("other/none", "x=2", nil)
	if n := srv.Count("GetBucketReplication"); n != 1 {
		t.Errorf("the configuration was asked for %d times", n)
	}
}

// TestReplicationOfVersions goes through what can be listed of a versioned bucket.
func TestReplicationOfVersions(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	srv.SetVersioning("src", "Enabled")
	srv.SetVersioning("dest", "Enabled")
	srv.CreateBucket("plain")
	marking := ruleTo("dest")
	marking.DeleteMarkerReplication.Status = "Enabled"
	check := func(rule operation.ReplicationRule, key, version string, status int, code string) {
		t.Helper()
		if out := task(t, replicator(t, a, a, rule), "src", key, version); out.HTTPStatus != status || out.Code != code {
			t.Errorf("%s %s: got %+v, want %d %s", key, version, out, status, code)
		}
	}
	old := srv.Put("src", "k", "old")
	current := srv.Put("src", "k", "new")
	check(ruleTo("dest"), "k", "", 400, "InvalidRequest")
	check(ruleTo("dest"), "k", old.VersionID, 500, "SrcObjectNotEligible")
	check(ruleTo("plain"), "k", current.VersionID, 500, "DstBucketUnversioned")
	check(ruleTo("dest"), "k", current.VersionID, 200, "")
	check(ruleTo("dest"), "k", "v99", 500, "SrcVersionNotFound")
	if o, _ := srv.Object("dest", "k"); string(o.Body) != "new" {
		t.Errorf("got %q", o.Body)
	}

	// A delete marker goes where the rule says so.
	req := objectstore.Request{Method: http.MethodDelete, Bucket: "src", Key: []byte("k"), KeepHeader: true}
	var res objectstore.Result
	a.Do(t.Context(), &req, &res)
	markerID := "v" + string(rune('0'+4)) // old, new, the copy, and this
	check(ruleTo("dest"), "k", markerID, 500, "SrcObjectNotEligible")
	check(marking, "k", markerID, 200, "")
	check(marking, "k", markerID, 200, "")
	if _, there := srv.Object("dest", "k"); there || srv.Count("DeleteObject") != 2 {
		t.Errorf("object there: %t after %d DeleteObject", there, srv.Count("DeleteObject"))
	}
	srv.Put("src", "k", "again")
	check(marking, "k", markerID, 500, "SrcObjectNotEligible")

	archived := srv.Put("src", "archived", "x")
	srv.SetStorageClass("src", "archived", "GLACIER")
	check(ruleTo("dest"), "archived", archived.VersionID, 500, "SrcObjectNotEligible")
}

// TestReplicationIsIdempotent on each of the ways that copies are made.
func TestReplicationIsIdempotent(t *testing.T) {
	t.Parallel()
	near, far := limited(t), limited(t)
	a := access(t, near, far)
	far.CreateBucket("far")
	near.PutParts("src", "parts", "a", "b")
	near.Put("src", "short", "short")
	near.Put("src", "long", long)
	near.SetTags("src", "long", map[string]string{"b": "2", "a": "1"})
	kms := ruleTo("far")
	kms.Destination.Encryption.ReplicaKMSKeyID = kmsKey
	o := replicator(t, a, a, ruleTo("dest"), kms)
	written := func() int {
		n := 0
		for _, r := range slices.Concat(near.Requests(), far.Requests()) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				n++
			}
		}
		return n
	}
	for _, key := range []string{"parts", "short", "long"} {
		if out := task(t, o, "src", key, ""); out.Message != "success" {
			t.Errorf("%s: got %+v", key, out)
		}
	}
	for _, r := range far.Requests("PutObject", "CreateMultipartUpload") {
		if r.Header.Get(sse) != "aws:kms" || r.Header.Get(sse+"-aws-kms-key-id") != kmsKey {
			t.Errorf("%s %s is not encrypted", r.Op, r.Key)
		}
	}
	before := written()
	for _, key := range []string{"parts", "short", "long"} {
		if out := task(t, o, "src", key, ""); out.Message != "success" {
			t.Errorf("%s: got %+v", key, out)
		}
		source, _ := near.Object("src", key)
		for _, made := range [][]byte{body(near, "dest", key), body(far, "far", key)} {
			if string(made) != string(source.Body) {
				t.Errorf("%s: got %q, want %q", key, made, source.Body)
			}
		}
	}
	if n := written() - before; n != 0 {
		t.Errorf("the second time %d requests wrote something", n)
	}
	near.SetTags("src", "short", map[string]string{"new": "1"}) // now it differs
	task(t, o, "src", "short", "")
	if made, _ := near.Object("dest", "short"); made.Tags["new"] != "1" || written() == before {
		t.Errorf("got tags %v", made.Tags)
	}
}

func body(srv *objectstoretest.Server, bucket, key string) []byte {
	o, _ := srv.Object(bucket, key)
	return o.Body
}

// TestReplicationReasons maps what stores answer to the reasons of S3's reports.
func TestReplicationReasons(t *testing.T) {
	t.Parallel()
	check := func(key, op string, times int, fault objectstoretest.Action, status int, code string) {
		t.Helper()
		srv := limited(t)
		a := access(t, srv)
		srv.Put("src", "short", "short")
		srv.Put("src", "long", long)
		if op != "" {
			srv.Fault(objectstoretest.Match{Op: op, Times: times}, fault)
		}
		if out := task(t, replicator(t, a, a, ruleTo("dest")), "src", key, ""); out.HTTPStatus != status || out.Code != code {
			t.Errorf("%s %s: got %+v, want %d %s", op, key, out, status, code)
		}
		if n := srv.Uploads("dest"); n != 0 {
			t.Errorf("%s: %d uploads were left", op, n)
		}
	}
	denied := objectstoretest.Status(403, "AccessDenied")
	check("missing", "", 0, denied, 500, "SrcVersionNotFound")
	check("short", "HeadObject", 1, objectstoretest.Status(403, ""), 500, "SrcHeadObjectNotPermitted")
	check("short", "GetObjectTagging", 1, denied, 500, "SrcGetTaggingNotPermitted")
	check("short", "CopyObject", 1, denied, 500, "DstPutObjectNotPermitted")
	check("short", "CopyObject", 1, objectstoretest.Status(404, "NoSuchBucket"), 500, "DstBucketNotFound")
	check("short", "CopyObject", 1, objectstoretest.Status(400, "KMS.NotFoundException"), 500, "DstKmsKeyNotFound")
	check("short", "CopyObject", 1, objectstoretest.Status(400, "KMS.DisabledException"), 500, "DstKmsKeyInvalidState")
	check("short", "CopyObject", 1, objectstoretest.Status(400, "InvalidStorageClass"), 400, "InvalidStorageClass")
	check("long", "CreateMultipartUpload", 1, denied, 500, "DstMultipartInitNotPermitted")
	check("long", "UploadPartCopy", 1, denied, 500, "DstMultipartPartUploadNotPermitted")
	check("long", "CompleteMultipartUpload", 1, denied, 500, "DstMultipartCompleteNotPermitted")
	check("long", "CopyObject", 2, objectstoretest.SlowDown(), 200, "")
	check("short", "GetBucketReplication", 0, objectstoretest.Status(503, "SlowDown"), 503, "SlowDown")
	check("short", "GetBucketReplication", 0, denied, 403, "AccessDenied")

	srv := limited(t)
	a := access(t, srv)
	srv.Put("elsewhere", "k", "x")
	if out := task(t, replicator(t, a, a, ruleTo("dest")), "elsewhere", "k", ""); out.Code != "SrcBucketReplicationConfigMissing" || out.HTTPStatus != 500 {
		t.Errorf("got %+v", out)
	}
}

func TestGetBucketReplicationAsRecorded(t *testing.T) {
	t.Parallel()
	var got request
	store := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "replication" {
			got = meaningful(t, r)
			_, _ = io.WriteString(w, "<ReplicationConfiguration><Role>r</Role></ReplicationConfiguration>")
		}
	})
	if out := task(t, replicator(t, store, nil), "src", "k", ""); !strings.HasPrefix(out.Code, "SrcBucketReplicationConfig") {
		t.Errorf("got %+v", out)
	}
	if diff := cmp.Diff(recorded(t, "GetBucketReplication.http"), got); diff != "" {
		t.Errorf("recorded (-) and sent (+):\n%s", diff)
	}
}
