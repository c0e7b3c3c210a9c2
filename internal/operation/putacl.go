package operation

import (
	"net/http"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// newPutACL replaces the ACL of every object: PUT ?acl, with a canned ACL in a
// header or a list of grants in the body (operations.md section 2).
func newPutACL(p *job.AccessControlPolicy, c Client) Operation {
	req := objectstore.Request{Method: http.MethodPut, Query: "acl", Body: objectstore.NewBody(nil)}
	if p.AccessControlList == nil {
		req.Headers = []objectstore.Header{{Name: "x-amz-acl", Value: string(p.CannedAccessControlList)}}
	} else {
		req.Body = aclBody(p.AccessControlList)
	}
	return &onObject{c, req}
}

// aclBody is the AccessControlPolicy document. Grants come first, as AWS's own
// clients send it.
func aclBody(l *job.AccessControlList) objectstore.Body {
	d := newDocument("AccessControlPolicy")
	d.WriteString("<AccessControlList>")
	for _, g := range l.Grants {
		d.WriteString("<Grant>")
		d.grantee(g.Grantee)
		d.text("Permission", string(g.Permission))
		d.WriteString("</Grant>")
	}
	d.WriteString("</AccessControlList>")
	if o := l.Owner; o != nil {
		d.WriteString("<Owner>")
		d.optional("ID", o.ID)
		d.optional("DisplayName", o.DisplayName)
		d.WriteString("</Owner>")
	}
	return d.body("AccessControlPolicy")
}

func (d *document) grantee(g *job.Grantee) {
	open := func(kind string) {
		d.WriteString(`<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="` + kind + `">`)
	}
	switch g.TypeIdentifier {
	case job.GranteeID:
		open("CanonicalUser")
		d.text("ID", g.Identifier)
		d.optional("DisplayName", g.DisplayName)
	case job.GranteeEmail:
		open("AmazonCustomerByEmail")
		d.text("EmailAddress", g.Identifier)
	case job.GranteeURI:
		open("Group")
		d.text("URI", g.Identifier)
	}
	d.WriteString("</Grantee>")
}
