package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"stevedore/internal/objectstore"
)

// asks is how often a page is asked for before the store is taken at its word that its order is not that of the keys.
const asks = 5

// errDisordered says that the store keeps listing keys in another order than that of their bytes.
var errDisordered = errors.New("the store does not list keys in the order of their bytes")

// A cursor reads the pages after a key, in order, every row once. It belongs to one worker.
//
// Of a bucket with versions it gives out the rows that are the latest of their key, or all of them if all versions are wanted.
type cursor struct {
	run    *run
	q      objectstore.ListQuery // for the next page
	pages  [2]objectstore.ListPage
	before *objectstore.ListPage // the page before; nil at first
	rows   []objectstore.ListEntry
	twice  bool // a key of the last page was there twice
	ends   int  // how often in a row the store said that nothing follows
	empty  int  // pages in a row that had nothing new

	settled []byte // the last key whose latest version was seen
	key     []byte // with all versions: the last key given out
	first   []byte // and the first of its versions
	others  seen   // and the others
}

// newCursor returns a cursor on what follows on a key, and on a version of it if one is given.
func newCursor(r *run, after, version []byte) *cursor {
	c := &cursor{run: r, q: r.query(), settled: after}
	c.q.After, c.q.VersionMarker = string(after), string(version)
	if version != nil {
		c.key, c.first = clone(after), clone(version)
	}
	return c
}

// next returns the rows of the next page, ordered by key; they are valid until the next call. more is false if nothing can
// follow. The error is errDisordered, or what the store fails with.
func (c *cursor) next(ctx context.Context) (rows []objectstore.ListEntry, more bool, err error) {
	for {
		page, err := c.ask(ctx)
		if err != nil {
			return nil, false, err
		}
		from := c.q.After
		rows = c.fresh(page)
		advanced := c.advance(page)
		if c.ends++; page.Truncated || advanced {
			c.ends = 0
		}
		// The end is believed if it is said twice, and nothing else, of the same place: a store may be wrong once.
		switch {
		case c.ends > 1:
			return rows, false, nil
		case len(rows) > 0 || c.q.After > from:
			c.empty = 0
			return rows, true, nil
		}
		if c.empty++; c.empty > maxEmpty {
			return nil, false, fmt.Errorf("list %s: %w", c.q.Bucket, objectstore.ErrStuck)
		}
	}
}

// ask gets the next page, and again if it cannot be one.
func (c *cursor) ask(ctx context.Context) (*objectstore.ListPage, error) {
	page := &c.pages[0]
	if page == c.before {
		page = &c.pages[1]
	}
	var err error
	for range asks {
		if err = c.run.job.Source.ListPage(ctx, c.q, page); err == nil {
			if c.inOrder(page) {
				return page, nil
			}
			err = errDisordered
			continue
		}
		if c.q.Token != "" && refused(err) {
			c.q.Token = "" // a token may expire; a key does not
			continue
		}
		if !errors.Is(err, objectstore.ErrStuck) {
			return nil, err
		}
	}
	return nil, err
}

// inOrder reports whether the rows of a page are in the order of their keys and lie behind the key that was asked for,
// but for those that were on the page before. Where all delete markers come after all versions, it merges them.
func (c *cursor) inOrder(page *objectstore.ListPage) bool {
	var last, lastMarker []byte
	merge := false
	c.twice = false
	for i := range page.Entries {
		e := &page.Entries[i]
		group := &last
		if e.DeleteMarker {
			group = &lastMarker
		}
		switch bytes.Compare(e.Key, *group) {
		case -1:
			return false
		case 0:
			c.twice = true
		}
		*group = e.Key
		if c.q.Versions {
			merge = merge || i > 0 && bytes.Compare(e.Key, page.Entries[i-1].Key) < 0
		}
	}
	if merge {
		slices.SortStableFunc(page.Entries, func(a, b objectstore.ListEntry) int { return bytes.Compare(a.Key, b.Key) })
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		if string(e.Key) >= c.q.After {
			break
		}
		if !c.repeated(e) {
			return false
		}
	}
	return !slices.ContainsFunc(page.Early, func(e objectstore.ListEntry) bool { return !c.repeated(&e) })
}

// repeated reports whether e was on the page before.
func (c *cursor) repeated(e *objectstore.ListEntry) bool {
	if c.before == nil {
		return false
	}
	_, known := slices.BinarySearchFunc(c.before.Entries, e.Key, func(old objectstore.ListEntry, key []byte) int { return bytes.Compare(old.Key, key) })
	return known
}

// fresh picks the rows of a page that were not given out before.
func (c *cursor) fresh(page *objectstore.ListPage) []objectstore.ListEntry {
	after := []byte(c.q.After)
	if !c.q.Versions && !c.twice {
		n := sort.Search(len(page.Entries), func(i int) bool { return bytes.Compare(page.Entries[i].Key, after) > 0 })
		return page.Entries[n:]
	}
	c.rows = c.rows[:0]
	for i := range page.Entries {
		e := &page.Entries[i]
		switch {
		case !c.q.Versions:
			if bytes.Compare(e.Key, after) <= 0 {
				continue // after is the last row given out
			}
			after = e.Key
		case !c.run.job.AllVersions:
			if !e.IsLatest || bytes.Compare(e.Key, c.settled) <= 0 {
				continue
			}
			c.settled = e.Key
		case bytes.Compare(e.Key, after) < 0 || bytes.Equal(e.Key, after) && c.q.VersionMarker == "" || !c.newVersion(e):
			continue
		}
		c.rows = append(c.rows, *e)
	}
	c.settled = clone(c.settled)
	return c.rows
}

// newVersion reports whether a row was not given out before. Of the versions of one key the last few thousand are remembered.
func (c *cursor) newVersion(e *objectstore.ListEntry) bool {
	if !bytes.Equal(e.Key, c.key) || c.key == nil {
		c.key = append(c.key[:0], e.Key...)
		c.first = append(c.first[:0], e.VersionID...)
		c.others = seen{}
		return true
	}
	return !bytes.Equal(e.VersionID, c.first) && c.others.add(e)
}

// advance moves behind the page. It reports whether there was anything to move behind.
func (c *cursor) advance(page *objectstore.ListPage) bool {
	c.before = page
	if !page.Truncated && len(page.Entries) == 0 {
		return false
	}
	next := page.Next(c.q)
	if next.After < c.q.After { // all of it is from the page before
		next.After, next.VersionMarker = c.q.After, c.q.VersionMarker
	}
	moved := next != c.q
	c.q = next
	return moved
}

// at is where another cursor would go on after the rows given out.
func (c *cursor) at() (after, version []byte) {
	switch {
	case !c.q.Versions:
		return []byte(c.q.After), nil
	case !c.run.job.AllVersions:
		return c.settled, nil
	case c.q.VersionMarker == "":
		return []byte(c.q.After), nil
	}
	return []byte(c.q.After), []byte(c.q.VersionMarker)
}
