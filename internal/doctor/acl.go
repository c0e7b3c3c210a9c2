package doctor

import (
	"context"
	"encoding/xml"
	"errors"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// everybody is the group of all who ask, with or without keys.
const everybody = "http://acs.amazonaws.com/groups/global/AllUsers"

// policy is the ACL of an object, as far as it matters here.
type policy struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   string   `xml:"Owner>ID"`
	Grants  []struct {
		URI        string `xml:"Grantee>URI"`
		Permission string
	} `xml:"AccessControlList>Grant"`
}

func (e *exam) acl(ctx context.Context, o objectstore.Object) (p policy, err error) {
	document, err := objectstore.GetACL(ctx, e, o)
	if err == nil {
		err = xml.Unmarshal(document, &p)
	}
	return p, err
}

// isPublic reads back whether everybody may read.
func isPublic(ctx context.Context, e *exam, p *patient, _ job.Outcome) verdict {
	acl, err := e.acl(ctx, e.object(p))
	if err != nil {
		return unreadable(err)
	}
	for _, g := range acl.Grants {
		if g.URI == everybody && g.Permission == "READ" {
			return works("")
		}
	}
	return ignored("the ACL is as before")
}

func (e *exam) acls(ctx context.Context) {
	const name = "S3PutObjectAcl"
	e.progress(name)
	canned := job.Operation{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &job.AccessControlPolicy{CannedAccessControlList: "public-read"}}}
	owner := "doctor" // whoever owns the objects is found out, if that can be
	p := e.scratch("owner")
	e.put(ctx, p)
	if acl, err := e.acl(ctx, e.object(p)); err == nil && acl.Owner != "" {
		owner = acl.Owner
	}
	grants := job.Operation{S3PutObjectAcl: &job.S3PutObjectAcl{AccessControlPolicy: &job.AccessControlPolicy{AccessControlList: &job.AccessControlList{
		Owner: &job.Owner{ID: owner},
		Grants: []job.Grant{
			{Grantee: &job.Grantee{TypeIdentifier: job.GranteeURI, Identifier: everybody}, Permission: job.PermissionRead},
			{Grantee: &job.Grantee{TypeIdentifier: job.GranteeID, Identifier: owner}, Permission: job.PermissionFullControl},
		},
	}}}}
	for _, t := range []trial{
		{parameter: "CannedAccessControlList", op: canned, effect: isPublic},
		{parameter: "AccessControlList", op: grants, effect: isPublic},
		{parameter: "VersionId", op: canned, old: true, effect: isPublic},
	} {
		t.operation = name
		e.try(ctx, &t)
	}
}

// storeError is the verdict on a call that failed.
func storeError(err error) verdict {
	if s, ok := errors.AsType[*objectstore.Error](err); ok && s.Status != 0 {
		return verdict{is: Refused, code: answer(s.Status, s.Code)}
	}
	return untested(err.Error())
}
