package operation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// s3 is a store in process and the real client in front of it.
func s3(t *testing.T) (*objectstoretest.Server, *objectstore.Store) {
	t.Helper()
	srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"})
	store, err := objectstore.New(objectstore.Config{
		Endpoint: srv.URL(), Credentials: srv.Credentials(),
		MaxAttempts: 3, BackoffBase: time.Nanosecond, BackoffCap: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return srv, store
}

// perform does one task on a real client and returns how it ended.
func perform(t *testing.T, store *objectstore.Store, op job.Operation, task operation.Task) job.Outcome {
	t.Helper()
	o, err := operation.New(op, operation.Env{Client: store, Objects: store, Job: new(job.Job)})
	if err != nil {
		t.Fatal(err)
	}
	var out job.Outcome
	if err := o.Do(t.Context(), &task, operation.NewScratch(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

var oddKeys = []string{"plain", "a b+c%é&=?#.txt", "a//b/../c/./", "/", "..", "\x01\xff", "日本語", strings.Repeat("k", 1024)}

// TestSettingsOfOddKeys sets everything that can be set on every kind of key, on
// an old version and on the current one, and nothing else.
func TestSettingsOfOddKeys(t *testing.T) {
	t.Parallel()
	srv, store := s3(t)
	srv.SetObjectLock("b")
	until := time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)
	grants := []job.Grant{{Grantee: &job.Grantee{TypeIdentifier: job.GranteeID, Identifier: `a<&">'b`}, Permission: job.PermissionRead}}
	ops := []job.Operation{
		{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: "ON"}}},
		{S3PutObjectRetention: &job.S3PutObjectRetention{Retention: &job.Retention{Mode: "GOVERNANCE", RetainUntilDate: &until}}},
		{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &job.AccessControlPolicy{
			AccessControlList: &job.AccessControlList{Owner: &job.Owner{ID: "o"}, Grants: grants},
		}}},
	}
	for _, key := range oddKeys {
		old := srv.Put("b", key, "old")
		srv.Put("b", key, "new")
		for _, version := range []string{old.VersionID, ""} {
			for _, op := range ops {
				out := perform(t, store, op, operation.Task{Bucket: "b", Key: []byte(key), VersionID: []byte(version)})
				if want := (job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1}); out != want {
					t.Errorf("%s of %q: got %+v", op.Name(), key, out)
				}
			}
			o, _ := srv.Version("b", key, version)
			if o.LegalHold != "ON" || o.RetainMode != "GOVERNANCE" || !o.RetainUntil.Equal(until) {
				t.Errorf("%q: hold %q, retention %q until %s", key, o.LegalHold, o.RetainMode, o.RetainUntil)
			}
			if diff := cmp.Diff([]objectstoretest.Grant{{Type: "CanonicalUser", Grantee: `a<&">'b`, Permission: "READ"}}, o.Grants); diff != "" {
				t.Errorf("%q: want grants (-) and got (+):\n%s", key, diff)
			}
			if current, _ := srv.Object("b", key); version != "" && current.LegalHold+current.RetainMode != "" {
				t.Errorf("%q: the current version was changed too: %+v", key, current)
			}
		}
	}
	if got := len(srv.Keys("b")); got != len(oddKeys) {
		t.Errorf("%d objects, want the %d there were", got, len(oddKeys))
	}
}

func TestACLParameters(t *testing.T) {
	t.Parallel()
	srv, store := s3(t)
	srv.Put("b", "k", "x")
	set := func(p job.AccessControlPolicy) objectstoretest.Object {
		t.Helper()
		out := perform(t, store, job.Operation{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &p}}, operation.Task{Bucket: "b", Key: []byte("k")})
		if out.Failed {
			t.Errorf("%+v: %+v", p, out)
		}
		o, _ := srv.Object("b", "k")
		return o
	}
	for _, acl := range job.CannedAccessControlList("").Values() {
		if o := set(job.AccessControlPolicy{CannedAccessControlList: job.CannedAccessControlList(acl)}); o.ACL != acl {
			t.Errorf("got ACL %q, want %q", o.ACL, acl)
		}
	}
	types := map[job.GranteeType]string{job.GranteeID: "CanonicalUser", job.GranteeEmail: "AmazonCustomerByEmail", job.GranteeURI: "Group"}
	var grants []job.Grant
	var want []objectstoretest.Grant
	for by, name := range types {
		for _, p := range job.Permission("").Values() {
			grants = append(grants, job.Grant{Grantee: &job.Grantee{TypeIdentifier: by, Identifier: "who", DisplayName: "shown"}, Permission: job.Permission(p)})
			want = append(want, objectstoretest.Grant{Type: name, Grantee: "who", Permission: p})
		}
	}
	o := set(job.AccessControlPolicy{AccessControlList: &job.AccessControlList{Owner: &job.Owner{ID: "o"}, Grants: grants}})
	if diff := cmp.Diff(want, o.Grants); diff != "" || o.ACL != "" {
		t.Errorf("ACL %q; want grants (-) and got (+):\n%s", o.ACL, diff)
	}
	if o := set(job.AccessControlPolicy{AccessControlList: &job.AccessControlList{Owner: &job.Owner{ID: "o"}}}); o.Grants != nil {
		t.Errorf("no grants left %v", o.Grants)
	}
}

func TestRetentionParameters(t *testing.T) {
	t.Parallel()
	srv, store := s3(t)
	srv.SetObjectLock("b")
	srv.Put("b", "k", "x")
	near, far := time.Date(2030, 1, 1, 1, 0, 0, 250_000_000, time.FixedZone("CET", 3600)), time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	check := func(mode job.ObjectLockMode, until *time.Time, bypass *bool, wantCode, wantMode string, wantUntil time.Time) {
		t.Helper()
		out := perform(t, store, job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{
			BypassGovernanceRetention: bypass, Retention: &job.Retention{Mode: mode, RetainUntilDate: until},
		}}, operation.Task{Bucket: "b", Key: []byte("k")})
		o, _ := srv.Object("b", "k")
		if out.Code != wantCode || o.RetainMode != wantMode || !o.RetainUntil.Equal(wantUntil) {
			t.Errorf("got %+v, %s until %s; want %q, %s until %s", out, o.RetainMode, o.RetainUntil, wantCode, wantMode, wantUntil)
		}
	}
	check("GOVERNANCE", &far, nil, "", "GOVERNANCE", far)
	check("GOVERNANCE", &near, nil, "AccessDenied", "GOVERNANCE", far)
	check("GOVERNANCE", &near, new(false), "AccessDenied", "GOVERNANCE", far)
	check("GOVERNANCE", &near, new(true), "", "GOVERNANCE", near)
	check("", nil, nil, "AccessDenied", "GOVERNANCE", near)
	check("", nil, new(true), "", "", time.Time{})
	check("COMPLIANCE", &near, nil, "", "COMPLIANCE", near)
	check("COMPLIANCE", &far, nil, "", "COMPLIANCE", far)
	check("", nil, new(true), "AccessDenied", "COMPLIANCE", far)
}

func TestRestoreParameters(t *testing.T) {
	t.Parallel()
	check := func(class string, p job.S3InitiateRestoreObject, wantCode, wantRestoring string) {
		t.Helper()
		srv, store := s3(t)
		srv.Put("b", "k", "x")
		srv.SetStorageClass("b", "k", class)
		out := perform(t, store, job.Operation{S3InitiateRestoreObject: &p}, operation.Task{Bucket: "b", Key: []byte("k")})
		o, _ := srv.Object("b", "k")
		if out.Code != wantCode || out.Failed != (wantCode != "") || o.Restoring != wantRestoring {
			t.Errorf("%s, %+v: got %+v, restoring %q", class, p, out, o.Restoring)
		}
	}
	check("GLACIER", job.S3InitiateRestoreObject{ExpirationInDays: new(int32(3))}, "", "Standard 3")
	check("GLACIER", job.S3InitiateRestoreObject{ExpirationInDays: new(int32(3)), GlacierJobTier: "STANDARD"}, "", "Standard 3")
	check("DEEP_ARCHIVE", job.S3InitiateRestoreObject{ExpirationInDays: new(int32(1)), GlacierJobTier: "BULK"}, "", "Bulk 1")
	check("DEEP_ARCHIVE", job.S3InitiateRestoreObject{}, "MalformedXML", "")
	check("DEEP_ARCHIVE", job.S3InitiateRestoreObject{ExpirationInDays: new(int32(0))}, "MalformedXML", "")
	check("STANDARD", job.S3InitiateRestoreObject{ExpirationInDays: new(int32(3))}, "InvalidObjectState", "")
}

// TestRestoreRepeated tells a restore that was under way before from the task's
// own, whose answer was lost.
func TestRestoreRepeated(t *testing.T) {
	t.Parallel()
	op := job.Operation{S3InitiateRestoreObject: &job.S3InitiateRestoreObject{ExpirationInDays: new(int32(3))}}
	srv, store := s3(t)
	srv.Put("b", "k", "x")
	srv.SetStorageClass("b", "k", "GLACIER")
	srv.Fault(objectstoretest.Match{Op: "RestoreObject", Times: 1}, objectstoretest.ResetAfter())
	task := operation.Task{Bucket: "b", Key: []byte("k")}
	if out, want := perform(t, store, op, task), (job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 2}); out != want {
		t.Errorf("answer lost: got %+v, want %+v", out, want)
	}
	want := job.Outcome{Failed: true, HTTPStatus: 409, Code: "RestoreAlreadyInProgress", Message: "Object restore is already in progress", Attempts: 1}
	if out := perform(t, store, op, task); out != want {
		t.Errorf("under way: got %+v, want %+v", out, want)
	}
	srv.Fault(objectstoretest.Match{Op: "RestoreObject", Times: 1}, objectstoretest.SlowDown())
	want.Attempts = 2
	if out := perform(t, store, op, task); out != want {
		t.Errorf("under way and slow: got %+v, want %+v", out, want)
	}
}
