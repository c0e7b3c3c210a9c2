package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/manifest"
)

// lenient reads text with the given columns leniently.
func lenient(tb testing.TB, columns, text string) ([]cells, manifest.Notes, error) {
	tb.Helper()
	l := layout(tb, fields(columns))
	l.Lenient = true
	c := manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
	rows, err := readFrom(c)
	return rows, c.Notes(), err
}

func TestLenient(t *testing.T) {
	t.Parallel()
	check := func(name, columns, text, notes string, want ...cells) {
		t.Helper()
		got, noted, err := lenient(t, columns, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: rows differ (-want +got):\n%s", name, diff)
		}
		if noted.String() != notes {
			t.Errorf("%s: noted %q, want %q", name, noted, notes)
		}
	}
	a, b := cells{Bucket: "src", RawKey: "a", Key: "a"}, cells{Bucket: "src", RawKey: "b", Key: "b"}

	check("nothing to say", "Bucket,Key", "src,a\r\nsrc,b\n", "", a, b)
	check("BOM", "Bucket,Key", "\ufeffsrc,a\nsrc,b\n", "byte order mark skipped", a, b)
	check("BOM alone", "Bucket,Key", "\ufeff\nsrc,a\n", "byte order mark skipped", a)
	check("header", "Bucket,Key", "Bucket,Key\nsrc,a\n", "header row skipped", a)
	check("quoted header behind a BOM", "Bucket,Key", "\ufeff\"BUCKET\",\"KEY\"\r\nsrc,a\r\n", "byte order mark skipped, header row skipped", a)
	check("only the first row is a header", "Bucket,Key", "bucket,key\nbucket,key\n", "header row skipped", cells{"bucket", "key", "key", ""})
	check("only a header", "Bucket,Key", "bucket,key", "header row skipped")
	check("space", "Bucket,Key", "src,b c\nsrc,a\n", "1 key with unencoded spaces", cells{"src", "b%20c", "b c", ""}, a)
	check("spaces around", "Bucket,Key", "src, b \nsrc,c d\n", "2 keys with unencoded spaces",
		cells{"src", "%20b%20", " b ", ""}, cells{"src", "c%20d", "c d", ""})
	check("spaces beside other codes", "Bucket,Key", "src,\u20ac %20+\t\n\n", "1 key with unencoded spaces",
		cells{"src", "\u20ac%20%20+%09", "\u20ac   \t", ""})
	check("tab and quotes", "Bucket,Key", "src,\"a\t\"\"b\"\n", "1 key with unencoded spaces", cells{"src", "a%09\"b", "a\t\"b", ""})
	check("space around cells", "Bucket,Key,VersionId", "src ,a, v1\n", "spaces around cells of 1 row removed", cells{"src", "a", "a", "v1"})
	check("empty columns", "Bucket,Key", "src,a,,\n\"src\",\"b\",\n", "empty columns of 2 rows ignored", a, b)
}

// A plus is a space where keys are encoded, and nobody knows what it is where they are not.
func TestUnclear(t *testing.T) {
	t.Parallel()
	check := func(text, want string) {
		t.Helper()
		_, notes, err := lenient(t, "Bucket,Key", text)
		if got := notes.Unclear(); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	check("src,a\nsrc,b+c\n", "")
	check("src,a b\nsrc,c%20d%2B\n", "")
	check("s+ ,a\ns+,b+c\n", "")
	const unclear = `Invalid object key format: of the keys, %d have unencoded spaces and %d have a "+", which means a space where keys are encoded; encode them all, "+" as %%2B`
	check("src,a b\nsrc,b+c\n", fmt.Sprintf(unclear, 1, 1))
	check("src,a+b c\nsrc,\"b\tc\"\nsrc,+\nsrc,+\n", fmt.Sprintf(unclear, 2, 3))
}

func TestRawKeys(t *testing.T) {
	t.Parallel()
	l := layout(t, bucketKey)
	l.Lenient, l.RawKeys = true, true
	const text = "Bucket,Key\nsrc,a b+c\nsrc,100%\nsrc,a%20b\nsrc,\"x, \"\"y\"\"\"\nsrc,plain\n"
	want := []string{"a b+c", "100%", "a%20b", `x, "y"`, "plain"}
	c := manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
	rows, err := readFrom(c)
	var got []string
	for _, row := range rows {
		got = append(got, row.Key)
	}
	if err != nil || !cmp.Equal(got, want) || c.Notes() != (manifest.Notes{Header: true}) {
		t.Errorf("got %q, %v, notes %+v, want %q", got, err, c.Notes(), want)
	}
	c = manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
	if n := c.Fill(nil, 10); n != len(want) || c.Err() != nil {
		t.Errorf("counted %d, %v", n, c.Err())
	}
}

// What may be misread is refused even so.
func TestLenientRefuses(t *testing.T) {
	t.Parallel()
	check := func(columns, text string, line int64) {
		t.Helper()
		_, _, err := lenient(t, columns, text)
		if bad, ok := errors.AsType[*manifest.Error](err); !ok || bad.Line != line {
			t.Errorf("%q: error %v, want one of line %d", text, err, line)
		}
	}
	check("Bucket,Key", "src,a,b\n", 1)
	check("Bucket,Key", "src,a\nsrc\n", 2)
	check("Bucket,Key", "src,a\nsrc,50% off\n", 2)
	check("Bucket,Key", "src,a\n\ufeffsrc,b\n", 2)
	check("Bucket,Key", "s rc,a\n", 1)
	check("Bucket,Key", " ,a\n", 1)
	check("Bucket,Key", "src,caf\xe9\n", 1)
	check("Bucket,Key", "src,a\"b\n", 1)
	check("Bucket,Key,VersionId", "src,a,v 1\n", 1)
}

// Nothing is advised that was done already.
func TestLenientAdvice(t *testing.T) {
	t.Parallel()
	check := func(text, want string) {
		t.Helper()
		want = "InvalidManifestContent: Manifest file is not properly formatted: line 1: " + want
		if _, _, err := lenient(t, "Bucket,Key", text); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
	check("\ufeff\ufeffsrc,a\n", "the line starts with a byte order mark; save the file as UTF-8 without BOM")
	check("\x1f\x8b\b\x00", "the file is gzip-compressed inside; compress it once")
	check("\x28\xb5\x2f\xfd\x04", "the file is zstd-compressed inside; compress it once")
}

// FuzzLenient holds that every manifest that is good stays what it is when it is read leniently; and
// that whatever lenience reads, its raw keys are those of a manifest that is good.
func FuzzLenient(f *testing.F) {
	for _, text := range []string{
		"src,a\nsrc,b%20c\n", "\ufeffbucket,key\r\nsrc,a b,\n", "\"src \",\" \t\"\"\"\n", "src,\u20ac +,,,\n", "Bucket,KEY\n\nsrc,\x7f\n",
		"Bucket Name, Object Key\nsrc,a\n", "key,bucket\na,src\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		strict, strictErr := read(t, "Bucket,Key", text)
		rows, notes, err := lenient(t, "Bucket,Key", text)
		if strictErr == nil {
			if err != nil || !cmp.Equal(strict, rows) || notes.String() != "" {
				t.Fatalf("read leniently %q, %v, noted %q, want %q", rows, err, notes, strict)
			}
		}
		var again []byte
		for _, row := range rows {
			again = append(again, `1,"`+strings.ReplaceAll(row.Bucket, `"`, `""`)+`","`+strings.ReplaceAll(row.RawKey, `"`, `""`)+"\"\n"...)
		}
		// No header has the number.
		if reread, err := read(t, "Ignore,Bucket,Key", string(again)); err != nil || !cmp.Equal(rows, reread) {
			t.Fatalf("%q is read as %q, %v, want %q", again, reread, err, rows)
		}

		l := layout(t, bucketKey)
		l.Lenient = true
		c := manifest.NewCSV(iotest.OneByteReader(bytes.NewReader([]byte(text))), l, manifest.Position{})
		var batch manifest.Batch
		var batched []cells
		for c.Fill(&batch, 2) > 0 {
			for i := range batch.Len() {
				batched = append(batched, cellsOf(batch.Row(i)))
			}
		}
		if !cmp.Equal(rows, batched) || (err == nil) != (c.Err() == nil) || c.Notes() != notes {
			t.Fatalf("in batches %q, %v, noted %q, want %q, %v, %q", batched, c.Err(), c.Notes(), rows, err, notes)
		}

		c = manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
		counted := 0
		for n := c.Fill(nil, 2); n > 0; n = c.Fill(nil, 2) {
			counted += n
		}
		if counted != len(rows) || (err == nil) != (c.Err() == nil) || c.Notes() != notes {
			t.Fatalf("counted %d rows, %v, noted %q, want %d, %v, %q", counted, c.Err(), c.Notes(), len(rows), err, notes)
		}
	})
}
