// Package manifest reads and writes lists of the objects a job works on, row by row and never as a whole.
//
//	object store ─▶ CSV or Table ─▶ Row            plan: checks and counts every row, cuts chunks at row ends
//	                          └──▶ Batch of rows   run: one row, one task
//
// The formats are S3BatchOperations_CSV_20180820 (no header, UTF-8 without byte order mark, one row
// per line, the columns the job's spec names, keys URL-encoded) and S3 Inventory reports: a manifest.json,
// here an [Inventory], and data files that are such CSV too or columnar, which a [Table] reads. A row never spans
// lines, so a CSV manifest may be cut after any line feed, or with [NewPiece] anywhere, and read in
// pieces; [Position] carries the true offset and line into each piece. Content that breaks a rule ends the
// reading with an [*Error], whose reason is made for the FailureReasons of the job.
package manifest

// Row is one row of a manifest: one object, and later one task.
//
// The slices of a row from [CSV.Next] are valid until the next call of Next or Fill, those of a row
// from a [Batch] until the batch is filled again. They must not be written to.
type Row struct {
	Bucket    []byte // as in the cell; bucket names have nothing to decode
	RawKey    []byte // as in the cell, still URL-encoded: what report rows and Lambda payloads carry
	Key       []byte // decoded, valid UTF-8, 1 to 1024 bytes; shares RawKey's bytes if nothing was encoded
	VersionID []byte // as in the cell, "null" included; empty if the cell or the column is
	Size      int64  // bytes of the object; -1 if the manifest does not tell
}

// Position is a place in a file where a row may start. The zero Position is its beginning.
type Position struct {
	Offset int64 // bytes from the start of the uncompressed text; in a columnar file, rows
	Line   int64 // number of the line, or row, that starts there, counted from 1 (0 means 1)
}

// Rows are the rows of a manifest, or of a piece of it, one after the other. They are not safe for
// concurrent use. [CSV] is one; the columnar formats have theirs.
type Rows interface {
	// Next reads the next row into row. It returns false at the end and at the first error.
	Next(row *Row) bool
	// Fill replaces what b holds with the next rows, at most limit, and returns their number: 0 at
	// the end and at an error. Without b they are only checked and counted.
	Fill(b *Batch, limit int) int
	// Err returns what ended the reading: nil at the end, an *Error if the content is bad, and
	// otherwise the error of the reader below, wrapped.
	Err() error
	// Position returns where the rows after the last one returned start.
	Position() Position
}
