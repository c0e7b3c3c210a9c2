package manifest_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/manifest"
)

// reference reads text with the standard library and the rules of the format spelled out one by
// one. It returns false where any of them is broken.
func reference(text, columns string) (rows []cells, ok bool) {
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") || strings.Contains(strings.ReplaceAll(text, "\r\n", "\n"), "\r") {
		return nil, false
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if len(line) > 64<<10 || strings.HasPrefix(line, "\ufeff") {
			return nil, false
		}
	}
	names := strings.Split(columns, ",")
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = len(names)
	records, err := r.ReadAll()
	if err != nil {
		return nil, false
	}
	blank := func(r rune) bool { return r <= ' ' || r == 0x7f }
	for _, record := range records {
		var row cells
		for i, name := range names {
			if strings.Contains(record[i], "\n") {
				return nil, false
			}
			switch name {
			case "Bucket":
				row.Bucket = record[i]
			case "Key":
				row.RawKey = record[i]
			case "VersionId":
				row.VersionID = record[i]
			}
		}
		row.Key, err = url.QueryUnescape(row.RawKey)
		if err != nil || !utf8.ValidString(row.Key) || row.Key == "" || len(row.Key) > 1024 || row.Bucket == "" {
			return nil, false
		}
		if strings.ContainsFunc(row.Bucket+row.RawKey+row.VersionID, blank) || len(row.VersionID) > 1024 {
			return nil, false
		}
		if len(rows) == 0 && namesColumns(record, names) {
			return nil, false
		}
		rows = append(rows, row)
	}
	return rows, true
}

// namesColumns reports whether the cells of a row with these columns are a header, whatever its order.
func namesColumns(cells, columns []string) bool {
	word := regexp.MustCompile(`^([\pL_][\pL\p{Nd}_ .()[\]-]*)?$`)
	digits := regexp.MustCompile(`\p{Nd}`)
	known := map[string]string{}
	for field, names := range map[string]string{
		"Bucket":    "bucket bucketname sourcebucket",
		"Key":       "key keyname name object objectkey objectname sourcekey",
		"VersionId": "version versionid objectversion objectversionid sourceversionid",
	} {
		for name := range strings.FieldsSeq(names) {
			known[name] = field
		}
	}
	named := map[string]bool{}
	for i, cell := range cells {
		name := strings.Trim(cell, " \t\"'\ufeff")
		field := known[strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))]
		value := slices.Contains([]string{"null", "true", "false"}, strings.ToLower(name))
		switch {
		case len(cell) > 64, value, !word.MatchString(name), len(digits.FindAllString(name, -1)) > 3:
			return false
		case field == "" && (columns[i] == "Bucket" || columns[i] == "Key"), name == "" && columns[i] == "VersionId":
			return false
		}
		named[field] = true
	}
	return named["Bucket"] && named["Key"]
}

// FuzzCSV compares the reader with the reference: the same manifests are good, with the same rows.
// A bad one is good up to the row before the error, and its error is fit to be shown.
func FuzzCSV(f *testing.F) {
	examples, err := filepath.Glob(filepath.Join("testdata", "*.*"))
	if err != nil || len(examples) == 0 {
		f.Fatalf("no examples: %v", err)
	}
	for _, example := range examples {
		text, err := os.ReadFile(example)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), uint8(0))
		f.Add(string(text), uint8(1))
	}
	f.Add("a,\"b\"\"c\"\r\n\r\nd,e%20+%C3%A9", uint8(0))
	f.Add("v\t,1,k,2,b\n", uint8(2))
	f.Add("x,,\"k,%25\"\r\n,,\"\"\"\"", uint8(3))
	f.Add(strings.Repeat("%6b", 400)+",b\n", uint8(3))
	f.Add("b,a%7fb%2\n", uint8(0))
	f.Add("b,%41%4gxyz\n", uint8(0))
	f.Add("b,photos%\n", uint8(0))
	f.Add("Object-Key,bucket_name\na,src\n", uint8(0))
	f.Add("bucket,key,\nbucket,key,null\n", uint8(1))
	f.Add("Bucket,Source_Key,Object Version\n", uint8(1))
	f.Add("_id,SHA256,Key,Size (bytes),\"Bucket \"\n", uint8(2))
	f.Add("1,x,key,x,bucket\n", uint8(2))

	layouts := []string{"Bucket,Key", "Bucket,Key,VersionId", "VersionId,Ignore,Key,Ignore,Bucket", "Key,Bucket"}
	f.Fuzz(func(t *testing.T, text string, choice uint8) {
		columns := layouts[int(choice)%len(layouts)]
		l := layout(t, fields(columns))
		want, good := reference(text, columns)

		c := manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
		got, err := readFrom(c)
		if (err == nil) != good {
			t.Fatalf("%s: error %v, want good: %t\n%q", columns, err, good, text)
		}
		if err == nil {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s: rows differ (-want +got):\n%s\n%q", columns, diff, text)
			}
		} else {
			bad, ok := errors.AsType[*manifest.Error](err)
			if !ok {
				t.Fatalf("error %v, want a *manifest.Error", err)
			}
			if len(bad.Reason) > 256 || bad.Code != manifest.InvalidContent || bad.Line < c.Position().Line {
				t.Fatalf("bad error %+v after %+v", *bad, c.Position())
			}
			for _, r := range bad.Reason {
				if r < ' ' || r > '~' {
					t.Fatalf("reason %q is not printable ASCII", bad.Reason)
				}
			}
			if before, good := reference(text[:c.Offset()], columns); !good || !cmp.Equal(before, got) {
				t.Fatalf("the rows before the error are %q, want %q\n%q", got, before, text)
			}
		}

		// In batches and byte by byte it is all the same.
		var (
			batch   manifest.Batch
			batched []cells
		)
		d := manifest.NewCSV(iotest.OneByteReader(bytes.NewReader([]byte(text))), l, manifest.Position{})
		for d.Fill(&batch, 3) > 0 {
			for i := range batch.Len() {
				batched = append(batched, cellsOf(batch.Row(i)))
			}
		}
		if !cmp.Equal(got, batched) || d.Position() != c.Position() {
			t.Fatalf("in batches %q up to %+v, want %q up to %+v", batched, d.Position(), got, c.Position())
		}
		if (err == nil) != (d.Err() == nil) || err != nil && err.Error() != d.Err().Error() {
			t.Fatalf("in batches error %v, want %v", d.Err(), err)
		}

		// Counted, too.
		d = manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
		counted := 0
		for n := d.Fill(nil, 2); n > 0; n = d.Fill(nil, 2) {
			counted += n
		}
		if counted != len(got) || d.Position() != c.Position() {
			t.Fatalf("counted %d rows up to %+v, want %d up to %+v", counted, d.Position(), len(got), c.Position())
		}
		if (err == nil) != (d.Err() == nil) || err != nil && err.Error() != d.Err().Error() {
			t.Fatalf("counted, error %v, want %v", d.Err(), err)
		}
	})
}
