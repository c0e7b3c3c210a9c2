package place

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what inventories are checked with
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"time"

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

// NewWriter returns a writer of a list to p, which for an inventory is the folder that is to hold it. Of columns, CSV has no
// sizes. ctx bounds the writing.
func (s Streams) NewWriter(ctx context.Context, p Place, format Format, columns manifest.Columns) (*Writer, error) {
	w := &Writer{format: format, columns: columns}
	if format == Inventory {
		w.inv = &inventoryWriter{ctx: ctx, to: s, folder: p, columns: columns, token: rand.Text()}
		if p.Stored() {
			return w, nil
		}
		if p.Stream() {
			return nil, fmt.Errorf("an inventory is several files: it cannot be written to %s", p)
		}
		return w, os.MkdirAll(p.In("data").File, 0o755)
	}
	contentType := map[Format]string{CSV: "text/csv", Gzip: "application/gzip", Parquet: "application/vnd.apache.parquet"}[format]
	var err error
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
		w.rec, err = parquet.NewWriter(w.file, names)
	default: // the lines are written as they are
	}
	return w, err
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
		return w.inv.close()
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

// Abort gives up a list that was not closed. Data files of an inventory that were finished stay.
func (w *Writer) Abort() {
	if w.inv != nil {
		w.inv.abort()
	} else if w.file != nil {
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

// inventoryWriter writes data files and at last the manifest.json that names them.
type inventoryWriter struct {
	ctx     context.Context //nolint:containedctx // of the writing
	to      Streams
	folder  Place
	columns manifest.Columns
	token   string // in the names of files

	file   File
	data   *manifest.DataWriter // nil: no file is begun
	name   string
	done   []manifest.DataFile
	size   int64  // of them
	bucket string // of the first row
}

func (v *inventoryWriter) write(row *manifest.Row) (err error) {
	if v.data == nil {
		v.name = fmt.Sprintf("data/%s-%d.csv.gz", v.token, len(v.done)+1)
		if v.file, err = v.to.Create(v.ctx, v.folder.In(v.name), "application/gzip"); err != nil {
			return err
		}
		v.data = manifest.NewDataWriter(v.file, v.columns)
	}
	if v.bucket == "" {
		v.bucket = string(row.Bucket)
	}
	if err := v.data.Write(row); err != nil {
		return err
	}
	if v.data.Rows() < fileRows {
		return nil
	}
	return v.end()
}

// end ends a data file.
func (v *inventoryWriter) end() error {
	f, err := v.data.Close()
	if err != nil {
		return err
	}
	v.data = nil
	if _, err := v.file.Close(); err != nil {
		return err
	}
	f.Key = v.name
	if v.folder.Stored() {
		f.Key = v.folder.In(v.name).Object.Key
	}
	v.done = append(v.done, f)
	v.size += f.Size
	return nil
}

func (v *inventoryWriter) close() (Written, error) {
	if v.data != nil {
		if err := v.end(); err != nil {
			v.abort()
			return Written{}, err
		}
	}
	// Who uploads a folder says where to: until then the files are beside their manifest.json, wherever that is.
	bucket := v.bucket
	if v.folder.Stored() {
		bucket = v.folder.Object.Bucket
	}
	inv := manifest.NewInventory(v.bucket, bucket, time.Now(), v.columns)
	inv.Files = v.done
	text, err := inv.Encode()
	if err != nil {
		return Written{}, err
	}
	digest := md5.Sum(text) //nolint:gosec // not for safety
	sum, err := v.put("manifest.checksum", []byte(hex.EncodeToString(digest[:])), "text/plain")
	if err != nil {
		return Written{}, err
	}
	written, err := v.put(Manifest, text, "application/json") // last, as it makes the others an inventory
	written.Size += sum.Size + v.size
	return written, err
}

// put writes a small file as a whole.
func (v *inventoryWriter) put(name string, text []byte, contentType string) (Written, error) {
	f, err := v.to.Create(v.ctx, v.folder.In(name), contentType)
	if err != nil {
		return Written{}, err
	}
	if _, err := f.Write(text); err != nil {
		f.Abort()
		return Written{}, err
	}
	return f.Close()
}

func (v *inventoryWriter) abort() {
	if v.data != nil {
		v.file.Abort()
		v.data = nil
	}
}
