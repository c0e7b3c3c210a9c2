package operation_test

import (
	"bytes"
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// a recorder is a store that does everything asked and keeps the last request.
type recorder struct {
	last    objectstore.Request
	key     string
	headers map[string]string
	order   []string
}

func (r *recorder) Do(_ context.Context, req *objectstore.Request, res *objectstore.Result) {
	r.last, r.key = *req, string(req.Key)
	r.headers, r.order = map[string]string{}, nil
	for _, h := range req.Headers {
		r.headers[h.Name] = h.Value
		r.order = append(r.order, h.Name)
	}
	*res = objectstore.Result{Status: 200, Attempts: 1}
}

// do does one task and returns what was sent.
func do(t testing.TB, op job.Operation, task operation.Task) *recorder {
	t.Helper()
	r := new(recorder)
	o, err := operation.New(op, operation.Env{Client: r})
	if err != nil {
		t.Fatal(err)
	}
	var out job.Outcome
	if err := o.Do(context.Background(), &task, operation.NewScratch(), &out); err != nil || out.Failed {
		t.Fatalf("got %+v, %v, want success", out, err)
	}
	return r
}

func TestCopyParameters(t *testing.T) {
	t.Parallel()
	check := func(p job.S3PutObjectCopy, want map[string]string) {
		t.Helper()
		p.TargetResource = "arn:aws:s3:::dest"
		r := do(t, job.Operation{S3PutObjectCopy: &p}, operation.Task{Bucket: "src", Key: []byte("k")})
		want["x-amz-copy-source"] = "src/k"
		if diff := cmp.Diff(want, r.headers); diff != "" {
			t.Errorf("%+v: want (-) and got (+):\n%s", p, diff)
		}
		if !slices.IsSorted(r.order) || len(r.order) != len(r.headers) {
			t.Errorf("headers %q: not sorted, or one twice", r.order)
		}
		if r.last.Method != "PUT" || r.last.Bucket != "dest" || r.key != "k" || !r.last.ErrorIn200 || len(r.last.VersionID) > 0 {
			t.Errorf("got %s %s/%s (version %q, error in 200 %t)", r.last.Method, r.last.Bucket, r.key, r.last.VersionID, r.last.ErrorIn200)
		}
	}
	type copying = job.S3PutObjectCopy
	type sent = map[string]string
	type metadata = job.ObjectMetadata
	at := time.Date(2026, 1, 2, 4, 4, 5, 678_000_000, time.FixedZone("CET", 3600))
	const http = "Fri, 02 Jan 2026 03:04:05 GMT"

	check(copying{}, sent{})
	for _, acl := range job.CannedAccessControlList("").Values() {
		check(copying{CannedAccessControlList: job.CannedAccessControlList(acl)}, sent{"x-amz-acl": acl})
	}
	for _, class := range job.StorageClass("").Values() {
		check(copying{StorageClass: job.StorageClass(class)}, sent{"x-amz-storage-class": class})
	}
	for _, sum := range job.ChecksumAlgorithm("").Values() {
		check(copying{ChecksumAlgorithm: job.ChecksumAlgorithm(sum)}, sent{"x-amz-checksum-algorithm": sum})
	}
	check(copying{RedirectLocation: "/r"}, sent{"x-amz-website-redirect-location": "/r"})
	check(copying{RequesterPays: new(true)}, sent{"x-amz-request-payer": "requester"})
	check(copying{RequesterPays: new(false)}, sent{})
	check(copying{ModifiedSinceConstraint: &at}, sent{"x-amz-copy-source-if-modified-since": http})
	check(copying{UnModifiedSinceConstraint: &at}, sent{"x-amz-copy-source-if-unmodified-since": http})
	check(copying{ObjectLockLegalHoldStatus: "OFF"}, sent{"x-amz-object-lock-legal-hold": "OFF"})
	check(copying{ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: &at},
		sent{"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2026-01-02T03:04:05.678Z"})

	// Encryption does not hang on the directive.
	const sse = "x-amz-server-side-encryption"
	check(copying{SSEAwsKmsKeyId: "alias/a"}, sent{sse: "aws:kms", sse + "-aws-kms-key-id": "alias/a"})
	check(copying{NewObjectMetadata: &metadata{SSEAlgorithm: "AES256"}}, sent{sse: "AES256"})
	check(copying{NewObjectMetadata: &metadata{SSEAlgorithm: "KMS"}}, sent{sse: "aws:kms"})
	check(copying{NewObjectMetadata: &metadata{SSEAlgorithm: "KMS"}, MetadataDirective: "COPY", BucketKeyEnabled: new(false)},
		sent{sse: "aws:kms", sse + "-bucket-key-enabled": "false", "x-amz-metadata-directive": "COPY"})

	// Tags: absent, empty, given.
	check(copying{NewObjectTagging: nil}, sent{})
	check(copying{NewObjectTagging: []job.Tag{}}, sent{"x-amz-tagging-directive": "REPLACE"})
	check(copying{NewObjectTagging: []job.Tag{{Key: "b", Value: "x y+/é"}, {Key: "a&="}}},
		sent{"x-amz-tagging-directive": "REPLACE", "x-amz-tagging": "b=x%20y%2B%2F%C3%A9&a%26%3D="})

	// Metadata: any of it means REPLACE unless the directive says otherwise.
	const directive = "x-amz-metadata-directive"
	check(copying{MetadataDirective: "COPY"}, sent{directive: "COPY"})
	check(copying{MetadataDirective: "REPLACE"}, sent{directive: "REPLACE"})
	check(copying{NewObjectMetadata: &metadata{}}, sent{})
	check(copying{NewObjectMetadata: &metadata{UserMetadata: map[string]string{}}}, sent{})
	check(copying{NewObjectMetadata: &metadata{CacheControl: "c"}}, sent{directive: "REPLACE", "cache-control": "c"})
	check(copying{NewObjectMetadata: &metadata{ContentDisposition: "d"}}, sent{directive: "REPLACE", "content-disposition": "d"})
	check(copying{NewObjectMetadata: &metadata{ContentEncoding: "e"}}, sent{directive: "REPLACE", "content-encoding": "e"})
	check(copying{NewObjectMetadata: &metadata{ContentLanguage: "l"}}, sent{directive: "REPLACE", "content-language": "l"})
	check(copying{NewObjectMetadata: &metadata{ContentType: "t"}}, sent{directive: "REPLACE", "content-type": "t"})
	check(copying{NewObjectMetadata: &metadata{HttpExpiresDate: &at}}, sent{directive: "REPLACE", "expires": http})
	check(copying{NewObjectMetadata: &metadata{ContentType: "t"}, MetadataDirective: "COPY"}, sent{directive: "COPY"})
	check(copying{NewObjectMetadata: &metadata{ContentLength: new(int64(7)), ContentMD5: "x", RequesterCharged: new(true)}}, sent{})
	check(copying{NewObjectMetadata: &metadata{UserMetadata: map[string]string{
		"Mixed-Case": "v", "empty": "", "spaces": " \tin  side ", "unicode": "Grüße",
	}}}, sent{
		directive: "REPLACE", "x-amz-meta-mixed-case": "v", "x-amz-meta-empty": "", "x-amz-meta-spaces": "in  side",
		"x-amz-meta-unicode": "=?UTF-8?b?R3LDvMOfZQ==?=",
	})

	// Grants beyond those recorded: one that cannot be granted on an object never goes out.
	check(copying{AccessControlGrants: []job.Grant{
		{Grantee: &job.Grantee{TypeIdentifier: "id", Identifier: "a"}, Permission: "WRITE"},
		{Grantee: &job.Grantee{TypeIdentifier: "id", Identifier: "a"}, Permission: "READ"},
	}}, sent{"x-amz-grant-read": `id="a"`})
}

func TestCopyKeys(t *testing.T) {
	t.Parallel()
	check := func(prefix, key, version, wantKey, wantSource string) {
		t.Helper()
		r := do(t, job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest", TargetKeyPrefix: prefix}},
			operation.Task{Bucket: "src", Key: []byte(key), VersionID: []byte(version)})
		if r.key != wantKey || r.headers["x-amz-copy-source"] != wantSource {
			t.Errorf("copy %q %q: got %q from %q, want %q from %q", key, version, r.key, r.headers["x-amz-copy-source"], wantKey, wantSource)
		}
	}
	check("", "k", "", "k", "src/k")
	check("", "k", "null", "k", "src/k?versionId=null")
	check("", "k", "a+b/c=", "k", "src/k?versionId=a%2Bb%2Fc%3D")
	check("Folder1", "k", "", "Folder1/k", "src/k")
	check("Folder1/", "k", "", "Folder1/k", "src/k")
	check("a/b", "c/d", "", "a/b/c/d", "src/c/d")
	check("Folder1", "/lead", "", "Folder1//lead", "src//lead") // the key's own slash is part of it
	check("/", "k", "", "/k", "src/k")
	check("", "a//b/../c/./d", "", "a//b/../c/./d", "src/a//b/../c/./d")
	check("", "1+1 = 2?&#%é", "", "1+1 = 2?&#%é", "src/1%2B1%20%3D%202%3F%26%23%25%C3%A9")
	check("", "a%2Fb", "", "a%2Fb", "src/a%252Fb")
	check("", "\x00\xff", "", "\x00\xff", "src/%00%FF")
}

// TestSharedOperation has many goroutines, each with its own scratch, use one operation.
func TestSharedOperation(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sources := map[string]string{}
	o := newOperation(t, job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{
		TargetResource: "arn:aws:s3:::dest", TargetKeyPrefix: "p", StorageClass: "STANDARD", RedirectLocation: "/r",
	}}, clientFunc(func(req *objectstore.Request, res *objectstore.Result) {
		mu.Lock()
		defer mu.Unlock()
		i := slices.IndexFunc(req.Headers, func(h objectstore.Header) bool { return h.Name == "x-amz-copy-source" })
		sources[string(req.Key)] = req.Headers[i].Value
		*res = objectstore.Result{Status: 200}
	}))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			s := operation.NewScratch()
			var out job.Outcome
			for i := range 100 {
				key := bytes.Repeat([]byte{byte('a' + worker)}, i+1)
				if err := o.Do(t.Context(), &operation.Task{Bucket: "src", Key: key}, s, &out); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(sources) != 800 {
		t.Errorf("got %d destinations, want 800", len(sources))
	}
	for key, source := range sources {
		if want := "src/" + strings.TrimPrefix(key, "p/"); source != want {
			t.Errorf("%s was copied from %s, want %s", key, source, want)
		}
	}
}

// TestOverlappingTasks begins a second task while the first is under way.
func TestOverlappingTasks(t *testing.T) {
	t.Parallel()
	var o operation.Operation
	var got []string
	inside := false
	o = newOperation(t, job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest", TargetKeyPrefix: "p"}},
		clientFunc(func(req *objectstore.Request, res *objectstore.Result) {
			if !inside {
				inside = true
				var out job.Outcome
				if err := o.Do(t.Context(), &operation.Task{Bucket: "src", Key: []byte("second")}, operation.NewScratch(), &out); err != nil {
					t.Error(err)
				}
			}
			got = append(got, req.Headers[0].Value+" to "+string(req.Key))
			*res = objectstore.Result{Status: 200}
		}))
	var out job.Outcome
	if err := o.Do(t.Context(), &operation.Task{Bucket: "src", Key: []byte("first")}, operation.NewScratch(), &out); err != nil {
		t.Fatal(err)
	}
	if want := []string{"src/second to p/second", "src/first to p/first"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

type clientFunc func(*objectstore.Request, *objectstore.Result)

func (f clientFunc) Do(_ context.Context, req *objectstore.Request, res *objectstore.Result) {
	f(req, res)
}

// TestCopyReadBack takes what was sent apart again, for any key, version and tags.
func TestCopyReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(rt, "key")
		version := rapid.SliceOfN(rapid.Byte(), 0, 10).Draw(rt, "version")
		var tags []job.Tag
		for _, k := range rapid.SliceOfDistinct(rapid.String(), rapid.ID).Draw(rt, "tags") {
			tags = append(tags, job.Tag{Key: k, Value: rapid.String().Draw(rt, "value")})
		}
		r := do(t, job.Operation{S3PutObjectCopy: &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest", NewObjectTagging: tags}},
			operation.Task{Bucket: "src", Key: key, VersionID: version})

		source, sentVersion, _ := strings.Cut(r.headers["x-amz-copy-source"], "?versionId=")
		if strings.ContainsAny(source, "+ ") {
			rt.Errorf("source %q: some stores take + for a space", source)
		}
		if got, err := url.PathUnescape(source); err != nil || got != "src/"+string(key) {
			rt.Errorf("source %q: got %q, %v, want src/%q", source, got, err, key)
		}
		if got, err := url.QueryUnescape(sentVersion); err != nil || got != string(version) {
			rt.Errorf("version %q: got %q, %v", version, got, err)
		}
		values, err := url.ParseQuery(r.headers["x-amz-tagging"])
		if err != nil || len(values) != len(tags) {
			rt.Fatalf("tags %q: got %v, %v", r.headers["x-amz-tagging"], values, err)
		}
		for _, tag := range tags {
			if got := values[tag.Key]; len(got) != 1 || got[0] != tag.Value {
				rt.Errorf("tag %q: got %q, want %q", tag.Key, got, tag.Value)
			}
		}
	})
}
