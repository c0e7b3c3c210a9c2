package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore"
)

// TestPartsOnARealServer uploads and copies in parts on the development store, and reads back what became of it.
func TestPartsOnARealServer(t *testing.T) {
	t.Parallel()
	o := startObjects(t)
	o.buckets(t, "src", "dst")
	const part = 5 << 20 // the least that S3 takes but for the last
	body := make([]byte, 2*part+12345)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(body)
	const from, to = "a b+c%é/from", "folder/a b+c%é/to"
	etag := o.put(t, "src", from, body)

	ctx := t.Context()
	up, err := objectstore.CreateMultipart(ctx, o.lean, objectstore.Object{Bucket: "dst", Key: to},
		objectstore.Header{Name: "content-type", Value: "text/x"}, objectstore.Header{Name: "x-amz-meta-k", Value: "v"}, objectstore.Header{Name: "x-amz-tagging", Value: "t=1"})
	if err != nil {
		t.Fatal(err)
	}
	source := objectstore.Object{Bucket: "src", Key: from, ETag: etag}
	one, err1 := up.CopyPart(ctx, 1, source, 0, part)
	two, err2 := up.PutPart(ctx, 2, bytes.NewReader(body[part:2*part]), part)
	three, err3 := up.CopyPart(ctx, 3, source, 2*part, 12345)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	source.ETag = "00000000000000000000000000000000"
	if _, err := up.CopyPart(ctx, 3, source, 2*part, 12345); !objectstore.PreconditionFailed(err) {
		t.Errorf("part of another object: %v", err)
	}
	written, err := up.Complete(ctx, []objectstore.Uploaded{three, one, two})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.get(t, "dst", to); !bytes.Equal(got, body) {
		t.Errorf("%d bytes arrived, want %d", len(got), len(body))
	}

	object := objectstore.Object{Bucket: "dst", Key: to, ETag: written.ETag}
	head, err := objectstore.HeadFull(ctx, o.lean, object)
	if err != nil || head.Size != int64(len(body)) || head.ETag != written.ETag || head.ContentType != "text/x" || head.LastModified.IsZero() {
		t.Errorf("%+v, %v", head, err)
	}
	want := []objectstore.Header{{Name: "content-type", Value: "text/x"}, {Name: "x-amz-meta-k", Value: "v"}}
	if diff := cmp.Diff(want, head.Content()); diff != "" {
		t.Error("content (-want +got):\n" + diff)
	}
	if doc, err := objectstore.GetTagging(ctx, o.lean, object); err != nil || !bytes.Contains(doc, []byte("<Key>t</Key>")) {
		t.Errorf("tags %s, %v", doc, err)
	}
	if doc, err := objectstore.GetACL(ctx, o.lean, object); err != nil || !bytes.Contains(doc, []byte("AccessControlPolicy")) {
		t.Errorf("acl %s, %v", doc, err)
	}

	up, err = objectstore.CreateMultipart(ctx, o.lean, objectstore.Object{Bucket: "dst", Key: to})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.PutPart(ctx, 1, bytes.NewReader(body), 1000); err != nil {
		t.Error(err)
	}
	for i := range 2 {
		if err := up.Abort(ctx); err != nil {
			t.Errorf("abort %d: %v", i, err)
		}
	}
	bucket := "dst"
	if out, err := o.sdk.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket}); err != nil || len(out.Uploads) != 0 {
		t.Errorf("left behind: %s, %v", fmt.Sprint(out), err)
	}
}
