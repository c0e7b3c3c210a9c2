package generate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// served returns a store in process, and a client that loses no time with waiting.
func served(tb testing.TB, cfg objectstoretest.Config) (*objectstoretest.Server, *objectstore.Access) {
	tb.Helper()
	s3 := objectstoretest.Start(tb, cfg)
	store, err := objectstore.New(objectstore.Config{
		Endpoint: s3.URL(), Credentials: s3.Credentials(), BackoffBase: time.Microsecond, BackoffCap: time.Millisecond,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(store.Close)
	access, err := objectstore.NewAccess(store, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s3, access
}

// rowsOf are items as the store in process has them.
func rowsOf(items []item) []objectstoretest.Row {
	headers := make(map[item]http.Header) // few are different
	list := make([]objectstoretest.Row, len(items))
	for i := range items {
		it := &items[i]
		kind := item{encryption: it.encryption, kmsKey: it.kmsKey, bucketKey: it.bucketKey, replication: it.replication}
		header := headers[kind]
		if header == nil {
			header = make(http.Header)
			set := func(name, value string) {
				if value != "" {
					header.Set(name, value)
				}
			}
			const encryption = "X-Amz-Server-Side-Encryption"
			if it.encryption == "customer" {
				header.Set(encryption+"-Customer-Algorithm", "AES256")
			} else {
				set(encryption, it.encryption)
			}
			set(encryption+"-Aws-Kms-Key-Id", it.kmsKey)
			if it.bucketKey {
				header.Set(encryption+"-Bucket-Key-Enabled", "true")
			}
			set("X-Amz-Replication-Status", it.replication)
			headers[kind] = header
		}
		list[i] = objectstoretest.Row{
			Key: it.key, VersionID: it.version, Size: it.size, Modified: it.modified, StorageClass: it.class, DeleteMarker: it.marker,
			Header: header, ETag: "d41d8cd98f00b204e9800998ecf8427e",
		}
	}
	return list
}

// pageFaults are faults as a bad day brings them, each on every so many pages.
func pageFaults(s3 *objectstoretest.Server) {
	for i, action := range []objectstoretest.Action{
		objectstoretest.RepeatRows(3), objectstoretest.ReverseRows(), objectstoretest.SwapRows(), objectstoretest.ShortPage(5),
		objectstoretest.LoseRows(7), objectstoretest.EmptyPage(), objectstoretest.EndEarly(4), objectstoretest.EndEarly(0), objectstoretest.NoToken(),
		objectstoretest.StuckPage(), objectstoretest.SlowDown(), objectstoretest.EndLate(),
	} {
		for _, op := range []string{"ListObjectsV2", "ListObjectVersions"} {
			s3.Fault(objectstoretest.Match{Op: op, Skip: i, Every: 61 + 2*i}, action)
		}
	}
}

// TestOverHTTP generates from a store in process, by way of the requests that every store gets. With STEVEDORE_GENERATE_KEYS
// it uses 200 filters on so many keys, and else a few on a few thousand.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	keys, filters := size(t), 200
	if os.Getenv("STEVEDORE_GENERATE_KEYS") == "" {
		keys, filters = keys/10, 24
	}
	items := corpus(6, keys)
	for i := range items {
		items[i].gone = false // what is listed there can be looked at
	}
	histories := versioned(6, items[:keys/4])
	for _, versioning := range []string{"", "Enabled"} {
		t.Run("versioning "+versioning, func(t *testing.T) {
			t.Parallel()
			b := newBucket(1, items)
			if versioning != "" {
				b.items, b.versioning = histories, versioning
			}
			s3, store := served(t, objectstoretest.Config{PageSize: max(50, keys/1000)})
			s3.Fill("data", rowsOf(b.items))
			s3.SetVersioning("data", versioning)
			pageFaults(s3)
			for n := range filters / 2 {
				r := rand.New(rand.NewPCG(uint64(n), 10))
				f := randomFilter(r, items)
				s, d := newShelf(), &diary{tb: t}
				j := generation(b, s, d, f)
				j.Source = store
				j.AllVersions = versioning != "" && n%4 == 0
				j.Eligible = func(_ context.Context, c Candidate) (bool, error) {
					return eligible(c.Object.Key, c.Object.VersionID), nil
				}
				want := model(b, f, j.AllVersions)
				res, err := runOut(t, j, d)
				s3.Forget()
				t.Logf("filter %d: %d rows in %d saves", n, res.Rows, d.saves)
				if _, fails := errors.AsType[*job.FailedError](err); fails && len(want) == 0 {
					continue
				}
				if err != nil {
					t.Fatalf("filter %d: %v", n, err)
				}
				compareRows(t, rows(t, s, res), want)
				if t.Failed() {
					t.Fatalf("filter %d: %+v, all versions %t, walk %t", n, f, j.AllVersions, d.last().Walk)
				}
			}
		})
	}
}

// TestInBucket writes a manifest where the user wants it, encrypted as asked for.
func TestInBucket(t *testing.T) {
	t.Parallel()
	s3, store := served(t, objectstoretest.Config{Owner: "111122223333"})
	s3.CreateBucket("out")
	for i := range 10 {
		s3.Put("data", fmt.Sprintf("k %d", i), "hello")
	}
	s3.SetVersioning("out", "Enabled")
	location := &job.ManifestOutputLocation{
		Bucket: "arn:aws:s3:::out", ManifestPrefix: "lists", ExpectedManifestBucketOwner: "111122223333",
		ManifestEncryption: &job.ManifestEncryption{SSEKMS: &job.SSEKMSKeyOption{KeyId: "my-key"}},
	}
	d := &diary{tb: t}
	j := generation(nil, nil, d, nil)
	j.Source, j.Depot = store, InBucket(store, location, j.ID)
	j.Generator.ExpectedBucketOwner = "111122223333"
	s3.Put("out", "lists/job-"+j.ID+"/data/left-behind.csv.gz", "x")
	res, err := Run(t.Context(), j, State{})
	if err != nil {
		t.Fatal(err)
	}
	folder := "lists/job-" + j.ID + "/"
	object, ok := s3.Version("out", folder+"manifest.json", res.Object.VersionID)
	if !ok || res.Object.Key != folder+"manifest.json" || res.Object.Bucket != "out" || res.Object.ETag != object.ETag || res.Object.VersionID == "" {
		t.Errorf("the result is %+v", res.Object)
	}
	if res.Rows != 10 || res.Bytes != 50 || res.Files != 1 || res.OwnerUnchecked {
		t.Errorf("the result is %+v", res)
	}
	put := 0
	for _, r := range s3.Requests("PutObject") {
		if r.Header.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "my-key" ||
			r.Header.Get("X-Amz-Expected-Bucket-Owner") != "111122223333" {
			t.Errorf("%s came with %v", r.Key, r.Header)
		}
		put++
	}
	if put != 3 {
		t.Errorf("%d objects were put, want 3", put)
	}
	if _, ok := s3.Object("out", folder+"data/left-behind.csv.gz"); ok {
		t.Error("a file that is no part of the manifest is left")
	}

	// All is listed: only the manifest.json is written once more.
	pages := s3.Count("ListObjectsV2")
	again, err := Run(t.Context(), j, d.last())
	if err != nil || again.Rows != 10 || again.Object.ETag != res.Object.ETag {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if n := s3.Count("ListObjectsV2") - pages; n > 3 { // whether the bucket is there, whose it is, and what the depot has
		t.Errorf("%d pages were listed again", n)
	}

	location.ManifestEncryption = &job.ManifestEncryption{SSES3: &job.SSES3{}}
	location.ManifestPrefix = "other/"
	location.ExpectedManifestBucketOwner = "444455556666"
	j.Depot, j.Journal = InBucket(store, location, j.ID), &diary{tb: t}
	_, err = Run(t.Context(), j, State{})
	if fails, ok := errors.AsType[*job.FailedError](err); !ok || !strings.Contains(fails.Reason.FailureReason, "cannot be written to the bucket out") {
		t.Errorf("another owner: %v", err)
	}
	last := s3.Requests("PutObject")
	if r := last[len(last)-1]; r.Header.Get("X-Amz-Server-Side-Encryption") != "AES256" || !strings.HasPrefix(r.Key, "other/job-") {
		t.Errorf("%s came with %v", r.Key, r.Header)
	}
}

// TestInSourceBucket keeps the manifest in the bucket that it lists, where its files come to lie behind what was listed.
func TestInSourceBucket(t *testing.T) {
	t.Parallel()
	s3, store := served(t, objectstoretest.Config{PageSize: 10})
	s3.SetVersioning("data", "Enabled")
	for i := range 500 {
		s3.Put("data", fmt.Sprintf("k%03d", i), "hello")
	}
	s3.Put("data", "z/job-another/manifest.json", "{}") // is an object like others
	d := &diary{tb: t}
	j := generation(nil, nil, d, nil)
	j.Workers = 1
	j.Source, j.Depot = store, InBucket(store, &job.ManifestOutputLocation{Bucket: "arn:aws:s3:::data", ManifestPrefix: "z"}, j.ID)
	r := newRun(j, State{})
	r.most = 100
	res, err := r.generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if res.Rows != 501 || res.Files < 5 {
		t.Errorf("%d rows in %d files, want 501 in 5 or more", res.Rows, res.Files)
	}
}

// TestSpool writes a manifest to a folder, and reads it there as from a store.
func TestSpool(t *testing.T) {
	t.Parallel()
	b, d := newBucket(1, corpus(7, 500)), &diary{tb: t}
	spool, err := OpenSpool(t.TempDir() + "/new/spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spool.Close() })
	if _, err := spool.Put(t.Context(), "data/stray", []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	j := generation(b, nil, d, nil)
	j.Depot = spool
	res, err := Run(t.Context(), j, State{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := spool.Head(t.Context(), res.Object)
	if err != nil || info.Size != res.Size || info.ETag != res.Object.ETag {
		t.Errorf("head: %+v, %v", info, err)
	}
	s := newShelf()
	for name, err := range spool.Names(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		o := spool.At(name)
		body, info, err := spool.Open(t.Context(), o, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || int64(len(data)) != info.Size {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
		s.data[name] = data
		part, _, err := spool.Open(t.Context(), objectstore.Object{Key: name, ETag: info.ETag}, 3, 5)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(part); err != nil || string(got) != string(data[3:8]) {
			t.Errorf("%s from 3 to 8: %q, %v", name, got, err)
		}
		_ = part.Close()
	}
	text := strings.ReplaceAll(string(s.data["manifest.json"]), SpoolBucket, "out")
	if !strings.Contains(text, `"data/`) {
		t.Errorf("the manifest is %s", text)
	}
	text = strings.ReplaceAll(text, `"data/`, `"lists/data/`)
	s.data["manifest.json"], s.data["manifest.checksum"] = []byte(text), []byte(md5Hex([]byte(text)))
	res.Object, res.Size = s.At("manifest.json"), int64(len(text))
	res.Object.ETag = md5Hex([]byte(text))
	compareRows(t, rows(t, s, res), model(b, nil, false))

	if _, err := spool.Head(t.Context(), objectstore.Object{Key: "manifest.json", ETag: "other"}); !objectstore.PreconditionFailed(err) {
		t.Errorf("another ETag: %v", err)
	}
	if _, _, err := spool.Open(t.Context(), objectstore.Object{Key: "data/none"}, 0, -1); !objectstore.NotFound(err) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, _, err := spool.Open(t.Context(), objectstore.Object{Key: "../spool"}, 0, -1); err == nil || objectstore.NotFound(err) {
		t.Errorf("outside: %v", err)
	}
	if err := spool.Delete(t.Context(), "data/none"); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
}

// TestTwoFalseEnds: a store ends its listing too early on two pages that follow on each other.
func TestTwoFalseEnds(t *testing.T) {
	t.Parallel()
	items := flat(300, func(_ *rand.Rand, i int) string { return fmt.Sprintf("%03d", i) })
	b := newBucket(1, items)
	s3, store := served(t, objectstoretest.Config{PageSize: 50})
	s3.Fill("data", rowsOf(items))
	s3.Fault(objectstoretest.Match{Op: "ListObjectsV2", Skip: 2, Times: 1}, objectstoretest.EndEarly(4))
	s3.Fault(objectstoretest.Match{Op: "ListObjectsV2", Skip: 2, Times: 1}, objectstoretest.EndEarly(0))
	s, d := newShelf(), &diary{tb: t}
	j := generation(b, s, d, nil)
	j.Source, j.Workers = store, 1
	res, err := Run(t.Context(), j, State{})
	if err != nil {
		t.Fatal(err)
	}
	compareRows(t, rows(t, s, res), model(b, nil, false))
}
