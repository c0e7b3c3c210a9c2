package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"stevedore/internal/devstore"
)

// unreliable is an S3 server that fails every sixth request, in turn in every way
// that a store or the way to it fails, and every fourth copy with an error inside
// of a 200, but no request more than twice.
type unreliable struct {
	proxy *httputil.ReverseProxy

	mu       sync.Mutex
	requests int
	copies   int
	faults   map[string]int // by kind
	failed   map[string]int // by request
	begun    map[string]int // uploads that nobody was told the id of, by bucket
}

// The ways to fail.
const (
	slowDown    = "503 SlowDown"
	internal    = "500 InternalError"
	tooMany     = "429 TooManyRequests"
	resetBefore = "reset before the effect"
	resetAfter  = "reset after the effect"
	cutShort    = "answer cut short"
	errorInside = "200 with an error inside"
)

var kinds = []string{slowDown, resetAfter, internal, cutShort, tooMany, resetBefore}

func startUnreliable(t *testing.T, store string) (*unreliable, string) {
	t.Helper()
	target, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	u := &unreliable{faults: map[string]int{}, failed: map[string]int{}, begun: map[string]int{}, proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the one that was signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // no log
	}}
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	return u, server.URL
}

// fault is how a request fails, "" if it does not.
func (u *unreliable) fault(r *http.Request) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests++
	request := r.Method + " " + r.URL.String()
	isCopy := r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != ""
	if isCopy {
		u.copies++
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	kind := kinds[u.requests/6%len(kinds)]
	switch {
	case u.failed[request] == 2:
		return ""
	case isCopy && u.copies%4 == 0:
		kind = errorInside
	case u.requests%6 != 0:
		return ""
	}
	u.failed[request]++
	u.faults[kind]++
	if r.Method == http.MethodPost && r.URL.Query().Has("uploads") && (kind == resetAfter || kind == cutShort) {
		u.begun[bucket]++
	}
	return kind
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>on purpose</Message></Error>", code)
	}
	switch u.fault(r) {
	case slowDown:
		refuse(http.StatusServiceUnavailable, "SlowDown")
	case internal:
		refuse(http.StatusInternalServerError, "InternalError")
	case tooMany:
		refuse(http.StatusTooManyRequests, "TooManyRequests")
	case errorInside:
		refuse(http.StatusOK, "InternalError")
	case resetBefore:
		panic(http.ErrAbortHandler)
	case resetAfter:
		u.proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case cutShort:
		whole := httptest.NewRecorder()
		u.proxy.ServeHTTP(whole, r)
		if whole.Body.Len() > 0 {
			maps.Copy(w.Header(), whole.Header())
			w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
			w.WriteHeader(whole.Code)
			_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	default:
		u.proxy.ServeHTTP(w, r)
	}
}

// TestEveryOperationUnderFaults runs all operations on a real server behind one
// that keeps failing: every task has to succeed and to have its effect, and no
// object may have other bytes afterwards or be left over.
func TestEveryOperationUnderFaults(t *testing.T) {
	t.Parallel()
	const objects = 24
	store, err := devstore.Start(t.Context(), devstore.Config{Dir: t.TempDir(), AccessKey: access, Secret: secret, CopyLimit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	o := clientsOf(t, store.Endpoint())
	o.buckets(t, "manifests", "reports", "target")
	proxy, endpoint := startUnreliable(t, o.endpoint)
	through := *o
	through.endpoint = endpoint
	address := freeAddress(t)
	serve(t, &through, t.TempDir(), address)
	c := control(address)

	name := func(i int) string { return fmt.Sprintf("dir/%03d a+b%%é", i) }
	content := func(i int) []byte { return bytes.Repeat([]byte(name(i)), 1+i%4*30) } // some are too large for CopyObject
	date := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	head := func(t *testing.T, bucket, key string) *s3.HeadObjectOutput {
		t.Helper()
		out, err := o.sdk.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Error(err)
			return &s3.HeadObjectOutput{}
		}
		return out
	}
	tags := func(t *testing.T, bucket, key string) (text string) {
		t.Helper()
		out, err := o.sdk.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Error(err)
			return "?"
		}
		slices.SortFunc(out.TagSet, func(a, b s3types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
		for _, tag := range out.TagSet {
			text += *tag.Key + "=" + *tag.Value + " "
		}
		return text
	}
	function := func(name string, args map[string]string) types.JobOperation {
		return types.JobOperation{LambdaInvoke: &types.LambdaInvokeOperation{
			FunctionArn:             aws.String("arn:aws:lambda:us-east-1:" + account + ":function:" + name),
			InvocationSchemaVersion: aws.String("2.0"), UserArguments: args,
		}}
	}
	for _, test := range []struct {
		bucket string
		locked bool // Object Lock
		keeps  bool // versions
		class  s3types.StorageClass
		target string // the bucket of copies
		op     types.JobOperation
		gone   bool
		effect func(t *testing.T, key string, i int, message string) bool
	}{
		{
			bucket: "tag", op: types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{TagSet: []types.S3Tag{{Key: aws.String("a"), Value: aws.String("1")}}}},
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				return tags(t, "tag", key) == "a=1 "
			},
		},
		{
			bucket: "untag", op: types.JobOperation{S3DeleteObjectTagging: &types.S3DeleteObjectTaggingOperation{}},
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				return tags(t, "untag", key) == ""
			},
		},
		{
			bucket: "acl", op: types.JobOperation{S3PutObjectAcl: &types.S3SetObjectAclOperation{
				AccessControlPolicy: &types.S3AccessControlPolicy{CannedAccessControlList: types.S3CannedAccessControlListPublicRead},
			}},
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				out, err := o.sdk.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: aws.String("acl"), Key: &key})
				return err == nil && slices.ContainsFunc(out.Grants, func(g s3types.Grant) bool { return strings.HasSuffix(aws.ToString(g.Grantee.URI), "AllUsers") })
			},
		},
		{
			bucket: "hold", locked: true, op: types.JobOperation{S3PutObjectLegalHold: &types.S3SetObjectLegalHoldOperation{LegalHold: &types.S3ObjectLockLegalHold{Status: "ON"}}},
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				return head(t, "hold", key).ObjectLockLegalHoldStatus == "ON"
			},
		},
		{
			bucket: "retain", locked: true, op: types.JobOperation{S3PutObjectRetention: &types.S3SetObjectRetentionOperation{
				Retention: &types.S3Retention{Mode: "COMPLIANCE", RetainUntilDate: &date},
			}},
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				h := head(t, "retain", key)
				return h.ObjectLockMode == "COMPLIANCE" && aws.ToTime(h.ObjectLockRetainUntilDate).Equal(date)
			},
		},
		{
			bucket: "restore", class: "GLACIER", op: types.JobOperation{S3InitiateRestoreObject: &types.S3InitiateRestoreObjectOperation{
				ExpirationInDays: aws.Int32(3), GlacierJobTier: "BULK",
			}},
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				return aws.ToString(head(t, "restore", key).Restore) != ""
			},
		},
		{
			bucket: "sum", op: types.JobOperation{S3ComputeObjectChecksum: &types.S3ComputeObjectChecksumOperation{ChecksumAlgorithm: "SHA256"}},
			effect: func(_ *testing.T, _ string, i int, message string) bool {
				sum := sha256.Sum256(content(i))
				return strings.Contains(message, `"checksum_hex":"`+strings.ToUpper(hex.EncodeToString(sum[:]))+`"`)
			},
		},
		{
			bucket: "encrypt", op: types.JobOperation{S3UpdateObjectEncryption: &types.S3UpdateObjectEncryptionOperation{
				ObjectEncryption: &types.ObjectEncryption{SSEKMS: &types.S3UpdateObjectEncryptionSSEKMS{
					KMSKeyArn: aws.String("arn:aws:kms:us-east-1:" + account + ":key/1234abcd-12ab-34cd-56ef-1234567890ab"),
				}},
			}},
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				return head(t, "encrypt", key).ServerSideEncryption == "aws:kms"
			},
		},
		{
			bucket: "copy", target: "target", op: types.JobOperation{S3PutObjectCopy: &types.S3CopyObjectOperation{
				TargetResource: aws.String("arn:aws:s3:::target"), TargetKeyPrefix: aws.String("copies"),
			}},
			effect: func(t *testing.T, key string, i int, message string) bool {
				t.Helper()
				large := len(content(i)) > 1000
				return bytes.Equal(o.get(t, "target", "copies/"+key), content(i)) && tags(t, "target", "copies/"+key) == "from=source " &&
					strings.Contains(message, "multipart") == large
			},
		},
		{
			bucket: "replicate", target: "replica", keeps: true, op: types.JobOperation{S3ReplicateObject: &types.S3ReplicateObjectOperation{}},
			effect: func(t *testing.T, key string, i int, _ string) bool {
				t.Helper()
				return bytes.Equal(o.get(t, "replica", key), content(i)) && tags(t, "replica", key) == "from=source "
			},
		},
		{
			bucket: "merge", op: function("stevedore-merge-tags", map[string]string{"add.b": "2"}),
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				return tags(t, "merge", key) == "b=2 from=source "
			},
		},
		{
			bucket: "look", op: function("stevedore-head-object", nil),
			effect: func(_ *testing.T, _ string, i int, message string) bool {
				return strings.Contains(message, fmt.Sprintf(`"size":%d,`, len(content(i))))
			},
		},
		{
			bucket: "delete", gone: true, op: function("stevedore-delete-object", map[string]string{"confirm": "permanently delete"}),
			effect: func(t *testing.T, key string, _ int, _ string) bool {
				t.Helper()
				return !slices.Contains(o.keys(t, "delete", ""), key)
			},
		},
	} {
		t.Run(test.bucket, func(t *testing.T) {
			t.Parallel()
			in := &s3.CreateBucketInput{Bucket: &test.bucket, ObjectOwnership: "ObjectWriter", ObjectLockEnabledForBucket: &test.locked}
			if _, err := o.sdk.CreateBucket(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			if test.keeps {
				o.replicateTo(t, test.bucket, "replica")
			}
			var manifest bytes.Buffer
			for i := range objects + 1 { // the last one is not in the manifest
				key := name(i)
				out, err := o.sdk.PutObject(t.Context(), &s3.PutObjectInput{
					Bucket: &test.bucket, Key: &key, Body: bytes.NewReader(content(i)), StorageClass: test.class, Tagging: aws.String("from=source"),
				})
				if err != nil {
					t.Fatal(err)
				}
				if i < objects {
					fmt.Fprintf(&manifest, "%s,%s,%s\n", test.bucket, url.QueryEscape(key), aws.ToString(out.VersionId))
				}
			}
			job := tagJob(o.put(t, "manifests", test.bucket, manifest.Bytes()), "", "")
			job.Operation, job.Manifest.Location.ObjectArn = &test.op, aws.String("arn:aws:s3:::manifests/"+test.bucket)
			job.Manifest.Spec.Fields = []types.JobManifestFieldName{"Bucket", "Key", "VersionId"}
			created, err := c.CreateJob(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			j := until(t, c, *created.JobId, ended)
			if s := j.ProgressSummary; j.Status != types.JobStatusComplete || *s.NumberOfTasksSucceeded != objects || *s.NumberOfTasksFailed != 0 {
				t.Errorf("the job ended %s with %d succeeded and %d failed: %+v", j.Status, *s.NumberOfTasksSucceeded, *s.NumberOfTasksFailed, j.FailureReasons)
			}
			messages := map[string]string{}
			for _, row := range o.report(t, "reports", "r", *created.JobId) {
				key, err := url.QueryUnescape(row[1])
				if _, twice := messages[key]; twice || err != nil || row[3] != "succeeded" {
					t.Errorf("row %q, twice: %t, %v", row, twice, err)
				}
				messages[key] = row[6]
			}
			for i := range objects + 1 {
				key := name(i)
				message, listed := messages[key]
				if listed != (i < objects) {
					t.Errorf("%s: in the report: %t", key, listed)
				}
				if listed && !test.effect(t, key, i, message) {
					t.Errorf("%s has not the effect: %s", key, message)
				}
				switch {
				case listed && test.gone:
				case test.class != "": // archived: its bytes are not to be had
					if n := aws.ToInt64(head(t, test.bucket, key).ContentLength); n != int64(len(content(i))) {
						t.Errorf("%s has %d bytes, want %d", key, n, len(content(i)))
					}
				default:
					if got := o.get(t, test.bucket, key); !bytes.Equal(got, content(i)) {
						t.Errorf("%s holds %.60q", key, got)
					}
				}
			}
			if slices.Contains(o.keys(t, "target", "copies/"), "copies/"+name(objects)) {
				t.Error("an object that is not in the manifest was copied")
			}
			if keys := o.keys(t, test.bucket, ".stevedore-probe/"); len(keys) > 0 {
				t.Errorf("left behind: %q", keys)
			}
			if test.target != "" {
				up, err := o.sdk.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &test.target})
				if err != nil {
					t.Fatal(err)
				}
				proxy.mu.Lock()
				defer proxy.mu.Unlock()
				if left := len(up.Uploads); left > proxy.begun[test.target] {
					t.Errorf("%d uploads are left behind, and only %d cannot be known of", left, proxy.begun[test.target])
				}
			}
		})
	}
	t.Cleanup(func() { // after all of them
		proxy.mu.Lock()
		defer proxy.mu.Unlock()
		for _, kind := range append(kinds, errorInside) {
			if proxy.faults[kind] == 0 {
				t.Errorf("nothing failed by %s", kind)
			}
		}
		t.Logf("%d requests, faults: %v", proxy.requests, proxy.faults)
	})
}

// replicateTo makes two buckets keep versions, one a replica of the other.
func (o *objects) replicateTo(t *testing.T, from, to string) {
	t.Helper()
	o.buckets(t, to)
	for _, bucket := range []string{from, to} {
		if _, err := o.sdk.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
			Bucket: &bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.sdk.PutBucketReplication(t.Context(), &s3.PutBucketReplicationInput{
		Bucket: &from, ReplicationConfiguration: &s3types.ReplicationConfiguration{
			Role: aws.String(role), Rules: []s3types.ReplicationRule{{
				Status: s3types.ReplicationRuleStatusEnabled, Priority: aws.Int32(1), Filter: &s3types.ReplicationRuleFilter{Prefix: aws.String("")},
				DeleteMarkerReplication: &s3types.DeleteMarkerReplication{Status: s3types.DeleteMarkerReplicationStatusDisabled},
				Destination:             &s3types.Destination{Bucket: aws.String("arn:aws:s3:::" + to)},
			}},
		},
	}); err != nil {
		t.Fatal(err)
	}
}
