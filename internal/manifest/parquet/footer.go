package parquet

import "math"

// field is a column of the schema, at its top level.
type field struct {
	name     string
	leaf     int    // index of its chunk in each row group
	unread   string // why this package does not read it, "" if it does
	kind     kind
	size     int // bytes of a value of kind fixed
	optional bool
	text     textFunc // nil for text itself and for booleans
}

// kind is a physical type, with the numbers of the format.
type kind int64

const (
	boolean kind = iota
	int32s
	int64s
	int96s
	float32s
	float64s
	byteArray
	fixed
)

// group is a row group.
type group struct {
	rows   int64
	chunks []chunk // of the leaves of the schema, in order
}

// chunk is where a column of a row group lies, and how.
type chunk struct {
	off, end int64
	codec    codec
}

// readFooter reads the metadata of the file.
func (f *File) readFooter(b []byte) error {
	t := &thrift{b: b}
	var schema []element
	encrypted := false
	for id, typ := range t.fields() {
		switch id {
		case 2:
			for range t.structs(typ, 4) {
				if schema = append(schema, readElement(t)); len(schema) > maxColumns {
					return malformed("a Parquet file of more than %d columns", maxColumns)
				}
			}
		case 3:
			f.rows = t.int(typ)
		case 4:
			for range t.structs(typ, 8) {
				f.groups = append(f.groups, readGroup(t))
			}
		case 8:
			encrypted = true
			t.skip(typ)
		default:
			t.skip(typ)
		}
	}
	switch {
	case t.bad:
		return malformed("damaged Parquet file: its metadata cannot be read")
	case encrypted:
		return malformed("the Parquet file is encrypted")
	}
	leaves, err := f.readSchema(schema)
	if err != nil {
		return err
	}
	return f.checkGroups(leaves)
}

// checkGroups compares the row groups with the schema and with the size of the file.
func (f *File) checkGroups(leaves int) error {
	rows := int64(0)
	for i := range f.groups {
		g := &f.groups[i]
		if g.rows < 0 || g.rows > math.MaxInt64-rows {
			return malformed("damaged Parquet file: row group %d has %d rows", i+1, g.rows)
		}
		if len(g.chunks) != leaves {
			return malformed("damaged Parquet file: row group %d has %d columns, the schema %d", i+1, len(g.chunks), leaves)
		}
		for _, c := range g.chunks {
			if c.off < 0 || c.end < c.off || c.end > f.size {
				return malformed("damaged Parquet file: a column of row group %d lies outside of the file", i+1)
			}
		}
		rows += g.rows
	}
	if rows != f.rows {
		return malformed("damaged Parquet file: %d rows in its row groups, %d in all", rows, f.rows)
	}
	return nil
}

// readGroup reads a RowGroup.
func readGroup(t *thrift) (g group) {
	for id, typ := range t.fields() {
		switch id {
		case 1:
			for range t.structs(typ, 16) {
				g.chunks = append(g.chunks, readChunk(t))
			}
		case 3:
			g.rows = t.int(typ)
		default:
			t.skip(typ)
		}
	}
	return g
}

// readChunk reads a ColumnChunk.
func readChunk(t *thrift) (c chunk) {
	for id, typ := range t.fields() {
		if id == 3 && t.is(typ) {
			c = readColumnMetaData(t)
			continue
		}
		t.skip(typ)
	}
	return c
}

// readColumnMetaData reads a ColumnMetaData.
func readColumnMetaData(t *thrift) (c chunk) {
	var length, data, dictionary int64
	for id, typ := range t.fields() {
		switch id {
		case 4:
			c.codec = codec(t.int(typ))
		case 7:
			length = t.int(typ)
		case 9:
			data = t.int(typ)
		case 11:
			dictionary = t.int(typ)
		default:
			t.skip(typ)
		}
	}
	c.off = data
	if dictionary > 0 { // some writers say 0 for none
		c.off = min(data, dictionary)
	}
	if length < 0 || c.off > math.MaxInt64-length {
		c.end = -1
		return c
	}
	c.end = c.off + length
	return c
}

// element is a SchemaElement: a column, or a group of the columns that follow it.
type element struct {
	name       string
	kind       kind
	hasKind    bool
	size       int64
	repetition int64
	children   int64
	converted  int64
	logical    logical
}

// readElement reads a SchemaElement.
func readElement(t *thrift) element {
	e := element{converted: -1}
	for id, typ := range t.fields() {
		switch id {
		case 1:
			e.kind, e.hasKind = kind(t.int(typ)), true
		case 2:
			e.size = t.int(typ)
		case 3:
			e.repetition = t.int(typ)
		case 4:
			e.name = t.string(typ)
		case 5:
			e.children = t.int(typ)
		case 6:
			e.converted = t.int(typ)
		case 10:
			if t.is(typ) {
				e.logical = readLogical(t)
			}
		default:
			t.skip(typ)
		}
	}
	return e
}

// readSchema makes the fields out of the schema, a tree in depth-first order, and returns the number
// of its leaves.
func (f *File) readSchema(schema []element) (leaves int, err error) {
	if len(schema) == 0 || schema[0].hasKind {
		return 0, malformed("damaged Parquet file: it has no schema")
	}
	const repeated = 2
	rest := schema[1:]
	for range schema[0].children {
		if len(rest) == 0 {
			return 0, malformed("damaged Parquet file: its schema is cut short")
		}
		e := rest[0]
		fd := field{name: e.name, leaf: leaves, kind: e.kind, optional: e.repetition == 1, size: int(e.size)}
		switch {
		case !e.hasKind:
			fd.unread = "is a group of columns, which is not read"
		case e.repetition == repeated:
			fd.unread = "is a list, which is not read"
		default:
			fd.text, fd.unread = e.textFunc()
		}
		if fd.kind == fixed && (e.size <= 0 || e.size > 1<<20) {
			fd.unread = "has values of no size"
		}
		f.fields = append(f.fields, fd)
		// Pass over the element with all that lies in it.
		for open := int64(1); open > 0; open-- {
			if len(rest) == 0 {
				return 0, malformed("damaged Parquet file: its schema is cut short")
			}
			if rest[0].hasKind {
				leaves++
			} else {
				if rest[0].children < 0 || rest[0].children > int64(len(rest)) {
					return 0, malformed("damaged Parquet file: its schema is cut short")
				}
				open += rest[0].children
			}
			rest = rest[1:]
		}
	}
	return leaves, nil
}
