package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	"stevedore/internal/manifest"
)

// Rows are the rows of an opened file. They are not safe for concurrent use.
type Rows struct {
	ctx    context.Context //nolint:containedctx // of the reading, as objectstore's Open has it
	rows   manifest.Rows
	cancel context.CancelFunc // of requests, so that Close has not to wait for them
	closer io.Closer
	file   File
	from   manifest.Position
	etag   string
	read   int64 // rows returned
	total  int64 // rows of the file; -1 if not known

	text io.Reader // of a compressed file that is read to its end; nil once damage was looked for
	err  error     // what was found
}

var _ manifest.Rows = (*Rows)(nil)

// Next reads the next row into row. It returns false at the end and at the first error.
func (r *Rows) Next(row *manifest.Row) bool {
	if !r.rows.Next(row) {
		return false
	}
	r.read++
	return true
}

// Fill replaces what b holds with the next rows, at most limit, and returns their number.
func (r *Rows) Fill(b *manifest.Batch, limit int) int {
	n := r.rows.Fill(b, limit)
	r.read += int64(n)
	return n
}

// Err returns what ended the reading: nil at the end, and otherwise an error of [Failure].
func (r *Rows) Err() error {
	err := r.rows.Err()
	if _, bad := errors.AsType[*manifest.Error](err); bad {
		if damage := r.damage(); damage != nil {
			err = damage
		}
	}
	switch {
	case err == nil:
		return nil
	case r.file.inventory:
		err = in(r.file, err)
	}
	return Failure(r.ctx, err)
}

// damage returns the error of a file that is not what was compressed once, nil if it seems sound. A row of it that is
// bad may be so just because of that, which only the sum behind its last byte tells.
func (r *Rows) damage() error {
	const most = 1 << 30 // bytes of text, so that an early mistake in a huge file is told soon
	if r.text == nil {
		return r.err
	}
	_, err := io.CopyN(io.Discard, r.text, most)
	r.text = nil
	if bad, ok := errors.AsType[*manifest.Error](err); ok {
		r.err = bad
	}
	return r.err
}

// Position returns where the rows after the last one returned start.
func (r *Rows) Position() manifest.Position { return r.rows.Position() }

// Lines returns the number of lines that a [Source.Piece] has passed, empty ones included; 0 for what is no text.
func (r *Rows) Lines() int64 {
	if text, ok := r.rows.(*manifest.CSV); ok {
		return text.Lines()
	}
	return 0
}

// ETag returns the ETag of the file, which pins it for later calls of [Source.Open].
func (r *Rows) ETag() string { return r.etag }

// Notes says what leniency has put up with in the rows read.
func (r *Rows) Notes() manifest.Notes {
	if text, ok := r.rows.(*manifest.CSV); ok {
		return text.Notes()
	}
	return manifest.Notes{}
}

// Estimate returns about how many rows the whole file has, as far as the rows read tell; 0 if there
// were none.
func (r *Rows) Estimate() int64 {
	if r.total >= 0 {
		return r.total
	}
	bytes := r.Position().Offset - r.from.Offset
	if bytes <= 0 {
		return 0
	}
	size := float64(r.file.Size)
	if r.file.Kind != Text {
		size *= expansion
	}
	return int64(size / float64(bytes) * float64(r.read))
}

// Close ends the reading.
func (r *Rows) Close() error {
	r.cancel()
	if err := r.closer.Close(); err != nil {
		return fmt.Errorf("close manifest: %w", err)
	}
	return nil
}
