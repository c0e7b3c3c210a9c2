package e2e

import (
	"bytes"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/google/go-cmp/cmp"
)

// TestGeneratorHeads filters by what listings do not tell.
func TestGeneratorHeads(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1)
	c := control(d.host())
	d.buckets(t, "data")
	const arn = "arn:aws:kms:us-east-1:123456789012:key/one"
	put := func(key string, set func(*s3.PutObjectInput)) {
		t.Helper()
		in := &s3.PutObjectInput{Bucket: aws.String("data"), Key: &key, Body: bytes.NewReader([]byte(key))}
		set(in)
		if _, err := d.sdk.PutObject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	put("plain", func(*s3.PutObjectInput) {})
	put("s3", func(in *s3.PutObjectInput) { in.ServerSideEncryption = s3types.ServerSideEncryptionAes256 })
	for key, id := range map[string]string{"kms/one": arn, "kms/two": "arn:aws:kms:us-east-1:123456789012:key/two"} {
		put(key, func(in *s3.PutObjectInput) {
			in.ServerSideEncryption, in.SSEKMSKeyId = s3types.ServerSideEncryptionAwsKms, &id
		})
	}
	encrypted := func(f types.ObjectEncryptionFilter) *types.JobManifestGeneratorFilter {
		return &types.JobManifestGeneratorFilter{MatchAnyObjectEncryption: []types.ObjectEncryptionFilter{f}}
	}
	for name, tt := range map[string]struct {
		filter *types.JobManifestGeneratorFilter
		want   []string
	}{
		"none":     {encrypted(&types.ObjectEncryptionFilterMemberNOTSSE{}), []string{"plain"}},
		"SSE-S3":   {encrypted(&types.ObjectEncryptionFilterMemberSSES3{}), []string{"s3"}},
		"SSE-KMS":  {encrypted(&types.ObjectEncryptionFilterMemberSSEKMS{}), []string{"kms/one", "kms/two"}},
		"one key":  {encrypted(&types.ObjectEncryptionFilterMemberSSEKMS{Value: types.SSEKMSFilter{KmsKeyArn: aws.String(arn)}}), []string{"kms/one"}},
		"not sent": {&types.JobManifestGeneratorFilter{ObjectReplicationStatuses: []types.ReplicationStatus{"NONE"}}, []string{"kms/one", "kms/two", "plain", "s3"}},
		"and a prefix": {
			&types.JobManifestGeneratorFilter{
				ObjectReplicationStatuses: []types.ReplicationStatus{"NONE", "FAILED"},
				KeyNameConstraint:         &types.KeyNameConstraint{MatchAnyPrefix: []string{"kms/"}},
			}, []string{"kms/one", "kms/two"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, rows := d.completed(t, c, generating("data", name, false, tt.filter), len(tt.want))
			got := keysOf(t, rows, "succeeded")
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			for _, k := range tt.want {
				if got := d.tagOf(t, "data", k, "by"); got != name {
					t.Errorf("%q is tagged %q, want %q", k, got, name)
				}
			}
		})
	}
	j := created(t, c, generating("data", "x", false, &types.JobManifestGeneratorFilter{ObjectReplicationStatuses: []types.ReplicationStatus{"COMPLETED"}}))
	d.refusedManifest(t, j, "ManifestGenerationNoMatches", noMatch)
}
