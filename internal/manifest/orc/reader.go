package orc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"stevedore/internal/manifest/orc/ranged"
)

// Reader reads rows as text. It is not safe for concurrent use.
type Reader struct {
	file    *File
	packing packing
	columns []column
	stripe  int    // index of the stripe after the current one
	from    int64  // rows to pass over, counted from the start of that stripe
	left    int64  // rows of the current stripe not yet returned
	root    column // which rows are there at all; without a present stream if all are
	whole   []byte // memory for a small stripe
	err     error
}

// Next reads one row into cells, which has a place for each column asked for: text as it is in the
// file, numbers in decimal, booleans as true and false, timestamps as RFC 3339 with milliseconds in
// UTC (dates without a time), nil for null. A timestamp without a time zone is taken for one of UTC.
// Cells are valid until the next call. Next returns false at the end and at the first error.
func (r *Reader) Next(cells [][]byte) bool {
	for r.left == 0 {
		if !r.nextStripe() {
			return false
		}
	}
	r.left--
	if r.root.present != nil {
		if there, ok := r.root.present.next(); !ok {
			r.fail("the rows", r.root.err())
			return false
		} else if !there {
			clear(cells)
			return true
		}
	}
	for i := range r.columns {
		cell, ok := r.columns[i].next()
		if !ok {
			r.fail("column "+r.columns[i].field.name, r.columns[i].err())
			return false
		}
		cells[i] = cell
	}
	return true
}

// nextStripe enters the next stripe that has rows to return. It reports whether there is one.
func (r *Reader) nextStripe() bool {
	for r.err == nil && r.stripe < len(r.file.stripes) {
		s := &r.file.stripes[r.stripe]
		r.stripe++
		if r.from >= s.rows {
			r.from -= s.rows
			continue
		}
		if !r.enter(s) {
			return false
		}
		skip := r.from
		r.left, r.from = s.rows-skip, 0
		if r.root.present != nil {
			var ok bool
			if skip, ok = r.root.present.skip(skip); !ok {
				r.fail("the rows", r.root.err())
				return false
			}
		}
		for i := range r.columns {
			if c := &r.columns[i]; !c.skip(skip) {
				r.fail("column "+c.field.name, c.err())
				return false
			}
		}
		return true
	}
	return false
}

// fail keeps the error that what ended with.
func (r *Reader) fail(what string, err error) {
	r.left = 0
	if bad, ok := errors.AsType[*FormatError](err); ok {
		r.err = malformed("stripe %d, %s: %s", r.stripe, what, bad.Detail)
		return
	}
	r.err = fmt.Errorf("stripe %d, %s: %w", r.stripe, what, err)
}

// Err returns the error that ended the rows, nil if it was the end of the file.
func (r *Reader) Err() error { return r.err }

// Close gives back the memory of the reader, which returns no more rows. It always returns nil.
func (r *Reader) Close() error {
	r.stripe, r.left = len(r.file.stripes), 0
	r.columns, r.whole = nil, nil
	r.packing.close()
	return nil
}

// enter opens the columns on a stripe.
func (r *Reader) enter(s *stripe) bool {
	from, footer, err := r.readStripe(s)
	if err != nil {
		r.fail("its footer", err)
		return false
	}
	wanted := map[int]bool{0: true}
	for i := range r.columns {
		wanted[r.columns[i].field.id] = true
	}
	l, err := readLayout(footer, s, wanted, r.file.types)
	if err != nil {
		r.fail("its footer", err)
		return false
	}
	r.root.openPresent(r, from, &l)
	for i := range r.columns {
		c := &r.columns[i]
		if err := c.open(r, from, &l); err != nil {
			r.fail("column "+c.field.name, err)
			return false
		}
	}
	return true
}

// readStripe reads the footer of a stripe, and returns what to read its streams from.
func (r *Reader) readStripe(s *stripe) (from io.ReaderAt, footer []byte, err error) {
	from = r.file.r
	// A small stripe costs one request, not one for each stream.
	if size := s.data + s.footer; size <= ranged.Window {
		if int64(cap(r.whole)) < size {
			r.whole = make([]byte, size)
		}
		r.whole = r.whole[:size]
		if err := ranged.ReadAt(from, r.whole, s.off+s.index); err != nil {
			return nil, nil, err
		}
		from = &piece{Reader: *bytes.NewReader(r.whole), off: s.off + s.index, file: r.file.r}
	}
	footer = make([]byte, s.footer)
	if err := ranged.ReadAt(from, footer, s.off+s.index+s.data); err != nil {
		return nil, nil, err
	}
	footer, err = r.packing.all(footer)
	return from, footer, err
}

// piece is a part of a file that has been read, at the offset it has there.
type piece struct {
	bytes.Reader
	off  int64
	file io.ReaderAt
}

// ReadAt reads from an offset of the file. Of a stripe the piece lacks the part of the indexes, in which no stream of values
// should lie, but may.
func (p *piece) ReadAt(b []byte, off int64) (int, error) {
	if off < p.off {
		return p.file.ReadAt(b, off)
	}
	return p.Reader.ReadAt(b, off-p.off)
}

// openPresent opens the stream that says which values are there, if the stripe has it.
func (c *column) openPresent(r *Reader, from io.ReaderAt, l *layout) {
	c.present = nil
	if e, ok := l.streams[streamID{c.field.id, streamPresent}]; ok && e.end > e.off {
		c.present = &bools{bytes: bytesRLE{s: c.stream(0, r, from, e)}}
	}
}

// stream opens the stream at place i of those of the column.
func (c *column) stream(i int, r *Reader, from io.ReaderAt, e extent) *stream {
	s := &c.streams[i]
	s.packing = &r.packing
	s.open(from, e)
	return s
}

// open opens the column on the streams of a stripe. A stream that is not there is an empty one.
func (c *column) open(r *Reader, from io.ReaderAt, l *layout) error {
	c.openPresent(r, from, l)
	e := l.encodings[c.field.id]
	if e.kind > 3 {
		return malformed("encoding %d, which is not read", e.kind)
	}
	at := func(i int, kind streamKind) *stream {
		return c.stream(i, r, from, l.streams[streamID{c.field.id, kind}])
	}
	numbers := func(s *stream, signed bool) ints { return ints{s: s, version2: e.version2(), signed: signed} }
	data := at(1, streamData)
	switch c.field.kind {
	case kindBoolean:
		c.values = &boolValues{bools: bools{bytes: bytesRLE{s: data}}}
	case kindByte:
		c.values = &byteValues{bytes: bytesRLE{s: data}}
	case kindShort, kindInt, kindLong:
		c.values = &intValues{ints: numbers(data, true), text: appendInt}
	case kindDate:
		c.values = &intValues{ints: numbers(data, true), text: appendDate}
	case kindFloat:
		c.values = &floatValues{data: data, bytes: 4}
	case kindDouble:
		c.values = &floatValues{data: data, bytes: 8}
	case kindTimestamp, kindTimestampInstant:
		zone, err := location(c.field.kind, l.zone)
		if err != nil {
			return err
		}
		v := newTimeValues(zone)
		v.seconds, v.nanos = numbers(data, true), numbers(at(2, streamSecondary), false)
		c.values = v
	default: // strings of all kinds; what is not read has been refused
		lengths := numbers(at(2, streamLength), false)
		if !e.dictionary() {
			c.values = &stringValues{lengths: lengths, data: data}
			return nil
		}
		v := &dictValues{indexes: numbers(data, false)}
		if !v.readDictionary(&lengths, at(3, streamDictionary), e.entries) {
			return c.err()
		}
		c.values = v
	}
	return nil
}

// location returns the time zone that the seconds of a stripe count from.
func location(k kind, name string) (*time.Location, error) {
	if k == kindTimestampInstant || name == "" || name == "GMT" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, malformed("the time zone of the writer, %q, is not known here", name)
	}
	return zone, nil
}
