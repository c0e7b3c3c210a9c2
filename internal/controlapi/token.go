package controlapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"stevedore/internal/job"
)

// A next token is the place where the page before ended, with a digest that
// binds it to the account, the Region and the filter it was made for:
//
//	base64url( seconds(8) nanoseconds(4) digest(16) job id )
//
// The digest is no secret: a forged token would only lead to another place in
// the caller's own list.
const (
	tokenPlace  = 8 + 4
	tokenDigest = 16
)

func writeToken(at job.Cursor, account, region string, statuses []job.Status) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.CreationTime.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(at.CreationTime.Nanosecond()))
	b = append(b, listDigest(b, at.ID, account, region, statuses)...)
	return base64.RawURLEncoding.EncodeToString(append(b, at.ID...))
}

// readToken is the reverse; ok is false for any token not made for this list.
func readToken(token, account, region string, statuses []job.Status) (at job.Cursor, ok bool) {
	const longest = 1024 // by the model
	if len(token) > longest {
		return job.Cursor{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < tokenPlace+tokenDigest {
		return job.Cursor{}, false
	}
	place, digest, id := b[:tokenPlace], b[tokenPlace:tokenPlace+tokenDigest], string(b[tokenPlace+tokenDigest:])
	if !bytes.Equal(digest, listDigest(place, id, account, region, statuses)) {
		return job.Cursor{}, false
	}
	seconds, nanoseconds := binary.BigEndian.Uint64(place), binary.BigEndian.Uint32(place[8:])
	return job.Cursor{CreationTime: time.Unix(int64(seconds), int64(nanoseconds)).UTC(), ID: id}, true
}

// listDigest digests a place and the list it belongs to; statuses are sorted.
func listDigest(place []byte, id, account, region string, statuses []job.Status) []byte {
	h := sha256.New()
	h.Write(place)
	for _, s := range append([]job.Status{job.Status(id), job.Status(account), job.Status(region)}, statuses...) {
		h.Write([]byte(s + "\x00"))
	}
	return h.Sum(nil)[:tokenDigest]
}
