package place

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// List is a list that was found: what package source reads.
type List struct {
	Spec    source.Spec
	Objects source.Objects
	Size    int64 // bytes of what stands at the place
	// Fields are the columns of a CSV list. Guessed says from what, if nobody said which they are and they can be
	// others: "the number of columns", "the header row".
	Fields  []job.Field
	Guessed string
	// Unversioned says that the third column was guessed to be none of version ids since it is empty in the first rows.
	Unversioned bool
	// Foreign says that a CSV list is no lines of text as it stands, but compressed or something else.
	Foreign bool
	// Alone is the format of a file of an inventory without its manifest.json, "Parquet" or "ORC": read here as an inventory
	// of this one file, and by no job.
	Alone string
}

// Options say how a list is to be read.
type Options struct {
	Fields  []job.Field // of a CSV list; nil: they are guessed
	Lenient bool        // see source.Spec
}

// FieldsError says that the columns of a list cannot be guessed.
type FieldsError struct{ Columns int }

// Error implements error.
func (e *FieldsError) Error() string {
	return fmt.Sprintf("the first row has %d columns: which of them are Bucket, Key and VersionId is for you to say", e.Columns)
}

// ErrReport says that what was found names the files of a completion report: each of those is a list, it is none.
var ErrReport = errors.New("it is the index of a completion report; a list is each of the files that it names")

// sniffed is how many bytes are looked at to find out what a file is: more than one line has.
const sniffed = 128 << 10

// Find finds the list at p, which is not a stream, and what kind it is: CSV, compressed or not, the manifest.json of an
// inventory or the folder that has it, or one Parquet or ORC file. store may be nil if p is a file. Errors are
// those of the file system, of the store, [ErrReport], and a *[FieldsError].
func Find(ctx context.Context, store source.Objects, p Place, o Options) (*List, error) {
	l := &List{Objects: store, Spec: source.Spec{Format: job.ManifestCSV, Object: p.Object, Lenient: o.Lenient}}
	folder := p
	if !p.Stored() {
		stat, err := os.Stat(p.File)
		if err != nil {
			return nil, err
		}
		if stat.IsDir() {
			p = p.In(Manifest)
		}
		l.Objects = files{p.File}
		l.Spec.Object = objectstore.Object{Bucket: fileBucket, Key: filepath.ToSlash(p.File)}
	} else if p.Object.Key == "" || strings.HasSuffix(p.Object.Key, "/") {
		l.Spec.Object = p.In(Manifest).Object
	}
	info, err := l.Objects.Head(ctx, l.Spec.Object)
	if err != nil && p.Stored() && objectstore.NotFound(err) {
		info, err = l.inFolder(ctx, p, err)
	}
	if err != nil && p.Stored() {
		err = l.reason(ctx, err)
	}
	if err != nil {
		if p != folder || p.Stored() && l.Spec.Object.Key != p.Object.Key {
			err = fmt.Errorf("%s is read as the folder of an inventory, by its %s: %w", folder, Manifest, err)
		}
		return nil, err
	}
	l.Spec.Object.ETag, l.Size = info.ETag, info.Size
	head, err := l.head(ctx)
	if err != nil {
		return nil, err
	}
	switch format := formatOf(head); {
	case format == manifest.FormatParquet, format == manifest.FormatORC:
		l.alone(format, l.Spec.Object, info.Size)
	case bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")):
		l.Spec.Format = job.ManifestInventory
		if bytes.Contains(head, []byte(`"`+job.ReportCSV+`"`)) {
			return nil, ErrReport
		}
	default:
		for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "PK\x03\x04", "\xff\xfe", "\xfe\xff"} {
			l.Foreign = l.Foreign || bytes.HasPrefix(head, []byte(magic))
		}
		if l.Fields = o.Fields; l.Fields == nil {
			err = l.guess(head)
		}
		l.Spec.Fields = l.Fields
	}
	return l, err
}

// Format is what the list is: a format that jobs know, or that of a file that stands alone.
func (l *List) Format() job.ManifestFormat { return cmp.Or(job.ManifestFormat(l.Alone), l.Spec.Format) }

// Versioned is how the list is read if one wants to know whether the guess was right that it is [List.Unversioned]: none
// of its rows has a version id then.
func (l *List) Versioned() source.Spec {
	spec := l.Spec
	if l.Unversioned {
		spec.Fields = slices.Clone(spec.Fields)
		spec.Fields[2] = job.FieldVersionID
	}
	return spec
}

// inFolder looks for the list in the folder p, as there is no object of that name. Whatever comes of that, missing is
// the error if it is not there.
func (l *List) inFolder(ctx context.Context, p Place, missing error) (objectstore.Info, error) {
	o := p.In(Manifest).Object
	if o.Key == l.Spec.Object.Key || p.Object.VersionID != "" {
		return objectstore.Info{}, missing
	}
	info, err := l.Objects.Head(ctx, o)
	if err != nil {
		return info, missing
	}
	l.Spec.Object = o
	return info, nil
}

// reason asks again for an object that could not be looked at: an answer to HEAD cannot say why.
func (l *List) reason(ctx context.Context, err error) error {
	if !objectstore.Refused(err) {
		return err
	}
	body, _, why := l.Objects.Open(ctx, l.Spec.Object, 0, 1)
	if why == nil {
		_ = body.Close() // one may read, but not look
		return err
	}
	return why
}

// head reads the beginning of the list.
func (l *List) head(ctx context.Context) ([]byte, error) {
	if l.Size == 0 {
		return nil, nil
	}
	body, _, err := l.Objects.Open(ctx, l.Spec.Object, 0, min(l.Size, sniffed))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	head, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	return head, nil
}

// magics is how many bytes tell a columnar file from others.
const magics = 512

// formatOf returns the columnar format of a file that begins like that, or "".
func formatOf(head []byte) string {
	head = head[:min(len(head), magics)]
	for magic, format := range map[string]string{"PAR1": manifest.FormatParquet, "ORC": manifest.FormatORC} {
		// A bucket may begin like that, too, but no list of text has such characters.
		if bytes.HasPrefix(head, []byte(magic)) && bytes.ContainsFunc(head, func(r rune) bool { return r < '\t' }) {
			return format
		}
	}
	return ""
}

// alone makes the list an inventory of nothing but this one file.
func (l *List) alone(format string, o objectstore.Object, size int64) {
	inv := manifest.Inventory{
		DestinationBucket: o.Bucket, FileFormat: format, FileSchema: "Bucket, Key",
		Files: []manifest.DataFile{{Key: o.Key, Size: size}},
	}
	text, err := inv.Encode()
	if err != nil {
		panic(err) // it is made of strings
	}
	l.Alone, l.Spec.Format = format, job.ManifestInventory
	l.Spec.Object = objectstore.Object{Bucket: fileBucket, Key: "\x00", ETag: "alone"}
	l.Objects = &single{Objects: l.Objects, manifest: l.Spec.Object, text: text, pin: o}
}

// single has beside the objects of a store one that is made up: the manifest of one file.
type single struct {
	source.Objects
	manifest objectstore.Object
	text     []byte
	pin      objectstore.Object // the file
}

func (s *single) Head(ctx context.Context, o objectstore.Object) (objectstore.Info, error) {
	if o.Key == s.manifest.Key {
		return objectstore.Info{Size: int64(len(s.text)), ETag: s.manifest.ETag}, nil
	}
	return s.Objects.Head(ctx, s.pinned(o))
}

func (s *single) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	if o.Key == s.manifest.Key {
		text := s.text[min(offset, int64(len(s.text))):]
		if length >= 0 {
			text = text[:min(length, int64(len(text)))]
		}
		return io.NopCloser(bytes.NewReader(text)), objectstore.Info{Size: int64(len(s.text)), ETag: s.manifest.ETag}, nil
	}
	return s.Objects.Open(ctx, s.pinned(o), offset, length)
}

// pinned is o with what is known of the file; an inventory does not name versions.
func (s *single) pinned(o objectstore.Object) objectstore.Object {
	if o.VersionID == "" {
		o.VersionID = s.pin.VersionID
	}
	if o.ETag == "" {
		o.ETag = s.pin.ETag
	}
	return o
}

// guess finds out what the columns of a CSV list are that begins with head.
func (l *List) guess(head []byte) error {
	rows := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(unpacked(head), []byte("\ufeff"))))
	rows.LazyQuotes = true
	first, err := rows.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		first = nil // reading it will tell
	}
	l.Fields = []job.Field{job.FieldBucket, job.FieldKey}
	if named := manifest.Header(first); named != nil {
		l.Fields, l.Guessed = named, "the header row"
		return nil
	}
	n := len(first)
	switch n {
	case 0, 1, 2: // there is nothing to guess; if there are less, the error is that of a job
		return nil
	case 3, reportColumns: //revive:disable-line:empty-block // see below
	default:
		return &FieldsError{n}
	}
	third := job.FieldVersionID
	l.Guessed = "the number of columns"
	if seen := withoutVersion(first, rows); seen > 0 {
		third, l.Unversioned = job.FieldIgnore, true
		l.Guessed = fmt.Sprintf("the number of columns, the third being empty in the first %d rows", seen)
		if seen == 1 {
			l.Guessed = "the number of columns, the third being empty in the first row"
		}
	}
	l.Fields = append(append(l.Fields, third), slices.Repeat([]job.Field{job.FieldIgnore}, n-3)...)
	return nil
}

// missingVersion is what a completion report says of a row without a version id in a manifest with a column for them.
const missingVersion = "Task failed due to missing VersionId"

// withoutVersion returns in how many rows, first and those that follow, the third column is empty: 0 if one of them has
// something there, or its task has failed as it has not. A bucket that keeps versions takes an empty one for a failure,
// so a list without them must not have the column.
func withoutVersion(first []string, rows *csv.Reader) (seen int) {
	rows.FieldsPerRecord = -1
	for row := first; ; {
		switch {
		case len(row) != len(first): // cut off, or a bad one: reading it will tell
		case row[2] != "", row[len(row)-1] == missingVersion:
			return 0
		default:
			seen++
		}
		var err error
		if row, err = rows.Read(); err != nil {
			return seen
		}
	}
}

// reportColumns is how many columns a completion report has; the first three are those of a manifest.
const reportColumns = 7

// unpacked is the beginning of the text that is compressed in head, or head.
func unpacked(head []byte) []byte {
	var text io.Reader
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(bytes.NewReader(head))
		if err != nil {
			return nil
		}
		text = z
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(bytes.NewReader(head), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil
		}
		defer z.Close()
		text = z
	default:
		return head
	}
	plain, _ := io.ReadAll(io.LimitReader(text, sniffed)) // head is not all of it
	return plain
}
