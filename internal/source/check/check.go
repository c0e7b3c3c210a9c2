// Package check looks at a list of objects for everything that would fail a job on it, or its tasks.
//
//	source.Source ─▶ every row, also behind a bad one ─▶ Report
//	                   ├─▶ hashes in a temporary file ─▶ rows that may be twice ─▶ compared in a second reading
//	                   └─▶ a sample, spread over the list ─▶ HEAD
//
// Memory is bounded, however long the list is.
package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// Options say what to look at.
type Options struct {
	Most   int    // problems after which the reading ends, and rows that are there twice that are shown; 0: 20
	Binary bool   // the list is no lines of text: there is no next line after a bad one
	Bucket string // rows of other buckets are warned of; empty: those of several buckets
	// Inventory says that the keys are written as inventories have them: with + for a space.
	Inventory bool
	// Unversioned says that the version ids of rows are not meant to be any: those that have one are warned of.
	Unversioned bool
	Dupes       bool // look for rows that are there more than once
	Sample      int  // look at so many objects, with Head
	Head        func(ctx context.Context, o objectstore.Object) (objectstore.Info, error)
	// Progress is told now and then, by one goroutine, of the rows read and of about how many there are; nil: nobody.
	Progress func(rows, total int64)
}

// Report is what was found.
type Report struct {
	Rows int64 // that are sound
	// Problems fail a job, the first of them before its first task.
	Problems []Problem `json:",omitempty"`
	Unread   bool      `json:",omitempty"` // there may be more problems: not everything could be read, or there were too many
	Warnings []Warning `json:",omitempty"`
	Leniency string    `json:",omitempty"` // what was put up with
	Sampled  int64     `json:",omitempty"` // objects looked at
}

// Problem is something that fails a job.
type Problem struct {
	File string `json:",omitempty"` // key, if the list has several
	Line int64  `json:",omitempty"` // counted from 1; in a columnar file, of the row; 0 if it is about the whole
	Text string // as the job says it
}

// Warning is something that a job puts up with, and may not be what is meant.
type Warning struct {
	Rows int64  // that it is about
	Text string // which rows they are, such as "with an empty version id"
	File string `json:",omitempty"` // of the first
	Line int64  `json:",omitempty"` // likewise
}

const (
	defaultMost = 20
	// mostBuckets bounds the buckets that are told apart.
	mostBuckets = 1000
	// patience is how many lines are passed in search of the one behind a bad row, if there are empty ones before it.
	patience = 1000
	progress = 1 << 16 // rows between two calls
)

// Plus is what there is to say of rows of a CSV manifest whose key has one.
const Plus = "with a + in the key, which stands for a space; write %2B for a plus"

// Run reads the whole list, twice if it looks for duplicates that there seem to be. Its error is one of reading that may
// be tried again, of writing temporary files, or the cause of the end of ctx.
func Run(ctx context.Context, src *source.Source, o Options) (*Report, error) {
	if o.Most <= 0 {
		o.Most = defaultMost
	}
	c := &checker{
		src: src, options: o, report: &Report{},
		versions: src.Layout.HasVersionID() && !o.Unversioned, buckets: map[string]bool{},
	}
	if o.Dupes {
		var err error
		if c.hashes, err = newHashes(); err != nil {
			return nil, err
		}
		defer c.hashes.close()
	}
	notes := src.Notes()
	c.notes = &notes
	if err := c.walk(ctx, c.row, c.problem); err != nil {
		return nil, err
	}
	r := c.report
	if r.Rows == 0 && len(r.Problems) == 0 {
		r.Problems = append(r.Problems, Problem{Text: "Invalid Manifest Content: the manifest has no rows"})
	}
	if src.Layout.Lenient {
		r.Leniency = notes.String()
		if unclear := notes.Unclear(); unclear != "" {
			r.Problems = append(r.Problems, Problem{Text: unclear})
		}
	}
	c.aboutBuckets()
	for _, w := range []*Warning{&c.foreign, &c.noVersion, &c.version, &c.plus, &c.slash} {
		if w.Rows > 0 {
			r.Warnings = append(r.Warnings, *w)
		}
	}
	if o.Dupes {
		if err := c.dupes(ctx); err != nil {
			return nil, err
		}
	}
	return r, c.look(ctx)
}

// checker reads one list.
type checker struct {
	src      *source.Source
	options  Options
	report   *Report
	versions bool
	notes    *manifest.Notes // of the first reading; nil in the second

	buckets  map[string]bool // and whether they can be none
	last     string          // the bucket of the row before
	lastNone bool            // it can be none
	none     string          // the first such bucket

	misnamed, foreign, noVersion, version, plus, slash Warning

	hashes  *hashes
	sample  []entry
	stopped bool // there were too many problems
}

// entry is a row that is kept.
type entry struct {
	object objectstore.Object
	at     where
}

// where is the place of a row.
type where struct {
	file int
	line int64
}

// row looks at a sound row.
func (c *checker) row(row *manifest.Row, at func() where) error {
	c.report.Rows++
	if string(row.Bucket) != c.last {
		c.bucket(string(row.Bucket))
	}
	if c.lastNone {
		c.warn(&c.misnamed, at, "") // the text comes when all such buckets are known
	}
	if c.options.Bucket != "" && c.last != c.options.Bucket {
		c.warn(&c.foreign, at, "of another bucket than "+c.options.Bucket)
	}
	if c.versions && len(row.VersionID) == 0 {
		c.warn(&c.noVersion, at, "with an empty version id: their tasks fail where the bucket keeps versions; write null, or leave the column out")
	}
	if c.options.Unversioned && len(row.VersionID) > 0 {
		c.warn(&c.version, at, "with something in the third column, which is empty in the first rows; if those are version ids, say so: --fields")
	}
	if !c.options.Inventory && bytes.IndexByte(row.RawKey, '+') >= 0 {
		c.warn(&c.plus, at, Plus)
	}
	if row.Key[0] == '/' {
		c.warn(&c.slash, at, "with a key that begins with /, as few objects have")
	}
	if n := c.options.Sample; n > 0 {
		c.draw(row, at, n)
	}
	if c.hashes != nil {
		return c.hashes.add(c.hashes.of(row))
	}
	return nil
}

// bucket makes name the present one.
func (c *checker) bucket(name string) {
	c.last, c.lastNone = name, !isBucket(name)
	if c.lastNone && c.none == "" {
		c.none = name
	}
	if len(c.buckets) < mostBuckets {
		c.buckets[name] = c.lastNone
	}
}

// warn counts a row, and notes the first.
func (c *checker) warn(w *Warning, at func() where, text string) {
	if w.Rows++; w.Rows > 1 {
		return
	}
	first := at()
	w.Text, w.File, w.Line = text, c.name(first.file), first.line
}

// name is what a file of the list is called, "" if it is the only one.
func (c *checker) name(file int) string {
	if len(c.src.Files) < 2 {
		return ""
	}
	return c.src.Files[file].Object.Key
}

// draw keeps a row for the sample with the same chance as any other.
func (c *checker) draw(row *manifest.Row, at func() where, size int) {
	i := len(c.sample)
	if i >= size {
		if i = int(rand.Int64N(c.report.Rows)); i >= size {
			return
		}
	} else {
		c.sample = append(c.sample, entry{})
	}
	c.sample[i] = entry{objectstore.Object{Bucket: string(row.Bucket), Key: string(row.Key), VersionID: string(row.VersionID)}, at()}
}

// aboutBuckets warns of names that are none, and of several of them.
func (c *checker) aboutBuckets() {
	names, nones := len(c.buckets), 0
	for _, none := range c.buckets {
		if none {
			nones++
		}
	}
	orMore := ""
	if names == mostBuckets {
		orMore = " or more"
	}
	if c.misnamed.Rows > 0 {
		c.misnamed.Text = fmt.Sprintf("of the bucket %.100q, which is no name of a bucket", c.none)
		if nones > 1 {
			c.misnamed.Text = fmt.Sprintf("of %d buckets%s, such as %.100q, which are no names of buckets; are the columns in the order of the fields?",
				nones, orMore, c.none)
		}
		c.report.Warnings = append(c.report.Warnings, c.misnamed)
	}
	if names < 2 || c.options.Bucket != "" {
		return
	}
	text := fmt.Sprintf("of %d buckets%s; copies, legal holds and retention want one", names, orMore)
	c.report.Warnings = append(c.report.Warnings, Warning{Rows: c.report.Rows, Text: text})
}

// isBucket reports whether a store may have a bucket of that name.
func isBucket(name string) bool {
	const shortest, longest = 3, 255
	return shortest <= len(name) && len(name) <= longest && objectstore.MayBeBucket(name)
}

// problem notes a problem and reports whether to go on.
func (c *checker) problem(p Problem) bool {
	c.report.Problems = append(c.report.Problems, p)
	if len(c.report.Problems) < c.options.Most {
		return true
	}
	c.report.Unread, c.stopped = true, true
	return false
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// walk calls row with every sound row, and bad with what is wrong with the others, until it returns false.
func (c *checker) walk(ctx context.Context, row func(row *manifest.Row, at func() where) error, bad func(Problem) bool) error {
	for i := range c.src.Files {
		w := walker{checker: c, file: i, row: row, bad: bad}
		if err := w.walk(ctx); errors.Is(err, errEnough) {
			break
		} else if err != nil {
			return err
		}
	}
	return nil
}

// walker reads one file.
type walker struct {
	*checker

	file   int
	row    func(row *manifest.Row, at func() where) error
	bad    func(Problem) bool
	rows   *source.Rows
	before int64 // lines before those that rows counts

	line  int64 // of the last problem
	from  int64 // where rows begin, if there was one
	again int64 // empty lines that were passed since then
}

// walk reads the file up to its end, a bad row that cannot be passed over, or an error.
func (w *walker) walk(ctx context.Context) (err error) {
	w.rows, err = w.src.Open(ctx, w.file, "", manifest.Position{}, manifest.Position{})
	for {
		if err == nil {
			err = w.read()
		}
		failed, ok := errors.AsType[*job.FailedError](err)
		if !ok {
			return err // nil, too
		}
		p := Problem{File: w.name(w.file), Text: failed.Reason.FailureReason}
		if e, ok := errors.AsType[*manifest.Error](err); ok {
			e = e.Move(w.before)
			p.Line, p.Text = e.Line, e.Reason
		}
		if p.Line == 0 {
			w.unread()
			if !w.bad(p) {
				return errEnough
			}
			return nil
		}
		var more bool
		if more, err = w.pass(ctx, p); err == nil && !more {
			return nil
		}
		if errors.Is(err, errEnough) {
			return err
		}
	}
}

// pass goes on behind a bad row. It returns false where there is nothing more to read, or no way.
func (w *walker) pass(ctx context.Context, p Problem) (more bool, err error) {
	f, at := w.src.Files[w.file], w.rows.Position()
	from := at.Offset + 1
	switch {
	case from <= w.from: // still in a line that is too long, which was told of
		w.unread()
		return false, nil
	case p.Line == w.line:
		w.again++ // there was an empty line before it
	case !w.bad(p):
		return false, errEnough
	default:
		w.line, w.again = p.Line, 0
	}
	w.from = from
	switch {
	case w.again > patience, w.options.Binary, f.Kind == source.Gzip, f.Kind == source.Zstd:
		w.unread()
		return false, nil
	case f.Kind != source.Text:
		w.rows, err = w.src.Open(ctx, w.file, "", manifest.Position{Offset: from, Line: at.Line + 1}, manifest.Position{})
	case from >= f.Size:
		return false, nil
	default:
		// A piece begins with the first line that starts in it: the one behind the byte at the place where reading
		// has stopped.
		w.before += at.Line
		w.rows, err = w.src.Piece(ctx, w.file, from, f.Size)
	}
	return true, err
}

// unread notes that the rest of the file is not known.
func (w *walker) unread() {
	if w.notes != nil {
		w.report.Unread = true
	}
}

// read reads rows and returns what ended that.
func (w *walker) read() error {
	rows := w.rows
	defer rows.Close()
	at := func() where { return where{w.file, w.before + rows.Position().Line - 1} }
	var row manifest.Row
	for n := 1; rows.Next(&row); n++ {
		if err := w.row(&row, at); err != nil {
			return err
		}
		if n%progress == 0 && w.options.Progress != nil && w.notes != nil {
			w.options.Progress(w.report.Rows, w.estimate())
		}
	}
	if w.notes != nil {
		w.notes.Add(rows.Notes())
	}
	return rows.Err()
}

// estimate returns about how many rows the list has.
func (w *walker) estimate() int64 {
	var all int64 // bytes
	for _, f := range w.src.Files {
		all += f.Size
	}
	count := float64(w.rows.Estimate()) * float64(all) / float64(max(1, w.src.Files[w.file].Size))
	return max(int64(count), w.report.Rows)
}
