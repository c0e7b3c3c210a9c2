package orc

import "strconv"

// kind is what a type is, with the numbers of the format.
type kind uint64

const (
	kindBoolean          kind = 0
	kindByte             kind = 1
	kindShort            kind = 2
	kindInt              kind = 3
	kindLong             kind = 4
	kindFloat            kind = 5
	kindDouble           kind = 6
	kindString           kind = 7
	kindBinary           kind = 8
	kindTimestamp        kind = 9
	kindList             kind = 10
	kindMap              kind = 11
	kindStruct           kind = 12
	kindUnion            kind = 13
	kindDecimal          kind = 14
	kindDate             kind = 15
	kindVarchar          kind = 16
	kindChar             kind = 17
	kindTimestampInstant kind = 18
)

// unread returns the name of a type that this package does not read, "" if it does.
func (k kind) unread() string {
	switch k {
	case kindList:
		return "list"
	case kindMap:
		return "map"
	case kindStruct:
		return "struct"
	case kindUnion:
		return "union"
	case kindDecimal:
		return "decimal"
	default:
		if k > kindTimestampInstant {
			return strconv.FormatUint(uint64(k), 10)
		}
		return ""
	}
}

// postscript is the PostScript, the end of the file.
type postscript struct {
	footer      uint64 // bytes
	compression uint64
	chunk       uint64 // bytes that a chunk decompresses to at most
	magic       string
}

// readPostscript reads a PostScript. It reports whether b is one.
func readPostscript(b []byte) (ps postscript, ok bool) {
	p := &proto{b: b}
	for id, wire := range p.fields() {
		switch id {
		case 1:
			ps.footer = p.uint(wire)
		case 2:
			ps.compression = p.uint(wire)
		case 3:
			ps.chunk = p.uint(wire)
		case 8000:
			ps.magic = string(p.bytes(wire))
		default:
			p.skip(wire)
		}
	}
	return ps, !p.bad && ps.footer > 0
}

// typ is a Type.
type typ struct {
	kind     kind
	children []uint64
	names    []string
}

// readFooter reads the Footer.
func (f *File) readFooter(b []byte) error {
	p := &proto{b: b}
	var root typ
	var kinds []kind
	encrypted := false
	for id, wire := range p.fields() {
		switch id {
		case 3:
			p.message(wire, func(p *proto) { f.stripes = append(f.stripes, readStripe(p)) })
		case 4:
			p.message(wire, func(p *proto) {
				t := readType(p)
				if len(kinds) == 0 {
					root = t
				}
				kinds = append(kinds, t.kind)
			})
			if len(kinds) > maxTypes {
				return malformed("an ORC file of more than %d columns", maxTypes)
			}
		case 6:
			f.rows = p.int(wire)
		case 10:
			encrypted = true
			p.skip(wire)
		default:
			p.skip(wire)
		}
	}
	switch {
	case p.bad:
		return malformed("damaged ORC file: its footer cannot be read")
	case encrypted:
		return malformed("the ORC file has encrypted columns")
	case len(kinds) == 0 || root.kind != kindStruct || len(root.children) != len(root.names):
		return malformed("an ORC file whose rows have no columns")
	}
	f.types = len(kinds)
	for i, id := range root.children {
		if id == 0 || id >= uint64(len(kinds)) {
			return malformed("damaged ORC file: column %s has no type", root.names[i])
		}
		f.fields = append(f.fields, field{name: root.names[i], id: int(id), kind: kinds[id]})
	}
	return nil
}

// readStripe reads a StripeInformation.
func readStripe(p *proto) (s stripe) {
	for id, wire := range p.fields() {
		switch id {
		case 1:
			s.off = p.int(wire)
		case 2:
			s.index = p.int(wire)
		case 3:
			s.data = p.int(wire)
		case 4:
			s.footer = p.int(wire)
		case 5:
			s.rows = p.int(wire)
		default:
			p.skip(wire)
		}
	}
	return s
}

// readType reads a Type.
func readType(p *proto) (t typ) {
	for id, wire := range p.fields() {
		switch id {
		case 1:
			t.kind = kind(p.uint(wire))
		case 2:
			t.children = p.uints(wire, t.children)
		case 3:
			t.names = append(t.names, string(p.bytes(wire)))
		default:
			p.skip(wire)
		}
		p.bad = p.bad || len(t.children) > maxTypes || len(t.names) > maxTypes
	}
	return t
}

// streamKind is what is in a stream, with the numbers of the format.
type streamKind uint64

const (
	streamPresent    streamKind = 0
	streamData       streamKind = 1
	streamLength     streamKind = 2
	streamDictionary streamKind = 3
	streamSecondary  streamKind = 5
)

// layout is what the StripeFooter says of where and how the columns lie in a stripe.
type layout struct {
	streams   map[streamID]extent // of the columns asked for
	encodings []encoding          // by the id of the type
	zone      string              // the time zone of the writer, "" in old files
}

type streamID struct {
	column int
	kind   streamKind
}

// extent is a range of the file.
type extent struct{ off, end int64 }

// encoding is a ColumnEncoding.
type encoding struct {
	kind    uint64
	entries uint64 // of the dictionary
}

// version2 reports whether integers are in version 2 of the run-length encoding.
func (e encoding) version2() bool { return e.kind >= 2 }

// dictionary reports whether strings are references to a dictionary.
func (e encoding) dictionary() bool { return e.kind&1 == 1 }

// readLayout reads the StripeFooter of s. wanted are the ids of the types whose streams it keeps.
func readLayout(b []byte, s *stripe, wanted map[int]bool, types int) (layout, error) {
	l := layout{streams: make(map[streamID]extent)}
	p := &proto{b: b}
	off := s.off
	for id, wire := range p.fields() {
		switch id {
		case 1:
			p.message(wire, func(p *proto) {
				id, length := readStream(p)
				if length < 0 || length > s.off+s.index+s.data-off {
					p.bad = true
					return
				}
				if wanted[id.column] {
					l.streams[id] = extent{off, off + length}
				}
				off += length
			})
		case 2:
			p.message(wire, func(p *proto) { l.encodings = append(l.encodings, readEncoding(p)) })
			p.bad = p.bad || len(l.encodings) > types
		case 3:
			l.zone = string(p.bytes(wire))
		default:
			p.skip(wire)
		}
	}
	if p.bad || len(l.encodings) < types {
		return l, malformed("damaged: it cannot be read")
	}
	return l, nil
}

// readStream reads a Stream.
func readStream(p *proto) (id streamID, length int64) {
	for field, wire := range p.fields() {
		switch field {
		case 1:
			id.kind = streamKind(p.uint(wire))
		case 2:
			id.column = int(p.uint(wire))
		case 3:
			length = p.int(wire)
		default:
			p.skip(wire)
		}
	}
	return id, length
}

// readEncoding reads a ColumnEncoding.
func readEncoding(p *proto) (e encoding) {
	for id, wire := range p.fields() {
		switch id {
		case 1:
			e.kind = p.uint(wire)
		case 2:
			e.entries = p.uint(wire)
		default:
			p.skip(wire)
		}
	}
	return e
}
