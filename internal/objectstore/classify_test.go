package objectstore

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	check := func(status int, code string, want verdict) {
		t.Helper()
		if got := judge(status, code); got != want {
			t.Errorf("%d %s: got %d, want %d", status, code, got, want)
		}
	}
	check(200, "", final)
	check(204, "", final)
	check(301, "PermanentRedirect", final)
	check(307, "TemporaryRedirect", final)
	check(400, "InvalidRequest", final)
	check(400, "RequestTimeout", again) // the one 400 that is the network's fault
	check(400, "BadRequest", final)
	check(400, "InvalidTag", final)
	check(403, "AccessDenied", final)
	check(403, "SignatureDoesNotMatch", final)
	check(403, "RequestTimeTooSkewed", final)
	check(403, "InvalidObjectState", final)
	check(404, "NoSuchKey", final)
	check(404, "NoSuchVersion", final)
	check(405, "MethodNotAllowed", final)
	check(408, "RequestTimeout", again)
	check(409, "OperationAborted", again)
	check(409, "RestoreAlreadyInProgress", final)
	check(412, "PreconditionFailed", final)
	check(429, "TooManyRequests", again)
	check(429, "AnythingElse", again)
	check(500, "InternalError", again)
	check(500, "AnythingElse", again)
	check(501, "NotImplemented", final) // a store that lacks it lacks it for the whole job
	check(502, "BadGateway", again)
	check(503, "SlowDown", again)
	check(503, "SlowDownWrite", again)
	check(503, "ServiceUnavailable", again)
	check(504, "GatewayTimeout", again)
	check(505, "HTTPVersionNotSupported", final)
	check(400, "ExpiredToken", refresh)
	check(403, "ExpiredTokenException", refresh)
	check(400, "TokenRefreshRequired", refresh)
}

func TestCodeOfBareStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		400: "BadRequest", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed", 408: "RequestTimeout", 412: "PreconditionFailed",
		416: "InvalidRange", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 599: "Status599",
	} {
		if got := codeOf(status); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

func TestNaturalStatusAgreesWithJudge(t *testing.T) {
	t.Parallel()
	check := func(code string, want int) {
		t.Helper()
		if got := naturalStatus(code); got != want {
			t.Errorf("%s: got %d, want %d", code, got, want)
		}
	}
	check("InternalError", 500)
	check("SlowDown", 503)
	check("ServiceUnavailable", 503)
	check("AccessDenied", 403)
	check("NoSuchKey", 404)
	check("PreconditionFailed", 412)
	check("InvalidRequest", 400)
	check("OperationAborted", 409)
	check("NotImplemented", 501)
	check("NeverHeardOf", 500)
	check("", 500)
}

func TestParseError(t *testing.T) {
	t.Parallel()
	check := func(doc string, want s3Error) {
		t.Helper()
		if diff := cmp.Diff(want, parseError([]byte(doc)), cmp.AllowUnexported(s3Error{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", doc, diff)
		}
	}
	slow := s3Error{"SlowDown", "Please reduce your request rate.", "4442587FB7D0A2F9"}
	check(`<?xml version="1.0" encoding="UTF-8"?>
		<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><Resource>/b/k</Resource><RequestId>4442587FB7D0A2F9</RequestId></Error>`, slow)
	check(`<ErrorResponse xmlns="http://x/"><Error><Type>Sender</Type><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error><RequestId>4442587FB7D0A2F9</RequestId></ErrorResponse>`, slow)
	check(`<s3:Error xmlns:s3="http://x/"><s3:RequestId>4442587FB7D0A2F9</s3:RequestId><s3:Message>Please reduce your request rate.</s3:Message><s3:Code>SlowDown</s3:Code></s3:Error>`, slow)
	check(`<Error><Code><![CDATA[SlowDown]]></Code><Message>a &lt;b&gt; &amp; &#233;</Message></Error>`, s3Error{"SlowDown", "a <b> & é", ""})
	check(`<Error><Code>SlowDown</Code><Message>Please re`, s3Error{code: "SlowDown", message: "Please re"})
	check(`<Error><Message>Please</Message><Code>Slow`, s3Error{message: "Please"})
	check(`<Error><Code>SlowDown</Code><Message>Please</Mess`, s3Error{"SlowDown", "Please", ""})
	check(`<Error><Code>First</Code><Code>Second</Code></Error>`, s3Error{code: "First"})
	check(`<!DOCTYPE x [<!ENTITY e "boom">]><Error><Code>&e;</Code></Error>`, s3Error{})
	check(`<Error><Code>&undefined;</Code></Error>`, s3Error{})
	check(`<html><head><title>502 Bad Gateway</title></head><Code>no</Code></html>`, s3Error{})
	check(`{"error":"json"}`, s3Error{})
	check(``, s3Error{})
	check(`<?xml version="1.0" encoding="ISO-8859-1"?><Error><Code>SlowDown</Code></Error>`, s3Error{})
	if got := parseError([]byte("<Error><Message>" + strings.Repeat("é", maxText) + "</Message></Error>")).message; len(got) != maxText || !utf8.ValidString(got) {
		t.Errorf("long message is cut to %d bytes", len(got))
	}
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte(`<Error><Code>SlowDown</Code><Message>m</Message><RequestId>r</RequestId></Error>`))
	f.Add([]byte(`<ErrorResponse><Error><Code>a<b/>c</Code></Error></ErrorResponse>`))
	f.Add([]byte("<?xml version=\"1.0\"?><!-- c -->\n<Error/>"))
	f.Add([]byte("\xef\xbb\xbf<a:CopyObjectResult xmlns:a='x'></a:CopyObjectResult>"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		e := parseError(doc)
		for _, text := range []string{e.code, e.message, e.requestID} {
			if len(text) > maxText || !utf8.ValidString(text) {
				t.Errorf("text of %d bytes: %q", len(text), text)
			}
		}
		// What is cut off can only make it know less, never something else.
		if short := parseError(doc[:len(doc)/2]); short.code != "" && !strings.HasPrefix(e.code, short.code) {
			t.Errorf("half gives code %q, the whole %q", short.code, e.code)
		}
		// A document that XML calls whole is whole for us, with the same root.
		var root struct{ XMLName xml.Name }
		if name := rootOf(doc); name != "" && xml.Unmarshal(doc, &root) == nil && root.XMLName.Local != name && !bytes.Contains(doc, []byte("<!")) {
			t.Errorf("root %q, XML says %q", name, root.XMLName.Local)
		}
	})
}

// FuzzErrorRoundTrip reads back what a store may say.
func FuzzErrorRoundTrip(f *testing.F) {
	f.Add("SlowDown", "Please <reduce> & \"wait\" é", "id")
	f.Fuzz(func(t *testing.T, code, message, id string) {
		var out bytes.Buffer
		for _, part := range []struct{ name, text string }{{"Code", code}, {"Message", message}, {"RequestId", id}} {
			if len(part.text) > maxText || strings.ContainsRune(part.text, '\r') || !utf8.ValidString(part.text) {
				t.Skip("not what XML or we keep as it is")
			}
			out.WriteString("<" + part.name + ">")
			if err := xml.EscapeText(&out, []byte(part.text)); err != nil {
				t.Fatal(err)
			}
			out.WriteString("</" + part.name + ">")
		}
		clean := func(s string) string { // XML has no such characters: they are replaced when written
			return strings.Map(func(r rune) rune {
				if r < ' ' && r != '\t' && r != '\n' || r == 0xfffe || r == 0xffff {
					return utf8.RuneError
				}
				return r
			}, s)
		}
		want := s3Error{clip(clean(code)), clip(clean(message)), clip(clean(id))}
		if diff := cmp.Diff(want, parseError([]byte("<Error>"+out.String()+"</Error>")), cmp.AllowUnexported(s3Error{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestRootOf(t *testing.T) {
	t.Parallel()
	check := func(doc, want string) {
		t.Helper()
		if got := rootOf([]byte(doc)); got != want {
			t.Errorf("%q: got %q, want %q", doc, got, want)
		}
	}
	check(`<CopyObjectResult><ETag>x</ETag></CopyObjectResult>`, "CopyObjectResult")
	check("\n \xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- <Error> -->\n<CopyObjectResult xmlns=\"x\">\n</CopyObjectResult >\n", "CopyObjectResult")
	check(`<s3:Error xmlns:s3="x"><s3:Code>c</s3:Code></s3:Error>`, "Error")
	check(`<Error><Code>c</Code></Error>`, "Error")
	check(`<CopyObjectResult/>`, "CopyObjectResult")
	check(`<CopyObjectResult xmlns="x" />`, "CopyObjectResult")
	check(`<CopyObjectResult><ETag>x</ETag></CopyObj`, "")
	check(`<CopyObjectResult><ETag>x</ETag>`, "")
	check(`<CopyObjectResult><ETag/>`, "")
	check(`<CopyObjectResult>`, "")
	check(`<?xml version="1.0"?>`, "")
	check(`<?xml`, "")
	check(`   `, "")
	check(``, "")
	check(`ok`, "")
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	check := func(value string, want time.Duration) {
		t.Helper()
		if got := retryAfter([]byte(value), now); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
	check("", 0)
	check("7", 7*time.Second)
	check("-7", 0)
	check("7.5", 0)
	check("99999999999999999999", 0)
	check("Sun, 22 Nov 2026 03:00:30 GMT", 30*time.Second)
	check("Sun, 22 Nov 2026 02:59:30 GMT", 0)
	check("soon", 0)
}

func TestRequestsThatMustNotGoOut(t *testing.T) {
	t.Parallel()
	check := func(name, want string, change func(*Request)) {
		t.Helper()
		req := &Request{Method: "PUT", Bucket: "b", Key: []byte("k"), Headers: []Header{{"x-amz-acl", "private"}}}
		change(req)
		var res Result
		if ok := res.check(req); ok != (want == "") || res.Code != want || ok == (res.Status == 400) {
			t.Errorf("%s: %t, %d %s; want %q", name, ok, res.Status, res.Code, want)
		}
	}
	check("good", "", func(*Request) {})
	check("tab and UTF-8 in a value", "", func(r *Request) { r.Headers[0].Value = "a\té" })
	check("bucket itself", "", func(r *Request) { r.Key, r.OnBucket = nil, true })
	check("no bucket", "InvalidBucketName", func(r *Request) { r.Bucket = "" })
	check("dotted bucket", "InvalidBucketName", func(r *Request) { r.Bucket = ".." })
	check("empty key", "InvalidURI", func(r *Request) { r.Key = nil }) // would tag the bucket
	check("key on bucket", "InvalidURI", func(r *Request) { r.OnBucket = true })
	check("line end in a value", "InvalidArgument", func(r *Request) { r.Headers[0].Value = "a\r\nx-amz-acl: public-read" })
	check("line end in a name", "InvalidArgument", func(r *Request) { r.Headers[0].Name = "x-amz-meta-a\n" })
	check("space in a name", "InvalidArgument", func(r *Request) { r.Headers[0].Name = "x-amz-meta-a b" })
	check("capital in a name", "InvalidArgument", func(r *Request) { r.Headers[0].Name = "X-Amz-Acl" })
	check("no name", "InvalidArgument", func(r *Request) { r.Headers[0].Name = "" })
	check("our header", "InvalidArgument", func(r *Request) { r.Headers[0].Name = "x-amz-date" })
	check("length", "InvalidArgument", func(r *Request) { r.Headers[0].Name = "content-length" })
}
