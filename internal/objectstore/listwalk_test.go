package objectstore_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// walk lists everything q asks for, page by page, and counts how often each row came.
func walk(tb testing.TB, store *objectstore.Store, q objectstore.ListQuery) (seen map[string]int, err error) {
	tb.Helper()
	seen = make(map[string]int)
	var page objectstore.ListPage
	for range 10_000 {
		if err := store.ListPage(tb.Context(), q, &page); err != nil {
			return seen, err
		}
		for _, e := range page.Entries {
			seen[string(e.Key)+" "+string(e.VersionID)]++
		}
		for _, prefix := range page.Prefixes {
			seen[string(prefix)+" PREFIX"]++
		}
		if !page.Truncated {
			return seen, nil
		}
		q = page.Next(q)
	}
	tb.Fatal("the listing has no end")
	return nil, nil
}

// wanted is what a listing must give.
func wanted(rows []objectstoretest.Row, q objectstore.ListQuery) map[string]int {
	want := make(map[string]int)
	last := ""
	for i, r := range rows {
		latest := i == 0 || r.Key != last
		last = r.Key
		after := r.Key > q.After
		if !strings.HasPrefix(r.Key, q.Prefix) || !after || !q.Versions && (!latest || r.DeleteMarker) {
			continue
		}
		if n := strings.Index(r.Key[len(q.Prefix):], q.Delimiter); q.Delimiter != "" && n >= 0 {
			want[r.Key[:len(q.Prefix)+n+len(q.Delimiter)]+" PREFIX"] = 1
			continue
		}
		version := ""
		if q.Versions {
			if version = r.VersionID; version == "" {
				version = "null"
			}
		}
		want[r.Key+" "+version] = 1
	}
	return want
}

// TestWalksGiveEverything: whatever a store does to pages, as long as it can be helped, every row is given; and nothing
// else is. Rows come twice only from stores that repeat some.
func TestWalksGiveEverything(t *testing.T) {
	t.Parallel()
	patient := func(c *objectstore.Config) { c.MaxAttempts = 20 } // more than all faults together
	encodes, encodesStore := start(t, objectstoretest.Config{}, patient)
	rawS3, rawStore := start(t, objectstoretest.Config{RawKeys: true}, patient)
	rapid.Check(t, func(rt *rapid.T) {
		raw := rapid.Bool().Draw(rt, "raw keys")
		s3, store := encodes, encodesStore
		if raw {
			s3, store = rawS3, rawStore
		}
		s3.Forget()
		alphabet := []rune("ab/+% &<é\x01")
		if raw {
			alphabet = []rune("ab/+% &<é\n\r\t")
		}
		keys := rapid.SliceOfNDistinct(rapid.StringOfN(rapid.SampledFrom(alphabet), 1, 6, -1), 0, 40, rapid.ID[string]).Draw(rt, "keys")
		slices.Sort(keys)
		var rows []objectstoretest.Row
		for _, key := range keys {
			for i := range rapid.IntRange(1, 4).Draw(rt, "versions") {
				r := objectstoretest.Row{Key: key, VersionID: fmt.Sprint("v", 9-i), DeleteMarker: rapid.IntRange(0, 3).Draw(rt, "marker") == 0}
				if i == 2 {
					r.VersionID = ""
				}
				rows = append(rows, r)
			}
		}
		s3.Fill("b", rows)
		q := objectstore.ListQuery{
			Bucket: "b", Versions: rapid.Bool().Draw(rt, "list versions"), MaxKeys: rapid.IntRange(1, 9).Draw(rt, "page size"),
			Prefix:    rapid.SampledFrom([]string{"", "", "a", "a/", "é"}).Draw(rt, "prefix"),
			After:     rapid.SampledFrom([]string{"", "", "a", "a/b", "b"}).Draw(rt, "after"),
			Delimiter: rapid.SampledFrom([]string{"", "", "/"}).Draw(rt, "delimiter"),
		}
		if q.Versions && q.Delimiter != "" {
			q.After = "" // a marker that ends with the delimiter stands for the folded keys
		}
		repeats := q.Versions && slices.ContainsFunc(rows, func(r objectstoretest.Row) bool { return r.VersionID == "" })
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(slices.Sorted(maps.Keys(curable))), 0, 4).Draw(rt, "faults") {
			if q.Delimiter != "" && (name == "repeat" || name == "lose") {
				continue // with prefixes there is only the token to go by
			}
			repeats = repeats || name == "repeat" || name == "end late" || name == "reverse" || name == "swap"
			fault := s3.Fault(objectstoretest.Match{
				Skip: rapid.IntRange(0, 5).Draw(rt, "skip"), Every: rapid.IntRange(1, 3).Draw(rt, "every"), Times: rapid.IntRange(1, 3).Draw(rt, "times"),
			}, curable[name])
			defer fault.Remove()
		}
		got, err := walk(t, store, q)
		if err != nil {
			rt.Fatal(err)
		}
		want := wanted(rows, q)
		if repeats {
			for name := range got {
				got[name] = 1
				if key := name[:strings.LastIndexByte(name, ' ')]; q.After != "" && key <= q.After { // nor were they asked for
					delete(got, name)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestWalksOfOddVersions: no version is lost on servers that have their own idea of where a page begins.
func TestWalksOfOddVersions(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{OddVersions: true}, nil)
	rapid.Check(t, func(rt *rapid.T) {
		s3.Forget()
		var rows []objectstoretest.Row
		for key := range rapid.IntRange(0, 9).Draw(rt, "keys") {
			null := rapid.IntRange(-1, 5).Draw(rt, "null version")
			for i := range rapid.IntRange(1, 6).Draw(rt, "versions") {
				r := objectstoretest.Row{Key: fmt.Sprint("k", key), VersionID: fmt.Sprint("v", 9-i), DeleteMarker: rapid.Bool().Draw(rt, "marker")}
				if i == null {
					r.VersionID = ""
				}
				rows = append(rows, r)
			}
		}
		s3.Fill("b", rows)
		q := objectstore.ListQuery{
			Bucket: "b", Versions: true, MaxKeys: rapid.IntRange(3, 9).Draw(rt, "page size"),
			After: rapid.SampledFrom([]string{"", "k", "k1", "k2"}).Draw(rt, "after"),
		}
		got, err := walk(t, store, q)
		if err != nil {
			rt.Fatal(err)
		}
		for row := range got {
			got[row] = 1
		}
		if diff := cmp.Diff(wanted(rows, q), got); diff != "" {
			rt.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// curable are the faults that a walk must bear.
var curable = map[string]objectstoretest.Action{
	"repeat":    objectstoretest.RepeatRows(2),
	"reverse":   objectstoretest.ReverseRows(),
	"swap":      objectstoretest.SwapRows(),
	"short":     objectstoretest.ShortPage(2),
	"lose":      objectstoretest.LoseRows(2),
	"empty":     objectstoretest.EmptyPage(),
	"end late":  objectstoretest.EndLate(),
	"stuck":     objectstoretest.StuckPage(),
	"slow down": objectstoretest.SlowDown(),
	"reset":     objectstoretest.ResetBefore(),
	"cut":       objectstoretest.CutBody(100),
	"truncated": objectstoretest.TruncateXML(),
}

// TestStuckStores: a store that never says how to go on ends a listing with an error, not with half of it.
func TestStuckStores(t *testing.T) {
	t.Parallel()
	check := func(name string, fault objectstoretest.Action, versions, fails bool) {
		t.Helper()
		s3, store := start(t, objectstoretest.Config{PageSize: 2}, nil)
		s3.Fill("b", []objectstoretest.Row{{Key: "a"}, {Key: "b"}, {Key: "c", VersionID: "2"}, {Key: "c", VersionID: "1"}, {Key: "d"}})
		s3.Fault(objectstoretest.Match{Skip: 1}, fault)
		_, err := walk(t, store, objectstore.ListQuery{Bucket: "b", Versions: versions})
		if fails != errors.Is(err, objectstore.ErrStuck) {
			t.Errorf("%s, versions %t: %v", name, versions, err)
		}
	}
	check("stuck", objectstoretest.StuckPage(), false, true)
	check("stuck", objectstoretest.StuckPage(), true, true)
	check("empty", objectstoretest.EmptyPage(), true, true)
	check("end late", objectstoretest.EndLate(), true, true)
	check("no token, last page", objectstoretest.NoToken(), false, true)
	check("no markers, last page", objectstoretest.NoToken(), true, true)
	check("short", objectstoretest.ShortPage(1), true, false)
}

// TestStoresThatDoNotMove: one that looks past the markers, and answers with its first page for ever.
func TestStoresThatDoNotMove(t *testing.T) {
	t.Parallel()
	check := func(name, rows string, versions bool) {
		t.Helper()
		s3, store := start(t, objectstoretest.Config{}, nil)
		s3.Fault(objectstoretest.Match{}, objectstoretest.Answer(200, "<ListResult><IsTruncated>true</IsTruncated>"+rows+"</ListResult>"))
		if _, err := walk(t, store, objectstore.ListQuery{Bucket: "b", Versions: versions}); !errors.Is(err, objectstore.ErrStuck) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const (
		latest = "<Version><Key>k</Key><VersionId>3</VersionId><IsLatest>true</IsLatest></Version>"
		old    = "<Version><Key>k</Key><VersionId>1</VersionId><IsLatest>false</IsLatest></Version>"
		null   = "<Version><Key>k</Key><VersionId>null</VersionId><IsLatest>false</IsLatest></Version>"
		marker = "<DeleteMarker><Key>k</Key><VersionId>2</VersionId><IsLatest>false</IsLatest></DeleteMarker>"
	)
	check("keys", "<Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents>", false)
	check("the same token", "<NextContinuationToken>t</NextContinuationToken>", false)
	check("one version", latest, true)
	check("versions", latest+old, true)
	check("with null", latest+old+null, true)
	check("markers first", marker+latest+old, true)
	check("markers last", latest+null+marker, true)
	check("a marker first", marker+latest, true)
	check("its own markers", marker+latest+old+"<NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>", true)
}

func TestManyPages(t *testing.T) {
	t.Parallel()
	const keys = 100_000
	rows := make([]objectstoretest.Row, keys)
	for i := range rows {
		rows[i] = objectstoretest.Row{Key: fmt.Sprintf("dir/obj-%010d.bin", i), Size: int64(i), ETag: "9bb58f26192e4ba00f01e2e7b136bbd8", Modified: time.Unix(int64(i), 0)}
	}
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Fill("b", rows)
	var page objectstore.ListPage
	q, n := objectstore.ListQuery{Bucket: "b", Prefix: "dir/"}, 0
	for {
		if err := store.ListPage(t.Context(), q, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			if want := &rows[n]; string(e.Key) != want.Key || e.Size != want.Size || string(e.ETag) != want.ETag || !e.LastModified.Equal(want.Modified) {
				t.Fatalf("row %d: %+v", n, e)
			}
			n++
		}
		if !page.Truncated {
			break
		}
		q = page.Next(q)
	}
	if n != keys || s3.Count("ListObjectsV2") != keys/1000 {
		t.Errorf("%d keys in %d pages", n, s3.Count("ListObjectsV2"))
	}
}

// TestEncryptionOf is what HEAD tells a filter.
func TestEncryptionOf(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	check := func(header http.Header, want objectstore.Encryption, replication string) {
		t.Helper()
		s3.Fill("b", []objectstoretest.Row{{Key: "k", Header: header}})
		h, err := objectstore.HeadFull(t.Context(), store, objectstore.Object{Bucket: "b", Key: "k"})
		if err != nil || h.Encryption() != want || h.Replication() != replication {
			t.Errorf("%v: %+v, %q, %v", header, h.Encryption(), h.Replication(), err)
		}
	}
	const sse = "X-Amz-Server-Side-Encryption"
	check(nil, objectstore.Encryption{}, "")
	check(http.Header{sse: {"AES256"}, "X-Amz-Replication-Status": {"COMPLETED"}}, objectstore.Encryption{Algorithm: "AES256"}, "COMPLETED")
	check(http.Header{sse: {"aws:kms"}, sse + "-Aws-Kms-Key-Id": {"arn:k"}, sse + "-Bucket-Key-Enabled": {"true"}},
		objectstore.Encryption{Algorithm: "aws:kms", KMSKey: "arn:k", BucketKey: true}, "")
}
