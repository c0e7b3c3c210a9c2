package report_test

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/report"
)

func TestAppendRow(t *testing.T) {
	t.Parallel()
	check := func(key, version string, out job.Outcome, want string) {
		t.Helper()
		got := report.AppendRow([]byte("before\n"), []byte("src"), []byte(key), []byte(version), &out)
		if string(got) != "before\n"+want+"\n" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	good := job.Outcome{HTTPStatus: 200, Message: "Successful"}
	bad := func(message string) job.Outcome {
		return job.Outcome{Failed: true, HTTPStatus: 400, Code: "InvalidRequest", Message: message}
	}
	check("photos/a%20b.jpg", "", good, "src,photos/a%20b.jpg,,succeeded,200,,Successful")
	check("k", "3sL4kqtJlcpXroDTDmJ", good, "src,k,3sL4kqtJlcpXroDTDmJ,succeeded,200,,Successful")
	check("pct%2520literal", "", good, "src,pct%2520literal,,succeeded,200,,Successful")
	check("a,b", "", good, `src,"a,b",,succeeded,200,,Successful`)
	check("k", "", bad("plain"), "src,k,,failed,400,InvalidRequest,plain")
	check("k", "", bad(`a comma, and "quotes".`), `src,k,,failed,400,InvalidRequest,"a comma, and ""quotes""."`)
	check("k", "", bad("one\r\ntwo\nthree"), "src,k,,failed,400,InvalidRequest,one  two three")
	check("k", "", bad("zero\x00, tab\t, no UTF-8: \xff"), `src,k,,failed,400,InvalidRequest,"zero , tab , no UTF-8: ?"`)
	check("k", "", job.Outcome{HTTPStatus: 200, Message: `{"checksum_hex":"6D"}`}, `src,k,,succeeded,200,,"{""checksum_hex"":""6D""}"`)
	check("line\nbreak", "", good, "src,\"line\nbreak\",,succeeded,200,,Successful")
}

// A row of a report is no header of the manifest that a file of failed tasks is, even if its bucket and key are called so.
func TestRowIsNoHeader(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "null", "VersionId"} {
		out := job.Outcome{Failed: true, HTTPStatus: 404, Code: "NoSuchKey", Message: "Message"}
		row := report.AppendRow(nil, []byte("bucket"), []byte("key"), []byte(version), &out)
		for _, lenient := range []bool{false, true} {
			layout, err := manifest.NewLayout([]job.Field{"Bucket", "Key", "VersionId", "Ignore", "Ignore", "Ignore", "Ignore"})
			if err != nil {
				t.Fatal(err)
			}
			layout.Lenient = lenient
			rows := manifest.NewCSV(bytes.NewReader(row), layout, manifest.Position{})
			var got manifest.Row
			if !rows.Next(&got) || string(got.Key) != "key" || string(got.VersionID) != version {
				t.Errorf("version id %q, leniently %t: got %q, %v", version, lenient, got.Key, rows.Err())
			}
		}
	}
}

// FuzzAppendRow reads every row back with another implementation.
func FuzzAppendRow(f *testing.F) {
	f.Add("src", "a%20b", "", false, 200, "", "Successful")
	f.Add("", `"`, ",", true, 404, "No,Such", "a\r\nb")
	f.Add("b", "\r", "\n", true, 0, "\"", "\"\"")
	f.Fuzz(func(t *testing.T, bucket, key, version string, failed bool, status int, code, message string) {
		out := job.Outcome{Failed: failed, HTTPStatus: status, Code: code, Message: message}
		row := report.AppendRow(nil, []byte(bucket), []byte(key), []byte(version), &out)
		again := report.AppendRow(slices.Clone(row), []byte(bucket), []byte(key), []byte(version), &out)
		got, err := csv.NewReader(strings.NewReader(string(again))).ReadAll()
		if err != nil {
			t.Fatalf("read %q: %v", again, err)
		}
		word := "succeeded"
		if failed {
			word = "failed"
		}
		want := []string{
			read(bucket), read(key), read(version), word, strconv.Itoa(status), read(code),
			strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return ' '
				}
				return r
			}, strings.ToValidUTF8(message, "?")),
		}
		if len(got) != 2 || !slices.Equal(got[0], got[1]) {
			t.Fatalf("%q twice was read as %q", row, got)
		}
		if !slices.Equal(got[0], want) {
			t.Errorf("%q was read as %q, want %q", row, got[0], want)
		}
	})
}

// read is what encoding/csv makes of a field: it takes CRLF for LF.
func read(field string) string { return strings.ReplaceAll(field, "\r\n", "\n") }

func BenchmarkAppendRow(b *testing.B) {
	bucket, key := []byte("some-bucket"), []byte("data/2026/01/02/object-000000012345.parquet")
	out := job.Outcome{HTTPStatus: 200, Message: "Successful"}
	dst := report.AppendRow(nil, bucket, key, nil, &out)
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		dst = report.AppendRow(dst[:0], bucket, key, nil, &out)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
