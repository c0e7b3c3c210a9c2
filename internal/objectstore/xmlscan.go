package objectstore

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// An xmlScanner walks through an XML document in one forward pass, over '<', and decodes texts in place. It is made for
// the listings of stores: fifty times as fast as encoding/xml, strict about what opens and closes, so that a document
// that was cut short is noticed, and content with characters that XML forbids, because keys have them. It knows no
// DTD, and of namespaces only that they do not matter.
//
// The first error ends it: there are no further children, and values are empty.
type xmlScanner struct {
	doc    []byte
	at     int      // all before it is done
	open   [][]byte // the elements around, as they are written
	hollow bool     // the innermost was <closed/> where it was opened
	err    error
}

// maxDepth bounds how elements may be nested; listings have four levels.
const maxDepth = 64

var (
	errCutShort  = errors.New("the document is cut short")
	errMalformed = errors.New("the document is not well-formed")
)

func (s *xmlScanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// child opens the next element in the innermost open one, or the root, and returns its local name. It returns false if
// there is none, and has closed the innermost one then.
func (s *xmlScanner) child() (local []byte, ok bool) {
	for s.err == nil {
		if s.hollow {
			s.pop()
			return nil, false
		}
		if s.at >= len(s.doc) || s.doc[s.at] != '<' { // mostly there is nothing between elements
			s.at += max(0, bytes.IndexByte(s.doc[s.at:], '<'))
		}
		if s.at+1 >= len(s.doc) || s.doc[s.at] != '<' {
			s.fail(errCutShort)
			break
		}
		switch s.doc[s.at+1] {
		case '/':
			s.close()
			return nil, false
		case '!', '?':
			s.aside()
		default:
			local = s.start()
			return local, s.err == nil
		}
	}
	return nil, false
}

// start reads the start tag at s.at and returns its local name.
func (s *xmlScanner) start() (local []byte) {
	begin := s.at + 1
	end, colon := begin, begin
	for end < len(s.doc) && !ends[s.doc[end]] {
		if s.doc[end] == ':' {
			colon = end
		}
		end++
	}
	s.at = end
	switch {
	case end == len(s.doc):
		s.fail(errCutShort)
	case begin == end || len(s.open) == maxDepth:
		s.fail(errMalformed)
	case s.doc[end] == '>':
		s.at++
	default:
		s.attributes()
	}
	s.open = append(s.open, s.doc[begin:end])
	if begin < colon && colon+1 < end {
		begin = colon + 1
	}
	return s.doc[begin:end]
}

// ends marks what follows the name of an element.
var ends = [256]bool{'>': true, '/': true, ' ': true, '\t': true, '\r': true, '\n': true, '<': true}

// attributes goes on to the end of a start tag. A value may hold a '>'.
func (s *xmlScanner) attributes() {
	for quote := byte(0); s.at < len(s.doc); s.at++ {
		switch c := s.doc[s.at]; {
		case c == '<':
			s.fail(errMalformed)
			return
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			s.hollow = s.doc[s.at-1] == '/'
			s.at++
			return
		}
	}
	s.fail(errCutShort)
}

// close reads the end tag at s.at, which must be that of the innermost element.
func (s *xmlScanner) close() {
	if len(s.open) == 0 {
		s.fail(errMalformed)
		return
	}
	rest, name := s.doc[s.at+2:], s.open[len(s.open)-1]
	n := bytes.IndexByte(rest, '>')
	switch {
	case n < 0:
		s.fail(errCutShort)
	case !bytes.HasPrefix(rest, name), len(bytes.TrimLeft(rest[len(name):max(n, len(name))], " \t\r\n")) > 0:
		s.fail(errMalformed)
	}
	s.at += 2 + n + 1
	s.pop()
}

func (s *xmlScanner) pop() {
	s.open, s.hollow = s.open[:len(s.open)-1], false
}

// aside steps over what is no element: a comment, a processing instruction, a CDATA section. It returns the text of the
// latter.
func (s *xmlScanner) aside() (text []byte) {
	rest := s.doc[s.at:]
	for _, kind := range [...]struct{ begin, end string }{{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}} {
		if !bytes.HasPrefix(rest, []byte(kind.begin)) {
			continue
		}
		text, _, ok := bytes.Cut(rest[len(kind.begin):], []byte(kind.end))
		if !ok {
			s.fail(errCutShort)
			return nil
		}
		s.at += len(kind.begin) + len(text) + len(kind.end)
		if kind.begin == "<![CDATA[" {
			return text
		}
		return nil
	}
	s.fail(errMalformed) // a DTD: nothing S3 would send
	return nil
}

// skip closes the element just opened.
func (s *xmlScanner) skip() {
	for _, ok := s.child(); ok; _, ok = s.child() {
		s.skip()
	}
}

// value closes the element just opened and returns its text, without that of elements in it.
func (s *xmlScanner) value() []byte {
	if s.err != nil {
		return nil
	}
	if s.hollow {
		s.pop()
		return nil
	}
	name := s.open[len(s.open)-1]
	begin := s.at
	if i := bytes.IndexByte(s.doc[begin:], '<'); i >= 0 { // nearly always it is the end tag
		end := begin + i
		closed := end + 2 + len(name)
		if closed < len(s.doc) && s.doc[closed] == '>' && s.doc[end+1] == '/' && string(s.doc[end+2:closed]) == string(name) {
			s.at = closed + 1
			s.pop()
			return s.plain(s.doc[begin:end])
		}
	}
	return s.mixed(s.doc[begin:begin])
}

// plain is value for nothing but text.
func (s *xmlScanner) plain(text []byte) []byte {
	const quote = "&quot;"
	switch first := bytes.IndexByte(text, '&'); {
	case first < 0:
		return text
	case first == 0 && len(text) > 2*len(quote): // an ETag
		inner, ok := bytes.CutSuffix(text[len(quote):], []byte(quote))
		if ok && string(text[:len(quote)]) == quote && bytes.IndexByte(inner, '&') < 0 {
			text = text[len(quote)-1 : len(text)-len(quote)+1]
			text[0], text[len(text)-1] = '"', '"'
			return text
		}
	}
	return s.unescape(text[:0], text)
}

// mixed is value for a text with other things in it. The text moves together at dst, which the scanner has passed.
func (s *xmlScanner) mixed(dst []byte) []byte {
	for depth := len(s.open); s.err == nil; {
		i := bytes.IndexByte(s.doc[s.at:], '<')
		if i < 0 || s.at+i+1 >= len(s.doc) {
			s.fail(errCutShort)
			break
		}
		dst = s.unescape(dst, s.doc[s.at:s.at+i])
		s.at += i
		switch s.doc[s.at+1] {
		case '/':
			if s.close(); len(s.open) < depth {
				return dst
			}
		case '!', '?':
			dst = append(dst, s.aside()...)
		default:
			s.start()
			s.skip()
		}
	}
	return nil
}

// unescape appends text to dst, which may be the room before it or its own: what is escaped never gets longer.
func (s *xmlScanner) unescape(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '&')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		text = text[i+1:]
		n, ok := bytes.IndexByte(text, ';'), false
		if n >= 0 {
			dst, ok = appendEntity(dst, text[:n])
		}
		if !ok {
			s.fail(errMalformed)
			return nil
		}
		text = text[n+1:]
	}
}

// appendEntity appends what &name; stands for.
func appendEntity(dst, name []byte) ([]byte, bool) {
	switch string(name) {
	case "amp":
		return append(dst, '&'), true
	case "quot":
		return append(dst, '"'), true
	case "lt":
		return append(dst, '<'), true
	case "gt":
		return append(dst, '>'), true
	case "apos":
		return append(dst, '\''), true
	}
	digits, isNumber := bytes.CutPrefix(name, []byte("#"))
	hex, isHex := bytes.CutPrefix(digits, []byte("x"))
	base := rune(10)
	if isHex {
		base, digits = 16, hex
	}
	var r rune
	for _, c := range digits {
		d := rune(digit(c))
		if d >= base || r > utf8.MaxRune {
			return dst, false
		}
		r = r*base + d
	}
	if !isNumber || len(digits) == 0 || !utf8.ValidRune(r) {
		return dst, false
	}
	return utf8.AppendRune(dst, r), true
}

// digit is the value of a hexadecimal digit, 16 of anything else.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
