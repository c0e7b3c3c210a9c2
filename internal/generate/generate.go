// Package generate makes a manifest out of a bucket: it lists the bucket, keeps the objects that pass the filter and
// writes them down as an inventory, which is then planned and run like one that the user brought (manifests.md sections
// 4 and 5).
//
//	bucket ─▶ ranges of keys, listed side by side ─▶ filter ─▶ data files ─▶ manifest.json
//	              └── split by whoever has nothing to do
//
// # Every object once
//
// The keys are split into ranges, each listed from just after one key up to and with another. A worker that has run out
// of work takes over the far part of the range that has most left, so a bucket of flat keys is listed by all workers and not
// just by one. A range moves on in memory with every page, but in the [State] only together with the file that holds what was
// found there: both are saved in one step. Whoever goes on from a State lists again what was not saved, and
// files that were written but not saved count for nothing and are deleted.
//
// That an object that exists all the while is in the manifest exactly once needs only this of the store: a page holds, in the
// byte order of their keys, the rows that follow on the key it was asked to begin after, and leaves out none between its first
// and its last. Beyond that a page may be short or empty, repeat rows of the page before, say that it is the last one when it
// is not (the end is believed when said twice), or lack its token. A page that is out of order, or has a row from before its
// beginning that the page before had not, is asked for again; a store that keeps answering so has an order of its own.
// Then the listing begins anew, as one walk along the store's own tokens that takes every row that comes, and leaves out what
// it has seen among the last few thousand; there are no tokens for versions, so a bucket that has versions fails the job instead.
// A store that leaves rows out without any sign loses them here as anywhere, and one that orders keys its own way, but shows it
// within no page that was asked for, is not found out.
//
// Objects that come or go while the bucket is listed may or may not be in the manifest. Its own files, if they are kept in that
// bucket, are not: a task might change them while they are read.
//
// # Owners
//
// ExpectedBucketOwner goes with every request as S3's header. Most stores take no notice of it, and nothing else that they
// tell names the twelve digits of an account. So the store is tried: a listing for an account that cannot be the
// owner. If it is answered, nobody has checked the owner, and [Result.OwnerUnchecked] says so.
package generate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

// Source is what generating needs of the store that has the bucket. It is called concurrently.
type Source interface {
	objectstore.Client
	ListPage(ctx context.Context, q objectstore.ListQuery, page *objectstore.ListPage) error
	Versioning(ctx context.Context, bucket string) (string, error)
}

// Job says what to generate, and with what.
type Job struct {
	ID        string // of the job, in the names of what is written
	Generator *job.S3JobManifestGenerator
	// AllVersions lists every version of every object; else it is the current ones.
	AllVersions bool
	Sizes       bool // write those of objects, too
	Source      Source
	Depot       Depot
	Journal     Journal
	// Eligible is asked where the filter wants objects that are eligible for replication.
	Eligible Eligible
	Workers  int // pages asked for at once; 0: 16; at most MaxRanges
	Heads    int // HEADs and questions to Eligible at once; 0: 64
}

// Eligible reports whether the replication configuration of its bucket sends an object somewhere. It is called concurrently,
// and last, for what passes all other filters. Of an object that is gone it reports false.
type Eligible func(ctx context.Context, c Candidate) (bool, error)

// A Candidate is an object as the listing has it, with its version if the bucket has versions.
type Candidate struct {
	Object       objectstore.Object
	Info         objectstore.Info
	DeleteMarker bool // only with Job.AllVersions
}

// Result is a generated manifest.
type Result struct {
	Object   objectstore.Object // the manifest.json, pinned
	Size     int64              // its bytes
	Rows     int64
	Bytes    int64 // of the objects listed in it
	Files    int
	Versions bool // the rows have version ids
	// OwnerUnchecked says that an owner of the source bucket was expected, but that the store does not look.
	OwnerUnchecked bool
}

// Codes of the failures of a job whose manifest cannot be generated (states.md section 7).
const (
	CodeFailed   = "ManifestGenerationFailed"
	CodeNoMatch  = "ManifestGenerationNoMatches"
	CodeNotOwner = "ExpectedBucketOwnerMismatch"
)

const (
	defaultWorkers = 16
	defaultHeads   = 64
)

// Run generates the manifest of a job, or goes on with it from a State that was saved; the zero State is the beginning. If all
// is listed already it only writes the manifest.json again. A *job.FailedError fails the job. Any other error, such as
// one of the Journal, means that Run may be tried again from the State saved last.
func Run(ctx context.Context, j Job, from State) (Result, error) {
	return newRun(j, from).generate(ctx)
}

// A run is one call of Run.
type run struct {
	job    Job
	bucket string
	filter *filter
	token  string       // in the names of files
	files  atomic.Int64 // named
	most   int64        // rows of a file
	own    string       // what the keys of these files begin with if they lie in the bucket that is listed, else empty

	state    State // as saved; the workers, while they run, see of it only what follows
	versions bool
	pass     int
	loose    bool // the store takes no notice of the owner expected
}

func newRun(j Job, from State) *run {
	j.Workers = min(cmp.Or(j.Workers, defaultWorkers), MaxRanges)
	j.Heads = cmp.Or(j.Heads, defaultHeads)
	r := &run{
		job: j, bucket: job.BucketName(j.Generator.SourceBucket), filter: newFilter(j.Generator.Filter),
		token: newToken(), most: fileRows, state: from,
	}
	if at := j.Depot.At(""); at.Bucket == r.bucket {
		r.own = at.Key
	}
	return r
}

func (r *run) generate(ctx context.Context) (Result, error) {
	res, err := r.all(ctx)
	if err != nil && ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	return res, err
}

// all does everything.
func (r *run) all(ctx context.Context) (Result, error) {
	if r.filter.eligible && r.job.Eligible == nil {
		return Result{}, errors.New("generate manifest: nobody to ask what is eligible for replication")
	}
	var err error
	if r.loose, err = r.look(ctx); err != nil {
		return Result{}, err
	}
	if r.state.Pass == 0 {
		if err := r.begin(ctx); err != nil {
			return Result{}, err
		}
	}
	r.versions, r.pass = r.state.Versions, r.state.Pass
	if len(r.state.Ranges) > 0 {
		if err := r.list(ctx); err != nil {
			return Result{}, err
		}
	}
	if r.state.Rows == 0 {
		return Result{}, failed(CodeNoMatch, "Manifest generation found no keys matching the filter criteria.", nil)
	}
	return r.finish(ctx)
}

// begin finds out what kind of bucket it is.
func (r *run) begin(ctx context.Context) error {
	versioning, err := r.job.Source.Versioning(ctx, r.bucket)
	if e, ok := errors.AsType[*objectstore.Error](err); ok && (e.Status == 501 || e.Status == 405 || e.Status == 403) {
		versioning, err = "", nil // a store that does not say has none
	}
	if err != nil {
		return r.unlisted(ctx, err)
	}
	r.state = State{Pass: 1, Started: time.Now().UTC().Truncate(time.Millisecond), Versions: versioning != "", Ranges: []Range{{}}}
	return nil
}

// finish writes the manifest.json over the files that were saved, and deletes the others.
func (r *run) finish(ctx context.Context) (Result, error) {
	var files []File
	for f, err := range r.job.Journal.Files(ctx) {
		if err != nil {
			return Result{}, fmt.Errorf("generate manifest: read progress: %w", err)
		}
		if f.Pass == r.state.Pass {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Or(slices.Compare(a.First, b.First), cmp.Compare(a.Name, b.Name)) })
	inventory := manifest.NewInventory(r.bucket, r.job.Depot.At("").Bucket, r.state.Started, r.columns())
	var rows int64
	for _, f := range files {
		inventory.Files = append(inventory.Files, manifest.DataFile{Key: r.job.Depot.At(f.Name).Key, Size: f.Size, MD5: f.MD5})
		rows += f.Rows
	}
	if rows != r.state.Rows {
		return Result{}, fmt.Errorf("generate manifest: the files saved have %d rows, the state saved has %d", rows, r.state.Rows)
	}
	text, err := inventory.Encode()
	if err != nil {
		return Result{}, Failed(err)
	}
	if _, err := r.put(ctx, checksumName, []byte(md5Hex(text)), "text/plain"); err != nil {
		return Result{}, err
	}
	object, err := r.put(ctx, manifestName, text, "application/json")
	if err != nil {
		return Result{}, err
	}
	r.sweep(ctx, files)
	return Result{
		Object: object, Size: int64(len(text)), Rows: r.state.Rows, Bytes: r.state.Bytes, Files: len(files),
		Versions: r.state.Versions, OwnerUnchecked: r.loose,
	}, nil
}

// sweep deletes what was written but is no part of the manifest. What stays behind, since listing or deleting is forbidden,
// does no harm.
func (r *run) sweep(ctx context.Context, files []File) {
	saved := make(map[string]bool, len(files))
	for _, f := range files {
		saved[f.Name] = true
	}
	var stray []string
	for name, err := range r.job.Depot.Names(ctx, dataFolder) {
		if err != nil || len(stray) == maxStray {
			break
		}
		if !saved[name] {
			stray = append(stray, name)
		}
	}
	for _, name := range stray {
		_ = r.job.Depot.Delete(ctx, name) // it is no part of the manifest
	}
}

// maxStray bounds the files that are swept: far more than the workers of some crashes leave behind.
const maxStray = 10_000

func (r *run) columns() manifest.Columns {
	return manifest.Columns{VersionID: r.versions, Size: r.job.Sizes}
}

// put writes one object of the manifest.
func (r *run) put(ctx context.Context, name string, data []byte, contentType string) (objectstore.Object, error) {
	object, err := r.job.Depot.Put(ctx, name, data, contentType)
	if err != nil {
		return object, r.unwritten(ctx, err)
	}
	return object, nil
}
