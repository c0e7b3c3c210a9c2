package objectstoretest

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const xmlHeader = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// An Object is one version of an object.
type Object struct {
	Body         []byte
	ETag         string // without quotes
	VersionID    string // empty: the bucket had no versioning
	ContentType  string
	Metadata     map[string]string // x-amz-meta- headers, names in lower case
	Tags         map[string]string
	Header       http.Header // of the request that wrote it
	Modified     time.Time
	DeleteMarker bool

	StorageClass string    // empty: STANDARD
	Restored     bool      // from an archive: may be read
	Restoring    string    // tier and days of the restore that was asked for
	Parts        []int     // sizes; nil: put in one piece
	ACL          string    // canned
	Grants       []Grant   // given instead of a canned ACL
	LegalHold    string    // ON, OFF or empty
	RetainMode   string    // GOVERNANCE, COMPLIANCE or empty
	RetainUntil  time.Time // zero without RetainMode
}

type bucket struct {
	versioning string
	locked     bool                 // has Object Lock
	objects    map[string][]*Object // versions, oldest first
	uploads    map[string]*upload   // by id
	index      []string             // keys of objects, sorted; nil: to be made
	rows       []Row                // of Fill
}

// CreateBucket creates buckets that do not exist yet. Put does so too.
func (s *Server) CreateBucket(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.bucketLocked(name)
	}
}

func (s *Server) bucketLocked(name string) *bucket {
	b := s.buckets[name]
	if b == nil {
		b = &bucket{objects: make(map[string][]*Object)}
		s.buckets[name] = b
	}
	return b
}

// SetVersioning sets the status of a bucket: "", "Enabled" or "Suspended".
func (s *Server) SetVersioning(bucket, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bucketLocked(bucket).versioning = status
}

// Put stores an object, as a client would, and returns it.
func (s *Server) Put(bucket, key, body string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &Object{Body: []byte(body), ContentType: "binary/octet-stream"}
	s.storeLocked(s.bucketLocked(bucket), key, o)
	return o.clone()
}

// SetTags sets the tags of the current version of an object, which must exist.
func (s *Server) SetTags(bucket, key string, tags map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, _ := s.bucketLocked(bucket).find(key, "")
	o.Tags = maps.Clone(tags)
}

// Object returns the current version of an object, false if there is none.
func (s *Server) Object(bucket, key string) (Object, bool) { return s.Version(bucket, key, "") }

// Version returns one version of an object, the current one for "".
func (s *Server) Version(bucket, key, versionID string) (Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return Object{}, false
	}
	o, _ := b.find(key, versionID)
	if o == nil || o.DeleteMarker {
		return Object{}, false
	}
	return o.clone(), true
}

// Keys returns the keys of the objects in a bucket, sorted.
func (s *Server) Keys(bucket string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(b.sorted()), func(key string) bool {
		o, _ := b.find(key, "")
		return o == nil || o.DeleteMarker
	})
}

func (o *Object) clone() Object {
	c := *o
	c.Body, c.Tags, c.Metadata, c.Header = slices.Clone(o.Body), maps.Clone(o.Tags), maps.Clone(o.Metadata), o.Header.Clone()
	c.Parts, c.Grants = slices.Clone(o.Parts), slices.Clone(o.Grants)
	return c
}

// find returns a version of an object, nil if there is none. "null" is the one written without versioning.
func (b *bucket) find(key, versionID string) (*Object, int) {
	versions := b.objects[key]
	for i, o := range slices.Backward(versions) {
		if versionID == "" || cmp.Or(o.VersionID, "null") == versionID {
			return o, i
		}
	}
	return nil, -1
}

func (s *Server) storeLocked(b *bucket, key string, o *Object) {
	if _, known := b.objects[key]; !known {
		b.index = nil
	}
	sum := md5.Sum(o.Body)
	o.ETag, o.Modified = hex.EncodeToString(sum[:]), time.Now().UTC().Truncate(time.Second)
	if b.versioning == "Enabled" {
		s.versions++
		o.VersionID = "v" + strconv.Itoa(s.versions)
	} else {
		b.objects[key] = slices.DeleteFunc(b.objects[key], func(o *Object) bool { return o.VersionID == "" })
	}
	b.objects[key] = append(b.objects[key], o)
}

// opOf names the S3 call of a request.
func opOf(r *Request, query url.Values) string {
	if r.Key == "" {
		switch {
		case query.Has("versioning"):
			return map[string]string{"GET": "GetBucketVersioning", "PUT": "PutBucketVersioning"}[r.Method]
		case query.Has("object-lock") && r.Method == "GET":
			return "GetObjectLockConfiguration"
		case query.Has("replication") && r.Method == "GET":
			return "GetBucketReplication"
		case query.Has("versions") && r.Method == "GET":
			return "ListObjectVersions"
		}
		return cmp.Or(map[string]string{"GET": "ListObjectsV2", "PUT": "CreateBucket", "HEAD": "HeadBucket"}[r.Method], "Unknown")
	}
	if op := multipartOp(r, query); op != "" {
		return op
	}
	for sub, name := range map[string]string{
		"tagging": "ObjectTagging", "acl": "ObjectAcl", "legal-hold": "ObjectLegalHold", "retention": "ObjectRetention",
		"attributes": "ObjectAttributes",
	} {
		if query.Has(sub) {
			return cmp.Or(map[string]string{"GET": "Get", "PUT": "Put", "DELETE": "Delete"}[r.Method], "Unknown") + name
		}
	}
	switch {
	case query.Has("restore"):
		return "RestoreObject"
	case query.Has("encryption"):
		return "UpdateObjectEncryption"
	case r.Method == "PUT" && r.Header.Get("X-Amz-Copy-Source") != "":
		return "CopyObject"
	}
	return cmp.Or(map[string]string{"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[r.Method], "Unknown")
}

// handle does what is asked. spoil may change the page of a listing.
func (s *Server) handle(r *Request, query url.Values, spoil func(*page)) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[r.Bucket]
	if r.Op == "CreateBucket" {
		s.bucketLocked(r.Bucket)
		return reply(200, "")
	}
	if b == nil {
		return refusal(404, "NoSuchBucket", "The specified bucket does not exist")
	}
	if owner := r.Header.Get("X-Amz-Expected-Bucket-Owner"); s.cfg.Owner != "" && owner != "" && owner != s.cfg.Owner {
		return refusal(403, "AccessDenied", "Access Denied")
	}
	switch r.Op {
	case "HeadBucket":
		return reply(200, "")
	case "GetBucketVersioning":
		return reply(200, xmlHeader+"<VersioningConfiguration>"+element("Status", b.versioning)+"</VersioningConfiguration>")
	case "GetObjectLockConfiguration":
		return lockConfiguration(b)
	case "PutBucketVersioning":
		var in struct{ Status string }
		if xml.Unmarshal(r.Body, &in) != nil {
			return malformed()
		}
		b.versioning = in.Status
		return reply(200, "")
	case "ListObjectsV2", "ListObjectVersions":
		return s.list(r, b, query, spoil)
	case "PutObject":
		return s.put(r, b)
	case "CopyObject":
		return s.copy(r, b)
	case "DeleteObject":
		return s.delete(r, b)
	}
	if a := s.multipart(r, b, query); a != nil {
		return a
	}
	o, _ := b.find(r.Key, r.VersionID)
	if row := b.row(r.Key, r.VersionID); o == nil && row != nil {
		return row.head(r)
	}
	switch {
	case o == nil && r.VersionID != "":
		return refusal(404, "NoSuchVersion", "The specified version does not exist.")
	case o == nil, o.DeleteMarker && r.VersionID == "":
		return refusal(404, "NoSuchKey", "The specified key does not exist.")
	case o.DeleteMarker:
		return refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	switch r.Op {
	case "GetObject", "HeadObject":
		return get(r, o, query)
	case "GetObjectTagging":
		return reply(200, tagging(o.Tags))
	case "PutObjectTagging":
		return putTagging(r, o)
	case "DeleteObjectTagging":
		o.Tags = nil
		return reply(204, "")
	}
	if a := setting(r, b, o); a != nil {
		return a
	}
	return refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
}

func malformed() *answer {
	return refusal(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func element(name, value string) string {
	if value == "" {
		return ""
	}
	return "<" + name + ">" + html.EscapeString(value) + "</" + name + ">"
}

func get(r *Request, o *Object, query url.Values) *answer {
	if want := r.Header.Get("If-Match"); want != "" && want != `"`+o.ETag+`"` {
		return refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	if r.Method == http.MethodGet && o.archived() {
		return refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
	}
	a := reply(200, "")
	a.body = o.Body
	a.header.Set("ETag", `"`+o.ETag+`"`)
	a.header.Set("Last-Modified", o.Modified.Format(http.TimeFormat))
	a.header.Set("Content-Type", o.ContentType)
	a.header.Set("Accept-Ranges", "bytes")
	if o.VersionID != "" {
		a.header.Set("X-Amz-Version-Id", o.VersionID)
	}
	if o.StorageClass != "" {
		a.header.Set("X-Amz-Storage-Class", o.StorageClass)
	}
	for name, value := range o.Metadata {
		a.header.Set("X-Amz-Meta-"+name, value)
	}
	if span, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		first, last, _ := strings.Cut(span, "-")
		from, err := strconv.Atoi(first)
		to := len(o.Body) - 1
		if n, err := strconv.Atoi(last); err == nil {
			to = min(to, n)
		}
		if err != nil || from > to {
			return refusal(416, "InvalidRange", "The requested range is not satisfiable")
		}
		a.status, a.body = 206, o.Body[from:to+1]
		a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(o.Body)))
	}
	a = o.part(a, query)
	if r.Method == http.MethodHead {
		a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	return a
}

func (s *Server) put(r *Request, b *bucket) *answer {
	if strings.HasPrefix(r.Header.Get("Content-Encoding"), "aws-chunked") {
		return refusal(501, "NotImplemented", "Chunked uploads are not implemented")
	}
	o := &Object{
		Body: slices.Clone(r.Body), ContentType: cmp.Or(r.Header.Get("Content-Type"), "binary/octet-stream"),
		StorageClass: r.Header.Get("X-Amz-Storage-Class"), Metadata: metadata(r.Header), Header: r.Header,
	}
	var bad *answer
	if o.Tags, bad = headerTags(r.Header); bad != nil {
		return bad
	}
	s.storeLocked(b, r.Key, o)
	return written(o, "")
}

func written(o *Object, body string) *answer {
	a := reply(200, body)
	a.header.Set("ETag", `"`+o.ETag+`"`)
	if o.VersionID != "" {
		a.header.Set("X-Amz-Version-Id", o.VersionID)
	}
	return a
}

func metadata(h http.Header) map[string]string {
	m := make(map[string]string)
	for name := range h {
		if rest, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			m[strings.ToLower(rest)] = h.Get(name)
		}
	}
	return m
}

func headerTags(h http.Header) (map[string]string, *answer) {
	values, err := url.ParseQuery(h.Get("X-Amz-Tagging"))
	if err != nil {
		return nil, refusal(400, "InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded")
	}
	tags := make(map[string]string)
	for key := range values {
		tags[key] = values.Get(key)
	}
	return tags, nil
}

// source finds what x-amz-copy-source names.
func (s *Server) source(r *Request) (*Object, *answer) {
	source, version, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/"), "?versionId=")
	rawBucket, rawKey, _ := strings.Cut(source, "/")
	from, err1 := url.QueryUnescape(rawBucket)
	key, err2 := url.QueryUnescape(rawKey) // a bare + means a space, as S3 reads it: copy-source needs strict escaping
	version, err3 := url.QueryUnescape(version)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, refusal(400, "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	sourceBucket := s.buckets[from]
	if sourceBucket == nil {
		return nil, refusal(404, "NoSuchBucket", "The specified bucket does not exist")
	}
	o, _ := sourceBucket.find(key, version)
	switch {
	case o == nil && version != "":
		return nil, refusal(404, "NoSuchVersion", "The specified version does not exist.")
	case o == nil, o.DeleteMarker:
		return nil, refusal(404, "NoSuchKey", "The specified key does not exist.")
	case o.archived():
		return nil, refusal(403, "InvalidObjectState", "Operation is not valid for the source object's storage class")
	}
	return o, nil
}

func (s *Server) copy(r *Request, b *bucket) *answer {
	o, bad := s.source(r)
	if bad != nil {
		return bad
	}
	if bad := s.tooLarge(len(o.Body)); bad != nil {
		return bad
	}
	if t, err := http.ParseTime(r.Header.Get("X-Amz-Copy-Source-If-Modified-Since")); err == nil && !o.Modified.After(t) {
		return refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	if t, err := http.ParseTime(r.Header.Get("X-Amz-Copy-Source-If-Unmodified-Since")); err == nil && o.Modified.After(t) {
		return refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	clone := o.clone()
	clone.Header = r.Header
	if r.Header.Get("X-Amz-Metadata-Directive") == "REPLACE" {
		clone.Metadata, clone.ContentType = metadata(r.Header), cmp.Or(r.Header.Get("Content-Type"), "binary/octet-stream")
	}
	if r.Header.Get("X-Amz-Tagging-Directive") == "REPLACE" {
		if clone.Tags, bad = headerTags(r.Header); bad != nil {
			return bad
		}
	}
	clone.VersionID = ""
	clone.Parts, clone.ACL, clone.Grants, clone.LegalHold, clone.RetainMode, clone.RetainUntil = nil, "", nil, "", "", time.Time{}
	clone.StorageClass, clone.Restored, clone.Restoring = r.Header.Get("X-Amz-Storage-Class"), false, ""
	s.storeLocked(b, r.Key, &clone)
	return written(&clone, xmlHeader+"<CopyObjectResult><LastModified>"+clone.Modified.Format(time.RFC3339)+
		"</LastModified><ETag>&quot;"+clone.ETag+"&quot;</ETag></CopyObjectResult>")
}

func (s *Server) delete(r *Request, b *bucket) *answer {
	a := reply(204, "")
	o, at := b.find(r.Key, r.VersionID)
	switch {
	case r.VersionID != "" && o != nil, r.VersionID == "" && b.versioning == "" && o != nil:
		b.objects[r.Key] = slices.Delete(b.objects[r.Key], at, at+1)
		if len(b.objects[r.Key]) == 0 {
			delete(b.objects, r.Key)
			b.index = nil
		}
	case r.VersionID == "" && b.versioning != "":
		s.storeLocked(b, r.Key, &Object{DeleteMarker: true})
		a.header.Set("X-Amz-Delete-Marker", "true")
	}
	return a
}

func tagging(tags map[string]string) string {
	var b strings.Builder
	b.WriteString(xmlHeader + "<Tagging><TagSet>")
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		b.WriteString("<Tag><Key>" + html.EscapeString(key) + "</Key><Value>" + html.EscapeString(tags[key]) + "</Value></Tag>")
	}
	b.WriteString("</TagSet></Tagging>")
	return b.String()
}

func putTagging(r *Request, o *Object) *answer {
	if !summed(r) {
		return refusal(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
	}
	var in struct {
		XMLName xml.Name                      `xml:"Tagging"`
		Tags    []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if xml.Unmarshal(r.Body, &in) != nil {
		return malformed()
	}
	if len(in.Tags) > 10 {
		return refusal(400, "BadRequest", "Object tags cannot be greater than 10")
	}
	tags := make(map[string]string)
	for _, t := range in.Tags {
		tags[t.Key] = t.Value
	}
	if len(tags) < len(in.Tags) {
		return refusal(400, "InvalidTag", "Cannot provide multiple Tags with the same key")
	}
	o.Tags = tags
	return reply(200, "")
}
