package objectstoretest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// authenticate checks the signature of a request; nil if it holds.
func (s *Server) authenticate(r *Request) *answer {
	s.mu.Lock()
	want := s.accepted
	s.mu.Unlock()
	if want.AccessKey == "" {
		return nil
	}
	if key := accessKey(r.Header); key != want.AccessKey && key == s.cfg.AccessKey || r.Header.Get("X-Amz-Security-Token") != want.SessionToken {
		return refusal(400, "ExpiredToken", "The provided token has expired.")
	} else if key != want.AccessKey {
		return refusal(403, "InvalidAccessKeyId", "The access key does not exist.")
	}
	if why := Verify(r, want.Secret); why != "" {
		return refusal(403, "SignatureDoesNotMatch", why)
	}
	return nil
}

func accessKey(h http.Header) string {
	_, rest, _ := strings.Cut(h.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(rest, "/")
	return key
}

// Verify checks the signature of r with the AWS SDK's signer and returns what is wrong with it, "" if nothing is.
func Verify(r *Request, secret string) string {
	authorization := r.Header.Get("Authorization")
	_, rest, ok := strings.Cut(authorization, "AWS4-HMAC-SHA256 Credential=")
	credential, rest, ok2 := strings.Cut(rest, ", SignedHeaders=")
	names, signature, ok3 := strings.Cut(rest, ", Signature=")
	scope := strings.Split(credential, "/")
	if !ok || !ok2 || !ok3 || len(scope) != 5 {
		return "The Authorization header cannot be read."
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || at.Format("20060102") != scope[1] {
		return "The date does not agree with the scope."
	}
	sum := r.Header.Get("X-Amz-Content-Sha256")
	if body := sha256.Sum256(r.Body); sum != hex.EncodeToString(body[:]) && sum != "UNSIGNED-PAYLOAD" {
		return "The sum of the body is wrong."
	}
	signed := strings.Split(names, ";")
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") {
		return "The signed headers are out of order, or do not include the host."
	}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signed, lower) {
			return "The header " + name + " is not signed."
		}
	}

	path, query, _ := strings.Cut(r.URI, "?")
	again := &http.Request{
		Method: r.Method, Host: r.Host, Header: make(http.Header),
		URL: &url.URL{Scheme: "http", Host: r.Host, Opaque: "//" + r.Host + path, RawQuery: query},
	}
	for _, name := range signed {
		switch key := textproto.CanonicalMIMEHeaderKey(name); name {
		case "host":
		case "content-length":
			again.ContentLength = int64(len(r.Body))
		default:
			again.Header[key] = r.Header[key]
		}
	}
	credentials := aws.Credentials{AccessKeyID: scope[0], SecretAccessKey: secret}
	err = v4.NewSigner().SignHTTP(context.Background(), credentials, again, sum, scope[3], scope[2], at,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return "The request cannot be signed again: " + err.Error()
	}
	if !strings.HasSuffix(again.Header.Get("Authorization"), "Signature="+signature) {
		return "The signature is wrong."
	}
	return ""
}
