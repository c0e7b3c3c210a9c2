package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

// writeJobTable writes one line for each job, without spaces inside values.
func writeJobTable(w io.Writer, jobs []controlapi.ListedJob) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATUS\tOUTCOME\tOPERATION\tPROGRESS\tFAILED\tPRIO\tDESCRIPTION\tAGE")
	for i := range jobs {
		j := &jobs[i]
		p := j.ProgressSummary
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
			shortID(printable(j.JobId)), j.Status, outcome(j.Status, p), cmp.Or(string(j.Operation), "-"), progressCell(p),
			short(p.NumberOfTasksFailed), j.Priority, wordCell(j.Description), age(j.CreationTime))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// outcome is how a job has ended, in a word; - while it has not.
func outcome(s job.Status, p controlapi.Progress) string {
	switch {
	case s == job.Failed:
		return "failed"
	case s == job.Cancelled:
		return "cancelled"
	case s != job.Complete:
		return "-"
	case p.NumberOfTasksFailed > 0:
		return "partial"
	}
	return "ok"
}

func progressCell(p controlapi.Progress) string {
	done := p.NumberOfTasksSucceeded + p.NumberOfTasksFailed
	if p.TotalNumberOfTasks == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%,%s/%s", done*100/p.TotalNumberOfTasks, short(done), short(p.TotalNumberOfTasks))
}

// wordCell is text as one word of a table.
func wordCell(s string) string {
	return cmp.Or(cut(strings.Join(strings.Fields(printable(s)), "-"), 24), "-")
}

// age is how long ago t is, in one unit.
func age(t time.Time) string {
	d := max(0, time.Since(t))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// writeDescription writes all about a job, for people.
func (c *jobCommands) writeDescription(j *controlapi.JobDescriptor) error {
	t := tabwriter.NewWriter(c.w.stdout, 0, 0, 2, ' ', 0)
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(t, "%s\t%s\n", label, printable(text))
		}
	}
	when := func(label string, at *time.Time) {
		if at != nil && !at.IsZero() {
			line(label, at.UTC().Format(time.RFC3339)+"  ("+age(*at)+" ago)")
		}
	}
	p := j.ProgressSummary
	line("Description", j.Description)
	line("ID", j.JobId)
	line("ARN", j.JobArn)
	line("Status", string(j.Status))
	line("Outcome", strings.Trim(outcome(j.Status, p), "-"))
	if j.Operation != nil {
		line("Operation", operationText(j.Operation))
	}
	line("Manifest", manifestText(j))
	line("Tasks", fmt.Sprintf("%s in all, %s succeeded, %s failed",
		thousands(p.TotalNumberOfTasks), thousands(p.NumberOfTasksSucceeded), thousands(p.NumberOfTasksFailed)))
	line("Active for", (time.Duration(p.Timers.ElapsedTimeInActiveSeconds) * time.Second).String())
	line("Report", reportText(j))
	line("Role", j.RoleArn)
	line("Priority", fmt.Sprint(j.Priority))
	when("Created", &j.CreationTime)
	when("Suspended", j.SuspendedDate)
	line("Suspended for", j.SuspendedCause)
	when("Ended", j.TerminationDate)
	line("Reason given", j.StatusUpdateReason)
	for _, r := range j.FailureReasons {
		line("Failure", r.FailureCode+": "+r.FailureReason)
	}
	if j.Status == job.Suspended {
		line("Next", try(c.w, "job confirm "+shortID(j.JobId)))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// operationText is an operation with its parameters on one line.
func operationText(o *job.Operation) string {
	var b bytes.Buffer
	_ = writeAWS(&b, o) // a buffer takes everything
	parameters := strings.Join(strings.Fields(b.String()), " ")
	return strings.TrimSpace(string(o.Name()) + "  " + cut(parameters, 120))
}

func manifestText(j *controlapi.JobDescriptor) string {
	if g := j.ManifestGenerator; g != nil && g.S3JobManifestGenerator != nil {
		return "generated from s3://" + job.BucketName(g.S3JobManifestGenerator.SourceBucket)
	}
	m := j.Manifest
	if m == nil || m.Location == nil {
		return ""
	}
	text := m.Location.ObjectArn
	if bucket, key, ok := job.ObjectOf(m.Location.ObjectArn); ok {
		text = "s3://" + bucket + "/" + key
	}
	return text + "  etag " + m.Location.ETag
}

// reportText says where the report is, or will be.
func reportText(j *controlapi.JobDescriptor) string {
	r := j.Report
	if r == nil || !r.Enabled {
		return "none"
	}
	prefix := strings.TrimSuffix(r.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return fmt.Sprintf("s3://%s/%sjob-%s/manifest.json  %s", job.BucketName(r.Bucket), prefix, j.JobId, r.ReportScope)
}
