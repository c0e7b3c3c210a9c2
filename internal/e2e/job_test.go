package e2e

import (
	"context"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
)

type endpoint string

func (e endpoint) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	u, err := url.Parse(string(e))
	return smithyendpoints.Endpoint{URI: *u}, err
}

func control(address string) *s3control.Client {
	return s3control.New(s3control.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
		EndpointResolverV2: endpoint("http://" + address),
	})
}

func describe(t *testing.T, c *s3control.Client, id string) *types.JobDescriptor {
	t.Helper()
	out, err := c.DescribeJob(t.Context(), &s3control.DescribeJobInput{AccountId: aws.String(account), JobId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return out.Job
}

// until polls a job, as clients have to, until ok is content with it.
func until(t *testing.T, c *s3control.Client, id string, ok func(*types.JobDescriptor) bool) *types.JobDescriptor {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Minute)
	for {
		j := describe(t, c, id)
		if ok(j) {
			return j
		}
		if ended(j) {
			t.Fatalf("the job ended %s: %+v", j.Status, j.FailureReasons)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the job is still %s: %+v", j.Status, j.ProgressSummary)
		}
	}
}

func ended(j *types.JobDescriptor) bool {
	return slices.Contains([]types.JobStatus{types.JobStatusComplete, types.JobStatusFailed, types.JobStatusCancelled}, j.Status)
}

// tagJob is a job that tags everything in a manifest and reports every task.
func tagJob(etag, name, value string) *s3control.CreateJobInput {
	return &s3control.CreateJobInput{
		AccountId: aws.String(account), RoleArn: aws.String(role), Priority: aws.Int32(1),
		ConfirmationRequired: aws.Bool(false),
		Operation: &types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{
			TagSet: []types.S3Tag{{Key: &name, Value: &value}},
		}},
		Manifest: &types.JobManifest{
			Spec:     &types.JobManifestSpec{Format: types.JobManifestFormatS3BatchOperationsCsv20180820, Fields: []types.JobManifestFieldName{"Bucket", "Key"}},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::manifests/manifest.csv"), ETag: &etag},
		},
		Report: &types.JobReport{
			Enabled: true, Bucket: aws.String("arn:aws:s3:::reports"), Prefix: aws.String("r"),
			Format: types.JobReportFormatReportCsv20180820, ReportScope: types.JobReportScopeAllTasks,
		},
	}
}

func listAll() *s3control.ListJobsInput {
	return &s3control.ListJobsInput{AccountId: aws.String(account)}
}
