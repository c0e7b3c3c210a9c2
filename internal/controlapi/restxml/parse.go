package restxml

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// Bounds of a document. The largest legal request, a copy with 8,192 entries of
// user metadata, has 25,000 elements and the deepest is 9 deep.
const (
	maxDepth    = 32
	maxElements = 50_000
)

// element is an XML element without its namespace and attributes.
type element struct {
	name     string
	text     []byte // all character data directly inside
	children []*element
}

// parse reads one document. Document type declarations, and so entities, are refused.
func parse(data []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\uFEFF"))))
	var foreign error // the document says that it is not in UTF-8
	d.CharsetReader = func(encoding string, _ io.Reader) (io.Reader, error) {
		foreign = fmt.Errorf("the encoding is %q; only UTF-8 is understood", shorten(encoding))
		return nil, foreign
	}
	if bytes.HasPrefix(data, []byte("\xFF\xFE")) || bytes.HasPrefix(data, []byte("\xFE\xFF")) {
		return nil, errors.New("the encoding is UTF-16; only UTF-8 is understood")
	}
	var (
		top   element // holds the root
		open  = []*element{&top}
		count int
	)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, cmp.Or(foreign, err) // not what the decoder makes of it
		}
		in := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			if count++; count > maxElements {
				return nil, fmt.Errorf("more than %d elements", maxElements)
			}
			if len(open) > maxDepth {
				return nil, fmt.Errorf("elements are nested deeper than %d", maxDepth)
			}
			if len(open) == 1 && len(top.children) > 0 {
				return nil, errors.New("more than one root element")
			}
			e := &element{name: token.Name.Local}
			in.children = append(in.children, e)
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) == 1 && !blank(token) {
				return nil, errors.New("text outside the root element")
			}
			in.text = append(in.text, token...)
		case xml.Directive:
			return nil, errors.New("document type declarations are not allowed")
		case xml.ProcInst:
			if token.Target != "xml" || len(open) > 1 || len(top.children) > 0 {
				return nil, errors.New("processing instructions are not allowed")
			}
		}
	}
	if len(top.children) == 0 {
		return nil, errors.New("the document is empty")
	}
	return top.children[0], nil
}

// blank reports whether s is nothing but the white space of XML.
func blank(s []byte) bool { return len(bytes.Trim(s, " \t\r\n")) == 0 }
