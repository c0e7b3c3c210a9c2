package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

func TestDryRunUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--sample", "1"},
		{"--head-sample", "1"},
		{"--dry-run", "--sample", "-1"},
		{"--dry-run", "--head-sample", "100001"},
		{"--dry-run"},
		{"--dry-run", "-o", "yaml", "--cli-input-json", "-"},
		{"--dry-run", "-o", "name", "--cli-input-json", "-"},
	} {
		if got := invoke(t.Context(), exampleText(t, "tag"), nil, append([]string{"job", "create"}, args...)...); got.code != exitUsage {
			t.Errorf("%q: got %+v, want exit code %d", args, got, exitUsage)
		}
	}
}

// tagRequest asks for a job on s3://manifests/m.csv with that ETag.
func tagRequest(etag string) string {
	return fmt.Sprintf(`{"AccountId": %q, "ClientRequestToken": "t", "Priority": 1, "RoleArn": "arn:aws:iam::123456789012:role/r", "ConfirmationRequired": false,
		"Operation": {"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "x y"}]}},
		"Report": {"Enabled": true, "Bucket": "arn:aws:s3:::reports", "Format": "Report_CSV_20180820", "Prefix": "r", "ReportScope": "AllTasks"},
		"Manifest": {"Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
			"Location": {"ObjectArn": "arn:aws:s3:::manifests/m.csv", "ETag": %q}}}`, devAccount, etag)
}

// TestDryRunText tells keys apart that differ in characters that a terminal does not show, and no sum of nothing.
func TestDryRunText(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("reports")
	s3.Put("b", "new\nline\x01", "hello")
	etag := s3.Put("manifests", "m.csv", "b,new%0Aline%01\nb,k\n").ETag
	environ := []string{"AWS_ENDPOINT_URL_S3=" + s3.URL()}
	got := invoke(t.Context(), tagRequest(etag), environ, "job", "create", "--cli-input-json", "-", "--dry-run")
	if want := `First tasks  PUT s3://b/new\nline\x01?tagging  a=x y` + "\n"; got.code != 0 || !strings.Contains(got.stdout, want) {
		t.Errorf("got %+v, want %s", got, want)
	}
	got = invoke(t.Context(), tagRequest(etag), environ, "job", "create", "--cli-input-json", "-", "--dry-run", "--sample", "0")
	if got.code != 0 || strings.Contains(got.stderr, "adding up") {
		t.Errorf("got %+v", got)
	}
}

// TestDryRunJSON has for programs all that people are told.
func TestDryRunJSON(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("reports")
	s3.Put("b", "k", "hello")
	request := tagRequest(s3.Put("manifests", "m.csv", "b,k\n").ETag)
	got := invoke(t.Context(), request, []string{"AWS_ENDPOINT_URL_S3=" + s3.URL()}, "job", "create", "--cli-input-json", "-", "--dry-run", "-o", "json")
	const want = `{
    "Operation": {
        "S3PutObjectTagging": {
            "TagSet": [
                {
                    "Key": "a",
                    "Value": "x y"
                }
            ]
        }
    },
    "Tasks": 1,
    "Chunks": 1,
    "ManifestBytes": 4,
    "Bytes": null,
    "Report": {
        "At": "s3://reports/r",
        "Checked": true
    },
    "Sample": [
        {
            "Bucket": "b",
            "Key": "k",
            "Calls": [
                "PUT s3://b/k?tagging  a=x y"
            ]
        }
    ]
}
`
	if diff := cmp.Diff(want, got.stdout); diff != "" || got.code != exitOK {
		t.Errorf("exit code %d, %s (-want +got):\n%s", got.code, got.stderr, diff)
	}
}

// TestRehearsal: what tasks would do is told without doing it.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.Put("b", "k", "hello")
	_, access := storeOf(t, s3)
	check := func(operation job.Operation, row manifest.Row, versions bool, want string) {
		t.Helper()
		r, err := rehearse(devAccount, &job.Spec{Operation: operation}, access)
		if err != nil {
			t.Fatal(err)
		}
		r.versions = versions
		got, err := r.task(t.Context(), &row)
		if err != nil || strings.Join(got.Calls, ";")+got.Outcome != want {
			t.Errorf("got %q, %q, %v\nwant %s", got.Calls, got.Outcome, err, want)
		}
	}
	row := manifest.Row{Bucket: []byte("b"), Key: []byte("k"), RawKey: []byte("k")}
	version := row
	version.VersionID = []byte("v1")
	tag := job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "a", Value: "x y"}, {Key: "empty"}}}}
	check(tag, row, false, "PUT s3://b/k?tagging  a=x y empty=")
	check(tag, version, false, "PUT s3://b/k?tagging&versionId=v1  a=x y empty=")
	check(tag, version, true, "PUT s3://b/k?tagging  a=x y empty=") // the bucket keeps no versions
	check(job.Operation{S3ReplicateObject: &job.S3ReplicateObject{}}, row, false,
		"fails: 500 SrcBucketReplicationConfigMissing: The source bucket has no replication configuration")
	check(job.Operation{S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{ObjectEncryption: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: "K"}}}},
		row, false, "PUT s3://b/k?encryption, or a copy onto itself  KMSKeyArn=K")
	check(job.Operation{LambdaInvoke: &job.LambdaInvoke{FunctionArn: "thumbnail"}}, version, false, "invoke thumbnail with s3://b/k?versionId=v1")
	check(job.Operation{LambdaInvoke: &job.LambdaInvoke{FunctionArn: "stevedore-head-object", InvocationSchemaVersion: "2.0"}}, manifest.Row{
		Bucket: []byte("b"), Key: []byte("none"), RawKey: []byte("none"),
	}, false, "fails: 404 NotFound: Not Found")
	mixed := manifest.Row{Bucket: []byte("k/1"), Key: []byte("b"), RawKey: []byte("b")}
	const refused = "fails: 400 InvalidBucketName: The specified bucket is not valid: k/1. Are the columns of the manifest in the order of its Fields?"
	check(tag, mixed, false, refused)
	check(tag, mixed, true, refused)
	check(job.Operation{S3ComputeObjectChecksum: &job.S3ComputeObjectChecksum{}}, mixed, false, refused)
	check(job.Operation{LambdaInvoke: &job.LambdaInvoke{FunctionArn: "thumbnail"}}, mixed, false, "invoke thumbnail with s3://k/1/b")

	s3.SetVersioning("kept", "Enabled")
	row.Bucket = []byte("kept")
	check(tag, row, true, "fails: 400 InvalidRequest: Task failed due to missing VersionId")
	s3.Fault(objectstoretest.Match{Op: "GetBucketVersioning", Bucket: "silent"}, objectstoretest.Status(http.StatusNotImplemented, "NotImplemented"))
	version.Bucket = []byte("silent") // whose store does not know the question
	check(tag, version, true, "PUT s3://silent/k?tagging&versionId=v1  a=x y empty=")
	for _, op := range []string{"PutObjectTagging", "PutObject", "CopyObject", "DeleteObject"} {
		if n := s3.Count(op); n > 0 {
			t.Errorf("%d requests %s were sent", n, op)
		}
	}
}

// TestDryRunBuckets: a job that could not write its report is doomed, and looking
// for the bucket writes nothing.
func TestDryRunBuckets(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("reports")
	_, access := storeOf(t, s3)
	check := func(code int, says string, report job.Report, output string, target ...string) {
		t.Helper()
		spec := &job.Spec{Report: report}
		for _, bucket := range target {
			spec.Operation.S3PutObjectCopy = &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::" + bucket, TargetKeyPrefix: "c"}
		}
		if output != "" {
			spec.ManifestGenerator = &job.ManifestGenerator{S3JobManifestGenerator: &job.S3JobManifestGenerator{
				EnableManifestOutput: true, ManifestOutputLocation: &job.ManifestOutputLocation{Bucket: "arn:aws:s3:::" + output},
			}}
		}
		var d dryRun
		var stderr strings.Builder
		got := tell(&stderr, d.checkBuckets(t.Context(), access, spec))
		for _, w := range []*written{d.Report, d.ManifestOutput, d.Target} {
			if w != nil {
				stderr.WriteString(w.text() + "\n")
			}
		}
		if got != code || !strings.Contains(stderr.String(), says) {
			t.Errorf("got exit code %d and\n%s\nwant %d and %q", got, &stderr, code, says)
		}
	}
	to := func(bucket string) job.Report {
		return job.Report{Enabled: true, Bucket: "arn:aws:s3:::" + bucket, Prefix: "r"}
	}
	check(exitOK, "", job.Report{Bucket: "arn:aws:s3:::none"}, "")
	check(exitOK, "s3://reports/r  (the bucket is there", to("reports"), "")
	check(exitInvalid, "there is no bucket none for its report", to("none"), "")
	check(exitInvalid, "there is no bucket none for its generated manifest", to("reports"), "none")
	check(exitOK, "s3://reports/  (the bucket is there", job.Report{}, "reports")
	check(exitOK, "s3://reports/c  (the bucket is there", job.Report{}, "", "reports")
	check(exitInvalid, "every task would fail: there is no bucket none for its copies", to("reports"), "reports", "none")
	s3.Fault(objectstoretest.Match{Op: "ListObjectsV2"}, objectstoretest.Status(403, "AccessDenied"))
	check(exitOK, "s3://none/r  (not checked: the store answers 403 AccessDenied", to("none"), "")
	if n := s3.Count("PutObject"); n > 0 {
		t.Errorf("%d objects were written", n)
	}
}

// TestDryRunOfAChangedManifest does not speak of a job that was created.
func TestDryRunOfAChangedManifest(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	etag := s3.Put("manifests", "m.csv", "b,k\n").ETag
	at, access := storeOf(t, s3)
	c := &jobCommands{}
	_, err := c.tryOut(t.Context(), access, at, &job.Spec{
		Operation: job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}},
		Manifest: &job.Manifest{
			Spec:     &job.ManifestSpec{Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey}},
			Location: &job.ManifestLocation{ObjectArn: "arn:aws:s3:::manifests/m.csv", ETag: "old"},
		},
	}, dryRunOptions{})
	var stderr strings.Builder
	code := tell(&stderr, c.dryRunProblem(at, err))
	want := "error: the job would fail: The manifest arn:aws:s3:::manifests/m.csv has the ETag " + strings.Trim(etag, `"`) +
		", the request has old. Put the present one into Manifest.Location.ETag.\n  why   ManifestETagMismatch\n"
	if code != exitInvalid || stderr.String() != want {
		t.Errorf("got exit code %d and\n%s\nwant\n%s", code, &stderr, want)
	}
}

// TestDryRunDenied says whose credentials may not read the manifest: a job may be let.
func TestDryRunDenied(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "key", Secret: "secret"})
	s3.CreateBucket("reports")
	request := tagRequest(s3.Put("manifests", "m.csv", "b,k\n").ETag)
	environ := []string{"AWS_ENDPOINT_URL_S3=" + s3.URL(), "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=wrong"}
	got := invoke(t.Context(), request, environ, "job", "create", "--cli-input-json", "-", "--dry-run")
	for _, want := range []string{
		"error: the manifest cannot be read with the credentials of this command\n",
		"signed with the access key key\n",
		"\n  try   credentials that may do this; see: stevedore help environment\n",
	} {
		if got.code != exitDenied || !strings.Contains(got.stderr, want) {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
}

// TestDryRunHeadsOfNoUse says so where the list tells the sizes.
func TestDryRunHeadsOfNoUse(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("reports")
	s3.Put("src", "k", "hello")
	environ := []string{"AWS_ENDPOINT_URL_S3=" + s3.URL()}
	if got := invoke(t.Context(), "", environ, "manifest", "make", "s3://src", "--to", "inventory", "--out", "s3://reports/inv"); got.code != exitOK {
		t.Fatalf("got %+v", got)
	}
	object, _ := s3.Object("reports", "inv/manifest.json")
	request := strings.NewReplacer("S3BatchOperations_CSV_20180820", "S3InventoryReport_CSV_20161130",
		`, "Fields": ["Bucket", "Key"]`, "", "manifests/m.csv", "reports/inv/manifest.json").Replace(tagRequest(object.ETag))
	got := invoke(t.Context(), request, environ, "job", "create", "--cli-input-json", "-", "--dry-run", "--head-sample", "300")
	const note = "note: --head-sample 300 is of no use: the sizes of all objects are known without it\n"
	if got.code != exitOK || !strings.Contains(got.stdout, "Bytes        5\n") || !strings.Contains(got.stderr, note) {
		t.Errorf("got %+v, want %s", got, note)
	}
}

func TestLeaves(t *testing.T) {
	t.Parallel()
	check := func(document string, want ...string) {
		t.Helper()
		if got := leaves([]byte(document)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", document, got, want)
		}
	}
	check("")
	check("no document")
	check("<A><B>1</B> <C><D>x &amp; y</D></C></A>", "B=1", "D=x & y")
	check("<Tagging><TagSet><Tag><Key>a</Key><Value></Value></Tag><Tag><Key>b</Key><Value>2</Value></Tag></TagSet></Tagging>", "a=", "b=2")
}

// TestPicks: every row has the same chance, whatever the chunks are, and none is picked twice.
func TestPicks(t *testing.T) {
	t.Parallel()
	const rounds, rows = 20_000, 10
	for n := range rows + 3 {
		counts := map[int64]int{}
		for range rounds {
			p := newPicks(n)
			for i, rows := range []int64{1, 7, 2} {
				p.offer(job.Chunk{First: []int64{0, 1, 8}[i], Rows: rows})
			}
			seen := map[int64]bool{}
			for _, pick := range p.picks {
				row := pick.chunk.First + pick.row
				if pick.row < 0 || pick.row >= pick.chunk.Rows || seen[row] {
					t.Fatalf("%d of %d: row %d of %+v is not there, or twice", n, rows, pick.row, pick.chunk)
				}
				seen[row] = true
				counts[row]++
			}
			if len(seen) != min(n, rows) {
				t.Fatalf("got %d rows of %d, want %d", len(seen), rows, min(n, rows))
			}
		}
		want := rounds * min(n, rows) / rows
		for row := range int64(rows) {
			if got := counts[row]; got < want-500 || got > want+500 { // at least seven standard deviations away
				t.Errorf("%d of %d: row %d was picked %d times, want some %d", n, rows, row, got, want)
			}
		}
	}
}

// TestDryRunHeads looks at every object once if there are no more than asked for.
func TestDryRunHeads(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("reports")
	var list strings.Builder
	const objects, bytes = 20, 20 * 19 / 2
	for n := range objects {
		key := fmt.Sprintf("k%d", n)
		s3.Put("b", key, strings.Repeat("x", n))
		list.WriteString("b," + key + "\n")
	}
	request := tagRequest(s3.Put("manifests", "m.csv", list.String()).ETag)
	samples := []int{objects, 50, 3}
	for _, heads := range samples {
		got := invoke(t.Context(), request, []string{"AWS_ENDPOINT_URL_S3=" + s3.URL()},
			"job", "create", "--cli-input-json", "-", "--dry-run", "--sample", "0", "--head-sample", strconv.Itoa(heads))
		want := fmt.Sprintf("Bytes      %d, by all %d objects\n", bytes, objects)
		if heads < objects {
			want = fmt.Sprintf(", by %d objects looked at\n", heads)
		}
		if got.code != exitOK || !strings.Contains(got.stdout, want) {
			t.Errorf("%d: got %+v, want %s", heads, got, want)
		}
	}
	if n, want := s3.Count("HeadObject"), 2*objects+3+len(samples); n != want { // the manifest, too, each time
		t.Errorf("got %d HEAD requests, want %d", n, want)
	}
}

// TestRequestText keeps headers of the client's own out.
func TestRequestText(t *testing.T) {
	t.Parallel()
	got := callText(&objectstore.Request{
		Method: "PUT", Bucket: "b", Key: []byte("k"),
		Headers: []objectstore.Header{{Name: "content-type", Value: "x"}, {Name: "x-amz-acl", Value: "private"}},
	})
	if want := "PUT s3://b/k  x-amz-acl=private"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
