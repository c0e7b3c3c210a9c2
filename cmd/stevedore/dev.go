package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stevedore/internal/devstore"
	"stevedore/internal/lambda"
)

// devOptions is how a development server is asked for.
type devOptions struct {
	listen, s3Listen string
	data             string
	readyFile        string
	seed             int
	copyLimit        int64
	restoreAfter     time.Duration
	functions        []string // NAME=FILE
	logging          logFlags
}

func newDev(w world) *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a server for development, with a real S3 server beside it",
		Long: `Runs the job API, the workers and a real S3 server on its own port: nothing to
install, nothing to configure. Everybody knows its key pair, so it listens on
loopback addresses only.

Prints one block with the endpoints and lines to paste. With --seed there are a
bucket demo with objects under data/, the manifest s3://manifests/manifest.csv that
lists them, and an empty bucket reports. With --data, jobs and
objects are kept: start it again with the same DIR.`,
		Example: `  stevedore dev --seed 1000
  stevedore dev --data ./stevedore-data
  stevedore dev --function thumbnail=./bootstrap
  stevedore dev --listen 127.0.0.1:0 --s3-listen 127.0.0.1:0 --ready-file ready.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return dev(cmd.Context(), w, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", devListen, "`ADDRESS` of the API; port 0 takes a free one")
	flags.StringVar(&o.s3Listen, "s3-listen", devS3Listen, "`ADDRESS` of the S3 server, likewise")
	flags.StringVar(&o.data, "data", "", "`DIR` that keeps jobs and objects (default: a temporary one)")
	flags.IntVar(&o.seed, "seed", 0, "`N` small objects in bucket demo, and a manifest of them to try")
	flags.StringVar(&o.readyFile, "ready-file", "", "`PATH` that gets endpoints and keys as JSON once everything answers")
	flags.Int64Var(&o.copyLimit, "copy-limit", devstore.DefaultCopyLimit,
		"largest source of CopyObject, in `BYTES`")
	flags.DurationVar(&o.restoreAfter, "restore-after", devstore.DefaultRestoreAfter,
		"`TIME` that a restore of an object takes")
	flags.StringArrayVar(&o.functions, "function", nil,
		"`NAME=FILE` of a Lambda bootstrap that jobs can invoke")
	o.logging.add(cmd, "warn")
	return cmd
}

func dev(ctx context.Context, w world, o devOptions) (err error) {
	if err := loopbackOnly("listen", o.listen); err != nil {
		return err
	}
	if err := loopbackOnly("s3-listen", o.s3Listen); err != nil {
		return err
	}
	if o.seed < 0 {
		return usagef("--seed %d: want a number of objects", o.seed)
	}
	if o.copyLimit < 1 {
		return usagef("--copy-limit %d: want a number of bytes", o.copyLimit)
	}
	if o.restoreAfter <= 0 {
		return usagef("--restore-after %s: want a time such as 3s", o.restoreAfter)
	}
	functions, err := localFunctions(o.functions)
	if err != nil {
		return err
	}
	logger, err := o.logging.logger(w.stderr)
	if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // asked to stop before everything was ready
		}
	}()
	if o.readyFile != "" {
		if err := checkReady(o.readyFile); err != nil {
			return err
		}
		// One that a killed server has left would tell of ports nobody listens on.
		if err := os.Remove(o.readyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the old ready file: %w", err)
		}
	}
	d, err := startDev(ctx, o.data, o.listen, devstore.Config{
		Listen: o.s3Listen, CopyLimit: o.copyLimit, RestoreAfter: o.restoreAfter,
	}, functions, logger)
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := d.stop(ctx); err == nil {
			err = stopErr
		}
	}()

	var there seeded
	if o.seed > 0 {
		if there, err = d.fill(ctx, w, o.seed); err != nil {
			return err
		}
	}
	if o.readyFile != "" {
		if err := writeReady(o.readyFile, d.ready()); err != nil {
			return err
		}
		// Scripts take the file for "it runs", so it goes when the server goes.
		defer os.Remove(o.readyFile)
	}
	fmt.Fprint(w.stdout, devBlock(w, d, o, there))
	return d.wait(ctx)
}

// localFunctions reads the values of --function.
func localFunctions(values []string) (lambda.Config, error) {
	functions := lambda.Config{}
	for _, v := range values {
		name, program, ok := strings.Cut(v, "=")
		if !ok || name == "" || program == "" {
			return nil, usagef("--function %s: want NAME=FILE", v)
		}
		if _, twice := functions[name]; twice {
			return nil, usagef("--function %s: there is a function %s already", v, name)
		}
		functions[name] = lambda.Function{Bootstrap: program}
	}
	if err := functions.Validate(); err != nil {
		return nil, usagef("--function %v", err)
	}
	return functions, nil
}

// seeded is what a seeded server has. The zero value is one that is not.
type seeded struct {
	etag  string // of the manifest
	older bool   // there are objects of an earlier start that the manifest does not list
}

// fill makes the buckets, objects and manifest of a seeded server.
func (d *devServer) fill(ctx context.Context, w world, n int) (there seeded, err error) {
	client, done := newS3(d.ready())
	defer done()
	if err := createBuckets(ctx, client, demoBucket, manifestsBucket, reportsBucket); err != nil {
		return there, err
	}
	if there.older, err = seededBeyond(ctx, client, n); err != nil {
		return there, err
	}
	m := newMeter(w.stderr, w.getenv)
	defer m.clear()
	progress := func(done int) { m.show(sample{label: "seeding", unit: "objects", done: int64(done), total: int64(n)}) }
	if err := seed(ctx, client, n, nil, progress); err != nil {
		return there, err
	}
	there.etag, err = putManifest(ctx, client, n)
	return there, err
}

// devBlock is the one block that a development server prints.
func devBlock(w world, d *devServer, o devOptions, there seeded) string {
	r := d.ready()
	var b strings.Builder
	kept := "kept"
	if d.remove {
		kept = "removed at the end"
	}
	fmt.Fprintf(&b, `Stevedore is ready; Ctrl-C ends it.

  API       %s   S3 Control jobs of account %s
  S3        %s   region %s
  keys      %s / %s
  data      %s   %s
`, r.API, r.Account, r.S3, r.Region, r.AccessKey, r.SecretKey, d.dir, kept)
	if there.etag != "" {
		fmt.Fprintf(&b, "  objects   s3://%s/data/ (%s), listed in s3://%s/%s\n",
			demoBucket, thousands(int64(o.seed)), manifestsBucket, manifestKey)
	}
	if there.older {
		b.WriteString("            beside objects of an earlier start, which are not in the list\n")
	}

	for _, f := range o.functions {
		name, file, _ := strings.Cut(f, "=")
		fmt.Fprintf(&b, "  function  arn:aws:lambda:%s:%s:function:%s   runs %s\n", r.Region, r.Account, name, file)
	}

	program := programName(w)
	where, whereAPI := whereFlags(r, o)
	fmt.Fprintf(&b, `
AWS CLI, unmodified:

  %[1]s exec%[2]s -- aws s3control list-jobs --account-id %[3]s
  %[1]s exec%[2]s -- aws s3 ls
`, program, where, r.Account)
	if there.etag != "" {
		fmt.Fprintf(&b, `  %s exec%s -- aws s3control create-job --account-id %s --no-confirmation-required --priority 10 \
    --role-arn %s \
    --operation '%s' \
    --manifest '%s' \
    --report '%s'
`, program, where, r.Account, roleARN(r.Account), sampleOperation, sampleManifest(there.etag), sampleReport)
	}
	fmt.Fprintf(&b, `
Our own client:

  %[1]s job list%[2]s
  %[1]s job watch%[2]s JOB-ID

boto3:

  import boto3, re
  keys = dict(region_name='%[3]s', aws_access_key_id='%[4]s', aws_secret_access_key='%[5]s')
  s3 = boto3.client('s3', endpoint_url='%[6]s', **keys)
  jobs = boto3.client('s3control', endpoint_url='%[7]s', **keys)
  # boto3 puts the account before the host name, which no name server here knows
  jobs.meta.events.register('before-sign.s3-control', lambda request, **kw: setattr(
      request, 'url', re.sub(r'://\d{12}\.', '://', request.url, count=1)))
  print(jobs.list_jobs(AccountId='%[8]s')['Jobs'])
`, program, whereAPI, r.Region, r.AccessKey, r.SecretKey, r.S3, r.API, r.Account)
	return b.String()
}

// whereFlags are the flags our client needs to find a server that is not at the
// default addresses, with its store and for the API alone.
func whereFlags(r ready, o devOptions) (both, api string) {
	switch {
	case r.API == "http://"+devListen && r.S3 == "http://"+devS3Listen:
		return "", ""
	case o.readyFile != "":
		file := " --ready-file " + quoteShell(o.readyFile)
		return file, file
	}
	api = " --endpoint-url " + r.API
	return api + " --s3-endpoint-url " + r.S3, api
}

func roleARN(account string) string { return "arn:aws:iam::" + account + ":role/stevedore" }

// The parts of a job over the seeded objects, as the AWS CLI takes them.
const (
	sampleOperation = `{"S3PutObjectTagging":{"TagSet":[{"Key":"hello","Value":"world"}]}}`
	sampleReport    = `{"Enabled":true,"Bucket":"arn:aws:s3:::` + reportsBucket + `","Prefix":"demo","Format":"Report_CSV_20180820","ReportScope":"AllTasks"}`
)

func sampleManifest(etag string) string {
	return `{"Spec":{"Format":"S3BatchOperations_CSV_20180820","Fields":["Bucket","Key"]},` +
		`"Location":{"ObjectArn":"arn:aws:s3:::` + manifestsBucket + `/` + manifestKey + `","ETag":"` + etag + `"}}`
}
