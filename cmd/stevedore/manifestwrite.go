package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/source"
	"stevedore/internal/source/check"
	"stevedore/internal/source/place"
)

// outFlags say where and how a list is written.
type outFlags struct{ to, out string }

func (f *outFlags) add(cmd *cobra.Command) {
	var names []string
	for _, format := range place.Formats() {
		names = append(names, string(format))
	}
	cmd.Flags().StringVar(&f.to, "to", string(place.CSV), strings.Join(names[:len(names)-1], ", ")+" or "+names[len(names)-1])
	cmd.Flags().StringVar(&f.out, "out", "-", "`FILE` or s3://bucket/key; a folder for inventory")
}

// place returns where the list is to be written, and how.
func (f *outFlags) place() (place.Place, place.Format, error) {
	format := place.Format(strings.ToLower(f.to))
	if !slices.Contains(place.Formats(), format) {
		return place.Place{}, "", usagef("--to %s: want csv, csv.gz, inventory or parquet", f.to)
	}
	p, err := place.Parse(f.out)
	switch {
	case err != nil:
		return p, "", usagef("--out: %s", err)
	case p.Object.VersionID != "":
		return p, "", usagef("--out %s: a version cannot be written over", f.out)
	case format == place.Inventory && p.Stream():
		return p, "", usagef("--to inventory writes several files: want --out FOLDER or s3://bucket/prefix")
	case format != place.Inventory && p.Stored() && (p.Object.Key == "" || strings.HasSuffix(p.Object.Key, "/")):
		return p, "", usagef("--out %s: want the key of an object, such as %s, or --to inventory", f.out, p.In("list."+string(format)))
	}
	return p, format, nil
}

// destination is where a list is to be written, and how.
type destination struct {
	place  place.Place
	format place.Format
	to     place.Streams
}

// destination looks whether a list can be written where it is to be, as far as that can be told before there is one:
// whoever lists a large bucket hears of it at once.
func (d *desk) destination(ctx context.Context, f outFlags) (*destination, error) {
	p, format, err := f.place()
	if err != nil {
		return nil, err
	}
	at := &destination{p, format, place.Streams{Stdout: d.w.stdout}}
	switch {
	case p.Stream():
		return at, nil
	case p.Stored():
		if at.to.Store, err = d.store(ctx); err != nil {
			return nil, err
		}
	default:
		if err := f.checkFile(p, format); err != nil {
			return nil, d.explain("write "+f.out, err)
		}
	}
	if format != place.Inventory {
		return at, nil
	}
	there, err := at.to.HasInventory(ctx, p)
	if there {
		err = &problem{
			what: p.In(place.Manifest).String() + " is there: nothing was written",
			why:  "a new inventory would take its place and leave its data files behind",
			try:  "another folder, or to remove that inventory first", code: exitFailed,
		}
	}
	return at, d.explain("write "+f.out, err)
}

// checkFile looks at what is where a file or a folder of this machine is to be.
func (f *outFlags) checkFile(p place.Place, format place.Format) error {
	stat, err := os.Stat(p.File)
	switch {
	case err == nil && stat.IsDir() && format != place.Inventory:
		return usagef("--out %s is a folder: want a file, such as %s, or --to inventory", f.out, p.In("list."+string(format)))
	case err == nil && !stat.IsDir() && format == place.Inventory:
		return usagef("--out %s is a file: an inventory is several, and wants a folder", f.out)
	case errors.Is(err, fs.ErrNotExist) && format != place.Inventory:
		_, err = os.Stat(filepath.Dir(p.File))
		return err
	}
	return nil
}

// made is what there is to say of a list that was written.
type made struct {
	Rows        int64
	ObjectBytes *int64 `json:",omitempty"` // of the objects in it
	Seconds     float64
	Out         string
	Bytes       int64 // of the list
	ETag        string
	Manifest    *job.Manifest `json:",omitempty"` // for a request to create a job
	Tags        []job.Tag     `json:",omitempty"` // that the request needs

	format  place.Format
	written place.Written
}

// write writes the rows of src that pass through edit; how many they are may be 0 if that is not known.
func (d *desk) write(ctx context.Context, name string, src *source.Source, rows int64, at *destination, edit func(*manifest.Row)) (*made, error) {
	d.meter.clear()
	defer d.meter.clear()
	columns := manifest.Columns{VersionID: d.versions(src)}
	least := 2
	if src.Layout.HasVersionID() {
		least++
	}
	columns.Size = len(src.Layout.Cells()) > least
	what := "write " + at.place.String()
	out, err := at.to.NewWriter(ctx, at.place, at.format, columns)
	if err != nil {
		return nil, d.explain(what, err)
	}
	err = d.each(ctx, name, src, func(row *manifest.Row) (bool, error) {
		edit(row)
		if n := out.Rows() + 1; n%often == 0 && !at.place.Stream() {
			d.show(sample{label: "write", unit: "rows", done: n, total: rows})
		}
		return true, d.explain(what, out.Write(row))
	})
	if err == nil && out.Rows() == 0 {
		err = &problem{what: name + " has no rows: nothing was written", code: exitNothing}
	}
	if err != nil {
		out.Abort()
		return nil, err
	}
	written, err := out.Close()
	if err != nil {
		return nil, d.explain(what, err)
	}
	m := &made{
		Rows: out.Rows(), Out: at.place.String(), Bytes: written.Size, ETag: written.ETag,
		Manifest: manifestOf(written, at.format, out.Fields()), format: at.format, written: written,
	}
	if m.Manifest != nil && at.format == place.Gzip {
		m.Tags = []job.Tag{{Key: job.TagManifest, Value: "lenient"}}
	}
	return m, nil
}

// unnamed stands for the bucket that a local file is to be uploaded to.
const unnamed = "BUCKET"

// manifestOf is what a request to create a job says of a list; nil if no job takes it as it is.
func manifestOf(w place.Written, format place.Format, fields []job.Field) *job.Manifest {
	m := &job.Manifest{Spec: &job.ManifestSpec{Format: job.ManifestCSV, Fields: fields}, Location: &job.ManifestLocation{ETag: w.ETag}}
	switch {
	case format == place.Parquet, w.Place.Stream(), w.Place.Flows():
		return nil
	case format == place.Inventory && !w.Place.Stored():
		return nil // its files do not know where they will be
	case format == place.Inventory:
		m.Spec.Format = job.ManifestInventory
	}
	if w.Place.Stored() {
		m.Location.ObjectArn = "arn:aws:s3:::" + w.Place.Object.Bucket + "/" + w.Place.Object.Key
	} else {
		m.Location.ObjectArn = "arn:aws:s3:::" + unnamed + "/" + filepath.Base(w.Place.File)
	}
	return m
}

// report says what was written, on standard output unless that has the list.
func (d *desk) report(m *made) error {
	to := d.w.stdout
	if m.written.Place.Stream() || m.written.Place.Flows() {
		to = d.w.stderr
	}
	if d.output == "json" {
		return writeJSON(to, m)
	}
	objects := thousands(m.Rows) + " " + plural(m.Rows, "row")
	if m.ObjectBytes != nil {
		objects += ", objects of " + iec(*m.ObjectBytes)
	}
	fmt.Fprintf(to, "%s, in %s\n", objects, time.Duration(m.Seconds*float64(time.Second)).Round(time.Millisecond))
	if m.written.Place.Stream() {
		return nil
	}
	fmt.Fprintf(to, "written   %s, %s\nETag      %s\n", m.written.Place, iec(m.Bytes), m.ETag)
	switch {
	case m.format == place.Parquet:
		fmt.Fprintln(to, "no job takes it: for one, convert it to csv or inventory")
		return nil
	case m.Manifest == nil:
		fmt.Fprintln(to, "for a job, write it to the bucket where it is to be read: --out s3://bucket/prefix")
		return nil
	}
	text, err := json.Marshal(m.Manifest)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	fmt.Fprintf(to, "--manifest %s\n", quoteShell(string(text)))
	if !m.written.Place.Stored() {
		fmt.Fprintf(to, "once it is in a bucket, uploaded in one piece: put its name for %s\n", unnamed)
	}
	if m.format == place.Gzip {
		fmt.Fprintln(to, "and with the job tag stevedore:manifest=lenient, as it is compressed")
	}
	return nil
}

// iec writes a number of bytes for people.
func iec(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), -1
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

func (c *manifestCommands) convert() *cobra.Command {
	var (
		fields fieldsFlag
		out    outFlags
		null   bool
		raw    bool
	)
	cmd := &cobra.Command{
		Use:   "convert LIST",
		Short: "Write a list in another form, or cleaned",
		Long: `Writes the rows of any list as

  csv        a CSV manifest: Bucket,Key or Bucket,Key,VersionId
  csv.gz     the same, compressed; a job takes it only leniently
  inventory  a folder with manifest.json and gzip CSV data files
  parquet    one file with the columns bucket, key, version_id, size

Lists are read leniently, see "stevedore manifest validate", and written strictly: so csv
to csv takes away headers, byte order marks and what else a job would not take, and
encodes keys anew. Keys of CSV are URL-encoded, unless --raw-keys says that they are not,
as in what a shell or a spreadsheet has made. For a job, write an inventory to the bucket
where it is to be read.
A file or an object that is at --out is replaced, once all is written.

A file of a completion report becomes a manifest of its tasks: the columns are guessed.`,
		Example: `  stevedore manifest convert export.csv --out clean.csv
  stevedore manifest convert s3://inv/daily/manifest.json --to parquet --out objects.parquet
  stevedore manifest convert failed.csv --to inventory --out s3://manifests/again`,
		Args: listArgument(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(func(d *desk) error {
				d.rawKeys = raw
				return d.convert(cmd.Context(), args[0], fields, out, null)
			})
		},
	}
	fields.add(cmd)
	out.add(cmd)
	cmd.Flags().BoolVar(&raw, "raw-keys", false, "take the keys of CSV as they stand: they are not URL-encoded")
	cmd.Flags().BoolVar(&null, "null-versions", false, "write null for empty version ids, which would fail their tasks")
	return cmd
}

func (d *desk) convert(ctx context.Context, name string, fields fieldsFlag, out outFlags, null bool) error {
	started := time.Now()
	p, _, err := out.place()
	if err != nil {
		return err
	}
	if from, err := place.Parse(name); err == nil && !p.Stream() && (from == p || !p.Stored() && !from.Stored() && sameFile(from.File, p.File)) {
		return usagef("%s cannot be read and written at once", name)
	}
	at, err := d.destination(ctx, out)
	if err != nil {
		return err
	}
	src, err := d.open(ctx, name, fields, math.MaxInt64)
	if err != nil {
		return err
	}
	null = null && d.versions(src)
	var plus int64
	m, err := d.write(ctx, name, src, 0, at, func(row *manifest.Row) {
		if null && len(row.VersionID) == 0 {
			row.VersionID = []byte("null")
		}
		if d.plus && !d.rawKeys && bytes.IndexByte(row.RawKey, '+') >= 0 {
			plus++
		}
	})
	if plus > 0 {
		d.meter.say(fmt.Sprintf("note: %s %s %s", thousands(plus), plural(plus, "row"), check.Plus))
	}
	if err != nil {
		return err
	}
	m.Seconds = time.Since(started).Seconds()
	return d.report(m)
}
