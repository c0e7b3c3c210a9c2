package operation_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// asking is a job that asks for verification.
func asking(v job.Verify) *job.Job {
	return &job.Job{Tags: []job.Tag{{Key: job.TagVerify, Value: string(v)}}}
}

// verifiedTasks does n tasks on objects 0, 1, ... and returns which of them failed,
// all with VerificationFailed.
func verifiedTasks(t *testing.T, c operation.Client, op job.Operation, v job.Verify, n int) (failed []int) {
	t.Helper()
	o, err := operation.New(op, operation.Env{Client: c, Job: asking(v)})
	if err != nil {
		t.Fatal(err)
	}
	s := operation.NewScratch()
	for i := range n {
		var out job.Outcome
		task := operation.Task{Bucket: "b", Key: []byte(fmt.Sprint(i))}
		if err := o.Do(t.Context(), &task, s, &out); err != nil {
			t.Fatal(err)
		}
		if out.Failed {
			failed = append(failed, i)
			if out.Code != "VerificationFailed" || out.HTTPStatus != 500 || !strings.HasPrefix(out.Message, "The store answered that it was done, but ") {
				t.Fatalf("task %d: got %+v", i, out)
			}
		}
	}
	return failed
}

// TestVerify counts what is found of a store that does not do every seventh task,
// or none at all.
func TestVerify(t *testing.T) {
	t.Parallel()
	tag := job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "a", Value: "b"}}}}
	for _, c := range []struct {
		name, call string
		op         job.Operation
		answer     string
	}{
		{"tagging", "PutObjectTagging", tag, ""},
		{"no tags", "PutObjectTagging", job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{}}}, ""},
		{"untagging", "DeleteObjectTagging", job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}, ""},
		{
			"copy", "CopyObject",
			job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::to"}},
			"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>",
		},
	} {
		for _, v := range []struct {
			verify      job.Verify
			every, want int
		}{{job.VerifyAll, 7, 30}, {job.VerifySample, 1, 3}, {"", 1, 0}} {
			s3, client := startStore(t)
			s3.CreateBucket("to")
			for i := range 210 {
				s3.Put("b", fmt.Sprint(i), "bytes")
				s3.SetTags("b", fmt.Sprint(i), map[string]string{"from": "before"})
			}
			s3.Fault(objectstoretest.Match{Op: c.call, Every: v.every}, objectstoretest.Answer(http.StatusOK, c.answer))
			if got := verifiedTasks(t, client, c.op, v.verify, 210); len(got) != v.want {
				t.Errorf("%s, verify %q: found %d, want %d: %v", c.name, v.verify, len(got), v.want, got)
			}
		}
	}
}

// startStore is a store with a bucket b and a client of it.
func startStore(t *testing.T) (*objectstoretest.Server, *objectstore.Store) {
	t.Helper()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "key", Secret: "secret"})
	s3.CreateBucket("b")
	client, err := objectstore.New(objectstore.Config{Endpoint: s3.URL(), Credentials: s3.Credentials(), MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return s3, client
}

// saying answers every request that reads with a document, and every other with
// success.
type saying struct {
	status int
	body   string
	header []objectstore.Header
}

func (s saying) Do(_ context.Context, req *objectstore.Request, res *objectstore.Result) {
	*res = objectstore.Result{Status: http.StatusOK, Attempts: 1}
	switch {
	case req.OnBucket:
		res.Body = []byte("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
	case req.Method == http.MethodGet:
		res.Status, res.Body = s.status, []byte(s.body)
		if s.status >= 300 {
			res.Code = "NotImplemented"
		}
	case req.Method == http.MethodHead:
		res.Header = s.header
	}
}

// TestVerifyDocuments keeps which answers count as the effect.
func TestVerifyDocuments(t *testing.T) {
	t.Parallel()
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	const allUsers = "http://acs.amazonaws.com/groups/global/AllUsers"
	canned := func(acl job.CannedAccessControlList) job.Operation {
		return job.Operation{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &job.AccessControlPolicy{CannedAccessControlList: acl}}}
	}
	grants := job.Operation{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &job.AccessControlPolicy{AccessControlList: &job.AccessControlList{
		Owner:  &job.Owner{ID: "me"},
		Grants: []job.Grant{{Grantee: &job.Grantee{TypeIdentifier: job.GranteeID, Identifier: "you"}, Permission: job.PermissionRead}},
	}}}}
	hold := func(status job.ObjectLockLegalHoldStatus) job.Operation {
		return job.Operation{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: status}}}
	}
	retain := job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{Retention: &job.Retention{Mode: "GOVERNANCE", RetainUntilDate: &until}}}
	release := job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{Retention: &job.Retention{}}}
	acl := func(grantee, permission string) string {
		return "<AccessControlPolicy><AccessControlList><Grant><Grantee>" + grantee + "</Grantee><Permission>" + permission +
			"</Permission></Grant></AccessControlList></AccessControlPolicy>"
	}
	everybody := "<URI>" + allUsers + "</URI>"
	for _, c := range []struct {
		name   string
		op     job.Operation
		status int
		body   string
		there  bool
	}{
		{"public", canned("public-read"), 200, acl(everybody, "READ"), true},
		{"public, private before", canned("public-read"), 200, acl("<ID>me</ID>", "FULL_CONTROL"), false},
		{"private", canned("private"), 200, acl("<ID>me</ID>", "FULL_CONTROL"), true},
		{"private, public before", canned("private"), 200, acl(everybody, "READ"), false},
		{"what shows nowhere", canned("bucket-owner-full-control"), 501, "", true},
		{"ACL cannot be read", canned("private"), 501, "", false},
		{"ACL is none", canned("private"), 200, "<ListBucketResult/>", false},
		{"grants", grants, 200, acl("<ID>you</ID>", "READ"), true},
		{"other grants", grants, 200, acl("<ID>you</ID>", "WRITE"), false},
		{"hold", hold("ON"), 200, "<LegalHold><Status>ON</Status></LegalHold>", true},
		{"hold of another root", hold("ON"), 200, "<ObjectLockLegalHold><Status>ON</Status></ObjectLockLegalHold>", true},
		{"no hold", hold("ON"), 200, "<LegalHold><Status>OFF</Status></LegalHold>", false},
		{"hold off", hold("OFF"), 200, "", true},
		{"hold cannot be read", hold("ON"), 501, "", false},
		{"retention", retain, 200, "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-02T03:04:05.000Z</RetainUntilDate></Retention>", true},
		{"other date", retain, 200, "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2031-01-02T03:04:05Z</RetainUntilDate></Retention>", false},
		{"other mode", retain, 200, "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2030-01-02T03:04:05Z</RetainUntilDate></Retention>", false},
		{"no retention", retain, 200, "", false},
		{"released", release, 200, "<Retention/>", true},
		{"not released", release, 200, "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-02T03:04:05Z</RetainUntilDate></Retention>", false},
	} {
		if got := verifiedTasks(t, saying{status: c.status, body: c.body}, c.op, job.VerifyAll, 1); (len(got) == 0) != c.there {
			t.Errorf("%s: failed %v, want there %t", c.name, got, c.there)
		}
	}

	// Where retention cannot be read by itself, HEAD tells of it.
	mode := objectstore.Header{Name: "x-amz-object-lock-mode", Value: "GOVERNANCE"}
	date := objectstore.Header{Name: "x-amz-object-lock-retain-until-date", Value: "2030-01-02T03:04:05.000Z"}
	later := objectstore.Header{Name: date.Name, Value: "2031-01-02T03:04:05Z"}
	for _, c := range []struct {
		name   string
		op     job.Operation
		header []objectstore.Header
		there  bool
	}{
		{"retention of HEAD", retain, []objectstore.Header{mode, date}, true},
		{"other date of HEAD", retain, []objectstore.Header{mode, later}, false},
		{"no date of HEAD", retain, []objectstore.Header{mode}, false},
		{"no retention of HEAD", retain, nil, false},
		{"released by HEAD", release, nil, true},
		{"not released by HEAD", release, []objectstore.Header{mode, date}, false},
	} {
		if got := verifiedTasks(t, saying{status: 200, body: "the bytes of the object", header: c.header}, c.op, job.VerifyAll, 1); (len(got) == 0) != c.there {
			t.Errorf("%s: failed %v, want there %t", c.name, got, c.there)
		}
	}
}

// TestVerifyCopy keeps which headers of a copy count as the effect.
func TestVerifyCopy(t *testing.T) {
	t.Parallel()
	size := objectstore.Header{Name: "content-length", Value: "5"}
	check := func(name string, p job.S3PutObjectCopy, header, value string, there bool) {
		t.Helper()
		p.TargetResource = "arn:aws:s3:::to"
		c := saying{header: []objectstore.Header{size, {Name: header, Value: value}}}
		if got := verifiedTasks(t, c, job.Operation{S3PutObjectCopy: &p}, job.VerifyAll, 1); (len(got) == 0) != there {
			t.Errorf("%s: failed %v, want there %t", name, got, there)
		}
	}
	class := job.S3PutObjectCopy{StorageClass: "STANDARD_IA"}
	check("class", class, "x-amz-storage-class", "STANDARD_IA", true)
	check("other class", class, "x-amz-storage-class", "GLACIER", false)
	check("no class", class, "x", "", false)
	check("standard", job.S3PutObjectCopy{StorageClass: "STANDARD"}, "x", "", true)
	meta := job.S3PutObjectCopy{NewObjectMetadata: &job.ObjectMetadata{UserMetadata: map[string]string{"Team": "größe"}}}
	check("metadata", meta, "x-amz-meta-team", "=?UTF-8?b?Z3LDtsOfZQ==?=", true)
	check("other metadata", meta, "x-amz-meta-team", "old", false)
	kms := job.S3PutObjectCopy{NewObjectMetadata: &job.ObjectMetadata{SSEAlgorithm: job.SSEAlgorithmKMS}}
	check("encrypted", kms, "x-amz-server-side-encryption", "aws:kms", true)
	check("not encrypted", kms, "x", "", false)
	sum := job.S3PutObjectCopy{ChecksumAlgorithm: "SHA256"}
	check("checksum", sum, "x-amz-checksum-sha256", "x", true)
	check("no checksum", sum, "x-amz-checksum-crc32", "x", false)
	check("redirect ignored", job.S3PutObjectCopy{RedirectLocation: "/x"}, "x", "", false)
	check("nothing asked", job.S3PutObjectCopy{}, "x", "", true)
}
