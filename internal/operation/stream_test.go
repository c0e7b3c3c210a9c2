package operation_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// summed has a near store that keeps a checksum of body, and a far one that refuses
// checksums: with requests of one method and query.
type summed struct {
	*objectstore.Access
	body          string
	method, query string
	status        int
	code          string
	refused       int
}

func (c *summed) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	for _, h := range req.Headers {
		if strings.HasPrefix(h.Name, "x-amz-checksum-") && req.Bucket == "far" && req.Method == c.method && strings.HasPrefix(req.Query, c.query) {
			c.refused++
			*res = objectstore.Result{Status: c.status, Code: c.code, Message: "no " + h.Name, Attempts: 1}
			return
		}
	}
	c.Access.Do(ctx, req, res)
	if req.Method == http.MethodHead && req.Bucket == "src" {
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(c.body), crc32.MakeTable(crc32.Castagnoli)))
		res.Header = append(res.Header, objectstore.Header{Name: "x-amz-checksum-crc32c", Value: base64.StdEncoding.EncodeToString(sum)})
	}
}

// TestAChecksumThatIsRefused: a copy does without it if only its source had one, and
// says so; what the job asks for is asked for.
func TestAChecksumThatIsRefused(t *testing.T) {
	t.Parallel()
	const streamed = "Successful (streamed between stores"
	const without = ", without the CRC32C checksum of the source, which the store refuses)"
	check := func(body string, c summed, asked job.ChecksumAlgorithm, message string) {
		t.Helper()
		near, far := limited(t), limited(t)
		far.CreateBucket("far")
		c.Access, c.body = access(t, near, far), body
		source := put(t, c.Access, near, "k", body, "x-amz-tagging", "a=b")
		p := job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::far", ChecksumAlgorithm: asked}
		o, err := operation.New(job.Operation{S3PutObjectCopy: &p}, operation.Env{Client: &c, Objects: c.Access, PartSize: 10})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			out := task(t, o, "src", "k", "")
			if out.Message != message || far.Uploads("far") != 0 {
				t.Errorf("%s %s: got %+v, want %s; %d uploads left", c.method, c.query, out, message, far.Uploads("far"))
			}
			if made, ok := far.Object("far", "k"); ok == out.Failed {
				t.Errorf("made: %t", ok)
			} else if ok {
				same(t, source, made)
			}
		}
		if want := 1; c.refused != want && strings.HasPrefix(message, streamed) { // the second time it is known
			t.Errorf("asked for a checksum %d times, want %d", c.refused, want)
		}
	}
	check("short", summed{method: "PUT", status: 501, code: "NotImplemented"}, "", streamed+without)
	check(long, summed{method: "POST", query: "uploads", status: 400, code: "InvalidRequest"}, "", streamed+", 4 parts"+without)
	check(long, summed{method: "PUT", query: "partNumber=4&", status: 400, code: "InvalidArgument"}, "", streamed+", 4 parts"+without)
	check(long, summed{method: "POST", query: "uploadId=", status: 501, code: "NotImplemented"}, "", streamed+", 4 parts"+without)
	check("short", summed{method: "PUT", status: 501, code: "NotImplemented"}, "CRC32C", "no x-amz-checksum-crc32c")
	check("short", summed{method: "PUT", status: 403, code: "AccessDenied"}, "", "no x-amz-checksum-crc32c")
}
