package operation_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sync/errgroup"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// partless is a store that refuses HEAD with partNumber, and answers
// GetObjectAttributes with pages, or like GetObject if there are none.
type partless struct {
	*objectstore.Access
	refusal int
	pages   map[string]string // by part-number-marker
}

func (c partless) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	switch {
	case strings.HasPrefix(req.Query, "partNumber="):
		*res = objectstore.Result{Status: c.refusal, Code: "Refused", Attempts: 1}
	case req.Query == "attributes":
		*res = objectstore.Result{Status: http.StatusPartialContent, Body: []byte("f"), Attempts: 1}
		for _, h := range req.Headers {
			if page, ok := c.pages[h.Value]; ok && h.Name == "x-amz-part-number-marker" {
				*res = objectstore.Result{Status: http.StatusOK, Body: []byte(page), Attempts: 1}
			}
		}
	default:
		c.Access.Do(ctx, req, res)
	}
}

// TestPartsThatAreListed sums up parts where only GetObjectAttributes tells of
// them, and says so where nothing does.
func TestPartsThatAreListed(t *testing.T) {
	t.Parallel()
	srv := limited(t)
	a := access(t, srv)
	page := func(etag string, sizes ...int) string {
		var parts strings.Builder
		for _, size := range sizes {
			fmt.Fprintf(&parts, "<Part><Size>%d</Size></Part>", size)
		}
		return `<GetObjectAttributesResponse xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>` + etag + "</ETag><ObjectParts>" +
			parts.String() + "</ObjectParts></GetObjectAttributesResponse>"
	}
	check := func(refusal int, pages map[string]string, key, message string, parts ...string) {
		t.Helper()
		outer := sha256.New()
		for _, p := range parts {
			sum := sha256.Sum256([]byte(p))
			outer.Write(sum[:])
		}
		o, err := operation.New(computing("SHA256", job.ChecksumComposite), operation.Env{Client: partless{a, refusal, pages}, Objects: a})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%X", outer.Sum(nil))
		out := task(t, o, "src", key, "")
		if message == "" && (out.Failed || !strings.Contains(out.Message, want)) || message != "" && (!out.Failed || !strings.Contains(out.Message, message)) {
			t.Errorf("%d, %s: got %+v, want %s%s", refusal, key, out, message, want)
		}
	}
	o := srv.PutParts("src", "parts", "one", "three", "seven")
	srv.Put("src", "whole", "whole")
	told := map[string]string{"0": page(o.ETag, 3, 5), "2": page(o.ETag, 5)}
	for _, refusal := range []int{400, 405, 412, 416, 501} {
		check(refusal, told, "parts", "", "one", "three", "seven")
		check(refusal, nil, "whole", "", "whole")
		check(refusal, nil, "parts", "the sizes of the object's 3 parts neither by HEAD with partNumber nor by GetObjectAttributes")
	}
	check(403, told, "parts", `"errorCode": "403"`)
	check(501, map[string]string{"0": page("other-3", 3, 5, 5)}, "parts", "neither")
	check(501, map[string]string{"0": page(o.ETag, 3, 5, 5, 5)}, "parts", "neither")
	check(501, map[string]string{"0": page(o.ETag, 3, 5), "2": page(o.ETag)}, "parts", "neither")
	check(501, map[string]string{"0": page(o.ETag, 3, 5, 6)}, "parts", "do not make up the object's")
}

// TestStreamsKeepToLimits: a job that may have one request in flight has one, and
// comes to its end.
func TestStreamsKeepToLimits(t *testing.T) {
	t.Parallel()
	near, far := limited(t), limited(t)
	far.CreateBucket("far")
	all := access(t, near, far)
	a := all.Limited(objectstore.NewLimiter(objectstore.Limits{MaxConcurrency: 1}))
	for i := range 4 {
		near.PutParts("src", fmt.Sprint(i), long, long)
	}
	gate := objectstoretest.NewGate()
	near.Fault(objectstoretest.Match{Op: "GetObject", Times: 1}, objectstoretest.Block(gate))
	sums, err := operation.New(computing("SHA256", job.ChecksumComposite), operation.Env{Client: a, Objects: a})
	if err != nil {
		t.Fatal(err)
	}
	var tasks errgroup.Group
	for _, o := range []operation.Operation{sums, copier(t, a, job.S3PutObjectCopy{TargetResource: "far"})} {
		for i := range 4 {
			tasks.Go(func() error {
				var out job.Outcome
				err := o.Do(t.Context(), &operation.Task{Bucket: "src", Key: []byte(fmt.Sprint(i))}, operation.NewScratch(), &out)
				if out.Failed {
					err = fmt.Errorf("%+v", out)
				}
				return err
			})
		}
	}
	<-gate.Arrived()
	if n := all.For("src").Stats().InFlight + all.For("far").Stats().InFlight; n != 1 {
		t.Errorf("%d requests in flight, want 1", n)
	}
	gate.Open()
	if err := tasks.Wait(); err != nil {
		t.Error(err)
	}
}

// TestReadingAhead sums up the same, whatever the sizes of the pieces that arrive,
// and fails the same if some are missing. It is only done where there are fewer
// objects than cores at a time.
func TestReadingAhead(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789abcdef!", 100_000)
	for _, size := range []int{256<<10 - 1, 256 << 10, 256<<10 + 1, 512 << 10, len(text)} {
		for _, ahead := range []bool{false, true} {
			body := text[:size]
			want := sha256.Sum256([]byte(body))
			for _, r := range []io.Reader{strings.NewReader(body), iotest.HalfReader(strings.NewReader(body)), iotest.DataErrReader(strings.NewReader(body))} {
				if got, err := operation.Sum("SHA256", r, int64(size), ahead); err != nil || !bytes.Equal(got, want[:]) {
					t.Errorf("%d bytes, ahead %t: got %x, %v, want %x", size, ahead, got, err, want)
				}
			}
			if _, err := operation.Sum("SHA256", strings.NewReader(body), int64(size)+1, ahead); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes cut short, ahead %t: %v", size, ahead, err)
			}
			broken := errors.New("broken")
			if _, err := operation.Sum("SHA256", io.MultiReader(strings.NewReader(body), iotest.ErrReader(broken)), int64(size)+1, ahead); !errors.Is(err, broken) {
				t.Errorf("%d bytes and an error, ahead %t: %v", size, ahead, err)
			}
		}
	}
}
