package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"stevedore/internal/doctor"
	"stevedore/internal/service"
)

// doctorOptions is how an examination is asked for.
type doctorOptions struct {
	config, role string
	bucket       string
	create       bool
	kmsKey       string
	output       string
	exitStatus   bool
}

// doctorAttempts is how often a request is tried: what a store cannot do should
// show soon.
const doctorAttempts = 2

func newDoctor(w world) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor --bucket NAME",
		Short: "Find out what a store can really do for jobs",
		Long: `Tries every operation with its parameters on scratch objects, as a job does it, and
reads every effect back, and the bytes of the objects, too. The result is one of

  works      the effect was read back
  refused    with an error
  IGNORED    answered as done, but the effect is not there
  DANGEROUS  an object's bytes, or another object, were changed
  untested   could not be tried in this bucket

The store and its keys are those of serve: --config, or the AWS_ variables.

The scratch objects are in the bucket under .stevedore-probe/ and are deleted again,
with all versions and uploads. Some are readable by everybody, archived or locked for
a moment. With --create the bucket is made first, with versions and Object Lock, and
removed at the end: only so everything is tried.`,
		Example: `  stevedore doctor --bucket stevedore-doctor --create
  stevedore doctor --config /etc/stevedore/config.yaml --bucket photos -o json
  stevedore exec -- stevedore doctor --bucket scratch --create`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return examine(cmd.Context(), w, o) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.config, "config", "", "configuration `FILE` of serve; default $STEVEDORE_CONFIG, else none")
	fs.StringVar(&o.role, "role", "", "`ARN` of the role whose stores and credentials are used (default: none)")
	fs.StringVar(&o.bucket, "bucket", "", "`NAME` of the bucket for the scratch objects")
	fs.BoolVar(&o.create, "create", false, "make the bucket first and remove it at the end")
	fs.StringVar(&o.kmsKey, "kms-key", "", "`ARN` of a KMS key to encrypt with (default: one that nobody has)")
	fs.StringVarP(&o.output, "output", "o", "table", "table or json")
	fs.BoolVar(&o.exitStatus, "exit-status", false, "exit with 3 if anything is dangerous")
	return cmd
}

// examine runs an examination and writes what it has found.
func examine(ctx context.Context, w world, o doctorOptions) error {
	switch {
	case o.bucket == "":
		return usagef("doctor needs --bucket")
	case o.output != "table" && o.output != "json":
		return usagef("-o %s: want table or json", o.output)
	}
	c := service.Default()
	if o.config == "" {
		o.config = w.getenv("STEVEDORE_CONFIG")
	}
	if o.config != "" {
		var err error
		if c, err = service.LoadConfig(o.config); err != nil {
			return &problem{what: "the configuration is not valid", why: err.Error(), code: exitInvalid, err: err}
		}
	}
	c.Logger = slog.New(slog.DiscardHandler)
	reach, err := service.OpenReach(ctx, c, o.role, o.bucket, doctorAttempts)
	if err != nil {
		return &problem{what: "the store cannot be opened", why: err.Error(), code: exitInvalid, err: err}
	}
	defer reach.Close()

	m := newMeter(w.stderr, w.getenv)
	m.every = 5 * time.Second // all of it takes a few
	defer m.clear()
	tried := int64(0)
	report, examined := doctor.Examine(ctx, reach.Access, doctor.Config{
		Endpoint: reach.Endpoint, Region: reach.Region, Bucket: o.bucket, Create: o.create, KMSKey: o.kmsKey,
		Progress: func(operation string) {
			tried++
			m.show(sample{label: operation, unit: "steps", done: tried, total: doctor.Steps})
		},
	})
	m.clear()
	if err := writeReport(w, o, report); err != nil {
		return err
	}
	switch {
	case examined != nil:
		return examinationProblem(examined)
	case len(report.LeftBehind) > 0:
		return &problem{what: fmt.Sprintf("%d things could not be deleted again", len(report.LeftBehind)), code: exitFailed}
	case o.exitStatus && report.Count(doctor.Dangerous) > 0:
		return &problem{code: exitTasksFailed, silent: true}
	}
	return nil
}

func writeReport(w world, o doctorOptions, r *doctor.Report) error {
	if o.output == "json" {
		e := json.NewEncoder(w.stdout)
		e.SetIndent("", "    ")
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	}
	return r.WriteTable(w.stdout)
}

// examinationProblem says why a store could not be examined.
func examinationProblem(err error) error {
	c, ok := errors.AsType[*doctor.CheckError](err)
	if !ok {
		return err
	}
	p := &problem{what: "the store cannot be examined: " + c.Check, why: c.Text, code: exitFailed, err: err}
	switch {
	case c.Status == 0 && c.Check == "endpoint":
		p.code, p.try = exitUnreachable, "endpoint and credentials of the configuration, or AWS_ENDPOINT_URL_S3 and AWS_ACCESS_KEY_ID"
	case c.Check == "credentials", c.Status == http.StatusUnauthorized, c.Status == http.StatusForbidden:
		p.code = exitDenied
	case c.Status == http.StatusNotFound:
		p.code, p.try = exitNotFound, "--create makes the bucket, and removes it at the end"
	case c.Status == http.StatusConflict:
		p.code = exitConflict
	}
	return p
}
