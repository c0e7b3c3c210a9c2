//go:build stores

package stores

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"stevedore/internal/objectstore"
)

// world is one store and a stevedore that works on it.
type world struct {
	server
	version string
	s3      *s3.Client
	lean    *objectstore.Store // for keys that the SDK does not carry as they are
	control *s3control.Client
	owner   string            // of the buckets, as ACLs name it
	without map[string]string // buckets that could not be made, and why
}

// buckets are those of the trials.
var buckets = []string{
	"manifests", "reports", "plain", "versioned", "locked", "target", "lockedtarget", "odd", "oddtarget", "replicated", "configured", "replica",
}

// roles is the configuration of the role: a replication for stores that keep none.
const roles = `
roles:
  - arn: ` + role + `
    replication:
      configured:
        rules: [{id: all, priority: 1, status: Enabled, destination: {bucket: "arn:aws:s3:::replica"}}]
`

// newWorld starts a store and a stevedore, or ends the test.
func newWorld(t *testing.T, s server) *world {
	t.Helper()
	endpoint, version, p := s.start(t, t.TempDir())
	provider := credentials.NewStaticCredentialsProvider(access, secret, "")
	lean, err := objectstore.New(objectstore.Config{Endpoint: endpoint, Credentials: provider})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lean.Close)
	w := &world{server: s, version: version, lean: lean, without: map[string]string{}}
	w.s3 = s3.New(s3.Options{
		Region: "us-east-1", Credentials: provider, BaseEndpoint: &endpoint, UsePathStyle: true,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	p.await(t, s.name, func(ctx context.Context) bool {
		out, err := w.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
		if err == nil && out.Owner != nil {
			w.owner = aws.ToString(out.Owner.ID)
		}
		return err == nil
	})
	for _, name := range buckets {
		if err := w.makeBucket(t.Context(), name); err != nil {
			w.without[name] = reason(err)
			t.Logf("bucket %s: %v", name, err)
		}
	}

	address, config := freeAddress(t), filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, []byte(roles), 0o600); err != nil {
		t.Fatal(err)
	}
	p = startProcess(t, cleanEnv("AWS_ENDPOINT_URL_S3="+endpoint, "AWS_ACCESS_KEY_ID="+access, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION=us-east-1"),
		binary, "serve", "--config", config, "--listen", address, "--data-dir", filepath.Join(t.TempDir(), "jobs"))
	p.await(t, "stevedore", func(ctx context.Context) bool { return answers(ctx, "http://"+address+"/readyz", http.StatusOK) })
	w.control = s3control.New(s3control.Options{Region: "us-east-1", Credentials: provider, EndpointResolverV2: resolver("http://" + address)})
	return w
}

type resolver string

func (r resolver) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	u, err := url.Parse(string(r))
	return smithyendpoints.Endpoint{URI: *u}, err
}

func (w *world) makeBucket(ctx context.Context, name string) error {
	_, err := w.s3.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: &name, ObjectOwnership: s3types.ObjectOwnershipObjectWriter, ObjectLockEnabledForBucket: aws.Bool(strings.HasPrefix(name, "locked")),
	})
	if err != nil || !slices.Contains([]string{"versioned", "replicated", "configured", "replica"}, name) {
		return err
	}
	_, err = w.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	return err
}

// object is an object of a trial, or one version of it.
type object struct {
	bucket, key string
	version     string // what the manifest names; empty: none
	etag        string
	body        []byte
}

func (o *object) versionID() *string {
	if o.version == "" {
		return nil
	}
	return &o.version
}

// put makes an object with metadata and a tag, as the trials expect them.
func (w *world) put(ctx context.Context, bucket, key, body string, change func(*s3.PutObjectInput)) (object, error) {
	in := &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(body), ContentType: aws.String("text/x-source"),
		Metadata: map[string]string{"origin": "source"}, Tagging: aws.String("from=source"),
	}
	if change != nil {
		change(in)
	}
	out, err := w.s3.PutObject(ctx, in)
	if err != nil {
		return object{}, err
	}
	return object{bucket, key, aws.ToString(out.VersionId), aws.ToString(out.ETag), []byte(body)}, nil
}

func (w *world) get(ctx context.Context, o object) ([]byte, error) {
	out, err := w.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID()})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func (w *world) head(ctx context.Context, o object) (*s3.HeadObjectOutput, error) {
	return w.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID(), ChecksumMode: s3types.ChecksumModeEnabled})
}

func (w *world) tags(ctx context.Context, o object) (map[string]string, error) {
	out, err := w.s3.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID()})
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, t := range out.TagSet {
		tags[*t.Key] = aws.ToString(t.Value)
	}
	return tags, nil
}

// row is how one task ended.
type row struct{ status, http, code, message string }

// end is how a job ended.
type end struct {
	status    types.JobStatus
	code, why string         // of its failure
	tasks     int64          // that were counted, whether they succeeded or failed
	rows      map[string]row // by the object as the manifest names it
}

// name is an object as a row of the manifest names it.
func name(o object) string { return url.QueryEscape(o.key) + "," + o.version }

// run runs one job over objects. Versions are named if any object has one.
func (w *world) run(ctx context.Context, op types.JobOperation, objects []object, tags ...types.S3Tag) (end, error) {
	fields := []types.JobManifestFieldName{"Bucket", "Key"}
	versions := slices.ContainsFunc(objects, func(o object) bool { return o.version != "" })
	if versions {
		fields = append(fields, "VersionId")
	}
	var rows bytes.Buffer
	for _, o := range objects {
		line := o.bucket + "," + name(o)
		if !versions {
			line = strings.TrimSuffix(line, ",")
		}
		fmt.Fprintln(&rows, line)
	}
	manifest, err := w.put(ctx, "manifests", "manifest.csv", rows.String(), func(in *s3.PutObjectInput) { in.Tagging, in.Metadata = nil, nil })
	if err != nil {
		return end{}, err
	}
	created, err := w.control.CreateJob(ctx, &s3control.CreateJobInput{
		AccountId: aws.String(account), RoleArn: aws.String(role), Priority: aws.Int32(1), ConfirmationRequired: aws.Bool(false), Operation: &op, Tags: tags,
		Manifest: &types.JobManifest{
			Spec:     &types.JobManifestSpec{Format: types.JobManifestFormatS3BatchOperationsCsv20180820, Fields: fields},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::manifests/manifest.csv"), ETag: &manifest.etag},
		},
		Report: &types.JobReport{
			Enabled: true, Bucket: aws.String("arn:aws:s3:::reports"), Prefix: aws.String("r"),
			Format: types.JobReportFormatReportCsv20180820, ReportScope: types.JobReportScopeAllTasks,
		},
	})
	if err != nil {
		return end{}, err
	}
	j, err := w.wait(ctx, *created.JobId)
	if err != nil {
		return end{}, err
	}
	e := end{status: j.Status, rows: map[string]row{}}
	if p := j.ProgressSummary; p != nil {
		e.tasks = aws.ToInt64(p.NumberOfTasksSucceeded) + aws.ToInt64(p.NumberOfTasksFailed)
	}
	for _, f := range j.FailureReasons {
		e.code, e.why = aws.ToString(f.FailureCode), aws.ToString(f.FailureReason)
	}
	if e.status == types.JobStatusComplete {
		err = w.report(ctx, *created.JobId, e.rows)
	}
	if err == nil && e.status == types.JobStatusComplete && len(e.rows) != len(objects) {
		err = fmt.Errorf("the report has %d rows, want %d", len(e.rows), len(objects))
	}
	return e, err
}

// wait polls a job until it has ended, or has one of the other statuses.
func (w *world) wait(ctx context.Context, id string, other ...types.JobStatus) (*types.JobDescriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := w.control.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: aws.String(account), JobId: &id})
		if err != nil {
			return nil, err
		}
		if slices.Contains(append(other, types.JobStatusComplete, types.JobStatusFailed, types.JobStatusCancelled), out.Job.Status) {
			return out.Job, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the job is still %s", out.Job.Status)
		}
	}
}

// report reads the rows of a completion report.
func (w *world) report(ctx context.Context, id string, rows map[string]row) error {
	index, err := w.get(ctx, object{bucket: "reports", key: "r/job-" + id + "/manifest.json"})
	if err != nil {
		return err
	}
	var m struct{ Results []struct{ Key string } }
	if err := json.Unmarshal(index, &m); err != nil {
		return err
	}
	for _, r := range m.Results {
		body, err := w.get(ctx, object{bucket: "reports", key: r.Key})
		if err != nil {
			return err
		}
		lines, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
		if err != nil {
			return err
		}
		for _, l := range lines {
			if len(l) != 7 {
				return fmt.Errorf("row %q has %d cells", l, len(l))
			}
			rows[l[1]+","+l[2]] = row{l[3], l[4], l[5], l[6]}
		}
	}
	return nil
}

// reason is an error of the SDK in short: status and code.
func reason(err error) string {
	var response interface{ HTTPStatusCode() int }
	var api interface{ ErrorCode() string }
	switch {
	case errors.As(err, &response) && errors.As(err, &api):
		return fmt.Sprint(response.HTTPStatusCode(), " ", api.ErrorCode())
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return err.Error()
}
