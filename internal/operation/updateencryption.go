package operation

import (
	"context"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// updateEncryption has every object encrypted with another KMS key: PUT
// ?encryption (operations.md section 10). Most stores take that for the object's
// new content, so it is sent only where a probe has shown that it is understood.
// Elsewhere the object is copied onto itself, as far as a copy can do the same.
type updateEncryption struct {
	env       Env
	req       objectstore.Request // all but bucket, key and version
	recipe    recipe              // of the copy
	key       string
	bucketKey bool
	buckets   buckets[encrypting]
}

func newUpdateEncryption(p *job.ObjectEncryption, env Env) (Operation, error) {
	if p == nil || p.SSEKMS == nil {
		return nil, refuse("InvalidRequest", "S3UpdateObjectEncryption needs a key")
	}
	o := &updateEncryption{env: env, key: p.SSEKMS.KMSKeyArn}
	o.bucketKey = p.SSEKMS.BucketKeyEnabled != nil && *p.SSEKMS.BucketKeyEnabled
	d := newDocument("ObjectEncryption")
	d.WriteString("<SSE-KMS>")
	d.text("KMSKeyArn", o.key)
	if p.SSEKMS.BucketKeyEnabled != nil {
		d.text("BucketKeyEnabled", strconv.FormatBool(o.bucketKey))
	}
	d.WriteString("</SSE-KMS>")
	o.req = objectstore.Request{Method: http.MethodPut, Query: "encryption", Body: d.body("ObjectEncryption")}
	o.recipe = recipe{content: true, redirect: true, class: true, tags: true}
	return o, nil
}

// headers ask for the encryption of a copy.
func (o *updateEncryption) headers(key string) []objectstore.Header {
	return []objectstore.Header{
		{Name: "x-amz-server-side-encryption", Value: "aws:kms"},
		{Name: "x-amz-server-side-encryption-aws-kms-key-id", Value: key},
		{Name: "x-amz-server-side-encryption-bucket-key-enabled", Value: strconv.FormatBool(o.bucketKey)},
	}
}

// Do implements Operation.
func (o *updateEncryption) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	how, err := o.buckets.get(ctx, t.Bucket, func(ctx context.Context) (*encrypting, error) { return o.find(ctx, t.Bucket) })
	switch {
	case err != nil:
		x := transfer{}
		if err := x.end(ctx, "", 0, 1, err, out); err != nil {
			return err
		}
		out.Message = oneLine("cannot tell whether the store knows UpdateObjectEncryption: " + out.Message)
		return nil
	case how.way == byUpdate:
		s.req = o.req
		s.req.Bucket, s.req.Key, s.req.VersionID = t.Bucket, t.Key, t.VersionID
		return s.do(ctx, o.env.Client, out)
	case how.way == byCopy:
		return o.copy(ctx, t, how.key, out)
	}
	*out = outcomeOfError(unable(t.Bucket))
	return nil
}

// find returns what can be done in a bucket: what another job has found out just
// now, or else what a probe shows.
func (o *updateEncryption) find(ctx context.Context, bucket string) (*encrypting, error) {
	if how := o.env.Memory.encryption(bucket, o.key, o.bucketKey); how != nil {
		return how, nil
	}
	how, err := o.ask(ctx, bucket)
	if err == nil {
		o.env.Memory.keep(bucket, o.key, o.bucketKey, how)
	}
	return how, err
}

// copy copies the object onto itself, with the key of that name.
func (o *updateEncryption) copy(ctx context.Context, t *Task, key string, out *job.Outcome) error {
	ctx, cancel := o.env.untilDrained(ctx)
	defer cancel()
	x := &transfer{env: &o.env, client: o.env.Client, recipe: &o.recipe, from: sourceOf(t)}
	x.to = objectstore.Object{Bucket: x.from.Bucket, Key: x.from.Key}
	if key != o.key {
		x.remark = "with the key named " + key
	}
	way, parts, err := o.onto(ctx, x, key)
	return x.end(ctx, way, parts, 1, err, out)
}

func (o *updateEncryption) onto(ctx context.Context, x *transfer, key string) (way string, parts int, err error) {
	head, err := objectstore.HeadFull(ctx, x.client, x.from)
	if err != nil {
		return "", 0, named(err, x.from.VersionID)
	}
	if o.encrypted(head.Header) && (head.Get("x-amz-server-side-encryption-bucket-key-enabled") == "true") == o.bucketKey {
		return "encrypted like that already", 0, nil
	}
	if err := o.allowed(ctx, x, &head); err != nil {
		return "", 0, err
	}
	// From here on the object is what is current: a copy of a version that is not
	// any more would undo what came after it. The ETag makes sure.
	x.from.VersionID, x.from.ETag = "", head.ETag
	grants, err := grantsOf(ctx, x.client, x.from)
	if err != nil {
		return "", 0, err
	}
	r := o.recipe
	r.headers = slices.Concat(grants, o.headers(key))
	x.recipe = &r
	way = "re-encrypted by copy"
	block := slices.Clone(r.headers)
	for _, name := range []string{"x-amz-storage-class", "x-amz-website-redirect-location"} { // which CopyObject does not keep
		if value := head.Get(name); value != "" {
			block = append(block, objectstore.Header{Name: name, Value: value})
		}
	}
	large, err := x.copyWhole(ctx, head.Size, block...)
	if large {
		way = "re-encrypted by multipart copy"
		parts, err = x.inParts(ctx)
	}
	if err == nil {
		err = o.verify(ctx, x)
	}
	return way, parts, err
}

// allowed refuses what UpdateObjectEncryption refuses, and old versions: a copy
// cannot take the place of one. An object that its store does not call encrypted
// is taken: with these stores none is.
func (o *updateEncryption) allowed(ctx context.Context, x *transfer, head *objectstore.Head) error {
	switch {
	case head.Get("x-amz-object-lock-mode") != "" || head.Get("x-amz-object-lock-legal-hold") == "ON":
		return x.refusal(http.StatusForbidden, "AccessDenied", "Access Denied because object protected by object lock.")
	case head.Get("x-amz-server-side-encryption") == "aws:kms:dsse" || head.Get("x-amz-server-side-encryption-customer-algorithm") != "":
		return x.refusal(http.StatusBadRequest, "InvalidRequest", "Only objects with SSE-S3 or SSE-KMS can be encrypted with another key.")
	case x.from.VersionID == "":
		return nil
	}
	current, err := objectstore.HeadFull(ctx, x.client, objectstore.Object{Bucket: x.from.Bucket, Key: x.from.Key})
	if err != nil && !objectstore.NotFound(err) {
		return err
	}
	if err != nil || current.VersionID != x.from.VersionID && (current.VersionID != "" || x.from.VersionID != "null") {
		return x.refusal(http.StatusNotImplemented, "NotImplemented",
			"The store knows no UpdateObjectEncryption, and only the current version can be encrypted again by a copy.")
	}
	return nil
}

// verify looks whether the object is encrypted now.
func (o *updateEncryption) verify(ctx context.Context, x *transfer) error {
	head, err := objectstore.HeadFull(ctx, x.client, x.to)
	if err != nil {
		return err
	}
	if !o.encrypted(head.Header) {
		return x.refusal(http.StatusInternalServerError, codeVerification, "The store has copied the object, but does not say that it is encrypted with the key.")
	}
	return nil
}

// readBack looks whether the object that a task names has the encryption.
func (o *updateEncryption) readBack(ctx context.Context, c Client, t *Task) error {
	head, err := objectstore.HeadFull(ctx, c, sourceOf(t))
	if err == nil && !o.encrypted(head.Header) {
		err = missingf("the object is not encrypted with the key")
	}
	return err
}

// grantsOf are headers that give a copy the ACL of an object. There are none if
// nobody but the owner has been granted anything: so it is for any copy.
func grantsOf(ctx context.Context, c Client, o objectstore.Object) (headers, error) {
	document, err := objectstore.GetACL(ctx, c, o)
	if e, ok := asStoreError(err); ok && (e.Status == http.StatusNotImplemented || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusBadRequest) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var acl struct {
		XMLName xml.Name `xml:"AccessControlPolicy"`
		Owner   struct{ ID string }
		Grants  []struct {
			Grantee    struct{ ID, URI, EmailAddress string }
			Permission job.Permission
		} `xml:"AccessControlList>Grant"`
	}
	if xml.Unmarshal(document, &acl) != nil {
		return nil, nil //nolint:nilerr // a store that answers something else knows no ACLs
	}
	var grants []job.Grant
	others := false
	for _, g := range acl.Grants {
		who := &job.Grantee{TypeIdentifier: job.GranteeID, Identifier: g.Grantee.ID}
		switch {
		case g.Grantee.URI != "":
			who = &job.Grantee{TypeIdentifier: job.GranteeURI, Identifier: g.Grantee.URI}
		case g.Grantee.EmailAddress != "":
			who = &job.Grantee{TypeIdentifier: job.GranteeEmail, Identifier: g.Grantee.EmailAddress}
		}
		others = others || g.Permission != job.PermissionFullControl || who.Identifier != acl.Owner.ID
		grants = append(grants, job.Grant{Grantee: who, Permission: g.Permission})
	}
	if !others {
		return nil, nil
	}
	var h headers
	h.grants(grants)
	return h, nil
}
