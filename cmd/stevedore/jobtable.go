package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

// writeJobTable writes one line for each job, without spaces inside values but
// for the last one, the description.
func writeJobTable(w io.Writer, jobs []controlapi.ListedJob) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATUS\tOUTCOME\tOPERATION\tPROGRESS\tFAILED\tPRIO\tAGE\tDESCRIPTION")
	for i := range jobs {
		j := &jobs[i]
		p := j.ProgressSummary
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
			shortID(printable(j.JobId)), j.Status, outcome(j.Status, p), cmp.Or(string(j.Operation), "-"), progressCell(p),
			short(p.NumberOfTasksFailed), j.Priority, age(j.CreationTime), textCell(j.Description))
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
	case p.NumberOfTasksFailed > 0 && p.NumberOfTasksSucceeded == 0:
		return "failed"
	case p.NumberOfTasksFailed > 0:
		return "partial"
	}
	return "ok"
}

// executed is the number of tasks that have their outcome.
func executed(p controlapi.Progress) int64 { return p.NumberOfTasksSucceeded + p.NumberOfTasksFailed }

func progressCell(p controlapi.Progress) string {
	done := executed(p)
	if p.TotalNumberOfTasks == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%,%s/%s", done*100/p.TotalNumberOfTasks, short(done), short(p.TotalNumberOfTasks))
}

// textCell is text as the last cell of a row.
func textCell(s string) string {
	return cmp.Or(cut(strings.TrimSpace(printable(s)), 40), "-")
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
	line("Failed rows", failedRows(j))
	line("Role", j.RoleArn)
	line("Priority", fmt.Sprint(j.Priority))
	when("Created", &j.CreationTime)
	when("Suspended", j.SuspendedDate)
	if j.Status == job.Suspended { // the date stays when it goes on, the cause is over
		line("Suspended for", j.SuspendedCause)
	}
	when("Ended", j.TerminationDate)
	line("Reason given", j.StatusUpdateReason)
	for _, r := range j.FailureReasons {
		line("Failure", r.FailureCode+": "+r.FailureReason)
	}
	switch {
	case j.Status == job.Suspended:
		line("Next", try(c.w, "job confirm "+shortID(j.JobId)))
	case failedRows(j) != "":
		line("Next", try(c.w, "job retry "+shortID(j.JobId))+", for the tasks that failed")
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

// reportText says where the report is or will be, or why there is none.
func reportText(j *controlapi.JobDescriptor) string {
	r := j.Report
	if r == nil || !r.Enabled {
		return "none: not asked for"
	}
	place := fmt.Sprintf("%smanifest.json  %s", reportFolder(j), r.ReportScope)
	switch {
	case !j.Status.Terminal() && !reportLost(j):
		return "will be written to " + place
	case executed(j.ProgressSummary) == 0:
		return "none: no task ran"
	case reportLost(j):
		return "could not be written to s3://" + job.BucketName(r.Bucket)
	}
	return "written to " + place
}

// failedRows says which files of a report list failed tasks, if any.
func failedRows(j *controlapi.JobDescriptor) string {
	r := j.Report
	if r == nil || !r.Enabled || !j.Status.Terminal() || j.ProgressSummary.NumberOfTasksFailed == 0 || reportLost(j) {
		return ""
	}
	files := reportFolder(j) + "results/"
	if r.ReportScope == job.FailedTasks {
		return files
	}
	return files + "  (those that manifest.json lists as failed)"
}

// reportLost reports whether a job has failed for its report, or could not write
// it any more as its role is gone.
func reportLost(j *controlapi.JobDescriptor) bool {
	const roleGone = "RoleNotFound"
	return slices.ContainsFunc(j.FailureReasons, func(r job.FailureReason) bool {
		return r.FailureCode == job.CodeReportFailed || r.FailureCode == roleGone
	})
}

// reportFolder is what the addresses of all files of a report begin with.
func reportFolder(j *controlapi.JobDescriptor) string {
	prefix := strings.TrimSuffix(j.Report.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return fmt.Sprintf("s3://%s/%sjob-%s/", job.BucketName(j.Report.Bucket), prefix, j.JobId)
}
