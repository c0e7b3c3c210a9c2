package operation_test

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

func computing(algorithm job.ChecksumAlgorithm, kind job.ChecksumType) job.Operation {
	return job.Operation{S3ComputeObjectChecksum: &job.S3ComputeObjectChecksum{ChecksumAlgorithm: algorithm, ChecksumType: kind}}
}

// sumReport is what a reader of the report takes from a row.
type sumReport struct {
	Base64    string `json:"checksum_base64"`
	ETag      string `json:"etag"`
	Algorithm string `json:"checksumAlgorithm"`
	Type      string `json:"checksumType"`
	Hex       string `json:"checksum_hex"`
}

// compute sums one object up and returns the checksum in hex.
func compute(t interface {
	Helper()
	Fatalf(string, ...any)
}, store *objectstore.Store, algorithm job.ChecksumAlgorithm, kind job.ChecksumType, task operation.Task,
) (sumReport, job.Outcome) {
	t.Helper()
	o, err := operation.New(computing(algorithm, kind), operation.Env{Client: store, Objects: store, Soft: context.Background()})
	if err != nil {
		t.Fatalf("%v", err)
	}
	var out job.Outcome
	var got sumReport
	if err := o.Do(context.Background(), &task, operation.NewScratch(), &out); err != nil {
		t.Fatalf("%v", err)
	}
	if out.Failed {
		return got, out
	}
	if err := json.Unmarshal([]byte(out.Message), &got); err != nil || out.HTTPStatus != 200 || out.Attempts != 1 {
		t.Fatalf("%+v: %v", out, err)
	}
	raw, err := base64.StdEncoding.DecodeString(got.Base64)
	if err != nil || fmt.Sprintf("%X", raw) != got.Hex {
		t.Fatalf("base64 and hex differ: %+v", got)
	}
	return got, out
}

// TestChecksumMessage holds the message to the byte: readers of AWS's reports
// look for these names, and some for the escapes.
func TestChecksumMessage(t *testing.T) {
	t.Parallel()
	srv, store := s3(t)
	o := srv.Put("b", "k", "123456789")
	check := func(algorithm job.ChecksumAlgorithm, kind job.ChecksumType, want string) {
		t.Helper()
		_, out := compute(t, store, algorithm, kind, operation.Task{Bucket: "b", Key: []byte("k")})
		if want = strings.ReplaceAll(want, "ETAG", o.ETag); out.Message != want {
			t.Errorf("got  %s\nwant %s", out.Message, want)
		}
	}
	check("CRC32", "FULL_OBJECT", `{"checksum_base64":"y/Q5Jg\u003d\u003d","etag":"ETAG","checksumAlgorithm":"CRC32","checksumType":"FULL_OBJECT","checksum_hex":"CBF43926"}`)
	check("", "", `{"checksum_base64":"rosUhgp5mIg\u003d","etag":"ETAG","checksumAlgorithm":"CRC64NVME","checksumType":"FULL_OBJECT","checksum_hex":"AE8B14860A799888"}`)
	check("CRC32", "COMPOSITE", `{"checksum_base64":"7kxlUA\u003d\u003d","etag":"ETAG","checksumAlgorithm":"CRC32","checksumType":"COMPOSITE","checksum_hex":"EE4C6550"}`)
}

// TestChecksumsOfNothing compares with the published values, in the byte order
// they are published in.
func TestChecksumsOfNothing(t *testing.T) {
	t.Parallel()
	srv, store := s3(t)
	srv.Put("b", "empty", "")
	seen := 0
	for algorithm, want := range map[string]string{
		"CRC32": "00000000", "CRC32C": "00000000", "CRC64NVME": "0000000000000000",
		"MD5": "D41D8CD98F00B204E9800998ECF8427E", "SHA1": "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
		"SHA256":   "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
		"SHA512":   "CF83E1357EEFB8BDF1542850D66D8007D620E4050B5715DC83F4A921D36CE9CE47D0D13C5D85F2B0FF8318D2877EEC2F63B931BD47417A81A538327AF927DA3E",
		"XXHASH64": "EF46DB3751D8E999", "XXHASH3": "2D06800538D394C2", "XXHASH128": "99AA06D3014798D86001C324468D497F",
	} {
		got, out := compute(t, store, job.ChecksumAlgorithm(algorithm), "FULL_OBJECT", operation.Task{Bucket: "b", Key: []byte("empty")})
		if got.Hex != want || got.Algorithm != algorithm {
			t.Errorf("%s: got %+v, want %s", algorithm, out, want)
		}
		seen++
	}
	if all := job.ChecksumAlgorithm("").Values(); seen != len(all) {
		t.Errorf("%d algorithms of %d are tried", seen, len(all))
	}
}

// reference are algorithms of the standard library, apart from those in use.
var reference = map[job.ChecksumAlgorithm]func() hash.Hash{
	"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"CRC64NVME": func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) },
	"MD5":       md5.New, "SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New,
}

// TestChecksumsOfParts sums up objects of any parts and compares with sums made
// in one go.
func TestChecksumsOfParts(t *testing.T) {
	t.Parallel()
	srv, store := s3(t)
	rapid.Check(t, func(rt *rapid.T) {
		var parts []string
		for range rapid.IntRange(1, 4).Draw(rt, "parts") {
			size := rapid.SampledFrom([]int{1, 7, 1000, 256<<10 - 1, 256 << 10, 256<<10 + 1}).Draw(rt, "size")
			part := make([]byte, size)
			seed := rapid.Uint64().Draw(rt, "seed")
			for i := range part {
				part[i] = byte(seed >> (i % 8 * 8) * uint64(i+1))
			}
			parts = append(parts, string(part))
		}
		o := srv.PutParts("b", "k", parts...)
		task := operation.Task{Bucket: "b", Key: []byte("k"), VersionID: []byte(o.VersionID)}
		algorithm := rapid.SampledFrom(slices.Sorted(maps.Keys(reference))).Draw(rt, "algorithm")
		fresh := reference[algorithm]
		whole, outer := fresh(), fresh()
		for _, p := range parts {
			inner := fresh()
			_, _ = io.WriteString(whole, p)
			_, _ = io.WriteString(inner, p)
			outer.Write(inner.Sum(nil))
		}
		got, out := compute(rt, store, algorithm, "FULL_OBJECT", task)
		if want := fmt.Sprintf("%X", whole.Sum(nil)); got.Hex != want || got.ETag != o.ETag {
			rt.Errorf("%s: got %+v, want %s", algorithm, out, want)
		}
		if algorithm == "CRC64NVME" { // composite is not defined for it
			return
		}
		got, out = compute(rt, store, algorithm, "COMPOSITE", task)
		if want := fmt.Sprintf("%X", outer.Sum(nil)); got.Hex != want || got.ETag != o.ETag || got.Type != "COMPOSITE" {
			rt.Errorf("%s of %d parts: got %+v, want %s", algorithm, len(parts), out, want)
		}
	})
}

// TestChecksumOfVersions reads the version that is meant, of keys of any kind.
func TestChecksumOfVersions(t *testing.T) {
	t.Parallel()
	srv, store := s3(t)
	srv.SetVersioning("b", "Enabled")
	for _, key := range oddKeys {
		old := srv.Put("b", key, "old "+key)
		srv.Put("b", key, "new "+key)
		for _, kind := range []job.ChecksumType{"FULL_OBJECT", "COMPOSITE"} {
			for version, text := range map[string]string{old.VersionID: "old ", "": "new "} {
				sum := crc32.ChecksumIEEE([]byte(text + key))
				if kind == "COMPOSITE" {
					sum = crc32.ChecksumIEEE(binary.BigEndian.AppendUint32(nil, sum))
				}
				got, out := compute(t, store, "CRC32", kind, operation.Task{Bucket: "b", Key: []byte(key), VersionID: []byte(version)})
				if got.Hex != fmt.Sprintf("%08X", sum) {
					t.Errorf("%s of %q, version %q: got %+v", kind, key, version, out)
				}
			}
		}
	}
}

// TestChecksumFailures holds the rows of failed tasks.
func TestChecksumFailures(t *testing.T) {
	t.Parallel()
	check := func(name string, kind job.ChecksumType, prepare func(srv *objectstoretest.Server), text, code string, attempts int) {
		t.Helper()
		srv, store := s3(t)
		srv.PutParts("b", "k", "one", "two")
		prepare(srv)
		_, out := compute(t, store, "SHA256", kind, operation.Task{Bucket: "b", Key: []byte("k")})
		want := job.Outcome{
			Failed: true, HTTPStatus: 200, Code: "PermanentFailure", Attempts: attempts,
			Message: `error details: {"failureMessage":"` + text + `", "errorCode": "` + code + `"}`,
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("%s, %s: want (-) and got (+):\n%s", name, kind, diff)
		}
	}
	type server = objectstoretest.Server
	heads := func(m objectstoretest.Match, a objectstoretest.Action) func(*server) {
		return func(srv *server) { m.Op = "HeadObject"; srv.Fault(m, a) }
	}
	gets := func(m objectstoretest.Match, a objectstoretest.Action) func(*server) {
		return func(srv *server) { m.Op = "GetObject"; srv.Fault(m, a) }
	}
	const full, composite = "FULL_OBJECT", "COMPOSITE"
	every := objectstoretest.Match{}
	archived := func(srv *server) { srv.SetStorageClass("b", "k", "GLACIER") }
	const why = "InvalidObjectState: The operation is not valid for the object's storage class"
	check("archived", full, archived, why, "403", 1)
	check("archived", composite, archived, why, "403", 1)
	check("gone", full, gets(every, objectstoretest.Status(404, "NoSuchKey")), "Key not found", "404", 1)
	check("gone", composite, heads(every, objectstoretest.Status(404, "")), "Key not found", "404", 1)
	check("SSE-C", full, gets(every, objectstoretest.Status(400, "InvalidRequest")), "InvalidRequest: Injected InvalidRequest.", "400", 1)
	check("SSE-C", composite, heads(every, objectstoretest.Status(400, "")), "BadRequest: Bad Request", "400", 1)
	check("denied", full, gets(every, objectstoretest.Status(403, "AccessDenied")), "AccessDenied: Injected AccessDenied.", "403", 1)
	check("down", composite, heads(every, objectstoretest.Status(500, "InternalError")),
		"Internal server error, please retry: InternalError: Internal Server Error", "500", 3)
	// A store that knows nothing of parts, or does not look at If-Match.
	check("parts unknown", composite, heads(every, objectstoretest.Answer(200, "sixsix").With("ETag", `"x-2"`).With("Content-Length", "6")),
		"NotImplemented: the store tells the sizes of the object's 2 parts neither by HEAD with partNumber nor by GetObjectAttributes", "501", 1)
	check("sizes wrong", composite, heads(objectstoretest.Match{Skip: 1}, objectstoretest.Answer(200, "").
		With("ETag", `"`+etagOf("one", "two")+`"`).With("Content-Length", "2").With("X-Amz-Mp-Parts-Count", "2")),
		"NotImplemented: the sizes of the parts that the store tells do not make up the object's", "501", 1)
	check("overwritten", composite, heads(objectstoretest.Match{Skip: 1}, objectstoretest.Answer(200, "").
		With("ETag", `"other-2"`).With("Content-Length", "3").With("X-Amz-Mp-Parts-Count", "2")),
		"PreconditionFailed: the object was overwritten while it was read", "412", 1)
}

func etagOf(parts ...string) string {
	outer := md5.New()
	for _, p := range parts {
		sum := md5.Sum([]byte(p))
		outer.Write(sum[:])
	}
	return fmt.Sprintf("%x-%d", outer.Sum(nil), len(parts))
}

// TestChecksumUnderFaults never reports a wrong sum.
func TestChecksumUnderFaults(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 100_000)
	want := fmt.Sprintf("%X", sha256.Sum256([]byte(body)))
	for name, action := range map[string]objectstoretest.Action{
		"cut": objectstoretest.CutBody(300_000), "cut early": objectstoretest.CutBody(1),
		"reset": objectstoretest.ResetBefore(), "slow down": objectstoretest.SlowDown(), "500": objectstoretest.Status(500, "InternalError"),
	} {
		srv, store := s3(t)
		srv.Put("b", "k", body)
		srv.Fault(objectstoretest.Match{Times: 2}, action)
		got, out := compute(t, store, "SHA256", "FULL_OBJECT", operation.Task{Bucket: "b", Key: []byte("k")})
		if got.Hex != want {
			t.Errorf("%s: got %+v", name, out)
		}
	}
	// Overwritten in the middle: the sum of neither is reported.
	srv, store := s3(t)
	srv.Put("b", "k", body)
	srv.Fault(objectstoretest.Match{Op: "GetObject", Times: 1}, objectstoretest.CutBody(300_000))
	gate := objectstoretest.NewGate()
	srv.Fault(objectstoretest.Match{Op: "GetObject", Times: 1}, objectstoretest.Block(gate))
	done := make(chan job.Outcome)
	go func() {
		_, out := compute(t, store, "SHA256", "FULL_OBJECT", operation.Task{Bucket: "b", Key: []byte("k")})
		done <- out
	}()
	<-gate.Arrived()
	srv.Put("b", "k", strings.ToUpper(body)+"!")
	gate.Open()
	if out := <-done; !out.Failed || !strings.Contains(out.Message, `"errorCode": "412"`) {
		t.Errorf("overwritten: %+v", out)
	}
}

// endless is an object without end.
type endless struct{ operation.Client }

func (endless) Head(context.Context, objectstore.Object) (objectstore.Info, error) {
	return objectstore.Info{}, errors.New("not asked for")
}

func (endless) Versioning(context.Context, string) (string, error) { return "", nil }

func (endless) Open(ctx context.Context, _ objectstore.Object, _, _ int64) (io.ReadCloser, objectstore.Info, error) {
	return io.NopCloser(drip{ctx}), objectstore.Info{Size: 1 << 50}, nil
}

type drip struct{ ctx context.Context } //nolint:containedctx // Read has no parameter for it

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, context.Cause(d.ctx)
	case <-time.After(time.Second):
		return min(1000, len(p)), nil
	}
}

// TestChecksumGivesWay stops in the middle of an object when its job is to stop,
// but not at once.
func TestChecksumGivesWay(t *testing.T) {
	t.Parallel()
	check := func(end func(soft, hard context.CancelCauseFunc), within time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hard, kill := context.WithCancelCause(t.Context())
			soft, drain := context.WithCancelCause(hard)
			o, err := operation.New(computing("", ""), operation.Env{Objects: endless{}, Soft: soft})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			time.AfterFunc(time.Minute, func() { end(drain, kill) })
			out := job.Outcome{Message: "untouched"}
			err = o.Do(hard, &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out)
			if !errors.Is(err, errOver) || out.Message != "untouched" || time.Since(start) != time.Minute+within {
				t.Errorf("got %+v, %v after %s", out, err, time.Since(start))
			}
			kill(nil)
		})
	}
	check(func(soft, _ context.CancelCauseFunc) { soft(errOver) }, 5*time.Second)
	check(func(_, hard context.CancelCauseFunc) { hard(errOver) }, 0)
}

var errOver = errors.New("the job was paused")
