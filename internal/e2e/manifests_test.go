package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"stevedore/internal/job"
	"stevedore/internal/manifest/manifesttest"
	"stevedore/internal/manifest/parquet"
	"stevedore/internal/objectstore"
)

// inventory puts an inventory in a bucket, its data files beside it, and returns the
// ETag of its manifest.json.
func (o *objects) inventory(t *testing.T, bucket, prefix, format, schema string, files ...[]byte) (etag string) {
	t.Helper()
	var list []string
	for i, f := range files {
		key := fmt.Sprintf("%s/data/%d", prefix, i)
		o.put(t, bucket, key, f)
		list = append(list, fmt.Sprintf(`{"key": %q, "size": %d, "MD5checksum": %q}`, key, len(f), sum(f)))
	}
	text := fmt.Sprintf(`{"sourceBucket": "any", "destinationBucket": "arn:aws:s3:::%s", "version": "2016-11-30", "creationTimestamp": "1514944800000",
		"fileFormat": %q, "fileSchema": %q, "files": [%s]}`, bucket, format, schema, strings.Join(list, ",\n"))
	return o.put(t, bucket, prefix+"/manifest.json", []byte(text))
}

// TestInventories runs jobs over inventories of all formats.
func TestInventories(t *testing.T) {
	t.Parallel()
	const tasks = 200
	d := startDev(t, tasks)
	c := control(d.host())
	keys := oddKeys()
	for _, k := range keys {
		d.put(t, "demo", k, []byte(k))
	}
	for i := range tasks {
		keys = append(keys, key(i))
	}
	slices.Sort(keys)
	finished := func(t *testing.T, prefix, etag string) {
		t.Helper()
		_, rows := d.completed(t, c, inventoried("manifests", prefix+"/manifest.json", etag, prefix), len(keys))
		if diff := cmp.Diff(keys, keysOf(t, rows, "succeeded")); diff != "" {
			t.Error(diff)
		}
		for _, k := range keys {
			if got := d.tagOf(t, "demo", k, "by"); got != prefix {
				t.Errorf("%q is tagged %q, want %q", k, got, prefix)
			}
		}
	}

	t.Run("csv", func(t *testing.T) {
		const schema = "Size, Key, IsLatest, Bucket, Anything"
		var files [][]byte
		for part := range slices.Chunk(keys, 50) {
			var text strings.Builder
			for i, k := range part {
				fmt.Fprintf(&text, `"%d","%s","true","demo","a, ""b"""`+"\n", i, inManifest(k))
			}
			files = append(files, gzipped(t, text.String()))
		}
		if len(files) < 4 {
			t.Fatalf("only %d files", len(files))
		}
		finished(t, "csv", d.inventory(t, "manifests", "csv", "CSV", schema, files...))

		// The same, but for one bit of the last file.
		changed := bytes.Clone(files[len(files)-1])
		changed[len(changed)-9] ^= 1
		etag := d.inventory(t, "manifests", "changed", "CSV", schema, files...)
		d.put(t, "manifests", fmt.Sprintf("changed/data/%d", len(files)-1), changed)
		j := created(t, c, inventoried("manifests", "changed/manifest.json", etag, "changed"))
		d.refusedManifest(t, j, "InvalidManifestContent", fmt.Sprintf("file changed/data/%d: its MD5 is ", len(files)-1))
		for _, k := range keys {
			if got := d.tagOf(t, "demo", k, "by"); got != "csv" {
				t.Errorf("%q is tagged %q", k, got)
			}
		}
	})

	t.Run("parquet", func(t *testing.T) {
		var files [][]byte
		for part := range slices.Chunk(keys, len(keys)/2+1) {
			var file bytes.Buffer
			w, err := parquet.NewWriter(&file, []string{"bucket", "key", "size"})
			for _, k := range part {
				if err == nil {
					err = w.Write([][]byte{[]byte("demo"), []byte(k), []byte("7")})
				}
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file.Bytes())
		}
		finished(t, "parquet", d.inventory(t, "manifests", "parquet", "Parquet", "message s3.inventory { required binary bucket (STRING); required binary key (STRING); optional int64 size; }", files...))
	})

	// Files of another writer. Their bucket keeps no versions, so that version ids
	// say nothing.
	t.Run("orc", func(t *testing.T) {
		const folder = "../manifest/orc/testdata/"
		read := func(name string) []byte {
			data, err := os.ReadFile(folder + name)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		d.buckets(t, "source")
		var want []string
		for line := range strings.Lines(string(read("golden.txt"))) {
			k := strings.Split(line, "\t")[1]
			want = append(want, k, k) // in both files
		}
		each(t, len(want)/2, func(i int, res *objectstore.Result) error {
			d.lean.Do(t.Context(), &objectstore.Request{Method: "PUT", Bucket: "source", Key: []byte(want[2*i]), Body: objectstore.NewBody([]byte("x"))}, res)
			if !res.OK() {
				return fmt.Errorf("put %s: %d %s %w", want[2*i], res.Status, res.Code, res.Err)
			}
			return nil
		})
		slices.Sort(want)
		etag := d.inventory(t, "manifests", "orc", "ORC", "struct<bucket:string,key:string,version_id:string,is_latest:boolean,size:bigint>", read("golden-none.orc"), read("golden-zlib.orc"))
		_, rows := d.completed(t, c, inventoried("manifests", "orc/manifest.json", etag, "orc"), len(want))
		if diff := cmp.Diff(want, keysOf(t, rows, "succeeded")); diff != "" {
			t.Error(diff)
		}
		for _, k := range want {
			if got := d.tagOf(t, "source", k, "by"); got != "orc" {
				t.Errorf("%q is tagged %q", k, got)
			}
		}
	})
}

// TestKill9InventoryFile kills the server in the middle of the only file of an
// inventory: gzip, which cannot be read from there.
func TestKill9InventoryFile(t *testing.T) {
	t.Parallel()
	const tasks, kills = 5_000, 3
	o := startObjects(t)
	o.buckets(t, "data", "manifests", "reports")
	file := gzipped(t, string(o.seed(t, "data", tasks)))
	etag := o.inventory(t, "manifests", "inv", "CSV", "Bucket, Key", file)

	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("segment_interval: 100ms\nstore: {max_concurrency: 8}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, o, dir, address, "--config", config)
	c := control(address)
	out, err := c.CreateJob(t.Context(), inventoried("manifests", "inv/manifest.json", etag, "survivor"))
	if err != nil {
		t.Fatal(err)
	}
	id := *out.JobId
	for i := range kills {
		j := until(t, c, id, func(j *types.JobDescriptor) bool {
			return ended(j) || aws.ToInt64(j.ProgressSummary.NumberOfTasksSucceeded) > int64(i*tasks/(kills+1))
		})
		p.kill()
		if ended(j) {
			t.Fatalf("the job ended before kill %d", i+1)
		}
		p = serve(t, o, dir, address, "--config", config)
		before, after := *j.ProgressSummary.NumberOfTasksSucceeded, *describe(t, c, id).ProgressSummary.NumberOfTasksSucceeded
		if after < before {
			t.Errorf("kill %d: %d tasks had succeeded, now %d have", i+1, before, after)
		}
		t.Logf("kill %d at %d of %d tasks", i+1, after, tasks)
	}
	j := until(t, c, id, ended)
	if s := j.ProgressSummary; j.Status != types.JobStatusComplete || *s.TotalNumberOfTasks != tasks || *s.NumberOfTasksSucceeded != tasks || *s.NumberOfTasksFailed != 0 {
		t.Fatalf("the job ended %s: %+v; %d tasks, %d succeeded, %d failed", j.Status, j.FailureReasons, *s.TotalNumberOfTasks, *s.NumberOfTasksSucceeded, *s.NumberOfTasksFailed)
	}
	exactlyOnce(t, o.report(t, "reports", "r", id), tasks, "succeeded")
	o.tagged(t, "data", tasks, "by", "survivor")
}

// TestLenientManifests: what many tools write fails by default, with a text that
// says where, why and what to do, and runs if the job is tagged so.
func TestLenientManifests(t *testing.T) {
	t.Parallel()
	d := startDev(t, 2)
	c := control(d.host())
	d.put(t, "demo", "with space.txt", nil)
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := "demo," + key(0) + "\ndemo," + key(1) + "\n"
	all := []string{key(0), key(1)}
	spaced := []string{key(0), "with space.txt"}
	tests := []struct {
		name, text string
		refusal    string   // what the text contains
		reason     string   // what leniency says
		want       []string // keys
	}{
		{"gzip", string(gzipped(t, good)), "line 1: the file is gzip-compressed; store it uncompressed", "gzip decompressed", all},
		{"zstd", string(e.EncodeAll([]byte(good), nil)), "line 1: the file is zstd-compressed", "zstd decompressed", all},
		{"BOM", "\ufeff" + good, "line 1: the line starts with a byte order mark; save the file as UTF-8 without BOM", "byte order mark skipped", all},
		{"header", "bucket,key\r\n" + good, "line 1: the row names the columns; remove it", "header row skipped", all},
		{"space", "demo," + key(0) + "\ndemo,with space.txt\n", `line 2: "with space.txt" has a space that is not encoded; write %20`, "1 key with unencoded spaces", spaced},
		{
			"all", string(gzipped(t, "\ufeffBucket,Key\r\ndemo,"+key(0)+"\r\ndemo,with space.txt\r\n")), "line 1: the file is gzip-compressed",
			"gzip decompressed, byte order mark skipped, header row skipped, 1 key with unencoded spaces", spaced,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			manifest := "lenient/" + tt.name + ".csv"
			request := func() *s3control.CreateJobInput {
				in := tagJob("", "by-"+tt.name, "us")
				in.Manifest.Location.ETag, in.Manifest.Location.ObjectArn = aws.String(sum([]byte(tt.text))), aws.String("arn:aws:s3:::manifests/"+manifest)
				return in
			}
			d.put(t, "manifests", manifest, []byte(tt.text))
			d.refusedManifest(t, created(t, c, request()), "InvalidManifestContent", tt.refusal, "or tag the job stevedore:manifest=lenient")
			in := request()
			in.Tags = []types.S3Tag{{Key: aws.String("stevedore:manifest"), Value: aws.String("lenient")}}
			j, rows := d.completed(t, c, in, len(tt.want))
			if got, want := aws.ToString(j.StatusUpdateReason), "Manifest read leniently: "+tt.reason; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := keysOf(t, rows, "succeeded"); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestBadManifests sends some of the bad manifests through the API. All of them
// go through package schedule.
func TestBadManifests(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1)
	c := control(d.host())
	d.buckets(t, "src")
	for _, k := range []string{"a", "b", "plain.txt", "photos/a b.jpg"} {
		d.put(t, "src", k, nil)
	}
	left := map[string]bool{}
	for _, name := range []string{
		"empty", "too many columns", "UTF-16", "quote not closed", "percent alone", "key too long", "Parquet as CSV",
		"manifest.json cut off", "no files", "schema without key", "file twice",
		"data file missing", "data file cut off", "data row with a column too few", "data row with a bad key", "Parquet cut off", "ORC that is CSV",
	} {
		left[name] = true
	}
	before := d.everything(t)
	for _, bad := range manifesttest.Bads("manifests") {
		if !left[bad.Name] {
			continue
		}
		delete(left, bad.Name)
		t.Run(bad.Name, func(t *testing.T) {
			for k, data := range bad.Objects {
				d.put(t, "manifests", k, data)
			}
			in := inventoried("manifests", bad.Key, sum(bad.Objects[bad.Key]), "nobody")
			if bad.Format == job.ManifestCSV {
				in.Manifest.Spec.Format = types.JobManifestFormatS3BatchOperationsCsv20180820
				for _, f := range bad.Fields {
					in.Manifest.Spec.Fields = append(in.Manifest.Spec.Fields, types.JobManifestFieldName(f))
				}
			}
			d.refusedManifest(t, created(t, c, in), bad.Code, bad.Reason)
			for k := range bad.Objects {
				if _, err := d.sdk.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("manifests"), Key: &k}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if len(left) > 0 {
		t.Errorf("there are no manifests named %v", left)
	}
	if diff := cmp.Diff(before, d.everything(t)); diff != "" { // tags included
		t.Error(diff)
	}
}

// TestBoto3Manifests runs testdata/manifests.py: manifests of every kind, by boto3.
func TestBoto3Manifests(t *testing.T) {
	t.Parallel()
	const tasks = 12
	for _, python := range pythons(t) {
		t.Run(python.releases, func(t *testing.T) {
			t.Parallel()
			d := startDev(t, tasks)
			env := cleanEnv("TEST_S3="+d.s3, "TEST_API="+d.api, fmt.Sprintf("TEST_TASKS=%d", tasks), "STEVEDORE_READY_FILE="+d.readyFile)
			if e := command(t, env, "", binary, "exec", "--", python.path, filepath.Join("testdata", "manifests.py")); e.code != 0 {
				t.Errorf("exit code %d\n%s%s", e.code, e.stdout, e.stderr)
			}
		})
	}
}
