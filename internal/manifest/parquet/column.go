package parquet

import (
	"encoding/binary"
	"hash/crc32"
)

// The types of pages.
const (
	dataPage       = 0
	indexPage      = 1
	dictionaryPage = 2
	dataPageV2     = 3
)

// column reads the values of one column, a column chunk at a time.
type column struct {
	field  field
	codecs *codecs
	src    source // of the chunk
	chunk  chunk
	dict   *dictionary

	rows   int     // of the current page, not yet returned
	levels *hybrid // which of them are there; nil if all
	values values  // those that are there

	page []byte // memory for a decompressed page
}

// values are the values of a page in order. They return false if the page has no more.
type values interface {
	next() ([]byte, bool) // valid until the next call
	skip(n int) bool
}

// open goes to the start of a chunk.
func (c *column) open(ch chunk) {
	c.chunk, c.dict, c.rows, c.levels, c.values = ch, nil, 0, nil, nil
	c.src.open(ch.off, ch.end)
}

// next returns the next value, nil for null.
func (c *column) next() ([]byte, error) {
	for c.rows == 0 {
		if err := c.nextPage(0); err != nil {
			return nil, err
		}
	}
	c.rows--
	if c.levels != nil {
		level, ok := c.levels.next()
		if !ok {
			return nil, errCut()
		}
		if level == 0 {
			return nil, nil
		}
	}
	cell, ok := c.values.next()
	if !ok {
		return nil, errCut()
	}
	return cell, nil
}

// skip passes over n rows of the chunk.
func (c *column) skip(n int64) error {
	for n > 0 {
		if c.rows == 0 {
			before := n
			if err := c.nextPage(n); err != nil {
				return err
			}
			if n -= int64(c.rows); n >= 0 {
				c.rows = 0 // it was passed over
				continue
			}
			n = before
		}
		return c.skipInPage(int(n))
	}
	return nil
}

// skipInPage passes over n rows of the current page.
func (c *column) skipInPage(n int) error {
	c.rows -= n
	if c.levels != nil {
		there := 0
		for range n {
			level, ok := c.levels.next()
			if !ok {
				return errCut()
			}
			if level > 0 { // as next takes it
				there++
			}
		}
		n = there
	}
	if !c.values.skip(n) {
		return errCut()
	}
	return nil
}

// errCut is the error of a page with fewer values than it says.
func errCut() error {
	return malformed("damaged page: its values end too early or are not well encoded")
}

// pageHeader is a PageHeader with the header of the type of page in it.
type pageHeader struct {
	kind           int64
	plain, packed  int64 // bytes of the page, decompressed and as it is
	crc            int64
	hasCRC         bool
	values         int64
	encoding       int64
	levelEncoding  int64
	defLen, repLen int64 // bytes of the levels, in version 2
	stored         bool  // not compressed though the column is
}

// nextPage goes to the next page of data. One of at most skip rows is not decoded.
func (c *column) nextPage(skip int64) error {
	for {
		h, err := c.readHeader()
		if err != nil {
			return err
		}
		// A dictionary is needed for the pages after it.
		if h.kind == indexPage || h.kind != dictionaryPage && h.values <= skip {
			c.src.use(int(h.packed))
			if h.kind == indexPage {
				continue
			}
			c.rows = int(h.values)
			return nil
		}
		body, err := c.src.peek(int(h.packed))
		if err != nil {
			return err
		}
		c.src.use(len(body))
		if h.hasCRC && crc32.ChecksumIEEE(body) != uint32(h.crc) {
			return malformed("damaged page: its checksum is wrong")
		}
		switch h.kind {
		case dictionaryPage:
			err = c.openDictionary(h, body)
		case dataPage:
			err = c.openData(h, body)
		default:
			err = c.openDataV2(h, body)
		}
		if err != nil || h.kind != dictionaryPage {
			return err
		}
	}
}

// readHeader reads the header of the next page. It checks what the header says of sizes.
func (c *column) readHeader() (h pageHeader, err error) {
	const most = 1 << 20 // bytes of a header, in which there may be statistics
	if c.src.left() == 0 {
		return h, malformed("damaged column: its pages end before its rows")
	}
	for n := 4 << 10; ; n *= 4 {
		b, err := c.src.peek(n)
		if err != nil {
			return h, err
		}
		t := &thrift{b: b}
		h = readPageHeader(t)
		if t.short && len(b) == n && n < most {
			continue
		}
		if t.bad {
			return h, malformed("damaged page: its header cannot be read")
		}
		c.src.use(len(b) - len(t.b))
		break
	}
	switch {
	case h.kind < dataPage || h.kind > dataPageV2:
		return h, malformed("damaged page: it is of type %d", h.kind)
	case h.packed < 0 || h.packed > c.src.left() || h.packed > maxPage || h.plain < 0 || h.plain > maxPage:
		return h, malformed("damaged page: %d bytes of %d that are left, %d decompressed", h.packed, c.src.left(), h.plain)
	case h.values < 0 || h.values > 1<<31-1:
		return h, malformed("damaged page: %d values", h.values)
	}
	return h, nil
}

// readPageHeader reads a PageHeader.
func readPageHeader(t *thrift) (h pageHeader) {
	for id, typ := range t.fields() {
		switch id {
		case 1:
			h.kind = t.int(typ)
		case 2:
			h.plain = t.int(typ)
		case 3:
			h.packed = t.int(typ)
		case 4:
			h.crc, h.hasCRC = t.int(typ), true
		case 5, 7: // DataPageHeader and DictionaryPageHeader begin alike
			if !t.is(typ) {
				break
			}
			for id, typ := range t.fields() {
				switch id {
				case 1:
					h.values = t.int(typ)
				case 2:
					h.encoding = t.int(typ)
				case 3:
					if typ == thriftTrue || typ == thriftFalse { // is_sorted of a dictionary
						break
					}
					h.levelEncoding = t.int(typ)
				default:
					t.skip(typ)
				}
			}
		case 8:
			if t.is(typ) {
				readPageHeaderV2(t, &h)
			}
		default:
			t.skip(typ)
		}
	}
	return h
}

// readPageHeaderV2 reads a DataPageHeaderV2.
func readPageHeaderV2(t *thrift, h *pageHeader) {
	for id, typ := range t.fields() {
		switch id {
		case 1:
			h.values = t.int(typ)
		case 4:
			h.encoding = t.int(typ)
		case 5:
			h.defLen = t.int(typ)
		case 6:
			h.repLen = t.int(typ)
		case 7:
			h.stored = !t.bool(typ)
		default:
			t.skip(typ)
		}
	}
}

// openData decodes a page of version 1: the levels are compressed with the values, and a length
// stands before them.
func (c *column) openData(h pageHeader, body []byte) error {
	data, err := c.decompress(h.plain, body)
	if err != nil {
		return err
	}
	c.levels = nil
	if c.field.optional {
		if h.levelEncoding != encodingRLE {
			return malformed("definition levels in encoding %d, which is not read", h.levelEncoding)
		}
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return errCut()
		}
		size := binary.LittleEndian.Uint32(data)
		c.levels = newHybrid(data[4:4+size], 1)
		data = data[4+size:]
	}
	return c.openValues(h, data)
}

// openDataV2 decodes a page of version 2: the levels lie before what is compressed.
func (c *column) openDataV2(h pageHeader, body []byte) error {
	if h.repLen < 0 || h.defLen < 0 || h.repLen > int64(len(body)) || h.defLen > int64(len(body))-h.repLen {
		return errCut()
	}
	levels, data := body[h.repLen:h.repLen+h.defLen], body[h.repLen+h.defLen:]
	c.levels = nil
	if c.field.optional {
		c.levels = newHybrid(levels, 1)
	}
	if !h.stored {
		size := h.plain - h.repLen - h.defLen
		if size < 0 {
			return errCut()
		}
		var err error
		if data, err = c.decompress(size, data); err != nil {
			return err
		}
	}
	return c.openValues(h, data)
}

// openDictionary keeps the dictionary of the chunk.
func (c *column) openDictionary(h pageHeader, body []byte) error {
	if h.encoding != encodingPlain && h.encoding != encodingPlainDictionary {
		return malformed("a dictionary in encoding %d, which is not read", h.encoding)
	}
	data, err := c.decompress(h.plain, body)
	if err != nil {
		return err
	}
	c.dict, err = newDictionary(&c.field, data, h.values)
	return err
}

// decompress returns the size bytes that body has been made of. They are valid until the next page.
func (c *column) decompress(size int64, body []byte) ([]byte, error) {
	if c.chunk.codec == uncompressed {
		return body, nil
	}
	var err error
	if c.page, err = c.codecs.decode(c.chunk.codec, c.page, body, int(size)); err != nil {
		return nil, err
	}
	return c.page, nil
}
