package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/plan"
	"stevedore/internal/source"
	"stevedore/internal/source/place"
)

// manifestCommands are the commands under manifest and what they have in common.
type manifestCommands struct {
	w       world
	connect connectFlags
	output  string
	quiet   bool
}

func newManifest(w world) *cobra.Command {
	c := &manifestCommands{w: w}
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "Make, check, look at and convert lists of objects",
		Long: `Works on lists of objects, in files of this machine and in buckets alike. A list is

  FILE, - (standard input) or s3://bucket/key[?versionId=ID], being
  a CSV manifest, plain or compressed with gzip or zstd, or a completion report,
  the manifest.json of an inventory, or the folder that has it,
  or a Parquet or ORC file of an inventory.

None is read into memory as a whole. Standard input, a pipe or a device is kept in a
temporary file first.

The store is that of the environment, as for stevedore exec: AWS_ENDPOINT_URL_S3 and
the other AWS_ variables, or --ready-file.`,
		Example: `  stevedore manifest make s3://photos/2024/ --out s3://manifests/photos.csv
  stevedore manifest validate photos.csv --dupes`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &problem{what: fmt.Sprintf("manifest has no command %q", args[0]), try: try(w, "manifest --help"), code: exitUsage}
			}
			return cmd.Help()
		},
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.connect.s3, "s3-endpoint-url", "", "`URL` of the store")
	flags.StringVar(&c.connect.region, "region", "", "`REGION` of the store")
	flags.StringVar(&c.connect.readyFile, "ready-file", "", "take both and the keys from `PATH`, written by stevedore dev")
	flags.StringVarP(&c.output, "output", "o", "table", "table or json")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "do not show progress on a terminal")
	cmd.AddCommand(c.count(), c.head(), c.convert(), c.make(), c.validate())
	return cmd
}

// one takes exactly one argument, which the usage line of the command names.
func one(meaning string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		name := strings.Fields(cmd.Use)[1]
		_, path, _ := strings.Cut(cmd.CommandPath(), " ")
		switch {
		case len(args) == 0:
			return usagef("%s needs %s, %s", path, name, meaning)
		case len(args) > 1:
			return usagef("%s takes only %s; what is %q?", path, name, args[1])
		}
		return nil
	}
}

// listArgument takes the list that a command reads.
func listArgument() cobra.PositionalArgs { return one("a list of objects: FILE, - or s3://bucket/key") }

// fieldsFlag says which columns a CSV list has.
type fieldsFlag struct{ text string }

func (f *fieldsFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.text, "fields", "", "`COLUMNS` of CSV, such as Bucket,Key,VersionId,Ignore (default: guessed)")
}

func (f *fieldsFlag) fields() ([]job.Field, error) {
	if f.text == "" {
		return nil, nil
	}
	var fields []job.Field
	for name := range strings.SplitSeq(f.text, ",") {
		known := job.Field("").Values()
		i := slices.IndexFunc(known, func(v string) bool { return strings.EqualFold(v, strings.TrimSpace(name)) })
		if i < 0 {
			return nil, usagef("--fields %s: there is no column %q: want %s", f.text, name, strings.Join(known, ", "))
		}
		fields = append(fields, job.Field(known[i]))
	}
	if _, err := manifest.NewLayout(fields); err != nil {
		return nil, usagef("--fields %s: want Bucket and Key, each once, and VersionId at most once", f.text)
	}
	return fields, nil
}

// desk is where one command does its work: it knows the store, once somebody asks for it.
type desk struct {
	*manifestCommands

	meter   *meter
	at      *connection // nil: not asked for yet
	access  *objectstore.Access
	cleanup []func()

	plus        bool        // a + in a key of the list is to be told of
	unversioned []job.Field // the columns of a list, if they were guessed to have no version ids
	rawKeys     bool        // the keys of CSV are not URL-encoded
}

// with gives a desk to do.
func (c *manifestCommands) with(do func(d *desk) error) error {
	if c.output != "table" && c.output != "json" {
		return usagef("-o %s: want table or json", c.output)
	}
	d := newDesk(c)
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE) // else head, once it has its rows, would end us before the temporary files are gone
	defer signal.Stop(pipe)
	defer func() {
		d.meter.clear()
		for _, f := range slices.Backward(d.cleanup) {
			f()
		}
	}()
	return do(d)
}

func newDesk(c *manifestCommands) *desk {
	return &desk{manifestCommands: c, meter: newMeter(c.w.stderr, c.w.getenv)}
}

// show tells how far the command is, if somebody is there to look.
func (d *desk) show(s sample) {
	if d.meter.width != nil && !d.quiet {
		d.meter.show(s)
	}
}

// store returns the store.
func (d *desk) store(ctx context.Context) (*objectstore.Access, error) {
	if d.access != nil {
		return d.access, nil
	}
	at, err := d.connect.connect(ctx, d.w)
	if err != nil {
		return nil, err
	}
	access, done, err := at.store(ctx, d.w)
	if err != nil {
		return nil, err
	}
	d.at, d.access = at, access
	d.cleanup = append(d.cleanup, done)
	return access, nil
}

// find finds the list that the user names. Of what can be read only once it reads limit bytes.
func (d *desk) find(ctx context.Context, name string, o place.Options, limit int64) (*place.List, error) {
	p, err := place.Parse(name)
	if err != nil {
		return nil, usagef("%s", err)
	}
	var objects source.Objects
	switch {
	case p.Stored():
		if objects, err = d.store(ctx); err != nil {
			return nil, err
		}
	case p.Stream(), p.Flows():
		open := func() (io.ReadCloser, error) { return os.Open(p.File) }
		if p.Stream() {
			open = func() (io.ReadCloser, error) { return io.NopCloser(d.w.stdin), nil }
		}
		spooled, done, err := place.Spool(ctx, open, limit)
		if err != nil {
			return nil, d.explain("read "+name, err)
		}
		d.cleanup = append(d.cleanup, done)
		p = spooled
	}
	l, err := place.Find(ctx, objects, p, o)
	if err != nil {
		return nil, d.explain("read "+name, err)
	}
	if o.Fields != nil && l.Fields == nil {
		return nil, usagef("--fields is for CSV; %s is %s, and tells its columns itself", name, l.Format())
	}
	d.plus = l.Fields != nil
	if l.Guessed != "" && l.Fields != nil {
		d.meter.say(fmt.Sprintf("note: columns %s, guessed from %s; if that is wrong: --fields", columnsOf(l.Fields), l.Guessed))
	}
	return l, nil
}

// open finds the list that the user names and opens it, leniently.
func (d *desk) open(ctx context.Context, name string, fields fieldsFlag, limit int64) (*source.Source, error) {
	columns, err := fields.fields()
	if err != nil {
		return nil, err
	}
	l, err := d.find(ctx, name, place.Options{Fields: columns, Lenient: true}, limit)
	if err != nil {
		return nil, err
	}
	if l.Unversioned {
		d.unversioned = l.Fields
	}
	spec := l.Versioned()
	if spec.RawKeys = d.rawKeys; d.rawKeys && l.Fields == nil {
		return nil, usagef("--raw-keys is for CSV; %s is %s", name, l.Format())
	}
	src, err := source.Locate(ctx, l.Objects, spec)
	if err != nil {
		return nil, d.explain("read "+name, err)
	}
	return src, nil
}

// often is how many rows are read between two looks at something else.
const often = 1 << 12

// each calls do with the rows of a list, in order, until do returns false.
func (d *desk) each(ctx context.Context, name string, src *source.Source, do func(row *manifest.Row) (bool, error)) error {
	notes := src.Notes()
	defer func() { d.noteLeniency(notes.String()) }()
	for i := range src.Files {
		more, err := func() (bool, error) {
			rows, err := src.Open(ctx, i, "", manifest.Position{}, manifest.Position{})
			if err != nil {
				return false, d.explain("read "+name, err)
			}
			defer rows.Close()
			defer func() { notes.Add(rows.Notes()) }()
			var row manifest.Row
			for n := 1; rows.Next(&row); n++ {
				if n%often == 0 && ctx.Err() != nil {
					return false, context.Cause(ctx)
				}
				if d.unversioned != nil && len(row.VersionID) > 0 {
					return false, misguessed(name, rows.Position().Line-1, len(d.unversioned))
				}
				if more, err := do(&row); err != nil || !more {
					return false, err
				}
			}
			return true, d.explain("read "+name, rows.Err())
		}()
		if err != nil || !more {
			return err
		}
	}
	if unclear := notes.Unclear(); unclear != "" {
		return &problem{
			what: "read " + name, why: unclear,
			try: `stevedore manifest convert --raw-keys, if all keys stand as they are: "+" and "%20" are no spaces`, code: exitInvalid,
		}
	}
	return nil
}

// versions reports whether the rows of a list have version ids.
func (d *desk) versions(src *source.Source) bool {
	return src.Layout.HasVersionID() && d.unversioned == nil
}

// misguessed says that a row has a version id, which those that the columns were guessed from have not.
func misguessed(name string, line int64, columns int) *problem {
	rest := strings.Repeat(",Ignore", columns-3)
	return &problem{
		what: fmt.Sprintf("read %s: line %d has something in the third column, which is empty in the first rows", name, line),
		try:  "--fields Bucket,Key,VersionId" + rest + " if those are version ids, else --fields Bucket,Key,Ignore" + rest, code: exitUsage,
	}
}

// noteLeniency says what a job would not put up with unless it is told to.
func (d *desk) noteLeniency(what string) {
	if what != "" {
		d.meter.say("note: " + what + "; a job does so only with the tag stevedore:manifest=lenient")
	}
}

// explain turns an error into one for the person at the terminal; what says what did not work.
func (d *desk) explain(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	p := &problem{what: what, why: printable(err.Error()), code: exitFailed, err: err}
	if e, ok := errors.AsType[*place.FieldsError](err); ok {
		p.what, p.why, p.code = what+": "+e.Error(), "", exitUsage
		p.try = "--fields Bucket,Key" + strings.Repeat(",Ignore", e.Columns-2)
		return p
	}
	if e, ok := errors.AsType[*job.FailedError](err); ok {
		p.why = printable(e.Reason.FailureReason)
		p.code = map[string]int{
			job.CodeInvalidManifest: exitInvalid, job.CodeManifestNotFound: exitNotFound,
			job.CodeManifestForbidden: exitDenied, job.CodeManifestChanged: exitConflict,
		}[e.Reason.FailureCode]
		if p.code == 0 {
			p.code = exitFailed
		}
		return p
	}
	if _, ok := errors.AsType[*objectstore.Error](err); ok && d.at != nil {
		return d.at.storeProblem(d.w, what, err)
	}
	switch {
	case errors.Is(err, place.ErrReport):
		p.code = exitInvalid
	case errors.Is(err, fs.ErrNotExist):
		p.code = exitNotFound
	case errors.Is(err, fs.ErrPermission):
		p.code = exitDenied
	}
	return p
}

// json writes v for programs.
func (d *desk) json(v any) error {
	e := json.NewEncoder(d.w.stdout)
	e.SetIndent("", "    ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// columnsOf is how the columns of a list are written.
func columnsOf(fields []job.Field) string {
	var names []string
	for _, f := range fields {
		names = append(names, string(f))
	}
	return strings.Join(names, ",")
}

func (c *manifestCommands) count() *cobra.Command {
	var fields fieldsFlag
	cmd := &cobra.Command{
		Use:   "count LIST",
		Short: "Count the rows of a list",
		Long: `Counts the rows of a list, which are the tasks of a job on it: on all cores, and with
every row checked as planning a job does. Standard output has the number alone.

Lists are read leniently, see "stevedore manifest validate"; what was put up with
is said on standard error.`,
		Example: `  stevedore manifest count photos.csv
  stevedore manifest count s3://inventory/photos/daily/2026-11-01T01-00Z/manifest.json -o json`,
		Args: listArgument(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(func(d *desk) error { return d.count(cmd.Context(), args[0], fields) })
		},
	}
	fields.add(cmd)
	return cmd
}

// counted is what there is to say of a list that was counted.
type counted struct {
	Rows     int64
	Bytes    int64 // of what stands at the place
	Format   job.ManifestFormat
	Fields   []job.Field `json:",omitempty"`
	Leniency string      `json:",omitempty"`
}

// count counts by planning a job that is not to be.
func (d *desk) count(ctx context.Context, name string, fields fieldsFlag) error {
	columns, err := fields.fields()
	if err != nil {
		return err
	}
	l, err := d.find(ctx, name, place.Options{Fields: columns, Lenient: true}, math.MaxInt64)
	if err != nil {
		return err
	}
	forget := func(_ context.Context, _ []job.Chunk, cp job.Checkpoint) error {
		s := sample{label: "count", unit: "rows", done: cp.Rows}
		if l.Fields != nil && !l.Foreign && cp.Offset > 0 {
			s.total = int64(float64(cp.Rows) * float64(l.Size) / float64(cp.Offset)) // about
		}
		d.show(s)
		return nil
	}
	p, err := plan.Make(ctx, plan.Request{Source: l.Spec}, l.Objects, job.Checkpoint{}, forget)
	d.meter.clear()
	if err != nil && !errors.Is(err, plan.ErrNoRows) {
		return d.explain("count "+name, err)
	}
	d.noteLeniency(p.Leniency)
	if d.output == "json" {
		return d.json(counted{p.Tasks, l.Size, l.Format(), l.Fields, p.Leniency})
	}
	fmt.Fprintln(d.w.stdout, p.Tasks)
	return nil
}

func (c *manifestCommands) head() *cobra.Command {
	var (
		fields fieldsFlag
		most   int64
	)
	cmd := &cobra.Command{
		Use:   "head LIST",
		Short: "Show the first rows of a list",
		Long: `Shows the first rows of a list, of whatever kind it is, as rows of a CSV manifest:
bucket, key (URL-encoded) and, where the list has them, version id.

With -o json each row is one line of JSON, with the key as it is in the bucket.
Lists are read leniently, see "stevedore manifest validate".`,
		Example: `  stevedore manifest head photos.csv
  stevedore manifest head -n 3 data.parquet -o json
  zcat photos.csv.gz | stevedore manifest head -`,
		Args: listArgument(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if most < 1 {
				return usagef("--rows %d: want a positive number", most)
			}
			return c.with(func(d *desk) error { return d.head(cmd.Context(), args[0], fields, most) })
		},
	}
	fields.add(cmd)
	cmd.Flags().Int64VarP(&most, "rows", "n", 10, "show `N` rows")
	return cmd
}

// shownRow is a row for programs.
type shownRow struct {
	Bucket, Key string
	VersionId   string `json:",omitempty"` //nolint:revive // the API's spelling
	Size        *int64 `json:",omitempty"`
}

func (d *desk) head(ctx context.Context, name string, fields fieldsFlag, most int64) error {
	const longest = 64 << 10 // bytes of a row
	limit := int64(math.MaxInt64)
	if most < math.MaxInt64/longest-32 {
		limit = (most + 32) * longest
	}
	src, err := d.open(ctx, name, fields, limit)
	if err != nil {
		return err
	}
	var (
		line  []byte
		shown int64
		each  = json.NewEncoder(d.w.stdout)
	)
	each.SetEscapeHTML(false)
	return d.each(ctx, name, src, func(row *manifest.Row) (bool, error) {
		shown++
		if d.output == "json" {
			r := shownRow{Bucket: string(row.Bucket), Key: string(row.Key), VersionId: string(row.VersionID)}
			if row.Size >= 0 {
				r.Size = &row.Size
			}
			return shown < most, each.Encode(r)
		}
		line = place.AppendRow(line[:0], row, d.versions(src))
		_, err := d.w.stdout.Write(line)
		return shown < most, err
	})
}
