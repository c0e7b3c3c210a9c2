//go:build !slim

package devstore

import (
	"context"
	"encoding/xml"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
)

// grant is one entry of an access control list. Lists are kept and told, and
// let nobody in: the one key pair of the store may do everything anyway.
type grant struct {
	Type       types.Type // which of the three that follow there is
	ID         string     `json:",omitzero"`
	URI        string     `json:",omitzero"`
	Email      string     `json:",omitzero"`
	Name       string     `json:",omitzero"` // for display
	Permission types.Permission
}

const (
	everyone      = "http://acs.amazonaws.com/groups/global/AllUsers"
	authenticated = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	// bundles is the account whose EC2 service reads machine images.
	bundles = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
)

// canned returns the grants of a canned ACL for an object of owner, or nil where
// objects have no such ACL. Bucket and objects have the same owner here.
func canned(acl types.ObjectCannedACL, owner string) []grant {
	group := func(uri string, p types.Permission) grant {
		return grant{Type: types.TypeGroup, URI: uri, Permission: p}
	}
	full := grant{Type: types.TypeCanonicalUser, ID: owner, Permission: types.PermissionFullControl}
	switch acl {
	case types.ObjectCannedACLPrivate, types.ObjectCannedACLBucketOwnerRead, types.ObjectCannedACLBucketOwnerFullControl:
		return []grant{full}
	case types.ObjectCannedACLPublicRead:
		return []grant{full, group(everyone, types.PermissionRead)}
	case types.ObjectCannedACLPublicReadWrite:
		return []grant{full, group(everyone, types.PermissionRead), group(everyone, types.PermissionWrite)}
	case types.ObjectCannedACLAuthenticatedRead:
		return []grant{full, group(authenticated, types.PermissionRead)}
	case types.ObjectCannedACLAwsExecRead:
		return []grant{full, {Type: types.TypeCanonicalUser, ID: bundles, Permission: types.PermissionRead}}
	}
	return nil
}

// askedGrants returns the grants that the headers of a request ask for, or nil.
func (b *backend) askedGrants(ctx context.Context, c fiber.Ctx, bucket string) ([]grant, error) {
	acl := types.ObjectCannedACL(c.Get("X-Amz-Acl"))
	var grants []grant
	for header, permission := range map[string]types.Permission{
		"X-Amz-Grant-Full-Control": types.PermissionFullControl,
		"X-Amz-Grant-Read":         types.PermissionRead,
		"X-Amz-Grant-Read-Acp":     types.PermissionReadAcp,
		"X-Amz-Grant-Write":        types.PermissionWrite,
		"X-Amz-Grant-Write-Acp":    types.PermissionWriteAcp,
	} {
		some, err := parseGrants(c.Get(header), permission)
		if err != nil {
			return nil, err
		}
		grants = append(grants, some...)
	}
	slices.SortFunc(grants, func(x, y grant) int { return strings.Compare(string(x.Permission), string(y.Permission)) })
	switch {
	case acl == "" && grants == nil:
		return nil, nil
	case acl != "" && grants != nil:
		return nil, s3err.GetAPIError(s3err.ErrBothCannedAndHeaderGrants)
	case acl != types.ObjectCannedACLBucketOwnerFullControl:
		if err := b.aclsEnabled(ctx, bucket); err != nil {
			return nil, err
		}
	}
	if acl == "" {
		return grants, nil
	}
	owner, err := b.owner(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if grants = canned(acl, owner); grants == nil {
		return nil, invalid("x-amz-acl", string(acl), "There is no such canned ACL of objects.")
	}
	return grants, nil
}

// parseGrants reads a header such as
//
//	id="abc", uri="http://acs.amazonaws.com/groups/global/AllUsers"
func parseGrants(header string, permission types.Permission) ([]grant, error) {
	if header == "" {
		return nil, nil
	}
	var grants []grant
	for grantee := range strings.SplitSeq(header, ",") {
		kind, value, _ := strings.Cut(strings.TrimSpace(grantee), "=")
		value = strings.Trim(value, `"`)
		g := grant{Permission: permission}
		switch {
		case value == "":
			return nil, invalid("x-amz-grant", header, "Want a list of id=, uri= and emailAddress=.")
		case strings.EqualFold(kind, "id"):
			g.Type, g.ID = types.TypeCanonicalUser, value
		case strings.EqualFold(kind, "uri"):
			g.Type, g.URI = types.TypeGroup, value
		case strings.EqualFold(kind, "emailAddress"):
			g.Type, g.Email = types.TypeAmazonCustomerByEmail, value
		default:
			return nil, invalid("x-amz-grant", header, "Want a list of id=, uri= and emailAddress=.")
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// aclsEnabled returns AccessControlListNotSupported for a bucket whose owner owns
// all objects, as S3 and versitygw make new buckets.
func (b *backend) aclsEnabled(ctx context.Context, bucket string) error {
	ownership, err := b.GetBucketOwnershipControls(ctx, bucket)
	switch {
	case errors.Is(err, s3err.GetAPIError(s3err.ErrOwnershipControlsNotFound)):
		return nil
	case err != nil:
		return err
	case ownership == types.ObjectOwnershipBucketOwnerEnforced:
		return s3err.GetAPIError(s3err.ErrAclNotSupported)
	}
	return nil
}

// owner returns the owner of a bucket and its objects.
func (b *backend) owner(ctx context.Context, bucket string) (string, error) {
	data, err := b.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &bucket})
	if err != nil {
		return "", err
	}
	acl, err := auth.ParseACL(data)
	return acl.Owner, err
}

// policy is an AccessControlPolicy, as it is sent and returned.
type policy struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   struct {
		ID string
	}
	Grants []struct {
		Grantee struct {
			Instance string     `xml:"xmlns:xsi,attr"` // only to write
			Kind     types.Type `xml:"xsi:type,attr"`  // only to write
			Type     types.Type `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr,omitempty"`
			ID       string     `xml:",omitempty"`
			Name     string     `xml:"DisplayName,omitempty"`
			URI      string     `xml:",omitempty"`
			Email    string     `xml:"EmailAddress,omitempty"`
		}
		Permission types.Permission
	} `xml:"AccessControlList>Grant"`
}

// PutObjectAcl replaces the access control list of an object version.
func (b *backend) PutObjectAcl(ctx context.Context, in *s3.PutObjectAclInput) error { //nolint:revive // the name of the interface
	c := requestOf(ctx)
	grants, err := b.askedGrants(ctx, c, *in.Bucket)
	if err != nil {
		return err
	}
	document := c.BodyRaw()
	switch {
	case len(document) > 0 && grants != nil:
		return s3err.GetAPIError(s3err.ErrUnexpectedContent)
	case len(document) > 0:
		if grants, err = b.parsePolicy(ctx, *in.Bucket, document); err != nil {
			return err
		}
	case grants == nil:
		return s3err.GetAPIError(s3err.ErrMissingSecurityHeader)
	}
	version := c.Query("versionId")
	err = b.relabel(ctx, *in.Bucket, *in.Key, version, func(l *labels) error {
		l.Grants = grants
		return nil
	})
	if err == nil && version != "" {
		c.Set(versionHeader, version)
	}
	return err
}

// parsePolicy returns the grants of an AccessControlPolicy, never nil.
func (b *backend) parsePolicy(ctx context.Context, bucket string, document []byte) ([]grant, error) {
	var p policy
	if !parse(document, &p) {
		return nil, s3err.GetAPIError(s3err.ErrMalformedACL)
	}
	if err := b.aclsEnabled(ctx, bucket); err != nil {
		return nil, err
	}
	owner, err := b.owner(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if p.Owner.ID != owner {
		return nil, s3err.APIError{
			Code: "AccessDenied", HTTPStatusCode: fiber.StatusForbidden,
			Description: "An ACL cannot change the owner, which is " + owner + ".",
		}
	}
	grants := []grant{}
	for _, entry := range p.Grants {
		who := entry.Grantee
		g := grant{Type: who.Type, ID: who.ID, URI: who.URI, Email: who.Email, Name: who.Name, Permission: entry.Permission}
		named := map[types.Type]string{
			types.TypeCanonicalUser: g.ID, types.TypeGroup: g.URI, types.TypeAmazonCustomerByEmail: g.Email,
		}[g.Type]
		if named == "" || !slices.Contains(g.Permission.Values(), g.Permission) {
			return nil, s3err.GetAPIError(s3err.ErrMalformedACL)
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// GetObjectAcl returns the access control list of an object version.
func (b *backend) GetObjectAcl(ctx context.Context, in *s3.GetObjectAclInput) (*s3.GetObjectAclOutput, error) { //nolint:revive // the name of the interface
	c := requestOf(ctx)
	version := c.Query("versionId")
	if _, err := b.head(ctx, *in.Bucket, *in.Key, version); err != nil {
		return nil, err
	}
	l, err := b.labelsOf(*in.Bucket, *in.Key, version)
	if err != nil {
		return nil, err
	}
	owner, err := b.owner(ctx, *in.Bucket)
	if err != nil {
		return nil, err
	}
	if l.Grants == nil {
		l.Grants = canned(types.ObjectCannedACLPrivate, owner)
	}
	var p policy
	p.Owner.ID = owner
	p.Grants = slices.Grow(p.Grants, len(l.Grants))[:len(l.Grants)]
	for i, g := range l.Grants {
		p.Grants[i].Permission = g.Permission
		who := &p.Grants[i].Grantee
		who.Instance, who.Kind = "http://www.w3.org/2001/XMLSchema-instance", g.Type
		who.ID, who.URI, who.Email, who.Name = g.ID, g.URI, g.Email, g.Name
	}
	body, err := xml.Marshal(p)
	if err != nil {
		return nil, err
	}
	if version != "" {
		c.Set(versionHeader, version)
	}
	return nil, answer{status: fiber.StatusOK, body: append([]byte(xml.Header), body...)}
}
