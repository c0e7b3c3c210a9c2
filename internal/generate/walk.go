package generate

import (
	"context"
	"fmt"

	"stevedore/internal/objectstore"
)

const (
	// recent is how many rows a walk remembers at least, to leave out those that come again.
	recent = 10_000
	// maxEmpty bounds the pages without any row that follow on each other.
	maxEmpty = 10_000
)

// walk lists the whole bucket from one end to the other along the store's own tokens, for a store that does not keep to the
// byte order of keys.
func (r *run) walk(ctx context.Context) error {
	var (
		page   objectstore.ListPage
		memory seen
		rows   []objectstore.ListEntry
		sieve  = &sieve{run: r, places: make(chan struct{}, r.job.Heads)}
		draft  = newDraft(r)
		q      = r.query()
		empty  int // pages in a row that had nothing new
		ends   int // how often in a row the store said that this is the end
		lost   int // how often in a row it did not say where to go on
	)
	for ends < 2 {
		if err := r.job.Source.ListPage(ctx, q, &page); err != nil {
			return r.unlisted(ctx, err)
		}
		rows = rows[:0]
		for i := range page.Entries {
			if e := &page.Entries[i]; memory.add(e) {
				rows = append(rows, *e)
			}
		}
		kept, err := sieve.sift(ctx, rows)
		if err != nil {
			return err
		}
		if err := draft.add(kept); err != nil {
			return err
		}
		if draft.full() {
			if err := r.saveWalk(ctx, draft, false); err != nil {
				return err
			}
		}
		if empty++; len(rows) > 0 {
			empty = 0
		}
		// At the end, or where it is not said how to go on, the same is asked once more: what follows on a key may be
		// anything here.
		switch {
		case !page.Truncated:
			ends++
		case page.NextToken == "":
			lost++
		default:
			q.Token, ends, lost = page.NextToken, 0, 0
		}
		if empty > maxEmpty || lost > asks {
			return fmt.Errorf("generate manifest: list %s: %w", r.bucket, objectstore.ErrStuck)
		}
	}
	return r.saveWalk(ctx, draft, true)
}

// saveWalk saves what was found, which only counts once all is.
func (r *run) saveWalk(ctx context.Context, d *draft, done bool) error {
	files, size, err := d.put(ctx)
	if err != nil {
		return err
	}
	s := r.state
	for _, f := range files {
		s.Rows += f.Rows
		s.Bytes += size
	}
	if done {
		s.Ranges = nil
	}
	return r.save(ctx, s, files)
}

// save makes s the state.
func (r *run) save(ctx context.Context, s State, files []File) error {
	if err := r.job.Journal.Save(ctx, s, files); err != nil {
		return fmt.Errorf("generate manifest: save progress: %w", err)
	}
	r.state = s
	return nil
}

// query is the question for the first page.
func (r *run) query() objectstore.ListQuery {
	return objectstore.ListQuery{
		Bucket: r.bucket, Prefix: r.filter.prefix, Versions: r.versions, ExpectedBucketOwner: r.job.Generator.ExpectedBucketOwner,
	}
}

// seen remembers the last rows, at least so many as recent.
type seen struct{ young, old map[string]struct{} }

// add reports whether the row is not one of those remembered.
func (s *seen) add(e *objectstore.ListEntry) bool {
	name := string(e.Key) + "\x00" + string(e.VersionID)
	if _, ok := s.young[name]; ok {
		return false
	}
	if _, ok := s.old[name]; ok {
		return false
	}
	if s.young == nil || len(s.young) >= recent {
		s.young, s.old = make(map[string]struct{}), s.young
	}
	s.young[name] = struct{}{}
	return true
}
