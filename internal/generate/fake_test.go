package generate

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

// An item is one version of an object in a double.
type item struct {
	key, version string // version is empty in a bucket without versions
	size         int64
	modified     time.Time
	class        string
	latest       bool
	marker       bool
	encryption   string // AES256, aws:kms, aws:kms:dsse, customer or empty
	kmsKey       string
	bucketKey    bool
	replication  string // as the header says
	gone         bool   // deleted between listing and HEAD
}

// faults says how often a page, of a thousand, is wrong in which way.
type faults struct {
	repeat, short, empty, end, shuffle, tokenless, busy int
}

// A bucket is a double of a store at the level of its pages.
type bucket struct {
	items      []item // by key, then newest first
	versioning string
	pageSize   int
	faults     faults
	grouped    bool                                // delete markers behind all versions of a page
	compare    func(a, b string) int               // the order of the store, nil: by bytes
	onPage     func(q objectstore.ListQuery) error // called before each page
	onHead     func(key string)                    // called before each HEAD
	pages      int                                 // asked for
	latency    time.Duration                       // of every page
	afters     map[string]int                      // how often pages after a key were asked for
	owner      string                              // who may list; empty: everybody
	mu         sync.Mutex
	random     *rand.Rand
}

func newBucket(seed uint64, items []item) *bucket {
	return &bucket{items: items, pageSize: 1000, random: rand.New(rand.NewPCG(seed, 1)), afters: make(map[string]int)}
}

func (b *bucket) Versioning(context.Context, string) (string, error) { return b.versioning, nil }

func (b *bucket) order(x, y string) int {
	if b.compare != nil {
		return b.compare(x, y)
	}
	return strings.Compare(x, y)
}

func (b *bucket) ListPage(ctx context.Context, q objectstore.ListQuery, page *objectstore.ListPage) error {
	time.Sleep(b.latency)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.owner != "" && q.ExpectedBucketOwner != "" && q.ExpectedBucketOwner != b.owner {
		return &objectstore.Error{Op: "ListObjectsV2", Status: 403, Code: "AccessDenied"}
	}
	if b.onPage != nil {
		if err := b.onPage(q); err != nil {
			return err
		}
	}
	b.pages++
	b.afters[q.After]++
	hit := func(perThousand int) bool { return perThousand > 0 && b.random.IntN(1000) < perThousand }
	if hit(b.faults.busy) {
		return &objectstore.Error{Op: "ListObjectsV2", Status: 503, Code: "SlowDown"}
	}
	from := b.find(q)
	size := b.pageSize
	if q.MaxKeys > 0 {
		size = min(size, q.MaxKeys)
	}
	to := from
	for to < len(b.items) && to-from < size && b.inside(q, to) {
		to++
	}
	end := to == len(b.items) || !b.inside(q, to)
	rows := to
	switch {
	case end && from == to:
	case hit(b.faults.short): // fewer than there are, be there one or none
		rows, end = from+1+b.random.IntN(to-from), false
	case hit(b.faults.empty):
		rows, end = from, false
	case hit(b.faults.end):
		end = true
	}
	first := from
	if (q.After != "" || q.Token != "") && hit(b.faults.repeat) {
		first -= min(1+b.random.IntN(5), from)
	}
	page.Entries, page.Truncated, page.NextToken, page.NextKey, page.NextVersion = page.Entries[:0], !end, "", "", ""
	for _, it := range b.items[first:rows] {
		if q.Prefix != "" && !strings.HasPrefix(it.key, q.Prefix) {
			continue
		}
		if !q.Versions && it.marker {
			continue
		}
		page.Entries = append(page.Entries, objectstore.ListEntry{
			Key: []byte(it.key), VersionID: []byte(it.version), Size: it.size, LastModified: it.modified, StorageClass: []byte(it.class),
			IsLatest: q.Versions && it.latest, DeleteMarker: it.marker,
		})
	}
	if b.grouped {
		slices.SortStableFunc(page.Entries, func(x, y objectstore.ListEntry) int {
			group := map[bool]int{true: 1}
			return cmp.Compare(group[x.DeleteMarker], group[y.DeleteMarker])
		})
	}
	if hit(b.faults.shuffle) {
		b.random.Shuffle(len(page.Entries), func(i, j int) { page.Entries[i], page.Entries[j] = page.Entries[j], page.Entries[i] })
	}
	page.Early = page.Early[:0]
	if q.After != "" && (q.Token == "" || q.Versions) { // as objectstore does it
		page.Entries = slices.DeleteFunc(page.Entries, func(e objectstore.ListEntry) bool {
			if string(e.Key) < q.After {
				page.Early = append(page.Early, e)
				return true
			}
			return string(e.Key) == q.After && q.VersionMarker == ""
		})
	}
	for _, e := range page.Entries {
		if string(e.Key) >= page.NextKey {
			page.NextKey, page.NextVersion = string(e.Key), string(e.VersionID)
		}
	}
	if page.Truncated && !q.Versions && (rows == from || !hit(b.faults.tokenless)) {
		page.NextToken = strconv.Itoa(rows) + "t" + strconv.Itoa(b.pages) // never the same twice
	}
	if page.Truncated && q.Versions && len(page.Entries) == 0 {
		page.NextKey, page.NextVersion = q.After, q.VersionMarker+" " // a marker of its own making
	}
	return nil
}

// find returns the index of the first item after what q says.
func (b *bucket) find(q objectstore.ListQuery) int {
	if q.Token != "" {
		n, _, _ := strings.Cut(q.Token, "t")
		i, _ := strconv.Atoi(n)
		return i
	}
	version := strings.TrimRight(q.VersionMarker, " ")
	i, found := slices.BinarySearchFunc(b.items, q.After, func(it item, key string) int {
		return cmp.Or(b.order(it.key, key), -1) // just behind the last of that key
	})
	if q.After == "" && !found { // wherever that comes in the order of the store
		i = 0
	}
	if q.Versions && version != "" {
		for j := i - 1; j >= 0 && b.items[j].key == q.After; j-- {
			if b.items[j].version == version {
				i = j + 1
				break
			}
		}
	}
	if q.After < q.Prefix && b.compare == nil {
		i, _ = slices.BinarySearchFunc(b.items, q.Prefix, func(it item, key string) int { return strings.Compare(it.key, key) })
	}
	return i
}

// inside reports whether item i may still be under the prefix.
func (b *bucket) inside(q objectstore.ListQuery, i int) bool {
	return q.Prefix == "" || b.compare != nil || b.items[i].key <= q.Prefix || strings.HasPrefix(b.items[i].key, q.Prefix)
}

// Do answers HEAD.
func (b *bucket) Do(_ context.Context, req *objectstore.Request, res *objectstore.Result) {
	*res = objectstore.Result{Status: http.StatusNotFound, Code: "NoSuchKey", Attempts: 1}
	if b.onHead != nil {
		b.onHead(string(req.Key))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faults.busy > 0 && b.random.IntN(20_000) < b.faults.busy {
		*res = objectstore.Result{Status: 503, Code: "SlowDown", Attempts: 5}
		return
	}
	i, _ := slices.BinarySearchFunc(b.items, string(req.Key), func(it item, key string) int { return b.order(it.key, key) })
	for ; i < len(b.items) && b.items[i].key == string(req.Key); i++ {
		it := &b.items[i]
		if len(req.VersionID) > 0 && string(req.VersionID) != cmp.Or(it.version, "null") || it.gone {
			continue
		}
		if it.encryption == "customer" {
			*res = objectstore.Result{Status: 400, Code: "BadRequest", Attempts: 1}
			return
		}
		*res = objectstore.Result{Status: 200, Attempts: 1, Header: []objectstore.Header{{Name: "content-length", Value: "1"}}}
		add := func(name, value string) {
			if value != "" {
				res.Header = append(res.Header, objectstore.Header{Name: name, Value: value})
			}
		}
		add("x-amz-server-side-encryption", it.encryption)
		add("x-amz-server-side-encryption-aws-kms-key-id", it.kmsKey)
		if it.bucketKey {
			add("x-amz-server-side-encryption-bucket-key-enabled", "true")
		}
		add("x-amz-replication-status", it.replication)
		return
	}
}

// A shelf is a Depot in memory.
type shelf struct {
	mu   sync.Mutex
	data map[string][]byte
	fail func(name string) error
}

func newShelf() *shelf { return &shelf{data: make(map[string][]byte)} }

func (s *shelf) At(name string) objectstore.Object {
	return objectstore.Object{Bucket: "out", Key: "lists/" + name}
}

func (s *shelf) Put(ctx context.Context, name string, data []byte, _ string) (objectstore.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(name); err != nil {
			return objectstore.Object{}, err
		}
	}
	s.data[name] = bytes.Clone(data)
	o := s.At(name)
	o.ETag = md5Hex(data)
	return o, ctx.Err()
}

func (s *shelf) Names(_ context.Context, prefix string) iter.Seq2[string, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.data))
	return func(yield func(string, error) bool) {
		for _, name := range names {
			if strings.HasPrefix(name, prefix) && !yield(name, nil) {
				return
			}
		}
	}
}

func (s *shelf) Delete(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, name)
	return nil
}

// A diary is a Journal in memory, which keeps records as a job store does: as text.
type diary struct {
	tb    testing.TB
	state []byte
	files [][]byte
	saves int
	fail  func(saves int) error // called before a save
	lost  func(saves int) bool  // whether the answer to a save that was done gets lost
}

var errLost = errors.New("the answer got lost")

func (d *diary) Save(_ context.Context, s State, files []File) error {
	d.saves++
	if d.fail != nil {
		if err := d.fail(d.saves); err != nil {
			return err
		}
	}
	if len(s.Ranges) > MaxRanges {
		d.tb.Errorf("%d ranges, want at most %d", len(s.Ranges), MaxRanges)
	}
	var err error
	if d.state, err = json.Marshal(s); err != nil {
		return err
	}
	for _, f := range files {
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		d.files = append(d.files, text)
	}
	if d.lost != nil && d.lost(d.saves) {
		return errLost
	}
	return nil
}

func (d *diary) Files(context.Context) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		for _, text := range d.files {
			var f File
			if err := json.Unmarshal(text, &f); !yield(f, err) {
				return
			}
		}
	}
}

// last is the state to go on from.
func (d *diary) last() (s State) {
	if d.state != nil {
		if err := json.Unmarshal(d.state, &s); err != nil {
			d.tb.Fatal(err)
		}
	}
	return s
}

// A row is one that was generated.
type row struct{ key, version string }

// rows reads a generated manifest, as somebody would who knows nothing of this package.
func rows(tb testing.TB, s *shelf, res Result) iter.Seq[row] {
	tb.Helper()
	text := s.data["manifest.json"]
	if got := s.data["manifest.checksum"]; string(got) != md5Hex(text) {
		tb.Errorf("manifest.checksum is %q, want %q", got, md5Hex(text))
	}
	if want := s.At("manifest.json"); res.Object.Key != want.Key || res.Object.ETag != md5Hex(text) || res.Size != int64(len(text)) {
		tb.Errorf("the result is %+v of %d bytes, want %+v of %d", res.Object, res.Size, want, len(text))
	}
	var inventory manifest.Inventory
	if err := json.Unmarshal(text, &inventory); err != nil {
		tb.Fatal(err)
	}
	schema := "Bucket, Key"
	if res.Versions {
		schema += ", VersionId"
	}
	if inventory.FileSchema != schema || inventory.DestinationBucket != "arn:aws:s3:::out" {
		tb.Errorf("the inventory is %+v", inventory)
	}
	if len(inventory.Files) != res.Files || len(s.data) != res.Files+2 {
		tb.Errorf("%d files of %d in the manifest, %d objects in the depot", res.Files, len(inventory.Files), len(s.data))
	}
	return func(yield func(row) bool) {
		for _, f := range inventory.Files {
			data := s.data[strings.TrimPrefix(f.Key, "lists/")]
			if f.MD5 != md5Hex(data) || f.Size != int64(len(data)) || len(data) == 0 {
				tb.Errorf("%s is not what the manifest says", f.Key)
			}
			unzipped, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				tb.Fatal(err)
			}
			lines := csv.NewReader(unzipped)
			lines.ReuseRecord = true
			for {
				record, err := lines.Read()
				if err != nil {
					if err.Error() != "EOF" {
						tb.Fatal(err)
					}
					break
				}
				key, err := url.QueryUnescape(record[1])
				if err != nil || record[0] != "data" {
					tb.Fatalf("row %q: %v", record, err)
				}
				r := row{key: strings.Clone(key)}
				if len(record) > 2 {
					r.version = strings.Clone(record[2])
				}
				if !yield(r) {
					return
				}
			}
		}
	}
}

// compareRows reports rows that are missing, foreign or there twice.
func compareRows(tb testing.TB, got iter.Seq[row], want map[row]bool) {
	tb.Helper()
	found := make(map[row]bool, len(want))
	bad := 0
	for r := range got {
		switch {
		case found[r]:
			bad++
			tb.Errorf("%q is there twice", r)
		case !want[r]:
			bad++
			tb.Errorf("%q should not be there", r)
		}
		found[r] = true
		if bad > 5 {
			tb.FailNow()
		}
	}
	for r := range want {
		if !found[r] {
			if bad++; bad > 5 {
				tb.FailNow()
			}
			tb.Errorf("%q is missing", r)
		}
	}
}

// generation is a job over a double.
func generation(b *bucket, s *shelf, d *diary, f *job.GeneratorFilter) Job {
	return Job{
		ID: "00000000-0000-4000-8000-000000000000", Generator: &job.S3JobManifestGenerator{SourceBucket: "arn:aws:s3:::data", Filter: f},
		Source: b, Depot: s, Journal: d,
	}
}

// runOut runs j, and again from what was saved while the store or the journal breaks down.
func runOut(tb testing.TB, j Job, d *diary) (Result, error) {
	tb.Helper()
	return runSmall(tb, j, d, fileRows)
}

// runSmall does so with files of a few rows.
func runSmall(tb testing.TB, j Job, d *diary, fileRows int) (Result, error) {
	tb.Helper()
	for range 10_000 {
		r := newRun(j, d.last())
		r.most = int64(fileRows)
		res, err := r.generate(tb.Context())
		if _, fails := errors.AsType[*job.FailedError](err); err == nil || fails {
			return res, err
		}
		if e, ok := errors.AsType[*objectstore.Error](err); ok && e.Status != 503 || !ok && !errors.Is(err, errLost) {
			return res, fmt.Errorf("after %d saves: %w", d.saves, err)
		}
	}
	tb.Fatal("it never ends")
	return Result{}, nil
}

// forbidden is a bucket whose objects may be listed, but not looked at.
type forbidden struct{ *bucket }

func (forbidden) Do(_ context.Context, _ *objectstore.Request, res *objectstore.Result) {
	*res = objectstore.Result{Status: 403, Code: "Forbidden", Attempts: 1}
}
