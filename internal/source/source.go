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
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/gunzip"
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
	// Lenient is whether to put up with what S3 Batch Operations refuses but nobody can misread: see
	// [manifest.Layout], and compressed CSV manifests.
	Lenient bool
	// RawKeys takes the keys of a CSV manifest as they stand: see [manifest.Layout].
	RawKeys bool
	// Index remembers where gzip files can be entered in the middle. One for all jobs uses memory best; if it is
	// nil, the Source has a small one of its own.
	Index *gunzip.Index
}

// SpecOf returns the Spec of the manifest that a job names.
func SpecOf(m *job.Manifest, lenient bool) Spec {
	bucket, key, _ := job.ObjectOf(m.Location.ObjectArn)
	return Spec{
		Format: m.Spec.Format, Fields: m.Spec.Fields, Lenient: lenient,
		Object: objectstore.Object{Bucket: bucket, Key: key, VersionID: m.Location.ObjectVersionId, ETag: m.Location.ETag},
	}
}

// ownIndex is how many bytes the index of a single Source takes: enough for some GiB of text.
const ownIndex = 16 << 20

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
	Size   int64              // stored bytes
	MD5    string             // of the stored bytes, lower-case hex; empty if not known
	Kind   Kind

	inventory bool // errors name it
}

// Source is a list that was found. It holds no connection, and any number of goroutines may open
// its files at once.
type Source struct {
	Object objectstore.Object // the manifest object, pinned
	Size   int64              // its bytes
	Files  []File             // in the order of their rows
	Layout manifest.Layout    // of the rows; columnar files have columns of their own, but the same cells

	objects Objects
	index   *gunzip.Index
	notes   manifest.Notes
}

// Notes says what leniency has put up with so far; the rest is in [Rows.Notes].
func (s *Source) Notes() manifest.Notes { return s.notes }

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
	s := &Source{Object: spec.Object, Size: spec.Size, objects: objects, index: spec.Index}
	if s.index == nil {
		s.index = gunzip.NewIndex(ownIndex)
	}
	var err error
	if spec.Format == job.ManifestCSV {
		if s.Layout, err = manifest.NewLayout(spec.Fields); err != nil {
			return nil, err
		}
		s.Layout.Lenient, s.Layout.RawKeys = spec.Lenient, spec.RawKeys
	}
	if spec.Size == 0 {
		if err := s.pin(ctx, spec); err != nil {
			return nil, err
		}
	}
	if spec.Format != job.ManifestCSV {
		return s, s.inventory(ctx, spec.Lenient)
	}
	s.Files = []File{{Object: s.Object, Size: s.Size}}
	if spec.Lenient {
		err = s.sniff(ctx)
	}
	return s, err
}

// sniff finds out whether the manifest is compressed.
func (s *Source) sniff(ctx context.Context) error {
	if s.Size == 0 {
		return nil // a range of nothing is refused
	}
	var magic [4]byte
	body, _, err := s.objects.Open(ctx, s.Object, 0, int64(len(magic)))
	if err != nil {
		return err
	}
	defer body.Close()
	n, err := io.ReadFull(body, magic[:])
	if err != nil && !errors.Is(err, io.EOF) && int64(n) < s.Size {
		return err
	}
	switch {
	case bytes.HasPrefix(magic[:], []byte("\x1f\x8b")):
		s.Files[0].Kind, s.notes.Compression = Gzip, "gzip"
	case bytes.HasPrefix(magic[:], []byte("\x28\xb5\x2f\xfd")):
		s.Files[0].Kind, s.notes.Compression = Zstd, "zstd"
	}
	return nil
}

// pin finds the manifest object and notes which one exactly all reads are to see.
func (s *Source) pin(ctx context.Context, spec Spec) error {
	o := spec.Object
	o.ETag = "" // spec's may be written in another way than the store's
	info, err := s.objects.Head(ctx, o)
	switch {
	case objectstore.NotFound(err):
		return s.missing(ctx, o, err)
	case objectstore.BadRequest(err):
		// A status alone: is it about a key of the customer, or about credentials that have expired? Reading has a code.
		var body io.ReadCloser
		if body, info, err = s.objects.Open(ctx, o, 0, 1); err != nil {
			return err
		}
		_ = body.Close()
	case err != nil:
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

// missing returns the error of an object for which the store had no more than a status, err, when asked for its head. When
// asked for its bytes it says which one is missing, the bucket, the key or the version.
func (s *Source) missing(ctx context.Context, o objectstore.Object, err error) error {
	body, _, got := s.objects.Open(ctx, o, 0, 1)
	if got == nil {
		_ = body.Close()
	}
	if objectstore.NotFound(got) {
		return got
	}
	return err
}

// bare is an ETag as users and stores give it, without quotes and weakness.
func bare(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}
