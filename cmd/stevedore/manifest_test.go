package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/generate"
	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/source"
	"stevedore/internal/source/check"
)

// inFolder returns a function that runs a manifest command in which "@" stands for a new folder with these files.
func inFolder(t *testing.T, environ []string, files map[string]string) func(stdin string, args ...string) ran {
	t.Helper()
	folder := t.TempDir() + string(filepath.Separator)
	for name, content := range files {
		if err := os.WriteFile(folder+name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(stdin string, args ...string) ran {
		line := []string{"manifest"}
		for _, arg := range args {
			line = append(line, strings.ReplaceAll(arg, "@", folder))
		}
		got := invoke(t.Context(), stdin, environ, line...)
		got.stdout, got.stderr = strings.ReplaceAll(got.stdout, folder, "@"), strings.ReplaceAll(got.stderr, folder, "@")
		return got
	}
}

func TestManifestUsage(t *testing.T) {
	t.Parallel()
	manifest := inFolder(t, nil, map[string]string{"four.csv": "a,b,c,d\n"})
	check := func(want int, says string, args ...string) {
		t.Helper()
		got := manifest("", args...)
		if got.code != want || !strings.Contains(got.stderr, says) || got.stdout != "" {
			t.Errorf("%q: got exit code %d and\n%s%s\nwant %d and %q", args, got.code, got.stdout, got.stderr, want, says)
		}
	}
	check(exitUsage, `manifest has no command "cuont"`, "cuont")
	check(exitUsage, "manifest count needs LIST, a list of objects", "count")
	check(exitUsage, `manifest head takes only LIST; what is "b"?`, "head", "a", "b")
	check(exitUsage, "manifest make needs BUCKET, what to list", "make")
	check(exitUsage, "s3:///k", "count", "s3:///k")
	check(exitUsage, "-o yaml", "count", "@four.csv", "-o", "yaml")
	check(exitUsage, "the first row has 4 columns: which of them are Bucket, Key and VersionId is for you to say\n  try   --fields Bucket,Key,Ignore,Ignore\n",
		"count", "@four.csv")
	check(exitUsage, `there is no column "size"`, "count", "@four.csv", "--fields", "Bucket,Key,size,Ignore")
	check(exitUsage, "want Bucket and Key", "count", "@four.csv", "--fields", "Bucket,Ignore")
	check(exitUsage, "--rows 0", "head", "@four.csv", "-n", "0")
	check(exitUsage, "--problems 0", "validate", "@four.csv", "--problems", "0")
	check(exitUsage, "--check -1", "validate", "@four.csv", "--check", "-1")
	check(exitUsage, "--to xml", "convert", "@four.csv", "--to", "xml")
	check(exitUsage, "several files", "convert", "@four.csv", "--to", "inventory")
	check(exitUsage, "want the key of an object", "convert", "@four.csv", "--out", "s3://b/dir/")
	check(exitUsage, "want the key of an object, such as s3://b/list.parquet, or --to inventory", "convert", "@four.csv", "--out", "s3://b", "--to", "parquet")
	check(exitUsage, "--out @ is a folder: want a file, such as @list.csv, or --to inventory", "convert", "@four.csv", "--out", "@")
	check(exitUsage, "--out @ is a folder: want a file, such as @list.csv.gz, or --to inventory", "make", "s3://photos", "--out", "@", "--to", "csv.gz")
	check(exitUsage, "--out @four.csv is a file: an inventory is several, and wants a folder", "make", "s3://photos", "--out", "@four.csv", "--to", "inventory")
	check(exitUsage, "a version cannot be written over", "convert", "@four.csv", "--out", "s3://b/k?versionId=v")
	check(exitUsage, "cannot be read and written at once", "convert", "@four.csv", "--out", "@four.csv")
	check(exitUsage, "want s3://bucket", "make", "photos")
	check(exitUsage, "the prefix is 2024/ already", "make", "s3://photos/2024/", "--match-prefix", "x")
	check(exitUsage, `invalid argument ".gz" for "--match-suffix" flag: it takes one, and has ".jpg" already`,
		"make", "s3://photos", "--match-suffix", ".jpg", "--match-suffix", ".gz")
	check(exitUsage, `"--match-prefix" flag: it takes one`, "make", "s3://photos", "--match-prefix", "", "--match-prefix", "x")
	check(exitUsage, `"--match-substring" flag: it takes one`, "make", "s3://photos", "--match-substring", "x", "--match-substring", "x")
	check(exitUsage, "--size-gt 1X", "make", "s3://photos", "--size-gt", "1X")
	check(exitUsage, "--size-lt 9999999TiB", "make", "s3://photos", "--size-lt", "9999999TiB")
	check(exitUsage, "--created-after yesterday", "make", "s3://photos", "--created-after", "yesterday")
	check(exitUsage, "--storage-class COLD: want one of STANDARD", "make", "s3://photos", "--storage-class", "COLD")
	check(exitUsage, "--encryption none: want one of SSE-S3", "make", "s3://photos", "--encryption", "none")
	check(exitUsage, "--kms-key goes with", "make", "s3://photos", "--encryption", "SSE-S3", "--kms-key", "arn")
	check(exitUsage, "--replication-status PENDING", "make", "s3://photos", "--replication-status", "PENDING")
	check(exitNotFound, "no such file", "count", "@none.csv")
	check(exitNotFound, "no such file", "convert", "@four.csv", "--fields", "Bucket,Key,Ignore,Ignore", "--out", "@no/such/folder.csv")
	check(exitNotFound, "no such file", "make", "s3://photos", "--out", "@no/such/folder.csv")
}

// TestManifestFiles has every command work on files of this machine.
func TestManifestFiles(t *testing.T) {
	t.Parallel()
	manifest := inFolder(t, nil, map[string]string{
		"good.csv":   "src,a%20b\nsrc,c\n\nsrc,d+e\n",
		"header.csv": "\ufeffKey,Bucket\r\na b,src\r\nc,src\r\n",
		"report.csv": "src,a,v1,failed,AccessDenied,403,no\nsrc,b,,failed,NoSuchKey,404,none\n",
		"failed.csv": "src,a,,failed,403,AccessDenied,no\nsrc,b,,failed,404,NoSuchKey,none\n",
		"bad.csv":    "src,a\nsrc\nsrc,c\n",
		"empty.csv":  "",
		"late.csv":   strings.Repeat("src,k,\n", 20_000) + "src,k,OLD\n",
	})
	check := func(code int, stdout, stderr string, args ...string) {
		t.Helper()
		got := manifest("src,x\nsrc,y\n", args...)
		if diff := cmp.Diff(ran{code, stdout, stderr}, got, cmp.AllowUnexported(ran{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", args, diff)
		}
	}
	const (
		lenient = "note: columns Key,Bucket, guessed from the header row; if that is wrong: --fields\n" +
			"note: byte order mark skipped, header row skipped, 1 key with unencoded spaces; a job does so only with the tag stevedore:manifest=lenient\n"
		report = "note: columns Bucket,Key,VersionId,Ignore,Ignore,Ignore,Ignore, guessed from the number of columns; if that is wrong: --fields\n"
	)
	check(0, "3\n", "", "count", "@good.csv")
	check(0, "2\n", "", "count", "-")
	check(0, "2\n", lenient, "count", "@header.csv")
	check(0, "0\n", "", "count", "@empty.csv")
	check(0, "3\n", "", "count", "@good.csv", "--fields", "bucket,key")
	check(exitInvalid, "", "error: count @bad.csv\n  why   Manifest file is not properly formatted: line 2: got 1 columns, want 2\n", "count", "@bad.csv")
	check(0, "src,a%20b\nsrc,c\n", "", "head", "@good.csv", "-n", "2")
	check(0, "src,x\n", "", "head", "-", "-n", "1")
	check(exitInvalid, "src,a\n", "error: read @bad.csv\n  why   Manifest file is not properly formatted: line 2: got 1 columns, want 2\n", "head", "@bad.csv")
	check(0, `{"Bucket":"src","Key":"a","VersionId":"v1"}`+"\n"+`{"Bucket":"src","Key":"b"}`+"\n", report, "head", "@report.csv", "-o", "json")
	check(exitNothing, "", "error: @empty.csv has no rows: nothing was written\n", "convert", "@empty.csv", "--out", "@never.csv")
	check(exitNotFound, "", "error: read @never.csv\n  why   stat @never.csv: no such file or directory\n", "count", "@never.csv")

	const failed = "note: columns Bucket,Key,Ignore,Ignore,Ignore,Ignore,Ignore, guessed from the number of columns, the third being empty in the first 2 rows; " +
		"if that is wrong: --fields\n"
	check(0, "src,a\nsrc,b\n", failed, "head", "@failed.csv") // as job retry has it
	check(0, "src,a,\nsrc,b,\n", "", "head", "@failed.csv", "--fields", "Bucket,Key,VersionId,Ignore,Ignore,Ignore,Ignore")

	// A guess that turns out to be wrong drops no version id.
	const late = "error: read @late.csv: line 20001 has something in the third column, which is empty in the first rows\n" +
		"  try   --fields Bucket,Key,VersionId if those are version ids, else --fields Bucket,Key,Ignore\n"
	if got := manifest("", "convert", "@late.csv", "--out", "@never.csv"); got.code != exitUsage || !strings.HasSuffix(got.stderr, late) {
		t.Errorf("got %+v, want %s", got, late)
	}
	check(exitNotFound, "", "error: read @never.csv\n  why   stat @never.csv: no such file or directory\n", "count", "@never.csv")
	if got := manifest("src,a,,,,,\nsrc,b,v,,,,\n", "head", "-"); got.code != 0 || got.stdout != "src,a,\nsrc,b,v\n" {
		t.Errorf("got %+v, want version ids", got)
	}
	seven := strings.Repeat("src,k,,,,,\n", 20_000) + "src,k,OLD,,,,\n"
	if got := manifest(seven, "convert", "-"); !strings.Contains(got.stderr, "--fields Bucket,Key,VersionId,Ignore,Ignore,Ignore,Ignore if") {
		t.Errorf("got %s", got.stderr)
	}
	if got := manifest("", "validate", "@late.csv"); got.code != 0 ||
		!strings.HasPrefix(got.stdout, "warning  line 20001: 1 row with something in the third column, ") ||
		!strings.HasSuffix(got.stdout, "ok       20,001 sound rows, columns Bucket,Key,Ignore\n") {
		t.Errorf("got %+v, want a warning of line 20001", got)
	}
	if got := manifest("", "convert", "@late.csv", "--fields", "Bucket,Key,VersionId"); !strings.HasSuffix(got.stdout, "\nsrc,k,\nsrc,k,OLD\n") {
		t.Errorf("got %.200v", got)
	}

	// From form to form the rows stay what they are.
	convert := func(from, to, format string) {
		t.Helper()
		if got := manifest("", "convert", from, "--to", format, "--out", to, "--null-versions"); got.code != 0 || !strings.Contains(got.stdout, "2 rows, in ") {
			t.Errorf("%s to %s: got %+v", from, format, got)
		}
	}
	convert("@report.csv", "@clean.csv", "csv")
	convert("@clean.csv", "@clean.csv.gz", "csv.gz")
	convert("@clean.csv.gz", "@inventory", "inventory")
	convert("@inventory", "@rows.parquet", "parquet")
	convert("@rows.parquet", "@again.csv", "csv")
	check(0, "src,a,v1\nsrc,b,null\n", "note: columns Bucket,Key,VersionId, guessed from the number of columns; if that is wrong: --fields\n", "head", "@again.csv")
	check(0, "2\n", "", "count", "@inventory/manifest.json")
	check(exitInvalid, "error    no job takes a file of Parquet alone, but only the manifest.json of an inventory that has it\nbad      2 sound rows\n",
		"error: a job on @rows.parquet would fail\n  try   stevedore manifest convert @rows.parquet --to inventory --out s3://bucket/prefix\n", "validate", "@rows.parquet")
	for _, command := range []string{"validate", "count"} {
		if got := manifest("", command, "@rows.parquet", "-o", "json"); !strings.Contains(got.stdout, `"Format": "Parquet"`) || strings.Contains(got.stdout, `"Valid": true`) {
			t.Errorf("%s: got %+v", command, got)
		}
	}
	check(exitFailed, "", "error: @inventory/manifest.json is there: nothing was written\n"+
		"  why   a new inventory would take its place and leave its data files behind\n"+
		"  try   another folder, or to remove that inventory first\n", "convert", "@good.csv", "--to", "inventory", "--out", "@inventory")
	check(0, "2\n", "", "count", "@inventory")

	got := manifest("", "convert", "@header.csv", "--out", "@strict.csv")
	const want = "ETag      c9a1d34626f8cad57cc365e4236ad999\n" +
		`--manifest '{"Spec":{"Format":"S3BatchOperations_CSV_20180820","Fields":["Bucket","Key"]},` +
		`"Location":{"ObjectArn":"arn:aws:s3:::BUCKET/strict.csv","ETag":"c9a1d34626f8cad57cc365e4236ad999"}}'` + "\n"
	if !strings.Contains(got.stdout, want) {
		t.Errorf("got\n%s\nwant\n%s", got.stdout, want)
	}
	check(0, "ok       2 sound rows, columns Bucket,Key\n", "", "validate", "@strict.csv")
}

func TestManifestValidate(t *testing.T) {
	t.Parallel()
	manifest := inFolder(t, nil, map[string]string{
		"bad.csv":       "Bucket,Key\nsrc,a b\nsrc,c\nsrc\nsrc,c\nsrc,d+e",
		"odd.csv":       "Bucket,Key\nsrc,a b\n",
		"manifest.json": `{"destinationBucket": "arn:aws:s3:::inv", "fileFormat": "CSV", "fileSchema": "Key", "files": []}`,
	})
	got := manifest("", "validate", "@bad.csv", "--dupes")
	const (
		want = `error    Manifest file is not properly formatted: line 1: the row names the columns; remove it, or tag the job stevedore:manifest=lenient
error    Invalid object key format: line 2: "a b" has a space that is not encoded; write %20, or tag the job stevedore:manifest=lenient
error    Manifest file is not properly formatted: line 4: got 1 columns, want 2
warning  line 6: 1 row with a + in the key, which stands for a space; write %2B for a plus
warning  1 row the same as one before: each makes a task of its own
warning  line 5: 1 row the same as line 3: src/c
bad      3 sound rows, columns Bucket,Key
`
		problem = "error: a job on @bad.csv would fail\n"
	)
	if diff := cmp.Diff(want, got.stdout); diff != "" || got.code != exitInvalid || !strings.HasSuffix(got.stderr, problem) {
		t.Errorf("exit code %d, %s (-want +got):\n%s", got.code, got.stderr, diff)
	}

	// A cure is named if it is one, for all that is wrong.
	const cure = "error: a job on @odd.csv would fail\n" +
		"  try   stevedore manifest convert @odd.csv --out clean.csv, which takes away what --lenient puts up with\n"
	if got = manifest("", "validate", "@odd.csv"); got.code != exitInvalid || !strings.HasSuffix(got.stderr, cure) {
		t.Errorf("got %+v, want %s", got, cure)
	}

	got = manifest("", "validate", "@bad.csv", "--lenient", "--problems", "1", "-o", "json")
	var v validated
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || got.code != exitInvalid {
		t.Fatalf("got %+v, %v", got, err)
	}
	problems := []check.Problem{{Line: 4, Text: "Manifest file is not properly formatted: line 4: got 1 columns, want 2"}}
	if diff := cmp.Diff(problems, v.Problems); diff != "" || v.Valid || !v.Unread || v.Rows != 2 || v.Format != job.ManifestCSV {
		t.Errorf("got %+v (-want +got):\n%s", v, diff)
	}

	got = manifest("", "validate", "@manifest.json")
	if got.code != exitInvalid || !strings.HasPrefix(got.stdout, "error    Required fields are missing in the schema: Bucket\n") {
		t.Errorf("got %+v", got)
	}
	if got = manifest("src,a\n", "validate", "-"); got.code != 0 || got.stdout != "ok       1 sound row, columns Bucket,Key\n" {
		t.Errorf("got %+v", got)
	}
}

// TestManifestSays has what is told of lists as it is needed for the next step, and no more.
func TestManifestSays(t *testing.T) {
	t.Parallel()
	manifest := inFolder(t, nil, map[string]string{
		"plus.csv":  "src,d+e\nsrc,f\n",
		"twice.csv": strings.Repeat("src,a\n", 5),
		"one.csv":   "src,a\n",
	})
	check := func(code int, stdout, stderr string, args ...string) {
		t.Helper()
		got := manifest("", args...)
		if diff := cmp.Diff(ran{code, stdout, stderr}, got, cmp.AllowUnexported(ran{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", args, diff)
		}
	}
	const (
		usage = "\n  try   stevedore manifest convert --help\n"
		plus  = "note: 1 row with a + in the key, which stands for a space; write %2B for a plus\n"
	)
	// In an inventory a + is what stands there for a space.
	got := manifest("", "convert", "@plus.csv", "--to", "inventory", "--out", "@inv")
	if got.code != 0 || got.stderr != plus {
		t.Errorf("got %+v, want %s", got, plus)
	}
	check(0, "ok       2 sound rows\n", "", "validate", "@inv")
	if got = manifest("", "convert", "@inv", "--out", "@csv"); got.code != 0 || got.stderr != "" {
		t.Errorf("got %+v, want no note", got)
	}
	check(exitUsage, "", "error: --fields is for CSV; @inv is S3InventoryReport_CSV_20161130, and tells its columns itself"+usage, "convert", "@inv", "--fields", "Bucket,Key")
	check(exitUsage, "", "error: @one.csv cannot be read and written at once"+usage, "convert", "@one.csv", "--out", "@inv/../one.csv")

	check(0, "warning  4 rows the same as one before: each makes a task of its own; the first 2 are\n"+
		"warning  line 2: 1 row the same as line 1: src/a\nwarning  line 3: 1 row the same as line 1: src/a\n"+
		"ok       5 sound rows, columns Bucket,Key\n", "", "validate", "@twice.csv", "--dupes", "--problems", "2")

	var m made
	got = manifest("", "convert", "@one.csv", "-o", "json")
	if err := json.Unmarshal([]byte(got.stderr), &m); err != nil || m.Rows != 1 || m.Tags != nil || got.stdout != "src,a\n" {
		t.Errorf("got %+v, %v", got, err)
	}
	got = manifest("", "convert", "@one.csv", "--to", "csv.gz", "--out", "@one.csv.gz", "-o", "json")
	lenient := []job.Tag{{Key: job.TagManifest, Value: "lenient"}}
	if err := json.Unmarshal([]byte(got.stdout), &m); err != nil || !slices.Equal(m.Tags, lenient) {
		t.Errorf("got %+v, %v, want the tag", got, err)
	}
	if got = manifest("", "convert", "@one.csv", "--out", "@one"); !strings.HasPrefix(got.stdout, "1 row, in ") {
		t.Errorf("got %+v", got)
	}
}

// TestManifestStore makes lists of a bucket, in a store, and looks at them there.
func TestManifestStore(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "key", Secret: "secret"})
	s3.CreateBucket("lists")
	s3.Put("src", "a b", "12345")
	s3.Put("src", "dir/c.txt", "1")
	s3.Put("src", "dir/d.log", "123")
	manifest := inFolder(t, []string{"AWS_ENDPOINT_URL_S3=" + s3.URL(), "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret"}, nil)
	check := func(code int, stdout, says string, args ...string) {
		t.Helper()
		got := manifest("", args...)
		if got.code != code || got.stdout != stdout || !strings.Contains(got.stderr, says) {
			t.Errorf("%q: got %d and\n%s%s\nwant %d and\n%s%s", args, got.code, got.stdout, got.stderr, code, stdout, says)
		}
	}
	check(0, "src,a%20b\nsrc,dir/c.txt\nsrc,dir/d.log\n", "3 rows, objects of 9 B, in ", "make", "s3://src")
	check(0, "src,dir/c.txt\nsrc,dir/d.log\n", "", "make", "s3://src/dir/")
	check(0, "src,dir/d.log\n", "", "make", "s3://src", "--match-prefix", "d", "--match-suffix", "g", "--match-substring", "/d")
	check(0, "src,dir/d.log\n", "", "make", "s3://src", "--size-gt", "1", "--size-lt", "5B", "--storage-class", "standard")
	check(0, "src,a%20b\n", "", "make", "s3://src", "--size-gt", "4", "--created-after", "2020-01-01", "--encryption", "not-sse", "--replication-status", "none")
	check(exitNothing, "", "no object of s3://src matches", "make", "s3://src", "--created-before", "2020-01-01T00:00:00Z", "--out", "s3://lists/none.csv")
	check(exitNotFound, "", "NoSuchBucket", "make", "s3://none")
	check(exitNotFound, "", "404", "count", "s3://lists/none.csv")
	check(exitNotFound, "", "there is no key none.csv in the bucket lists", "count", "s3://lists/none.csv")
	check(exitNotFound, "", "there is no bucket none\n", "make", "s3://none")
	check(exitNotFound, "", "NoSuchBucket", "make", "s3://src", "--out", "s3://none/list.csv")

	// What is printed is what a job takes.
	got := manifest("", "make", "s3://src", "--out", "s3://lists/all.csv", "-o", "json")
	var m made
	if err := json.Unmarshal([]byte(got.stdout), &m); err != nil || got.code != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	object, _ := s3.Object("lists", "all.csv")
	want := &job.Manifest{
		Spec:     &job.ManifestSpec{Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey}},
		Location: &job.ManifestLocation{ObjectArn: "arn:aws:s3:::lists/all.csv", ETag: object.ETag},
	}
	if diff := cmp.Diff(want, m.Manifest); diff != "" || m.Rows != 3 || *m.ObjectBytes != 9 || m.Bytes != int64(len(object.Body)) || object.ContentType != "text/csv" {
		t.Errorf("got %+v of %s (-want +got):\n%s", m, object.ContentType, diff)
	}
	check(0, "3\n", "", "count", "s3://lists/all.csv")
	check(0, "ok       3 sound rows, columns Bucket,Key, 3 objects looked at\n", "", "validate", "s3://lists/all.csv", "--check", "5")

	got = manifest("", "make", "s3://src", "--to", "inventory", "--out", "s3://lists/inv", "-o", "json")
	if m = (made{}); json.Unmarshal([]byte(got.stdout), &m) != nil || m.Manifest == nil || m.Manifest.Spec.Format != job.ManifestInventory ||
		m.Manifest.Location.ObjectArn != "arn:aws:s3:::lists/inv/manifest.json" {
		t.Errorf("got %+v", got)
	}
	check(exitFailed, "", "s3://lists/inv/manifest.json is there: nothing was written", "make", "s3://src/dir/", "--to", "inventory", "--out", "s3://lists/inv/")
	check(0, "3\n", "", "count", "s3://lists/inv/")
	check(0, "3\n", "", "count", "s3://lists/inv")
	check(0, "3\n", "", "count", "s3://lists/inv/manifest.json")
	for _, key := range s3.Keys("lists") {
		if strings.Contains(key, "spool") {
			t.Errorf("there is %s", key)
		}
	}
	if got = manifest("", "convert", "s3://lists/inv/", "--to", "csv.gz", "--out", "@local.csv.gz"); got.code != 0 {
		t.Errorf("got %+v", got)
	}
	check(0, "3\n", "gzip decompressed", "count", "@local.csv.gz")
}

// TestManifestNotFound says what is wanted where a list is not.
func TestManifestNotFound(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("lists")
	s3.Put("lists", "r/manifest.json", `{"Format": "Report_CSV_20180820", "Results": []}`)
	manifest := inFolder(t, []string{"AWS_ENDPOINT_URL_S3=" + s3.URL()}, nil)
	check := func(code int, list string, says ...string) {
		t.Helper()
		got := manifest("", "count", list)
		for _, text := range says {
			if got.code != code || !strings.Contains(got.stderr, text) {
				t.Errorf("%s: got %+v, want exit code %d and %q", list, got, code, text)
			}
		}
	}
	check(exitNotFound, "@", "@ is read as the folder of an inventory, by its manifest.json: ")
	check(exitNotFound, "s3://lists", "s3://lists/ is read as the folder of an inventory, by its manifest.json: ", "there is no key manifest.json in the bucket lists")
	check(exitNotFound, "s3://lists/f/", "there is no key f/manifest.json in the bucket lists")
	check(exitNotFound, "s3://none/m.csv", "there is no bucket none\n")
	check(exitInvalid, "s3://lists/r", "it is the index of a completion report; a list is each of the files that it names")

	// What HEAD cannot say, GET does.
	s3.Fault(objectstoretest.Match{Op: "HeadObject", Key: objectstoretest.Key("region")}, objectstoretest.Status(400, ""))
	s3.Fault(objectstoretest.Match{Op: "GetObject", Key: objectstoretest.Key("region")}, objectstoretest.Status(400, "AuthorizationHeaderMalformed"))
	check(exitDenied, "s3://lists/region", "GetObject lists/region: 400 AuthorizationHeaderMalformed", "try   --region")
	s3.Fault(objectstoretest.Match{Op: "GetObject", Key: objectstoretest.Key("unknown")}, objectstoretest.Status(404, "XAdminUserNotFound"))
	check(exitDenied, "s3://lists/unknown", "GetObject lists/unknown: 404 XAdminUserNotFound", "credentials that may do this")
	s3.Put("lists", "blind", "src,a\n")
	s3.Fault(objectstoretest.Match{Op: "HeadObject", Key: objectstoretest.Key("blind")}, objectstoretest.Status(403, "AccessDenied"))
	check(exitDenied, "s3://lists/blind", "HeadObject lists/blind: 403")
}

// TestManifestProgress is shown on a terminal, unless it is not wanted, and nowhere else.
func TestManifestProgress(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.Put("src", "a", "1")
	folder := t.TempDir()
	list := filepath.Join(folder, "list.csv")
	if err := os.WriteFile(list, bytes.Repeat([]byte("src,a\n"), 1<<17), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(terminal, quiet bool, do func(d *desk) error, want string) {
		t.Helper()
		var stderr bytes.Buffer
		w := world{stdout: io.Discard, stderr: &stderr, environ: []string{"AWS_ENDPOINT_URL_S3=" + s3.URL()}}
		err := (&manifestCommands{w: w, output: "table", quiet: quiet}).with(func(d *desk) error {
			if terminal {
				d.meter.width = func() int { return 100 }
			}
			return do(d)
		})
		first, _, _ := strings.Cut(strings.TrimPrefix(stderr.String(), "\r\x1b[K"), "\r")
		gone := strings.HasSuffix(stderr.String(), "\r\x1b[K")
		if err != nil || !strings.HasPrefix(first, want) || (first == "") != (want == "") || gone != (want != "") {
			t.Errorf("got %q, %v, want %q and that it is taken away", &stderr, err, want)
		}
	}
	out := outFlags{to: "csv", out: filepath.Join(folder, "out.csv")}
	convert := func(d *desk) error { return d.convert(t.Context(), list, fieldsFlag{}, out, false) }
	check(true, false, convert, "write      4,096 rows   -/s")
	check(true, true, convert, "")
	check(false, false, convert, "")
	check(true, false, func(d *desk) error { return d.make(t.Context(), "s3://src", filterFlags{}, out, false) }, "list       1 keys   -/s")
	check(true, false, func(d *desk) error { return d.count(t.Context(), list, fieldsFlag{}) },
		"count      ") // how many rows come first depends on the machine
	check(true, false, func(d *desk) error { return d.validate(t.Context(), list, validateFlags{}) },
		"validate   "+strings.Repeat("#", 20)+strings.Repeat("-", 20)+"   50.0%   65,536 / 131,072   -/s   ETA -")
}

// TestManifestInterrupted stops at once, also where nothing is waited for.
func TestManifestInterrupted(t *testing.T) {
	t.Parallel()
	spool, err := generate.OpenSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	const all = 10_000
	list, err := spool.Put(t.Context(), "list.csv", bytes.Repeat([]byte("src,a\n"), all), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	src, err := source.Locate(ctx, spool, source.Spec{Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey}, Object: list})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	err = (&desk{}).each(ctx, "list", src, func(*manifest.Row) (bool, error) {
		cancel()
		rows++
		return true, nil
	})
	if !errors.Is(err, context.Canceled) || rows == all {
		t.Errorf("got %d rows and %v, want that it stops", rows, err)
	}

	folder := t.TempDir()
	got := invoke(ctx, "src,a\n", nil, "manifest", "convert", "-", "--out", filepath.Join(folder, "list.csv"))
	left, err := os.ReadDir(folder)
	if got.code != exitInterrupted || got.stderr != "error: interrupted\n" || err != nil || len(left) > 0 {
		t.Errorf("got %+v; left are %v, %v", got, left, err)
	}
}

// TestManifestHead: who reads only the first rows, as head does, leaves no temporary files behind.
func TestManifestHead(t *testing.T) {
	t.Parallel()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	folder := t.TempDir()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], "manifest", "convert", "-")
	cmd.Env = append(os.Environ(), roleVariable+"="+roleProgram, "TMPDIR="+folder)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(strings.Repeat("src,key\n", 1<<17)), in, &stderr // more than a pipe holds
	if err := errors.Join(cmd.Start(), in.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 8)); err != nil || out.Close() != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its state is looked at
	left, err := os.ReadDir(folder)
	if code := cmd.ProcessState.ExitCode(); code != exitPipe || stderr.Len() > 0 || err != nil || len(left) > 0 {
		t.Errorf("got the exit code %d and %q, want %d; left are %v, %v", code, &stderr, exitPipe, left, err)
	}
}

// TestManifestPipes reads what can be read only once, and does not wait for it when nobody wants it any more.
func TestManifestPipes(t *testing.T) {
	t.Parallel()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer in.Close()
	pipe := fmt.Sprintf("/dev/fd/%d", out.Fd())
	if _, err := os.Stat(pipe); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	idle := make(chan ran, 1)
	go func() { idle <- invoke(ctx, "", nil, "manifest", "count", pipe) }()
	cancel(context.Canceled)
	if got := <-idle; got.code != exitInterrupted || got.stdout != "" || got.stderr != "error: interrupted\n" {
		t.Errorf("got %+v, want that it is interrupted", got)
	}

	out, in, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := in.WriteString("src,a\nsrc,b\n"); err != nil {
		t.Fatal(err)
	}
	in.Close()
	got := invoke(t.Context(), "", nil, "manifest", "count", fmt.Sprintf("/dev/fd/%d", out.Fd()))
	if want := (ran{0, "2\n", ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestManifestVersions lists the current versions of a bucket, or all.
func TestManifestVersions(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("src")
	s3.Put("src", "a", "1")
	s3.SetVersioning("src", "Enabled")
	old := s3.Put("src", "a", "22")
	current := s3.Put("src", "a", "333")
	manifest := inFolder(t, []string{"AWS_ENDPOINT_URL_S3=" + s3.URL()}, nil)
	got := manifest("", "make", "s3://src")
	if want := "src,a," + current.VersionID + "\n"; got.stdout != want || got.code != 0 {
		t.Errorf("got %+v, want %s", got, want)
	}
	got = manifest("", "make", "s3://src", "--versions")
	rows := strings.Split(strings.TrimSpace(got.stdout), "\n")
	slices.Sort(rows)
	want := []string{"src,a," + current.VersionID, "src,a," + old.VersionID, "src,a,null"}
	slices.Sort(want)
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestManifestUnclear reads keys of which nobody can say whether they are encoded.
func TestManifestUnclear(t *testing.T) {
	t.Parallel()
	manifest := inFolder(t, nil, map[string]string{
		"raw.csv":     "src,a b\nsrc,c+d\nsrc,100%25\n",
		"encoded.csv": "src,a%20b\nsrc,c+d\n",
	})
	const unclear = `Invalid object key format: of the keys, 1 have unencoded spaces and 1 have a "+", which means a space where keys are encoded`
	for _, args := range [][]string{{"convert", "@raw.csv", "--out", "@never.csv"}, {"count", "@raw.csv"}, {"validate", "@raw.csv", "--lenient"}} {
		if got := manifest("", args...); got.code != exitInvalid || !strings.Contains(got.stdout+got.stderr, unclear) {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	if got := manifest("", "count", "@never.csv"); got.code != exitNotFound {
		t.Errorf("a list was left: %+v", got)
	}
	if got := manifest("", "convert", "@raw.csv", "--raw-keys"); got.code != 0 || got.stdout != "src,a%20b\nsrc,c%2Bd\nsrc,100%2525\n" {
		t.Errorf("got %+v", got)
	}
	if got := manifest("", "convert", "@encoded.csv"); got.code != 0 || got.stdout != "src,a%20b\nsrc,c%20d\n" {
		t.Errorf("got %+v", got)
	}
}
