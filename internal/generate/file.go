package generate

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"
	"unicode/utf8"

	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

const (
	// A file ends at fileRows, or at fileBytes of compressed data, which bounds the memory of a worker, or when it is fileAge
	// old, which bounds what a crash has listed again.
	fileRows  = 1_000_000
	fileBytes = 8 << 20
	fileAge   = time.Minute

	maxKey = 1024 // bytes, the limit of S3 and of every reader of manifests
)

// A draft is the data file that a worker is writing. It is kept in memory until it is put in the depot as a whole.
type draft struct {
	run   *run
	row   manifest.Row
	buf   bytes.Buffer
	data  *manifest.DataWriter // nil: no file is begun
	first []byte               // key of the first row
	bytes int64                // of the objects
	begun time.Time            // when the file was begun, or the one before it saved
}

func newDraft(r *run) *draft {
	return &draft{run: r, row: manifest.Row{Bucket: []byte(r.bucket)}, begun: time.Now()}
}

// add writes a row for each entry.
func (d *draft) add(entries []*objectstore.ListEntry) error {
	if len(entries) == 0 {
		return nil
	}
	if d.data == nil {
		d.buf.Reset()
		d.data = manifest.NewDataWriter(&d.buf, d.run.columns())
		d.first, d.bytes = clone(entries[0].Key), 0
	}
	for _, e := range entries {
		if len(e.Key) > maxKey || !utf8.Valid(e.Key) {
			return failed(CodeFailed, fmt.Sprintf("The bucket %s has an object that no manifest can name, since its key is not UTF-8 or longer than %d bytes: %.100q",
				d.run.bucket, maxKey, e.Key), nil)
		}
		d.row.Key, d.row.VersionID, d.row.Size = e.Key, d.run.versionOf(e), e.Size
		if err := d.data.Write(&d.row); err != nil {
			return fmt.Errorf("generate manifest: %w", err)
		}
		d.bytes += e.Size
	}
	return nil
}

// due reports whether it is time to save.
func (d *draft) due(now time.Time) bool { return d.full() || now.Sub(d.begun) >= fileAge }

// full reports whether the file has to end.
func (d *draft) full() bool {
	return d.data != nil && (d.data.Rows() >= d.run.most || d.buf.Len() >= fileBytes)
}

// put writes the file to the depot; there is none if no row was added. It is no part of the manifest before it is saved.
func (d *draft) put(ctx context.Context) (files []File, objectBytes int64, err error) {
	d.begun = time.Now()
	if d.data == nil {
		return nil, 0, nil
	}
	rows := d.data.Rows()
	data, err := d.data.Close()
	if err != nil {
		return nil, 0, fmt.Errorf("generate manifest: %w", err)
	}
	d.data = nil
	f := File{Name: d.run.newName(), Pass: d.run.pass, Size: data.Size, MD5: data.MD5, Rows: rows, First: d.first}
	if _, err := d.run.put(ctx, f.Name, d.buf.Bytes(), "application/gzip"); err != nil {
		return nil, 0, err
	}
	return []File{f}, d.bytes, nil
}

// newName returns a name that no other file of this run has, nor of any other: whoever was taken for dead may still be writing.
func (r *run) newName() string {
	return fmt.Sprintf("%s%s-%d.csv.gz", dataFolder, r.token, r.files.Add(1))
}

// newToken returns a random UUID.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
