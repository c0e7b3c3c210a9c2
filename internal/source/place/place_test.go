package place

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/source"
)

func TestParse(t *testing.T) {
	t.Parallel()
	check := func(text string, want Place) {
		t.Helper()
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%s: is written %s", text, got)
		}
	}
	check("a/b.csv", Place{File: "a/b.csv"})
	check("-", Place{File: "-"})
	check("s3://b/k", Place{Object: objectstore.Object{Bucket: "b", Key: "k"}})
	check("s3://b/dir//m one%20.csv?versionId=v1", Place{Object: objectstore.Object{Bucket: "b", Key: "dir//m one%20.csv", VersionID: "v1"}})
	check("s3://b/why?versionId=a?versionId=b", Place{Object: objectstore.Object{Bucket: "b", Key: "why?versionId=a", VersionID: "b"}})
	check("s3://b/", Place{Object: objectstore.Object{Bucket: "b"}})
	for _, text := range []string{"", "s3://", "s3:///k"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

// write writes a file into a new folder and returns its path.
func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // into memory
	_ = z.Close()
	return b.Bytes()
}

func TestGuess(t *testing.T) {
	t.Parallel()
	check := func(content, fields, from string) {
		t.Helper()
		packed, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for kind, content := range map[string][]byte{"plain": []byte(content), "gzip": zipped(content), "zstd": packed.EncodeAll([]byte(content), nil)} {
			l, err := Find(t.Context(), nil, Place{File: write(t, "list", content)}, Options{})
			if e, ok := errors.AsType[*FieldsError](err); fields == "" && ok && e.Columns == 4 {
				continue
			}
			if err != nil {
				t.Errorf("%s %q: %v", kind, content, err)
				continue
			}
			var got []string
			for _, f := range l.Fields {
				got = append(got, string(f))
			}
			if strings.Join(got, ",") != fields || l.Guessed != from || l.Foreign != (kind != "plain") {
				t.Errorf("%s %q: got %s from %s, foreign %t, want %s from %s", kind, content, got, l.Guessed, l.Foreign, fields, from)
			}
		}
	}
	const number, header = "the number of columns", "the header row"
	check("b,k\n", "Bucket,Key", "") // what else
	check("\n\"b\",\"k,\"\"\"", "Bucket,Key", "")
	check("b,k,v\n", "Bucket,Key,VersionId", number)
	check("b,k,v,succeeded,,200,Successful\n", "Bucket,Key,VersionId,Ignore,Ignore,Ignore,Ignore", number)
	check("b,k,\nb,l,v\n", "Bucket,Key,VersionId", number)
	check("b,k,\n", "Bucket,Key,Ignore", number+", the third being empty in the first row")
	const reported = "b,k,,failed,404,NoSuchKey,gone\n"
	check(reported+reported, "Bucket,Key,Ignore,Ignore,Ignore,Ignore,Ignore", number+", the third being empty in the first 2 rows")
	check(reported+"b,k,,failed,400,InvalidRequest,Task failed due to missing VersionId\n", "Bucket,Key,VersionId,Ignore,Ignore,Ignore,Ignore", number)
	check("one\n", "Bucket,Key", "")
	check("a,b,c,d\n", "", "")
	check("\ufeffsize, Key,VERSION_ID,bucket\n", "Ignore,Key,VersionId,Bucket", header)
	check("Bucket,Key,Key\n", "Bucket,Key,Ignore", header)
	check("object_key,Size,Version ID,Bucket Name\n", "Key,Ignore,VersionId,Bucket", header)
	check("bucket,%6Bey,v\n", "Bucket,Key,VersionId", number)
	check("bucket,key,3sL4kqtJlcpXroDTDmJ\n", "Bucket,Key,VersionId", number) // a version id, not the name of a column
}

// TestRowLikeAHeader writes rows that name columns so that a job reads them, even leniently, wherever they are.
func TestRowLikeAHeader(t *testing.T) {
	t.Parallel()
	check := func(bucket, key, want string) {
		t.Helper()
		row := manifest.Row{Bucket: []byte(bucket), Key: []byte(key)}
		line := AppendRow(nil, &row, false)
		if string(line) != want {
			t.Errorf("%s/%s: got %s, want %s", bucket, key, line, want)
		}
		for _, text := range []string{string(line), "\n" + string(line)} {
			rows, _ := read(t.Context(), t, nil, Place{File: write(t, "list", []byte(text))})
			if len(rows) != 1 || string(rows[0].Bucket) != bucket || string(rows[0].Key) != key {
				t.Errorf("%q: got %+v", text, rows)
			}
		}
	}
	check("bucket", "key", "bucket,%6Bey\n")
	check("key", "Bucket", "key,%42ucket\n")
	check("object", "version_id", "object,%76ersion_id\n")
	check("source-bucket", "object name", "source-bucket,%6Fbject%20name\n")
	check("bucket", "keys", "bucket,keys\n")
	check("bucket", "key/", "bucket,key/\n")
	check("photos", "key", "photos,key\n")
}

// TestFolder: a folder is found with and without the slash at its end.
func TestFolder(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.Put("inv", "daily/manifest.json", "{}")
	s3.Put("inv", "both", "b,k\n")
	s3.Put("inv", "both/manifest.json", "{}")
	store := open(t, s3)
	check := func(key, want string) {
		t.Helper()
		l, err := Find(t.Context(), store, Place{Object: objectstore.Object{Bucket: "inv", Key: key}}, Options{})
		if want == "" {
			e, ok := errors.AsType[*objectstore.Error](err)
			if !ok || !objectstore.NotFound(err) || e.Key != key {
				t.Errorf("%s: got %v, want that it is not there", key, err)
			}
			return
		}
		if err != nil || l.Spec.Object.Key != want {
			t.Errorf("%s: got %+v, %v, want %s", key, l, err, want)
		}
	}
	check("daily/", "daily/manifest.json")
	check("daily", "daily/manifest.json")
	check("both", "both")
	check("none", "")
}

// read reads all rows at a place, leniently.
func read(ctx context.Context, t rapid.TB, store source.Objects, p Place) (rows []manifest.Row, layout manifest.Layout) {
	t.Helper()
	l, err := Find(ctx, store, p, Options{Lenient: true})
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.Locate(ctx, l.Objects, l.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for i := range src.Files {
		in, err := src.Open(ctx, i, "", manifest.Position{}, manifest.Position{})
		if err != nil {
			t.Fatal(err)
		}
		var row manifest.Row
		for in.Next(&row) {
			rows = append(rows, manifest.Row{
				Bucket: bytes.Clone(row.Bucket), Key: bytes.Clone(row.Key), VersionID: bytes.Clone(row.VersionID), Size: row.Size,
			})
		}
		if err := errors.Join(in.Err(), in.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return rows, src.Layout
}

// TestWriteAndRead writes rows in every form and reads them again.
func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		number++
		columns := manifest.Columns{VersionID: rapid.Bool().Draw(rt, "versions"), Size: rapid.Bool().Draw(rt, "sizes")}
		format := rapid.SampledFrom(Formats()).Draw(rt, "format")
		var want []manifest.Row
		for range rapid.IntRange(1, 20).Draw(rt, "rows") {
			row := manifest.Row{
				Bucket: []byte(rapid.StringMatching(`[a-z0-9.-]{3,10}`).Draw(rt, "bucket")),
				Key:    []byte(rapid.StringN(1, 20, -1).Draw(rt, "key")),
				Size:   -1,
			}
			if columns.VersionID {
				row.VersionID = []byte(rapid.StringMatching(`[a-zA-Z0-9,".]{1,8}`).Draw(rt, "version"))
			}
			if columns.Size && (format == Inventory || format == Parquet) {
				row.Size = rapid.Int64Range(-1, 1<<40).Draw(rt, "size")
			}
			want = append(want, row)
		}
		p := Place{File: filepath.Join(folder, strconv.Itoa(number))}
		w, err := Streams{}.NewWriter(t.Context(), p, format, columns)
		if err != nil {
			rt.Fatal(err)
		}
		for i := range want {
			if err := w.Write(&want[i]); err != nil {
				rt.Fatal(err)
			}
		}
		done, err := w.Close()
		if err != nil || w.Rows() != int64(len(want)) {
			rt.Fatalf("%d rows, %v", w.Rows(), err)
		}
		got, layout := read(t.Context(), rt, nil, p)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			rt.Errorf("%s (-want +got):\n%s", format, diff)
		}
		if layout.HasVersionID() != columns.VersionID {
			rt.Errorf("%s: version ids %t", format, layout.HasVersionID())
		}
		content, err := os.ReadFile(done.Place.File)
		sum := md5.Sum(content)
		if err != nil || done.ETag != hex.EncodeToString(sum[:]) || format != Inventory && done.Size != int64(len(content)) {
			rt.Errorf("%s: got %+v of %d bytes, %v", format, done, len(content), err)
		}
	})
}

// TestAbort leaves nothing behind, whatever was written before.
func TestAbort(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("lists")
	to := Streams{Store: open(t, s3)}
	folder := t.TempDir()
	for _, format := range Formats() {
		for _, p := range []Place{{File: filepath.Join(folder, "list")}, {Object: objectstore.Object{Bucket: "lists", Key: "list"}}} {
			ctx, cancel := context.WithCancel(t.Context())
			w, err := to.NewWriter(ctx, p, format, manifest.Columns{})
			if err != nil {
				t.Fatal(err)
			}
			for range fileRows + 1 {
				if err := w.Write(&manifest.Row{Bucket: []byte("b"), Key: []byte("k")}); err != nil {
					t.Fatal(err)
				}
				if format != Inventory {
					break
				}
			}
			cancel() // as Ctrl-C does
			w.Abort()
			left, err := os.ReadDir(folder)
			if err != nil || len(left) > 0 || len(s3.Keys("lists")) > 0 || s3.Uploads("lists") > 0 {
				t.Errorf("%s at %s: left are %v, %v in the folder, %q and %d uploads in the bucket", format, p, left, err, s3.Keys("lists"), s3.Uploads("lists"))
			}
		}
	}
}

// open opens a store over s3.
func open(t *testing.T, s3 *objectstoretest.Server) *objectstore.Access {
	t.Helper()
	store, err := objectstore.New(objectstore.Config{Endpoint: s3.URL(), Credentials: s3.Credentials(), MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	access, err := objectstore.NewAccess(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	return access
}

func TestUpload(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("lists")
	store := open(t, s3)
	to := Streams{Store: store}
	check := func(size, parts int) {
		t.Helper()
		p := Place{Object: objectstore.Object{Bucket: "lists", Key: strconv.Itoa(size)}}
		f, err := to.Create(t.Context(), p, "text/csv")
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("0123456\n"), size/8)
		for chunk := range slices.Chunk(want, 100_000) {
			if _, err := f.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		done, err := f.Close()
		got, _ := s3.Object("lists", p.Object.Key)
		if err != nil || done.ETag != got.ETag || done.Size != int64(len(want)) || !bytes.Equal(got.Body, want) || len(got.Parts) != parts {
			t.Errorf("%d bytes: got %+v, %v; the object has %d bytes in %v, ETag %s", size, done, err, len(got.Body), got.Parts, got.ETag)
		}
	}
	check(0, 0)
	check(800, 0)
	check(20<<20, 3)

	f, err := to.Create(t.Context(), Place{Object: objectstore.Object{Bucket: "lists", Key: "none"}}, "text/csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 9<<20)); err != nil || s3.Uploads("lists") != 1 {
		t.Fatalf("%d uploads, %v", s3.Uploads("lists"), err)
	}
	f.Abort()
	if _, ok := s3.Object("lists", "none"); ok || s3.Uploads("lists") != 0 {
		t.Errorf("there is an object: %t; uploads: %d", ok, s3.Uploads("lists"))
	}

	s3.Fault(objectstoretest.Match{Op: "UploadPart", Skip: 1}, objectstoretest.Status(400, "Broken"))
	if f, err = to.Create(t.Context(), Place{Object: objectstore.Object{Bucket: "lists", Key: "none"}}, "text/csv"); err != nil {
		t.Fatal(err)
	}
	if _, err = f.Write(make([]byte, 9<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err = f.Write([]byte("rest")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Close(); err == nil || s3.Uploads("lists") != 0 {
		t.Errorf("got %v and %d uploads, want an error and none", err, s3.Uploads("lists"))
	}
}

func TestSpool(t *testing.T) {
	t.Parallel()
	check := func(text string, limit int64, want string) {
		t.Helper()
		open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
		p, done, err := Spool(t.Context(), open, limit)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(p.File)
		if err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
		done()
		if _, err := os.Stat(p.File); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: the file is still there: %v", text, err)
		}
	}
	check("src,a\nsrc,b\n", 100, "src,a\nsrc,b\n")
	check("src,a\nsrc,b\n", 6, "src,a\n")
	check("PAR1\x15\x04and so on", 6, "PAR1\x15\x04and so on")
	check("ORC-\x00and so on", 6, "ORC-\x00and so on")
	check("ORCA,b\nORCA,c\n", 7, "ORCA,b\n")
	check("", 6, "")
	none := errors.New("nothing there")
	if _, _, err := Spool(t.Context(), func() (io.ReadCloser, error) { return nil, none }, 1); !errors.Is(err, none) {
		t.Errorf("got %v, want %v", err, none)
	}
}

// TestORC reads one ORC file by itself.
func TestORC(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"golden-none.orc", "golden-zlib.orc"} {
		p := Place{File: filepath.Join("..", "..", "manifest", "orc", "testdata", name)}
		if rows, layout := read(t.Context(), t, nil, p); len(rows) != 300 || !layout.HasVersionID() {
			t.Errorf("%s: got %d rows, version ids %t", name, len(rows), layout.HasVersionID())
		}
	}
}
