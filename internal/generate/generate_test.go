package generate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// TestFilter checks the edges of every condition.
func TestFilter(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	entry := func() objectstore.ListEntry {
		return objectstore.ListEntry{Key: []byte("photos/2026/a b.JPG"), Size: 1000, LastModified: noon}
	}
	check := func(f job.GeneratorFilter, change func(e *objectstore.ListEntry), want bool) {
		t.Helper()
		e := entry()
		if change != nil {
			change(&e)
		}
		if got := newFilter(&f).listed(&e); got != want {
			t.Errorf("%+v: got %t, want %t", f, got, want)
		}
	}
	names := func(n job.KeyNameConstraint) job.GeneratorFilter { return job.GeneratorFilter{KeyNameConstraint: &n} }
	check(job.GeneratorFilter{}, nil, true)
	check(job.GeneratorFilter{ObjectSizeGreaterThanBytes: new(int64(999))}, nil, true)
	check(job.GeneratorFilter{ObjectSizeGreaterThanBytes: new(int64(1000))}, nil, false)
	check(job.GeneratorFilter{ObjectSizeLessThanBytes: new(int64(1001))}, nil, true)
	check(job.GeneratorFilter{ObjectSizeLessThanBytes: new(int64(1000))}, nil, false)
	check(job.GeneratorFilter{ObjectSizeLessThanBytes: new(int64(0))}, func(e *objectstore.ListEntry) { e.Size = 0 }, false)
	check(job.GeneratorFilter{ObjectSizeGreaterThanBytes: new(int64(0))}, func(e *objectstore.ListEntry) { e.Size = 0 }, false)
	check(job.GeneratorFilter{CreatedAfter: new(noon.Add(-1))}, nil, true)
	check(job.GeneratorFilter{CreatedAfter: &noon}, nil, false)
	check(job.GeneratorFilter{CreatedBefore: new(noon.Add(1))}, nil, true)
	check(job.GeneratorFilter{CreatedBefore: &noon}, nil, false)
	check(job.GeneratorFilter{CreatedBefore: new(noon.In(time.FixedZone("east", 3600)).Add(1))}, nil, true)
	check(names(job.KeyNameConstraint{MatchAnyPrefix: []string{"photos/"}}), nil, true)
	check(names(job.KeyNameConstraint{MatchAnyPrefix: []string{"Photos/"}}), nil, false)
	check(names(job.KeyNameConstraint{MatchAnySuffix: []string{"b.JPG"}}), nil, true)
	check(names(job.KeyNameConstraint{MatchAnySuffix: []string{".jpg"}}), nil, false)
	check(names(job.KeyNameConstraint{MatchAnySubstring: []string{"/a b"}}), nil, true)
	check(names(job.KeyNameConstraint{MatchAnySubstring: []string{"a%20b"}}), nil, false)
	check(names(job.KeyNameConstraint{MatchAnySubstring: []string{"a+b"}}), nil, false)
	check(names(job.KeyNameConstraint{MatchAnyPrefix: []string{"x", "photos"}}), nil, true)
	check(names(job.KeyNameConstraint{MatchAnyPrefix: []string{"photos"}, MatchAnySuffix: []string{".gif"}}), nil, false)
	check(job.GeneratorFilter{MatchAnyStorageClass: []job.StorageClass{"STANDARD"}}, nil, true)
	check(job.GeneratorFilter{MatchAnyStorageClass: []job.StorageClass{"GLACIER", "STANDARD_IA"}}, nil, false)
	check(job.GeneratorFilter{MatchAnyStorageClass: []job.StorageClass{"GLACIER", "STANDARD_IA"}},
		func(e *objectstore.ListEntry) { e.StorageClass = []byte("STANDARD_IA") }, true)
	check(job.GeneratorFilter{EligibleForReplication: new(false)}, nil, true)

	if f := newFilter(new(names(job.KeyNameConstraint{MatchAnyPrefix: []string{"photos/"}}))); f.prefix != "photos/" {
		t.Errorf("the listing asks for the prefix %q", f.prefix)
	}
	if f := newFilter(&job.GeneratorFilter{EligibleForReplication: new(false)}); f.eligible || f.heads() {
		t.Error("nothing is to be asked for objects that need not be eligible")
	}
}

// TestKeysOfKMS compares keys as filters and as stores name them.
func TestKeysOfKMS(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kms:us-east-1:123456789012:key/1234"
	check := func(wanted, key string, want bool) {
		t.Helper()
		if got := sameKey(wanted, key); got != want {
			t.Errorf("%s and %s: got %t", wanted, key, got)
		}
	}
	check("", arn, true)
	check(arn, arn, true)
	check(arn, "1234", true)
	check(arn, "arn:aws:kms:1234", true)
	check(arn, "arn:aws:kms:12345", false)
	check(arn, "arn:aws:kms:us-east-1:999999999999:key/1234", false)
	check(arn, "123", false)
	check(arn, "", false)
	check("arn:aws:kms:us-east-1:123456789012:key/", "", false)
}

// TestExpiredCredentials loses no object whose HEAD is refused because the credentials have expired, which HEAD does not tell from
// a key of the customer.
func TestExpiredCredentials(t *testing.T) {
	t.Parallel()
	items := flat(300, func(_ *rand.Rand, i int) string { return fmt.Sprintf("%03d", i) })
	for i := range items {
		if items[i].encryption = ""; i%10 == 0 {
			items[i].encryption = "customer"
		}
	}
	for _, filter := range []job.ObjectEncryptionFilter{{NOTSSE: &job.NotSSE{}}, {SSEC: &job.SSEC{}}} {
		var token atomic.Pointer[string]
		token.Store(new("one"))
		s3 := objectstoretest.Start(t, objectstoretest.Config{SessionToken: "one"})
		s3.Fill("data", rowsOf(items))
		store, err := objectstore.New(objectstore.Config{
			Endpoint: s3.URL(), BackoffBase: time.Microsecond,
			Credentials: aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				credentials, err := s3.Credentials().Retrieve(ctx)
				credentials.SessionToken = *token.Load()
				return credentials, err
			})),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		var heads atomic.Int64
		rotate := func() {
			if heads.Add(1) == 100 { // in the middle of the listing
				token.Store(new("two"))
				credentials, err := s3.Credentials().Retrieve(t.Context())
				if err != nil {
					t.Error(err)
				}
				s3.Rotate(credentials.AccessKeyID, credentials.SecretAccessKey, "two")
			}
		}
		f := &job.GeneratorFilter{MatchAnyObjectEncryption: []job.ObjectEncryptionFilter{filter}}
		shelf, d := newShelf(), &diary{tb: t}
		j := generation(newBucket(1, items), shelf, d, f)
		j.Source = &rotating{Store: store, onHead: rotate}
		res, err := Run(t.Context(), j, State{})
		if err != nil {
			t.Fatal(err)
		}
		compareRows(t, rows(t, shelf, res), model(newBucket(1, items), f, false))
		if heads.Load() < 100 {
			t.Errorf("only %d HEADs", heads.Load())
		}
	}
}

// rotating is a store whose credentials change meanwhile.
type rotating struct {
	*objectstore.Store
	onHead func()
}

func (r *rotating) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	if req.Method == http.MethodHead {
		r.onHead()
	}
	r.Store.Do(ctx, req, res)
}

// TestHeadsOnlyWhereNeeded looks only at what passes all other conditions, and not at more at once than is allowed.
func TestHeadsOnlyWhereNeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1, corpus(8, 2000))
		var heads, now, most atomic.Int64
		b.onHead = func(string) {
			heads.Add(1)
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Millisecond)
			now.Add(-1)
		}
		passing := 0
		for _, it := range b.items {
			if it.size > 10_000 {
				passing++
				if it.encryption == "customer" && !it.gone {
					passing++ // who is looked at twice, since the credentials may be at fault
				}
			}
		}
		f := &job.GeneratorFilter{ObjectSizeGreaterThanBytes: new(int64(10_000)), ObjectReplicationStatuses: []job.ReplicationStatus{"NONE"}}
		s, d := newShelf(), &diary{tb: t}
		j := generation(b, s, d, f)
		j.Heads = 7
		res, err := Run(t.Context(), j, State{})
		if err != nil {
			t.Fatal(err)
		}
		compareRows(t, rows(t, s, res), model(b, f, false))
		if int(heads.Load()) != passing || most.Load() != 7 {
			t.Errorf("%d HEADs, at most %d at once, want %d and 7", heads.Load(), most.Load(), passing)
		}
	})
}

// TestGoesOn stops half-way and does not list again what was saved.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	items := corpus(9, 40_000)
	b := newBucket(1, items)
	b.pageSize = 100
	s, d := newShelf(), &diary{tb: t}
	stop := errors.New("stop")
	d.fail = func(saves int) error {
		if saves == 20 {
			return stop
		}
		return nil
	}
	j := generation(b, s, d, nil)
	j.Workers = 4
	r := newRun(j, State{})
	r.most = 1000
	if _, err := r.generate(t.Context()); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	saved, pages := d.last(), b.pages
	if saved.Rows < 5_000 || saved.Rows > 25_000 { // files of 1,000 rows, and short ones at the ends of ranges
		t.Errorf("%d rows were saved", saved.Rows)
	}
	res, err := Run(t.Context(), j, saved)
	if err != nil {
		t.Fatal(err)
	}
	compareRows(t, rows(t, s, res), model(b, nil, false))
	if left := (len(items) - int(saved.Rows)) / b.pageSize; b.pages-pages > left*5/4+50 {
		t.Errorf("%d more pages, want about %d", b.pages-pages, left)
	}
}

// TestFailsNowAndThen comes to an end on a store that never gets through a listing without a failure.
func TestFailsNowAndThen(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 5} {
		b := newBucket(1, corpus(11, 20_000))
		b.pageSize, b.faults.busy = 100, 20 // one page in fifty, one HEAD in a thousand
		f := &job.GeneratorFilter{ObjectReplicationStatuses: []job.ReplicationStatus{"NONE", "COMPLETED", "REPLICA", "FAILED"}}
		s, d := newShelf(), &diary{tb: t}
		j := generation(b, s, d, f)
		j.Workers = workers
		res, err := runOut(t, j, d)
		if err != nil {
			t.Fatal(err)
		}
		compareRows(t, rows(t, s, res), model(b, f, false))
	}
}

// TestSavesWithoutRows saves how far it got, even where nothing passes the filter.
func TestSavesWithoutRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		items := flat(20_000, kinds[0].key)
		items[len(items)-1].size = 99
		b := newBucket(1, items)
		b.pageSize, b.latency = 100, time.Second
		s, d := newShelf(), &diary{tb: t}
		j := generation(b, s, d, &job.GeneratorFilter{ObjectSizeGreaterThanBytes: new(int64(10))})
		j.Workers = 1
		res, err := Run(t.Context(), j, State{})
		if err != nil || res.Rows != 1 || res.Files != 1 {
			t.Fatalf("%+v, %v", res, err)
		}
		if d.saves < 3 || d.saves > 6 { // once a minute in 200 seconds, and at the end
			t.Errorf("saved %d times", d.saves)
		}
	})
}

// TestCancel ends when its context does, and says why.
func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1, corpus(10, 50_000))
		b.pageSize, b.latency = 100, time.Second
		s, d := newShelf(), &diary{tb: t}
		why := errors.New("the job was cancelled")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		if _, err := Run(ctx, generation(b, s, d, nil), State{}); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		if _, ok := s.data["manifest.json"]; ok {
			t.Error("a manifest was written")
		}
	})
}

// TestVersions lists what is current with its version, or all versions.
func TestVersions(t *testing.T) {
	t.Parallel()
	items := []item{
		{key: "a", version: "2", latest: true},
		{key: "a", version: "1"},
		{key: "b", version: "3", latest: true, marker: true},
		{key: "b", version: "2"},
		{key: "b", version: "null"},
		{key: "c", version: "null", latest: true},
		{key: "d", latest: true},               // as some stores have a null version
		{key: "e", version: "9", marker: true}, // as some stores order them
		{key: "e", version: "10", latest: true},
	}
	check := func(all bool, eligible Eligible, want ...row) {
		t.Helper()
		for pageSize := 1; pageSize < 10; pageSize++ {
			b := newBucket(1, items)
			b.versioning, b.pageSize = "Suspended", pageSize
			s, d := newShelf(), &diary{tb: t}
			j := generation(b, s, d, nil)
			j.AllVersions = all
			if j.Eligible = eligible; eligible != nil {
				j.Generator.Filter = &job.GeneratorFilter{EligibleForReplication: new(true)}
			}
			res, err := Run(t.Context(), j, State{})
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Collect(rows(t, s, res))
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d: got %v, want %v", pageSize, got, want)
			}
		}
	}
	check(false, nil, row{"a", "2"}, row{"c", "null"}, row{"d", "null"}, row{"e", "10"})
	check(true, nil, row{"a", "2"}, row{"a", "1"}, row{"b", "2"}, row{"b", "null"}, row{"c", "null"}, row{"d", "null"}, row{"e", "10"})
	markers := func(_ context.Context, c Candidate) (bool, error) { return c.DeleteMarker || c.Object.Key == "a", nil }
	check(true, markers, row{"a", "2"}, row{"a", "1"}, row{"b", "3"}, row{"e", "9"})
	check(false, markers, row{"a", "2"})
}

// TestLastKeyOfRange lists all versions of the key that a range ends with, on however many pages they are, and none of them twice.
func TestLastKeyOfRange(t *testing.T) {
	t.Parallel()
	var items []item
	for _, key := range []string{"a", "b", "c"} {
		for v := range 10 {
			items = append(items, item{key: key, version: fmt.Sprintf("v%d", 9-v), latest: v == 0})
		}
	}
	for pageSize := 1; pageSize < 12; pageSize++ {
		b := newBucket(1, items)
		b.versioning, b.pageSize = "Enabled", pageSize
		s, d := newShelf(), &diary{tb: t}
		j := generation(b, s, d, nil)
		j.AllVersions, j.Workers = true, 1
		res, err := Run(t.Context(), j, State{Pass: 1, Versions: true, Ranges: []Range{{Until: []byte("b")}, {After: []byte("b")}}})
		if err != nil {
			t.Fatal(err)
		}
		compareRows(t, rows(t, s, res), model(b, nil, true))
	}
}

// TestNobodyToAsk refuses to guess what is eligible.
func TestNobodyToAsk(t *testing.T) {
	t.Parallel()
	j := generation(newBucket(1, nil), newShelf(), &diary{tb: t}, &job.GeneratorFilter{EligibleForReplication: new(true)})
	if _, err := Run(t.Context(), j, State{}); err == nil {
		t.Error("got no error")
	}
}

// TestEligibleFails passes on what the rules fail with.
func TestEligibleFails(t *testing.T) {
	t.Parallel()
	why := errors.New("no configuration")
	j := generation(newBucket(1, corpus(11, 100)), newShelf(), &diary{tb: t}, &job.GeneratorFilter{EligibleForReplication: new(true)})
	j.Eligible = func(context.Context, Candidate) (bool, error) { return false, Failed(why) }
	_, err := Run(t.Context(), j, State{})
	if fails, ok := errors.AsType[*job.FailedError](err); !ok || fails.Reason.FailureCode != CodeFailed || !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// TestAsksTwice asks twice before it believes that there is nothing more.
func TestAsksTwice(t *testing.T) {
	t.Parallel()
	b := newBucket(1, flat(1000, kinds[0].key))
	b.pageSize = 100
	s, d := newShelf(), &diary{tb: t}
	if _, err := Run(t.Context(), generation(b, s, d, nil), State{}); err != nil {
		t.Fatal(err)
	}
	last := b.items[len(b.items)-1].key
	if b.afters[last] != 2 {
		t.Errorf("what comes after %s was asked %d times, want twice; all: %v", last, b.afters[last], slices.Sorted(maps.Keys(b.afters)))
	}
}
