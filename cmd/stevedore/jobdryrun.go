package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"text/tabwriter"

	"golang.org/x/sync/errgroup"

	"stevedore/internal/generate"
	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/plan"
	"stevedore/internal/source"
)

// dryRunOptions is how a job is looked at that is not created.
type dryRunOptions struct {
	sample int // tasks that are shown
	heads  int // objects that are looked at to estimate sizes
}

// dryRun is what a job would be.
type dryRun struct {
	Operation     job.Operation // as it was asked for
	Tasks         int64
	Chunks        int64         // the pieces that it would be done in
	ManifestBytes int64         // of the manifest object
	Bytes         *int64        // of the objects; nil: the manifest does not tell
	Estimate      *sizeEstimate `json:",omitempty"`
	Leniency      string        `json:",omitempty"` // what was put up with in the manifest
	Report        *written      `json:",omitempty"` // nil: there would be none
	Target        *written      `json:",omitempty"` // of copies; nil: there would be none
	// ManifestOutput is where a generated manifest would be kept; nil: nowhere.
	ManifestOutput *written `json:",omitempty"`
	Sample         []wouldBe
}

// dryRun looks at the job that spec asks for with the access of this process to
// the store, and creates nothing.
func (c *jobCommands) dryRun(ctx context.Context, spec *job.Spec, account string, o dryRunOptions) error {
	if c.output != "table" && c.output != "json" {
		return usagef("-o %s: a dry run prints table or json", c.output)
	}
	at, err := c.connect.connect(ctx, c.w)
	if err != nil {
		return err
	}
	if account != "" && c.connect.account == "" {
		at.account = account
	}
	if err := spec.Validate(); err != nil {
		return invalidRequest(err)
	}
	access, done, err := at.store(ctx, c.w)
	if err != nil {
		return err
	}
	defer done()
	found, err := c.tryOut(ctx, access, at, spec, o)
	if err != nil {
		return c.dryRunProblem(at, err)
	}
	if o.heads > 0 && found.Bytes != nil {
		fmt.Fprintf(c.w.stderr, "note: --head-sample %d is of no use: the sizes of all objects are known without it\n", o.heads)
	}
	if c.output == "json" {
		return writeJSON(c.w.stdout, found)
	}
	return c.printDryRun(found)
}

// invalidRequest is what the server would say of a request.
func invalidRequest(err error) error {
	p := &problem{what: "the server would refuse the request", why: err.Error(), code: exitInvalid, err: err}
	if e, ok := errors.AsType[*job.InvalidError](err); ok {
		var lines []string
		for _, problem := range e.Problems {
			lines = append(lines, problem.String())
		}
		p.why = strings.Join(lines, "\n")
	}
	return p
}

// dryRunProblem says what would become of the job, or why that cannot be said.
func (c *jobCommands) dryRunProblem(at *connection, err error) error {
	if e, ok := errors.AsType[*operation.UnsupportedError](err); ok {
		return &problem{what: "the job would fail: " + e.Error(), code: exitInvalid, err: err}
	}
	e, ok := errors.AsType[*job.FailedError](err)
	if ok && e.Reason.FailureCode == job.CodeManifestForbidden { // to whoever asks here; a server may have other credentials
		return at.storeProblem(c.w, "the manifest cannot be read with the credentials of this command", e.Err)
	}
	if !ok {
		return at.storeProblem(c.w, "look at the job", err)
	}
	p := &problem{what: "the job would fail: " + e.Reason.FailureReason, why: e.Reason.FailureCode, code: exitInvalid, err: err}
	switch e.Reason.FailureCode {
	case generate.CodeNoMatch:
		p.what, p.code = "no object matches the filter: the job would fail", exitNothing
	case job.CodeManifestChanged: // the text is of a job that was created
		p.what = strings.NewReplacer("the job was created for", "the request has",
			"Create the job again with the manifest's present ETag.", "Put the present one into Manifest.Location.ETag.").Replace(p.what)
	}
	return p
}

// tryOut plans a job and rehearses some of its tasks.
func (c *jobCommands) tryOut(ctx context.Context, access *objectstore.Access, at *connection, spec *job.Spec, o dryRunOptions) (*dryRun, error) {
	rehearsal, err := rehearse(at.account, spec, access)
	if err != nil {
		return nil, err
	}
	run := &dryRun{Operation: spec.Operation, Sample: []wouldBe{}}
	if err := run.checkBuckets(ctx, access, spec); err != nil {
		return nil, err
	}
	m := newMeter(c.w.stderr, c.w.getenv)
	m.plain = func(s sample, _ pace) string { return fmt.Sprintf("%s: %s %s", s.label, thousands(s.done), s.unit) }
	defer m.clear()
	list, err := listOf(ctx, access, spec, m)
	if err != nil {
		return nil, err
	}
	defer list.close()
	run.Bytes = list.bytes
	picks := newPicks(o.heads)
	planned, err := plan.Make(ctx, plan.Request{Source: list.spec, Most: plan.MaxTasks(spec.Operation)}, list.objects, job.Checkpoint{},
		func(_ context.Context, chunks []job.Chunk, cp job.Checkpoint) error {
			run.Chunks = cp.Chunks
			for _, chunk := range chunks {
				picks.offer(chunk)
			}
			m.show(sample{label: "reading", unit: "rows", done: cp.Rows})
			return nil
		})
	if err != nil {
		return nil, err
	}
	run.Tasks, run.ManifestBytes, run.Leniency = planned.Tasks, planned.Bytes, planned.Leniency
	if err := rehearsal.check(ctx, planned.Bucket); err != nil {
		return nil, err
	}
	list.spec.Object.ETag, list.spec.Object.VersionID, list.spec.Size = planned.ETag, planned.VersionID, planned.Bytes
	src, err := source.Locate(ctx, list.objects, list.spec)
	if err != nil {
		return nil, err
	}
	sized, err := run.rehearse(ctx, src, rehearsal, o.sample)
	if err != nil {
		return nil, err
	}
	if run.Bytes == nil && sized {
		if run.Bytes, err = sumSizes(ctx, src, m); err != nil {
			return nil, err
		}
	}
	if run.Bytes == nil && o.heads > 0 {
		run.Estimate, err = picks.estimate(ctx, src, rehearsal, planned.Tasks)
	}
	return run, err
}

// rehearse tells what the first tasks would do, and whether the manifest tells sizes.
func (d *dryRun) rehearse(ctx context.Context, src *source.Source, r *rehearsal, most int) (sized bool, err error) {
	r.versions = src.Layout.HasVersionID()
	sized = true
	for file := range src.Files {
		if len(d.Sample) >= most {
			break
		}
		rows, err := src.Open(ctx, file, "", manifest.Position{}, manifest.Position{})
		if err != nil {
			return false, err
		}
		var row manifest.Row
		for len(d.Sample) < most && rows.Next(&row) {
			sized = sized && row.Size >= 0
			would, err := r.task(ctx, &row)
			if err != nil {
				_ = rows.Close() // the error that counts is there
				return false, err
			}
			d.Sample = append(d.Sample, would)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return false, err
		}
	}
	return sized, nil
}

// sumSizes adds up the sizes of the objects in a list; nil if it lacks one.
func sumSizes(ctx context.Context, src *source.Source, m *meter) (*int64, error) {
	var total, done atomic.Int64
	var unknown atomic.Bool
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for file := range src.Files {
		g.Go(func() error {
			rows, err := src.Open(ctx, file, "", manifest.Position{}, manifest.Position{})
			if err != nil {
				return err
			}
			var row manifest.Row
			var sum, n int64
			for !unknown.Load() && rows.Next(&row) {
				if row.Size < 0 {
					unknown.Store(true)
				}
				sum += max(row.Size, 0)
				n++
			}
			total.Add(sum)
			if !unknown.Load() {
				m.show(sample{label: "adding up", unit: "objects", done: done.Add(n)})
			}
			return errors.Join(rows.Err(), rows.Close())
		})
	}
	if err := g.Wait(); err != nil || unknown.Load() {
		return nil, err
	}
	return new(total.Load()), nil
}

// jobList is the list of objects of a job to be.
type jobList struct {
	spec    source.Spec
	objects source.Objects
	bytes   *int64 // of the objects, if that is known
	close   func()
}

// listOf finds the list of a job, or makes it, in a temporary folder of this
// machine, if the job has a generator.
func listOf(ctx context.Context, access *objectstore.Access, spec *job.Spec, m *meter) (list *jobList, err error) {
	options, err := job.OptionsOf(spec.Tags)
	if err != nil {
		return nil, err
	}
	if spec.ManifestGenerator == nil {
		list = &jobList{spec: source.SpecOf(spec.Manifest, options.Lenient), objects: access, close: func() {}}
		return list, nil
	}
	folder, err := os.MkdirTemp("", "stevedore-dry-run-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the list: %w", err)
	}
	remove := func() { _ = os.RemoveAll(folder) } // of temporary files
	defer func() {
		if err != nil {
			remove()
		}
	}()
	spool, err := generate.OpenSpool(folder)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = spool.Close() // it only reads folders
		}
	}()
	eligibility := operation.NewEligibility(operation.Env{Client: access})
	made, err := generate.Run(ctx, generate.Job{
		ID: strings.ToLower(rand.Text()), Generator: spec.ManifestGenerator.S3JobManifestGenerator,
		Source: access, Depot: spool, Journal: &passing{meter: m},
		Eligible: func(ctx context.Context, c generate.Candidate) (bool, error) {
			return eligibility.Of(ctx, c.Object, c.Info.StorageClass)
		},
	}, generate.State{})
	if err != nil {
		return nil, err
	}
	return &jobList{
		spec:    source.Spec{Format: job.ManifestInventory, Object: made.Object, Size: made.Size},
		objects: spool, bytes: new(made.Bytes),
		close: func() { _ = spool.Close(); remove() },
	}, nil
}

// passing is a journal of a generator that nobody goes on with.
type passing struct {
	meter *meter
	files []generate.File
}

// Save implements generate.Journal.
func (p *passing) Save(_ context.Context, s generate.State, files []generate.File) error {
	p.files = append(p.files, files...)
	p.meter.show(sample{label: "listing", unit: "objects that match", done: s.Rows})
	return nil
}

// Files implements generate.Journal.
func (p *passing) Files(context.Context) iter.Seq2[generate.File, error] {
	return func(yield func(generate.File, error) bool) {
		for _, f := range p.files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// printDryRun shows what the job would be, for people.
func (c *jobCommands) printDryRun(d *dryRun) error {
	t := tabwriter.NewWriter(c.w.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Operation\t%s\n", printable(operationText(&d.Operation)))
	fmt.Fprintf(t, "Tasks\t%s, in %s %s\n", thousands(d.Tasks), thousands(d.Chunks), plural(d.Chunks, "chunk"))
	fmt.Fprintf(t, "Bytes\t%s\n", d.bytesText())
	if d.Leniency != "" {
		fmt.Fprintf(t, "Read leniently\t%s\n", printable(d.Leniency))
	}
	report := "none"
	if d.Report != nil {
		report = d.Report.text()
	}
	fmt.Fprintf(t, "Report\t%s\n", printable(report))
	if d.Target != nil {
		fmt.Fprintf(t, "Copies\t%s\n", printable(d.Target.text()))
	}
	if d.ManifestOutput != nil {
		fmt.Fprintf(t, "Manifest kept\t%s\n", printable(d.ManifestOutput.text()))
	}
	for i, w := range d.Sample {
		label := ""
		if i == 0 {
			label = "First tasks"
		}
		for _, call := range w.Calls {
			fmt.Fprintf(t, "%s\t%s\n", label, escaped(call))
			label = ""
		}
		if w.Outcome != "" {
			fmt.Fprintf(t, "%s\ts3://%s  %s\n", label, escaped(w.Bucket+"/"+w.Key), printable(w.Outcome))
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	fmt.Fprintln(c.w.stderr, "dry run: nothing was changed, no job was created")
	return nil
}

// bytesText says how much the objects hold.
func (d *dryRun) bytesText() string {
	switch e := d.Estimate; {
	case d.Bytes != nil:
		return thousands(*d.Bytes)
	case e != nil && e.Sampled == e.Missing:
		return fmt.Sprintf("unknown: none of %d objects looked at is there", e.Sampled)
	case e != nil:
		text := fmt.Sprintf("some %s, by %d objects looked at", thousands(e.Bytes), e.Sampled)
		if int64(e.Sampled) == d.Tasks {
			text = fmt.Sprintf("%s, by all %d objects", thousands(e.Bytes), e.Sampled)
		}
		if e.Missing > 0 {
			text += fmt.Sprintf(", of which %d are not there", e.Missing)
		}
		return text
	}
	return "unknown: the manifest does not tell (--head-sample 100 estimates)"
}

// plural is a noun for n of its kind.
func plural(n int64, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
