package operation

import (
	"context"
	"net/http"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// copyObject copies every object with one CopyObject: PUT to the destination,
// with the source in a header (operations.md section 1). Objects above 5 GB and
// archived ones fail by the store's own answer.
type copyObject struct {
	client Client
	req    objectstore.Request // all but key and x-amz-copy-source
	source int                 // where x-amz-copy-source stands among the headers
	folder string              // what stands before every destination key: empty or with a slash at its end
}

const copySource = "x-amz-copy-source"

func newCopy(p *job.S3PutObjectCopy, c Client) Operation {
	headers, source := copyHeaders(p)
	o := &copyObject{
		client: c,
		req: objectstore.Request{
			Method:     http.MethodPut,
			Bucket:     job.BucketName(p.TargetResource),
			Headers:    headers,
			ErrorIn200: true, // CopyObject starts to answer before it is done
		},
		source: source,
		folder: p.TargetKeyPrefix,
	}
	if o.folder != "" && !strings.HasSuffix(o.folder, "/") {
		o.folder += "/"
	}
	return o
}

func (o *copyObject) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	s.req = o.req
	s.req.Key = t.Key
	if o.folder != "" {
		s.key = append(append(s.key[:0], o.folder...), t.Key...)
		s.req.Key = s.key
	}
	s.headers = append(s.headers[:0], o.req.Headers...)
	s.headers[o.source].Value = objectstore.CopySource(t.Bucket, t.Key, t.VersionID)
	s.req.Headers = s.headers
	return s.do(ctx, o.client, out)
}
