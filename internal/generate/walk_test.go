package generate

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// folders orders keys as a walk through folders does: "a/b" comes before "a-b".
func folders(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// TestOtherOrders lists stores that order keys in their own ways.
func TestOtherOrders(t *testing.T) {
	t.Parallel()
	orders := map[string]func(a, b string) int{
		"folders":   folders,
		"backwards": func(a, b string) int { return strings.Compare(b, a) },
		"any case": func(a, b string) int {
			return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
		},
		"by length": func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) },
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 9))
			items := flat(6000, func(_ *rand.Rand, i int) string {
				return fmt.Sprintf("%s/%d-%c/%d", []string{"a", "A", "a-b", "b"}[r.IntN(4)], r.IntN(20), 'A'+rune(r.IntN(50)), i)
			})
			slices.SortFunc(items, func(a, b item) int { return order(a.key, b.key) })
			b := newBucket(1, items)
			b.compare, b.pageSize, b.faults = order, 100, faults{repeat: 50, short: 20, empty: 20, end: 20, busy: 1}
			s, d := newShelf(), &diary{tb: t}
			res, err := runSmall(t, generation(b, s, d, nil), d, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if state := d.last(); !state.Walk || state.Pass < 2 {
				t.Errorf("the state is %+v, want a walk", state)
			}
			compareRows(t, rows(t, s, res), model(b, nil, false))
		})
	}
}

// TestPersistentFaults lists stores that do the same thing wrong on every page.
func TestPersistentFaults(t *testing.T) {
	t.Parallel()
	items := corpus(3, 5000)
	histories := versioned(3, items[:1000])
	check := func(name string, always faults, walks bool) {
		for _, versioning := range []string{"", "Enabled"} {
			t.Run(name+versioning, func(t *testing.T) {
				t.Parallel()
				b := newBucket(1, items)
				if versioning != "" {
					b.items = histories
				}
				b.versioning, b.faults, b.pageSize = versioning, always, 100
				s, d := newShelf(), &diary{tb: t}
				res, err := runOut(t, generation(b, s, d, nil), d)
				if fails, ok := errors.AsType[*job.FailedError](err); ok && walks && versioning != "" {
					if !strings.Contains(fails.Reason.FailureReason, "an order that is not that of their keys") {
						t.Error(err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if d.last().Walk != walks {
					t.Errorf("walked: %t, want %t", d.last().Walk, walks)
				}
				compareRows(t, rows(t, s, res), model(b, nil, false))
			})
		}
	}
	const always = 1000
	check("short pages", faults{short: always}, false)
	check("no tokens", faults{tokenless: always}, false)
	check("every page is the last", faults{end: always}, false)
	check("busy", faults{busy: 10}, false)
	check("every second page is empty", faults{empty: 500}, false)
	check("every second page is out of order", faults{shuffle: 500}, true)
}

// TestWalkBeginsAgain stops a walk half-way: what it had found does not count any more.
func TestWalkBeginsAgain(t *testing.T) {
	t.Parallel()
	items := flat(3000, func(_ *rand.Rand, i int) string { return fmt.Sprintf("%c/%d", "aAbB"[i%4], i) })
	order := func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	}
	slices.SortFunc(items, func(a, b item) int { return order(a.key, b.key) })
	b := newBucket(1, items)
	b.compare, b.pageSize = order, 100
	s, d := newShelf(), &diary{tb: t}
	stopped := false
	d.fail = func(saves int) error {
		if !stopped && d.last().Walk && d.last().Rows > 1000 {
			stopped = true
			return errLost
		}
		return nil
	}
	res, err := runSmall(t, generation(b, s, d, nil), d, 500)
	if err != nil {
		t.Fatal(err)
	}
	if !stopped || d.last().Pass != 3 || len(d.files) <= res.Files {
		t.Errorf("stopped %t, pass %d, %d files saved, %d in the manifest", stopped, d.last().Pass, len(d.files), res.Files)
	}
	compareRows(t, rows(t, s, res), model(b, nil, false))
}

// TestRefusedSplit lists a store that takes only keys there are to begin after.
func TestRefusedSplit(t *testing.T) {
	t.Parallel()
	items := corpus(4, 5000)
	b := newBucket(1, items)
	b.pageSize = 100
	b.onPage = func(q objectstore.ListQuery) error {
		if _, ok := slices.BinarySearchFunc(items, q.After, func(it item, key string) int { return strings.Compare(it.key, key) }); !ok && q.After != "" {
			return &objectstore.Error{Op: "ListObjectsV2", Status: 400, Code: "InvalidArgument"}
		}
		return nil
	}
	s, d := newShelf(), &diary{tb: t}
	res, err := Run(t.Context(), generation(b, s, d, nil), State{})
	if err != nil {
		t.Fatal(err)
	}
	compareRows(t, rows(t, s, res), model(b, nil, false))
}

// TestRefusals fails the job at once, and says why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	check := func(name, code, text string, set func(b *bucket, s *shelf, j *Job)) {
		t.Helper()
		b, s, d := newBucket(1, corpus(5, 100)), newShelf(), &diary{tb: t}
		j := generation(b, s, d, nil)
		set(b, s, &j)
		_, err := Run(t.Context(), j, State{})
		fails, ok := errors.AsType[*job.FailedError](err)
		if !ok || fails.Reason.FailureCode != code || !strings.Contains(fails.Reason.FailureReason, text) {
			t.Errorf("%s: got %v, want %s: %s", name, err, code, text)
		}
		if len(s.data) > 0 && name != "unwritable manifest" {
			t.Errorf("%s: %d objects were written", name, len(s.data))
		}
	}
	refuse := func(status int, code string) func(b *bucket, s *shelf, j *Job) {
		return func(b *bucket, _ *shelf, _ *Job) {
			b.onPage = func(objectstore.ListQuery) error {
				return &objectstore.Error{Op: "ListObjectsV2", Bucket: "data", Status: status, Code: code}
			}
		}
	}
	check("missing bucket", CodeFailed, "The source bucket data does not exist.", refuse(404, "NoSuchBucket"))
	check("forbidden", CodeFailed, "Listing the source bucket data is forbidden: AccessDenied", refuse(403, "AccessDenied"))
	check("odd refusal", CodeFailed, "cannot be listed: ListObjectsV2 data/: 400 InvalidRequest", refuse(400, "InvalidRequest"))
	check("other owner", CodeNotOwner, "does not belong to the account 111122223333", func(b *bucket, _ *shelf, j *Job) {
		b.owner, j.Generator.ExpectedBucketOwner = "444455556666", "111122223333"
	})
	check("forbidden with an owner", CodeFailed, "is forbidden", func(b *bucket, s *shelf, j *Job) {
		j.Generator.ExpectedBucketOwner = "111122223333"
		refuse(403, "AccessDenied")(b, s, j)
	})
	check("no match", CodeNoMatch, "Manifest generation found no keys matching the filter criteria.", func(_ *bucket, _ *shelf, j *Job) {
		j.Generator.Filter = &job.GeneratorFilter{ObjectSizeGreaterThanBytes: new(int64(1 << 40))}
	})
	check("empty bucket", CodeNoMatch, "found no keys", func(b *bucket, _ *shelf, _ *Job) { b.items = nil })
	check("unwritable", CodeFailed, "cannot be written to the bucket out: PutObject out/: 403 AccessDenied", func(_ *bucket, s *shelf, _ *Job) {
		s.fail = func(string) error {
			return &objectstore.Error{Op: "PutObject", Bucket: "out", Status: 403, Code: "AccessDenied"}
		}
	})
	check("unwritable manifest", CodeFailed, "cannot be written", func(_ *bucket, s *shelf, _ *Job) {
		s.fail = func(name string) error {
			if name != "manifest.json" {
				return nil
			}
			return &objectstore.Error{Op: "PutObject", Bucket: "out", Status: 400, Code: "KMS.NotFoundException"}
		}
	})
	check("long key", CodeFailed, "that no manifest can name", func(b *bucket, _ *shelf, _ *Job) {
		b.items = []item{{key: strings.Repeat("k", 1025)}}
	})
	check("no UTF-8", CodeFailed, "that no manifest can name", func(b *bucket, _ *shelf, _ *Job) { b.items = []item{{key: "a\xff"}} })
	check("HEAD refused", CodeFailed, "cannot be looked at", func(b *bucket, _ *shelf, j *Job) {
		j.Generator.Filter = &job.GeneratorFilter{ObjectReplicationStatuses: []job.ReplicationStatus{"NONE"}}
		j.Source = forbidden{b}
	})
}

// TestOwnerUnchecked tells a store that looks at the owner from one that does not.
func TestOwnerUnchecked(t *testing.T) {
	t.Parallel()
	check := func(owner, expected string, want bool) {
		t.Helper()
		b, s, d := newBucket(1, corpus(5, 100)), newShelf(), &diary{tb: t}
		b.owner = owner
		j := generation(b, s, d, nil)
		j.Generator.ExpectedBucketOwner = expected
		res, err := Run(t.Context(), j, State{})
		if err != nil || res.OwnerUnchecked != want {
			t.Errorf("owner %q, expected %q: %+v, %v", owner, expected, res, err)
		}
	}
	check("", "111122223333", true)
	check("111122223333", "111122223333", false)
	check("000000000000", "000000000000", false)
	check("", "", false)
}

// TestOrderBetweenPages lists a store whose pages are in order, but do not follow on each other.
func TestOrderBetweenPages(t *testing.T) {
	t.Parallel()
	items := flat(400, func(_ *rand.Rand, i int) string { return fmt.Sprintf("%c/%03d", "abcd"[i/100], i) })
	order := func(a, b string) int { // b, a, d, c
		flip := func(key string) string {
			if key == "" {
				return key
			}
			return string((key[0]-'a')^1) + key[1:]
		}
		return strings.Compare(flip(a), flip(b))
	}
	slices.SortFunc(items, func(a, b item) int { return order(a.key, b.key) })
	for _, workers := range []int{1, 4} {
		b := newBucket(1, items)
		b.compare, b.pageSize = order, 100
		s, d := newShelf(), &diary{tb: t}
		j := generation(b, s, d, nil)
		j.Workers = workers
		res, err := Run(t.Context(), j, State{})
		if err != nil {
			t.Fatal(err)
		}
		if !d.last().Walk {
			t.Error("that the store has an order of its own was not seen")
		}
		compareRows(t, rows(t, s, res), model(b, nil, false))
	}
}
