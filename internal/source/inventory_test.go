package source_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/gunzip"
	"stevedore/internal/manifest/parquet"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// inventory stores inv as manifest.json and returns its spec.
func (s store) inventory(tb testing.TB, inv *manifest.Inventory) source.Spec {
	tb.Helper()
	text, err := inv.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	s["b/manifest.json"] = text
	return source.Spec{
		Format: job.ManifestInventory,
		Object: objectstore.Object{Bucket: "b", Key: "manifest.json", ETag: s.etag("manifest.json")},
	}
}

// generated stores an inventory of some files with so many rows each, and returns its keys.
func (s store) generated(tb testing.TB, sizes ...int) (inv *manifest.Inventory, keys []string) {
	tb.Helper()
	columns := manifest.Columns{VersionID: true, Size: true}
	inv = manifest.NewInventory("src", "dst", time.UnixMilli(0), columns)
	random := rand.New(rand.NewPCG(1, 2))
	for i, size := range sizes {
		var file bytes.Buffer
		w := manifest.NewDataWriter(&file, columns)
		for range size {
			key := fmt.Sprintf("photos/%016x/%016x/%016x %d.jpg", random.Uint64(), random.Uint64(), random.Uint64(), len(keys))
			keys = append(keys, key)
			if err := w.Write(&manifest.Row{Bucket: []byte("src"), Key: []byte(key), VersionID: []byte("null"), Size: 11}); err != nil {
				tb.Fatal(err)
			}
		}
		info, err := w.Close()
		if err != nil {
			tb.Fatal(err)
		}
		info.Key = fmt.Sprintf("data/%d.csv.gz", i)
		s["dst/"+info.Key] = file.Bytes()
		inv.Files = append(inv.Files, info)
	}
	return inv, keys
}

// locate finds a list that must be there.
func locate(tb testing.TB, s store, spec source.Spec) *source.Source {
	tb.Helper()
	src, err := source.Locate(tb.Context(), s, spec)
	if err != nil {
		tb.Fatal(err)
	}
	return src
}

// all reads every file of src.
func all(tb testing.TB, src *source.Source) (got []string, err error) {
	tb.Helper()
	for i := range src.Files {
		rows, err := src.Open(tb.Context(), i, "", manifest.Position{}, manifest.Position{})
		if err != nil {
			return got, err
		}
		part, err := keys(tb, rows)
		if got = append(got, part...); err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestInventory(t *testing.T) {
	t.Parallel()
	s := store{}
	inv, want := s.generated(t, 1000, 0, 1, 3000)
	src := locate(t, s, s.inventory(t, inv))
	got, err := all(t, src)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
	if !src.Layout.HasVersionID() || src.Splittable(0) {
		t.Errorf("got version ids %t, splittable %t, want true, false", src.Layout.HasVersionID(), src.Splittable(0))
	}
	rows, err := src.Open(t.Context(), 3, "", manifest.Position{}, manifest.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var row manifest.Row
	for range 500 {
		if !rows.Next(&row) {
			t.Fatal(rows.Err())
		}
	}
	if row.Size != 11 || string(row.VersionID) != "null" || string(row.Bucket) != "src" {
		t.Errorf("got %d bytes of version %q in %q", row.Size, row.VersionID, row.Bucket)
	}
	if n := rows.Estimate(); n < 1000 || n > 9000 {
		t.Errorf("estimated %d rows, want about 3000", n)
	}
}

// Every file can be entered at every row, with an index or without, and left at every row behind it.
func TestEnterInTheMiddle(t *testing.T) {
	t.Parallel()
	s := store{}
	inv, want := s.generated(t, 110_000)
	spec := s.inventory(t, inv)
	var ends []manifest.Position
	rows, err := locate(t, s, spec).Open(t.Context(), 0, "", manifest.Position{}, manifest.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for row := (manifest.Row{}); rows.Next(&row); {
		ends = append(ends, rows.Position())
	}
	if rows.Err() != nil || len(ends) != len(want) {
		t.Fatalf("read %d rows, want %d: %v", len(ends), len(want), rows.Err())
	}
	for _, index := range []*gunzip.Index{nil, gunzip.NewIndex(0)} {
		spec.Index = index
		counted := &counting{store: s}
		src, err := source.Locate(t.Context(), counted, spec)
		if err != nil {
			t.Fatal(err)
		}
		if index != nil {
			if _, err := all(t, src); err != nil { // as planning does
				t.Fatal(err)
			}
			counted.bytes = 0
		}
		random := rand.New(rand.NewPCG(3, 4))
		reads := int64(20)
		if index == nil {
			reads = 5 // each of them decompresses half the file
		}
		for range reads {
			if index == nil {
				src = locate(t, s, spec) // which has no points of earlier reads
			}
			from := random.IntN(len(want) - 1)
			to := from + 1 + random.IntN(min(len(want)-from-1, 2000))
			rows, err := src.Open(t.Context(), 0, rows.ETag(), ends[from], ends[to])
			if err != nil {
				t.Fatal(err)
			}
			got, err := keys(t, rows)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[from+1:to+1], got); diff != "" {
				t.Fatalf("rows %d to %d differ (-want +got):\n%s", from, to, diff)
			}
		}
		if most := inv.Files[0].Size * reads / 2; index != nil && counted.bytes > most {
			t.Errorf("asked for %d bytes with an index, want less than %d", counted.bytes, most)
		}
	}
}

// Whoever goes on in the middle of a file compares the whole of it with its MD5, although the index knows where to enter.
func TestEnterAfterACrash(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{"good": true, "bad": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store{}
			inv, want := s.generated(t, 110_000)
			if !good {
				inv.Files[0].MD5 = sum([]byte("another file"))
			}
			spec := s.inventory(t, inv)
			spec.Index = gunzip.NewIndex(0)
			src := locate(t, s, spec)
			rows, err := src.Open(t.Context(), 0, "", manifest.Position{}, manifest.Position{})
			if err != nil {
				t.Fatal(err)
			}
			var row manifest.Row
			for range 100_000 { // and then the process dies
				if !rows.Next(&row) {
					t.Fatal(rows.Err())
				}
			}
			from, pin := rows.Position(), rows.ETag()
			if err := rows.Close(); err != nil {
				t.Fatal(err)
			}
			if spec.Index.Size() == 0 {
				t.Fatal("the index knows no place to enter at")
			}
			if rows, err = src.Open(t.Context(), 0, pin, from, manifest.Position{}); err != nil {
				t.Fatal(err)
			}
			got, err := keys(t, rows)
			if diff := cmp.Diff(want[100_000:], got); diff != "" {
				t.Errorf("keys differ (-want +got):\n%s", diff)
			}
			switch failed, ok := errors.AsType[*job.FailedError](err); {
			case good && err != nil:
				t.Error(err)
			case !good && (!ok || !strings.Contains(failed.Reason.FailureReason, "its MD5 is")):
				t.Errorf("got %v, want that the MD5 is another one", err)
			}
		})
	}
}

// counting counts the bytes that were asked for.
type counting struct {
	store
	bytes int64
}

func (c *counting) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	body, info, err := c.store.Open(ctx, o, offset, length)
	if length < 0 {
		length = info.Size - offset
	}
	c.bytes += length
	return body, info, err
}

func TestParquet(t *testing.T) {
	t.Parallel()
	s := store{}
	var file bytes.Buffer
	w, err := parquet.NewWriter(&file, []string{"bucket", "key", "version_id", "is_latest", "size"})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 5000 {
		key := fmt.Sprintf("photos/50%% of %d.jpg", i)
		want = append(want, key)
		if err := w.Write([][]byte{[]byte("src"), []byte(key), []byte("null"), []byte("true"), []byte("7")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s["dst/data/1.parquet"] = file.Bytes()
	inv := manifest.NewInventory("src", "dst", time.UnixMilli(0), manifest.Columns{})
	inv.FileFormat, inv.FileSchema = "Parquet", "message s3.inventory {  required binary bucket (STRING); }"
	inv.Files = []manifest.DataFile{{Key: "data/1.parquet", Size: int64(file.Len()), MD5: sum(file.Bytes())}}
	src := locate(t, s, s.inventory(t, inv))
	got, err := all(t, src)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
	rows, err := src.Open(t.Context(), 0, "", manifest.Position{Offset: 4000, Line: 4001}, manifest.Position{Offset: 4003})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var batch manifest.Batch
	if n := rows.Fill(&batch, 10); n != 3 || rows.Err() != nil {
		t.Fatalf("got %d rows, want 3: %v", n, rows.Err())
	}
	row := batch.Row(2)
	if string(row.RawKey) != "photos/50%25%20of%204002.jpg" || string(row.VersionID) != "null" || row.Size != 7 {
		t.Errorf("got %q, version %q, %d bytes", row.RawKey, row.VersionID, row.Size)
	}
	if end := batch.End(2); end != (manifest.Position{Offset: 4003, Line: 4004}) {
		t.Errorf("got end %+v", end)
	}
	if rows.Estimate() != 5000 {
		t.Errorf("got %d rows, want 5000", rows.Estimate())
	}
}

// An ORC file of another writer, which the tests of the ORC reader have.
func TestORC(t *testing.T) {
	t.Parallel()
	folder := filepath.Join("..", "manifest", "orc", "testdata")
	file, err := os.ReadFile(filepath.Join(folder, "golden-zlib.orc"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "golden.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		want = append(want, strings.Split(line, "\t")[1])
	}
	inv := manifest.NewInventory("src", "dst", time.UnixMilli(0), manifest.Columns{})
	inv.FileFormat = "ORC"
	inv.Files = []manifest.DataFile{{Key: "data/1.orc", Size: int64(len(file)), MD5: sum(file)}}
	s := store{"dst/data/1.orc": file}
	got, err := all(t, locate(t, s, s.inventory(t, inv)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
}

// Compressed CSV manifests are read leniently, and only so.
func TestCompressed(t *testing.T) {
	t.Parallel()
	const text = "Bucket,Key\nsrc,a b\nsrc,c\n"
	var zipped, packed bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	e, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(e, text)
	_ = e.Close()
	check := func(content, notes string, want ...string) {
		t.Helper()
		s := store{"b/m.csv": []byte(content)}
		spec := s.csv()
		_, err := all(t, locate(t, s, spec))
		if e, ok := errors.AsType[*job.FailedError](err); !ok || e.Reason.FailureCode != job.CodeInvalidManifest {
			t.Errorf("read strictly: %v", err)
		}
		spec.Lenient = true
		src := locate(t, s, spec)
		rows, err := src.Open(t.Context(), 0, "", manifest.Position{}, manifest.Position{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := keys(t, rows)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("got %q, want %q: %v", got, want, err)
		}
		noted := src.Notes()
		noted.Add(rows.Notes())
		if noted.String() != notes {
			t.Errorf("noted %q, want %q", noted, notes)
		}
		rows, err = src.Open(t.Context(), 0, rows.ETag(), manifest.Position{Offset: 19, Line: 3}, manifest.Position{Offset: 25})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keys(t, rows); err != nil || !cmp.Equal(got, want[1:]) {
			t.Errorf("from the middle: got %q, want %q: %v", got, want[1:], err)
		}
	}
	check(text, "header row skipped, 1 key with unencoded spaces", "a b", "c")
	check(zipped.String(), "gzip decompressed, header row skipped, 1 key with unencoded spaces", "a b", "c")
	check(packed.String(), "zstd decompressed, header row skipped, 1 key with unencoded spaces", "a b", "c")
}

// A row that cannot be read is not what is wrong with a file that was damaged; a row of a file that was not, is.
func TestDamaged(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	z, _ := gzip.NewWriterLevel(&zipped, gzip.NoCompression)
	_, _ = io.WriteString(z, strings.Repeat("src,a\n", 1000)+"src\n")
	_ = z.Close()
	damaged := bytes.Clone(zipped.Bytes())
	damaged[bytes.IndexByte(damaged, ',')] = 'x'
	check := func(content []byte, from manifest.Position, want string) {
		t.Helper()
		s := store{"b/m.csv": content}
		spec := s.csv()
		spec.Lenient = true
		rows, err := locate(t, s, spec).Open(t.Context(), 0, "", from, manifest.Position{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = keys(t, rows)
		for _, err := range []error{err, rows.Err()} {
			if e, ok := errors.AsType[*job.FailedError](err); !ok || e.Reason.FailureCode != job.CodeInvalidManifest || !strings.Contains(e.Reason.FailureReason, want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
	check(damaged, manifest.Position{}, "gzip data: ")
	check(damaged, manifest.Position{Offset: 6, Line: 2}, "gzip data: ")
	check(zipped.Bytes(), manifest.Position{}, "line 1001: got 1 columns, want 2")
}

// A store that breaks off in the middle does not make the list a bad one.
func TestBrokenStore(t *testing.T) {
	t.Parallel()
	s := store{}
	inv, _ := s.generated(t, 10_000)
	spec := s.inventory(t, inv)
	broken := errors.New("connection reset")
	for _, at := range []int64{0, 10, inv.Files[0].Size / 2, inv.Files[0].Size - 1} {
		src, err := source.Locate(t.Context(), &breaking{store: s, at: at, err: broken}, spec)
		if err != nil {
			t.Fatal(err)
		}
		_, err = all(t, src)
		if _, failed := errors.AsType[*job.FailedError](err); failed || !errors.Is(err, broken) {
			t.Errorf("broken at byte %d: error %v, want %v", at, err, broken)
		}
	}
}

// breaking breaks off the reading of data files.
type breaking struct {
	store
	at  int64
	err error
}

func (b *breaking) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	body, info, err := b.store.Open(ctx, o, offset, length)
	if err != nil || !strings.HasPrefix(o.Key, "data/") {
		return body, info, err
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(body, b.at), failing{b.err})), info, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Closing early, and a context that ends, leave nothing behind: goroutines would block for ever.
func TestCloseEarly(t *testing.T) {
	t.Parallel()
	s := store{}
	inv, want := s.generated(t, 10_000)
	src := locate(t, s, s.inventory(t, inv))
	ctx, cancel := context.WithCancel(t.Context())
	rows, err := src.Open(ctx, 0, "", manifest.Position{}, manifest.Position{})
	if err != nil {
		t.Fatal(err)
	}
	var row manifest.Row
	if !rows.Next(&row) || string(row.Key) != want[0] {
		t.Fatalf("got %q, want %q", row.Key, want[0])
	}
	cancel()
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
}
