package e2e

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"stevedore/internal/devstore"
	"stevedore/internal/objectstore"
)

const (
	account = "123456789012"
	access  = "stevedore"
	secret  = "stevedore-secret"
	role    = "arn:aws:iam::" + account + ":role/any"
)

// binary is the path of the stevedore under test, set by TestMain.
var binary string

func TestMain(m *testing.M) {
	if code, ran := devstore.Main(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "stevedore-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "stevedore")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "stevedore/cmd/stevedore")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build stevedore:", err)
		return 1
	}
	return m.Run()
}

// objects is an S3 server that outlives the process under test.
type objects struct {
	endpoint string
	sdk      *s3.Client
	lean     *objectstore.Store
}

func startObjects(t *testing.T) *objects {
	t.Helper()
	store, err := devstore.Start(t.Context(), devstore.Config{Dir: t.TempDir(), AccessKey: access, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return clientsOf(t, store.Endpoint())
}

func clientsOf(t *testing.T, s3Endpoint string) *objects {
	t.Helper()
	provider := credentials.NewStaticCredentialsProvider(access, secret, "")
	lean, err := objectstore.New(objectstore.Config{Endpoint: s3Endpoint, Credentials: provider, MaxConcurrency: 32})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lean.Close)
	return &objects{
		endpoint: s3Endpoint,
		sdk: s3.New(s3.Options{
			Region: "us-east-1", Credentials: provider, BaseEndpoint: aws.String(s3Endpoint), UsePathStyle: true,
			RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		}),
		lean: lean,
	}
}

func (o *objects) buckets(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := o.sdk.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *objects) put(t *testing.T, bucket, key string, body []byte) (etag string) {
	t.Helper()
	out, err := o.sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.ETag)
}

func (o *objects) get(t *testing.T, bucket, key string) []byte {
	t.Helper()
	out, err := o.sdk.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("get %s/%s: %v", bucket, key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (o *objects) keys(t *testing.T, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	for key, err := range o.lean.List(t.Context(), bucket, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// each calls f for 0 to n-1, on as many goroutines as the store takes well.
func each(t *testing.T, n int, f func(i int, res *objectstore.Result) error) {
	t.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 32 {
		wg.Go(func() {
			var res objectstore.Result
			for !t.Failed() {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				if err := f(i, &res); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// seed puts n small objects and returns the CSV manifest over them.
func (o *objects) seed(t *testing.T, bucket string, n int) []byte {
	t.Helper()
	body := objectstore.NewBody([]byte("seed"))
	each(t, n, func(i int, res *objectstore.Result) error {
		o.lean.Do(t.Context(), &objectstore.Request{Method: http.MethodPut, Bucket: bucket, Key: []byte(key(i)), Body: body}, res)
		if !res.OK() {
			return fmt.Errorf("put %s: %d %s %w", key(i), res.Status, res.Code, res.Err)
		}
		return nil
	})
	var manifest bytes.Buffer
	for i := range n {
		fmt.Fprintf(&manifest, "%s,%s\n", bucket, key(i))
	}
	return manifest.Bytes()
}

func key(i int) string { return fmt.Sprintf("data/%06d.txt", i) }

// tagged checks that every seeded object carries exactly one tag.
func (o *objects) tagged(t *testing.T, bucket string, n int, name, value string) {
	t.Helper()
	want := "<Key>" + name + "</Key><Value>" + value + "</Value>"
	each(t, n, func(i int, res *objectstore.Result) error {
		o.lean.Do(t.Context(), &objectstore.Request{Method: http.MethodGet, Bucket: bucket, Key: []byte(key(i)), Query: "tagging="}, res)
		if !res.OK() || !bytes.Contains(res.Body, []byte(want)) || bytes.Count(res.Body, []byte("<Key>")) != 1 {
			return fmt.Errorf("tags of %s: %d %s", key(i), res.Status, res.Body)
		}
		return nil
	})
}

// process is a running "stevedore serve".
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  *os.File
}

// serve starts the binary on a data directory and address and waits until it is ready.
func serve(t *testing.T, o *objects, dir, address string, more ...string) *process {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{done: make(chan struct{}), log: log}
	p.cmd = exec.Command(binary, append([]string{"serve", "--listen", address, "--data-dir", filepath.Join(dir, "jobs")}, more...)...)
	p.cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL_S3="+o.endpoint,
		"AWS_ACCESS_KEY_ID="+access, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION=us-east-1")
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		text, err := os.ReadFile(log.Name())
		if err != nil || bytes.Contains(text, []byte("DATA RACE")) || bytes.Contains(text, []byte("panic:")) {
			t.Errorf("the server raced or panicked, or left no log: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", tail(text, 8000))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p
			}
		}
		select {
		case <-tick.C:
		case <-p.done:
			t.Fatalf("the server ended: %v", p.cmd.ProcessState)
		case <-ctx.Done():
			t.Fatal("the server does not get ready")
		}
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// kill ends the process as a power cut would end it.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
	p.log.Close()
}

// terminate asks the process to end and returns its exit code.
func (p *process) terminate(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// freeAddress is a loopback address that a process may listen on again and again.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

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
	switch j.Status {
	case types.JobStatusComplete, types.JobStatusFailed, types.JobStatusCancelled:
		return true
	}
	return false
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

// report reads a completion report, checks that it is whole - every MD5, nothing
// left over - and returns its rows.
func (o *objects) report(t *testing.T, bucket, prefix, id string) [][]string {
	t.Helper()
	root := prefix + "/job-" + id + "/"
	index := o.get(t, bucket, root+"manifest.json")
	if got, want := string(o.get(t, bucket, root+"manifest.json.md5")), sum(index)+"\n"; got != want {
		t.Errorf("manifest.json.md5: got %q, want %q", got, want)
	}
	if !bytes.Equal(o.get(t, bucket, root+"report.json"), index) {
		t.Error("report.json differs from manifest.json")
	}
	var m struct {
		Results []struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
	}
	if err := json.Unmarshal(index, &m); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{root + "manifest.json": true, root + "manifest.json.md5": true, root + "report.json": true}
	var rows [][]string
	for _, r := range m.Results {
		known[r.Key] = true
		body := o.get(t, r.Bucket, r.Key)
		if got := sum(body); got != r.MD5Checksum {
			t.Errorf("%s: got MD5 %s, want %s", r.Key, got, r.MD5Checksum)
		}
		part, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range part {
			if len(row) != 7 || row[3] != r.TaskExecutionStatus {
				t.Errorf("%s: unexpected row %q", r.Key, row)
			}
		}
		rows = append(rows, part...)
	}
	for _, k := range o.keys(t, bucket, root) {
		if !known[k] {
			t.Errorf("left behind: %s", k)
		}
	}
	return rows
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// exactlyOnce checks that the report has one row for each seeded object.
func exactlyOnce(t *testing.T, rows [][]string, n int, status string) {
	t.Helper()
	seen := map[string]int{}
	for _, row := range rows {
		seen[row[1]]++
		if row[3] != status {
			t.Errorf("row %q: want %s", strings.Join(row, ","), status)
		}
	}
	for i := range n {
		if seen[key(i)] != 1 {
			t.Errorf("%s is in the report %d times", key(i), seen[key(i)])
		}
	}
	if len(seen) != n || len(rows) != n {
		t.Errorf("the report has %d rows of %d keys, want %d", len(rows), len(seen), n)
	}
}
