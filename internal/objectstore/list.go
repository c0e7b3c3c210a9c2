package objectstore

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// ErrStuck says that a store calls a page the middle of a listing, but gives no way to go on after it.
var ErrStuck = errors.New("the listing does not advance")

// maxPage bounds the document of one page. A thousand of the longest keys, escaped, take a fifth of it.
const maxPage = 16 << 20

// A ListQuery asks for one page of a listing: ListObjectsV2, or ListObjectVersions with Versions. The zero value of
// every field but Bucket asks for everything from the beginning.
type ListQuery struct {
	Bucket string
	Prefix string // of the keys that are wanted
	// Delimiter folds all keys that have it somewhere after Prefix, up to and with it, into one of ListPage.Prefixes.
	Delimiter string
	Versions  bool // every version and delete marker, not only the current objects
	// After is the key after which the page begins, "" for the first key. It need not exist.
	After string
	// VersionMarker, with Versions and After, is the version of that key after which the page begins. Without it the page
	// begins after all versions of After.
	VersionMarker string
	// Token is what a page said to go on with instead of After. Without Versions only, see [ListPage.Next].
	Token   string
	MaxKeys int // at most so many rows; 0: as many as the store likes, mostly 1,000
	// ExpectedBucketOwner has the store refuse if the bucket is another account's. Twelve digits, or empty.
	ExpectedBucketOwner string

	passed string // no version of a key up to this one is wanted
}

// A ListPage is one page of a listing, and the memory for the next. What it holds is valid until it is used again.
type ListPage struct {
	// Entries are the rows in the order of the store. A store may repeat rows of the page before, and may name the versions
	// of a key in any order: some do.
	Entries []ListEntry
	// Early are the rows that the store sent although their keys come before After: it has repeated them, or it keeps
	// another order than S3.
	Early    []ListEntry
	Prefixes [][]byte // what Delimiter folded
	// Truncated says that more may follow; [ListPage.Next] asks for it.
	Truncated bool
	NextToken string // of the store, empty if it gave none
	// NextKey is the greatest key or folded prefix of the page, NextVersion the version of a row under that key. They are the
	// markers of the store if those name such a row, or the page has none.
	NextKey, NextVersion string

	markerKey, markerVersion []byte // of the store
	urlEncoded, disordered   bool
	truncated                bool // IsTruncated was there
	res                      Result
}

// A ListEntry is one row: an object, a version of one, or a delete marker.
type ListEntry struct {
	Key          []byte // decoded
	VersionID    []byte // with Versions only; "null" for one written without versioning
	ETag         []byte // without quotes; none of a delete marker
	StorageClass []byte // empty: STANDARD
	Size         int64  // bytes
	LastModified time.Time
	IsLatest     bool // with Versions only
	DeleteMarker bool
}

// ListPage gets the page that q asks for. It is one request, tried again by the rules of Do; so is one whose answer is
// cut short or makes no sense. page may be used again and again. It fails with an *Error, which wraps [ErrStuck] if the
// store gives no way to go on.
func (s *Store) ListPage(ctx context.Context, q ListQuery, page *ListPage) error {
	return listPage(ctx, s, q, page)
}

// ListPage is [Store.ListPage] on the store of the bucket.
func (a *Access) ListPage(ctx context.Context, q ListQuery, page *ListPage) error {
	return listPage(ctx, a, q, page)
}

func listPage(ctx context.Context, c Client, q ListQuery, page *ListPage) error {
	req := Request{Method: http.MethodGet, Bucket: q.Bucket, OnBucket: true, Query: q.text(), ErrorIn200: true, maxAnswer: maxPage}
	req.accept = func(doc []byte) error { return page.read(doc, q) }
	if q.ExpectedBucketOwner != "" {
		req.Headers = []Header{{"x-amz-expected-bucket-owner", q.ExpectedBucketOwner}}
	}
	if c.Do(ctx, &req, &page.res); !page.res.OK() {
		page.clear()
		return page.res.failure(q.op(), Object{Bucket: q.Bucket, Key: q.Prefix})
	}
	return nil
}

func (q *ListQuery) op() string {
	if q.Versions {
		return "ListObjectVersions"
	}
	return "ListObjectsV2"
}

// text is the query as it goes out, sorted by name. Keys are asked for URL-encoded, since XML cannot hold all of them.
func (q *ListQuery) text() string {
	b := make([]byte, 0, 64+len(q.Prefix)+len(q.After)+len(q.VersionMarker)+len(q.Token))
	add := func(name, value string) {
		if value != "" {
			b = append(append(b, name...), '=')
			b = append(AppendValue(b, value), '&')
		}
	}
	maxKeys := ""
	if q.MaxKeys > 0 {
		maxKeys = strconv.Itoa(q.MaxKeys)
	}
	if q.Versions {
		add("delimiter", q.Delimiter)
		add("encoding-type", "url")
		add("key-marker", q.After)
		add("max-keys", maxKeys)
		add("prefix", q.Prefix)
		if q.After != "" {
			add("version-id-marker", q.VersionMarker)
		}
		return string(append(b, "versions="...))
	}
	add("continuation-token", q.Token)
	add("delimiter", q.Delimiter)
	add("encoding-type", "url")
	add("list-type", "2")
	add("max-keys", maxKeys)
	add("prefix", q.Prefix)
	if q.Token == "" {
		add("start-after", q.After)
	}
	return string(b[:len(b)-1])
}

// Next asks for the page after p, which q asked for. Where it can, it goes on after the last row that is there rather than
// where the store says: then rows that a store left out of a page come with the next.
func (p *ListPage) Next(q ListQuery) ListQuery {
	byToken := p.NextToken != "" && (q.Delimiter != "" || p.disordered || p.NextKey <= q.After)
	if q.Token = ""; byToken {
		q.Token = p.NextToken
	}
	if q.VersionMarker == "" {
		q.passed = q.After
	}
	if p.NextKey > q.After || q.Versions {
		q.After, q.VersionMarker = p.NextKey, p.NextVersion
	}
	return q
}

// read takes the page that q asked for from the document of an answer, which it decodes in place.
func (p *ListPage) read(doc []byte, q ListQuery) error {
	p.clear()
	if err := p.scan(doc); err != nil {
		return err
	}
	if p.urlEncoded {
		if err := p.decode(); err != nil {
			return err
		}
	}
	p.last(q)
	p.trim(q)
	if p.Truncated && p.stuckAfter(q) {
		return ErrStuck
	}
	return nil
}

// clear empties p and keeps its memory.
func (p *ListPage) clear() {
	*p = ListPage{Entries: p.Entries[:0], Early: p.Early[:0], Prefixes: p.Prefixes[:0], res: p.res}
}

// decode undoes the URL encoding of everything that is a key.
func (p *ListPage) decode() (err error) {
	unescape := func(text *[]byte) {
		if err == nil {
			*text, err = unescapeURL(*text)
		}
	}
	for i := range p.Entries {
		unescape(&p.Entries[i].Key)
	}
	for i := range p.Prefixes {
		unescape(&p.Prefixes[i])
	}
	unescape(&p.markerKey)
	return err
}

// last finds where the page ends: by the markers of the store if they name something that is on the page, else by what is
// on it. Any row of a page will do, for the worst that comes of it is that rows come twice.
func (p *ListPage) last(q ListQuery) {
	var key, version []byte
	marked, best := false, useless
	for i := range p.Entries {
		e := &p.Entries[i]
		order, fit := bytes.Compare(e.Key, key), e.fitness(q)
		switch {
		case order < 0:
			p.disordered = true
		case order > 0, fit >= best, fit == passed:
			key, version, best = e.Key, e.VersionID, max(fit, useless)
		}
		marked = marked || fit == fine && bytes.Equal(e.Key, p.markerKey) && bytes.Equal(e.VersionID, p.markerVersion)
	}
	if best == useless && string(key) == q.After {
		version = []byte(q.VersionMarker)
	}
	for _, prefix := range p.Prefixes {
		if bytes.Compare(prefix, key) > 0 {
			key, version, marked = prefix, nil, false
		}
	}
	if key == nil || marked {
		key, version = p.markerKey, p.markerVersion
	}
	p.NextKey, p.NextVersion = string(key), string(version)
	if !p.truncated { // the element that every store sends is missing
		p.Truncated = p.NextToken != "" || len(p.markerKey) > 0
	}
}

// How good a row is to go on after.
const (
	passed  = iota // no better than those before it: the page began after it, or so it should
	useless        // it comes before the page, where versitygw repeats it
	risky          // asked to go on after an old null version, versitygw lists only null versions of the keys that follow
	fine
)

func (e *ListEntry) fitness(q ListQuery) int {
	if q.VersionMarker != "" && string(e.Key) == q.After {
		switch {
		case e.IsLatest:
			return useless
		case string(e.VersionID) == q.VersionMarker:
			return passed
		}
	}
	if !e.IsLatest && string(e.VersionID) == "null" {
		return risky
	}
	return fine
}

// trim takes out rows that come before the page: there are stores that repeat some, and versitygw and Ceph begin a listing of
// versions with the key that it should begin after. With a token, After says nothing about stores that keep no order.
func (p *ListPage) trim(q ListQuery) {
	if q.Token != "" && !q.Versions || q.After == "" {
		return
	}
	if q.VersionMarker == "" {
		q.passed = q.After
	}
	p.Entries = slices.DeleteFunc(p.Entries, func(e ListEntry) bool {
		if string(e.Key) < q.After {
			p.Early = append(p.Early, e)
			return true
		}
		return string(e.Key) == q.passed
	})
}

// stuckAfter reports whether the page that Next would ask for is the one that q asked for, or one before it.
func (p *ListPage) stuckAfter(q ListQuery) bool {
	if q.Versions {
		return p.NextKey < q.After || p.NextKey == q.After && (p.NextVersion == "" || p.NextVersion == q.VersionMarker)
	}
	return p.NextKey <= q.After && (p.NextToken == "" || p.NextToken == q.Token)
}

// List yields the keys under prefix in the store's order, a page at a time. The first error ends it.
func (s *Store) List(ctx context.Context, bucket, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		q, page := ListQuery{Bucket: bucket, Prefix: prefix}, new(ListPage)
		for {
			if err := s.ListPage(ctx, q, page); err != nil {
				yield("", err)
				return
			}
			for i := range page.Entries {
				if !yield(string(page.Entries[i].Key), nil) {
					return
				}
			}
			if !page.Truncated {
				return
			}
			q = page.Next(q)
		}
	}
}
