package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"stevedore/internal/devstore"
	"stevedore/internal/service"
)

func TestMain(m *testing.M) {
	if code, ran := devstore.Main(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const account = "123456789012"

// world is a service with a development store, and clients of both.
type world struct {
	config  service.Config
	service *service.Service
	s3      *s3.Client
	control *s3control.Client
}

type fixed struct{ url url.URL }

func (f fixed) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	return smithyendpoints.Endpoint{URI: f.url}, nil
}

// start starts a service over a development store.
func start(t *testing.T) *world {
	t.Helper()
	store, err := devstore.Start(t.Context(), devstore.Config{Dir: t.TempDir(), AccessKey: "key", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return startOver(t, store.Endpoint())
}

// startOver starts a service over the store at endpoint.
func startOver(t *testing.T, endpoint string) *world {
	t.Helper()
	w := &world{config: service.Config{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), SegmentInterval: 20 * time.Millisecond,
		Store:  service.Store{Endpoint: endpoint, Region: "us-east-1", AccessKey: "key", SecretKey: "secret"},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}}
	provider := credentials.NewStaticCredentialsProvider("key", "secret", "")
	w.s3 = s3.New(s3.Options{
		Region: "us-east-1", Credentials: provider, BaseEndpoint: aws.String(endpoint), UsePathStyle: true,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	})
	w.restart(t)
	t.Cleanup(func() { w.service.Stop(context.Background()) })
	return w
}

func (w *world) restart(t *testing.T) {
	t.Helper()
	if w.service != nil {
		if err := w.service.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := service.Start(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.service = s
	u, err := url.Parse(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	w.control = s3control.New(s3control.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
		EndpointResolverV2: fixed{*u},
	})
}

func (w *world) bucket(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := w.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) put(t *testing.T, bucket, key, body string) (etag string) {
	t.Helper()
	out, err := w.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.ETag)
}

func (w *world) get(t *testing.T, bucket, key string) string {
	t.Helper()
	out, err := w.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(out.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// wait polls a job until it is in one of the statuses, as clients have to.
func (w *world) wait(t *testing.T, id string, want ...types.JobStatus) *types.JobDescriptor {
	t.Helper()
	for {
		out, err := w.control.DescribeJob(t.Context(), &s3control.DescribeJobInput{AccountId: aws.String(account), JobId: &id})
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(want, out.Job.Status) {
			return out.Job
		}
		switch out.Job.Status {
		case types.JobStatusComplete, types.JobStatusFailed, types.JobStatusCancelled:
			t.Fatalf("job ended %s: %+v", out.Job.Status, out.Job.FailureReasons)
		default:
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tagging is a job that tags the objects of manifest m.csv.
func (w *world) tagging(t *testing.T, etag string) string {
	t.Helper()
	out, err := w.control.CreateJob(t.Context(), &s3control.CreateJobInput{
		AccountId: aws.String(account), Priority: aws.Int32(10), RoleArn: aws.String("arn:aws:iam::" + account + ":role/batch"),
		ConfirmationRequired: aws.Bool(false), ClientRequestToken: aws.String("t"),
		Operation: &types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{TagSet: []types.S3Tag{{Key: aws.String("tier"), Value: aws.String("cold")}}}},
		Manifest: &types.JobManifest{
			Spec:     &types.JobManifestSpec{Format: types.JobManifestFormatS3BatchOperationsCsv20180820, Fields: []types.JobManifestFieldName{"Bucket", "Key"}},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::manifests/m.csv"), ETag: &etag},
		},
		Report: &types.JobReport{Enabled: true, Bucket: aws.String("arn:aws:s3:::reports"), Format: types.JobReportFormatReportCsv20180820, ReportScope: types.JobReportScopeAllTasks, Prefix: aws.String("r")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.JobId
}

func TestTaggingJob(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.bucket(t, "data", "manifests", "reports")
	const n = 50
	var manifest strings.Builder
	for i := range n {
		key := fmt.Sprintf("dir/object %03d", i)
		w.put(t, "data", key, "body")
		fmt.Fprintf(&manifest, "data,%s\n", url.PathEscape(key))
	}
	manifest.WriteString("data,missing\n")
	id := w.tagging(t, w.put(t, "manifests", "m.csv", manifest.String()))
	j := w.wait(t, id, types.JobStatusComplete)
	if p := j.ProgressSummary; *p.TotalNumberOfTasks != n+1 || *p.NumberOfTasksSucceeded != n || *p.NumberOfTasksFailed != 1 {
		t.Errorf("progress: %+v", p)
	}
	tags, err := w.s3.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String("data"), Key: aws.String("dir/object 007")})
	if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Value != "cold" {
		t.Errorf("tags: %+v, %v", tags, err)
	}
	w.report(t, id, n, 1)
}

// report checks that the report of a job lists so many tasks, and that nothing
// else lies in its folder.
func (w *world) report(t *testing.T, id string, succeeded, failed int) {
	t.Helper()
	folder := "r/job-" + id + "/"
	var index struct {
		Results []struct{ TaskExecutionStatus, Key string }
	}
	if err := json.Unmarshal([]byte(w.get(t, "reports", folder+"manifest.json")), &index); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	want := map[string]bool{folder + "manifest.json": true, folder + "manifest.json.md5": true, folder + "report.json": true}
	for _, r := range index.Results {
		want[r.Key] = true
		got[r.TaskExecutionStatus] += strings.Count(w.get(t, "reports", r.Key), "\n")
	}
	if got["succeeded"] != succeeded || got["failed"] != failed {
		t.Errorf("the report lists %v, want %d succeeded and %d failed", got, succeeded, failed)
	}
	list, err := w.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("reports")})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Contents {
		if !want[*o.Key] {
			t.Errorf("left in the report bucket: %s", *o.Key)
		}
	}
	if len(list.Contents) != len(want) {
		t.Errorf("%d objects in the report bucket, want %d", len(list.Contents), len(want))
	}
}
