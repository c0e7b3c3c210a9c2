package generate

import (
	"context"
	"crypto/md5" //nolint:gosec // what inventories are checked with
	"encoding/hex"
	"iter"
	"net/http"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// Names of what is written, in a Depot (manifests.md section 5).
const (
	manifestName = "manifest.json"
	checksumName = "manifest.checksum"
	dataFolder   = "data/"
)

// A Depot holds the objects of one generated manifest. It is called concurrently.
type Depot interface {
	// At says where the object of that name lies, or would.
	At(name string) objectstore.Object
	// Put writes an object as a whole or not at all, in place of one that has the name, and returns it pinned. data is not
	// kept.
	Put(ctx context.Context, name string, data []byte, contentType string) (objectstore.Object, error)
	// Names yields the names that begin with prefix. The first error ends it.
	Names(ctx context.Context, prefix string) iter.Seq2[string, error]
	// Delete removes an object. That there is none is no error.
	Delete(ctx context.Context, name string) error
}

// Bucket is what [InBucket] needs of the store that has the bucket.
type Bucket interface {
	objectstore.Client
	List(ctx context.Context, bucket, prefix string) iter.Seq2[string, error]
	Delete(ctx context.Context, bucket, key string) error
}

// InBucket returns the Depot of a job in the bucket that the user gave.
func InBucket(store Bucket, l *job.ManifestOutputLocation, jobID string) Depot {
	d := &bucketDepot{store: store, bucket: job.BucketName(l.Bucket), folder: l.ManifestPrefix}
	if d.folder != "" && !strings.HasSuffix(d.folder, "/") {
		d.folder += "/"
	}
	d.folder += "job-" + jobID + "/"
	if l.ExpectedManifestBucketOwner != "" {
		d.headers = append(d.headers, objectstore.Header{Name: "x-amz-expected-bucket-owner", Value: l.ExpectedManifestBucketOwner})
	}
	const encryption = "x-amz-server-side-encryption"
	switch e := l.ManifestEncryption; {
	case e == nil:
	case e.SSEKMS != nil:
		d.headers = append(d.headers, objectstore.Header{Name: encryption, Value: "aws:kms"},
			objectstore.Header{Name: encryption + "-aws-kms-key-id", Value: e.SSEKMS.KeyId})
	case e.SSES3 != nil:
		d.headers = append(d.headers, objectstore.Header{Name: encryption, Value: "AES256"})
	}
	return d
}

type bucketDepot struct {
	store   Bucket
	bucket  string
	folder  string // what all keys begin with
	headers []objectstore.Header
}

func (d *bucketDepot) At(name string) objectstore.Object {
	return objectstore.Object{Bucket: d.bucket, Key: d.folder + name}
}

func (d *bucketDepot) Put(ctx context.Context, name string, data []byte, contentType string) (objectstore.Object, error) {
	o := d.At(name)
	req := objectstore.Request{
		Method: http.MethodPut, Bucket: o.Bucket, Key: []byte(o.Key), Body: objectstore.NewBody(data), KeepHeader: true,
		Headers: append([]objectstore.Header{{Name: "content-type", Value: contentType}}, d.headers...),
		Timeout: objectstore.CopyTimeout(int64(len(data))),
	}
	var res objectstore.Result
	d.store.Do(ctx, &req, &res)
	if !res.OK() {
		return o, &objectstore.Error{
			Op: "PutObject", Bucket: o.Bucket, Key: o.Key, Status: res.Status, Code: res.Code, Message: res.Message,
			RequestID: res.RequestID, Err: res.Err, Attempts: res.Attempts,
		}
	}
	for _, h := range res.Header {
		switch h.Name {
		case "etag":
			o.ETag = strings.Trim(strings.TrimPrefix(h.Value, "W/"), `"`)
		case "x-amz-version-id":
			o.VersionID = h.Value
		}
	}
	if o.VersionID == "null" {
		o.VersionID = ""
	}
	return o, nil
}

func (d *bucketDepot) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range d.store.List(ctx, d.bucket, d.folder+prefix) {
			if !yield(strings.TrimPrefix(key, d.folder), err) {
				return
			}
		}
	}
}

func (d *bucketDepot) Delete(ctx context.Context, name string) error {
	return d.store.Delete(ctx, d.bucket, d.folder+name)
}

func md5Hex(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // not for safety
	return hex.EncodeToString(sum[:])
}
