package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"stevedore/internal/lambda/lambdatest"
)

// functionJob is a job that has a function called for the rows of a manifest.
func (d *devServer) functionJob(t *testing.T, c *s3control.Client, function string, args map[string]string, fields []types.JobManifestFieldName, rows ...string) string {
	t.Helper()
	key := "functions/" + strconv.Itoa(len(d.keys(t, "manifests", ""))) + ".csv"
	etag := d.put(t, "manifests", key, []byte(strings.Join(rows, "\n")))
	in := tagJob(etag, "", "")
	in.Manifest.Spec.Fields = fields
	in.Manifest.Location.ObjectArn = aws.String("arn:aws:s3:::manifests/" + key)
	version := "1.0"
	if args != nil {
		version = "2.0"
	}
	in.Operation = &types.JobOperation{LambdaInvoke: &types.LambdaInvokeOperation{
		FunctionArn: aws.String("arn:aws:lambda:us-east-1:" + account + ":function:" + function), InvocationSchemaVersion: &version, UserArguments: args,
	}}
	out, err := c.CreateJob(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.JobId)
}

// rowsOf waits for the end of a job and returns status, code and message of the
// report's rows by key.
func (d *devServer) rowsOf(t *testing.T, c *s3control.Client, id string) map[string]string {
	t.Helper()
	until(t, c, id, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusComplete })
	rows := map[string]string{}
	for _, row := range d.report(t, "reports", "r", id) {
		key := row[1]
		if row[2] != "" {
			key += "?" + row[2]
		}
		rows[key] = strings.Join(row[3:], ",")
	}
	return rows
}

// TestLocalFunction has a dev server run a function of ours.
func TestLocalFunction(t *testing.T) {
	t.Parallel()
	program, err := lambdatest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := startDev(t, 1, "--function", "mine="+program)
	c := control(d.host())
	if out := d.printed(t); !strings.Contains(out, "arn:aws:lambda:us-east-1:"+account+":function:mine   runs "+program) {
		t.Errorf("the block does not tell of the function:\n%s", out)
	}
	id := d.functionJob(t, c, "mine:$LATEST", map[string]string{"k": "v"}, []types.JobManifestFieldName{"Bucket", "Key"},
		"demo,hello%20there", "demo,permanent%3Ano%20luck", "demo,error%3Aboom", "demo,exit%3A4", "demo,raw%3Anothing", "demo,missing%3ASucceeded")
	rows := d.rowsOf(t, c, id)
	if got := rows["exit%3A4"]; !strings.HasPrefix(got, `failed,200,PermanentFailure,Lambda returned function error: {"errorType":"Runtime.ExitError"`) {
		t.Errorf("got %s", got)
	}
	delete(rows, "exit%3A4")
	want := map[string]string{
		"hello%20there":         "succeeded,200,,hello there",
		"permanent%3Ano%20luck": "failed,200,PermanentFailure,no luck",
		"error%3Aboom":          `failed,200,PermanentFailure,Lambda returned function error: {"errorMessage":"boom","errorType":"errorString"}`,
		"raw%3Anothing":         "failed,200,PermanentFailure,Invalid JSON returned in Lambda payload",
		"missing%3ASucceeded":   "succeeded,200,,",
	}
	if !maps.Equal(rows, want) {
		t.Errorf("got %v, want %v", rows, want)
	}

	id = d.functionJob(t, c, "nobodys", nil, []types.JobManifestFieldName{"Bucket", "Key"}, "demo,k")
	j := until(t, c, id, ended)
	if r := j.FailureReasons; j.Status != types.JobStatusFailed || len(r) != 1 || aws.ToString(r[0].FailureCode) != "ResourceNotFoundException" {
		t.Errorf("got %s, %+v", j.Status, r)
	}

	// The processes of the function end with a server that is killed.
	pids := children(t, d.cmd.Process.Pid, program)
	if len(pids) == 0 {
		t.Error("there is no process of the function")
	}
	d.kill()
	for _, pid := range pids {
		awaitGone(t, pid)
	}
}

// children lists the processes of parent that run program.
func children(t *testing.T, parent int, program string) (pids []int) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		stat, err := os.ReadFile(entry + "/stat")
		exe, _ := os.Readlink(entry + "/exe")
		if err != nil || exe != program {
			continue
		}
		if fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(entry))
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestBuiltinFunctions has a bucket that keeps versions looked at, tagged and emptied.
func TestBuiltinFunctions(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1)
	c := control(d.host())
	d.buckets(t, "kept")
	if _, err := d.sdk.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String("kept"), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	keys := []string{"a b+c%é", "x&<y>", `quote"s`}
	for i := range 1100 {
		keys = append(keys, fmt.Sprintf("many/%04d", i))
	}
	for _, generation := range []string{"old", "new"} {
		for _, key := range keys {
			d.put(t, "kept", key, []byte(generation))
		}
	}
	versions := d.versions(t, "kept")
	if len(versions) != 2*len(keys) {
		t.Fatalf("got %d versions, want %d", len(versions), 2*len(keys))
	}
	var old, current []string // rows
	for _, v := range versions {
		row := "kept," + inManifest(aws.ToString(v.Key)) + "," + aws.ToString(v.VersionId)
		if aws.ToBool(v.IsLatest) {
			current = append(current, row)
		} else {
			old = append(old, row)
		}
	}
	fields := []types.JobManifestFieldName{"Bucket", "Key", "VersionId"}

	// Nothing goes without the confirmation.
	j := until(t, c, d.functionJob(t, c, "stevedore-delete-object", map[string]string{"confirm": "yes"}, fields, old...), ended)
	if r := j.FailureReasons; j.Status != types.JobStatusFailed || len(r) != 1 || !strings.Contains(aws.ToString(r[0].FailureReason), `"confirm":"permanently delete"`) {
		t.Errorf("got %s, %+v", j.Status, r)
	}
	if n := len(d.versions(t, "kept")); n != 2*len(keys) {
		t.Fatalf("%d versions are left of a job that was refused", n)
	}

	rows := d.rowsOf(t, c, d.functionJob(t, c, "stevedore-head-object", nil, fields, old[:3]...))
	for key, row := range rows {
		var head struct {
			Size            int64
			ETag, VersionID string
		}
		status, text, _ := strings.Cut(row, ",200,,")
		if err := json.Unmarshal([]byte(text), &head); err != nil {
			t.Errorf("%s: %v in %s", key, err, text)
		}
		if status != "succeeded" || head.Size != 3 || head.ETag != sum([]byte("old")) || !strings.HasSuffix(key, "?"+head.VersionID) {
			t.Errorf("%s: %s", key, row)
		}
	}
	if len(rows) != 3 {
		t.Errorf("got %d rows", len(rows))
	}

	for _, args := range []map[string]string{{"add.a": "1", "add.b": "2 é"}, {"add.a": "3", "remove": "b,c"}} {
		d.rowsOf(t, c, d.functionJob(t, c, "stevedore-merge-tags", args, fields, current[:2]...))
	}
	for i, want := range []string{"a=3", "a=3", ""} {
		parts := strings.Split(current[i], ",")
		key, _ := url.QueryUnescape(parts[1])
		out, err := d.sdk.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String("kept"), Key: &key, VersionId: &parts[2]})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tag := range out.TagSet {
			got = append(got, *tag.Key+"="+*tag.Value)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s: got %v, want %s", key, got, want)
		}
	}

	// The old versions go, for good, and nothing else.
	rows = d.rowsOf(t, c, d.functionJob(t, c, "stevedore-delete-object", map[string]string{"confirm": "permanently delete"}, fields, old...))
	for key, row := range rows {
		if row != "succeeded,200,,Successful" {
			t.Errorf("%s: %s", key, row)
		}
	}
	left := d.versions(t, "kept")
	if len(rows) != len(old) || len(left) != len(keys) {
		t.Errorf("%d rows, %d versions are left, want %d", len(rows), len(left), len(keys))
	}
	for _, v := range left {
		if row := "kept," + inManifest(aws.ToString(v.Key)) + "," + aws.ToString(v.VersionId); !slices.Contains(current, row) {
			t.Errorf("%s should be gone", row)
		}
	}
}

// inManifest is a key as a manifest has it.
func inManifest(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "+", "%20") }

// versions lists what there is of a bucket that keeps versions.
func (o *objects) versions(t *testing.T, bucket string) (all []s3types.ObjectVersion) {
	t.Helper()
	seen := map[string]bool{}
	pages := s3.NewListObjectVersionsPaginator(o.sdk, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Versions { // the server lists one at the seam of two pages twice
			if id := aws.ToString(v.Key) + "?" + aws.ToString(v.VersionId); !seen[id] {
				seen[id] = true
				all = append(all, v)
			}
		}
		if len(page.DeleteMarkers) > 0 {
			t.Errorf("there are %d delete markers", len(page.DeleteMarkers))
		}
	}
	return all
}

// awaitGone returns once there is no process pid.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %d is still there", pid)
		}
	}
}
