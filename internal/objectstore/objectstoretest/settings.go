package objectstoretest

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Grant is one of an ACL.
type Grant struct {
	Type       string // of the grantee: CanonicalUser, AmazonCustomerByEmail or Group
	Grantee    string // id, address or URI
	Permission string
}

// SetObjectLock switches Object Lock on for a bucket, and with it versions.
func (s *Server) SetObjectLock(bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bucketLocked(bucket)
	b.locked, b.versioning = true, "Enabled"
}

// SetStorageClass moves the current version of an object, which must exist. What lies in GLACIER or DEEP_ARCHIVE can
// be read again only if Restored.
func (s *Server) SetStorageClass(bucket, key, class string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, _ := s.bucketLocked(bucket).find(key, "")
	o.StorageClass = class
}

// PutParts stores an object as if it had been uploaded in these parts, and returns it.
func (s *Server) PutParts(bucket, key string, parts ...string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &Object{Body: []byte(strings.Join(parts, "")), ContentType: "binary/octet-stream"}
	var sums []byte
	for _, p := range parts {
		sum := md5.Sum([]byte(p))
		sums = append(sums, sum[:]...)
		o.Parts = append(o.Parts, len(p))
	}
	s.storeLocked(s.bucketLocked(bucket), key, o)
	sum := md5.Sum(sums)
	o.ETag = hex.EncodeToString(sum[:]) + "-" + strconv.Itoa(len(parts))
	return o.clone()
}

// archived reports whether o cannot be read.
func (o *Object) archived() bool {
	return (o.StorageClass == "GLACIER" || o.StorageClass == "DEEP_ARCHIVE") && !o.Restored
}

// part narrows an answer down to one part of o, if the query asks for one.
func (o *Object) part(a *answer, query url.Values) *answer {
	n, err := strconv.Atoi(query.Get("partNumber"))
	switch {
	case query.Get("partNumber") == "":
		return a
	case err != nil || n < 1 || n > max(1, len(o.Parts)):
		return refusal(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
	case len(o.Parts) == 0:
		return a
	}
	from := 0
	for _, size := range o.Parts[:n-1] {
		from += size
	}
	to := from + o.Parts[n-1]
	a.status, a.body = 206, o.Body[from:to]
	a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(o.Body)))
	a.header.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(o.Parts)))
	return a
}

func lockConfiguration(b *bucket) *answer {
	if !b.locked {
		return refusal(404, "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
	}
	return reply(200, xmlHeader+`<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`)
}

// setting changes something about an object that is not its content. It answers nil if that is not what r wants.
func setting(r *Request, b *bucket, o *Object) *answer {
	switch r.Op {
	case "PutObjectAcl", "PutObjectLegalHold", "PutObjectRetention":
		if !summed(r) {
			return refusal(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
		}
	}
	if (r.Op == "PutObjectLegalHold" || r.Op == "PutObjectRetention") && !b.locked {
		return refusal(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
	}
	switch r.Op {
	case "PutObjectAcl":
		return putACL(r, o)
	case "PutObjectLegalHold":
		var in struct {
			XMLName xml.Name `xml:"LegalHold"`
			Status  string
		}
		if xml.Unmarshal(r.Body, &in) != nil || in.Status != "ON" && in.Status != "OFF" {
			return malformed()
		}
		o.LegalHold = in.Status
		return reply(200, "")
	case "PutObjectRetention":
		return putRetention(r, o)
	case "RestoreObject":
		return restore(r, o)
	}
	return nil
}

func putACL(r *Request, o *Object) *answer {
	if canned := r.Header.Get("X-Amz-Acl"); canned != "" {
		if len(r.Body) > 0 {
			return refusal(400, "UnexpectedContent", "This request does not support content")
		}
		o.ACL, o.Grants = canned, nil
		return reply(200, "")
	}
	var in struct {
		XMLName xml.Name `xml:"AccessControlPolicy"`
		Owner   struct{ ID string }
		Grants  []struct {
			Grantee struct {
				Type             string `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr"`
				ID, EmailAddress string
				URI              string
			}
			Permission string
		} `xml:"AccessControlList>Grant"`
	}
	if xml.Unmarshal(r.Body, &in) != nil {
		return malformed()
	}
	var grants []Grant
	for _, g := range in.Grants {
		who := cmp.Or(g.Grantee.ID, g.Grantee.EmailAddress, g.Grantee.URI)
		if g.Grantee.Type == "" || who == "" || g.Permission == "" {
			return malformed()
		}
		grants = append(grants, Grant{g.Grantee.Type, who, g.Permission})
	}
	o.ACL, o.Grants = "", grants
	return reply(200, "")
}

func putRetention(r *Request, o *Object) *answer {
	var in struct {
		XMLName         xml.Name `xml:"Retention"`
		Mode            string
		RetainUntilDate string
	}
	if xml.Unmarshal(r.Body, &in) != nil || (in.Mode == "") != (in.RetainUntilDate == "") {
		return malformed()
	}
	var until time.Time
	if in.Mode != "" {
		var err error
		if until, err = time.Parse(time.RFC3339, in.RetainUntilDate); err != nil {
			return malformed()
		}
	}
	bypass := r.Header.Get("X-Amz-Bypass-Governance-Retention") == "true"
	if weaker := in.Mode == "" || until.Before(o.RetainUntil) || o.RetainMode == "COMPLIANCE" && in.Mode != "COMPLIANCE"; weaker &&
		(o.RetainMode == "COMPLIANCE" || o.RetainMode == "GOVERNANCE" && !bypass) {
		return refusal(403, "AccessDenied", "Access Denied because object protected by object lock.")
	}
	o.RetainMode, o.RetainUntil = in.Mode, until
	return reply(200, "")
}

// restore accepts a request and never comes to its end: a second one finds it in progress.
func restore(r *Request, o *Object) *answer {
	var in struct {
		XMLName xml.Name `xml:"RestoreRequest"`
		Days    int
		Tier    string `xml:"GlacierJobParameters>Tier"`
	}
	switch {
	case xml.Unmarshal(r.Body, &in) != nil:
		return malformed()
	case o.StorageClass != "GLACIER" && o.StorageClass != "DEEP_ARCHIVE":
		return refusal(403, "InvalidObjectState", "Restore is not allowed for the object's current storage class")
	case in.Days < 1:
		return malformed()
	case o.Restoring != "":
		return refusal(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
	}
	o.Restoring = cmp.Or(in.Tier, "Standard") + " " + strconv.Itoa(in.Days)
	return reply(http.StatusAccepted, "")
}

// summed reports whether a request carries a sum of its body.
func summed(r *Request) bool {
	for name := range r.Header {
		if name == "Content-Md5" || strings.HasPrefix(name, "X-Amz-Checksum-") {
			return true
		}
	}
	return false
}
