package operation_test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// request is what matters of one on the wire.
type request struct {
	Method, Path string
	Query        []string
	Header       http.Header
	Body         *element // nil: none
}

// meaningful drops what differs between any two clients and calls.
func meaningful(t *testing.T, r *http.Request) request {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	m := request{Method: r.Method, Path: path, Header: r.Header.Clone()}
	for part := range strings.SplitSeq(query, "&") {
		if part != "" {
			m.Query = append(m.Query, strings.TrimSuffix(part, "="))
		}
	}
	slices.Sort(m.Query)
	for name := range m.Header {
		switch name {
		case "Accept-Encoding", "User-Agent", "X-Amz-Date", "X-Amz-Content-Sha256", "Authorization", "Content-Length",
			"Amz-Sdk-Invocation-Id", "Amz-Sdk-Request",
			"X-Amz-Checksum-Crc32", "X-Amz-Sdk-Checksum-Algorithm", "Content-Md5": // either sum will do
			delete(m.Header, name)
		}
	}
	if len(body) > 0 {
		m.Body = new(element)
		if err := xml.Unmarshal(body, m.Body); err != nil {
			t.Fatalf("body %s: %v", body, err)
		}
	}
	return m
}

// element is one of a document, however it was written down.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

// recorded reads a request that boto3 sent.
func recorded(t *testing.T, name string) request {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	return meaningful(t, r)
}

// newStore is the real client in front of h.
func newStore(t *testing.T, h http.HandlerFunc) *objectstore.Store {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s, err := objectstore.New(objectstore.Config{
		Endpoint:    srv.URL,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secretsecret", ""),
		MaxAttempts: 3, BackoffBase: time.Nanosecond, BackoffCap: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func newOperation(t *testing.T, op job.Operation, c operation.Client) operation.Operation {
	t.Helper()
	o, err := operation.New(op, operation.Env{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRequestsAsRecorded(t *testing.T) {
	t.Parallel()
	check := func(name string, op job.Operation, task operation.Task) {
		t.Helper()
		var got request
		store := newStore(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			sum := md5.Sum(body)
			if want := base64.StdEncoding.EncodeToString(sum[:]); (len(body) > 0 || r.URL.Query().Has("acl")) && r.Header.Get("Content-Md5") != want {
				t.Errorf("%s: got Content-MD5 %q, want %q", name, r.Header.Get("Content-Md5"), want)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			got = meaningful(t, r)
			if r.URL.RawQuery == "object-lock" {
				asked := meaningful(t, r)
				if diff := cmp.Diff(recorded(t, "GetObjectLockConfiguration.http"), asked); diff != "" {
					t.Errorf("recorded (-) and sent (+):\n%s", diff)
				}
				_, _ = io.WriteString(w, lockEnabled)
				return
			}
			if op.S3PutObjectCopy != nil {
				_, _ = io.WriteString(w, `<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>`)
			}
		})
		var out job.Outcome
		if err := newOperation(t, op, store).Do(t.Context(), &task, operation.NewScratch(), &out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := (job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1}); out != want {
			t.Errorf("%s: got %+v, want %+v", name, out, want)
		}
		if diff := cmp.Diff(recorded(t, name), got); diff != "" {
			t.Errorf("%s: recorded (-) and sent (+):\n%s", name, diff)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	odd := operation.Task{Bucket: "src", Key: []byte("dir/a b+c%é.txt"), VersionID: []byte("v1")}
	current := operation.Task{Bucket: odd.Bucket, Key: odd.Key}
	k1k2 := []job.Tag{{Key: "k1", Value: "v1"}, {Key: "k2"}}

	check("PutObjectTagging.http", job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: k1k2}}, odd)
	check("PutObjectTagging-empty.http", job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{}}}, current)
	check("DeleteObjectTagging.http", job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}, odd)
	grant := func(by job.GranteeType, who string, may job.Permission) job.Grant {
		return job.Grant{Grantee: &job.Grantee{TypeIdentifier: by, Identifier: who}, Permission: may}
	}
	policy := func(p job.AccessControlPolicy) job.Operation {
		return job.Operation{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &p}}
	}
	check("PutObjectAcl-canned.http", policy(job.AccessControlPolicy{CannedAccessControlList: "private"}), odd)
	check("PutObjectAcl-policy.http", policy(job.AccessControlPolicy{AccessControlList: &job.AccessControlList{
		Owner: &job.Owner{ID: "own", DisplayName: "o"},
		Grants: []job.Grant{
			{Grantee: &job.Grantee{TypeIdentifier: job.GranteeID, Identifier: "abc", DisplayName: "d"}, Permission: job.PermissionRead},
			grant(job.GranteeURI, "http://acs.amazonaws.com/groups/global/AllUsers", job.PermissionReadACP),
			grant(job.GranteeEmail, "a@b.c", job.PermissionFullControl),
		},
	}}), current)
	check("RestoreObject-glacier.http", job.Operation{S3InitiateRestoreObject: &job.S3InitiateRestoreObject{
		ExpirationInDays: new(int32(7)), GlacierJobTier: "BULK",
	}}, odd)
	check("RestoreObject-intelligent-tiering.http", job.Operation{S3InitiateRestoreObject: &job.S3InitiateRestoreObject{
		GlacierJobTier: "STANDARD",
	}}, current)
	check("PutObjectLegalHold.http", job.Operation{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{
		LegalHold: &job.LegalHold{Status: "ON"},
	}}, odd)
	check("PutObjectRetention.http", job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{
		BypassGovernanceRetention: new(true), Retention: &job.Retention{Mode: "GOVERNANCE", RetainUntilDate: &at},
	}}, odd)
	check("PutObjectRetention-remove.http", job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{
		BypassGovernanceRetention: new(true), Retention: &job.Retention{},
	}}, current)
	check("CopyObject-full.http", job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{
		TargetResource:          "arn:aws:s3:::dest",
		CannedAccessControlList: "bucket-owner-full-control",
		MetadataDirective:       job.MetadataReplace,
		ModifiedSinceConstraint: &at,
		NewObjectMetadata: &job.ObjectMetadata{
			CacheControl: "max-age=60", ContentDisposition: "attachment", ContentEncoding: "gzip", ContentLanguage: "en",
			ContentType: "text/plain", HttpExpiresDate: &at, SSEAlgorithm: job.SSEAlgorithmKMS,
			UserMetadata: map[string]string{"Alpha": "1"},
		},
		NewObjectTagging: k1k2, RedirectLocation: "/r", RequesterPays: new(true), StorageClass: "STANDARD_IA",
		UnModifiedSinceConstraint: &at, SSEAwsKmsKeyId: "arn:aws:kms:us-east-1:123456789012:key/k",
		TargetKeyPrefix: "Folder1", ObjectLockLegalHoldStatus: "ON", ObjectLockMode: "GOVERNANCE",
		ObjectLockRetainUntilDate: &at, BucketKeyEnabled: new(true), ChecksumAlgorithm: "SHA256",
	}}, odd)
	check("CopyObject-grants.http", job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{
		TargetResource: "arn:aws:s3:::dest",
		AccessControlGrants: []job.Grant{
			grant(job.GranteeURI, "http://acs.amazonaws.com/groups/global/AllUsers", job.PermissionRead),
			grant(job.GranteeID, "abc", job.PermissionFullControl),
			grant(job.GranteeEmail, "a@b.c", job.PermissionRead),
			grant(job.GranteeID, "d", job.PermissionReadACP),
			grant(job.GranteeID, "e", job.PermissionWriteACP),
		},
	}}, operation.Task{Bucket: "src", Key: []byte("k")})
}
