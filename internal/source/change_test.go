package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/parquet"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// A list is of one file, which lies at key.
type list struct {
	store
	spec source.Spec
	key  string
}

// lists returns a list of each kind, also such whose manifest does not tell the MD5 of its file.
func lists(t *testing.T) map[string]list {
	t.Helper()
	all := map[string]list{}
	s := store{"b/m.csv": bytes.Repeat([]byte("src,one\nsrc,two\n"), 1000)}
	all["text"] = list{s, s.csv(), "b/m.csv"}
	add := func(name, format string, file []byte) {
		for suffix, md5 := range map[string]string{"": sum(file), " without MD5": ""} {
			inv := manifest.NewInventory("src", "dst", time.UnixMilli(0), manifest.Columns{VersionID: true, Size: true})
			inv.FileFormat, inv.Files = format, []manifest.DataFile{{Key: "data/1", Size: int64(len(file)), MD5: md5}}
			s := store{"dst/data/1": file}
			all[name+suffix] = list{s, s.inventory(t, inv), "dst/data/1"}
		}
	}
	zipped := store{}
	inv, _ := zipped.generated(t, 3000)
	add("gzip", manifest.FormatCSV, zipped["dst/"+inv.Files[0].Key])
	add("Parquet", manifest.FormatParquet, parquetFile(t, "bucket", "key", "version_id"))
	orc, err := os.ReadFile(filepath.Join("..", "manifest", "orc", "testdata", "golden-zlib.orc"))
	if err != nil {
		t.Fatal(err)
	}
	add("ORC", manifest.FormatORC, orc)
	return all
}

// parquetFile returns a file of 3,000 rows with the given columns.
func parquetFile(t *testing.T, columns ...string) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := parquet.NewWriter(&file, columns)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if err := w.Write([][]byte{[]byte("src"), fmt.Appendf(nil, "photos/%d.jpg", i), []byte("null")}[:len(columns)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// changing is a list whose file changes, or cannot be read to its end, from the nth request for it on.
type changing struct {
	list
	nth, asked int
	change     func(l list)
	ends       error // what bodies end with after half of their bytes
}

func (c *changing) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	ours := o.Bucket+"/"+o.Key == c.key
	if ours {
		c.asked++
	}
	if c.asked == c.nth && c.change != nil {
		c.change(c.list)
	}
	body, info, err := c.store.Open(ctx, o, offset, length)
	if err != nil || !ours || c.ends == nil || c.asked < c.nth {
		return body, info, err
	}
	rest, err := io.ReadAll(body)
	return io.NopCloser(io.MultiReader(bytes.NewReader(rest[:len(rest)/2]), failing{c.ends})), info, err
}

// What is read of a file is of one and the same: once it was looked at, another in its place ends the reading. The rows of each
// tell which it was, so that others can ask for the same.
func TestFileIsReplaced(t *testing.T) {
	t.Parallel()
	for name, l := range lists(t) {
		counted := &changing{list: l}
		src, err := source.Locate(t.Context(), counted, l.spec)
		if err != nil {
			t.Fatal(err)
		}
		located := counted.asked
		rows, err := src.Open(t.Context(), 0, "", manifest.Position{}, manifest.Position{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rows.ETag() != sum(l.store[l.key]) {
			t.Errorf("%s: ETag %q, want %q", name, rows.ETag(), sum(l.store[l.key]))
		}
		if _, err := keys(t, rows); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		total := counted.asked
		replace := func(l list) {
			other := bytes.Clone(l.store[l.key])
			other[len(other)/2] ^= 1
			l.store[l.key] = other
		}
		if name != "text" { // which is pinned all the while
			located++ // nobody knew which file it was before
		}
		for nth := located + 1; nth <= total; nth++ {
			again := lists(t)[name]
			c := &changing{list: again, nth: nth, change: replace}
			src, err := source.Locate(t.Context(), c, again.spec)
			if err != nil {
				t.Fatal(err)
			}
			_, err = all(t, src)
			if e, ok := errors.AsType[*job.FailedError](err); !ok || e.Reason.FailureCode != job.CodeManifestChanged {
				t.Errorf("%s: replaced before request %d of %d: got %v, want %s", name, nth, total, err, job.CodeManifestChanged)
			}
		}
	}
}

// A body that ends before it should is no end of the list, nor does it make the list a bad one.
func TestBodyEndsEarly(t *testing.T) {
	t.Parallel()
	reset := errors.New("connection reset")
	for name := range lists(t) {
		for _, ends := range []error{io.EOF, reset} {
			for nth := 1; ; nth++ {
				l := lists(t)[name]
				c := &changing{list: l, nth: nth, ends: ends}
				want := ends
				if errors.Is(want, io.EOF) {
					want = io.ErrUnexpectedEOF
				}
				src, err := source.Locate(t.Context(), c, l.spec)
				if err == nil {
					_, err = all(t, src)
				}
				if c.asked < nth {
					break
				}
				if _, failed := errors.AsType[*job.FailedError](err); failed || !errors.Is(err, want) {
					t.Errorf("%s: request %d ends with %v: got %v", name, nth, ends, err)
				}
			}
		}
	}
}

// Files of one list have the same columns, and the sizes that it tells.
func TestColumnarFiles(t *testing.T) {
	t.Parallel()
	check := func(reason string, missing int64, columns ...string) {
		t.Helper()
		s := store{"dst/1": parquetFile(t, "bucket", "key"), "dst/2": parquetFile(t, columns...)}
		inv := manifest.NewInventory("src", "dst", time.UnixMilli(0), manifest.Columns{})
		inv.FileFormat = manifest.FormatParquet
		inv.Files = []manifest.DataFile{{Key: "1", Size: int64(len(s["dst/1"]))}, {Key: "2", Size: int64(len(s["dst/2"])) - missing}}
		got, err := all(t, locate(t, s, s.inventory(t, inv)))
		switch e, ok := errors.AsType[*manifest.Error](err); {
		case reason == "" && (err != nil || len(got) != 6000):
			t.Errorf("got %d rows, %v", len(got), err)
		case reason != "" && (!ok || e.File != "2" || !strings.Contains(e.Reason, reason)):
			t.Errorf("got %v, want an error of file 2: %s", err, reason)
		}
	}
	check("", 0, "bucket", "key")
	check("its manifest says", 3, "bucket", "key")
	check("the columns are not those of the other files", 0, "bucket", "key", "version_id")
}
