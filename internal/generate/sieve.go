package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"stevedore/internal/objectstore"
)

// A sieve keeps of a page what passes the filter. It belongs to one worker.
type sieve struct {
	run    *run
	places chan struct{} // shared by all: one for every HEAD in flight
	kept   []*objectstore.ListEntry
}

// sift returns the entries that pass, in their order. They are valid as long as the page and until the next call.
func (s *sieve) sift(ctx context.Context, entries []objectstore.ListEntry) ([]*objectstore.ListEntry, error) {
	r := s.run
	s.kept = s.kept[:0]
	for i := range entries {
		e := &entries[i]
		switch {
		case r.own != "" && bytes.HasPrefix(e.Key, []byte(r.own)):
			continue
		case e.DeleteMarker && (!r.job.AllVersions || !r.filter.eligible): // whether to replicate a marker is for the rules
			continue
		case r.versions && !r.job.AllVersions && !e.IsLatest:
			continue
		case r.filter.listed(e):
			s.kept = append(s.kept, e)
		}
	}
	if len(s.kept) == 0 || !r.filter.heads() && !r.filter.eligible {
		return s.kept, nil
	}
	return s.ask(ctx)
}

// ask looks at every object that was kept, several at a time, and drops those that do not pass.
func (s *sieve) ask(ctx context.Context) ([]*objectstore.ListEntry, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		passes = make([]bool, len(s.kept))
		next   atomic.Int64
		wg     sync.WaitGroup
	)
	for range min(len(s.kept), cap(s.places)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(s.kept) {
					return
				}
				select {
				case s.places <- struct{}{}:
				case <-ctx.Done():
					return
				}
				ok, err := s.passes(ctx, s.kept[i])
				<-s.places
				if err != nil {
					cancel(err)
					return
				}
				passes[i] = ok
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	kept := s.kept[:0]
	for i, e := range s.kept {
		if passes[i] {
			kept = append(kept, e)
		}
	}
	s.kept = kept
	return kept, nil
}

// passes asks about one object. One that is gone does not pass.
func (s *sieve) passes(ctx context.Context, e *objectstore.ListEntry) (bool, error) {
	r := s.run
	o := objectstore.Object{Bucket: r.bucket, Key: string(e.Key), VersionID: string(r.versionOf(e))}
	if r.filter.heads() {
		if e.DeleteMarker {
			return false, nil // it is neither encrypted nor replicated as an object is
		}
		head, err := objectstore.HeadFull(ctx, r.job.Source, o)
		if objectstore.BadRequest(err) {
			head, err = s.lookAgain(ctx, o)
		}
		if err != nil {
			return s.unseen(ctx, o, err)
		}
		if !r.filter.told(&head) {
			return false, nil
		}
	}
	if !r.filter.eligible {
		return true, nil
	}
	return r.job.Eligible(ctx, Candidate{
		Object: o, DeleteMarker: e.DeleteMarker,
		Info: objectstore.Info{
			Size: e.Size, ETag: string(e.ETag), VersionID: o.VersionID, LastModified: e.LastModified, StorageClass: string(e.StorageClass),
		},
	})
}

// lookAgain looks at an object whose HEAD was a bad request. No code comes with that: it may be about a key of the customer, which
// is missing, or about credentials that have expired. So something is asked for first whose answer has a code: then
// expired credentials are renewed, if they can be. Whatever else that answer says does not matter.
func (s *sieve) lookAgain(ctx context.Context, o objectstore.Object) (head objectstore.Head, err error) {
	if _, err = s.run.job.Source.Versioning(ctx, o.Bucket); objectstore.BadRequest(err) {
		return head, err
	}
	return objectstore.HeadFull(ctx, s.run.job.Source, o)
}

// unseen says what becomes of an object that HEAD tells nothing of.
func (s *sieve) unseen(ctx context.Context, o objectstore.Object, err error) (bool, error) {
	e, ok := errors.AsType[*objectstore.Error](err)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case ok && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed):
		return false, nil // deleted meanwhile
	case objectstore.BadRequest(err) && refused(err):
		return s.run.filter.toldNothing(), nil
	case refused(err):
		return false, failed(CodeFailed, "The filter needs a look at every object, but "+o.Bucket+"/"+o.Key+" cannot be looked at: "+err.Error(), err)
	}
	return false, fmt.Errorf("generate manifest: %w", err)
}

// versionOf is the version id of a row, "null" for an object from before the bucket had versions.
func (r *run) versionOf(e *objectstore.ListEntry) []byte {
	if !r.versions {
		return nil
	}
	if len(e.VersionID) == 0 {
		return nullVersion()
	}
	return e.VersionID
}

func nullVersion() []byte { return []byte("null") }

// clone copies what outlives its page.
func clone(b []byte) []byte { return bytes.Clone(b) }
