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
	"github.com/google/go-cmp/cmp/cmpopts"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
)

// A cells is a row as strings, for comparing.
type cells struct{ Bucket, RawKey, Key, VersionID string }

func cellsOf(row manifest.Row) cells {
	return cells{string(row.Bucket), string(row.RawKey), string(row.Key), string(row.VersionID)}
}

var (
	bucketKey        = []job.Field{job.FieldBucket, job.FieldKey}
	bucketKeyVersion = []job.Field{job.FieldBucket, job.FieldKey, job.FieldVersionID}
)

// layout compiles fields.
func layout(tb testing.TB, fields []job.Field) manifest.Layout {
	tb.Helper()
	l, err := manifest.NewLayout(fields)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// fields parses "Bucket,Key".
func fields(names string) (fields []job.Field) {
	for name := range strings.SplitSeq(names, ",") {
		fields = append(fields, job.Field(name))
	}
	return fields
}

// read reads all rows of text, whose fields are names.
func read(tb testing.TB, names, text string) ([]cells, error) {
	tb.Helper()
	return readFrom(manifest.NewCSV(strings.NewReader(text), layout(tb, fields(names)), manifest.Position{}))
}

func readFrom(c *manifest.CSV) (rows []cells, err error) {
	var row manifest.Row
	for c.Next(&row) {
		rows = append(rows, cellsOf(row))
	}
	return rows, c.Err()
}

func TestRows(t *testing.T) {
	t.Parallel()
	check := func(name, fields, text string, want ...cells) {
		t.Helper()
		got, err := read(t, fields, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: rows differ (-want +got):\n%s", name, diff)
		}
	}
	a, b := cells{Bucket: "src", RawKey: "a", Key: "a"}, cells{Bucket: "src", RawKey: "b", Key: "b"}
	one := func(raw, key string) cells { return cells{Bucket: "src", RawKey: raw, Key: key} }

	check("nothing", "Bucket,Key", "")
	check("only line ends", "Bucket,Key", "\n\r\n\n")
	check("LF", "Bucket,Key", "src,a\nsrc,b\n", a, b)
	check("CRLF", "Bucket,Key", "src,a\r\nsrc,b\r\n", a, b)
	check("both", "Bucket,Key", "src,a\r\nsrc,b\n", a, b)
	check("no last line end", "Bucket,Key", "src,a\nsrc,b", a, b)
	check("blank last line", "Bucket,Key", "src,a\nsrc,b\n\n", a, b)
	check("blank lines between", "Bucket,Key", "\nsrc,a\n\r\n\nsrc,b", a, b)
	check("same row twice", "Bucket,Key", "src,a\nsrc,a\n", a, a)
	check("several buckets", "Bucket,Key", "src,a\nother,a\n", a, cells{Bucket: "other", RawKey: "a", Key: "a"})

	check("key first", "Key,Bucket", "a,src\n", a)
	check("ignored columns", "Ignore,Bucket,Ignore,Key,Ignore", "1,src,,a,x y\n", a)
	check("ignored columns are not decoded", "Ignore,Bucket,Key", "%zz%FF,src,a\n", a)
	check("version last", "Bucket,Key,VersionId", "src,a,v1\n", cells{"src", "a", "a", "v1"})
	check("version first", "VersionId,Key,Bucket", "v1,a,src\n", cells{"src", "a", "a", "v1"})
	check("null is a version", "Bucket,Key,VersionId", "src,a,null\n", cells{"src", "a", "a", "null"})
	check("versions are not decoded", "Bucket,Key,VersionId", "src,a,v%20+1\n", cells{"src", "a", "a", "v%20+1"})
	check("empty version", "Bucket,Key,VersionId", "src,a,\nsrc,b,v1\nsrc,a,\"\"\n", a, cells{"src", "b", "b", "v1"}, a)
	check("ignored version", "Bucket,Key,Ignore", "src,a,v1\n", a)

	check("percent", "Bucket,Key", "src,a%20b%2Fc\n", one("a%20b%2Fc", "a b/c"))
	check("lower-case digits", "Bucket,Key", "src,%e2%82%ac\n", one("%e2%82%ac", "€"))
	check("decoded once", "Bucket,Key", "src,pct%2520literal\n", one("pct%2520literal", "pct%20literal"))
	check("plus", "Bucket,Key", "src,a+b%2Bc\n", one("a+b%2Bc", "a b+c"))
	check("plus before percent", "Bucket,Key", "src,+%41\n", one("+%41", " A"))
	check("everything encoded", "Bucket,Key", "src,%22q%22%2C%0D%0A%00\n", one("%22q%22%2C%0D%0A%00", "\"q\",\r\n\x00"))
	check("raw UTF-8", "Bucket,Key", "src,€/uro.txt\n", one("€/uro.txt", "€/uro.txt"))
	check("raw and encoded UTF-8", "Bucket,Key", "src,€%E2%82%AC\n", one("€%E2%82%AC", "€€"))
	check("half raw, half encoded rune", "Bucket,Key", "src,%C3%A9é\n", one("%C3%A9é", "éé"))
	check("spaces in ignored columns", "Bucket,Ignore,Key", "src, a b ,c\n\"src\",\"x y\",\"d\"\n", cells{"src", "c", "c", ""}, cells{"src", "d", "d", ""})
	check("header words behind the first row", "Bucket,Key", "src,a\nbucket,key\n", a, cells{"bucket", "key", "key", ""})
	check("slashes and dots are not paths", "Bucket,Key", "src,/a//../b/.\n", one("/a//../b/.", "/a//../b/."))

	check("quoted", "Bucket,Key", "\"src\",\"a\"\r\n\"src\",b\n", a, b)
	check("quoted comma", "Bucket,Key", "src,\"a,b\"\n", one("a,b", "a,b"))
	check("doubled quotes", "Bucket,Key", "src,\"\"\"a\"\"b\"\"\"\n", one(`"a"b"`, `"a"b"`))
	check("only a quote", "Bucket,Key", "src,\"\"\"\"\n", one(`"`, `"`))
	check("doubled quotes and percent", "Bucket,Key", "src,\"a\"\"%20b\"\n", one(`a"%20b`, `a" b`))
	check("doubled quotes everywhere", "Bucket,Key,VersionId", "\"s\"\"c\",\"a\"\"+\",\"v\"\"1\"\n", cells{`s"c`, `a"+`, `a" `, `v"1`})
	check("quoted ignored cell", "Ignore,Bucket,Key", "\"{\"\"id\"\": [1,2]}\",src,a\n", a)
	check("quoted last cell without line end", "Bucket,Key", "src,\"a\"", a)
	check("empty ignored cell at the end", "Bucket,Key,Ignore", "src,a,", a)
	check("quoted empty ignored cell", "Ignore,Bucket,Key", "\"\",src,a", a)

	long := strings.Repeat("k", 1024)
	check("longest key", "Bucket,Key", "src,"+long+"\n", one(long, long))
	encoded := strings.Repeat("%6B", 1024)
	check("longest encoded key", "Bucket,Key", "src,"+encoded+"\n", one(encoded, long))
	wide := strings.Repeat("€", 341) + "k"
	check("longest key in runes of three bytes", "Bucket,Key", "src,"+wide+"\n", one(wide, wide))
	check("longest version", "Bucket,Key,VersionId", "src,a,"+long+"\n", cells{"src", "a", "a", long})
	line := "src,a," + strings.Repeat("x", 64<<10-6)
	check("longest line", "Bucket,Key,Ignore", line+"\r\n"+line+"\n"+line, a, a, a)
}

// The examples of the specification.
func TestExamples(t *testing.T) {
	t.Parallel()
	check := func(file, fields, want string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := read(t, fields, string(text))
		var got strings.Builder
		for _, row := range rows {
			got.WriteString(strings.Join([]string{row.Bucket, row.RawKey, row.Key, row.VersionID}, " ") + "\n")
		}
		if err != nil {
			got.WriteString(err.Error() + "\n")
		}
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got.String(), "\n")); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", file, diff)
		}
	}
	check("bucket-key.csv", "Bucket,Key", `src plain.txt plain.txt 
src photos/a%20b.jpg photos/a b.jpg 
src pct%2520literal pct%20literal 
src %22q%22%2Cc.txt "q",c.txt 
src plus%2Bsign plus+sign 
src %E2%82%AC/uro.txt €/uro.txt 
`)
	check("bucket-key-version.csv", "Bucket,Key,VersionId", `src plain.txt plain.txt null
src photos/a%20b.jpg photos/a b.jpg 3sL4kqtJlcpXroDTDmJ
`)
	check("bucket-key-version-one-empty.csv", "Bucket,Key,VersionId", `src plain.txt plain.txt 
src photos/a%20b.jpg photos/a b.jpg 3sL4kqtJlcpXroDTDmJ
`)
	check("ignore-columns.csv", "Ignore,Bucket,Ignore,Key", `src plain.txt plain.txt 
src photos/a%20b.jpg photos/a b.jpg 
`)
	check("quoted-crlf-no-final-newline.csv", "Bucket,Key", `src plain.txt plain.txt 
src photos/a%20b.jpg photos/a b.jpg 
`)
	check("bad-bom.csv", "Bucket,Key", "InvalidManifestContent: Manifest file is not properly formatted: line 1: "+
		"the line starts with a byte order mark; save the file as UTF-8 without BOM, or tag the job stevedore:manifest=lenient\n")
	check("bad-column-count.csv", "Bucket,Key", "src plain.txt plain.txt \n"+
		"InvalidManifestContent: Manifest file is not properly formatted: line 2: got 3 columns, want 2\n")
	check("bad-percent.csv", "Bucket,Key", "InvalidManifestContent: Invalid object key format: line 1: "+
		`"%zz" is no % and two hexadecimal digits; write a % in a key as %25`+"\n")
	check("bad-utf8.csv", "Bucket,Key", "InvalidManifestContent: Invalid object key format: line 1: "+
		`"%FF%FE.txt" is not UTF-8 after decoding: byte 0xFF`+"\n")
	check("inventory.json", "Bucket,Key", "InvalidManifestContent: Manifest file is not properly formatted: line 1: "+
		"the file is JSON, not CSV; if it is an inventory's manifest.json, its format is S3InventoryReport_CSV_20161130\n")
}

// Every way to be bad, each with the text, the line and the number of rows before it.
func TestBadContent(t *testing.T) {
	t.Parallel()
	check := func(name, columns, text string, rows int, line int64, reason string) {
		t.Helper()
		c := manifest.NewCSV(strings.NewReader(text), layout(t, fields(columns)), manifest.Position{})
		got, err := readFrom(c)
		bad, ok := errors.AsType[*manifest.Error](err)
		if !ok {
			t.Errorf("%s: error %v, want a *manifest.Error", name, err)
			return
		}
		want := manifest.Error{Code: "InvalidManifestContent", Line: line, Reason: reason}
		if diff := cmp.Diff(want, *bad, cmpopts.IgnoreUnexported(manifest.Error{})); diff != "" {
			t.Errorf("%s: error differs (-want +got):\n%s", name, diff)
		}
		if len(got) != rows {
			t.Errorf("%s: %d rows before the error, want %d", name, len(got), rows)
		}
		if n := len(bad.Reason); n > 256 {
			t.Errorf("%s: reason has %d characters", name, n)
		}
		if c.Next(new(manifest.Row)) || c.Err() != err { //nolint:errorlint // the very same error
			t.Errorf("%s: reading goes on after the error", name)
		}
	}
	const (
		lenient = ", or tag the job stevedore:manifest=lenient"
		convert = "; make it CSV with stevedore manifest convert, or give the manifest.json of an inventory that lists it"
		header  = "line 1: the row names the columns; remove it" + lenient
		format  = "Manifest file is not properly formatted: "
		content = "Invalid Manifest Content: "
		key     = "Invalid object key format: "
		version = "Invalid version ID format: "
		digits  = " is no % and two hexadecimal digits; write a % in a key as %25"
		breaks  = "; lines end with LF or CRLF, cells have no line breaks"
		stored  = "; store it uncompressed" + lenient
		bom     = "the line starts with a byte order mark; save the file as UTF-8 without BOM"
		isJSON  = "the file is JSON, not CSV; if it is an inventory's manifest.json, its format is S3InventoryReport_CSV_20161130"
	)

	// Columns.
	check("column missing", "Bucket,Key", "src,a\nsrc\n", 1, 2, format+"line 2: got 1 columns, want 2")
	check("column too many", "Bucket,Key", "src,a\nsrc,b,c\n", 1, 2, format+"line 2: got 3 columns, want 2")
	check("comma at the end", "Bucket,Key", "src,a,\n", 0, 1, format+"line 1: got 3 columns, want 2")
	check("comma in a key", "Bucket,Key", "src,a\n\nsrc,b,c", 1, 3, format+"line 3: got 3 columns, want 2")
	check("only a space", "Bucket,Key", "src,a\n \n", 1, 2, format+"line 2: got 1 columns, want 2")
	check("only an empty quoted cell", "Bucket,Key", "\"\"\n", 0, 1, format+"line 1: got 1 columns, want 2")
	check("semicolons", "Bucket,Key", "src;a\n", 0, 1, format+"line 1: got 1 columns, want 2; put commas between them, not semicolons")
	check("tabs", "Bucket,Key", "src,a\nsrc\ta b\n", 1, 2, format+"line 2: got 1 columns, want 2; put commas between them, not tabs")
	check("bars", "Bucket,Key", "src|a\n", 0, 1, format+"line 1: got 1 columns, want 2; put commas between them, not bars")
	check("addresses", "Bucket,Key", "s3://src/a;b\n", 0, 1, format+"line 1: got 1 columns, want 2; write bucket,key, not s3://bucket/key")
	check("ignored column missing", "Ignore,Bucket,Key", "src,a\n", 0, 1, format+"line 1: got 2 columns, want 3")
	check("version column missing", "Bucket,Key,VersionId", "src,a,v\nsrc,b\n", 1, 2, format+"line 2: got 2 columns, want 3")
	check("DOS end of file", "Bucket,Key", "src,a\r\n\x1a", 1, 2, format+"line 2: got 1 columns, want 2")
	check("many columns", "Bucket,Key", strings.Repeat(",", 60_000), 0, 1, format+"line 1: got 60001 columns, want 2")

	// Empty cells.
	check("bucket empty", "Bucket,Key", ",a\n", 0, 1, content+"line 1: the bucket is empty")
	check("bucket empty, quoted", "Bucket,Key", "\"\",a\n", 0, 1, content+"line 1: the bucket is empty")
	check("bucket last and empty", "Key,Bucket", "a,", 0, 1, content+"line 1: the bucket is empty")
	check("key empty", "Bucket,Key", "src,a\nsrc,\n", 1, 2, key+"line 2: the key is empty")
	check("key empty, quoted", "Bucket,Key", "src,\"\"\n", 0, 1, key+"line 1: the key is empty")
	check("key empty before the line end", "Bucket,Key", "src,\r\n", 0, 1, key+"line 1: the key is empty")

	// Keys.
	check("percent alone", "Bucket,Key", "src,100%\n", 0, 1, key+`line 1: "%"`+digits)
	check("percent and one digit", "Bucket,Key", "src,a%2\n", 0, 1, key+`line 1: "%2"`+digits)
	check("percent, second no digit", "Bucket,Key", "src,a%2g.txt\n", 0, 1, key+`line 1: "%2g"`+digits)
	check("percent, first no digit", "Bucket,Key", "src,a%g2.txt\n", 0, 1, key+`line 1: "%g2"`+digits)
	check("percent percent", "Bucket,Key", "src,a%20%%20\n", 0, 1, key+`line 1: "%%2"`+digits)
	check("percent and a space", "Bucket,Key", "src,50%+off\n", 0, 1, key+`line 1: "%+o"`+digits)
	check("percent and a rune", "Bucket,Key", "src,%€\n", 0, 1, key+`line 1: "%\xe2\x82"`+digits)
	check("percent sign of a wide format", "Bucket,Key", "src,%u20AC\n", 0, 1, key+`line 1: "%u2"`+digits)
	check("not UTF-8 after decoding", "Bucket,Key", "src,caf%E9\n", 0, 1, key+`line 1: "caf%E9" is not UTF-8 after decoding: byte 0xE9`)
	check("surrogate", "Bucket,Key", "src,%ED%A0%80\n", 0, 1, key+`line 1: "%ED%A0%80" is not UTF-8 after decoding: byte 0xED`)
	check("overlong form", "Bucket,Key", "src,%C0%AF\n", 0, 1, key+`line 1: "%C0%AF" is not UTF-8 after decoding: byte 0xC0`)
	check("long key not UTF-8", "Bucket,Key", "src,"+strings.Repeat("k", 30)+"%80\n", 0, 1,
		key+`line 1: "`+strings.Repeat("k", 24)+`"... is not UTF-8 after decoding: byte 0x80`)
	check("long key", "Bucket,Key", "src,"+strings.Repeat("k", 1025)+"\n", 0, 1,
		key+"line 1: the key has 1025 bytes after decoding, at most 1024 are allowed")
	check("long decoded key", "Bucket,Key", "src,"+strings.Repeat("%6B", 1026)+"\n", 0, 1,
		key+"line 1: the key has 1026 bytes after decoding, at most 1024 are allowed")
	check("long key in bytes", "Bucket,Key", "src,"+strings.Repeat("€", 342)+"\n", 0, 1,
		key+"line 1: the key has 1026 bytes after decoding, at most 1024 are allowed")

	check("space in a key", "Bucket,Key", "src,a\nsrc,b c\n", 1, 2, key+`line 2: "b c" has a space that is not encoded; write %20`+lenient)
	check("space at the end", "Bucket,Key", "src,a \n", 0, 1, key+`line 1: "a " has a space that is not encoded; write %20`+lenient)
	check("space in a quoted key", "Bucket,Key", "src,\"b c\"\n", 0, 1, key+`line 1: "b c" has a space that is not encoded; write %20`+lenient)
	check("space in a key beyond ASCII", "Bucket,Key", "src,\u20ac c\n", 0, 1, key+`line 1: "\u20ac c" has a space that is not encoded; write %20`+lenient)
	check("tab in a key", "Bucket,Key", "src,a\tb\n", 0, 1, key+`line 1: "a\tb" has a control character that is not encoded; write %09`+lenient)
	check("space after a bucket", "Bucket,Key", "src ,a\n", 0, 1, content+`line 1: the bucket "src " has white space; remove it`+lenient)

	// Headers.
	check("header", "Bucket,Key", "Bucket,Key\nsrc,a\n", 0, 1, format+header)
	check("header in quotes", "Ignore,Key,Bucket", "\"size\",\"KEY\",\"bucket\"\nsrc,a\n", 0, 1, format+header+"; if it is an object, write its key %4BEY")
	check("header after a blank line", "Bucket,Key,VersionId", "\nbucket,key,version_id\n", 0, 2,
		format+strings.Replace(header, "1", "2", 1)+"; if it is an object, write its key %6Bey")

	// Versions.
	check("long version", "Bucket,Key,VersionId", "src,a,"+strings.Repeat("v", 1025)+"\n", 0, 1,
		version+"line 1: the version id has 1025 bytes, at most 1024 are allowed")
	check("space in a version", "Bucket,Key,VersionId", "src,a,v \n", 0, 1, version+`line 1: "v " has white space; remove it`+lenient)
	check("tab in a version", "Bucket,Key,VersionId", "src,a,v\t1\n", 0, 1, version+`line 1: "v\t1" has a control character`)
	check("DEL in a version", "Bucket,Key,VersionId", "src,a,v\x7f\n", 0, 1, version+`line 1: "v\x7f" has a control character`)

	// Quotes and line ends.
	check("quote inside", "Bucket,Key", "src,a\"b\n", 0, 1, format+"line 1: column 2: quote inside a cell that is not quoted")
	check("quote after a space", "Bucket,Key", "src, \"a\"\n", 0, 1, format+"line 1: column 2: quote inside a cell that is not quoted")
	check("text after a quote", "Bucket,Key", "\"src\"x,a\n", 0, 1, format+"line 1: column 1: text after the closing quote")
	check("quote not closed", "Bucket,Key", "src,a\nsrc,\"a\n", 1, 2, format+"line 2: column 2: the quote is not closed; cells have no line breaks")
	check("quote not closed at the end", "Bucket,Key", "src,\"", 0, 1, format+"line 1: column 2: the quote is not closed; cells have no line breaks")
	check("line break in quotes", "Bucket,Key", "\"src\",\"a\nb\"\n", 0, 1, format+"line 1: column 2: the quote is not closed; cells have no line breaks")
	check("CRLF in quotes", "Bucket,Key", "\"src\",\"a\r\nb\"\n", 0, 1, format+"line 1: column 2: the quote is not closed; cells have no line breaks")
	check("doubled quote not closed", "Bucket,Key", "src,\"a\"\"\n", 0, 1, format+"line 1: column 2: the quote is not closed; cells have no line breaks")
	check("CR only", "Bucket,Key", "src,a\rsrc,b\r", 0, 1, format+"line 1: carriage return at byte 6"+breaks)
	check("CR at the end of the file", "Bucket,Key", "src,a\r\nsrc,b\r", 1, 2, format+"line 2: carriage return at byte 6"+breaks)
	check("CR CR LF", "Bucket,Key", "src,a\r\r\n", 0, 1, format+"line 1: carriage return at byte 6"+breaks)
	check("CR in quotes", "Bucket,Key", "src,\"a\rb\"\n", 0, 1, format+"line 1: carriage return at byte 7"+breaks)

	// Encoding.
	check("BOM", "Bucket,Key", "\ufeffsrc,a\n", 0, 1, format+"line 1: "+bom+lenient)
	check("BOM after blank lines", "Bucket,Key", "\n\n\ufeffsrc,a\n", 0, 3, format+"line 3: "+bom+lenient)
	check("BOM of a file appended", "Bucket,Key", "src,a\n\ufeffsrc,b\n", 1, 2, format+"line 2: "+bom)
	check("BOM alone", "Bucket,Key", "\ufeff", 0, 1, format+"line 1: "+bom+lenient)
	check("Latin-1 in a key", "Bucket,Key", "src,a\nsrc,caf\xe9\n", 1, 2, format+"line 2: not UTF-8: byte 0xE9 at byte 8")
	check("Latin-1 in an ignored column", "Ignore,Bucket,Key", "\xfcber,src,a\n", 0, 1, format+"line 1: not UTF-8: byte 0xFC at byte 1")
	check("rune cut off", "Bucket,Key", "src,\xe2\x82\n", 0, 1, format+"line 1: not UTF-8: byte 0xE2 at byte 5")
	check("NUL", "Bucket,Key", "src,a\x00b\n", 0, 1, format+"line 1: NUL at byte 6; the file must be UTF-8 text")
	check("UTF-16 without BOM", "Bucket,Key", "s\x00r\x00c\x00,\x00a\x00\n\x00", 0, 1, format+"line 1: NUL at byte 2; the file must be UTF-8 text")
	check("UTF-16 LE", "Bucket,Key", "\xff\xfes\x00,\x00a\x00\n\x00", 0, 1, format+"line 1: the file is UTF-16; save it as UTF-8 without BOM")
	check("UTF-16 BE", "Bucket,Key", "\xfe\xff\x00s\x00,\x00a\x00\n", 0, 1, format+"line 1: the file is UTF-16; save it as UTF-8 without BOM")

	// Other files.
	check("gzip", "Bucket,Key", "\x1f\x8b\x08\x00\x00\x00\x00\x00", 0, 1, format+"line 1: the file is gzip-compressed"+stored)
	check("long gzip", "Bucket,Key", "\x1f\x8b\x08\x00"+strings.Repeat("x", 100_000), 0, 1, format+"line 1: the file is gzip-compressed"+stored)
	check("zstd", "Bucket,Key", "\x28\xb5\x2f\xfd\x24\x00", 0, 1, format+"line 1: the file is zstd-compressed"+stored)
	check("spreadsheet", "Bucket,Key", "PK\x03\x04\x14\x00\x06\x00", 0, 1, format+"line 1: the file is a ZIP archive or a spreadsheet, not CSV")
	check("Parquet", "Bucket,Key", "PAR1\x15\x04\x15\x10", 0, 1, format+"line 1: the file is Parquet or ORC, not CSV"+convert)
	check("ORC", "Bucket,Key", "ORC\n\x05\n", 0, 1, format+"line 1: the file is Parquet or ORC, not CSV"+convert)
	check("JSON", "Bucket,Key", "{\n  \"sourceBucket\": \"src\"}", 0, 1, format+"line 1: "+isJSON)
	check("JSON in one line", "Bucket,Key", "{\"sourceBucket\":\"src\",\"version\":\"2016-11-30\"}", 0, 1, format+"line 1: "+isJSON)
	check("JSON after white space", "Bucket,Key", "\n  { \"files\": [] }\n", 0, 2, format+"line 2: "+isJSON)
	check("no magic in the middle", "Bucket,Key", "src,a\n\x1f\x8b\x08\n", 1, 2, format+"line 2: not UTF-8: byte 0x8B at byte 2")
	check("a bucket like a format", "Bucket,Key", "ORC,a,b\n", 0, 1, format+"line 1: got 3 columns, want 2")
	check("a brace is not JSON", "Ignore,Bucket,Key", "{id},src\n", 0, 1, format+"line 1: got 2 columns, want 3")

	// Length.
	long := strings.Repeat("x", 64<<10-5)
	check("long line", "Bucket,Key,Ignore", "src,a,1\nsrc,a,"+long+"\n", 1, 2, format+"line 2: longer than 65536 bytes")
	check("long last line", "Bucket,Key,Ignore", "src,a,"+long, 0, 1, format+"line 1: longer than 65536 bytes")
	check("endless line", "Bucket,Key", strings.Repeat("x", 1<<20), 0, 1, format+"line 1: longer than 65536 bytes")
	check("long line of CRLF", "Bucket,Key,Ignore", "src,a,"+long+"\r\n", 0, 1, format+"line 1: longer than 65536 bytes")
}

func TestNewLayout(t *testing.T) {
	t.Parallel()
	check := func(names, want string) {
		t.Helper()
		var columns []job.Field
		if names != "" {
			columns = fields(names)
		}
		_, err := manifest.NewLayout(columns)
		bad, ok := errors.AsType[*manifest.Error](err)
		switch {
		case want == "":
			if err != nil {
				t.Errorf("%s: %v", names, err)
			}
		case !ok:
			t.Errorf("%s: error %v, want a *manifest.Error", names, err)
		case bad.Reason != want || bad.Code != "InvalidManifestContent" || bad.Line != 0:
			t.Errorf("%s: got %+v, want reason %q", names, *bad, want)
		}
	}
	check("Bucket,Key", "")
	check("Key,Bucket", "")
	check("Ignore,VersionId,Ignore,Key,Bucket,Ignore", "")
	check("", "Required fields are missing in the schema: Bucket, Key")
	check("Ignore,VersionId", "Required fields are missing in the schema: Bucket, Key")
	check("Bucket", "Required fields are missing in the schema: Key")
	check("Key,VersionId", "Required fields are missing in the schema: Bucket")
	check("Bucket,Key,Bucket", "Invalid Manifest Content: field Bucket is twice in the schema")
	check("Bucket,Key,VersionId,VersionId", "Invalid Manifest Content: field VersionId is twice in the schema")
	check("Bucket,Key,Size", `Invalid Manifest Content: unknown field "Size" in the schema`)
	check("bucket,key", `Invalid Manifest Content: unknown field "bucket" in the schema`)

	if layout(t, bucketKey).HasVersionID() {
		t.Error("a layout without VersionId says it has one")
	}
	if !layout(t, bucketKeyVersion).HasVersionID() {
		t.Error("a layout with VersionId says it has none")
	}
}

// Positions count every byte and every line, blank lines and line ends included, from where the
// reader started.
func TestPosition(t *testing.T) {
	t.Parallel()
	const text = "src,a\r\n\nsrc,b%20\n\r\n\"src\",\"c\"\n\n"
	check := func(start manifest.Position, text string, want ...manifest.Position) {
		t.Helper()
		c := manifest.NewCSV(strings.NewReader(text), layout(t, bucketKey), start)
		if got := c.Offset(); got != start.Offset {
			t.Errorf("before the first row: offset %d, want %d", got, start.Offset)
		}
		var got []manifest.Position
		for c.Next(new(manifest.Row)) {
			if p := c.Position(); p.Offset != c.Offset() || p.Line != c.Line()+1 {
				t.Errorf("position %+v, but offset %d and line %d", p, c.Offset(), c.Line())
			}
			got = append(got, c.Position())
		}
		if c.Err() != nil {
			t.Error(c.Err())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("positions differ (-want +got):\n%s", diff)
		}
	}
	check(manifest.Position{}, text, manifest.Position{7, 2}, manifest.Position{17, 4}, manifest.Position{29, 6})
	check(manifest.Position{Offset: 7, Line: 2}, text[7:], manifest.Position{17, 4}, manifest.Position{29, 6})
	check(manifest.Position{Offset: 1 << 40, Line: 2e10}, "src,a\nsrc,b", manifest.Position{1<<40 + 6, 2e10 + 1}, manifest.Position{1<<40 + 11, 2e10 + 2})

	_, err := readFrom(manifest.NewCSV(strings.NewReader("src,a\nsrc\n"), layout(t, bucketKey), manifest.Position{Offset: 100, Line: 41}))
	if bad, ok := errors.AsType[*manifest.Error](err); !ok || bad.Line != 42 || !strings.Contains(bad.Reason, ": line 42: ") {
		t.Errorf("error %v, want one of line 42", err)
	}
	// The bytes of gzip mean gzip only at the start of the manifest.
	_, err = readFrom(manifest.NewCSV(strings.NewReader("\x1f\x8b\x08"), layout(t, bucketKey), manifest.Position{Offset: 100, Line: 41}))
	if bad, ok := errors.AsType[*manifest.Error](err); !ok || !strings.Contains(bad.Reason, "not UTF-8") {
		t.Errorf("error %v, want one about UTF-8", err)
	}
}

// An error of the reader is reported as such, after the rows that came before it and instead of a
// row that it may have cut short.
func TestReaderError(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	check := func(name string, r io.Reader, rows int, want error) {
		t.Helper()
		got, err := readFrom(manifest.NewCSV(r, layout(t, bucketKey), manifest.Position{}))
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
		if _, bad := errors.AsType[*manifest.Error](err); bad {
			t.Errorf("%s: %v is reported as bad content", name, err)
		}
		if len(got) != rows {
			t.Errorf("%s: %d rows, want %d", name, len(got), rows)
		}
	}
	after := func(text string) io.Reader {
		return io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))
	}
	check("at once", after(""), 0, broken)
	check("between rows", after("src,a\nsrc,b\n"), 2, broken)
	check("inside a row", after("src,a\nsrc,b"), 1, broken)
	check("body shorter than its length", io.MultiReader(strings.NewReader("src,a\ns"), iotest.ErrReader(io.ErrUnexpectedEOF)), 1, io.ErrUnexpectedEOF)
	check("with the data", iotest.DataErrReader(after("src,a\nsrc,b\n")), 2, broken)
	check("nothing, again and again", stuck{}, 0, io.ErrNoProgress)
}

// stuck never has anything to say.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestFill(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 2500 {
		text.WriteString(strings.Repeat("\n", i%3) + "src,a%20" + strings.Repeat("k", i%50) + "\r\n")
	}
	l := layout(t, bucketKey)
	c := manifest.NewCSV(strings.NewReader(text.String()), l, manifest.Position{})
	d := manifest.NewCSV(strings.NewReader(text.String()), l, manifest.Position{})
	var (
		batch manifest.Batch
		row   manifest.Row
		sizes []int
	)
	for c.Fill(&batch, 1000) > 0 {
		sizes = append(sizes, batch.Len())
		for i := range batch.Len() {
			if !d.Next(&row) {
				t.Fatalf("row %d of batch %d is one too many", i, len(sizes))
			}
			if diff := cmp.Diff(cellsOf(row), cellsOf(batch.Row(i))); diff != "" {
				t.Fatalf("row %d of batch %d differs (-want +got):\n%s", i, len(sizes), diff)
			}
			if got, want := batch.End(i), d.Position(); got != want {
				t.Fatalf("row %d of batch %d ends at %+v, want %+v", i, len(sizes), got, want)
			}
		}
	}
	if diff := cmp.Diff([]int{1000, 1000, 500}, sizes); diff != "" {
		t.Errorf("sizes of the batches differ (-want +got):\n%s", diff)
	}
	if c.Err() != nil || batch.Len() != 0 {
		t.Errorf("at the end: error %v and %d rows, want neither", c.Err(), batch.Len())
	}
}

// A batch of long rows is cut by bytes, and rows before a bad one come first.
func TestFillStops(t *testing.T) {
	t.Parallel()
	var batch manifest.Batch
	line := "src,a," + strings.Repeat("x", 60_000) + "\n"
	c := manifest.NewCSV(strings.NewReader(strings.Repeat(line, 100)), layout(t, fields("Bucket,Key,Ignore")), manifest.Position{})
	total := 0
	for n := c.Fill(&batch, 1000); n > 0; n = c.Fill(&batch, 1000) {
		if n > 18 {
			t.Errorf("%d rows of %d bytes in a batch", n, len(line))
		}
		total += n
	}
	if total != 100 || c.Err() != nil {
		t.Errorf("%d rows and error %v, want 100 rows", total, c.Err())
	}

	c = manifest.NewCSV(strings.NewReader("src,a\nsrc,b\nsrc\nsrc,c\n"), layout(t, bucketKey), manifest.Position{})
	if n := c.Fill(&batch, 1000); n != 2 || batch.Len() != 2 || string(batch.Row(1).Key) != "b" {
		t.Errorf("%d rows before the bad one, want a and b", n)
	}
	if n := c.Fill(&batch, 1000); n != 0 {
		t.Errorf("%d rows after the bad one, want none", n)
	}
	if bad, ok := errors.AsType[*manifest.Error](c.Err()); !ok || bad.Line != 3 {
		t.Errorf("error %v, want one of line 3", c.Err())
	}
}

// Reading rows costs no allocation each, whatever they look like. Not parallel: AllocsPerRun counts
// the whole process.
func TestAllocations(t *testing.T) {
	text := []byte(strings.Repeat("src,plain.txt\nsrc,a%20b+c\n\"src\",\"q\"\"%2C\"\r\nsrc,€%20\n", 20_000))
	l := layout(t, bucketKey)
	for name, read := range map[string]func(*manifest.CSV) int{
		"Next": func(c *manifest.CSV) (n int) {
			var row manifest.Row
			for c.Next(&row) {
				n++
			}
			return n
		},
		"Fill": func(c *manifest.CSV) (n int) {
			var batch manifest.Batch
			for c.Fill(&batch, 500) > 0 {
				n += batch.Len()
			}
			return n
		},
	} {
		allocs := testing.AllocsPerRun(2, func() {
			if n := read(manifest.NewCSV(bytes.NewReader(text), l, manifest.Position{})); n != 80_000 {
				t.Errorf("%s: %d rows, want 80000", name, n)
			}
		})
		if allocs > 50 {
			t.Errorf("%s: %.0f allocations for 80000 rows", name, allocs)
		}
	}
}

// A row that held another manifest's row has nothing left of it, and appending to one of its slices
// leaves the others alone.
func TestRowIsFresh(t *testing.T) {
	t.Parallel()
	row := manifest.Row{Bucket: []byte("old"), RawKey: []byte("old"), Key: []byte("old"), VersionID: []byte("old")}
	for _, text := range []string{"src,a%20b,c\n", "\"src\",\"a%20b\",c\n", "\"s\"\"c\",\"a\"\"%20b\",c\n"} {
		c := manifest.NewCSV(strings.NewReader(text), layout(t, fields("Bucket,Key,Ignore")), manifest.Position{})
		if !c.Next(&row) {
			t.Fatal(c.Err())
		}
		if row.VersionID != nil {
			t.Errorf("%q: version %q, want none", text, row.VersionID)
		}
		want := cellsOf(row)
		_ = append(row.Bucket, "zzzzzzzz"...)
		_ = append(row.RawKey, "zzzzzzzz"...)
		_ = append(row.Key, "zzzzzzzz"...)
		if got := cellsOf(row); got != want {
			t.Errorf("%q: %q after appending, want %q", text, got, want)
		}
	}
}
