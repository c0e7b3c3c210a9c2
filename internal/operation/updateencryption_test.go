package operation_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

const kmsKey = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// A vault is a store with encryption, of one of the kinds there are: what becomes
// of PUT ?encryption, and of the headers that ask for SSE-KMS.
type vault struct {
	*objectstore.Access
	update string // knows, destroys, refuses, ignores or denies
	copies bool   // keeps the encryption asked for
	named  string // the only name it knows a key by; empty: any

	mu    sync.Mutex
	kms   map[string]bool                 // bucket/key: is encrypted
	more  map[string][]objectstore.Header // of the answer to HEAD, by bucket/key
	acl   string
	asked []string // what UpdateObjectEncryption was sent for
}

const sse = "x-amz-server-side-encryption"

func (v *vault) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	place := req.Bucket + "/" + string(req.Key)
	v.mu.Lock()
	defer v.mu.Unlock()
	answer := func(status int, code string) {
		*res = objectstore.Result{Status: status, Code: code, Message: code, Attempts: 1}
	}
	r := *req
	switch req.Query {
	case "encryption":
		v.asked = append(v.asked, place)
		switch v.update {
		case "knows":
			v.kms[place] = true
			answer(200, "")
			return
		case "refuses":
			answer(501, "NotImplemented")
			return
		case "denies":
			answer(403, "AccessDenied")
			return
		case "ignores":
			answer(200, "")
			return
		}
		r.Query = ""
	case "acl":
		answer(501, "NotImplemented")
		if v.acl != "" {
			*res = objectstore.Result{Status: 200, Body: []byte(v.acl)}
		}
		return
	}
	for _, h := range req.Headers {
		if h.Name == sse+"-aws-kms-key-id" && v.named != "" && h.Value != v.named {
			answer(404, "kms:KeyNotFound")
			return
		}
	}
	v.Access.Do(ctx, &r, res)
	switch {
	case req.Method == http.MethodPut && req.Query == "", req.Query == "uploads":
		asked := slices.ContainsFunc(req.Headers, func(h objectstore.Header) bool { return h.Name == sse && h.Value == "aws:kms" })
		if res.OK() {
			v.kms[place] = asked && v.copies
		}
	case req.Method == http.MethodHead, req.Method == http.MethodGet:
		if v.kms[place] {
			key := kmsKey
			if v.named != "" && v.named != kmsKey {
				key = "arn:aws:kms:" + v.named // as MinIO tells it
			}
			res.Header = append(res.Header, objectstore.Header{Name: sse, Value: "aws:kms"}, objectstore.Header{Name: sse + "-aws-kms-key-id", Value: key})
		}
		res.Header = append(res.Header, v.more[place]...)
	}
}

func newVault(t *testing.T, srv *objectstoretest.Server, update string, copies bool) *vault {
	t.Helper()
	return &vault{Access: access(t, srv), update: update, copies: copies, kms: map[string]bool{}, more: map[string][]objectstore.Header{}}
}

func reencrypting(t *testing.T, c operation.Client) operation.Operation {
	t.Helper()
	o, err := operation.New(job.Operation{S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{
		ObjectEncryption: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: kmsKey}},
	}}, operation.Env{Client: c, Job: new(job.Job), PartSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestKeysByName: a store may know no ARN, only what stands in it behind key/.
func TestKeysByName(t *testing.T) {
	t.Parallel()
	check := func(named, message string, encrypted bool) {
		t.Helper()
		srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret", CopyLimit: 20})
		srv.Put("src", "small", "small")
		srv.Put("src", "large", long)
		v := newVault(t, srv, "destroys", true)
		v.named = named
		o := reencrypting(t, v)
		for key, body := range map[string]string{"small": "small", "large": long} {
			out := task(t, o, "src", key, "")
			want := message
			if key == "large" {
				want = strings.Replace(message, "re-encrypted by copy", "re-encrypted by multipart copy, 4 parts", 1)
			}
			if out.Message != want {
				t.Errorf("%s, %s: got %+v, want %s", named, key, out, want)
			}
			if got, _ := srv.Object("src", key); string(got.Body) != body || v.kms["src/"+key] != encrypted {
				t.Errorf("%s, %s: %q, encrypted: %t", named, key, got.Body, v.kms["src/"+key])
			}
		}
		if out := task(t, o, "src", "small", ""); encrypted && !strings.Contains(out.Message, "encrypted like that already") {
			t.Errorf("%s: the second time: %+v", named, out)
		}
	}
	name := kmsKey[strings.LastIndex(kmsKey, "/")+1:]
	check(kmsKey, "Successful (re-encrypted by copy)", true)
	check(name, "Successful (re-encrypted by copy, with the key named "+name+")", true)
	check("another", "The store knows no UpdateObjectEncryption, and a copy of an object in src is not encrypted with the key either", false)
}

// TestNoByteEverChanges goes through all kinds of stores, with and without
// versions: after the job every object is what it was, and the probes are gone.
func TestNoByteEverChanges(t *testing.T) {
	t.Parallel()
	check := func(update string, copies bool, versioning string, want job.Outcome) {
		t.Helper()
		srv := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "AKID", Secret: "secret"})
		srv.SetVersioning("src", versioning)
		v := newVault(t, srv, update, copies)
		before := map[string]objectstoretest.Object{}
		for _, key := range oddKeys {
			before[key] = put(t, v.Access, srv, key, "short", "content-type", "text/odd", "x-amz-meta-a", "1", "x-amz-tagging", "k=v",
				"x-amz-storage-class", "STANDARD_IA")
		}
		o := reencrypting(t, v)
		var wg sync.WaitGroup
		for _, key := range oddKeys {
			wg.Go(func() {
				var out job.Outcome
				if err := o.Do(t.Context(), &operation.Task{Bucket: "src", Key: []byte(key)}, operation.NewScratch(), &out); err != nil || out != want {
					t.Errorf("%s %t %s, %q: got %+v, %v, want %+v", update, copies, versioning, key, out, err, want)
				}
			})
		}
		wg.Wait()
		for key, was := range before {
			now, _ := srv.Object("src", key)
			same(t, was, now)
			if now.StorageClass != "STANDARD_IA" {
				t.Errorf("%q: storage class %q", key, now.StorageClass)
			}
			if v.kms["src/"+key] == want.Failed {
				t.Errorf("%s %t %s, %q: encrypted: %t", update, copies, versioning, key, v.kms["src/"+key])
			}
		}
		var probes []objectstoretest.Request
		for _, r := range srv.Requests() {
			if strings.HasPrefix(r.Key, ".stevedore-probe/") {
				probes = append(probes, r)
			}
		}
		for i, r := range probes {
			if r.Key != probes[0].Key {
				t.Errorf("%s %t %s: request %d is about a second probe", update, copies, versioning, i)
			}
		}
		for _, key := range srv.Keys("src") {
			if strings.HasPrefix(key, ".stevedore-probe/") {
				t.Errorf("%s %t %s: %s was left", update, copies, versioning, key)
			}
		}
		for i := range 100 {
			if _, left := srv.Version("src", probes[0].Key, "v"+string(rune('0'+i/10))+string(rune('0'+i%10))); left {
				t.Errorf("%s %t %s: version %d of the probe was left", update, copies, versioning, i)
			}
		}
		touched := slices.ContainsFunc(v.asked, func(place string) bool { return !strings.HasPrefix(place, "src/.stevedore-probe/") })
		if touched != (update == "knows") {
			t.Errorf("%s: UpdateObjectEncryption was sent for %q", update, v.asked)
		}
	}
	for _, versioning := range []string{"", "Enabled", "Suspended"} {
		check("knows", false, versioning, job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1})
		for _, update := range []string{"destroys", "refuses", "ignores"} {
			check(update, true, versioning, job.Outcome{HTTPStatus: 200, Message: "Successful (re-encrypted by copy)", Attempts: 1})
			check(update, false, versioning, job.Outcome{
				Failed: true, HTTPStatus: 501, Code: "NotImplemented", Attempts: 1,
				Message: "The store knows no UpdateObjectEncryption, and a copy of an object in src is not encrypted with the key either",
			})
		}
		check("denies", true, versioning, job.Outcome{
			Failed: true, HTTPStatus: 403, Code: "AccessDenied", Attempts: 1,
			Message: "cannot tell whether the store knows UpdateObjectEncryption: AccessDenied",
		})
	}
}

// TestReencryptionByCopy looks at single objects in a store that copies.
func TestReencryptionByCopy(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	v := newVault(t, srv, "refuses", true)
	srv.SetVersioning("src", "Enabled")
	o := reencrypting(t, v)
	check := func(key, version string, status int, code, message string, copies int) {
		t.Helper()
		srv.Forget()
		out := task(t, o, "src", key, version)
		if out.HTTPStatus != status || out.Code != code || !strings.Contains(out.Message, message) {
			t.Errorf("%s %s: got %+v, want %d %s %s", key, version, out, status, code, message)
		}
		n := 0
		for _, r := range srv.Requests("CopyObject", "CreateMultipartUpload") {
			if r.Key == key {
				n++
			}
		}
		if n != copies {
			t.Errorf("%s %s: copied %d times, want %d", key, version, n, copies)
		}
	}
	held := func(key string, h ...objectstore.Header) {
		put(t, v.Access, srv, key, "x")
		v.more["src/"+key] = h
	}
	held("retained", objectstore.Header{Name: "x-amz-object-lock-mode", Value: "GOVERNANCE"})
	held("held", objectstore.Header{Name: "x-amz-object-lock-legal-hold", Value: "ON"})
	held("free", objectstore.Header{Name: "x-amz-object-lock-legal-hold", Value: "OFF"})
	held("twice", objectstore.Header{Name: sse, Value: "aws:kms:dsse"})
	check("retained", "", 403, "AccessDenied", "object lock", 0)
	check("held", "", 403, "AccessDenied", "object lock", 0)
	check("free", "", 200, "", "re-encrypted by copy", 1)
	check("free", "", 200, "", "already", 0)
	check("twice", "", 400, "InvalidRequest", "SSE-KMS", 0)
	check("missing", "", 404, "NoSuchKey", "", 0)
	check("free", "v9999", 404, "NoSuchVersion", "", 0)

	old := put(t, v.Access, srv, "k", "old")
	current := put(t, v.Access, srv, "k", "new")
	check("k", old.VersionID, 501, "NotImplemented", "current version", 0)
	check("k", current.VersionID, 200, "", "re-encrypted by copy", 1)
	if now, _ := srv.Object("src", "k"); string(now.Body) != "new" {
		t.Errorf("got %q", now.Body)
	}

	large := put(t, v.Access, srv, "large", long, "x-amz-meta-a", "1", "x-amz-tagging", "t=1")
	check("large", "", 200, "", "(re-encrypted by multipart copy, 4 parts)", 2)
	now, _ := srv.Object("src", "large")
	same(t, large, now)

	// The ACL goes with the copy.
	put(t, v.Access, srv, "shared", "x")
	v.acl = `<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList>
		<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>
		<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://all</URI></Grantee><Permission>READ</Permission></Grant>
	</AccessControlList></AccessControlPolicy>`
	check("shared", "", 200, "", "re-encrypted by copy", 1)
	copies := srv.Requests("CopyObject")
	h := copies[len(copies)-1].Header
	if h.Get("X-Amz-Grant-Full-Control") != `id="me"` || h.Get("X-Amz-Grant-Read") != `uri="http://all"` {
		t.Errorf("got headers %v", h)
	}
}

// TestProbeOfAStoreThatIsAway makes sure that it is asked again, but not by every task.
func TestProbeOfAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	v := newVault(t, srv, "knows", true)
	srv.Put("src", "k", "x")
	srv.Fault(objectstoretest.Match{Op: "PutObject"}, objectstoretest.SlowDown())
	o := reencrypting(t, v)
	for range 3 {
		if out := task(t, o, "src", "k", ""); out.HTTPStatus != 503 || !strings.HasPrefix(out.Message, "cannot tell whether the store knows") {
			t.Errorf("got %+v", out)
		}
	}
	if n := srv.Count("PutObject"); n != 3 {
		t.Errorf("got %d attempts, want those of one request", n)
	}
}

// TestUpdateObjectEncryptionAsRecorded compares with what boto3 sends.
func TestUpdateObjectEncryptionAsRecorded(t *testing.T) {
	t.Parallel()
	var got request
	var probe []byte
	store := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		isProbe := strings.Contains(r.URL.Path, ".stevedore-probe/")
		switch {
		case !isProbe:
			got = meaningful(t, r)
		case r.Method == http.MethodPut && r.URL.RawQuery == "":
			probe, _ = io.ReadAll(r.Body)
		case r.Method == http.MethodGet:
			w.Header().Set(sse, "aws:kms")
			_, _ = w.Write(probe)
		}
	})
	o, err := operation.New(job.Operation{S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{
		ObjectEncryption: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: kmsKey, BucketKeyEnabled: new(true)}},
	}}, operation.Env{Client: store})
	if err != nil {
		t.Fatal(err)
	}
	if out := task(t, o, "src", "dir/a b+c%é.txt", "v1"); out.Failed {
		t.Errorf("got %+v", out)
	}
	if diff := cmp.Diff(recorded(t, "UpdateObjectEncryption.http"), got); diff != "" {
		t.Errorf("recorded (-) and sent (+):\n%s", diff)
	}
}
