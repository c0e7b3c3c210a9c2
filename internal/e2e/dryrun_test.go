package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// dryRun is what "job create --dry-run -o json" says.
type dryRun struct {
	Tasks, Chunks, ManifestBytes int64
	Bytes                        *int64
	Estimate                     *struct {
		Sampled, Missing int
		Bytes            int64
	}
	Leniency string
	Sample   []struct {
		Bucket, Key, VersionID string
		Calls                  []string
		Outcome                string
	}
}

// TestDryRun looks at jobs that are not created, and finds afterwards that nothing
// has changed.
func TestDryRun(t *testing.T) {
	t.Parallel()
	const tasks = 30
	d := startDev(t, tasks)
	c, sdk := ourClient{d}, control(d.host())
	before := fmt.Sprint(d.everything(t))
	look := func(code int, request string, more ...string) ending {
		t.Helper()
		return c.run(t, code, request, append([]string{"create", "--cli-input-json", "-", "--dry-run"}, more...)...)
	}
	read := func(request string, more ...string) (found dryRun) {
		t.Helper()
		if err := json.Unmarshal([]byte(look(0, request, append(more, "-o", "json")...).stdout), &found); err != nil {
			t.Fatal(err)
		}
		return found
	}

	// A CSV manifest.
	tag := jobJSON(d.manifestTag, "")
	contains(t, "dry run", look(0, tag).stdout, "30, in 1 chunk", "unknown", "PUT s3://demo/"+key(4)+"?tagging  by=us\n")
	found := read(tag, "--sample", "2", "--head-sample", "2000") // far more than rows: all of them
	var size int64
	for i := range tasks {
		size += int64(len(d.get(t, "demo", key(i))))
	}
	if found.Tasks != tasks || found.Chunks != 1 || found.Bytes != nil || len(found.Sample) != 2 ||
		found.Estimate == nil || found.Estimate.Sampled != tasks || found.Estimate.Bytes != size {
		t.Errorf("got %+v, estimate %+v, want %d bytes", found, found.Estimate, size)
	}
	with := func(operation string) string {
		return strings.Replace(tag, `{"S3PutObjectTagging": {"TagSet": [{"Key": "by", "Value": "us"}]}}`, operation, 1)
	}
	call := func(operation, want string) {
		t.Helper()
		if found := read(with(operation), "--sample", "1"); len(found.Sample) != 1 || !strings.HasPrefix(strings.Join(found.Sample[0].Calls, "; "), want) {
			t.Errorf("%s: got %+v, want %s", operation, found.Sample, want)
		}
	}
	call(`{"S3DeleteObjectTagging": {}}`, "DELETE s3://demo/"+key(0)+"?tagging")
	const copies = `{"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::manifests", "TargetKeyPrefix": "x"}}`
	call(copies, "PUT s3://manifests/x/"+key(0)+"  x-amz-copy-source=")
	call(`{"S3PutObjectAcl": {"AccessControlPolicy": {"CannedAccessControlList": "private"}}}`, "PUT s3://demo/"+key(0)+"?acl")
	call(`{"S3InitiateRestoreObject": {"ExpirationInDays": 3, "GlacierJobTier": "BULK"}}`, "POST s3://demo/"+key(0)+"?restore  Days=3 Tier=Bulk")
	call(`{"S3ComputeObjectChecksum": {}}`, "GET s3://demo/"+key(0))
	call(`{"LambdaInvoke": {"FunctionArn": "arn:aws:lambda:us-east-1:`+account+`:function:thumbnail"}}`, "invoke arn:aws:lambda")
	call(`{"LambdaInvoke": {"FunctionArn": "stevedore-delete-object", "InvocationSchemaVersion": "2.0", "UserArguments": {"confirm": "permanently delete"}}}`, "DELETE s3://demo/"+key(0))

	// What the job would fail of.
	contains(t, "request", look(10, strings.Replace(tag, `, "Key"]`, `]`, 1)).stderr, "the server would refuse", "must contain Key")
	contains(t, "target", look(10, with(strings.Replace(copies, ":manifests", ":nowhere", 1))).stderr, "every task would fail", "no bucket nowhere")
	contains(t, "lock", look(10, with(`{"S3PutObjectLegalHold": {"LegalHold": {"Status": "ON"}}}`)).stderr, "the job would fail", "ObjectLock")
	contains(t, "etag", look(10, jobJSON("0123456789abcdef0123456789abcdef", "")).stderr, "the job would fail", "ManifestETagMismatch")
	d.put(t, "manifests", "bad.csv", []byte("demo,a\ndemo,b c\n"))
	bad := strings.Replace(jobJSON(sum([]byte("demo,a\ndemo,b c\n")), ""), "manifest.csv", "bad.csv", 1)
	contains(t, "manifest", look(10, bad).stderr, "line 2", "InvalidManifestContent")
	lenient := strings.Replace(bad, `"Priority"`, `"Tags": [{"Key": "stevedore:manifest", "Value": "lenient"}], "Priority"`, 1)
	if found := read(lenient); found.Tasks != 2 || !strings.Contains(found.Leniency, "1 key with unencoded spaces") {
		t.Errorf("got %+v", found)
	}
	if _, err := d.sdk.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new("manifests"), Key: new("bad.csv")}); err != nil {
		t.Fatal(err)
	}

	// A generator: it lists, and keeps nothing.
	generator := func(filter string) string {
		from, to := strings.Index(tag, `"Manifest": {`), strings.Index(tag, `"Report":`)
		return tag[:from] + `"ManifestGenerator": {"S3JobManifestGenerator": {"SourceBucket": "arn:aws:s3:::demo", "EnableManifestOutput": true,
			"ManifestOutputLocation": {"Bucket": "arn:aws:s3:::manifests", "ManifestFormat": "S3InventoryReport_CSV_20211130"},
			"Filter": {"KeyNameConstraint": {"MatchAnySuffix": ["` + filter + `"]}}}}, ` + tag[to:]
	}
	found = read(generator("3.txt"))
	if found.Tasks != 3 || found.Bytes == nil || *found.Bytes <= 0 || found.Sample[2].Key != key(23) {
		t.Errorf("got %+v", found)
	}
	contains(t, "nothing matches", look(9, generator("none")).stderr, "no object matches")

	if after := fmt.Sprint(d.everything(t)); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if list, err := sdk.ListJobs(t.Context(), listAll()); err != nil || len(list.Jobs) > 0 {
		t.Errorf("dry runs made jobs: %v, %v", list.Jobs, err)
	}
}

// TestDryRunInventory adds up the sizes that an inventory tells.
func TestDryRunInventory(t *testing.T) {
	t.Parallel()
	d := startDev(t, 4)
	c := ourClient{d}
	const text = `"demo","data/000001.txt","100"` + "\n" + `"demo","data/000002.txt","23"` + "\n"
	data := gzipped(t, text)
	d.put(t, "manifests", "inv/data/1.csv.gz", data)
	index := fmt.Sprintf(`{"sourceBucket":"demo","destinationBucket":"arn:aws:s3:::manifests","version":"2016-11-30","creationTimestamp":"1514944800000",
		"fileFormat":"CSV","fileSchema":"Bucket, Key, Size","files":[{"key":"inv/data/1.csv.gz","size":%d,"MD5checksum":"%s"}]}`, len(data), sum(data))
	etag := d.put(t, "manifests", "manifest.csv", []byte(index))
	request := strings.Replace(jobJSON(strings.Trim(etag, `"`), ""), `{"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]}`,
		`{"Format": "S3InventoryReport_CSV_20161130"}`, 1)
	var found dryRun
	if err := json.Unmarshal([]byte(c.run(t, 0, request, "create", "--cli-input-json", "-", "--dry-run", "-o", "json").stdout), &found); err != nil {
		t.Fatal(err)
	}
	if found.Tasks != 2 || found.Bytes == nil || *found.Bytes != 123 {
		t.Errorf("got %+v", found)
	}
}

// everything lists all objects there are, with their tags.
func (d *devServer) everything(t *testing.T) (all []string) {
	t.Helper()
	out, err := d.sdk.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range out.Buckets {
		for _, k := range d.keys(t, *b.Name, "") {
			tags, err := d.sdk.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: b.Name, Key: &k})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%s/%s %d", *b.Name, k, len(tags.TagSet)))
		}
	}
	slices.Sort(all)
	return all
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
