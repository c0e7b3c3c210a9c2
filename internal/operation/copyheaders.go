package operation

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// headers is a header block in the making.
type headers []objectstore.Header

// add adds a header, unless it has no value.
func (h *headers) add(name, value string) {
	if value != "" {
		*h = append(*h, objectstore.Header{Name: name, Value: value})
	}
}

// bool adds a header for what was given, true or false.
func (h *headers) bool(name string, value *bool) {
	if value != nil {
		h.add(name, strconv.FormatBool(*value))
	}
}

// date adds a date as HTTP writes it, in whole seconds.
func (h *headers) date(name string, t *time.Time) {
	if t != nil {
		h.add(name, t.UTC().Format(http.TimeFormat))
	}
}

// copyHeaders is the header block of p, sorted by name, and where in it
// x-amz-copy-source waits for its value.
func copyHeaders(p *job.S3PutObjectCopy) (block []objectstore.Header, source int) {
	var h headers
	h.add("x-amz-acl", string(p.CannedAccessControlList))
	h.grants(p.AccessControlGrants)
	h.metadata(p)
	h.encryption(p)
	h.tags(p.NewObjectTagging)
	h.date("x-amz-copy-source-if-modified-since", p.ModifiedSinceConstraint)
	h.date("x-amz-copy-source-if-unmodified-since", p.UnModifiedSinceConstraint)
	h.add("x-amz-website-redirect-location", p.RedirectLocation)
	if p.RequesterPays != nil && *p.RequesterPays {
		h.add("x-amz-request-payer", "requester") // the header knows no other value
	}
	h.add("x-amz-storage-class", string(p.StorageClass))
	h.add("x-amz-object-lock-mode", string(p.ObjectLockMode))
	if until := p.ObjectLockRetainUntilDate; until != nil {
		h.add("x-amz-object-lock-retain-until-date", isoDate(*until))
	}
	h.add("x-amz-object-lock-legal-hold", string(p.ObjectLockLegalHoldStatus))
	h.add("x-amz-checksum-algorithm", string(p.ChecksumAlgorithm))

	h = append(h, objectstore.Header{Name: copySource})
	slices.SortFunc(h, func(a, b objectstore.Header) int { return strings.Compare(a.Name, b.Name) })
	source = slices.IndexFunc(h, func(a objectstore.Header) bool { return a.Name == copySource })
	return h, source
}

// grants adds one header per permission, with everybody who is granted it in
// the order given.
func (h *headers) grants(grants []job.Grant) {
	for _, p := range []struct {
		permission job.Permission
		name       string
	}{
		{job.PermissionFullControl, "x-amz-grant-full-control"},
		{job.PermissionRead, "x-amz-grant-read"},
		{job.PermissionReadACP, "x-amz-grant-read-acp"},
		{job.PermissionWriteACP, "x-amz-grant-write-acp"},
	} {
		var list []string
		for _, g := range grants {
			if g.Permission == p.permission && g.Grantee != nil {
				list = append(list, string(g.Grantee.TypeIdentifier)+`="`+g.Grantee.Identifier+`"`)
			}
		}
		h.add(p.name, strings.Join(list, ", "))
	}
}

// metadata adds the directive and, where the directive is not COPY, the new
// metadata. CopyObject ignores metadata that comes with COPY; not to send it
// spares us the stores that do not.
//
// Without a directive S3 itself would take COPY, so that metadata in the job
// would be lost: any metadata given means REPLACE. SSEAlgorithm is none, and
// neither is an empty map, which would make "nothing given" wipe everything.
func (h *headers) metadata(p *job.S3PutObjectCopy) {
	var replacing headers
	if m := p.NewObjectMetadata; m != nil {
		replacing.add("cache-control", m.CacheControl)
		replacing.add("content-disposition", m.ContentDisposition)
		replacing.add("content-encoding", m.ContentEncoding)
		replacing.add("content-language", m.ContentLanguage)
		replacing.add("content-type", m.ContentType)
		replacing.date("expires", m.HttpExpiresDate)
		for key, value := range m.UserMetadata {
			// An empty value is a value.
			replacing = append(replacing, objectstore.Header{Name: "x-amz-meta-" + strings.ToLower(key), Value: userValue(value)})
		}
	}
	directive := p.MetadataDirective
	if directive == "" && len(replacing) > 0 {
		directive = job.MetadataReplace
	}
	h.add("x-amz-metadata-directive", string(directive))
	if directive == job.MetadataReplace {
		*h = append(*h, replacing...)
	}
}

// userValue is the value of user metadata as a header carries it. S3 takes text
// beyond ASCII in the encoded words of RFC 2047, and hands it out like that; a
// store that does not know them hands out the same. Space around a value is no
// part of it: HTTP would drop it on the way, and the signature does too.
func userValue(s string) string {
	return mime.BEncoding.Encode("UTF-8", strings.Trim(s, " \t"))
}

// encryption adds how the copy is encrypted: independent of the directive. A
// KMS key alone asks for KMS.
func (h *headers) encryption(p *job.S3PutObjectCopy) {
	var algorithm job.SSEAlgorithm
	if p.NewObjectMetadata != nil {
		algorithm = p.NewObjectMetadata.SSEAlgorithm
	}
	switch {
	case algorithm == job.SSEAlgorithmKMS, algorithm == "" && p.SSEAwsKmsKeyId != "":
		h.add("x-amz-server-side-encryption", "aws:kms") // the job API says KMS, S3 says aws:kms
	default:
		h.add("x-amz-server-side-encryption", string(algorithm))
	}
	h.add("x-amz-server-side-encryption-aws-kms-key-id", p.SSEAwsKmsKeyId)
	h.bool("x-amz-server-side-encryption-bucket-key-enabled", p.BucketKeyEnabled)
}

// tags adds the tags of the copy. Absent, the source's are kept; given, they
// replace them, even by nothing at all.
func (h *headers) tags(tags []job.Tag) {
	if tags == nil {
		return
	}
	h.add("x-amz-tagging-directive", "REPLACE")
	h.add("x-amz-tagging", encodeTags(tags))
}

// encodeTags is the value of x-amz-tagging.
func encodeTags(tags []job.Tag) string {
	var b []byte
	for i, t := range tags {
		if i > 0 {
			b = append(b, '&')
		}
		b = objectstore.AppendValue(b, t.Key)
		b = append(b, '=')
		b = objectstore.AppendValue(b, t.Value)
	}
	return string(b)
}
