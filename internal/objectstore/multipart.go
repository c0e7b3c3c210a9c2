package objectstore

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Upload is a multipart upload that was begun, and neither completed nor aborted. Its parts may be sent side by side.
type Upload struct {
	Bucket, Key, ID string

	client Client
}

// Uploaded is a part that the store has.
type Uploaded struct {
	Number    int        // from 1 to 10,000
	ETag      string     // without quotes
	Checksums []Checksum // those the store has made or checked
}

// A Checksum is one of a part. Name is that of the XML element, such as ChecksumCRC32C; Value is base64.
type Checksum struct{ Name, Value string }

// Written is what became of an upload.
type Written struct {
	ETag, VersionID string   // ETag without quotes
	Header          []Header // of the answer
}

const (
	// slowestCopy is the least a store is expected to copy within itself, in bytes per second.
	slowestCopy = 4 << 20
	// patience is added to that, and is what a store has to put parts together: S3 says that takes minutes.
	patience = 10 * time.Minute
)

// CopyTimeout is how long a store may take to copy size bytes within itself before an attempt is given up.
func CopyTimeout(size int64) time.Duration {
	return 30*time.Second + time.Duration(size/slowestCopy)*time.Second
}

// CreateMultipart begins an upload of o, whose VersionID and ETag mean nothing here. The headers are those of the object to
// be: metadata, storage class, encryption, lock, checksum algorithm. An upload that is given up must be aborted.
func CreateMultipart(ctx context.Context, c Client, o Object, headers ...Header) (*Upload, error) {
	const op = "CreateMultipartUpload"
	o.VersionID = ""
	req := requestFor(http.MethodPost, o)
	req.Query, req.Headers, req.ErrorIn200 = "uploads", headers, true
	var res Result
	if c.Do(ctx, &req, &res); !res.OK() {
		return nil, res.failure(op, o)
	}
	var answer struct {
		ID string `xml:"UploadId"`
	}
	if err := res.parse(&answer); err != nil || answer.ID == "" {
		return nil, res.nonsense(op, o, errors.Join(errors.New("no upload id in the answer"), err))
	}
	return &Upload{Bucket: o.Bucket, Key: o.Key, ID: answer.ID, client: c}, nil
}

// request is one for the upload. No other name in the query sorts behind uploadId.
func (u *Upload) request(method, query string) Request {
	req := requestFor(method, u.object())
	req.Query = query + "uploadId=" + string(AppendValue(nil, u.ID))
	return req
}

func (u *Upload) object() Object { return Object{Bucket: u.Bucket, Key: u.Key} }

func partQuery(number int) string { return "partNumber=" + strconv.Itoa(number) + "&" }

// PutPart sends a part of size bytes, from the beginning of body on. They go with their Content-MD5, so that the store
// takes them as they are here or not at all. body is read twice or more, and is free again when PutPart returns.
func (u *Upload) PutPart(ctx context.Context, number int, body io.ReadSeeker, size int64, headers ...Header) (Uploaded, error) {
	const op = "UploadPart"
	req := u.request(http.MethodPut, partQuery(number))
	req.Headers, req.KeepHeader = headers, true
	req.Body = Body{From: body, Size: size}
	var err error
	if req.Body.MD5, err = req.Body.sumMD5(); err != nil {
		return Uploaded{}, &Error{Op: op, Bucket: u.Bucket, Key: u.Key, Err: &bodyError{err}}
	}
	var res Result
	if u.client.Do(ctx, &req, &res); !res.OK() {
		return Uploaded{}, res.failure(op, u.object())
	}
	part := Uploaded{Number: number, ETag: bareETag(valueOf(res.Header, "etag"))}
	if part.ETag == "" {
		return Uploaded{}, res.nonsense(op, u.object(), errors.New("no ETag in the answer"))
	}
	for _, h := range res.Header {
		if name, ok := strings.CutPrefix(h.Name, "x-amz-checksum-"); ok && name != "type" && name != "algorithm" {
			part.Checksums = append(part.Checksums, Checksum{"Checksum" + strings.ToUpper(name), h.Value})
		}
	}
	return part, nil
}

// CopyPart has the store make a part of length bytes of another object of its own, from offset on; all of it if length is
// negative. With from.ETag it fails with a PreconditionFailed if the object is not that one any more.
func (u *Upload) CopyPart(ctx context.Context, number int, from Object, offset, length int64, headers ...Header) (Uploaded, error) {
	const op = "UploadPartCopy"
	req := u.request(http.MethodPut, partQuery(number))
	req.ErrorIn200, req.Timeout = true, CopyTimeout(max(length, 0))
	req.Headers = append(slices.Clone(headers), Header{"x-amz-copy-source", CopySource(from.Bucket, []byte(from.Key), []byte(from.VersionID))})
	if etag := ifMatch(from.ETag); etag != nil {
		req.Headers = append(req.Headers, Header{"x-amz-copy-source-if-match", *etag})
	}
	if length >= 0 {
		req.Headers = append(req.Headers, Header{"x-amz-copy-source-range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)})
	}
	var res Result
	if u.client.Do(ctx, &req, &res); !res.OK() {
		return Uploaded{}, res.failure(op, u.object())
	}
	var answer struct {
		ETag  string
		Other []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := res.parse(&answer); err != nil || bareETag(answer.ETag) == "" {
		return Uploaded{}, res.nonsense(op, u.object(), errors.Join(errors.New("no ETag in the answer"), err))
	}
	part := Uploaded{Number: number, ETag: bareETag(answer.ETag)}
	for _, e := range answer.Other {
		if name := e.XMLName.Local; strings.HasPrefix(name, "Checksum") && name != "ChecksumType" && name != "ChecksumAlgorithm" {
			part.Checksums = append(part.Checksums, Checksum{name, strings.TrimSpace(e.Text)})
		}
	}
	return part, nil
}

// Complete makes the object of its parts, in the order of their numbers.
func (u *Upload) Complete(ctx context.Context, parts []Uploaded, headers ...Header) (Written, error) {
	const op = "CompleteMultipartUpload"
	req := u.request(http.MethodPost, "")
	req.Headers, req.ErrorIn200, req.KeepHeader, req.Timeout = headers, true, true, patience
	parts = slices.SortedFunc(slices.Values(parts), func(p, q Uploaded) int { return p.Number - q.Number })
	req.Body = NewBody(completion(parts))
	req.Body.MD5 = "" // not what S3 knows for this call
	var res Result
	u.client.Do(ctx, &req, &res)
	if res.Code == "NoSuchUpload" {
		// The store may have done it before, and the answer was lost with its connection.
		if h, err := HeadFull(ctx, u.client, u.object()); err == nil && h.ETag != "" && h.ETag == multipartETag(parts) {
			return Written{ETag: h.ETag, VersionID: h.VersionID, Header: h.Header}, nil
		}
	}
	if !res.OK() {
		return Written{}, res.failure(op, u.object())
	}
	var answer struct{ ETag string }
	if err := res.parse(&answer); err != nil {
		return Written{}, res.nonsense(op, u.object(), err)
	}
	return Written{ETag: bareETag(answer.ETag), VersionID: valueOf(res.Header, "x-amz-version-id"), Header: res.Header}, nil
}

// completion is the document that names the parts.
func completion(parts []Uploaded) []byte {
	var b bytes.Buffer
	element := func(name, value string) {
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(&b, []byte(value)) // a Buffer takes everything
		b.WriteString("</" + name + ">")
	}
	b.WriteString(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, p := range parts {
		b.WriteString("<Part>")
		for _, c := range p.Checksums {
			element(c.Name, c.Value)
		}
		element("ETag", `"`+p.ETag+`"`)
		element("PartNumber", strconv.Itoa(p.Number))
		b.WriteString("</Part>")
	}
	b.WriteString("</CompleteMultipartUpload>")
	return b.Bytes()
}

// multipartETag is the ETag that nearly every store gives an object of these parts, "" if theirs are no MD5 sums.
func multipartETag(parts []Uploaded) string {
	sum := md5.New()
	for _, p := range parts {
		raw, err := hex.DecodeString(p.ETag)
		if err != nil || len(raw) != md5.Size {
			return ""
		}
		sum.Write(raw)
	}
	return hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}

// Abort gives the upload up and has the store drop its parts. That there is no such upload is no error. Parts still on
// their way may stay behind: end them first. Call it with a context that outlives the one that ended.
func (u *Upload) Abort(ctx context.Context) error {
	req := u.request(http.MethodDelete, "")
	var res Result
	if u.client.Do(ctx, &req, &res); res.OK() || res.Code == "NoSuchUpload" {
		return nil
	}
	return res.failure("AbortMultipartUpload", u.object())
}

// parse reads the document of an answer.
func (r *Result) parse(into any) error { return xml.Unmarshal(r.Body, into) }

// nonsense is the error for an answer 200 that does not say what it must.
func (r *Result) nonsense(op string, o Object, err error) error {
	return &Error{
		Op: op, Bucket: o.Bucket, Key: o.Key, Status: http.StatusInternalServerError, Code: "InternalError",
		Message: "The answer of the store cannot be understood.", RequestID: r.RequestID, Err: err, Attempts: r.Attempts,
	}
}
