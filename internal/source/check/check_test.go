package check_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/parquet"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
	"stevedore/internal/source/check"
	"stevedore/internal/source/place"
)

// run checks a list that is in a file.
func run(ctx context.Context, t rapid.TB, path string, find place.Options, o check.Options) *check.Report {
	t.Helper()
	l, err := place.Find(ctx, nil, place.Place{File: path}, find)
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.Locate(ctx, l.Objects, l.Spec)
	if err != nil {
		t.Fatal(err)
	}
	o.Binary = l.Foreign
	r, err := check.Run(ctx, src, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t rapid.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func lines(problems []check.Problem) (list []int64) {
	for _, p := range problems {
		list = append(list, p.Line)
	}
	return list
}

var bucketKey = place.Options{Fields: []job.Field{job.FieldBucket, job.FieldKey}}

// TestBadLines compares what is found with what was put in.
func TestBadLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list.csv")
	bad := []string{"src", "src,a,b", `src,"a`, `src,a"b`, ",a", "src,", "src,%2", "src,a b", "src,\xff", "bucket,key,", "src,a\x00", "\ufeffsrc,a"}
	rapid.Check(t, func(rt *rapid.T) {
		var text strings.Builder
		var want []int64
		rows, count := int64(0), rapid.IntRange(1, 40).Draw(rt, "lines")
		for n := range count {
			line := ""
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				line = rapid.SampledFrom(bad).Draw(rt, "bad")
				want = append(want, int64(n+1))
			case 1, 2:
				line = "src,key" + strconv.Itoa(n)
				rows++
			}
			text.WriteString(line)
			if n < count-1 || rapid.Bool().Draw(rt, "end") {
				text.WriteString(rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(rt, "line end"))
			}
		}
		if rows == 0 && want == nil {
			want = []int64{0} // it has no rows
		}
		write(rt, path, []byte(text.String()))
		r := run(t.Context(), rt, path, bucketKey, check.Options{Most: 100})
		if diff := cmp.Diff(want, lines(r.Problems)); diff != "" || r.Rows != rows || r.Unread {
			rt.Errorf("%q: %d rows, want %d, unread %t (-want +got):\n%s", text.String(), r.Rows, rows, r.Unread, diff)
		}
		if len(want) < 2 {
			return
		}
		r = run(t.Context(), rt, path, bucketKey, check.Options{Most: len(want) - 1})
		if diff := cmp.Diff(want[:len(want)-1], lines(r.Problems)); diff != "" || !r.Unread {
			rt.Errorf("%q: up to one problem less: unread %t (-want +got):\n%s", text.String(), r.Unread, diff)
		}
	})
}

// TestEnds finds where reading has to end.
func TestEnds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list.csv")
	check := func(text string, rows int64, unread bool, want ...string) {
		t.Helper()
		write(t, path, []byte(text))
		r := run(t.Context(), t, path, bucketKey, check.Options{})
		var got []string
		for _, p := range r.Problems {
			got = append(got, p.Text)
		}
		if r.Rows != rows || r.Unread != unread || !slices.EqualFunc(got, want, strings.Contains) {
			t.Errorf("%.60q: got %d rows, unread %t, %q; want %d, %t, %q", text, r.Rows, r.Unread, got, rows, unread, want)
		}
	}
	check("", 0, false, "the manifest has no rows")
	check("src,a\nsrc\n"+strings.Repeat("x", 70_000)+"\nsrc,b\n", 1, true, "line 2: got 1 columns", "line 3: longer than")
	check("src,a\n"+strings.Repeat("\n", 900)+"src\nsrc,b\n", 2, false, "line 902: got 1 columns")
	check("src,a\n"+strings.Repeat("\n", 2000)+"src\nsrc,b\n", 1, true, "line 2002: got 1 columns")
	check("\xff\xfes\x00r\x00\n\x00", 0, true, "the file is UTF-16")
	check("Bucket,Key\nsrc,a\n", 1, false, "line 1: the row names the columns")
}

// TestCompressed ends at the first bad row of a file, since there is no way to the next one.
func TestCompressed(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte("Bucket,Key\nsrc,a b\nsrc\nsrc,c\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "list.csv.gz")
	write(t, path, b.Bytes())
	r := run(t.Context(), t, path, place.Options{Lenient: true}, check.Options{Dupes: true})
	if r.Rows != 1 || !r.Unread || len(r.Problems) != 1 || r.Problems[0].Line != 3 {
		t.Errorf("got %+v", r)
	}
	r = run(t.Context(), t, path, place.Options{}, check.Options{})
	if r.Rows != 0 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, "gzip-compressed") || r.Leniency != "" {
		t.Errorf("strictly: got %+v", r)
	}
}

// TestColumnar goes on behind a bad row of a columnar file.
func TestColumnar(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := parquet.NewWriter(f, []string{"bucket", "key"})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "", "", "b", "", "a"} {
		if err := w.Write([][]byte{[]byte("src"), []byte(key)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), t, path, place.Options{}, check.Options{Dupes: true})
	if diff := cmp.Diff([]int64{2, 3, 5}, lines(r.Problems)); diff != "" || r.Rows != 3 || r.Unread {
		t.Errorf("got %+v (-want +got):\n%s", r, diff)
	}
	want := []check.Warning{
		{Rows: 1, Text: "the same as one before: each makes a task of its own"},
		{Rows: 1, Line: 6, Text: "the same as line 1: src/a"},
	}
	if diff := cmp.Diff(want, r.Warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDupes compares the count with that of a model, across the files of an inventory and bad rows.
func TestDupes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list.csv")
	rapid.Check(t, func(rt *rapid.T) {
		var text strings.Builder
		seen := map[string]int{}
		var same int64
		var want []string
		for n := range rapid.IntRange(1, 60).Draw(rt, "rows") {
			row := fmt.Sprintf("src,k%d,v%d", rapid.IntRange(0, 9).Draw(rt, "key"), rapid.IntRange(0, 1).Draw(rt, "version"))
			if rapid.IntRange(0, 9).Draw(rt, "kind") == 0 {
				row = "src"
			} else if first, ok := seen[row]; !ok {
				seen[row] = n + 1
			} else {
				same++
				want = append(want, fmt.Sprintf("%d: the same as line %d", n+1, first))
			}
			text.WriteString(row + "\n")
		}
		write(rt, path, []byte(text.String()))
		fields := place.Options{Fields: []job.Field{job.FieldBucket, job.FieldKey, job.FieldVersionID}}
		r := run(t.Context(), rt, path, fields, check.Options{Dupes: true, Most: 100})
		var total int64
		var got []string
		for _, w := range r.Warnings {
			if text, _, is := strings.Cut(w.Text, ": src/"); is {
				got = append(got, fmt.Sprintf("%d: %s", w.Line, text))
			} else {
				total += w.Rows
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || total != same {
			rt.Errorf("%q: got %d, want %d (-want +got):\n%s", text.String(), total, same, diff)
		}
	})
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list.csv")
	write(t, path, []byte("src,a,v\nsrc,b+c,\ntenant:other,/d,\ns3://x,e,null\n"))
	fields := place.Options{Fields: []job.Field{job.FieldBucket, job.FieldKey, job.FieldVersionID}}
	r := run(t.Context(), t, path, fields, check.Options{})
	want := []check.Warning{
		{Rows: 1, Line: 4, Text: `of the bucket "s3://x", which is no name of a bucket`},
		{Rows: 4, Text: "of 3 buckets; copies, legal holds and retention want one"},
		{Rows: 2, Line: 2, Text: "with an empty version id: their tasks fail where the bucket keeps versions; write null, or leave the column out"},
		{Rows: 1, Line: 2, Text: "with a + in the key, which stands for a space; write %2B for a plus"},
		{Rows: 1, Line: 3, Text: "with a key that begins with /, as few objects have"},
	}
	if diff := cmp.Diff(want, r.Warnings); diff != "" || len(r.Problems) > 0 {
		t.Errorf("%+v (-want +got):\n%s", r.Problems, diff)
	}
	r = run(t.Context(), t, path, fields, check.Options{Bucket: "src"})
	if !slices.Contains(r.Warnings, check.Warning{Rows: 2, Line: 3, Text: "of another bucket than src"}) {
		t.Errorf("got %+v", r.Warnings)
	}
}

// TestMisnamed has one warning of all names that are none, as of columns in the wrong order.
func TestMisnamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list.csv")
	try := func(rows int, want ...check.Warning) {
		t.Helper()
		text := []byte("src,k\n")
		for n := range rows {
			text = fmt.Appendf(text, "dir/%d,src\n", n)
		}
		write(t, path, text)
		r := run(t.Context(), t, path, bucketKey, check.Options{})
		if diff := cmp.Diff(want, r.Warnings); diff != "" || len(r.Problems) > 0 {
			t.Errorf("%d rows: %+v (-want +got):\n%s", rows, r.Problems, diff)
		}
	}
	try(0)
	try(1,
		check.Warning{Rows: 1, Line: 2, Text: `of the bucket "dir/0", which is no name of a bucket`},
		check.Warning{Rows: 2, Text: "of 2 buckets; copies, legal holds and retention want one"})
	try(3,
		check.Warning{Rows: 3, Line: 2, Text: `of 3 buckets, such as "dir/0", which are no names of buckets; are the columns in the order of the fields?`},
		check.Warning{Rows: 4, Text: "of 4 buckets; copies, legal holds and retention want one"})
	try(1500,
		check.Warning{Rows: 1500, Line: 2, Text: `of 999 buckets or more, such as "dir/0", which are no names of buckets; are the columns in the order of the fields?`},
		check.Warning{Rows: 1501, Text: "of 1000 buckets or more; copies, legal holds and retention want one"})
}

// TestSample looks at as many objects as asked for, and says which answers there were.
func TestSample(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list.csv")
	var text strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&text, "src,%d\n", n)
	}
	write(t, path, []byte(text.String()))
	head := func(_ context.Context, o objectstore.Object) (objectstore.Info, error) {
		n, err := strconv.Atoi(o.Key)
		if err == nil && n%10 == 3 {
			err = &objectstore.Error{Op: "HeadObject", Status: 404, Code: "NotFound"}
		}
		return objectstore.Info{}, err
	}
	r := run(t.Context(), t, path, bucketKey, check.Options{Sample: 2000, Head: head})
	want := []check.Warning{{Rows: 100, Line: 4, Text: "of 1000 sampled whose object answers HEAD with 404 NotFound"}}
	if diff := cmp.Diff(want, r.Warnings); diff != "" || r.Sampled != 1000 {
		t.Errorf("%d objects (-want +got):\n%s", r.Sampled, diff)
	}
	if r = run(t.Context(), t, path, bucketKey, check.Options{Sample: 50, Head: head}); r.Sampled != 50 {
		t.Errorf("got %d objects, want 50", r.Sampled)
	}

	l, err := place.Find(t.Context(), nil, place.Place{File: path}, bucketKey)
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.Locate(t.Context(), l.Objects, l.Spec)
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("no answer")
	_, err = check.Run(t.Context(), src, check.Options{Sample: 5, Head: func(context.Context, objectstore.Object) (objectstore.Info, error) {
		return objectstore.Info{}, lost
	}})
	if !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
}

// TestInventory names the file of what it finds.
func TestInventory(t *testing.T) {
	t.Parallel()
	folder := place.Place{File: filepath.Join(t.TempDir(), "inv")}
	w, err := place.Streams{}.NewWriter(t.Context(), folder, place.Inventory, manifest.Columns{VersionID: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"v", ""} {
		if err := w.Write(&manifest.Row{Bucket: []byte("src"), Key: []byte("a"), VersionID: []byte(id)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), t, folder.File, place.Options{}, check.Options{})
	if len(r.Problems) > 0 || r.Rows != 2 || len(r.Warnings) != 1 || r.Warnings[0].Line != 2 {
		t.Errorf("got %+v", r)
	}
	data, err := filepath.Glob(filepath.Join(folder.File, "data", "*"))
	if err != nil || len(data) != 1 {
		t.Fatalf("%q, %v", data, err)
	}
	content, err := os.ReadFile(data[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-6] ^= 1 // of the checksum
	write(t, data[0], content)
	r = run(t.Context(), t, folder.File, place.Options{}, check.Options{})
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, filepath.Base(data[0])) || !r.Unread {
		t.Errorf("corrupt: got %+v", r)
	}
	if err := os.Remove(data[0]); err != nil {
		t.Fatal(err)
	}
	r = run(t.Context(), t, folder.File, place.Options{}, check.Options{})
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, "does not exist") {
		t.Errorf("missing: got %+v", r)
	}
}
