// Command taskcost measures what one task costs the whole process: CPU time per
// task, tasks per second and the peak of resident memory of a real
// "stevedore serve" that works a job, from CreateJob to the report of every task,
// against a store which costs next to nothing and runs as a process of its own.
//
//	go run ./internal/e2e/taskcost -tasks 200000 -operation tag -runs 5
//
// With the binary of mc, MinIO's client, it has that do the same to as many objects by turns:
//
//	STEVEDORE_MC=./mc go run ./internal/e2e/taskcost -tasks 50000 -operation copy -runs 5
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"stevedore/internal/e2e/nullstore"
)

func main() {
	nullstore.MayServe()
	var m measurement
	flag.StringVar(&m.operation, "operation", "tag", "tag, untag, copy, or plan to stop once the manifest is planned")
	flag.IntVar(&m.tasks, "tasks", 200_000, "rows of the manifest")
	flag.StringVar(&m.scope, "report", "AllTasks", "AllTasks or FailedTasksOnly")
	flag.IntVar(&m.runs, "runs", 5, "runs; the median is printed last")
	flag.StringVar(&m.mc, "mc", os.Getenv("STEVEDORE_MC"), "the binary of mc, to compare with; it can tag and copy")
	flag.Parse()
	if err := m.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "taskcost:", err)
		os.Exit(1)
	}
}

type measurement struct {
	operation, scope, mc string
	tasks, runs          int

	dir, binary, manifest string
}

func (m *measurement) run(ctx context.Context) (err error) {
	if m.dir, err = os.MkdirTemp("", "taskcost"); err != nil {
		return err
	}
	defer os.RemoveAll(m.dir)
	m.binary = filepath.Join(m.dir, "stevedore")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", m.binary, "stevedore/cmd/stevedore").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	if err := m.writeManifest(); err != nil {
		return err
	}
	var costs, others []float64
	for i := range m.runs {
		cost, err := m.once(ctx, i)
		if err != nil {
			return err
		}
		costs = append(costs, cost)
		if m.mc != "" {
			if cost, err = m.onceOther(ctx, i); err != nil {
				return fmt.Errorf("mc: %w", err)
			}
			others = append(others, cost)
		}
	}
	ours := median(costs)
	fmt.Printf("median of %d runs: %.1f us of CPU per task (%s, %d tasks)\n", len(costs), ours, m.operation, m.tasks)
	if m.mc != "" {
		fmt.Printf("median of %d runs: mc: %.1f us of CPU per object, %.1f times ours\n", len(others), median(others), median(others)/ours)
	}
	return nil
}

func median(costs []float64) float64 {
	costs = slices.Sorted(slices.Values(costs))
	return costs[len(costs)/2]
}

func (m *measurement) writeManifest() error {
	m.manifest = filepath.Join(m.dir, "manifest.csv")
	f, err := os.Create(m.manifest)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range m.tasks {
		fmt.Fprintf(w, "bucket,%s\n", nullstore.Key(i))
	}
	return errors.Join(w.Flush(), f.Close())
}

// once runs one job in a fresh process on a fresh data directory.
func (m *measurement) once(ctx context.Context, i int) (cost float64, err error) {
	apiPort, err := freePort(ctx)
	if err != nil {
		return 0, err
	}
	store, err := nullstore.Start(ctx, nullstore.Config{Manifest: m.manifest})
	if err != nil {
		return 0, err
	}
	defer store.Stop()

	serve := exec.CommandContext(ctx, m.binary, "serve", "--listen", "127.0.0.1:"+apiPort, "--data-dir", filepath.Join(m.dir, strconv.Itoa(i)))
	serve.Env = append(os.Environ(), "AWS_ENDPOINT_URL_S3=http://"+store.Address,
		"AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1")
	log, err := os.Create(filepath.Join(m.dir, "serve.log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	serve.Stderr = log
	if err := serve.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, serve.Wait())
	}()
	if err := ready(ctx, "http://127.0.0.1:"+apiPort+"/readyz"); err != nil {
		text, _ := os.ReadFile(log.Name())
		return 0, fmt.Errorf("%w\n%s", err, text)
	}

	before, _, err := usage(serve.Process.Pid)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	status, err := m.job(ctx, "http://127.0.0.1:"+apiPort)
	if err != nil {
		return 0, err
	}
	took := time.Since(begun)
	after, peak, err := usage(serve.Process.Pid)
	if err != nil {
		return 0, err
	}
	cost = (after - before).Seconds() * 1e6 / float64(m.tasks)
	fmt.Printf("run %d: %s, %.1f us of CPU per task, %.0f tasks/s, peak resident %s\n", i+1, status, cost, float64(m.tasks)/took.Seconds(), peak)
	return cost, nil
}

type endpoint string

func (e endpoint) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	u, err := url.Parse(string(e))
	return smithyendpoints.Endpoint{URI: *u}, err
}

// job creates the job and waits for its end.
func (m *measurement) job(ctx context.Context, api string) (types.JobStatus, error) {
	client := s3control.New(s3control.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""), EndpointResolverV2: endpoint(api),
	})
	operation := map[string]*types.JobOperation{
		"tag":   {S3PutObjectTagging: &types.S3SetObjectTaggingOperation{TagSet: []types.S3Tag{{Key: aws.String("tier"), Value: aws.String("cold")}}}},
		"untag": {S3DeleteObjectTagging: &types.S3DeleteObjectTaggingOperation{}},
		"copy":  {S3PutObjectCopy: &types.S3CopyObjectOperation{TargetResource: aws.String("arn:aws:s3:::target")}},
	}
	operation["plan"] = operation["tag"]
	if operation[m.operation] == nil {
		return "", fmt.Errorf("unknown operation %q", m.operation)
	}
	account := aws.String("123456789012")
	created, err := client.CreateJob(ctx, &s3control.CreateJobInput{
		AccountId: account, Priority: aws.Int32(1), RoleArn: aws.String("arn:aws:iam::123456789012:role/any"),
		ConfirmationRequired: aws.Bool(m.operation == "plan"), Operation: operation[m.operation],
		Manifest: &types.JobManifest{
			Spec:     &types.JobManifestSpec{Format: types.JobManifestFormatS3BatchOperationsCsv20180820, Fields: []types.JobManifestFieldName{"Bucket", "Key"}},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::bucket/manifest.csv"), ETag: aws.String(nullstore.ETag)},
		},
		Report: &types.JobReport{
			Enabled: true, Bucket: aws.String("arn:aws:s3:::bucket"), Prefix: aws.String("r"),
			Format: types.JobReportFormatReportCsv20180820, ReportScope: types.JobReportScope(m.scope),
		},
	})
	if err != nil {
		return "", err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		out, err := client.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: account, JobId: created.JobId})
		if err != nil {
			return "", err
		}
		switch s := out.Job.Status; s {
		default: // not there yet
		case types.JobStatusComplete, types.JobStatusSuspended:
			if n := aws.ToInt64(out.Job.ProgressSummary.TotalNumberOfTasks); n != int64(m.tasks) {
				return s, fmt.Errorf("the job has %d tasks, want %d", n, m.tasks)
			}
			return s, nil
		case types.JobStatusFailed, types.JobStatusCancelled:
			return s, fmt.Errorf("job ended %s: %s", s, aws.ToString(out.Job.FailureReasons[0].FailureReason))
		}
	}
	return "", nil
}

// onceOther has mc do the operation to as many objects, all those of a bucket.
func (m *measurement) onceOther(ctx context.Context, i int) (cost float64, err error) {
	store, err := nullstore.Start(ctx, nullstore.Config{Keys: m.tasks})
	if err != nil {
		return 0, err
	}
	defer store.Stop()
	var args []string
	var counts string
	switch m.operation {
	case "tag":
		args, counts = []string{"tag", "set", "--recursive", "null/bucket/" + nullstore.Prefix, "tier=cold"}, "PUT tags"
	case "untag":
		args, counts = []string{"tag", "remove", "--recursive", "null/bucket/" + nullstore.Prefix}, "DELETE tags"
	case "copy":
		args, counts = []string{"cp", "--recursive", "null/bucket/" + nullstore.Prefix, "null/target/"}, "copy"
	default:
		return 0, fmt.Errorf("it cannot %s", m.operation)
	}
	command := exec.CommandContext(ctx, m.mc, append([]string{"--quiet"}, args...)...)
	command.Env = append(os.Environ(), "HOME="+m.dir, "MC_CONFIG_DIR="+filepath.Join(m.dir, "mc"), "MC_HOST_null=http://key:secret12@"+store.Address)
	var problems strings.Builder
	command.Stderr = &problems
	if err := command.Run(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, problems.String())
	}
	requests, err := store.Requests(ctx)
	if err != nil {
		return 0, err
	}
	if requests[counts] != m.tasks {
		return 0, fmt.Errorf("it sent %v, want %d of %s", requests, m.tasks, counts)
	}
	cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	cost = cpu.Seconds() * 1e6 / float64(m.tasks)
	fmt.Printf("run %d: mc: %.1f us of CPU per object, requests %v\n", i+1, cost, requests)
	return cost, nil
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the server does not get ready")
		}
	}
}

// usage reads the CPU time a process has used and its peak of resident memory.
// Linux only.
func usage(pid int) (cpu time.Duration, peak string, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
	for _, f := range fields[11:13] {  // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, "", err
		}
		cpu += time.Duration(n) * tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, "", err
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			peak = strings.TrimSpace(v)
		}
	}
	return cpu, peak, nil
}
