package operation

import (
	"bytes"
	"encoding/xml"
	"net/http"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// newPutTagging replaces the whole tag set of every object: PUT ?tagging. An
// empty set clears it (operations.md section 3).
func newPutTagging(p *job.S3PutObjectTagging, c Client) Operation {
	return &onObject{c, objectstore.Request{
		Method: http.MethodPut,
		Query:  "tagging",
		Body:   objectstore.NewBody(taggingBody(p.TagSet)), // with Content-MD5, the one sum that every store knows
	}}
}

// taggingBody is the document that S3 wants. It is put together by hand because
// some stores are particular about an attribute or a prefix that encoding/xml
// would add.
func taggingBody(tags []job.Tag) []byte {
	var b bytes.Buffer
	b.WriteString(`<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>`)
	for _, t := range tags {
		b.WriteString("<Tag><Key>")
		escapeText(&b, t.Key)
		b.WriteString("</Key><Value>")
		escapeText(&b, t.Value)
		b.WriteString("</Value></Tag>")
	}
	b.WriteString("</TagSet></Tagging>")
	return b.Bytes()
}

func escapeText(b *bytes.Buffer, s string) {
	_ = xml.EscapeText(b, []byte(s)) // a bytes.Buffer takes everything
}
