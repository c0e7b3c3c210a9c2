package operation

import (
	"bytes"
	"encoding/xml"

	"stevedore/internal/objectstore"
)

// A document is an XML body in the making. Bodies are put together by hand
// because some stores are particular about an attribute, a prefix or an order
// that encoding/xml would choose otherwise.
type document struct{ bytes.Buffer }

// newDocument opens a document whose root lies in S3's namespace.
func newDocument(root string) *document {
	d := new(document)
	d.WriteString("<" + root + ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	return d
}

// text adds an element with a text.
func (d *document) text(name, text string) {
	d.WriteString("<" + name + ">")
	_ = xml.EscapeText(d, []byte(text)) // a buffer takes everything
	d.WriteString("</" + name + ">")
}

// body closes the root and sums the document up: Content-MD5 is the one sum that
// every store knows.
func (d *document) body(root string) objectstore.Body {
	d.WriteString("</" + root + ">")
	return objectstore.NewBody(d.Bytes())
}

// optional adds an element, unless its text is empty.
func (d *document) optional(name, text string) {
	if text != "" {
		d.text(name, text)
	}
}
