package manifest

import (
	"fmt"
	"unicode/utf8"
)

// Cells are the rows of a columnar file, such as a Parquet reader has them.
type Cells interface {
	// Next reads a row: each cell as text, valid until the next call, nil for null.
	Next(cells [][]byte) bool
	// Err returns what ended the reading, nil at the end.
	Err() error
}

// Table reads the rows of a columnar file, whose keys are not encoded. The offset of its positions
// is the number of the row in the file, counted from 0. It is not safe for concurrent use.
type Table struct {
	cells  Cells
	layout Layout
	row    [][]byte // in the order of Layout.Cells
	arena  []byte
	next   Position
	end    int64
	err    error
}

var _, _ Rows = (*CSV)(nil), (*Table)(nil)

// Cells returns the numbers of the columns that make up a [Row].
func (l Layout) Cells() []int {
	columns := []int{l.bucket, l.key}
	for _, column := range []int{l.version, l.size} {
		if column >= 0 {
			columns = append(columns, column)
		}
	}
	return columns
}

// NewTable returns a reader of the rows of cells, whose columns are those of [Layout.Cells], up to the row number end,
// not included. start is the position of the first one.
func NewTable(cells Cells, l Layout, start Position, end int64) *Table {
	return &Table{
		cells: cells, layout: l, row: make([][]byte, len(l.Cells())), end: end,
		next: Position{Offset: start.Offset, Line: start.Offset + 1},
	}
}

// Next reads the next row into row. It returns false at the end and at the first error.
func (t *Table) Next(row *Row) bool {
	t.arena = t.arena[:0]
	return t.read(row, false)
}

// Fill replaces what b holds with the next rows, at most limit and fewer if they are long, and
// returns their number. Without b it only checks and counts them.
func (t *Table) Fill(b *Batch, limit int) int {
	if b == nil {
		return t.count(limit)
	}
	b.rows, b.ends, b.arena = b.rows[:0], b.ends[:0], b.arena[:0]
	t.arena, b.arena = b.arena, nil
	for len(b.rows) < limit && len(t.arena) < maxBatch {
		var row Row
		if !t.read(&row, true) {
			break
		}
		b.rows = append(b.rows, row)
		b.ends = append(b.ends, t.next)
	}
	b.arena, t.arena = t.arena, nil
	return len(b.rows)
}

// count reads the next rows, at most limit, only to check them, and returns their number.
func (t *Table) count(limit int) (n int) {
	var row Row
	for n < limit && t.Next(&row) {
		n++
	}
	return n
}

// read reads the next row; if keep is set, its cells are built in the arena.
func (t *Table) read(row *Row, keep bool) bool {
	if t.err != nil || t.next.Offset >= t.end {
		return false
	}
	if !t.cells.Next(t.row) {
		if err := t.cells.Err(); err != nil {
			t.err = fmt.Errorf("read manifest: row %d: %w", t.next.Line, err)
		}
		return false
	}
	row.Bucket, row.Key, row.VersionID, row.Size = t.row[0], t.row[1], nil, -1
	rest := t.row[2:]
	if t.layout.version >= 0 {
		row.VersionID, rest = rest[0], rest[1:]
	}
	if t.layout.size >= 0 {
		row.Size = size(rest[0])
	}
	if text, problem := checkCells(row); problem != "" {
		t.err = newError(text, t.next.Line, problem)
		return false
	}
	if keep {
		row.Bucket, row.Key, row.VersionID = t.keep(row.Bucket), t.keep(row.Key), t.keep(row.VersionID)
	}
	from := len(t.arena)
	if t.arena = AppendKey(t.arena, row.Key); len(t.arena)-from == len(row.Key) {
		t.arena, row.RawKey = t.arena[:from], row.Key // nothing was encoded
	} else {
		row.RawKey = t.arena[from:len(t.arena):len(t.arena)]
	}
	t.next.Offset++
	t.next.Line++
	return true
}

// keep copies a cell to the arena.
func (t *Table) keep(cell []byte) []byte {
	from := len(t.arena)
	t.arena = append(t.arena, cell...)
	return t.arena[from:len(t.arena):len(t.arena)]
}

// checkCells says what is wrong with a row of cells that are not encoded.
func checkCells(row *Row) (text, problem string) {
	switch {
	case len(row.Bucket) == 0:
		return textContent, "the bucket is empty"
	case indexBlank(row.Bucket) >= 0 || !utf8.Valid(row.Bucket):
		return textContent, "the bucket " + quote(row.Bucket) + " is none"
	case !utf8.Valid(row.Key):
		return textKey, fmt.Sprintf("%s is not UTF-8: byte 0x%02X", quote(row.Key), row.Key[invalidUTF8(row.Key)])
	case indexBlank(row.VersionID) >= 0 || !utf8.Valid(row.VersionID):
		return textVersion, quote(row.VersionID) + " has a control character"
	}
	if problem := checkKey(row.Key); problem != "" {
		return textKey, problem
	}
	return textVersion, checkVersion(row.VersionID)
}

// Err returns what ended the reading: nil at the end, an [*Error] if the content is bad, and otherwise
// the error of the cells, wrapped.
func (t *Table) Err() error { return t.err }

// Position returns where the rows after the last one returned start.
func (t *Table) Position() Position { return t.next }
