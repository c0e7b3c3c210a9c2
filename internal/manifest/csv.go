package manifest

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

const (
	window  = 256 << 10 // bytes read at once
	maxLine = 64 << 10  // longest line, in bytes without its end: far more than a key, a version and some columns need
)

// CSV reads the rows of a CSV manifest, or of a piece of one. It is not safe for concurrent use.
//
// Beyond RFC 4180 it is as strict as S3 Batch Operations: the same number of columns in each row,
// no line break inside a cell, no header, no white space that is not encoded; see [Layout] for lenience.
// Lines end with LF or CRLF, the last one may have no end, and empty lines are skipped.
//
// It does not allocate per row.
type CSV struct {
	r      io.Reader
	layout Layout

	buf     []byte // buf[lo:hi] has been read but not handed out
	lo, hi  int
	scanned int   // buf[lo:scanned] has no line feed
	base    int64 // offset of buf[0] in the manifest
	readErr error // what r said last; it counts once buf is used up

	skip  bool  // the line at lo started before the piece
	until int64 // lines that start here or behind are of the next piece

	ends  []int  // of the columns of the current line, from ends[1]; ends[0] is -1
	arena []byte // cells of the current row that had to be rewritten
	line  int64  // number of the last line taken from buf
	next  Position
	first bool // no line of the manifest was looked at yet but empty ones
	notes Notes
	err   error
}

// NewCSV returns a reader of the rows that r yields. start is the place in the manifest of the first
// byte of r, which must be the start of a line; r may end after any line.
func NewCSV(r io.Reader, l Layout, start Position) *CSV {
	start.Line = max(start.Line, 1)
	ends := make([]int, l.columns+1)
	ends[0] = -1
	return &CSV{
		r:      r,
		layout: l,
		buf:    make([]byte, window),
		base:   start.Offset,
		line:   start.Line - 1,
		next:   start,
		ends:   ends,
		until:  math.MaxInt64,
		first:  start.Offset == 0,
	}
}

// NewPiece returns a reader of the rows of one piece of a manifest that was cut at any bytes. r yields the
// manifest from offset at on, and must go on behind end up to the end of the last row. Rows that start at end
// or behind it are of the next piece. With partial set the first line, which may be the rest of
// one, is of the piece before: to read from offset n > 0, let at be n-1. Lines are counted from 1
// where the piece's first one starts.
func NewPiece(r io.Reader, l Layout, at int64, partial bool, end int64) *CSV {
	c := NewCSV(r, l, Position{Offset: at})
	c.skip, c.until = partial, end
	c.first = c.first && !partial
	return c
}

// Until makes the rows that start at end or behind it be of no concern: reading ends before them. It must be
// called before the first row is read.
func (c *CSV) Until(end int64) { c.until = end }

// Next reads the next row into row. It returns false at the end and at the first error; see [CSV.Err].
func (c *CSV) Next(row *Row) bool { return c.read(row, true) }

// read reads the next row into row. Unless decoded is set, row.Key may be left as it is in the cell.
func (c *CSV) read(row *Row, decoded bool) bool {
	for {
		line, ok := c.readLine()
		if !ok {
			return false
		}
		if c.first && c.header(line) {
			continue // unless it ended the reading
		}
		c.arena, ok = c.split(line, c.arena[:0], row, decoded)
		return ok
	}
}

// Notes says what leniency has put up with so far.
func (c *CSV) Notes() Notes { return c.notes }

// Err returns what ended the reading: nil at the end of r, an [*Error] if the content is bad, and
// otherwise the error of r, wrapped.
func (c *CSV) Err() error { return c.err }

// Offset returns the offset in the manifest just after the last row returned, its line end included.
func (c *CSV) Offset() int64 { return c.next.Offset }

// Line returns the number of the line of the last row returned.
func (c *CSV) Line() int64 { return c.next.Line - 1 }

// Lines returns the number of lines passed since the start of the manifest, or of the piece: up to the
// last row returned or, once reading has ended, to its end. Empty lines count.
func (c *CSV) Lines() int64 { return c.line }

// Position returns where the rows after the last one returned start: another CSV can go on there.
func (c *CSV) Position() Position { return c.next }

// readLine returns the next line that is not empty, without its end. It returns false at the end of
// the manifest and on errors.
func (c *CSV) readLine() ([]byte, bool) {
	for c.err == nil {
		if c.base+int64(c.lo) >= c.until {
			return nil, false
		}
		var line []byte
		switch i := bytes.IndexByte(c.buf[c.scanned:c.hi], '\n'); {
		case i >= 0:
			line = c.buf[c.lo : c.scanned+i]
			c.lo = c.scanned + i + 1
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
		case c.hi-c.lo > maxLine+1: // +1: the last byte may be the CR of a CRLF
			line = c.buf[c.lo:c.hi]
		case c.readErr == nil:
			c.scanned = c.hi
			c.fill()
			continue
		case c.readErr != io.EOF: //nolint:errorlint // an io.Reader returns io.EOF itself
			// What is left is the start of a line whose rest is lost.
			c.err = fmt.Errorf("read manifest: line %d: %w", c.line+1, c.readErr)
			return nil, false
		case c.lo == c.hi:
			return nil, false
		default:
			line = c.buf[c.lo:c.hi]
			c.lo = c.hi
		}
		c.scanned = c.lo
		if c.skip && len(line) <= maxLine {
			c.skip = false
			c.next.Offset = c.base + int64(c.lo)
			continue
		}
		c.line++
		switch {
		case len(line) > maxLine:
			c.fail(line, textFormat, fmt.Sprintf("longer than %d bytes", maxLine))
		case c.first && c.layout.Lenient && bytes.HasPrefix(line, []byte(bom)):
			c.notes.BOM = true
			if line = line[len(bom):]; len(line) > 0 {
				return line, true
			}
		case len(line) > 0:
			return line, true
		}
	}
	return nil, false
}

// fill reads once into the free part of buf.
func (c *CSV) fill() {
	// Moving at most as much as was handed out keeps the cost per byte constant. There is always
	// room afterwards, since a line that fills half the buffer has been refused.
	if c.hi-c.lo <= c.lo {
		n := copy(c.buf, c.buf[c.lo:c.hi])
		c.base += int64(c.lo)
		c.lo, c.hi, c.scanned = 0, n, n
	}
	const patience = 100 // empty reads in a row, as in bufio
	for range patience {
		n, err := c.r.Read(c.buf[c.hi:])
		c.hi += n
		c.readErr = err
		if n > 0 || err != nil {
			return
		}
	}
	c.readErr = io.ErrNoProgress
}

// split takes line apart into row. Cells that are not a part of line are built at the end of arena,
// which it returns. Unless decoded is set, it checks the key without decoding it where it can. It returns false
// and sets c.err if the line is no valid row.
func (c *CSV) split(line, arena []byte, row *Row, decoded bool) ([]byte, bool) {
	l := &c.layout
	commas, marks := scan(line, c.ends)
	if marks.odd {
		if problem := checkText(line); problem != "" {
			if c.next.Offset == 0 && !l.Lenient && bytes.HasPrefix(line, []byte(bom)) {
				problem += ", or " + lenience
			}
			return arena, c.fail(line, textFormat, problem)
		}
		marks.escapes = true // perhaps
	}

	row.VersionID, row.Size = nil, -1
	whole := commas == l.columns-1 && !marks.wide // every comma ends a cell, unless it is quoted
	if whole {
		c.ends[l.columns] = len(line)
	}
	quotes := min(marks.quotes, 1) // on each side of each cell, if they are nowhere else
	if whole && (quotes == 0 || marks.quotes == 2*l.columns && c.quoted(line)) {
		row.Bucket = c.cell(line, l.bucket, quotes)
		row.RawKey = c.cell(line, l.key, quotes)
		if l.version >= 0 {
			row.VersionID = c.cell(line, l.version, quotes)
		}
		if l.size >= 0 {
			row.Size = size(c.cell(line, l.size, quotes))
		}
	} else {
		var (
			columns int
			problem string
		)
		if columns, arena, problem = l.split(line, arena, row); problem != "" {
			return arena, c.fail(line, textFormat, fmt.Sprintf("column %d: %s", columns, problem))
		}
		if !l.fits(line, columns) {
			return arena, c.fail(line, textFormat, l.miscounted(line, columns))
		}
		if columns > l.columns {
			c.notes.Columns++
		}
	}

	key := row.RawKey
	if marks.odd {
		var text, problem string
		if arena, text, problem = c.spaces(row, arena); problem != "" {
			return arena, c.fail(line, text, problem)
		}
	}
	if len(row.Bucket) == 0 {
		return arena, c.fail(line, textContent, "the bucket is empty")
	}
	row.Key = row.RawKey
	var problem string
	if l.RawKeys {
		row.Key = key
	} else if marks.escapes && (decoded || marks.odd || !sound(row.RawKey)) {
		if row.Key, arena, problem = decode(row.RawKey, arena); problem != "" {
			return arena, c.fail(line, textKey, problem)
		}
	}
	if l.Lenient && marks.escapes && !l.RawKeys && bytes.IndexByte(key, '+') >= 0 {
		c.notes.Pluses++
	}
	if problem = checkKey(row.Key); problem != "" {
		return arena, c.fail(line, textKey, problem)
	}
	if problem = checkVersion(row.VersionID); problem != "" {
		return arena, c.fail(line, textVersion, problem)
	}
	c.next = Position{Offset: c.base + int64(c.lo), Line: c.line + 1}
	return arena, true
}

// cell returns a cell of line by the column ends that scan found, without so many quotes on each side.
func (c *CSV) cell(line []byte, column, quotes int) []byte {
	from, to := c.ends[column]+1+quotes, c.ends[column+1]-quotes
	return line[from:to:to]
}

// quoted reports whether each cell of line, by the column ends that scan found, is in quotes. If line has two
// quotes per column, there are none inside of them.
func (c *CSV) quoted(line []byte) bool {
	for i := range c.layout.columns {
		from, to := c.ends[i]+1, c.ends[i+1]
		if to-from < 2 || line[from] != '"' || line[to-1] != '"' {
			return false
		}
	}
	return true
}

// fail ends the reading because of the current line, and returns false.
func (c *CSV) fail(line []byte, text, detail string) bool {
	if c.next.Offset == 0 {
		if kind := foreign(line, c.layout.Lenient || c.layout.inventory); kind != "" {
			text, detail = textFormat, kind
		}
	}
	c.err = newError(text, c.line, detail)
	return false
}
