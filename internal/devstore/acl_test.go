//go:build !slim

package devstore

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

// createACLBucket makes bucket bkt, whose objects may have ACLs.
func createACLBucket(t *testing.T, c *s3.Client) {
	t.Helper()
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("bkt"), ObjectOwnership: types.ObjectOwnershipObjectWriter})
	if err != nil {
		t.Fatal(err)
	}
}

// grants returns the ACL of an object in bucket bkt, one line a grant.
func grants(t *testing.T, c *s3.Client, key string, version *string) []string {
	t.Helper()
	out, err := c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: new("bkt"), Key: &key, VersionId: version})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(out.Owner.ID); got != testKey {
		t.Errorf("%s: got owner %q, want %s", key, got, testKey)
	}
	var lines []string
	for _, g := range out.Grants {
		who := aws.ToString(g.Grantee.ID) + aws.ToString(g.Grantee.EmailAddress) + aws.ToString(g.Grantee.URI)
		who = who[strings.LastIndex(who, "/")+1:]
		lines = append(lines, string(g.Grantee.Type)+" "+who+" "+string(g.Permission))
	}
	return lines
}

const ownerGrant = "CanonicalUser " + testKey + " FULL_CONTROL"

func TestCannedACLs(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	put(t, c, "bkt", "k", "x")
	check := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, grants(t, c, "k", nil)); diff != "" {
			t.Errorf("grants (-want +got):\n%s", diff)
		}
	}
	set := func(acl types.ObjectCannedACL) {
		t.Helper()
		if _, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: new("bkt"), Key: new("k"), ACL: acl}); err != nil {
			t.Fatal(err)
		}
	}
	check(ownerGrant) // before anything was set
	set("public-read-write")
	check(ownerGrant, "Group AllUsers READ", "Group AllUsers WRITE")
	set("public-read")
	check(ownerGrant, "Group AllUsers READ")
	set("authenticated-read")
	check(ownerGrant, "Group AuthenticatedUsers READ")
	set("aws-exec-read")
	check(ownerGrant, "CanonicalUser "+bundles+" READ")
	set("bucket-owner-read")
	check(ownerGrant)
	set("public-read")
	set("private")
	check(ownerGrant)
	_, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: new("bkt"), Key: new("k"), ACL: "open-bar"})
	wantCode(t, err, "InvalidArgument")
	_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: new("bkt"), Key: new("none"), ACL: "private"})
	wantCode(t, err, "NoSuchKey")
	_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: new("bkt"), Key: new("k")})
	wantCode(t, err, "MissingSecurityHeader")
}

func TestACLPolicies(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	put(t, c, "bkt", "k", "x")
	set := func(owner string, grants ...types.Grant) error {
		_, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{
			Bucket: new("bkt"), Key: new("k"),
			AccessControlPolicy: &types.AccessControlPolicy{Owner: &types.Owner{ID: &owner}, Grants: grants},
		})
		return err
	}
	check := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, grants(t, c, "k", nil)); diff != "" {
			t.Errorf("grants (-want +got):\n%s", diff)
		}
	}
	user := types.Grant{Grantee: &types.Grantee{Type: "CanonicalUser", ID: new("abc"), DisplayName: new("Ä & Ö")}, Permission: "READ_ACP"}
	if err := set(
		testKey, user,
		types.Grant{Grantee: &types.Grantee{Type: "AmazonCustomerByEmail", EmailAddress: new("a@b.c")}, Permission: "WRITE"},
		types.Grant{Grantee: &types.Grantee{Type: "Group", URI: new(everyone)}, Permission: "READ"},
	); err != nil {
		t.Fatal(err)
	}
	check("CanonicalUser abc READ_ACP", "AmazonCustomerByEmail a@b.c WRITE", "Group AllUsers READ")
	if err := set(testKey); err != nil { // nobody at all
		t.Fatal(err)
	}
	check()
	wantCode(t, set("somebody", user), "AccessDenied")
	wantCode(t, set(testKey, types.Grant{Grantee: user.Grantee, Permission: "LAUGH"}), "MalformedACLError")
	wantCode(t, set(testKey, types.Grant{Grantee: &types.Grantee{Type: "Group", ID: new("abc")}, Permission: "READ"}), "MalformedACLError")
	check()
}

func TestGrantHeaders(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	put(t, c, "bkt", "src", "x")
	want := []string{
		"CanonicalUser abc FULL_CONTROL", "Group AllUsers READ", "AmazonCustomerByEmail a@b.c READ",
		"CanonicalUser d READ_ACP", "CanonicalUser e WRITE_ACP",
	}
	full, read := new(`id="abc"`), new(`uri="`+everyone+`", emailAddress="a@b.c"`)
	acp, writeACP := new(`id="d"`), new(`id=e`)
	_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: new("bkt"), Key: new("copy"), CopySource: new("bkt/src"),
		GrantFullControl: full, GrantRead: read, GrantReadACP: acp, GrantWriteACP: writeACP,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: new("bkt"), Key: new("put"), GrantFullControl: full, GrantRead: read, GrantReadACP: acp, GrantWriteACP: writeACP,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{
		Bucket: new("bkt"), Key: new("src"), GrantFullControl: full, GrantRead: read, GrantReadACP: acp, GrantWriteACP: writeACP,
	})
	if err != nil {
		t.Fatal(err)
	}
	copyInParts(t, c, "bkt", "src", "parts", &s3.CreateMultipartUploadInput{
		GrantFullControl: full, GrantRead: read, GrantReadACP: acp, GrantWriteACP: writeACP,
	})
	for _, key := range []string{"copy", "put", "src", "parts"} {
		if diff := cmp.Diff(want, grants(t, c, key, nil)); diff != "" {
			t.Errorf("%s: grants (-want +got):\n%s", key, diff)
		}
	}
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("k"), GrantRead: new("everybody")})
	wantCode(t, err, "InvalidArgument")
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("k"), GrantRead: read, ACL: "private"})
	wantCode(t, err, "InvalidRequest")
	if _, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: new("bkt"), Key: new("canned"), CopySource: new("bkt/src"), ACL: "public-read",
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ownerGrant, "Group AllUsers READ"}, grants(t, c, "canned", nil)); diff != "" {
		t.Errorf("canned: grants (-want +got):\n%s", diff)
	}
}

func TestACLsOfVersions(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createACLBucket(t, c)
	enableVersioning(t, c, "bkt")
	old := put(t, c, "bkt", "k", "one").VersionId
	put(t, c, "bkt", "k", "two")
	before := head(t, c, "bkt", "k", old)
	if _, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{
		Bucket: new("bkt"), Key: new("k"), VersionId: old, ACL: "public-read",
	}); err != nil {
		t.Fatal(err)
	}
	if got := grants(t, c, "k", old); len(got) != 2 {
		t.Errorf("old version: got grants %v, want two", got)
	}
	if got := grants(t, c, "k", nil); len(got) != 1 {
		t.Errorf("current version: got grants %v, want one", got)
	}
	after := head(t, c, "bkt", "k", old)
	if !after.LastModified.Equal(*before.LastModified) || *after.ETag != *before.ETag {
		t.Errorf("the ACL has changed date or ETag: %v %s", after.LastModified, *after.ETag)
	}
	_, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{
		Bucket: new("bkt"), Key: new("k"), VersionId: new("01HZZZZZZZZZZZZZZZZZZZZZZZ"), ACL: "private",
	})
	wantCode(t, err, "NoSuchVersion")
	_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: new("bkt"), Key: new("k"), VersionId: new("../k"), ACL: "private"})
	wantCode(t, err, "InvalidArgument")
}

func TestOwnerEnforcedBucketRefusesACLs(t *testing.T) {
	t.Parallel()
	_, c := startStore(t, Config{})
	createBucket(t, c, "bkt") // S3 makes buckets so, unless asked otherwise
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("k"), ACL: "public-read"})
	wantCode(t, err, "AccessControlListNotSupported")
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bkt"), Key: new("k"), ACL: "bucket-owner-full-control"}); err != nil {
		t.Error(err)
	}
	_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: new("bkt"), Key: new("k"), ACL: "public-read"})
	wantCode(t, err, "AccessControlListNotSupported")
	if diff := cmp.Diff([]string{ownerGrant}, grants(t, c, "k", nil)); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
}
