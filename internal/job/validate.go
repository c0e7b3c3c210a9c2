package job

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MaxTags is how many tags a job may carry.
const MaxTags = 50

// Validate returns an *InvalidError that names everything wrong with s, or nil.
// It checks the constraints of the model and the rules between members of
// api.md section 2.6 and operations.md; nothing that would need the store.
func (s *Spec) Validate() error {
	c := &checker{problems: Check(s)}
	c.manifest(s)
	c.report(&s.Report)
	c.operation(&s.Operation)
	c.jobTags(s.Tags)
	if len(c.problems) > 0 {
		return &InvalidError{c.problems}
	}
	return nil
}

// ValidateTags returns an *InvalidError if tags cannot be the tags of a job. The
// number of tags is not looked at: the API has an error of its own for it.
func ValidateTags(tags []Tag) error {
	c := &checker{problems: Check(struct{ Tags []Tag }{tags})}
	c.uniqueKeys(tags, "Tags")
	c.options(tags)
	if len(c.problems) > 0 {
		return &InvalidError{c.problems}
	}
	return nil
}

// BucketName is the bucket of a bucket ARN, empty if arn names none. Accepted
// is arn:<partition>:s3:::<bucket>; access points and directory buckets are not
// what a plain S3 store has.
func BucketName(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[2] != "s3" || strings.ContainsAny(parts[5], ":/") {
		return ""
	}
	return parts[5]
}

// ObjectOf is the bucket and key of an object ARN; ok is false if arn names no
// object. The key is everything after the first slash, not URL-encoded.
func ObjectOf(arn string) (bucket, key string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[2] != "s3" {
		return "", "", false
	}
	bucket, key, ok = strings.Cut(parts[5], "/")
	accessPoint := bucket == "accesspoint" && parts[4] != "" // in the account parts[4]; buckets name none
	return bucket, key, ok && bucket != "" && key != "" && !accessPoint
}

// AccountOfRole is the account of a role's ARN.
func AccountOfRole(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return ""
}

func (c *checker) bucket(arn, member string) {
	switch {
	case arn == "" || !anyBucketPattern().MatchString(arn): // said already
	case strings.Contains(arn, ":s3express:"):
		c.addf(member, "directory buckets are not supported; name a general purpose bucket")
	case BucketName(arn) == "":
		c.addf(member, "%q does not name a bucket; want arn:aws:s3:::<bucket>", shorten(arn))
	}
}

func (c *checker) manifest(s *Spec) {
	switch {
	case s.Manifest == nil && s.ManifestGenerator == nil:
		c.addf("Manifest", "is required, or else ManifestGenerator")
	case s.Manifest != nil && s.ManifestGenerator != nil:
		c.addf("ManifestGenerator", "must not be given together with Manifest")
	}
	if m := s.Manifest; m != nil && m.Spec != nil && m.Location != nil {
		c.manifestSpec(m.Spec)
		if _, _, ok := ObjectOf(m.Location.ObjectArn); !ok && s3Pattern().MatchString(m.Location.ObjectArn) {
			c.addf("Manifest.Location.ObjectArn", "%q does not name an object; want arn:aws:s3:::<bucket>/<key>", shorten(m.Location.ObjectArn))
		}
		if etag := m.Location.ETag; etag != "" && !isETag(etag) {
			// The text is AWS's (states.md section 7).
			c.addf("Manifest.Location.ETag", "ETag format is invalid: %q", shorten(etag))
		}
	}
	if s.ManifestGenerator != nil && s.ManifestGenerator.S3JobManifestGenerator != nil {
		c.generator(s.ManifestGenerator.S3JobManifestGenerator)
	}
}

// isETag reports whether s can be the ETag of an object (RFC 9110, entity-tag), with
// or without what is around it: quotes, and the white space of a shell script.
func isETag(s string) bool {
	s = strings.Trim(strings.TrimPrefix(strings.TrimSpace(s), "W/"), `"`)
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == 0x7f })
}

func (c *checker) manifestSpec(m *ManifestSpec) {
	const member = "Manifest.Spec.Fields"
	if string(m.Format) == string(GeneratedManifestCSV) { // what DescribeJob says, given back
		c.addf("Manifest.Spec.Format", "a generated manifest is given as %s", ManifestInventory)
	}
	if m.Format != ManifestCSV {
		// An inventory names its own columns; Fields are stored and not used.
		return
	}
	for _, f := range []Field{FieldBucket, FieldKey, FieldVersionID} {
		n := 0
		for _, g := range m.Fields {
			if f == g {
				n++
			}
		}
		switch {
		case n == 0 && f != FieldVersionID:
			c.addf(member, "must contain %s for format %s", f, m.Format)
		case n > 1:
			c.addf(member, "contains %s %d times", f, n)
		}
	}
	const maxFields = 1000 // far beyond any file; a bound on what a row may cost
	if len(m.Fields) > maxFields {
		c.addf(member, "has %d items, must have at most %d", len(m.Fields), maxFields)
	}
}

func (c *checker) generator(g *S3JobManifestGenerator) {
	const member = "ManifestGenerator.S3JobManifestGenerator"
	c.bucket(g.SourceBucket, member+".SourceBucket")
	if out := g.ManifestOutputLocation; out != nil {
		c.bucket(out.Bucket, member+".ManifestOutputLocation.Bucket")
		if e := out.ManifestEncryption; e != nil && e.SSES3 != nil && e.SSEKMS != nil {
			c.addf(member+".ManifestOutputLocation.ManifestEncryption", "takes SSE-S3 or SSE-KMS, not both")
		}
	} else if g.EnableManifestOutput {
		c.addf(member+".ManifestOutputLocation", "is required when EnableManifestOutput is true")
	}
	if g.Filter == nil {
		return
	}
	for i, e := range g.Filter.MatchAnyObjectEncryption {
		n := 0
		for _, set := range []bool{e.SSES3 != nil, e.SSEKMS != nil, e.DSSEKMS != nil, e.SSEC != nil, e.NOTSSE != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			c.addf(fmt.Sprintf("%s.Filter.MatchAnyObjectEncryption[%d]", member, i),
				"must name exactly one of SSE-S3, SSE-KMS, DSSE-KMS, SSE-C, NOT-SSE")
		}
	}
}

func (c *checker) report(r *Report) {
	if !r.Enabled {
		return
	}
	if r.Bucket == "" {
		c.addf("Report.Bucket", "is required when the report is enabled")
	}
	if r.Format == "" {
		c.addf("Report.Format", "is required when the report is enabled")
	}
	if r.ReportScope == "" {
		c.addf("Report.ReportScope", "is required when the report is enabled")
	}
	c.bucket(r.Bucket, "Report.Bucket")
}

func (c *checker) jobTags(tags []Tag) {
	if len(tags) > MaxTags {
		c.addf("Tags", "has %d tags, must have at most %d", len(tags), MaxTags)
	}
	c.uniqueKeys(tags, "Tags")
	c.options(tags)
}

func (c *checker) uniqueKeys(tags []Tag, member string) {
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		if seen[t.Key] {
			c.addf(member, "has the key %q more than once", shorten(t.Key))
		}
		seen[t.Key] = true
	}
}

func (c *checker) operation(o *Operation) {
	switch set := o.Names(); len(set) {
	case 1:
	case 0:
		c.addf("Operation", "must name one operation: %s", strings.Join(OperationName("").Values(), ", "))
		return
	default:
		c.addf("Operation", "must name exactly one operation, names %s", strings.Join(names(set), ", "))
		return
	}
	const member = "Operation."
	switch {
	case o.S3PutObjectCopy != nil:
		c.copyObject(o.S3PutObjectCopy)
	case o.S3PutObjectAcl != nil:
		c.acl(o.S3PutObjectAcl.AccessControlPolicy)
	case o.S3PutObjectTagging != nil:
		c.uniqueKeys(o.S3PutObjectTagging.TagSet, member+"S3PutObjectTagging.TagSet")
	case o.S3PutObjectRetention != nil:
		if r := o.S3PutObjectRetention.Retention; r != nil && (r.Mode == "") != (r.RetainUntilDate == nil) {
			c.addf(member+"S3PutObjectRetention.Retention", "must give both Mode and RetainUntilDate, or neither to remove the retention")
		}
	case o.S3ComputeObjectChecksum != nil:
		k := o.S3ComputeObjectChecksum
		if k.ChecksumType == ChecksumComposite && (k.ChecksumAlgorithm == "" || k.ChecksumAlgorithm == ChecksumCRC64NVME) {
			c.addf(member+"S3ComputeObjectChecksum.ChecksumType", "COMPOSITE is not defined for CRC64NVME, which is also the default algorithm")
		}
	case o.LambdaInvoke != nil:
		c.lambda(o.LambdaInvoke)
	}
}

func (c *checker) copyObject(o *S3PutObjectCopy) {
	const member = "Operation.S3PutObjectCopy"
	c.bucket(o.TargetResource, member+".TargetResource")
	if o.CannedAccessControlList != "" && len(o.AccessControlGrants) > 0 {
		c.addf(member+".AccessControlGrants", "must not be given together with CannedAccessControlList")
	}
	c.grants(o.AccessControlGrants, member+".AccessControlGrants")
	for i, g := range o.AccessControlGrants {
		if g.Permission == PermissionWrite {
			c.addf(fmt.Sprintf("%s.AccessControlGrants[%d].Permission", member, i), "WRITE cannot be granted on an object copy")
		}
	}
	c.uniqueKeys(o.NewObjectTagging, member+".NewObjectTagging")
	if (o.ObjectLockMode == "") != (o.ObjectLockRetainUntilDate == nil) {
		c.addf(member+".ObjectLockMode", "and ObjectLockRetainUntilDate must be given together")
	}
	if o.NewObjectMetadata != nil && o.NewObjectMetadata.SSEAlgorithm == SSEAlgorithmAES256 && o.SSEAwsKmsKeyId != "" {
		c.addf(member+".SSEAwsKmsKeyId", "needs SSEAlgorithm KMS, not AES256")
	}
	if o.NewObjectMetadata != nil {
		c.metadata(o.NewObjectMetadata, member+".NewObjectMetadata")
	}
	c.headerSafe(o.RedirectLocation, member+".RedirectLocation")
	c.headerSafe(o.SSEAwsKmsKeyId, member+".SSEAwsKmsKeyId")
}

// metadata refuses what cannot be a header of an S3 request.
func (c *checker) metadata(m *ObjectMetadata, member string) {
	for _, v := range []struct{ name, value string }{
		{"CacheControl", m.CacheControl},
		{"ContentDisposition", m.ContentDisposition},
		{"ContentEncoding", m.ContentEncoding},
		{"ContentLanguage", m.ContentLanguage},
		{"ContentType", m.ContentType},
	} {
		c.headerSafe(v.value, member+"."+v.name)
	}
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(m.UserMetadata)) {
		at := member + ".UserMetadata"
		if strings.ContainsFunc(key, notToken) {
			c.addf(at, "the key %q cannot be part of a header name", shorten(key))
		}
		if other, ok := seen[strings.ToLower(key)]; ok {
			c.addf(at, "the keys %q and %q differ only by case", shorten(min(key, other)), shorten(max(key, other)))
		}
		seen[strings.ToLower(key)] = key
		c.headerSafe(m.UserMetadata[key], at+"["+shorten(key)+"]")
	}
}

func (c *checker) headerSafe(value, member string) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		c.addf(member, "must not contain control characters")
	}
}

// notToken reports whether r may not stand in a header name (RFC 9110, token).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func (c *checker) acl(p *AccessControlPolicy) {
	const member = "Operation.S3PutObjectAcl.AccessControlPolicy"
	if p == nil {
		return
	}
	if (p.AccessControlList == nil) == (p.CannedAccessControlList == "") {
		c.addf(member, "must give either AccessControlList or CannedAccessControlList")
	}
	if p.AccessControlList != nil {
		c.grants(p.AccessControlList.Grants, member+".AccessControlList.Grants")
	}
}

func (c *checker) grants(grants []Grant, member string) {
	for i, g := range grants {
		at := fmt.Sprintf("%s[%d]", member, i)
		switch {
		case g.Grantee == nil:
			c.addf(at+".Grantee", "is required")
		case g.Grantee.TypeIdentifier == "":
			c.addf(at+".Grantee.TypeIdentifier", "is required")
		case g.Grantee.Identifier == "":
			c.addf(at+".Grantee.Identifier", "is required")
		}
		if g.Permission == "" {
			c.addf(at+".Permission", "is required")
		}
	}
}

func (c *checker) lambda(o *LambdaInvoke) {
	const member = "Operation.LambdaInvoke"
	if v := o.InvocationSchemaVersion; v != "" && !slices.Contains([]string{"1.0", "2.0"}, v) {
		c.addf(member+".InvocationSchemaVersion", "%q is not one of 1.0, 2.0", shorten(v))
	}
	if o.UserArguments != nil && o.InvocationSchemaVersion != "2.0" {
		c.addf(member+".UserArguments", "need InvocationSchemaVersion 2.0")
	}
}
