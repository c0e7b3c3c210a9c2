package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/google/go-cmp/cmp"
)

// noMatch is what a job says whose generator finds nothing.
const noMatch = "Manifest generation found no keys matching the filter criteria."

// generating is a job that tags what its generator finds in a bucket. With output
// the manifest is kept.
func generating(bucket, value string, output bool, filter *types.JobManifestGeneratorFilter) *s3control.CreateJobInput {
	in := tagJob("", "by", value)
	g := types.S3JobManifestGenerator{SourceBucket: aws.String("arn:aws:s3:::" + bucket), EnableManifestOutput: output, Filter: filter}
	if output {
		g.ManifestOutputLocation = &types.S3ManifestOutputLocation{
			Bucket: aws.String("arn:aws:s3:::manifests"), ManifestPrefix: aws.String("made"),
			ManifestFormat: types.GeneratedManifestFormatS3InventoryReportCsv20211130,
		}
	}
	in.Manifest, in.ManifestGenerator = nil, &types.JobManifestGeneratorMemberS3JobManifestGenerator{Value: g}
	return in
}

// inventoried is a job that tags what an inventory lists.
func inventoried(bucket, key, etag, value string) *s3control.CreateJobInput {
	in := tagJob(etag, "by", value)
	in.Manifest.Spec = &types.JobManifestSpec{Format: types.JobManifestFormatS3InventoryReportCsv20161130}
	in.Manifest.Location.ObjectArn = aws.String("arn:aws:s3:::" + bucket + "/" + key)
	return in
}

// created creates a job and waits for its end.
func created(t *testing.T, c *s3control.Client, in *s3control.CreateJobInput) *types.JobDescriptor {
	t.Helper()
	out, err := c.CreateJob(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return until(t, c, *out.JobId, ended)
}

// completed runs a job all of whose n tasks have to succeed, and returns the rows of
// its report.
func (o *objects) completed(t *testing.T, c *s3control.Client, in *s3control.CreateJobInput, n int) (*types.JobDescriptor, [][]string) {
	t.Helper()
	j := created(t, c, in)
	if s := j.ProgressSummary; j.Status != types.JobStatusComplete || *s.TotalNumberOfTasks != int64(n) || *s.NumberOfTasksSucceeded != int64(n) || *s.NumberOfTasksFailed != 0 {
		t.Fatalf("the job ended %s: %+v; %d of %d tasks succeeded, want %d", j.Status, j.FailureReasons, *s.NumberOfTasksSucceeded, *s.TotalNumberOfTasks, n)
	}
	return j, o.report(t, "reports", "r", *j.JobId)
}

// refusedManifest checks that a job has failed with a code and a text that has words
// in it, and that no task was made of it.
func (o *objects) refusedManifest(t *testing.T, j *types.JobDescriptor, code string, words ...string) {
	t.Helper()
	if len(j.FailureReasons) != 1 {
		t.Fatalf("the job is %s: %+v", j.Status, j.FailureReasons)
	}
	if got := aws.ToString(j.FailureReasons[0].FailureCode); j.Status != types.JobStatusFailed || got != code {
		t.Errorf("the job is %s with %s, want Failed with %s", j.Status, got, code)
	}
	contains(t, code, aws.ToString(j.FailureReasons[0].FailureReason), words...)
	if s := j.ProgressSummary; aws.ToInt64(s.TotalNumberOfTasks) != 0 || aws.ToInt64(s.NumberOfTasksSucceeded) != 0 || aws.ToInt64(s.NumberOfTasksFailed) != 0 {
		t.Errorf("there were tasks: %d, %d succeeded, %d failed", *s.TotalNumberOfTasks, *s.NumberOfTasksSucceeded, *s.NumberOfTasksFailed)
	}
	if left := o.keys(t, "reports", "r/job-"+*j.JobId); len(left) > 0 {
		t.Errorf("it has a report: %q", left)
	}
}

// generated reads the manifest that a generator has left, checks every sum in it and
// that nothing else was left, and returns its rows as they are.
func (o *objects) generated(t *testing.T, j *types.JobDescriptor, columns int) (key, etag string, rows [][]string) {
	t.Helper()
	d := j.GeneratedManifestDescriptor
	if d == nil || d.Format != types.GeneratedManifestFormatS3InventoryReportCsv20211130 {
		t.Fatalf("descriptor %+v", d)
	}
	root := "made/job-" + *j.JobId + "/"
	key, etag = root+"manifest.json", aws.ToString(d.Location.ETag)
	if got := aws.ToString(d.Location.ObjectArn); got != "arn:aws:s3:::manifests/"+key {
		t.Fatalf("the manifest is %s", got)
	}
	text := o.get(t, "manifests", key)
	if got := sum(text); got != strings.Trim(etag, `"`) || got != strings.TrimSpace(string(o.get(t, "manifests", root+"manifest.checksum"))) {
		t.Errorf("%s: MD5 %s, ETag %s", key, got, etag)
	}
	var m struct {
		SourceBucket, DestinationBucket, FileFormat, FileSchema string
		Files                                                   []struct {
			Key, MD5checksum string
			Size             int
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if got := len(strings.Split(m.FileSchema, ", ")); m.DestinationBucket != "arn:aws:s3:::manifests" || m.FileFormat != "CSV" || got != columns {
		t.Errorf("%d columns, want %d: %s", got, columns, text)
	}
	left := []string{root + "manifest.checksum", key}
	for _, f := range m.Files {
		left = append(left, f.Key)
		body := o.get(t, "manifests", f.Key)
		if sum(body) != f.MD5checksum || len(body) != f.Size {
			t.Errorf("%s is not what the manifest says", f.Key)
		}
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		part, err := csv.NewReader(z).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, part...)
	}
	slices.Sort(left)
	if diff := cmp.Diff(left, o.keys(t, "manifests", root)); diff != "" {
		t.Error(diff)
	}
	return key, etag, rows
}

// listed is an object as the store lists it.
type listed struct {
	key, class string
	size       int64
	modified   time.Time
}

// list asks the SDK what there is.
func (o *objects) list(t *testing.T, bucket string) (all []listed) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(o.sdk, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Contents {
			all = append(all, listed{*e.Key, string(e.StorageClass), *e.Size, *e.LastModified})
		}
	}
	return all
}

// nextSecond puts objects until they are younger than all others, for a store that
// tells seconds only.
func (o *objects) nextSecond(t *testing.T, bucket string, put func()) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for before := o.list(t, bucket); ; <-tick.C {
		put()
		youngest := func(a, b listed) int { return a.modified.Compare(b.modified) }
		if slices.MaxFunc(o.list(t, bucket), youngest).modified.After(slices.MaxFunc(before, youngest).modified) {
			return
		}
	}
}

// TestGenerator works on what filters find in a bucket without versions: exactly
// that is listed, reported and changed.
func TestGenerator(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1)
	c := control(d.host())
	d.buckets(t, "plain")
	keys := oddKeys()
	for i := range 24 {
		keys = append(keys, fmt.Sprintf("%s/%02d%s", []string{"photos", "logs"}[i%2], i, []string{".jpg", ".gz", ".jpg.bak"}[i%3]))
	}
	put := func(key string, size int, class s3types.StorageClass) {
		t.Helper()
		if _, err := d.sdk.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("plain"), Key: &key, Body: strings.NewReader(strings.Repeat("x", size)), StorageClass: class,
		}); err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
	}
	for i, key := range keys {
		put(key, i, []s3types.StorageClass{"STANDARD", "STANDARD_IA", "GLACIER_IR"}[i/3%3])
		if i == len(keys)/2 {
			d.nextSecond(t, "plain", func() { put("between", 1, "STANDARD") })
		}
	}
	keys = append(keys, "between")
	all := d.list(t, "plain")
	if len(all) != len(keys) {
		t.Fatalf("%d objects, put %d", len(all), len(keys))
	}
	times := slices.SortedFunc(slices.Values(all), func(a, b listed) int { return a.modified.Compare(b.modified) })
	first, last := times[0].modified, times[len(times)-1].modified
	const size = 20
	names := func(prefix, suffix, substring string) *types.KeyNameConstraint {
		n := &types.KeyNameConstraint{}
		for to, text := range map[*[]string]string{&n.MatchAnyPrefix: prefix, &n.MatchAnySuffix: suffix, &n.MatchAnySubstring: substring} {
			if text != "" {
				*to = []string{text}
			}
		}
		return n
	}
	tests := []struct {
		name   string
		filter *types.JobManifestGeneratorFilter
		want   func(o listed) bool
	}{
		{"none", nil, func(listed) bool { return true }},
		{"prefix", &types.JobManifestGeneratorFilter{KeyNameConstraint: names("photos/", "", "")}, func(o listed) bool { return strings.HasPrefix(o.key, "photos/") }},
		{"suffix", &types.JobManifestGeneratorFilter{KeyNameConstraint: names("", ".jpg", "")}, func(o listed) bool { return strings.HasSuffix(o.key, ".jpg") }},
		{"substring", &types.JobManifestGeneratorFilter{KeyNameConstraint: names("", "", "%")}, func(o listed) bool { return strings.Contains(o.key, "%") }},
		{"odd names", &types.JobManifestGeneratorFilter{KeyNameConstraint: names("line\n", "reak", "e\nb")}, func(o listed) bool { return o.key == "line\nbreak" }},
		{"larger", &types.JobManifestGeneratorFilter{ObjectSizeGreaterThanBytes: aws.Int64(size)}, func(o listed) bool { return o.size > size }},
		{"smaller", &types.JobManifestGeneratorFilter{ObjectSizeLessThanBytes: aws.Int64(size)}, func(o listed) bool { return o.size < size }},
		{"before", &types.JobManifestGeneratorFilter{CreatedBefore: &last}, func(o listed) bool { return o.modified.Before(last) }},
		{"after", &types.JobManifestGeneratorFilter{CreatedAfter: &first}, func(o listed) bool { return o.modified.After(first) }},
		{"classes", &types.JobManifestGeneratorFilter{MatchAnyStorageClass: []types.S3StorageClass{"GLACIER_IR", "STANDARD_IA"}}, func(o listed) bool { return o.class != "STANDARD" }},
		{"all", &types.JobManifestGeneratorFilter{
			KeyNameConstraint: names("photos/", ".jpg", "1"), ObjectSizeGreaterThanBytes: aws.Int64(size), ObjectSizeLessThanBytes: aws.Int64(40),
			CreatedAfter: new(first.Add(-time.Hour)), CreatedBefore: new(last.Add(time.Hour)), MatchAnyStorageClass: []types.S3StorageClass{"STANDARD", "STANDARD_IA"},
		}, func(o listed) bool {
			return strings.HasPrefix(o.key, "photos/") && strings.HasSuffix(o.key, ".jpg") && strings.Contains(o.key, "1") && o.size > size && o.size < 40 && o.class != "GLACIER_IR"
		}},
	}
	by := map[string]string{} // the value of the tag of every object
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			for _, o := range all {
				if tt.want(o) {
					want, by[o.key] = append(want, o.key), tt.name
				}
			}
			slices.Sort(want)
			if len(want) == 0 || i > 0 && len(want) == len(all) {
				t.Fatalf("the filter takes %d of %d", len(want), len(all))
			}
			output := i%2 == 0
			j, rows := d.completed(t, c, generating("plain", tt.name, output, tt.filter), len(want))
			if diff := cmp.Diff(want, keysOf(t, rows, "succeeded")); diff != "" {
				t.Error(diff)
			}
			for _, o := range all {
				if got := d.tagOf(t, "plain", o.key, "by"); got != by[o.key] {
					t.Errorf("%q is tagged %q, want %q", o.key, got, by[o.key])
				}
			}
			if !output {
				if j.GeneratedManifestDescriptor != nil {
					t.Errorf("descriptor %+v", j.GeneratedManifestDescriptor)
				}
				return
			}
			_, _, rows = d.generated(t, j, 2)
			var got []string
			for _, row := range rows {
				key, err := url.PathUnescape(row[1])
				if err != nil || row[0] != "plain" {
					t.Errorf("%v: %q", err, row)
				}
				got = append(got, key)
			}
			if diff := cmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		// The last one is no younger than itself: the comparison is strict.
		for _, f := range []*types.JobManifestGeneratorFilter{
			{KeyNameConstraint: names("Photos/", "", "")},
			{CreatedAfter: &last},
			{CreatedBefore: &first},
			{ObjectSizeGreaterThanBytes: aws.Int64(size), ObjectSizeLessThanBytes: aws.Int64(size + 1)},
		} {
			j := created(t, c, generating("plain", "nothing", true, f))
			d.refusedManifest(t, j, "ManifestGenerationNoMatches", noMatch)
			if left := d.keys(t, "manifests", "made/job-"+*j.JobId); j.GeneratedManifestDescriptor != nil || len(left) > 0 {
				t.Errorf("descriptor %+v, left behind: %q", j.GeneratedManifestDescriptor, left)
			}
		}
	})
}

// TestGeneratorVersions works on the current versions of a bucket that has all
// kinds of them.
func TestGeneratorVersions(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1)
	c := control(d.host())
	d.buckets(t, "kept")
	current, old := map[string]string{}, map[string]string{} // versions
	put := func(key string) {
		t.Helper()
		out, err := d.sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("kept"), Key: &key, Body: strings.NewReader(key)})
		if err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
		if before, ok := current[key]; ok {
			old[key] = before
		}
		current[key] = "null"
		if v := aws.ToString(out.VersionId); v != "" {
			current[key] = v
		}
	}
	versioning := func(status s3types.BucketVersioningStatus) {
		t.Helper()
		if _, err := d.sdk.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
			Bucket: aws.String("kept"), VersioningConfiguration: &s3types.VersioningConfiguration{Status: status},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"null/stays", "null/overwritten", "null/hidden"} {
		put(key)
	}
	versioning(s3types.BucketVersioningStatusEnabled)
	for _, key := range append(oddKeys(), "null/overwritten", "hidden") {
		put(key)
	}
	for _, key := range oddKeys() {
		put(key)
	}
	for _, key := range []string{"hidden", "null/hidden"} {
		if _, err := d.sdk.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("kept"), Key: &key}); err != nil {
			t.Fatal(err)
		}
		old[key] = current[key]
		delete(current, key)
	}
	check := func(rows [][]string, value string) {
		t.Helper()
		got := map[string]string{}
		for _, row := range rows {
			key, err := url.PathUnescape(row[1])
			if err != nil {
				t.Error(err)
			}
			got[key] = row[2]
		}
		if diff := cmp.Diff(current, got); diff != "" || len(rows) != len(current) {
			t.Errorf("%d rows: %s", len(rows), diff)
		}
		tags := func(versions map[string]string, want string) {
			t.Helper()
			for key, version := range versions {
				out, err := d.sdk.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String("kept"), Key: &key, VersionId: &version})
				if err != nil {
					t.Errorf("%q?%s: %v", key, version, err)
					continue
				}
				var got []string
				for _, tag := range out.TagSet {
					got = append(got, *tag.Key+"="+*tag.Value)
				}
				if strings.Join(got, ",") != want {
					t.Errorf("%q?%s has the tags %q, want %q", key, version, got, want)
				}
			}
		}
		tags(current, "by="+value)
		tags(old, "")
	}
	j, rows := d.completed(t, c, generating("kept", "generator", true, nil), len(current))
	check(rows, "generator")
	key, etag, made := d.generated(t, j, 3)
	if len(made) != len(current) {
		t.Errorf("the manifest has %d rows, want %d", len(made), len(current))
	}
	_, rows = d.completed(t, c, inventoried("manifests", key, etag, "inventory"), len(current))
	check(rows, "inventory")

	// Objects that are written after it was suspended have the version "null".
	versioning(s3types.BucketVersioningStatusSuspended)
	put("null/late")
	put("null/stays")
	delete(old, "null/stays") // it had the same version
	_, rows = d.completed(t, c, generating("kept", "suspended", false, nil), len(current))
	check(rows, "suspended")
	if current["null/late"] != "null" || current["null/stays"] != "null" {
		t.Errorf("versions %v", current)
	}
}

// TestGeneratorAWSCLI has the AWS CLI generate a manifest, and give it to a second job.
func TestGeneratorAWSCLI(t *testing.T) {
	t.Parallel()
	const tasks = 30
	d := startDev(t, tasks)
	c, sdk := newAWSCLI(t, d), control(d.host())
	create := func(list ...string) string {
		t.Helper()
		var out struct{ JobID string }
		c.jobs(t, &out, "create-job", append(list, "--priority", "7", "--role-arn", role, "--no-confirmation-required",
			"--operation", `{"S3PutObjectTagging":{"TagSet":[{"Key":"by","Value":"cli"}]}}`,
			"--report", `{"Enabled":true,"Bucket":"arn:aws:s3:::reports","Prefix":"r","Format":"Report_CSV_20180820","ReportScope":"AllTasks"}`)...)
		until(t, sdk, out.JobID, ended)
		return out.JobID
	}
	type described struct {
		Job struct {
			Status         string
			FailureReasons []struct{ FailureCode, FailureReason string }
			Manifest       *struct{}
			Generator      struct {
				S3JobManifestGenerator struct{ SourceBucket string }
			} `json:"ManifestGenerator"`
			GeneratedManifestDescriptor struct {
				Format   string
				Location struct{ ObjectArn, ETag string }
			}
			ProgressSummary struct{ TotalNumberOfTasks, NumberOfTasksSucceeded int }
		}
	}
	describe := func(id string) (d described) {
		t.Helper()
		c.jobs(t, &d, "describe-job", "--job-id", id)
		return d
	}
	generator := func(suffix string) string {
		return `{"S3JobManifestGenerator":{"SourceBucket":"arn:aws:s3:::demo","EnableManifestOutput":true,"Filter":{"KeyNameConstraint":{"MatchAnySuffix":["` + suffix + `"]}},` +
			`"ManifestOutputLocation":{"Bucket":"arn:aws:s3:::manifests","ManifestPrefix":"made","ManifestFormat":"S3InventoryReport_CSV_20211130"}}}`
	}
	first := describe(create("--manifest-generator", generator("7.txt"))).Job
	if first.Status != "Complete" || first.ProgressSummary.NumberOfTasksSucceeded != 3 || first.Manifest != nil ||
		first.Generator.S3JobManifestGenerator.SourceBucket != "arn:aws:s3:::demo" || first.GeneratedManifestDescriptor.Format != "S3InventoryReport_CSV_20211130" {
		t.Fatalf("described as %+v", first)
	}
	at := first.GeneratedManifestDescriptor.Location
	id := create("--manifest", fmt.Sprintf(`{"Spec":{"Format":"S3InventoryReport_CSV_20161130"},"Location":{"ObjectArn":"%s","ETag":%q}}`, at.ObjectArn, at.ETag))
	if got, want := keysOf(t, d.report(t, "reports", "r", id), "succeeded"), []string{key(7), key(17), key(27)}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range tasks {
		want := ""
		if i%10 == 7 {
			want = "cli"
		}
		if got := d.tagOf(t, "demo", key(i), "by"); got != want {
			t.Errorf("%s is tagged %q, want %q", key(i), got, want)
		}
	}
	none := describe(create("--manifest-generator", generator("none"))).Job
	if none.Status != "Failed" || len(none.FailureReasons) != 1 || none.FailureReasons[0].FailureReason != noMatch || none.ProgressSummary.TotalNumberOfTasks != 0 {
		t.Errorf("described as %+v", none)
	}
}
