package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"stevedore/internal/generate"
	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/source"
)

// generate makes the manifest of a job that has a generator, unless it is made
// already, and returns the job with it. What was listed before a crash is not
// listed again.
func (s *Scheduler) generate(ctx context.Context, t *turn, own jobstore.Ownership, j job.Job, store *objectstore.Access) (job.Job, error) {
	if j.Spec.ManifestGenerator == nil || j.Generated != nil {
		return j, nil
	}
	made, err := s.list(ctx, t, own, &j, store)
	if err != nil {
		if t.last(s.config.Attempts) && ofStore(err) {
			return j, generate.Failed(err)
		}
		return j, err
	}
	if made.OwnerUnchecked {
		s.logger.WarnContext(ctx, "store does not check the owner of the source bucket", "job_id", j.ID, "bucket", job.BucketName(j.Spec.ManifestGenerator.S3JobManifestGenerator.SourceBucket))
	}
	s.logger.InfoContext(ctx, "manifest generated", "job_id", j.ID, "rows", made.Rows, "files", made.Files)
	return s.change(ctx, j.Account, j.ID, func(j *job.Job) error {
		// Else it was cancelled meanwhile, or a node that took over has ended it first: what is stored is what will be read.
		if j.Status == job.Preparing && j.Generated == nil {
			j.Generated = &job.Generated{
				Bucket: made.Object.Bucket, Key: made.Object.Key, ETag: made.Object.ETag, VersionID: made.Object.VersionID, Size: made.Size,
			}
		}
		return nil
	})
}

// list lists what the generator of j asks for and writes it to its depot.
func (s *Scheduler) list(ctx context.Context, t *turn, own jobstore.Ownership, j *job.Job, store *objectstore.Access) (generate.Result, error) {
	depot, done, err := s.depot(j, store)
	if err != nil {
		return generate.Result{}, err
	}
	defer done()
	journal := &journal{s, t, own}
	from, err := journal.state(ctx)
	if err != nil {
		return generate.Result{}, err
	}
	eligibility := operation.NewEligibility(operation.Env{Client: store, Replication: s.replication(j)})
	return generate.Run(ctx, generate.Job{
		ID: j.ID, Generator: j.Spec.ManifestGenerator.S3JobManifestGenerator, Source: store, Depot: depot, Journal: journal,
		Eligible: func(ctx context.Context, c generate.Candidate) (bool, error) {
			return eligibility.Of(ctx, c.Object, c.Info.StorageClass)
		},
	}, from)
}

// ofStore reports whether listing or writing came to err, be it in the spool, and
// not the keeping of its progress in the job store.
func ofStore(err error) bool {
	_, refused := errors.AsType[*objectstore.Error](err)
	_, spool := errors.AsType[*fs.PathError](err)
	return refused || spool || errors.Is(err, objectstore.ErrStuck)
}

// depot is where the generated manifest of j goes. Call done when it is there.
func (s *Scheduler) depot(j *job.Job, store *objectstore.Access) (d generate.Depot, done func(), err error) {
	if g := j.Spec.ManifestGenerator.S3JobManifestGenerator; g.EnableManifestOutput {
		return generate.InBucket(store, g.ManifestOutputLocation, j.ID), func() {}, nil
	}
	spool, err := generate.OpenSpool(s.spool(j.ID))
	if err != nil {
		return nil, nil, err
	}
	return spool, func() { _ = spool.Close() }, nil // it only reads folders
}

// spool is the folder of the generated manifest of a job, if its user does not
// want to have it.
func (s *Scheduler) spool(id string) string { return filepath.Join(s.config.Spool, id) }

// forget removes what is left of a job outside of the stores.
func (s *Scheduler) forget(id string) {
	if err := os.RemoveAll(s.spool(id)); err != nil {
		s.logger.Warn("spool cannot be removed", "job_id", id, "err", err)
	}
}

// sweep forgets the jobs that ended while nobody was looking.
func (s *Scheduler) sweep() {
	entries, _ := os.ReadDir(s.config.Spool) // without it there is nothing to remove
	left := map[string]bool{}
	for _, j := range s.store.Jobs(unfinished()...) {
		left[j.ID] = true
	}
	for _, e := range entries {
		if !left[e.Name()] {
			s.forget(e.Name())
		}
	}
}

// manifestOf says where the manifest of a job is and, once it is planned, which one
// exactly was; and what it is to be read with.
func (s *Scheduler) manifestOf(j *job.Job, store *objectstore.Access) (source.Spec, source.Objects) {
	var spec source.Spec
	var objects source.Objects = store
	if g := j.Generated; g != nil {
		spec = source.Spec{
			Format: job.ManifestInventory, Size: g.Size,
			Object: objectstore.Object{Bucket: g.Bucket, Key: g.Key, VersionID: g.VersionID, ETag: g.ETag},
		}
		if g.Bucket == generate.SpoolBucket {
			objects = spooled(s.spool(j.ID))
		}
	} else {
		options, _ := job.OptionsOf(j.Tags) // the others were refused when they were set
		spec = source.SpecOf(j.Spec.Manifest, options.Lenient)
	}
	spec.Index = s.index
	if p := j.Plan; p != nil {
		spec.Object.ETag, spec.Object.VersionID, spec.Size, spec.Lenient = p.ETag, p.VersionID, p.Bytes, p.Lenient
	}
	return spec, objects
}

// spooled reads from a spool in that folder. It keeps nothing open in between.
type spooled string

func (f spooled) Head(ctx context.Context, o objectstore.Object) (objectstore.Info, error) {
	spool, err := generate.OpenSpool(string(f))
	if err != nil {
		return objectstore.Info{}, err
	}
	defer spool.Close()
	return spool.Head(ctx, o)
}

func (f spooled) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	spool, err := generate.OpenSpool(string(f))
	if err != nil {
		return nil, objectstore.Info{}, err
	}
	defer spool.Close()
	return spool.Open(ctx, o, offset, length)
}

// journal keeps the progress of a generator in the job store.
type journal struct {
	scheduler *Scheduler
	turn      *turn
	own       jobstore.Ownership
}

func (l *journal) state(ctx context.Context) (state generate.State, err error) {
	stored, err := l.scheduler.store.Generation(ctx, l.own.Job)
	if err == nil && stored != nil {
		err = json.Unmarshal(stored, &state)
	}
	return state, err
}

// Save implements generate.Journal.
func (l *journal) Save(ctx context.Context, state generate.State, files []generate.File) error {
	record, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	records := make(map[string]json.RawMessage, len(files))
	for _, f := range files {
		if records[f.Name], err = json.Marshal(f); err != nil {
			return fmt.Errorf("encode file: %w", err)
		}
	}
	if err := l.scheduler.node.PutGeneration(ctx, l.own, record, records); err != nil {
		return err
	}
	if !state.Walk { // which is begun anew by every try
		l.turn.advanced.Store(true)
	}
	return nil
}

// Files implements generate.Journal.
func (l *journal) Files(ctx context.Context) iter.Seq2[generate.File, error] {
	return func(yield func(generate.File, error) bool) {
		for record, err := range l.scheduler.store.GenerationFiles(ctx, l.own.Job) {
			var f generate.File
			if err == nil {
				err = json.Unmarshal(record, &f)
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}
