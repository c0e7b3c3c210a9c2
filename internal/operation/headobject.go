package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// headObject writes into the report what the store tells of every object.
type headObject struct{ client Client }

func newHeadObject(args map[string]string, env Env) (Operation, error) {
	if err := unknownArgument(headObjectFunction, args, func(string) bool { return false }); err != nil {
		return nil, err
	}
	return &headObject{env.Client}, nil
}

// objectHead is the JSON in the report. What the store does not tell is left out.
type objectHead struct {
	Size         int64             `json:"size"`
	ETag         string            `json:"etag,omitempty"` // without quotes
	VersionID    string            `json:"versionId,omitempty"`
	LastModified *time.Time        `json:"lastModified,omitempty"`
	StorageClass string            `json:"storageClass"`
	ContentType  string            `json:"contentType,omitempty"`
	ChecksumType string            `json:"checksumType,omitempty"`
	Checksums    map[string]string `json:"checksums,omitempty"` // base64, by algorithm
}

func (o *headObject) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	s.req = objectstore.Request{
		Method: http.MethodHead, Bucket: t.Bucket, Key: t.Key, VersionID: t.VersionID, KeepHeader: true,
	}
	s.headers = append(s.headers[:0], objectstore.Header{Name: "x-amz-checksum-mode", Value: "ENABLED"})
	s.req.Headers = s.headers
	if err := s.do(ctx, o.client, out); err != nil || out.Failed {
		return err
	}
	*out = succeed(headJSON(s.res.Header), s.res.Attempts)
	return nil
}

// headJSON takes what is worth telling from the headers of an answer.
func headJSON(headers []objectstore.Header) string {
	head := objectHead{StorageClass: "STANDARD"} // S3 names every other
	for _, h := range headers {
		switch algorithm, sum := strings.CutPrefix(h.Name, "x-amz-checksum-"); {
		case h.Name == "content-length":
			head.Size, _ = strconv.ParseInt(h.Value, 10, 64)
		case h.Name == "etag":
			head.ETag = strings.Trim(strings.TrimPrefix(h.Value, "W/"), `"`)
		case h.Name == "x-amz-version-id":
			head.VersionID = h.Value
		case h.Name == "last-modified":
			if at, err := http.ParseTime(h.Value); err == nil {
				head.LastModified = &at
			}
		case h.Name == "x-amz-storage-class":
			head.StorageClass = h.Value
		case h.Name == "content-type":
			head.ContentType = h.Value
		case sum && algorithm == "type":
			head.ChecksumType = h.Value
		case sum:
			if head.Checksums == nil {
				head.Checksums = map[string]string{}
			}
			head.Checksums[strings.ToUpper(algorithm)] = h.Value
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(head) // strings, numbers and a date: always can be
	return strings.TrimSuffix(b.String(), "\n")
}
