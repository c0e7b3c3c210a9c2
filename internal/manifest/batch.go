package manifest

// maxBatch is the number of bytes at which a batch is full whatever its number of rows, which
// bounds the memory of a batch to little more than this.
const maxBatch = 1 << 20

// Batch is a run of consecutive rows that lives on its own, for handing many rows at once to
// workers. The zero Batch is empty and ready for [CSV.Fill]; filling it again reuses its memory.
// Between two fillings any number of goroutines may read it.
type Batch struct {
	rows  []Row
	ends  []Position
	arena []byte // the bytes of rows
}

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.rows) }

// Row returns row i, counted from 0. Its slices are valid until the batch is filled again.
func (b *Batch) Row(i int) Row { return b.rows[i] }

// End returns the position just after row i: where the rows after it start.
func (b *Batch) End(i int) Position { return b.ends[i] }

// Fill replaces what b holds with the next rows, at most limit (which must be positive) and fewer
// if they are long, and returns their number. It returns 0 at the end and at an error; see
// [CSV.Err]. Rows before a bad one are returned first. Without b it only checks and counts them, which is
// faster: keys are decoded only where that is how to find out whether they are sound.
func (c *CSV) Fill(b *Batch, limit int) int {
	if b == nil {
		return c.count(limit)
	}
	b.rows, b.ends, b.arena = b.rows[:0], b.ends[:0], b.arena[:0]
	for len(b.rows) < limit && len(b.arena) < maxBatch {
		line, ok := c.readLine()
		if !ok {
			break
		}
		if c.first && c.header(line) {
			continue // unless it ended the reading
		}
		// The line must outlive the window. If the arena moves when it grows, earlier rows keep
		// the old one.
		from := len(b.arena)
		b.arena = append(b.arena, line...)
		var row Row
		if b.arena, ok = c.split(b.arena[from:], b.arena, &row, true); !ok {
			break
		}
		b.rows = append(b.rows, row)
		b.ends = append(b.ends, c.next)
	}
	return len(b.rows)
}

// count reads the next rows, at most limit, only to check them, and returns their number.
func (c *CSV) count(limit int) (n int) {
	var row Row
	for n < limit && c.read(&row, false) {
		n++
	}
	return n
}
