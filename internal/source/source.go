// Package source finds the list of objects of a job and opens it: the way from a manifest's
// location to its rows.
//
//	location ─▶ Locate ─▶ Source: pinned files ─▶ Open, at any position ─▶ rows
//
// A list is an ordered series of files: the manifest object itself, or the data files that the
// manifest.json of an inventory names. What is read later is what was found first: the manifest
// object is pinned by ETag and version, each data file by the ETag that [Rows.ETag] gave when it was
// first opened. Errors say what is to become of the job, see [Failure].
package source

import (
	"context"
	"fmt"
	"io"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

// Objects is what reading a list needs of the store that holds it.
type Objects interface {
	Head(ctx context.Context, o objectstore.Object) (objectstore.Info, error)
	Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error)
}

// Spec says which list to find and how to read it.
type Spec struct {
	Format job.ManifestFormat
	Fields []job.Field // the columns of a CSV manifest; not used for an inventory
	// Object is the manifest object. Its ETag must be that of the object found; it may be written in
	// any way that users write ETags.
	Object objectstore.Object
	// Size is the size of Object in bytes if an earlier Locate has found and pinned it. The store
	// is then not asked whether it is still there; reading it will tell. 0 if it was not found yet.
	Size int64
	// Lenient is whether to put up with what S3 Batch Operations refuses but nobody can misread.
	Lenient bool
}

// SpecOf returns the Spec of the manifest that a job names.
func SpecOf(m *job.Manifest, lenient bool) Spec {
	bucket, key, _ := job.ObjectOf(m.Location.ObjectArn)
	return Spec{
		Format: m.Spec.Format, Fields: m.Spec.Fields, Lenient: lenient,
		Object: objectstore.Object{Bucket: bucket, Key: key, VersionID: m.Location.ObjectVersionId, ETag: m.Location.ETag},
	}
}

// Kind is how the rows of a file are written.
type Kind int

// The kinds of files.
const (
	Text Kind = iota // CSV
	Gzip             // CSV, compressed
	Zstd             // CSV, compressed
	Parquet
	ORC
)

// File is one file of a list.
type File struct {
	Object objectstore.Object // with the ETag if the file is pinned already
	Size   int64              // stored bytes; -1 if not known yet
	MD5    string             // of the stored bytes, lower-case hex; empty if not known
	Kind   Kind
}

// Source is a list that was found. It holds no connection, and any number of goroutines may open
// its files at once.
type Source struct {
	Object objectstore.Object // the manifest object, pinned
	Size   int64              // its bytes
	Files  []File             // in the order of their rows
	Layout manifest.Layout    // the columns of text files

	objects Objects
}

// Locate finds what spec names: it compares the ETag of the manifest object with the one asked for and,
// for an inventory, reads its manifest.json. Errors are those of [Failure].
func Locate(ctx context.Context, objects Objects, spec Spec) (*Source, error) {
	s, err := locate(ctx, objects, spec)
	if err != nil {
		return nil, Failure(ctx, err)
	}
	return s, nil
}

func locate(ctx context.Context, objects Objects, spec Spec) (*Source, error) {
	s := &Source{Object: spec.Object, Size: spec.Size, objects: objects}
	var err error
	if s.Layout, err = manifest.NewLayout(spec.Fields); err != nil {
		return nil, err
	}
	if spec.Size == 0 {
		if err := s.pin(ctx, spec); err != nil {
			return nil, err
		}
	}
	s.Files = []File{{Object: s.Object, Size: s.Size}}
	return s, nil
}

// pin finds the manifest object and notes which one exactly all reads are to see.
func (s *Source) pin(ctx context.Context, spec Spec) error {
	o := spec.Object
	o.ETag = "" // spec's may be written in another way than the store's
	info, err := s.objects.Head(ctx, o)
	if err != nil {
		return err
	}
	if got, want := bare(info.ETag), bare(spec.Object.ETag); got != want {
		return failed(job.CodeManifestChanged, fmt.Sprintf(
			"The manifest arn:aws:s3:::%s/%s has the ETag %s, the job was created for %s. Create the job again with the manifest's present ETag.",
			o.Bucket, o.Key, got, want), nil)
	}
	s.Object.ETag, s.Size = info.ETag, info.Size
	if s.Object.VersionID == "" && info.VersionID != "null" {
		s.Object.VersionID = info.VersionID
	}
	return nil
}

// bare is an ETag as users and stores give it, without quotes and weakness.
func bare(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}

// Splittable reports whether [Source.Piece] can read the file in pieces.
func (s *Source) Splittable(file int) bool { return s.Files[file].Kind == Text }

// Open reads the rows of a file from one position on, up to but not including those that start at end or
// behind it; a zero end means that of the file. Both must be positions where a row starts. pin is
// the ETag that the file had when it was opened first; empty the first time.
//
// A file that is read from its beginning to its end is compared with the size and the MD5 that the
// manifest gives, once its last row was returned. Errors are those of [Failure]. ctx bounds the reading too.
func (s *Source) Open(ctx context.Context, file int, pin string, from, end manifest.Position) (*Rows, error) {
	f := s.Files[file]
	if pin != "" {
		f.Object.ETag = pin
	}
	r := &Rows{ctx: ctx, file: f, from: from, etag: f.Object.ETag}
	body := io.NopCloser(strings.NewReader("")) // behind the last byte there is nothing to ask for
	if from.Offset < f.Size {
		length := int64(-1)
		if end.Offset > 0 {
			length = end.Offset - from.Offset
		}
		var (
			info objectstore.Info
			err  error
		)
		if body, info, err = s.objects.Open(ctx, f.Object, from.Offset, length); err != nil {
			return nil, Failure(ctx, err)
		}
		r.etag = info.ETag
	}
	r.body, r.rows = body, manifest.NewCSV(body, s.Layout, from)
	return r, nil
}

// Piece reads the rows of a splittable file that start in the bytes from (included) to end (not included),
// which may be any: a row that starts before from belongs to the piece before. Lines are counted
// from 1 at the first row start of the piece, empty lines included; see [manifest.Error.Move] for errors.
func (s *Source) Piece(ctx context.Context, file int, from, end int64) (*Rows, error) {
	f := s.Files[file]
	r := &Rows{ctx: ctx, file: f, from: manifest.Position{Offset: from}, etag: f.Object.ETag}
	before := max(0, from-1) // if that is a line end, a row starts at from
	body, info, err := s.objects.Open(ctx, f.Object, before, -1)
	if err != nil {
		return nil, Failure(ctx, err)
	}
	r.body, r.etag = body, info.ETag
	r.rows = manifest.NewPiece(body, s.Layout, before, from > 0, end)
	return r, nil
}
