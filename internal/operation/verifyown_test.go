package operation_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// headed is a store that tells something more of every object.
type headed struct {
	operation.Client
	more objectstore.Header
}

func (h headed) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	h.Client.Do(ctx, req, res)
	if req.Method == http.MethodHead {
		res.Header = append(res.Header, h.more)
	}
}

// TestVerifyRestore believes a store that tells of the restore.
func TestVerifyRestore(t *testing.T) {
	t.Parallel()
	op := job.Operation{S3InitiateRestoreObject: &job.S3InitiateRestoreObject{ExpirationInDays: new(int32(1))}}
	for tells, want := range map[string]int{"": 1, `ongoing-request="true"`: 0, `ongoing-request="false", expiry-date="Fri, 21 Dec 2040 00:00:00 GMT"`: 0} {
		s3, client := startStore(t)
		s3.Put("b", "0", "bytes")
		s3.Fault(objectstoretest.Match{Op: "RestoreObject"}, objectstoretest.Answer(http.StatusAccepted, ""))
		c := headed{client, objectstore.Header{Name: "x-amz-restore", Value: tells}}
		if got := verifiedTasks(t, c, op, job.VerifyAll, 1); len(got) != want {
			t.Errorf("a store that tells %q: %d of 1 failed, want %d", tells, len(got), want)
		}
	}
}

// forgetful is a store that proves on the probe that it knows
// UpdateObjectEncryption, and does nothing for other objects.
type forgetful struct{ *vault }

func (f forgetful) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	if req.Query == "encryption" && !strings.HasPrefix(string(req.Key), ".stevedore-probe/") {
		*res = objectstore.Result{Status: http.StatusOK, Attempts: 1}
		return
	}
	f.vault.Do(ctx, req, res)
}

// TestVerifyEncryption finds objects that kept theirs.
func TestVerifyEncryption(t *testing.T) {
	t.Parallel()
	op := job.Operation{S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{
		ObjectEncryption: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: kmsKey}},
	}}
	srv := limited(t)
	srv.Put("b", "0", "bytes")
	v := newVault(t, srv, "knows", false)
	if got := verifiedTasks(t, forgetful{v}, op, job.VerifyAll, 1); len(got) != 1 {
		t.Errorf("a store that does nothing: %d of 1 failed", len(got))
	}
	if got := verifiedTasks(t, v, op, job.VerifyAll, 1); len(got) != 0 {
		t.Errorf("one that does it: %d of 1 failed", len(got))
	}
}

// TestVerifyReplication finds copies that are not there, or differ, and delete
// markers that are not.
func TestVerifyReplication(t *testing.T) {
	t.Parallel()
	check := func(name string, marker bool, m objectstoretest.Match, a *objectstoretest.Action, failed bool) {
		t.Helper()
		srv := limited(t)
		srv.SetVersioning("src", "Enabled")
		srv.SetVersioning("dest", "Enabled")
		store := access(t, srv)
		rule := ruleTo("dest")
		rule.DeleteMarkerReplication.Status = "Enabled"
		version := put(t, store, srv, "k", "short", "x-amz-meta-a", "1", "x-amz-tagging", "a=b").VersionID
		if marker {
			srv.Put("dest", "k", "short")
			if err := store.Delete(t.Context(), "src", "k"); err != nil {
				t.Fatal(err)
			}
			version = "v3" // after the object, and that of dest
		}
		o, err := operation.New(job.Operation{S3ReplicateObject: &job.S3ReplicateObject{}}, operation.Env{
			Client: store, Objects: store, Job: asking(job.VerifyAll),
			Replication: map[string]operation.ReplicationConfig{"src": {Rules: []operation.ReplicationRule{rule}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if a != nil {
			srv.Fault(m, *a)
		}
		out := task(t, o, "src", "k", version)
		if out.Failed != failed || failed && out.Code != "VerificationFailed" {
			t.Errorf("%s: got %+v, want a failure: %t", name, out, failed)
		}
	}
	none := objectstoretest.Match{}
	nothing := objectstoretest.Answer(http.StatusOK, "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
	gone := objectstoretest.Answer(http.StatusNoContent, "")
	check("copied", false, none, nil, false)
	check("not copied", false, objectstoretest.Match{Op: "CopyObject"}, &nothing, true)
	check("deleted", true, none, nil, false)
	check("not deleted", true, objectstoretest.Match{Op: "DeleteObject"}, &gone, true)
}
