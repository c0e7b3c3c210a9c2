package place

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/klauspost/compress/gzip"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/parquet"
)

// Format is how a list is written.
type Format string

// The formats of lists.
const (
	CSV       Format = "csv"
	Gzip      Format = "csv.gz" // for people and tools: a job reads it leniently only
	Inventory Format = "inventory"
	Parquet   Format = "parquet" // one file; a job reads it as part of an inventory only
)

// Formats returns all of them.
func Formats() []Format { return []Format{CSV, Gzip, Inventory, Parquet} }

// fileRows is how many rows a data file of an inventory has at most.
const fileRows = 1_000_000

// Writer writes a list. It is not safe for concurrent use.
type Writer struct {
	format  Format
	columns manifest.Columns
	rows    int64

	line []byte
	file File            // of CSV, Gzip and Parquet
	zip  *gzip.Writer    // of Gzip
	rec  *parquet.Writer // of Parquet
	inv  *inventoryWriter
}

// NewWriter returns a writer of a list to p, which for an inventory is the folder that is to hold it; a list that is there is
// replaced. Of columns, CSV has no sizes. ctx bounds the writing.
func (s Streams) NewWriter(ctx context.Context, p Place, format Format, columns manifest.Columns) (*Writer, error) {
	w := &Writer{format: format, columns: columns}
	var err error
	if format == Inventory {
		w.inv, err = s.newInventory(ctx, p, columns)
		return w, err
	}
	contentType := map[Format]string{CSV: "text/csv", Gzip: "application/gzip", Parquet: "application/vnd.apache.parquet"}[format]
	if w.file, err = s.Create(ctx, p, contentType); err != nil {
		return nil, err
	}
	switch format {
	case Gzip:
		w.zip = gzip.NewWriter(w.file)
	case Parquet:
		names := []string{"bucket", "key"}
		if columns.VersionID {
			names = append(names, "version_id")
		}
		if columns.Size {
			names = append(names, "size")
		}
		if w.rec, err = parquet.NewWriter(w.file, names); err != nil {
			w.file.Abort()
			return nil, err
		}
	default: // the lines are written as they are
	}
	return w, nil
}

// Rows returns the number of rows written.
func (w *Writer) Rows() int64 { return w.rows }

// Fields returns the columns of a CSV list, nil for any other.
func (w *Writer) Fields() []job.Field {
	if w.format != CSV && w.format != Gzip {
		return nil
	}
	fields := []job.Field{job.FieldBucket, job.FieldKey}
	if w.columns.VersionID {
		fields = append(fields, job.FieldVersionID)
	}
	return fields
}

// Write writes a row. Its RawKey is not looked at.
func (w *Writer) Write(row *manifest.Row) error {
	w.rows++
	switch w.format {
	case Inventory:
		return w.inv.write(row)
	case Parquet:
		cells := [][]byte{row.Bucket, row.Key}
		if w.columns.VersionID {
			cells = append(cells, row.VersionID)
		}
		if w.columns.Size {
			var size []byte
			if row.Size >= 0 {
				size = strconv.AppendInt(nil, row.Size, 10)
			}
			cells = append(cells, size)
		}
		return w.rec.Write(cells)
	default:
		return w.writeLine(row)
	}
}

// writeLine writes a row of CSV.
func (w *Writer) writeLine(row *manifest.Row) error {
	w.line = AppendRow(w.line, row, w.columns.VersionID)
	const enough = 64 << 10
	if len(w.line) < enough {
		return nil
	}
	return w.flush()
}

// flush writes the lines there are.
func (w *Writer) flush() (err error) {
	if w.zip != nil {
		_, err = w.zip.Write(w.line)
	} else {
		_, err = w.file.Write(w.line)
	}
	w.line = w.line[:0]
	return err
}

// Close ends the list. It tells of the one file, or of the manifest.json; the size is that of all files.
func (w *Writer) Close() (Written, error) {
	var err error
	switch w.format {
	case Inventory:
		written, err := w.inv.close()
		if err != nil {
			w.inv.abort()
		}
		return written, err
	case Parquet:
		err = w.rec.Close()
	default:
		if err = w.flush(); err == nil && w.zip != nil {
			err = w.zip.Close()
		}
	}
	if err != nil {
		w.file.Abort()
		return Written{}, err
	}
	return w.file.Close()
}

// Abort gives up a list that was not closed, and removes what was written of it.
func (w *Writer) Abort() {
	if w.inv != nil {
		w.inv.abort()
	} else {
		w.file.Abort()
	}
}

// AppendRow appends row as a line of a CSV manifest: the key encoded anew from row.Key, cells quoted only if they
// must be. Wherever it comes to stand, no job takes it for a header: a key such as "key" in a bucket such as "bucket"
// has its first letter encoded.
func AppendRow(line []byte, row *manifest.Row, versionID bool) []byte {
	line = append(appendCell(line, row.Bucket), ',')
	if isHeader(row) {
		line = fmt.Appendf(line, "%%%02X", row.Key[0])
		line = manifest.AppendKey(line, row.Key[1:])
	} else {
		line = manifest.AppendKey(line, row.Key)
	}
	if versionID {
		line = appendCell(append(line, ','), row.VersionID)
	}
	return append(line, '\n')
}

// isHeader reports whether row, as its first, would be taken for the header of a manifest.
func isHeader(row *manifest.Row) bool {
	// Names of columns have no such characters, nearly all keys have.
	return !bytes.ContainsAny(row.Key, "./0123456789") &&
		manifest.FieldNamed(row.Key) != "" && manifest.FieldNamed(row.Bucket) != ""
}

func appendCell(line, cell []byte) []byte {
	if !bytes.ContainsAny(cell, `",`) {
		return append(line, cell...)
	}
	return append(append(append(line, '"'), bytes.ReplaceAll(cell, []byte(`"`), []byte(`""`))...), '"')
}
