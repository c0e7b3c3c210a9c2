package objectstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A signer makes AWS Signature Version 4 for the service "s3" in one region. The derived key changes once a day, and
// with the credentials; the time stamp changes once a second: both are kept.
type signer struct {
	region string
	key    atomic.Pointer[signingKey]
	stamp  atomic.Pointer[stamp]
}

// A stamp is a second as X-Amz-Date has it, such as 20261122T033945Z. Its first eight bytes are the day.
type stamp struct {
	second int64
	text   string
}

func (g *signer) stampOf(now time.Time) string {
	second := now.Unix()
	if s := g.stamp.Load(); s != nil && s.second == second {
		return s.text
	}
	s := &stamp{second, now.UTC().Format("20060102T150405Z")}
	g.stamp.Store(s)
	return s.text
}

// A signingKey signs for one day, one region and one key pair.
type signingKey struct {
	accessKey, secret, token, day string

	scope string // 20261122/us-east-1/s3/aws4_request
	key   []byte
}

func (k *signingKey) of(c *aws.Credentials) bool {
	return k.accessKey == c.AccessKeyID && k.secret == c.SecretAccessKey && k.token == c.SessionToken
}

func (g *signer) keyFor(c *aws.Credentials, day string) *signingKey {
	if k := g.key.Load(); k != nil && k.day == day && k.of(c) {
		return k
	}
	key := []byte("AWS4" + c.SecretAccessKey)
	for _, part := range []string{day, g.region, "s3", "aws4_request"} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	k := &signingKey{
		accessKey: c.AccessKeyID, secret: c.SecretAccessKey, token: c.SessionToken, day: day,
		scope: day + "/" + g.region + "/s3/aws4_request", key: key,
	}
	g.key.Store(k)
	return k
}

// An authorizer is the memory one goroutine needs to sign.
type authorizer struct {
	canonical []byte
	mac       hash.Hash
	key       *signingKey // what mac was made with
}

const algorithm = "AWS4-HMAC-SHA256"

// append appends the value of the Authorization header. headers are sorted by name and include the date; target is
// path and query as they go out, the first path bytes of it the path.
func (a *authorizer) append(dst []byte, k *signingKey, method string, target []byte, path int, headers []Header, date, bodySum string) []byte {
	b := append(a.canonical[:0], method...)
	b = append(b, '\n')
	b = append(b, target[:path]...)
	b = append(b, '\n')
	b = appendCanonicalQuery(b, target[path:])
	b = append(b, '\n')
	b = appendCanonicalHeaders(b, headers)
	b = append(b, '\n')
	b = appendNames(b, headers)
	b = append(b, '\n')
	b = append(b, bodySum...)
	sum := sha256.Sum256(b)

	b = append(b[:0], algorithm+"\n"...)
	b = append(b, date...)
	b = append(b, '\n')
	b = append(b, k.scope...)
	b = append(b, '\n')
	b = hex.AppendEncode(b, sum[:])
	if a.key != k {
		a.mac, a.key = hmac.New(sha256.New, k.key), k
	}
	a.mac.Reset()
	a.mac.Write(b)
	signature := a.mac.Sum(b[:0])

	dst = append(dst, algorithm+" Credential="...)
	dst = append(dst, k.accessKey...)
	dst = append(dst, '/')
	dst = append(dst, k.scope...)
	dst = append(dst, ", SignedHeaders="...)
	dst = appendNames(dst, headers)
	dst = append(dst, ", Signature="...)
	dst = hex.AppendEncode(dst, signature)
	a.canonical = b
	return dst
}

// appendCanonicalQuery appends a query that is escaped and sorted already; a name alone gets its "=".
func appendCanonicalQuery(dst, query []byte) []byte {
	if len(query) == 0 {
		return dst
	}
	bare := true
	for _, c := range query[1:] {
		switch c {
		case '=':
			bare = false
		case '&':
			if bare {
				dst = append(dst, '=')
			}
			bare = true
		}
		dst = append(dst, c)
	}
	if bare {
		dst = append(dst, '=')
	}
	return dst
}

// appendCanonicalHeaders appends one line per name: values trimmed, runs of spaces made one, equal names joined.
func appendCanonicalHeaders(dst []byte, headers []Header) []byte {
	for i := range headers {
		h := &headers[i]
		if i > 0 && headers[i-1].Name == h.Name {
			dst[len(dst)-1] = ','
		} else {
			dst = append(dst, h.Name...)
			dst = append(dst, ':')
		}
		dst = appendSqueezed(dst, h.Value)
		dst = append(dst, '\n')
	}
	return dst
}

func appendSqueezed(dst []byte, value string) []byte {
	start := len(dst)
	for i := range len(value) {
		if value[i] == ' ' && (len(dst) == start || value[i-1] == ' ') {
			continue
		}
		dst = append(dst, value[i])
	}
	for len(dst) > start && dst[len(dst)-1] == ' ' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

func appendNames(dst []byte, headers []Header) []byte {
	for i := range headers {
		switch {
		case i == 0:
		case headers[i-1].Name == headers[i].Name:
			continue
		default:
			dst = append(dst, ';')
		}
		dst = append(dst, headers[i].Name...)
	}
	return dst
}
