package objectstoretest

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// An upload is a multipart upload in progress.
type upload struct {
	key     string
	request *Request // that began it: its headers are the object's
	parts   map[int][]byte
}

// Uploads counts the multipart uploads in a bucket that were neither completed nor aborted.
func (s *Server) Uploads(bucket string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bucketLocked(bucket).uploads)
}

// multipartOp names a call of a multipart upload, "" if r is none.
func multipartOp(r *Request, query url.Values) string {
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		return "CreateMultipartUpload"
	case !query.Has("uploadId"):
		return ""
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		return "UploadPartCopy"
	}
	return map[string]string{"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[r.Method]
}

// multipart does a call of a multipart upload. It answers nil if r is none.
func (s *Server) multipart(r *Request, b *bucket, query url.Values) *answer {
	id := query.Get("uploadId")
	switch r.Op {
	case "CreateMultipartUpload":
		if b.uploads == nil {
			b.uploads = make(map[string]*upload)
		}
		s.versions++
		id = "upload/" + strconv.Itoa(s.versions) + "+"
		b.uploads[id] = &upload{key: r.Key, request: r, parts: make(map[int][]byte)}
		return reply(200, xmlHeader+"<InitiateMultipartUploadResult>"+element("Bucket", r.Bucket)+element("UploadId", id)+"</InitiateMultipartUploadResult>")
	case "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "AbortMultipartUpload":
	default:
		return nil
	}
	u := b.uploads[id]
	if u == nil || u.key != r.Key {
		return refusal(404, "NoSuchUpload", "The specified upload does not exist.")
	}
	switch r.Op {
	case "CompleteMultipartUpload":
		return s.complete(r, b, id, u)
	case "AbortMultipartUpload":
		delete(b.uploads, id)
		return reply(204, "")
	}
	number, err := strconv.Atoi(query.Get("partNumber"))
	if err != nil || number < 1 || number > 10_000 {
		return refusal(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	if r.Op == "UploadPart" {
		u.parts[number] = slices.Clone(r.Body)
		a := reply(200, "")
		a.header.Set("ETag", quotedSum(r.Body))
		return a
	}
	o, bad := s.source(r)
	if bad != nil {
		return bad
	}
	if want := r.Header.Get("X-Amz-Copy-Source-If-Match"); want != "" && want != `"`+o.ETag+`"` {
		return refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	body := o.Body
	if span := r.Header.Get("X-Amz-Copy-Source-Range"); span != "" {
		var from, to int
		if n, err := fmt.Sscanf(span, "bytes=%d-%d", &from, &to); n != 2 || err != nil || from > to || to >= len(body) {
			return refusal(400, "InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last")
		}
		body = body[from : to+1]
	}
	if bad := s.tooLarge(len(body)); bad != nil {
		return bad
	}
	u.parts[number] = slices.Clone(body)
	return reply(200, xmlHeader+"<CopyPartResult><ETag>"+strings.ReplaceAll(quotedSum(body), `"`, "&quot;")+"</ETag></CopyPartResult>")
}

// tooLarge refuses to copy more than Config.CopyLimit with one request.
func (s *Server) tooLarge(size int) *answer {
	if s.cfg.CopyLimit == 0 || size <= s.cfg.CopyLimit {
		return nil
	}
	return refusal(400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: "+strconv.Itoa(s.cfg.CopyLimit))
}

func (s *Server) complete(r *Request, b *bucket, id string, u *upload) *answer {
	var in struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Parts   []struct {
			PartNumber int
			ETag       string
		} `xml:"Part"`
	}
	if xml.Unmarshal(r.Body, &in) != nil || len(in.Parts) == 0 {
		return malformed()
	}
	var body, sums []byte
	var sizes []int
	last := 0
	for _, p := range in.Parts {
		part, ok := u.parts[p.PartNumber]
		switch {
		case p.PartNumber <= last:
			return refusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
		case !ok || quotedSum(part) != p.ETag:
			return refusal(400, "InvalidPart", "One or more of the specified parts could not be found.")
		}
		last = p.PartNumber
		sum := md5.Sum(part)
		body, sums, sizes = append(body, part...), append(sums, sum[:]...), append(sizes, len(part))
	}
	h := u.request.Header
	o := &Object{
		Body: body, ContentType: cmp.Or(h.Get("Content-Type"), "binary/octet-stream"), Metadata: metadata(h), Header: h,
		StorageClass: h.Get("X-Amz-Storage-Class"), Parts: sizes,
	}
	var bad *answer
	if o.Tags, bad = headerTags(h); bad != nil {
		return bad
	}
	s.storeLocked(b, r.Key, o)
	sum := md5.Sum(sums)
	o.ETag = hex.EncodeToString(sum[:]) + "-" + strconv.Itoa(len(sizes))
	delete(b.uploads, id)
	return written(o, xmlHeader+"<CompleteMultipartUploadResult>"+element("Bucket", r.Bucket)+"<ETag>&quot;"+o.ETag+"&quot;</ETag></CompleteMultipartUploadResult>")
}

func quotedSum(body []byte) string {
	sum := md5.Sum(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}
