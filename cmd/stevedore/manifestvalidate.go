package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
	"stevedore/internal/source/check"
	"stevedore/internal/source/place"
)

// validateFlags say what to look at.
type validateFlags struct {
	fields  fieldsFlag
	options check.Options
	lenient bool
}

func (c *manifestCommands) validate() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate LIST",
		Short: "Find what would fail a job on a list, and what is odd in it",
		Long: `Reads a list as planning a job does, and goes on behind a bad row where lines can be told
apart: not in what is compressed. Exits with 10 if a job would fail on the list, as any job
does on a Parquet or ORC file without its inventory.
Everything else is a warning: empty version ids, several buckets, names that are none,
a + that stands for a space and, if asked for, rows that are there twice and objects
that are not.

--lenient reads as jobs do with the tag stevedore:manifest=lenient: header rows, a byte
order mark, compression, spaces in keys and around cells and empty columns at the end
are put up with.`,
		Example: `  stevedore manifest validate photos.csv
  stevedore manifest validate s3://manifests/photos.csv --dupes --check 100
  stevedore manifest validate export.csv --lenient --bucket photos -o json`,
		Args: listArgument(),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.options.Most < 1:
				return usagef("--problems %d: want a positive number", f.options.Most)
			case f.options.Sample < 0:
				return usagef("--check %d: want a number of objects", f.options.Sample)
			}
			return c.with(func(d *desk) error { return d.validate(cmd.Context(), args[0], f) })
		},
	}
	f.fields.add(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&f.lenient, "lenient", false, "put up with what the tag stevedore:manifest=lenient does")
	fs.BoolVar(&f.options.Dupes, "dupes", false, "look for rows that are there twice (8 bytes of disk per row)")
	fs.IntVar(&f.options.Sample, "check", 0, "look at `N` objects, spread over the list")
	fs.StringVar(&f.options.Bucket, "bucket", "", "warn of rows of other buckets than `NAME`")
	fs.IntVar(&f.options.Most, "problems", 20, "end after `N` problems; show so many duplicates")
	return cmd
}

// validated is what was found, with what was looked at.
type validated struct {
	Valid  bool
	Format job.ManifestFormat
	Fields []job.Field `json:",omitempty"`
	*check.Report
}

func (d *desk) validate(ctx context.Context, name string, f validateFlags) error {
	columns, err := f.fields.fields()
	if err != nil {
		return err
	}
	if f.options.Sample > 0 {
		if _, err := d.store(ctx); err != nil {
			return err
		}
		f.options.Head = func(ctx context.Context, o objectstore.Object) (objectstore.Info, error) {
			return d.access.Head(ctx, o)
		}
	}
	l, err := d.find(ctx, name, place.Options{Fields: columns, Lenient: f.lenient}, math.MaxInt64)
	if err != nil {
		return err
	}
	f.options.Binary, f.options.Unversioned, f.options.Inventory = l.Foreign, l.Unversioned, l.Spec.Format == job.ManifestInventory
	report, err := d.check(ctx, l, f.options)
	if err != nil {
		return d.explain("validate "+name, err)
	}
	if l.Alone != "" {
		report.Problems = append(report.Problems, check.Problem{Text: "no job takes a file of " + l.Alone + " alone, but only the manifest.json of an inventory that has it"})
	}
	v := validated{len(report.Problems) == 0, l.Format(), l.Fields, report}
	if d.output == "json" {
		err = d.json(v)
	} else {
		_, err = fmt.Fprint(d.w.stdout, v.text())
	}
	if err != nil || v.Valid {
		return err
	}
	p := &problem{what: "a job on " + name + " would fail", code: exitInvalid}
	if l.Alone != "" && len(report.Problems) == 1 {
		p.try = try(d.w, "manifest convert "+quoteShell(name)+" --to inventory --out s3://bucket/prefix")
	}
	if !f.lenient && l.Fields != nil && d.curable(ctx, l) {
		p.try = try(d.w, "manifest convert "+quoteShell(name)+" --out clean.csv") + ", which takes away what --lenient puts up with"
	}
	return p
}

// curable reports whether a list is sound if it is read leniently, as convert reads it.
func (d *desk) curable(ctx context.Context, l *place.List) bool {
	lenient := *l
	lenient.Spec.Lenient = true
	report, err := d.check(ctx, &lenient, check.Options{Most: 1, Binary: l.Foreign})
	return err == nil && len(report.Problems) == 0 // of an error there is nothing more to say
}

// check reads a list. What already keeps it from being found fails a job, too.
func (d *desk) check(ctx context.Context, l *place.List, o check.Options) (*check.Report, error) {
	src, err := source.Locate(ctx, l.Objects, l.Versioned())
	if err != nil {
		failed, ok := errors.AsType[*job.FailedError](err)
		if !ok {
			return nil, err
		}
		return &check.Report{Problems: []check.Problem{{Text: failed.Reason.FailureReason}}, Unread: true}, nil
	}
	defer d.meter.clear()
	o.Progress = func(rows, total int64) { d.show(sample{label: "validate", unit: "rows", done: rows, total: total}) }
	return check.Run(ctx, src, o)
}

// text is a report for people: problems first, the sum last.
func (v *validated) text() string {
	var b strings.Builder
	line := func(kind, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s %s\n", kind, printable(fmt.Sprintf(format, args...)))
	}
	for _, p := range v.Problems {
		line("error", "%s", p.Text)
	}
	if v.Unread {
		line("error", "the list was not read to its end: there may be more")
	}
	for _, w := range v.Warnings {
		at := ""
		if w.File != "" {
			at = "file " + w.File + ", "
		}
		switch {
		case w.Line > 0 && w.Rows == 1:
			line("warning", "%sline %d: 1 row %s", at, w.Line, w.Text)
		case w.Line > 0:
			line("warning", "%s rows %s (first: %sline %d)", thousands(w.Rows), w.Text, at, w.Line)
		case w.Rows == 1:
			line("warning", "1 row %s", w.Text)
		default:
			line("warning", "%s rows %s", thousands(w.Rows), w.Text)
		}
	}
	if v.Leniency != "" {
		line("note", "%s, as the job tag stevedore:manifest=lenient asks for", v.Leniency)
	}
	sum := thousands(v.Rows) + " sound " + plural(v.Rows, "row")
	if v.Fields != nil {
		sum += ", columns " + columnsOf(v.Fields)
	}
	if v.Sampled > 0 {
		sum += ", " + thousands(v.Sampled) + " " + plural(v.Sampled, "object") + " looked at"
	}
	kind := "ok"
	if !v.Valid {
		kind = "bad"
	}
	line(kind, "%s", sum)
	return b.String()
}
