package e2e

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/google/go-cmp/cmp"
)

// TestManifestTools makes lists of a bucket, turns them into each other, and runs jobs over what comes out.
func TestManifestTools(t *testing.T) {
	t.Parallel()
	const tasks = 50
	d := startDev(t, tasks)
	c := control(d.host())
	dir := t.TempDir()
	keys := oddKeys()
	for _, k := range keys {
		d.put(t, "demo", k, []byte(k))
	}
	raw, err := os.Create(filepath.Join(dir, "raw.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	lines := csv.NewWriter(raw)
	for i := range tasks {
		keys = append(keys, key(i))
	}
	slices.Sort(keys)
	oneLine := 0
	for _, k := range keys {
		if !strings.Contains(k, "\n") { // a row has one line
			oneLine++
			if err := lines.Write([]string{"demo", k}); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines.Flush()

	do := func(args ...string) string {
		t.Helper()
		got := d.stevedore(t, append([]string{"manifest"}, args...)...)
		if got.code != 0 {
			t.Fatalf("%q: %+v", args, got)
		}
		return got.stdout
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	// runs has a command write a list to a bucket, and a job tag what is in it, by what the command says of it.
	runs := func(value string, want []string, args ...string) {
		t.Helper()
		var made struct{ Manifest types.JobManifest }
		if err := json.Unmarshal([]byte(do(append(args, "-o", "json")...)), &made); err != nil {
			t.Fatal(err)
		}
		in := tagJob("", "by", value)
		in.Manifest = &made.Manifest
		_, rows := d.completed(t, c, in, len(want))
		if diff := cmp.Diff(want, keysOf(t, rows, "succeeded")); diff != "" {
			t.Errorf("%s: %s", value, diff)
		}
		for _, k := range want {
			if got := d.tagOf(t, "demo", k, "by"); got != value {
				t.Errorf("%q is tagged %q, want %q", k, got, value)
			}
		}
	}
	runs("made", keys, "make", "s3://demo", "--out", "s3://manifests/tools/made.csv")
	runs("inventory", keys, "make", "s3://demo", "--to", "inventory", "--out", "s3://manifests/tools/inventory")
	do("convert", "s3://manifests/tools/inventory", "--to", "parquet", "--out", at("list.parquet"))
	do("convert", at("list.parquet"), "--to", "csv.gz", "--out", at("list.csv.gz"))
	runs("again", keys, "convert", at("list.csv.gz"), "--to", "inventory", "--out", "s3://manifests/tools/again")
	runs("raw", slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return strings.Contains(k, "\n") }),
		"convert", at("raw.csv"), "--raw-keys", "--out", "s3://manifests/tools/raw.csv")
	for list, n := range map[string]int{"s3://manifests/tools/made.csv": len(keys), at("list.parquet"): len(keys), "s3://manifests/tools/raw.csv": oneLine} {
		if got := do("count", list); got != strconv.Itoa(n)+"\n" {
			t.Errorf("%s has %q rows, want %d", list, got, n)
		}
	}
	if got := do("validate", "s3://manifests/tools/again", "--dupes", "--check", "1000"); !strings.HasPrefix(got, "ok ") {
		t.Errorf("got %s", got)
	}

	// What is not there is found before there is a job.
	d.put(t, "manifests", "gone.csv", append(manifestOf("demo", key(0)), "demo,gone\ndemo,"+key(0)+"\n"...))
	got := d.stevedore(t, "manifest", "validate", "s3://manifests/gone.csv", "--dupes", "--check", "10")
	contains(t, "validate", got.stdout, "1 row of 3 sampled whose object answers HEAD with 404", "1 row the same as one before")
}
