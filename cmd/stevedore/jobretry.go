package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// retryOptions is how the failed tasks of a job are tried again.
type retryOptions struct {
	codes  []string
	again  bool
	dryRun bool
	follow bool
	watchOptions
}

func (c *jobCommands) retry() *cobra.Command {
	var o retryOptions
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Create a job for the failed tasks of another",
		Long: `Creates a job whose manifest is what the report of another one lists as failed,
with the same operation, role, priority, confirmation and report settings. Its tags
are those of the other job, and stevedore:parent names that.

A single file of failed rows is used where it lies. Several, or those chosen with
--codes, are joined beside the report, in a file retry-....csv. This takes access to
the store: as exec finds it (see stevedore help environment).

The same failures make one job only, however often this is called; --again makes
another. Tasks that never ran, as their job was stopped, are not in its report and
not covered; how many there are is said.`,
		Example: `  stevedore job retry 00e1
  stevedore job retry 00e1 --codes SlowDown,InternalError --watch`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.exitStatus && !o.follow {
				return usagef("--exit-status is for --watch")
			}
			if o.follow && o.dryRun {
				return usagef("--dry-run creates no job that --watch could follow")
			}
			if o.dryRun && c.output == "name" {
				return usagef("-o name: a dry run prints table or json")
			}
			for i := range o.codes {
				o.codes[i] = strings.TrimSpace(o.codes[i])
			}
			if cmd.Flags().Changed("codes") && (len(o.codes) == 0 || slices.Contains(o.codes, "")) {
				return usagef("--codes %q: want codes such as SlowDown,InternalError", strings.Join(o.codes, ","))
			}
			slices.Sort(o.codes)
			o.codes = slices.Compact(o.codes)
			return c.withJob(cmd.Context(), args[0], func(api *client, id string) error {
				return c.retryJob(cmd.Context(), api, id, o)
			})
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&o.codes, "codes", nil, "only tasks that failed with these `CODES`, with commas between them")
	fs.BoolVar(&o.follow, "watch", false, "follow the new job until it has ended")
	fs.BoolVar(&o.exitStatus, "exit-status", false, "with --watch: exit with 3 if tasks failed, with 5 if the job did")
	fs.BoolVar(&o.again, "again", false, "make another job even if there is one for the same failures")
	fs.BoolVar(&o.dryRun, "dry-run", false, "only say what the job would be; with -o json the request, too")
	fs.StringVar(&c.connect.s3, "s3-endpoint-url", "", "`URL` of the store")
	o.interval, o.progress = time.Second, "auto"
	return cmd
}

// retryPlan is a job to be for the failed tasks of another.
type retryPlan struct {
	Parent      string
	FailedTasks int64
	Codes       map[string]int64 // of all failed tasks
	Chosen      []string         `json:",omitempty"` // the codes asked for that there are; none: all
	NotRun      int64            // tasks that the parent did not come to; they are not covered
	Tasks       int64            // of the new job
	Manifest    string           // s3:// URL
	Joined      bool             // it is put together from several files, or a part of one
	Request     job.Spec

	tasks *failedTasks
	place objectstore.Object // of the manifest, pinned unless it is to be written
	size  int64              // bytes of what is to be written
}

// retryJob creates a job for the failed tasks of job id.
func (c *jobCommands) retryJob(ctx context.Context, api *client, id string, o retryOptions) error {
	parent, err := api.describeJob(ctx, id)
	if err != nil {
		return api.explain(c.w, id, "describe job "+shortID(id), err)
	}
	if err := c.mayRetry(&parent); err != nil {
		return err
	}
	tags, err := c.readTags(ctx, api, id)
	if err != nil {
		return err
	}
	access, done, err := api.at.store(ctx, c.w)
	if err != nil {
		return err
	}
	defer done()
	plan, err := c.planRetry(ctx, api.at, access, &parent, tags.Tags, o)
	if err != nil {
		return err
	}
	if plan.NotRun > 0 {
		fmt.Fprintf(c.w.stderr, "note: %s of %s tasks never ran, as job %s was %s; they are not covered\n",
			thousands(plan.NotRun), thousands(parent.ProgressSummary.TotalNumberOfTasks), shortID(id), parent.Status)
	}
	if o.dryRun {
		return c.printRetry(plan)
	}
	if plan.Joined {
		made, err := plan.tasks.join(ctx, plan.place, plan.Chosen, plan.size)
		if err != nil {
			return reportProblem(c.w, api.at, id, err)
		}
		plan.pin(made)
	}
	return c.createRetry(ctx, api, plan, o)
}

// mayRetry returns a problem if there is nothing to be tried again.
func (c *jobCommands) mayRetry(j *controlapi.JobDescriptor) error {
	p := j.ProgressSummary
	what := "retry job " + shortID(j.JobId) + ": "
	refuse := func(code int, text, try string) error { return &problem{what: what + text, try: try, code: code} }
	describe := try(c.w, "job describe "+shortID(j.JobId)) + ", to see how it stands"
	switch {
	case !j.Status.Terminal():
		return refuse(exitConflict, "it has not ended, it is "+string(j.Status), try(c.w, "job watch "+shortID(j.JobId))+", and then again")
	case p.NumberOfTasksFailed == 0 && executed(p) < p.TotalNumberOfTasks:
		return refuse(exitNothing, fmt.Sprintf("none of its tasks has failed; %s never ran, and no report lists those",
			thousands(p.TotalNumberOfTasks-executed(p))), "a job over the whole manifest again: "+try(c.w, "job create"))
	case executed(p) == 0:
		return refuse(exitNothing, "none of its tasks ever ran", describe)
	case p.NumberOfTasksFailed == 0:
		return refuse(exitNothing, "none of its tasks has failed", "")
	case j.Report == nil || !j.Report.Enabled:
		return refuse(exitNotFound, "it has no report that would list its failed tasks", "Report.Enabled for the next job; this one can only be done again as a whole")
	case reportLost(j):
		return refuse(exitNotFound, "its report could not be written", describe)
	case j.Operation == nil:
		return refuse(exitFailed, "the server does not tell its operation", describe)
	}
	return nil
}

// planRetry reads the report of parent.
func (c *jobCommands) planRetry(
	ctx context.Context, at *connection, access *objectstore.Access, parent *controlapi.JobDescriptor, tags []job.Tag, o retryOptions,
) (*retryPlan, error) {
	tasks, err := findFailed(ctx, access, parent)
	if err != nil {
		return nil, reportProblem(c.w, at, parent.JobId, err)
	}
	var size counter
	seen, err := tasks.copyTo(ctx, &size, o.codes)
	if err != nil {
		return nil, reportProblem(c.w, at, parent.JobId, err)
	}
	p := parent.ProgressSummary
	plan := &retryPlan{
		Parent: parent.JobId, FailedTasks: seen.tally.Failed, Codes: map[string]int64{}, Chosen: o.codes, NotRun: p.TotalNumberOfTasks - executed(p),
		Tasks: seen.chosen, Joined: len(tasks.files) > 1 || seen.chosen < seen.tally.Failed, tasks: tasks, size: int64(size),
	}
	for code, n := range seen.tally.Codes {
		plan.Codes[code] = n.Count
	}
	if seen.tally.Failed != p.NumberOfTasksFailed {
		return nil, reportProblem(c.w, at, parent.JobId, &changedError{fmt.Sprintf(
			"the report lists %s failed tasks, the job counts %s", thousands(seen.tally.Failed), thousands(p.NumberOfTasksFailed))})
	}
	// A code that no task has failed with says nothing of the job to be: left in, it would make another one of the same tasks.
	failedWith := func(code string) bool { return seen.codes[code] > 0 }
	if none := slices.DeleteFunc(slices.Clone(o.codes), failedWith); len(none) > 0 {
		what := "no task failed with " + printable(strings.Join(none, " or "))
		why := printable("the failed tasks have " + strings.Join(slices.Sorted(maps.Keys(plan.Codes)), ", "))
		if len(none) == len(o.codes) {
			return nil, &problem{what: fmt.Sprintf("retry job %s: %s", shortID(parent.JobId), what), why: why, code: exitNothing}
		}
		fmt.Fprintf(c.w.stderr, "note: %s; %s\n", what, why)
		o.codes = slices.DeleteFunc(slices.Clone(o.codes), func(code string) bool { return !failedWith(code) })
		plan.Chosen = o.codes
	}
	plan.Request = retryRequest(parent, tags, o, versioned(parent, seen))
	if plan.Joined {
		plan.place.Bucket, plan.place.Key = reportPlace(parent)
		plan.place.Key += "retry-" + retryDigest(parent.JobId, o.codes)[:16] + ".csv"
		plan.pin(plan.place)
		return plan, nil
	}
	plan.pin(tasks.files[0].object)
	return plan, nil
}

// pin notes which object the manifest is.
func (p *retryPlan) pin(o objectstore.Object) {
	p.place, p.Manifest = o, "s3://"+o.Bucket+"/"+o.Key
	p.Request.Manifest.Location = &job.ManifestLocation{
		ObjectArn: "arn:aws:s3:::" + o.Bucket + "/" + o.Key, ETag: o.ETag, ObjectVersionId: o.VersionID,
	}
}

// versioned reports whether the version ids of the failed rows mean something. In
// a bucket with versions an empty one fails its task, so the column is left out
// where the manifest had none.
func versioned(parent *controlapi.JobDescriptor, seen *rowsSeen) bool {
	if m := parent.Manifest; m != nil && m.Spec != nil && m.Spec.Format == job.ManifestCSV {
		return slices.Contains(m.Spec.Fields, job.FieldVersionID)
	}
	return seen.versions
}

// retryRequest asks for a job like parent, all but the place of its manifest.
func retryRequest(parent *controlapi.JobDescriptor, tags []job.Tag, o retryOptions, versions bool) job.Spec {
	fields := []job.Field{job.FieldBucket, job.FieldKey, job.FieldIgnore, job.FieldIgnore, job.FieldIgnore, job.FieldIgnore, job.FieldIgnore}
	if versions {
		fields[reportVersion] = job.FieldVersionID
	}
	tags = slices.DeleteFunc(slices.Clone(tags), func(t job.Tag) bool {
		return t.Key == job.TagManifest || t.Key == job.TagParent // that manifest was another one
	})
	token := "retry-" + retryDigest(parent.JobId, o.codes)
	if o.again {
		token = rand.Text()
	}
	return job.Spec{
		ConfirmationRequired: parent.ConfirmationRequired,
		Operation:            *parent.Operation,
		Report:               *parent.Report,
		ClientRequestToken:   token,
		Manifest:             &job.Manifest{Spec: &job.ManifestSpec{Format: job.ManifestCSV, Fields: fields}},
		Description:          retryDescription(parent),
		Priority:             parent.Priority,
		RoleArn:              parent.RoleArn,
		Tags:                 append(tags, job.Tag{Key: job.TagParent, Value: parent.JobId}),
	}
}

// retryDescription says of which job this one is a retry.
func retryDescription(parent *controlapi.JobDescriptor) string {
	text := regexp.MustCompile(`^Retry of [0-9a-f]{8}(: )?`).ReplaceAllString(parent.Description, "")
	if text != "" {
		text = ": " + text
	}
	const most = 256
	runes := []rune("Retry of " + shortID(parent.JobId) + text)
	return string(runes[:min(most, len(runes))])
}

// retryDigest names the retry of a job for some codes, which must be sorted.
func retryDigest(parent string, codes []string) string {
	sum := sha256.Sum256([]byte(parent + "\n" + strings.Join(codes, ",")))
	return hex.EncodeToString(sum[:16])
}

// reportPlace is the bucket of a report, and what the keys of its files begin with.
func reportPlace(j *controlapi.JobDescriptor) (bucket, folder string) {
	bucket, folder, _ = strings.Cut(strings.TrimPrefix(reportFolder(j), "s3://"), "/")
	return bucket, folder
}

// reportProblem says why the report of a job cannot be used.
func reportProblem(w world, at *connection, id string, err error) error {
	if e, ok := errors.AsType[*changedError](err); ok {
		return &problem{
			what: fmt.Sprintf("retry job %s: its report is not what was written", shortID(id)), why: printable(e.text),
			try: try(w, "job describe "+shortID(id)) + ", to see where it is", code: exitFailed, err: err,
		}
	}
	return at.storeProblem(w, fmt.Sprintf("retry job %s: its report cannot be used", shortID(id)), err)
}

// createRetry creates the job, or finds the one that an earlier call has made.
func (c *jobCommands) createRetry(ctx context.Context, api *client, plan *retryPlan, o retryOptions) error {
	before, err := api.listJobs(ctx, nil, "", pageSize)
	if err != nil {
		return api.explain(c.w, "", "list jobs", err)
	}
	out, err := api.createJob(ctx, &plan.Request)
	if e, ok := errors.AsType[*apiError](err); ok && e.Code == controlapi.Idempotency {
		return &problem{
			what: fmt.Sprintf("retry job %s: there is a retry of it already, made when it had other tags or settings", shortID(plan.Parent)),
			why:  printable(e.Message), try: "--again, for another", code: exitConflict, requestID: printable(e.RequestID), err: err,
		}
	}
	if err != nil {
		return api.explain(c.w, "", "create the job", err)
	}
	outcome := fmt.Sprintf("created for %s of %s failed tasks of %s", thousands(plan.Tasks), thousands(plan.FailedTasks), shortID(plan.Parent))
	if slices.ContainsFunc(before.Jobs, func(j controlapi.ListedJob) bool { return j.JobId == out.JobId }) {
		outcome = fmt.Sprintf("is the retry of %s that was made before", shortID(plan.Parent))
		fmt.Fprintf(c.w.stderr, "note: the same failures make one job only; for another: %s\n", try(c.w, "job retry "+shortID(plan.Parent)+" --again"))
	}
	if !o.follow {
		return c.print(out, out.JobId, outcome)
	}
	if c.output == "table" {
		fmt.Fprintf(c.w.stdout, "job/%s %s\n", out.JobId, outcome)
	}
	return c.follow(ctx, api, out.JobId, o.watchOptions)
}

// printRetry says what the job would be.
func (c *jobCommands) printRetry(p *retryPlan) error {
	if c.output == "json" {
		return writeJSON(c.w.stdout, p)
	}
	t := tabwriter.NewWriter(c.w.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Tasks\t%s of %s failed tasks of %s\n", thousands(p.Tasks), thousands(p.FailedTasks), shortID(p.Parent))
	for i, code := range slices.SortedFunc(maps.Keys(p.Codes), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.Codes[b], p.Codes[a]), cmp.Compare(a, b))
	}) {
		label := ""
		if i == 0 {
			label = "Failed with"
		}
		fmt.Fprintf(t, "%s\t%s %s\n", label, printable(code), thousands(p.Codes[code]))
	}
	if len(p.Chosen) > 0 {
		fmt.Fprintf(t, "Chosen\t%s\n", printable(strings.Join(p.Chosen, ", ")))
	}
	how := "as it lies"
	if p.Joined {
		how = "would be written"
	}
	fmt.Fprintf(t, "Manifest\t%s  (%s)\n", printable(p.Manifest), how)
	fmt.Fprintf(t, "Operation\t%s\n", printable(operationText(&p.Request.Operation)))
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	fmt.Fprintln(c.w.stderr, "dry run: nothing was written, no job was created")
	return nil
}

// writeJSON writes what is no shape of the API, for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "    ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
