package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/spf13/cobra"

	"stevedore/internal/devstore"
	"stevedore/internal/job"
)

// demoOptions is how a demonstration is asked for.
type demoOptions struct {
	objects   int
	operation string
	keep      bool
	logging   logFlags
}

func newDemo(w world) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run one real job on a real S3 server, and check its outcome",
		Long: `Starts Stevedore and a real S3 server on free ports in a temporary directory and
fills a bucket. Then it is an ordinary client with the AWS SDK: it writes a manifest,
creates a job, waits for its end, and reads everything back:

  every object really changed
  the counters of the job are those of the report
  the report has exactly one row for each task
  every MD5 sum in the report is right
  report.json is the same as manifest.json

It exits with 0 only if all of that holds.`,
		Example: `  stevedore demo
  stevedore demo --objects 100000 --operation copy
  stevedore demo --keep                 leave the server up to look around`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), w, o) },
	}
	fs := cmd.Flags()
	fs.IntVar(&o.objects, "objects", 10_000, "`N` objects to work on")
	fs.StringVar(&o.operation, "operation", "tag", "tag, untag or copy")
	fs.BoolVar(&o.keep, "keep", false, "leave the server up at the end, until interrupted")
	o.logging.add(cmd, "error")
	return cmd
}

func demo(ctx context.Context, w world, o demoOptions) (err error) {
	act, ok := actOf(o.operation)
	if !ok {
		return usagef("--operation %s: want tag, untag or copy", o.operation)
	}
	if o.objects < 1 {
		return usagef("--objects %d: want at least one", o.objects)
	}
	logger, err := o.logging.logger(w.stderr)
	if err != nil {
		return err
	}
	d, err := startDev(ctx, "", "127.0.0.1:0", devstore.Config{Listen: "127.0.0.1:0"}, nil, logger)
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := d.stop(ctx); err == nil {
			err = stopErr
		}
	}()

	watched, release := d.context(ctx)
	defer release()
	st := newStage(w, d.ready(), act, o.objects)
	st.keep = o.keep
	err = st.play(watched)
	if cause, ok := errors.AsType[*problem](context.Cause(watched)); ok {
		return cause // what follows from a dead server is beside the point
	}
	if o.keep && ctx.Err() == nil {
		fmt.Fprintf(w.stdout, "\n%s", devBlock(w, d, devOptions{}, seeded{}))
		err = cmp.Or(d.wait(ctx), err)
	}
	return err
}

// act is one way to play the demonstration.
type act struct {
	doing   string // label of the progress
	done    string // what is true of every object afterwards
	tagging *string
	buckets []string
	job     types.JobOperation
	// check returns an error unless the job has changed the nth object.
	check func(ctx context.Context, client *s3.Client, n int) error
}

const copiesBucket = "copies"

// actOf returns the act for an operation.
func actOf(operation string) (act, bool) {
	switch operation {
	case "tag":
		return act{
			doing: "tagging", done: "every object has the new tag",
			job: types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{
				TagSet: []types.S3Tag{{Key: new("tier"), Value: new("cold")}},
			}},
			check: func(ctx context.Context, client *s3.Client, n int) error {
				return checkTags(ctx, client, n, "tier=cold")
			},
		}, true
	case "untag":
		return act{
			doing: "untagging", done: "no object has a tag any more", tagging: new("tier=hot&keep=no"),
			job:   types.JobOperation{S3DeleteObjectTagging: &types.S3DeleteObjectTaggingOperation{}},
			check: func(ctx context.Context, client *s3.Client, n int) error { return checkTags(ctx, client, n) },
		}, true
	case "copy":
		return act{
			doing: "copying", done: "every object has a copy with the same bytes", buckets: []string{copiesBucket},
			job: types.JobOperation{S3PutObjectCopy: &types.S3CopyObjectOperation{
				TargetResource: new("arn:aws:s3:::" + copiesBucket),
			}},
			check: checkCopy,
		}, true
	}
	return act{}, false
}

// stage is where the demonstration happens: an ordinary client of two servers.
type stage struct {
	w       world
	ready   ready
	act     act
	objects int
	keep    bool // the report can be looked at afterwards
	meter   *meter
	ok, bad string
}

func newStage(w world, r ready, a act, objects int) *stage {
	st := &stage{w: w, ready: r, act: a, objects: objects, meter: newMeter(w.stdout, w.getenv), ok: "✓", bad: "✗"}
	st.meter.every = 2 * time.Second
	if st.meter.ascii {
		st.ok, st.bad = "ok", "FAILED"
	}
	return st
}

// play runs the demonstration.
func (st *stage) play(ctx context.Context) error {
	defer st.meter.clear()
	objects, closeS3 := newS3(st.ready)
	defer closeS3()
	jobs, closeJobs, err := newS3Control(st.ready)
	if err != nil {
		return err
	}
	defer closeJobs()

	start := time.Now()
	if err := createBuckets(ctx, objects, append(st.act.buckets, demoBucket, manifestsBucket, reportsBucket)...); err != nil {
		return err
	}
	if err := seed(ctx, objects, st.objects, st.act.tagging, st.progress("seeding", "objects")); err != nil {
		return err
	}
	etag, err := putManifest(ctx, objects, st.objects)
	if err != nil {
		return err
	}
	st.sayf("%s objects in s3://%s/data/, listed in s3://%s/%s   %s",
		thousands(int64(st.objects)), demoBucket, manifestsBucket, manifestKey, since(start))

	id, err := st.create(ctx, jobs, etag)
	if err != nil {
		return err
	}
	st.sayf("job %s created", id)
	start = time.Now()
	ended, took, err := st.await(ctx, jobs, id)
	if err != nil {
		return err
	}
	if ended.Status != types.JobStatusComplete {
		p := &problem{what: fmt.Sprintf("the job ended as %s", ended.Status), code: exitFailed}
		for _, r := range ended.FailureReasons {
			p.why += value(r.FailureCode) + ": " + value(r.FailureReason) + "\n"
		}
		return p
	}
	st.sayf("the job is Complete   %s", since(start))

	start = time.Now()
	audit := st.audit(ctx, objects, ended)
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, c := range audit.checks {
		if c.err == nil {
			st.sayf("%s", c.what)
		} else {
			st.meter.say(fmt.Sprintf("%s %s: %v", st.bad, c.what, c.err))
		}
	}
	st.meter.say(fmt.Sprintf("  checked in %s", since(start)))

	succeeded := ended.ProgressSummary.NumberOfTasksSucceeded
	fmt.Fprintf(st.w.stdout, "\n%s of %s succeeded, %s tasks per second (%s)\nreport  s3://%s/%s\n",
		thousands(value(succeeded)), thousands(int64(st.objects)), thousands(perSecond(int64(st.objects), took)),
		took.Round(10*time.Millisecond), reportsBucket, reportKey(id, "manifest.json"))
	if !st.keep {
		fmt.Fprintln(st.w.stdout, "        gone with this demo; --keep leaves it to be looked at")
	}
	if n := audit.failed(); n > 0 {
		return &problem{what: fmt.Sprintf("%d of %d checks did not hold", n, len(audit.checks)), code: exitFailed}
	}
	return nil
}

func (st *stage) sayf(format string, args ...any) {
	st.meter.say(st.ok + " " + fmt.Sprintf(format, args...))
}

// progress returns what tells the meter how many of all objects are done.
func (st *stage) progress(label, unit string) func(done int) {
	return func(done int) {
		st.meter.show(sample{label: label, unit: unit, done: int64(done), total: int64(st.objects)})
	}
}

const reportPrefix = "demo"

// reportKey is the key of a file of the job's report.
func reportKey(id, name string) string { return reportPrefix + "/job-" + id + "/" + name }

// create creates the job.
func (st *stage) create(ctx context.Context, jobs *s3control.Client, etag string) (id string, err error) {
	out, err := jobs.CreateJob(ctx, &s3control.CreateJobInput{
		AccountId:            &st.ready.Account,
		ConfirmationRequired: new(false),
		Description:          new("stevedore demo"),
		Operation:            &st.act.job,
		Priority:             new(int32(10)),
		RoleArn:              new(roleARN(st.ready.Account)),
		Manifest: &types.JobManifest{
			Spec: &types.JobManifestSpec{
				Format: types.JobManifestFormatS3BatchOperationsCsv20180820,
				Fields: []types.JobManifestFieldName{types.JobManifestFieldNameBucket, types.JobManifestFieldNameKey},
			},
			Location: &types.JobManifestLocation{
				ObjectArn: new("arn:aws:s3:::" + manifestsBucket + "/" + manifestKey),
				ETag:      &etag,
			},
		},
		Report: &types.JobReport{
			Enabled:     true,
			Bucket:      new("arn:aws:s3:::" + reportsBucket),
			Prefix:      new(reportPrefix),
			Format:      types.JobReportFormatReportCsv20180820,
			ReportScope: types.JobReportScopeAllTasks,
		},
	})
	if err != nil {
		return "", fmt.Errorf("create the job: %w", err)
	}
	return value(out.JobId), nil
}

// await shows the job's progress until it has ended. took is how long its tasks
// ran, as far as a client can see it.
func (st *stage) await(ctx context.Context, jobs *s3control.Client, id string) (ended *types.JobDescriptor, took time.Duration, err error) {
	const pollEvery = 100 * time.Millisecond
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	begin, end := time.Now(), time.Time{}
	active := false
	for {
		out, err := jobs.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: &st.ready.Account, JobId: &id})
		if err != nil {
			return nil, 0, fmt.Errorf("describe the job: %w", err)
		}
		j, now := out.Job, time.Now()
		if j == nil || j.ProgressSummary == nil {
			return nil, 0, fmt.Errorf("describe the job: the answer has no progress")
		}
		total, failed := value(j.ProgressSummary.TotalNumberOfTasks), value(j.ProgressSummary.NumberOfTasksFailed)
		done := value(j.ProgressSummary.NumberOfTasksSucceeded) + failed
		if j.Status == types.JobStatusActive && !active {
			active, begin = true, now
		}
		ended := job.Status(j.Status).Terminal()
		if j.Status == types.JobStatusActive || ended && total > 0 {
			st.meter.show(sample{label: st.act.doing, unit: "objects", done: done, total: total, failed: failed})
		}
		if end.IsZero() && total > 0 && done == total {
			end = now
		}
		if ended {
			if end.IsZero() {
				end = now
			}
			return j, end.Sub(begin), nil
		}
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// newS3Control returns a client of the job API and what closes its connections.
func newS3Control(r ready) (client *s3control.Client, done func(), err error) {
	u, err := url.Parse(r.API)
	if err != nil {
		return nil, nil, fmt.Errorf("endpoint of the API: %w", err)
	}
	transport := &http.Transport{}
	return s3control.New(s3control.Options{
		EndpointResolverV2: fixedEndpoint{*u},
		Region:             r.Region,
		Credentials:        credentials.NewStaticCredentialsProvider(r.AccessKey, r.SecretKey, ""),
		HTTPClient:         &http.Client{Transport: transport, Timeout: time.Minute},
	}), transport.CloseIdleConnections, nil
}

// fixedEndpoint keeps the SDK from putting the account before the host name,
// which no name server would know.
type fixedEndpoint struct{ url url.URL }

// ResolveEndpoint returns the one endpoint.
func (e fixedEndpoint) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	return smithyendpoints.Endpoint{URI: e.url}, nil
}

// perSecond is how many of n were done in one second of d.
func perSecond(n int64, d time.Duration) int64 {
	return int64(float64(n) / max(d, time.Millisecond).Seconds())
}

// since is how long ago start is, for people.
func since(start time.Time) string { return time.Since(start).Round(10 * time.Millisecond).String() }

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}
