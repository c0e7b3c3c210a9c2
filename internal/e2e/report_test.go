package e2e

import (
	"bytes"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

// report reads a completion report, checks that it is whole - every MD5, nothing
// left over - and returns its rows.
func (o *objects) report(t *testing.T, bucket, prefix, id string) [][]string {
	t.Helper()
	root := prefix + "/job-" + id + "/"
	index := o.get(t, bucket, root+"manifest.json")
	if got, want := string(o.get(t, bucket, root+"manifest.json.md5")), sum(index)+"\n"; got != want {
		t.Errorf("manifest.json.md5: got %q, want %q", got, want)
	}
	if !bytes.Equal(o.get(t, bucket, root+"report.json"), index) {
		t.Error("report.json differs from manifest.json")
	}
	var m struct {
		Results []struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
	}
	if err := json.Unmarshal(index, &m); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{root + "manifest.json": true, root + "manifest.json.md5": true, root + "report.json": true}
	var rows [][]string
	for _, r := range m.Results {
		known[r.Key] = true
		body := o.get(t, r.Bucket, r.Key)
		if got := sum(body); got != r.MD5Checksum {
			t.Errorf("%s: got MD5 %s, want %s", r.Key, got, r.MD5Checksum)
		}
		part, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range part {
			if len(row) != 7 || row[3] != r.TaskExecutionStatus {
				t.Errorf("%s: unexpected row %q", r.Key, row)
			}
		}
		rows = append(rows, part...)
	}
	for _, k := range o.keys(t, bucket, root) {
		if !known[k] {
			t.Errorf("left behind: %s", k)
		}
	}
	return rows
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// exactlyOnce checks that the report has one row for each seeded object.
func exactlyOnce(t *testing.T, rows [][]string, n int, status string) {
	t.Helper()
	seen := map[string]int{}
	for _, row := range rows {
		seen[row[1]]++
		if row[3] != status {
			t.Errorf("row %q: want %s", strings.Join(row, ","), status)
		}
	}
	for i := range n {
		if seen[key(i)] != 1 {
			t.Errorf("%s is in the report %d times", key(i), seen[key(i)])
		}
	}
	if len(seen) != n || len(rows) != n {
		t.Errorf("the report has %d rows of %d keys, want %d", len(rows), len(seen), n)
	}
}
