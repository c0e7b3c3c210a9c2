// Package sigv4 verifies the signatures of requests to an AWS-style API:
// Signature Version 4 in the Authorization header, with the rules of S3 (the
// path is encoded once and taken as sent, the payload's hash is a header).
//
//	request -> canonical request -> string to sign -> HMAC -> the same as sent?
//
// Any Host is fine: the signature is verified over the one received.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxSkew is how far the time of a request may be from ours.
const MaxSkew = 15 * time.Minute

// UnsignedPayload stands for the payload's hash when the body is not signed.
const UnsignedPayload = "UNSIGNED-PAYLOAD"

const timeFormat = "20060102T150405Z"

// Codes of Error, as S3 names them.
const (
	AccessDenied                 = "AccessDenied"
	AuthorizationHeaderMalformed = "AuthorizationHeaderMalformed"
	InvalidAccessKeyID           = "InvalidAccessKeyId"
	InvalidRequest               = "InvalidRequest"
	InvalidToken                 = "InvalidToken"
	MissingAuthenticationToken   = "MissingAuthenticationToken"
	RequestTimeTooSkewed         = "RequestTimeTooSkewed"
	SignatureDoesNotMatch        = "SignatureDoesNotMatch"
)

// Error says why a request is not believed. Both fields are for the caller.
type Error struct {
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Credentials are what a request is signed with.
type Credentials struct {
	Secret       string
	SessionToken string // empty for long-lived keys
}

// Caller is who signed a request, and how.
type Caller struct {
	AccessKey string
	Region    string // of the signature's scope; whatever the client is configured with

	payload string   // value of X-Amz-Content-Sha256
	signed  []string // names of the signed headers, lower case
}

// Signed reports whether the signature covers a header, named in lower case.
func (c *Caller) Signed(header string) bool { return slices.Contains(c.signed, header) }

// CheckBody compares the body with the hash that was signed. The error is an *Error.
func (c *Caller) CheckBody(body []byte) error {
	if c.payload == UnsignedPayload {
		return nil
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != c.payload {
		return &Error{SignatureDoesNotMatch, "the body is not the one that was signed: its SHA-256 is not the value of X-Amz-Content-SHA256"}
	}
	return nil
}

// Verify says who sent r, or why that cannot be believed: the error is an
// *Error. The body is not read; its hash is checked by Caller.CheckBody. lookup
// finds the credentials of an access key.
func Verify(r *http.Request, service string, now time.Time, lookup func(accessKey string) (Credentials, bool)) (*Caller, error) {
	target, err := parseTarget(r)
	if err != nil {
		return nil, err
	}
	switch n := len(r.Header.Values("Authorization")); {
	case n == 0 && (target.query.Has("X-Amz-Signature") || target.query.Has("X-Amz-Algorithm")):
		return nil, &Error{AccessDenied, "presigned requests are not accepted; sign the request in its Authorization header"}
	case n == 0:
		return nil, &Error{MissingAuthenticationToken, "the request is not signed: it has no Authorization header"}
	case n > 1:
		return nil, malformed("it is given more than once")
	}
	auth, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return nil, err
	}
	if auth.service != service {
		return nil, malformed("its service is not " + service)
	}
	at, err := requestTime(r, auth, now)
	if err != nil {
		return nil, err
	}
	payload, err := payloadHash(r)
	if err != nil {
		return nil, err
	}
	// What is acted on must be signed. (S3 wants every x-amz- header signed;
	// that would break behind proxies that add their own, such as X-Amz-Cf-Id.)
	for _, name := range []string{"host", "x-amz-date", "x-amz-content-sha256"} {
		if !slices.Contains(auth.signed, name) {
			return nil, &Error{AccessDenied, "the header " + name + " must be signed"}
		}
	}
	creds, ok := lookup(auth.accessKey)
	if !ok {
		return nil, &Error{InvalidAccessKeyID, "the access key is not known here"}
	}
	want := sign(creds.Secret, auth, at, canonical(r, target, auth.signed, payload))
	if subtle.ConstantTimeCompare([]byte(want), []byte(auth.signature)) != 1 {
		return nil, &Error{SignatureDoesNotMatch, "the signature is not the one computed here; check the secret key, and that no proxy rewrites the Host header, the path or the query"}
	}
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Amz-Security-Token")), []byte(creds.SessionToken)) != 1 {
		return nil, &Error{InvalidToken, "the session token is not the one of the access key"}
	}
	return &Caller{AccessKey: auth.accessKey, Region: auth.region, payload: payload, signed: auth.signed}, nil
}

// requestTime checks the time a request was signed at.
func requestTime(r *http.Request, auth *authorization, now time.Time) (string, error) {
	sent := r.Header.Values("X-Amz-Date")
	if len(sent) != 1 {
		return "", &Error{AccessDenied, "want one X-Amz-Date header"}
	}
	at, err := time.Parse(timeFormat, sent[0])
	if err != nil {
		return "", &Error{AccessDenied, "X-Amz-Date is not a time like 20060102T150405Z"}
	}
	if !strings.HasPrefix(sent[0], auth.date) {
		return "", &Error{SignatureDoesNotMatch, "the date of the credential scope is not that of X-Amz-Date"}
	}
	if skew := now.Sub(at).Abs(); skew > MaxSkew {
		return "", &Error{RequestTimeTooSkewed, fmt.Sprintf(
			"the request was signed at %s, the server's time is %s: the difference is more than %d minutes",
			at.Format(time.RFC3339), now.UTC().Format(time.RFC3339), int(MaxSkew.Minutes()))}
	}
	return sent[0], nil
}

func payloadHash(r *http.Request) (string, error) {
	sent := r.Header.Values("X-Amz-Content-Sha256")
	if len(sent) != 1 {
		return "", &Error{InvalidRequest, "want one X-Amz-Content-SHA256 header"}
	}
	h := sent[0]
	if h != UnsignedPayload && (len(h) != 64 || strings.ContainsFunc(h, notHex)) {
		return "", &Error{InvalidRequest, "X-Amz-Content-SHA256 is neither a SHA-256 in lower-case hex nor " + UnsignedPayload}
	}
	return h, nil
}

// A target is the path and query of a request as they were sent.
type target struct {
	path  string // still encoded
	query url.Values
}

// parseTarget takes apart the request target, in origin or absolute form.
func parseTarget(r *http.Request) (target, error) {
	raw := r.RequestURI
	if _, after, ok := strings.Cut(raw, "://"); ok && !strings.HasPrefix(raw, "/") {
		raw = "/"
		if i := strings.IndexAny(after, "/?"); i >= 0 {
			raw = after[i:]
		}
	}
	path, rawQuery, _ := strings.Cut(raw, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return target{}, &Error{InvalidRequest, "the query string is not well-formed"}
	}
	if path == "" {
		path = "/"
	}
	return target{path, query}, nil
}

// canonical is the canonical request.
func canonical(r *http.Request, t target, signed []string, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + t.path + "\n")
	writeQuery(&b, t.query)
	b.WriteByte('\n')
	for _, name := range signed {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + payload)
	return b.String()
}

// writeQuery writes the query sorted by encoded name, then encoded value.
func writeQuery(b *strings.Builder, query url.Values) {
	var pairs [][2]string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, [2]string{escape(name), escape(v)})
		}
	}
	slices.SortFunc(pairs, func(p, q [2]string) int { return slices.Compare(p[:], q[:]) })
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0] + "=" + p[1])
	}
}

// escape encodes everything but the unreserved characters of RFC 3986.
func escape(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// headerValue is the canonical value of a header: trimmed, runs of spaces made
// one, several lines joined by a comma. net/http keeps two headers elsewhere.
func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' }), " ")
	}
	return strings.Join(values, ",")
}

// sign is the signature, in hex, of a canonical request signed at a time.
func sign(secret string, auth *authorization, at, request string) string {
	sum := sha256.Sum256([]byte(request))
	key := []byte("AWS4" + secret)
	for _, part := range []string{auth.date, auth.region, auth.service, terminator} {
		key = hmacSHA256(key, part)
	}
	text := strings.Join([]string{algorithm, at, auth.scope(), hex.EncodeToString(sum[:])}, "\n")
	return hex.EncodeToString(hmacSHA256(key, text))
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
