package objectstore

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"time"
)

// A Header is one header of a request. Name is in lower case.
type Header struct{ Name, Value string }

// A Body is what a request carries, with the sums that S3 wants of it. The zero value is an empty body.
type Body struct {
	Bytes  []byte
	SHA256 string // hex; empty: summed up by Do, or not signed where TLS protects a large body
	MD5    string // base64, sent as Content-MD5; empty: not sent
	// From is a body too large for memory, instead of Bytes: Size bytes from its beginning, read once for every attempt and
	// once to sum it up. The request owns it meanwhile.
	From io.ReadSeeker
	Size int64
}

// size is how many bytes the body has.
func (b *Body) size() int64 {
	if b.From != nil {
		return b.Size
	}
	return int64(len(b.Bytes))
}

// NewBody sums b up, once for all requests that carry it. b must not change any more.
func NewBody(b []byte) Body {
	sum, old := sha256.Sum256(b), md5.Sum(b)
	return Body{Bytes: b, SHA256: hex.EncodeToString(sum[:]), MD5: base64.StdEncoding.EncodeToString(old[:])}
}

// emptySHA256 is the sum of nothing.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// A Request is one call of S3. Do only reads it, so tasks of a job may share all but the key: copy the job's request,
// set Key and VersionID.
type Request struct {
	Method string // GET, HEAD, PUT, POST or DELETE
	Bucket string
	// Key is the decoded key, any bytes. It must not be empty unless OnBucket is set: a request for the empty key would
	// silently mean the bucket.
	Key []byte
	// OnBucket marks a request for the bucket itself, such as GET ?object-lock.
	OnBucket bool
	// Query is sent as it stands: escaped, sorted by name, "tagging" or "tagging=". VersionID is appended to it, so no
	// name in Query may sort behind versionId.
	Query string
	// VersionID is the decoded version, empty for the current one.
	VersionID []byte
	// Headers are sent and signed, whatever their order; sorted by name is cheapest. The client's own - host, length, date,
	// authorization, sums of the body - must not be among them.
	Headers []Header
	Body    Body
	// ErrorIn200 says that an answer 200 may carry an error, as that of CopyObject: its body decides.
	ErrorIn200 bool
	// Timeout replaces Config.AttemptTimeout for calls that the store takes its time to do, such as copying gigabytes.
	Timeout time.Duration
	// NotSlower makes an answer that does not come in time final: there is another way to do the same.
	NotSlower bool
	// KeepHeader asks for Result.Header.
	KeepHeader bool

	maxAnswer int                     // bytes of the answer, instead of the usual bound
	accept    func(body []byte) error // reads an answer that is OK; what it refuses is as good as no answer
	stream    bool                    // leave the body of a good answer on its connection
}

// A Result is what came of a request. A goroutine keeps one and hands it to Do again and again.
type Result struct {
	// Status is the HTTP status of the last answer, or the natural one of an error that came with 200. 0: no answer.
	Status int
	// Code, Message and RequestID are the store's, empty on success. An answer without a body gets the code of its status,
	// such as NotFound, Forbidden or ServiceUnavailable; no answer at all gets ConnectionError or RequestTimeout.
	Code, Message, RequestID string
	// Err is why there was no (further) answer: dialling, resetting, a timeout, bad credentials, the end of the context.
	Err error
	// Doubt says that the request had been sent before without an answer that ruled out that it had its effect, so this
	// answer may be about what it has done itself.
	Doubt bool
	// Attempts counts the attempts made, 0 if the request was refused before any.
	Attempts int
	// Body is that of the last answer. It is valid until the next Do with this Result.
	Body []byte
	// Header is that of the last answer, in the store's order, if the request asked for it.
	Header []Header

	interrupted bool
}

// OK reports whether the store did what was asked.
func (r *Result) OK() bool { return r.Err == nil && r.Status >= 200 && r.Status < 300 }

// Interrupted reports that the context ended, or the store was closed, before there was a final answer. The task has no
// outcome then: it may or may not have had its effect. The other fields tell of the last attempt, if there was one.
func (r *Result) Interrupted() bool { return r.interrupted }

// reset clears r for another request and keeps its buffer.
func (r *Result) reset() { *r = Result{Body: r.Body[:0], Header: r.Header[:0]} }

// refuse fails r before any attempt, in the words S3 itself would use.
func (r *Result) refuse(code, message string) { r.Status, r.Code, r.Message = 400, code, message }

// check reports whether req may go out at all. Manifest cells and user metadata end up in it: they must not become
// another request, nor the bucket's own.
func (r *Result) check(req *Request) bool {
	switch {
	case req.Bucket == "" || req.Bucket == "." || req.Bucket == "..":
		r.refuse("InvalidBucketName", "The specified bucket is not valid.")
		return false
	case len(req.Key) == 0 && !req.OnBucket:
		r.refuse("InvalidURI", "The key is empty.")
		return false
	case len(req.Key) > 0 && req.OnBucket:
		r.refuse("InvalidURI", "A request for the bucket has a key.")
		return false
	case req.Body.From != nil && (req.Body.Size < 0 || len(req.Body.Bytes) > 0):
		r.refuse("InvalidArgument", "The body has no size, or is there twice.")
		return false
	}
	for i := range req.Headers {
		h := &req.Headers[i]
		if !validName(h.Name) || ours(h.Name) || !validValue(h.Value) {
			r.refuse("InvalidArgument", "The header "+strings.ToValidUTF8(h.Name, "?")+" cannot be sent.")
			return false
		}
	}
	return true
}

// ours reports whether the client itself sets the header.
func ours(name string) bool {
	switch name {
	case "authorization", "connection", "content-length", "content-md5", "host", "transfer-encoding",
		"x-amz-content-sha256", "x-amz-date", "x-amz-security-token":
		return true
	}
	return false
}

// validName reports whether name is a header name in lower case (RFC 9110, token).
func validName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("-_.!#$%&'*+^`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// validValue reports whether value stays on its line.
func validValue(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func byName(a, b Header) int { return strings.Compare(a.Name, b.Name) }

// appendTarget appends path and query of req as they go out.
func appendTarget(dst []byte, req *Request, inHost bool) (target []byte, path int) {
	start := len(dst)
	dst = append(dst, '/')
	if !inHost {
		dst = AppendValue(dst, req.Bucket)
		if !req.OnBucket {
			dst = append(dst, '/')
		}
	}
	dst = AppendPath(dst, req.Key)
	path = len(dst) - start
	separator := byte('?')
	if req.Query != "" {
		dst = append(dst, separator)
		dst = append(dst, req.Query...)
		separator = '&'
	}
	if len(req.VersionID) > 0 {
		dst = append(dst, separator)
		dst = append(dst, "versionId="...)
		dst = AppendValue(dst, req.VersionID)
	}
	return dst, path
}

// gather puts every header that is signed into x.headers, sorted. S3 wants them so in the signature; sending them in
// the same order costs nothing.
func (x *exchange) gather(req *Request, host, date, token string) {
	h := append(x.headers[:0], req.Headers...)
	if req.Body.MD5 != "" {
		h = append(h, Header{"content-md5", req.Body.MD5})
	}
	h = append(h, Header{"host", host}, Header{"x-amz-content-sha256", x.sum}, Header{"x-amz-date", date})
	if token != "" {
		h = append(h, Header{"x-amz-security-token", token})
	}
	slices.SortStableFunc(h, byName)
	x.headers = h
}
