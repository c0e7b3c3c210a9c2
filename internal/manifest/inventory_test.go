package manifest_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/manifest"
	"stevedore/internal/manifest/manifesttest"
)

func TestReadInventory(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "inventory.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := &manifest.Inventory{
		SourceBucket: "src", DestinationBucket: "arn:aws:s3:::manifests", Version: "2016-11-30", CreationTimestamp: "1767322800000",
		FileFormat: "CSV", FileSchema: "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass",
		Files: []manifest.DataFile{{Key: "inventory/data/0a1b2c3d-0001.csv.gz", Size: 183, MD5: "dfa8849f790571b6a41e29f06e40ba64"}},
	}
	for name, r := range map[string]*manifest.Inventory{
		"at once":      readInventory(t, string(text)),
		"other types":  readInventory(t, strings.NewReplacer(`"1767322800000"`, "1767322800000", "dfa8849f", "DFA8849F").Replace(string(text))),
		"more members": readInventory(t, strings.Replace(string(text), "{", `{"unheard": {"of": [1, {}]}, `, 1)),
	} {
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("%s: inventory differs (-want +got):\n%s", name, diff)
		}
	}
	if want.Format() != manifest.FormatCSV || want.Destination() != "manifests" {
		t.Errorf("got format %q in %q", want.Format(), want.Destination())
	}

	broken := errors.New("connection reset")
	if _, err := manifest.ReadInventory(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("reading from a broken store: %v", err)
	}
	for _, c := range []struct{ begin, on, want string }{
		{`{"x": "`, "xxxxxxxxxxxx", "longer than 67108864 bytes"},
		{`{"files": [{"key": "a"}`, `,{"key":"a"}`, "names more than 500000 files"},
	} {
		_, err = manifest.ReadInventory(io.MultiReader(strings.NewReader(c.begin), &endless{text: c.on}))
		if bad, ok := errors.AsType[*manifest.Error](err); !ok || !strings.Contains(bad.Reason, c.want) {
			t.Errorf("reading without end: %v, want: %s", err, c.want)
		}
	}
	if _, err := (&manifest.Inventory{Files: make([]manifest.DataFile, 500_001)}).Encode(); err == nil {
		t.Error("wrote an inventory that nobody can read")
	}
}

// endless is the same text again and again.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		part := copy(p[n:], e.text[e.at:])
		n, e.at = n+part, (e.at+part)%len(e.text)
	}
	return n, nil
}

func readInventory(tb testing.TB, text string) *manifest.Inventory {
	tb.Helper()
	inv, err := manifest.ReadInventory(strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	return inv
}

func TestInventoryDestination(t *testing.T) {
	t.Parallel()
	check := func(arn, want string) {
		t.Helper()
		inv := manifest.Inventory{DestinationBucket: arn}
		if got := inv.Destination(); got != want {
			t.Errorf("%q: got %q, want %q", arn, got, want)
		}
	}
	check("arn:aws:s3:::manifests", "manifests")
	check("arn:aws-cn:s3:::manifests", "manifests")
	check(" manifests\n", "manifests")
	check("arn:aws:s3:::manifests/key", "")
	check("arn:aws:sqs:us-east-1:1:queue", "")
	check("arn:aws:s3", "")
	check("", "")
}

func TestSchema(t *testing.T) {
	t.Parallel()
	check := func(schema, text string, want ...cells) {
		t.Helper()
		inv := manifest.Inventory{FileSchema: schema}
		l, err := manifest.NewSchemaLayout(inv.Columns())
		if err != nil {
			t.Errorf("%s: %v", schema, err)
			return
		}
		got, err := readFrom(manifest.NewCSV(strings.NewReader(text), l, manifest.Position{}))
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: got %q, want %q: %v", schema, got, want, err)
		}
	}
	a := cells{"src", "a", "a", ""}
	check("Bucket, Key", "\"src\",\"a\"\n", a)
	check("bucket,KEY,ChecksumAlgorithm", "src,a,\"CRC32,SHA1\"\n\"src\",\"a\",\"\"\n", a, a)
	check("Bucket, Key, VersionId, IsLatest, IsDeleteMarker", "\"src\",\"a\",\"v\",\"false\",\"true\"\n", cells{"src", "a", "a", "v"})
	check("version_id, key, bucket", "\"\",\"a\",\"src\"\n", a)
	check("Bucket, Key", "\"bucket\",\"key\"\n", cells{"bucket", "key", "key", ""}) // no header
}

// FuzzInventory holds that an inventory that was read is the same after it was written and read again, and that
// an error is fit to be shown.
func FuzzInventory(f *testing.F) {
	for _, bad := range manifesttest.Bads("dst") {
		if strings.HasSuffix(bad.Key, ".json") {
			f.Add(string(bad.Objects[bad.Key]))
		}
	}
	text, err := os.ReadFile(filepath.Join("testdata", "inventory.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Fuzz(func(t *testing.T, text string) {
		inv, err := manifest.ReadInventory(strings.NewReader(text))
		if err != nil {
			checkReason(t, err)
			return
		}
		if _, err := manifest.NewSchemaLayout(inv.Columns()); err != nil {
			checkReason(t, err)
		}
		written, err := inv.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.ReadInventory(iotest.OneByteReader(bytes.NewReader(written)))
		if err != nil {
			t.Fatalf("%v: %s", err, written)
		}
		if len(inv.Files) == 0 {
			inv.Files = nil
		}
		if diff := cmp.Diff(inv, again); diff != "" {
			t.Fatalf("inventory differs (-want +got):\n%s\n%s", diff, written)
		}
	})
}

// checkReason holds that err is a *manifest.Error fit to be shown.
func checkReason(t *testing.T, err error) {
	t.Helper()
	bad, ok := errors.AsType[*manifest.Error](err)
	if !ok {
		t.Fatalf("error %v, want a *manifest.Error", err)
	}
	if len(bad.Reason) > 256 || bad.Code != manifest.InvalidContent {
		t.Fatalf("bad error %+v", *bad)
	}
	for _, r := range bad.Reason {
		if r < ' ' || r > '~' {
			t.Fatalf("reason %q is not printable ASCII", bad.Reason)
		}
	}
}

// FuzzInventoryRows compares the rows of a data file with what the reference makes of them.
func FuzzInventoryRows(f *testing.F) {
	f.Add("\"src\",\"a\",\"null\",\"11\",\"true\"\n\"src\",\"a%20b\",\"\",\"\",\"\"\r\n")
	f.Add("src,a,,x,\n\"src\",\"a\",\"v\",\"1\",\"a,b\"\n")
	f.Add("\"src\",\"\"\"a\",\"v\",\"1\",\"\"\n\"a,b\",\"k\",\"\",\"\",\"")
	l, err := manifest.NewSchemaLayout([]string{"Bucket", " Key", " VersionId", " Size", " IsLatest"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// With a first row that is none, there can be no header.
		const first = "x,x,,,\n"
		want, good := reference(first+text, "Bucket,Key,VersionId,Size,IsLatest")
		got, err := readFrom(manifest.NewCSV(strings.NewReader(first+text), l, manifest.Position{}))
		if (err == nil) != good {
			t.Fatalf("error %v, want good: %t\n%q", err, good, text)
		}
		if err != nil {
			checkReason(t, err)
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("rows differ (-want +got):\n%s\n%q", diff, text)
		}
	})
}

// Table reads cells as they are, whose keys are not encoded, row by row and in batches.
func TestTable(t *testing.T) {
	t.Parallel()
	l, err := manifest.NewSchemaLayout([]string{"key", "size", "bucket", "version_id"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{2, 0, 3, 1}, l.Cells()); diff != "" {
		t.Fatalf("cells differ (-want +got):\n%s", diff)
	}
	var rows cellRows
	var want []cells
	for range 3000 {
		rows = append(rows, []string{"src", "a%20b", "null", "7"}, []string{"src", "c", "", ""})
		want = append(want, cells{"src", "a%2520b", "a%20b", "null"}, cells{"src", "c", "c", ""})
	}
	source := rows[1000:]
	c := manifest.NewTable(&source, l, manifest.Position{Offset: 1000}, 5000)
	var got []cells
	var row manifest.Row
	for range 100 {
		if !c.Next(&row) {
			t.Fatal(c.Err())
		}
		if size := []int64{7, -1}[len(got)%2]; row.Size != size {
			t.Fatalf("row %d has %d bytes, want %d", len(got), row.Size, size)
		}
		got = append(got, cellsOf(row))
	}
	if n := c.Fill(nil, 100); n != 100 {
		t.Fatalf("counted %d rows, want 100, error %v", n, c.Err())
	}
	got = append(got, want[1100:1200]...)
	var batch manifest.Batch
	for c.Fill(&batch, 1000) > 0 {
		for i := range batch.Len() {
			got = append(got, cellsOf(batch.Row(i)))
			if end := batch.End(i); end.Offset != int64(1000+len(got)) || end.Line != end.Offset+1 {
				t.Fatalf("row %d ends at %+v", len(got), end)
			}
		}
	}
	if c.Err() != nil {
		t.Fatal(c.Err())
	}
	if diff := cmp.Diff(want[1000:5000], got); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

// cellRows are the cells of rows; an empty one is null.
type cellRows [][]string

func (r *cellRows) Next(cells [][]byte) bool {
	if len(*r) == 0 {
		return false
	}
	for i, cell := range (*r)[0] {
		cells[i] = append(cells[i][:0], cell...) // the memory of the row before
	}
	*r = (*r)[1:]
	return true
}

func (r *cellRows) Err() error { return nil }
