package operation

import (
	"net/http"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// newPutTagging replaces the whole tag set of every object: PUT ?tagging. An
// empty set clears it (operations.md section 3).
func newPutTagging(p *job.S3PutObjectTagging, c Client) Operation {
	d := newDocument("Tagging")
	d.WriteString("<TagSet>")
	for _, t := range p.TagSet {
		d.WriteString("<Tag>")
		d.text("Key", t.Key)
		d.text("Value", t.Value)
		d.WriteString("</Tag>")
	}
	d.WriteString("</TagSet>")
	return &onObject{c, objectstore.Request{Method: http.MethodPut, Query: "tagging", Body: d.body("Tagging")}}
}
