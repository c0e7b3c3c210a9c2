package objectstore

import (
	"context"
	"net/http"
	"strings"
)

// What follows are the S3 calls that operations put together themselves from more than one. They take a [Client], so that
// limits, routes and the draining of a job hold for them as for the tasks' own requests. They fail with an *Error.

// A Head is all that a store tells of an object without giving it out.
type Head struct {
	Info
	Header []Header // names in lower case; may hold user metadata more than once
}

// Get is the value of a header by its lower-case name, "" if it is not there.
func (h *Head) Get(name string) string { return valueOf(h.Header, name) }

func valueOf(headers []Header, name string) string {
	for i := range headers {
		if headers[i].Name == name {
			return headers[i].Value
		}
	}
	return ""
}

// Content lists what describes the object's content: content headers, user metadata and the redirect. Sent with a new
// object, they make it look like this one.
func (h *Head) Content() []Header {
	var out []Header
	for _, header := range h.Header {
		switch header.Name {
		case "cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
			"x-amz-website-redirect-location":
			out = append(out, header)
		default:
			if strings.HasPrefix(header.Name, "x-amz-meta-") {
				out = append(out, header)
			}
		}
	}
	return out
}

// HeadFull asks for everything about an object: besides [Head.Content] its storage class, encryption, checksums, lock,
// restore and replication status and the count of its tags, as far as the store has them.
func HeadFull(ctx context.Context, c Client, o Object) (Head, error) {
	return head(ctx, c, o, Header{"x-amz-checksum-mode", "ENABLED"})
}

// GetTagging returns the tags of an object, as the document that PutObjectTagging takes.
func GetTagging(ctx context.Context, c Client, o Object) ([]byte, error) {
	return get(ctx, c, o, "GetObjectTagging", "tagging")
}

// GetACL returns the access control list of an object, as the document that PutObjectAcl takes.
func GetACL(ctx context.Context, c Client, o Object) ([]byte, error) {
	return get(ctx, c, o, "GetObjectAcl", "acl")
}

func get(ctx context.Context, c Client, o Object, op, query string) ([]byte, error) {
	req := requestFor(http.MethodGet, o)
	req.Query = query
	var res Result
	if c.Do(ctx, &req, &res); !res.OK() {
		return nil, res.failure(op, o)
	}
	return res.Body, nil
}

func requestFor(method string, o Object) Request {
	req := Request{Method: method, Bucket: o.Bucket, Key: []byte(o.Key)}
	if o.VersionID != "" {
		req.VersionID = []byte(o.VersionID)
	}
	if o.RequesterPays {
		req.Headers = append(req.Headers, Header{"x-amz-request-payer", "requester"})
	}
	return req
}

// failure makes an Error of a result that is not OK.
func (r *Result) failure(op string, o Object) error {
	e := &Error{
		Op: op, Bucket: o.Bucket, Key: o.Key, Status: r.Status, Code: r.Code, Message: r.Message, RequestID: r.RequestID,
		Err: r.Err, Attempts: r.Attempts, interrupted: r.interrupted,
	}
	if r.interrupted { // what the last attempt was answered is not how it ended
		e.Status, e.Code, e.Message = 0, "", ""
	}
	return e
}
