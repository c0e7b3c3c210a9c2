package objectstore

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// An Object names what to read. Empty VersionID or ETag: whichever is current. An ETag may come with or without quotes.
type Object struct {
	Bucket, Key, VersionID, ETag string
	RequesterPays                bool // agree to pay for the request
}

// Info describes an object that was read. ETag has no quotes.
type Info struct {
	Size            int64 // bytes of the whole object
	ETag, VersionID string
	ContentType     string
	LastModified    time.Time
	StorageClass    string // empty: STANDARD
}

// PutInput is one object to write.
type PutInput struct {
	Bucket, Key         string
	Body                io.ReadSeeker // read from its beginning, more than once
	Size                int64         // bytes of Body
	ContentType         string
	SSE                 string // AES256, or empty for what the bucket says
	ExpectedBucketOwner string // twelve digits, or empty
	ContentMD5          string // base64; empty: Put reads Body once more to get it
}

// Head looks at o without reading it. If o has an ETag and the object another, the error is a PreconditionFailed.
func (s *Store) Head(ctx context.Context, o Object) (Info, error) {
	h, err := head(ctx, s, o)
	return h.Info, err
}

// head asks for an object's headers; more may be asked for with those of the request.
func head(ctx context.Context, c Client, o Object, headers ...Header) (Head, error) {
	req := requestFor(http.MethodHead, o)
	req.KeepHeader = true
	if etag := ifMatch(o.ETag); etag != nil {
		req.Headers = append(req.Headers, Header{"if-match", *etag})
	}
	req.Headers = append(req.Headers, headers...)
	var res Result
	if c.Do(ctx, &req, &res); !res.OK() {
		return Head{}, res.failure("HeadObject", o)
	}
	return Head{Info: infoOf(res.Header), Header: res.Header}, nil
}

// Put writes an object with a single request and returns its ETag without quotes.
func (s *Store) Put(ctx context.Context, in PutInput) (etag string, err error) {
	o := Object{Bucket: in.Bucket, Key: in.Key}
	req := requestFor(http.MethodPut, o)
	req.KeepHeader, req.Body = true, Body{From: in.Body, Size: in.Size, MD5: in.ContentMD5}
	if req.Body.MD5 == "" {
		if req.Body.MD5, err = req.Body.sumMD5(); err != nil {
			return "", &Error{Op: "PutObject", Bucket: in.Bucket, Key: in.Key, Err: &bodyError{err}}
		}
	}
	for _, h := range []Header{
		{"content-type", in.ContentType}, {"x-amz-expected-bucket-owner", in.ExpectedBucketOwner}, {"x-amz-server-side-encryption", in.SSE},
	} {
		if h.Value != "" {
			req.Headers = append(req.Headers, h)
		}
	}
	var res Result
	if s.Do(ctx, &req, &res); !res.OK() {
		return "", res.failure("PutObject", o)
	}
	return bareETag(valueOf(res.Header, "etag")), nil
}

// Delete removes the current version of an object. That there is none is no error.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	o := Object{Bucket: bucket, Key: key}
	req := requestFor(http.MethodDelete, o)
	var res Result
	if s.Do(ctx, &req, &res); res.OK() || res.Code == "NoSuchKey" {
		return nil
	}
	return res.failure("DeleteObject", o)
}

// Versioning is the bucket's: "", "Enabled" or "Suspended".
func (s *Store) Versioning(ctx context.Context, bucket string) (string, error) {
	return versioning(ctx, s, bucket)
}

func versioning(ctx context.Context, c Client, bucket string) (string, error) {
	// The element is called VersioningConfiguration, but not by moto.
	var answer struct {
		XMLName xml.Name
		Status  string
	}
	req := Request{Method: http.MethodGet, Bucket: bucket, OnBucket: true, Query: "versioning", ErrorIn200: true}
	req.accept = func(doc []byte) error {
		err := xml.Unmarshal(doc, &answer)
		if name := answer.XMLName.Local; err == nil && name != "VersioningConfiguration" && name != "GetBucketVersioningResponse" {
			err = fmt.Errorf("a document %s", name)
		}
		return err
	}
	var res Result
	if c.Do(ctx, &req, &res); !res.OK() {
		return "", res.failure("GetBucketVersioning", Object{Bucket: bucket})
	}
	return answer.Status, nil
}

// bareETag is an ETag as the report and the API show it. A weak one counts as the same: If-Match never matches W/.
func bareETag(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}

func ifMatch(etag string) *string {
	if etag = bareETag(etag); etag == "" {
		return nil
	}
	return new(`"` + etag + `"`)
}
