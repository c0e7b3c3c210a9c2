package objectstore

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A verdict says what an attempt calls for.
type verdict int

const (
	final   verdict = iota // success, or a failure that would only repeat itself
	again                  // the same may succeed later
	refresh                // the same may succeed with fresh credentials
)

// judge decides what becomes of a request answered with status and code. It is the only place that does.
func judge(status int, code string) verdict {
	switch code {
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return refresh
	case "RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable", "OperationAborted":
		return again
	}
	switch {
	case throttling(code):
		return again
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
		return final // will not be implemented a second later either
	case status == http.StatusTooManyRequests, status >= 500:
		return again
	}
	return final
}

// throttling reports whether a code asks to slow down.
func throttling(code string) bool {
	switch code {
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "RequestThrottled", "RequestLimitExceeded",
		"TooManyRequests", "TooManyRequestsException", "BandwidthLimitExceeded":
		return true
	}
	return false
}

// codeOf names an answer that has no S3 error in it, such as any to HEAD.
func codeOf(status int) string {
	switch status {
	case http.StatusRequestTimeout:
		return "RequestTimeout"
	case http.StatusInternalServerError:
		return "InternalError"
	case http.StatusRequestedRangeNotSatisfiable:
		return "InvalidRange"
	}
	if text := http.StatusText(status); text != "" {
		return strings.ReplaceAll(text, " ", "")
	}
	return "Status" + strconv.Itoa(status)
}

// naturalStatus is the status S3 documents for a code that came along with 200. A code that is not listed counts as
// the store's own failure: the work had been accepted.
func naturalStatus(code string) int {
	switch code {
	case "RequestTimeout", "RequestTimeoutException", "InvalidRequest", "InvalidArgument", "InvalidTag", "InvalidDigest",
		"BadDigest", "EntityTooLarge", "InvalidStorageClass", "MalformedXML", "ExpiredToken", "KMS.NotFoundException",
		"KMS.DisabledException", "KMS.KMSInvalidStateException":
		return http.StatusBadRequest
	case "AccessDenied", "InvalidObjectState", "SignatureDoesNotMatch", "InvalidAccessKeyId", "AllAccessDisabled", "AccountProblem",
		"RequestTimeTooSkewed":
		return http.StatusForbidden
	case "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NoSuchUpload":
		return http.StatusNotFound
	case "MethodNotAllowed":
		return http.StatusMethodNotAllowed
	case "OperationAborted", "ConditionalRequestConflict", "InvalidBucketState":
		return http.StatusConflict
	case "PreconditionFailed":
		return http.StatusPreconditionFailed
	case "NotImplemented":
		return http.StatusNotImplemented
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "Throttling", "RequestLimitExceeded", "Busy":
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// maxText bounds what is kept of any text in an error.
const maxText = 1024

// An s3Error is the document S3 answers a failure with.
type s3Error struct{ code, message, requestID string }

// parseError reads as much of an <Error> document as there is: also inside an <ErrorResponse>, under any namespace, cut
// short, or with junk around it. Without one, all is empty.
func parseError(body []byte) (e s3Error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("charset") }
	var into *string
	for inside := false; ; {
		token, err := d.Token()
		if err != nil {
			if into == &e.code {
				e.code = "" // half a code is another code
			}
			return e
		}
		switch t := token.(type) {
		case xml.StartElement:
			into = nil
			switch name := t.Name.Local; {
			case name == "Error":
				inside = true
			case !inside:
			case name == "Code" && e.code == "":
				into = &e.code
			case name == "Message" && e.message == "":
				into = &e.message
			}
			if (t.Name.Local == "RequestId" || t.Name.Local == "RequestID") && e.requestID == "" {
				into = &e.requestID
			}
		case xml.CharData:
			if into != nil {
				*into = clip(*into + string(t[:min(len(t), maxText)]))
			}
		case xml.EndElement:
			into = nil
		case xml.Directive:
			return e // a DTD: nothing S3 would send
		}
	}
}

// clip bounds a text of the store and makes it UTF-8.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

// rootOf is the local name of a document's root element, "" unless the document is closed by the same element.
func rootOf(body []byte) string {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	for bytes.HasPrefix(body, []byte("<?")) || bytes.HasPrefix(body, []byte("<!--")) {
		end := "?>"
		if body[1] == '!' {
			end = "-->"
		}
		_, rest, ok := bytes.Cut(body, []byte(end))
		if !ok {
			return ""
		}
		body = bytes.TrimSpace(rest)
	}
	if len(body) == 0 || body[0] != '<' {
		return ""
	}
	end := bytes.IndexAny(body, " \t\r\n/>")
	if end < 2 {
		return ""
	}
	name := body[1:end]
	closing := bytes.TrimRight(bytes.TrimSuffix(body, []byte(">")), " \t\r\n")
	_, local, ok := bytes.Cut(name, []byte(":"))
	if !ok {
		local = name
	}
	switch rest, isEnd := bytes.CutSuffix(closing, name); {
	case len(closing) == len(body):
		return ""
	case isEnd && bytes.HasSuffix(rest, []byte("</")):
		return string(local)
	case bytes.HasSuffix(closing, []byte("/")) && bytes.IndexByte(body, '>') == len(body)-1:
		return string(local) // <Root/>
	}
	return ""
}

// retryAfter reads the header of that name: seconds or a date. 0: none, or past.
func retryAfter(value []byte, now time.Time) time.Duration {
	if len(value) == 0 {
		return 0
	}
	if n, err := strconv.ParseUint(string(value), 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(string(value)); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
