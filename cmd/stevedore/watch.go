package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

// watchOptions is how a job is watched.
type watchOptions struct {
	exitStatus bool
	timeout    time.Duration // 0: none
	interval   time.Duration
	progress   string
}

// outage is how long a watch goes on while the server does not answer: long
// enough for it to be started again.
const outage = time.Minute

func (c *jobCommands) watch() *cobra.Command {
	var o watchOptions
	cmd := &cobra.Command{
		Use:   "watch JOB",
		Short: "Follow a job until it has ended",
		Long: `Follows a job until it has ended: with a progress bar on a terminal, else with a
line at each change of its status and now and then in between. The progress goes
to standard error, the outcome to standard output.

Ctrl-C ends the watching; the job goes on. A server that is lost on the way is waited
for, a minute long; one that does not answer in the first place is an error.`,
		Example: `  stevedore job watch 00e1
  stevedore job watch 00e1 --exit-status --timeout 2h`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.interval < 10*time.Millisecond {
				return usagef("--interval %s: want at least 10ms", o.interval)
			}
			return c.withJob(cmd.Context(), args[0], func(api *client, id string) error {
				return c.follow(cmd.Context(), api, id, o)
			})
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.exitStatus, "exit-status", false, "exit with 3 if tasks failed, with 5 if the job Failed or was Cancelled")
	fs.DurationVar(&o.timeout, "timeout", 0, "give up after this `TIME` and exit with 8; the job goes on")
	fs.DurationVar(&o.interval, "interval", time.Second, "`TIME` between two looks at the job")
	fs.StringVar(&o.progress, "progress", "auto", "auto, plain or none")
	return cmd
}

// follow watches a job until it has ended.
func (c *jobCommands) follow(ctx context.Context, api *client, id string, o watchOptions) error {
	show, m, err := c.progressOf(id, o)
	if err != nil {
		return err
	}
	defer m.clear()
	watching := ctx
	if o.timeout > 0 {
		var cancel context.CancelFunc
		watching, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	var (
		last  controlapi.JobDescriptor
		since time.Time // the server has not answered
	)
	for {
		j, err := api.describeJob(watching, id)
		switch {
		case err == nil:
			if !since.IsZero() {
				m.say("the server answers again")
			}
			since = time.Time{}
			if j.Status == job.Suspended && last.Status != job.Suspended {
				m.say("the job waits for you: " + try(c.w, "job confirm "+shortID(id)))
			}
			last = j
			show(&j)
			if j.Status.Terminal() {
				m.clear()
				return c.ended(&j, o)
			}
		case watching.Err() != nil: // told below
		default:
			if _, ok := errors.AsType[*unreachableError](err); !ok || last.Status == "" {
				return api.explain(c.w, id, "watch job "+shortID(id), err)
			}
			if since.IsZero() {
				since = time.Now()
				m.say("the server does not answer; trying again")
			}
			if time.Since(since) > outage {
				return api.explain(c.w, id, "watch job "+shortID(id), err)
			}
		}
		if pause(watching, o.interval) == nil {
			continue
		}
		m.clear()
		if ctx.Err() != nil {
			return &problem{
				what: fmt.Sprintf("interrupted; job %s goes on", shortID(id)),
				try:  try(c.w, "job watch "+shortID(id)) + ", or " + try(c.w, "job cancel "+shortID(id)), code: exitInterrupted, err: ctx.Err(),
			}
		}
		return &problem{
			what: fmt.Sprintf("job %s is still %s after %s", shortID(id), cmp.Or(string(last.Status), "not heard of"), o.timeout),
			try:  try(c.w, "job watch "+shortID(id)), code: exitPending,
		}
	}
}

// progressOf returns what shows how far a job is, and the meter it does that on.
func (c *jobCommands) progressOf(id string, o watchOptions) (func(*controlapi.JobDescriptor), *meter, error) {
	m := newMeter(c.w.stderr, c.w.getenv)
	m.plain = func(s sample, p pace) string { return watchLine(id, s, p) }
	switch o.progress {
	case "auto":
	case "plain":
		m.width = nil
	case "none":
		return func(*controlapi.JobDescriptor) {}, m, nil
	default:
		return nil, nil, usagef("--progress %s: want auto, plain or none", o.progress)
	}
	return func(j *controlapi.JobDescriptor) {
		p := j.ProgressSummary
		m.show(sample{
			label: string(j.Status), unit: "tasks",
			done: p.NumberOfTasksSucceeded + p.NumberOfTasksFailed, total: p.TotalNumberOfTasks, failed: p.NumberOfTasksFailed,
		})
	}, m, nil
}

// watchLine is a line of a log that people and scripts can read.
func watchLine(id string, s sample, p pace) string {
	line := fmt.Sprintf("%s job=%s status=%s done=%d total=%d pct=%s ok=%d failed=%d",
		time.Now().UTC().Format(time.RFC3339), shortID(id), s.label, s.done, s.total, strings.TrimSuffix(percentage(s), "%"), s.done-s.failed, s.failed)
	if p.rate >= 0 {
		line += fmt.Sprintf(" rate=%.0f/s eta=%s", p.rate, eta(p))
	}
	return line
}

// ended tells how a job has ended and returns the exit code that was asked for.
func (c *jobCommands) ended(j *controlapi.JobDescriptor, o watchOptions) error {
	p := j.ProgressSummary
	if c.output == "table" {
		if j.Status != job.Complete && executed(p) == 0 {
			fmt.Fprintf(c.w.stdout, "job/%s %s before any task ran\n", j.JobId, j.Status)
		} else {
			fmt.Fprintf(c.w.stdout, "job/%s %s: %s of %s tasks succeeded, %s failed, active for %s\n", j.JobId, j.Status,
				thousands(p.NumberOfTasksSucceeded), thousands(p.TotalNumberOfTasks), thousands(p.NumberOfTasksFailed),
				time.Duration(p.Timers.ElapsedTimeInActiveSeconds)*time.Second)
		}
		for _, r := range j.FailureReasons {
			fmt.Fprintf(c.w.stdout, "  %s: %s\n", printable(r.FailureCode), printable(r.FailureReason))
		}
		if executed(p) > 0 {
			fmt.Fprintf(c.w.stdout, "  report %s\n", printable(reportText(j)))
			if rows := failedRows(j); rows != "" {
				fmt.Fprintf(c.w.stdout, "  failed %s\n", printable(rows))
				fmt.Fprintf(c.w.stdout, "  next   %s\n", try(c.w, "job retry "+shortID(j.JobId)))
			}
		}
	} else if err := c.print(controlapi.DescribeJobResult{Job: *j}, j.JobId, ""); err != nil {
		return err
	}
	switch {
	case !o.exitStatus:
		return nil
	case j.Status != job.Complete:
		return &problem{code: exitJobFailed, silent: true}
	case p.NumberOfTasksFailed > 0:
		return &problem{code: exitTasksFailed, silent: true}
	}
	return nil
}
