package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// TestOperationsThatSet runs the operations that set something about an object,
// and the one that only reads it, on a real server: on old versions, of keys that
// are hard to carry. The AWS SDK reads back what became of them.
func TestOperationsThatSet(t *testing.T) {
	t.Parallel()
	o := startObjects(t)
	o.buckets(t, "manifests", "reports", "plain")
	if _, err := o.sdk.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: aws.String("data"), ObjectLockEnabledForBucket: aws.Bool(true), ObjectOwnership: "ObjectWriter",
	}); err != nil {
		t.Fatal(err)
	}
	keys := []string{"plain.txt", "a b+c%é&=?.txt", "dir/日本語", strings.Repeat("k", 200)}
	versions := map[string]string{}
	var manifest, plain bytes.Buffer
	for _, key := range keys {
		out, err := o.sdk.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("data"), Key: &key, Body: strings.NewReader("123456789"), StorageClass: "GLACIER",
		})
		if err != nil {
			t.Fatal(err)
		}
		versions[key] = aws.ToString(out.VersionId)
		o.put(t, "data", key, []byte("newer"))
		fmt.Fprintf(&manifest, "data,%s,%s\n", url.QueryEscape(key), versions[key])
		o.put(t, "plain", key, []byte("123456789"))
		fmt.Fprintf(&plain, "plain,%s,\n", url.QueryEscape(key))
	}
	address := freeAddress(t)
	serve(t, o, t.TempDir(), address)
	c := control(address)

	// run runs one job over a manifest and returns its rows.
	run := func(manifest []byte, op types.JobOperation, want types.JobStatus) (*types.JobDescriptor, [][]string) {
		t.Helper()
		in := tagJob(o.put(t, "manifests", "manifest.csv", manifest), "", "")
		in.Operation, in.Manifest.Spec.Fields = &op, []types.JobManifestFieldName{"Bucket", "Key", "VersionId"}
		out, err := c.CreateJob(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		j := until(t, c, *out.JobId, func(j *types.JobDescriptor) bool { return ended(j) })
		if j.Status != want {
			t.Fatalf("%+v ended %s: %+v", op, j.Status, j.FailureReasons)
		}
		if aws.ToInt64(j.ProgressSummary.TotalNumberOfTasks) == 0 {
			return j, nil // refused before any task: no report
		}
		return j, o.report(t, "reports", "r", *out.JobId)
	}
	// all runs a job whose tasks succeed with a message.
	all := func(op types.JobOperation, message string) {
		t.Helper()
		_, rows := run(manifest.Bytes(), op, types.JobStatusComplete)
		if len(rows) != len(keys) {
			t.Errorf("%d rows, want %d", len(rows), len(keys))
		}
		for _, r := range rows {
			if r[3] != "succeeded" || r[4] != "200" || r[5] != "" || message != "" && r[6] != message {
				t.Errorf("row %q", r)
			}
		}
	}
	head := func(key, version string) *s3.HeadObjectOutput {
		t.Helper()
		in := &s3.HeadObjectInput{Bucket: aws.String("data"), Key: &key}
		if version != "" {
			in.VersionId = &version
		}
		out, err := o.sdk.HeadObject(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	date := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)

	all(types.JobOperation{S3PutObjectLegalHold: &types.S3SetObjectLegalHoldOperation{
		LegalHold: &types.S3ObjectLockLegalHold{Status: "ON"},
	}}, "Successful")
	all(types.JobOperation{S3PutObjectRetention: &types.S3SetObjectRetentionOperation{
		Retention: &types.S3Retention{Mode: "GOVERNANCE", RetainUntilDate: &date},
	}}, "Successful")
	for key, version := range versions {
		if h := head(key, version); h.ObjectLockLegalHoldStatus != "ON" || h.ObjectLockMode != "GOVERNANCE" || !aws.ToTime(h.ObjectLockRetainUntilDate).Equal(date) {
			t.Errorf("%q: hold %q, retention %q until %v", key, h.ObjectLockLegalHoldStatus, h.ObjectLockMode, h.ObjectLockRetainUntilDate)
		}
		if h := head(key, ""); h.ObjectLockLegalHoldStatus == "ON" || h.ObjectLockMode != "" {
			t.Errorf("%q: the current version was touched: %+v", key, h)
		}
	}
	all(types.JobOperation{S3PutObjectLegalHold: &types.S3SetObjectLegalHoldOperation{
		LegalHold: &types.S3ObjectLockLegalHold{Status: "OFF"},
	}}, "Successful")
	all(types.JobOperation{S3PutObjectRetention: &types.S3SetObjectRetentionOperation{
		BypassGovernanceRetention: aws.Bool(true), Retention: &types.S3Retention{},
	}}, "Successful")
	for key, version := range versions {
		if h := head(key, version); h.ObjectLockLegalHoldStatus == "ON" || h.ObjectLockMode != "" {
			t.Errorf("%q: hold %q, retention %q after they were ended", key, h.ObjectLockLegalHoldStatus, h.ObjectLockMode)
		}
	}

	all(types.JobOperation{S3PutObjectAcl: &types.S3SetObjectAclOperation{AccessControlPolicy: &types.S3AccessControlPolicy{
		AccessControlList: &types.S3AccessControlList{
			Owner: &types.S3ObjectOwner{ID: aws.String(access)},
			Grants: []types.S3Grant{{
				Grantee:    &types.S3Grantee{TypeIdentifier: "uri", Identifier: aws.String("http://acs.amazonaws.com/groups/global/AllUsers")},
				Permission: "READ",
			}},
		},
	}}}, "Successful")
	for key, version := range versions {
		out, err := o.sdk.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: aws.String("data"), Key: &key, VersionId: &version})
		if err != nil || len(out.Grants) != 1 || out.Grants[0].Permission != s3types.PermissionRead ||
			out.Grants[0].Grantee == nil || !strings.HasSuffix(aws.ToString(out.Grants[0].Grantee.URI), "AllUsers") {
			t.Errorf("ACL of %q: %+v, %v", key, out, err)
		}
	}

	_, rows := run(manifest.Bytes(), types.JobOperation{S3ComputeObjectChecksum: &types.S3ComputeObjectChecksumOperation{}}, types.JobStatusComplete)
	for _, r := range rows {
		if r[3] != "failed" || r[4] != "200" || r[5] != "PermanentFailure" || !strings.Contains(r[6], "InvalidObjectState") {
			t.Errorf("checksum of an archived object: %q", r)
		}
	}
	all(types.JobOperation{S3InitiateRestoreObject: &types.S3InitiateRestoreObjectOperation{
		ExpirationInDays: aws.Int32(3), GlacierJobTier: "BULK",
	}}, "Successful")
	for key, version := range versions {
		if h := head(key, version); aws.ToString(h.Restore) == "" {
			t.Errorf("%q is not being restored", key)
		}
	}

	want := o.putParts(t, "plain", "in/parts")
	_, rows = run([]byte("plain,in/parts,\n"), types.JobOperation{S3ComputeObjectChecksum: &types.S3ComputeObjectChecksumOperation{
		ChecksumAlgorithm: "CRC32", ChecksumType: "COMPOSITE",
	}}, types.JobStatusComplete)
	if len(rows) != 1 || !strings.Contains(rows[0][6], want) {
		t.Errorf("rows %q, want %s", rows, want)
	}

	// Without Object Lock, nothing happens and the job says why.
	j, _ := o.sums(t, run, plain.Bytes())
	if len(j.FailureReasons) != 0 {
		t.Errorf("reasons %+v", j.FailureReasons)
	}
	in := types.JobOperation{S3PutObjectLegalHold: &types.S3SetObjectLegalHoldOperation{LegalHold: &types.S3ObjectLockLegalHold{Status: "ON"}}}
	j, _ = run(plain.Bytes(), in, types.JobStatusFailed)
	if len(j.FailureReasons) != 1 || aws.ToString(j.FailureReasons[0].FailureCode) != "ObjectLockNotEnabled" {
		t.Errorf("reasons %+v", j.FailureReasons)
	}
	for _, key := range keys {
		if got := o.get(t, "plain", key); string(got) != "123456789" {
			t.Errorf("%q holds %q now", key, got)
		}
	}
}

// putParts uploads an object in two parts and returns the composite CRC32 in hex.
func (o *objects) putParts(t *testing.T, bucket, key string) (sum string) {
	t.Helper()
	up, err := o.sdk.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	var done s3types.CompletedMultipartUpload
	var sums []byte
	for n, body := range [][]byte{bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16), []byte("the end")} {
		number := aws.Int32(int32(n + 1))
		out, err := o.sdk.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: number, Body: bytes.NewReader(body),
		})
		if err != nil {
			t.Fatal(err)
		}
		done.Parts = append(done.Parts, s3types.CompletedPart{ETag: out.ETag, PartNumber: number})
		sum := crc32.NewIEEE()
		sum.Write(body)
		sums = sum.Sum(sums) // the highest byte first
	}
	if _, err := o.sdk.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &done,
	}); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%08X", crc32.ChecksumIEEE(sums))
}

// sums runs jobs for the checksums of objects that hold "123456789".
func (o *objects) sums(
	t *testing.T, run func([]byte, types.JobOperation, types.JobStatus) (*types.JobDescriptor, [][]string), manifest []byte,
) (j *types.JobDescriptor, rows [][]string) {
	t.Helper()
	for want, op := range map[string]types.S3ComputeObjectChecksumOperation{
		"AE8B14860A799888":                 {},
		"E3069283":                         {ChecksumAlgorithm: "CRC32C", ChecksumType: "FULL_OBJECT"},
		"EE4C6550":                         {ChecksumAlgorithm: "CRC32", ChecksumType: "COMPOSITE"},
		"25F9E794323B453885F5181F1B624D0B": {ChecksumAlgorithm: "MD5"},
	} {
		j, rows = run(manifest, types.JobOperation{S3ComputeObjectChecksum: &op}, types.JobStatusComplete)
		for _, r := range rows {
			var got struct{ ETag, Hex string }
			if err := json.Unmarshal([]byte(strings.Replace(r[6], "checksum_hex", "hex", 1)), &got); err != nil || got.Hex != want {
				t.Errorf("row %q, %v: want %s", r, err, want)
			}
		}
	}
	return j, rows
}
