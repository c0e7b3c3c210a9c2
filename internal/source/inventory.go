package source

import (
	"context"
	"fmt"
	"io"

	"stevedore/internal/manifest"
	"stevedore/internal/manifest/orc"
	"stevedore/internal/manifest/parquet"
	"stevedore/internal/objectstore"
)

// inventory reads the manifest.json of an inventory and notes its files.
func (s *Source) inventory(ctx context.Context, lenient bool) error {
	body, _, err := s.objects.Open(ctx, s.Object, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	inv, err := manifest.ReadInventory(body)
	if err != nil {
		return err
	}
	kind := map[string]Kind{manifest.FormatCSV: Gzip, manifest.FormatParquet: Parquet, manifest.FormatORC: ORC}[inv.Format()]
	bucket := inv.Destination()
	s.Files = make([]File, len(inv.Files))
	for i, f := range inv.Files {
		s.Files[i] = File{Object: objectstore.Object{Bucket: bucket, Key: f.Key}, Size: f.Size, MD5: f.MD5, Kind: kind, inventory: true}
	}
	if kind == Gzip {
		s.Layout, err = manifest.NewSchemaLayout(inv.Columns())
		s.Layout.Lenient = lenient
		return err
	}
	if len(s.Files) == 0 {
		return nil
	}
	// Columnar files name their columns themselves, all of them the same.
	table, err := s.table(ctx, s.Files[0])
	if err != nil {
		return err
	}
	s.Layout = table.layout
	return nil
}

// table is an opened columnar file.
type table struct {
	file   columnar
	layout manifest.Layout
	r      *ranges
}

// columnar is what a reader of a columnar format knows of a file.
type columnar interface {
	Rows() int64
	Columns() []string
	Read(columns []int, from int64) cells
}

// cells reads the rows of a columnar file.
type cells interface {
	manifest.Cells
	io.Closer
}

type parquetFile struct{ *parquet.File }

func (f parquetFile) Read(columns []int, from int64) cells { return f.File.Read(columns, from) }

type orcFile struct{ *orc.File }

func (f orcFile) Read(columns []int, from int64) cells { return f.File.Read(columns, from) }

// table opens a columnar file.
func (s *Source) table(ctx context.Context, f File) (*table, error) {
	r := &ranges{ctx: ctx, objects: s.objects, file: f}
	var (
		file columnar
		err  error
	)
	switch f.Kind {
	case Parquet:
		var p *parquet.File
		p, err = parquet.Open(r, f.Size)
		file = parquetFile{p}
	default:
		var o *orc.File
		o, err = orc.Open(r, f.Size)
		file = orcFile{o}
	}
	if err != nil {
		return nil, r.blame(err)
	}
	layout, err := manifest.NewSchemaLayout(file.Columns())
	if err != nil {
		return nil, in(f, err)
	}
	return &table{file: file, layout: layout, r: r}, nil
}

// ranges reads a file here and there, by one request each time.
type ranges struct {
	ctx     context.Context //nolint:containedctx // of the reading
	objects Objects
	file    File
	etag    string // of the first answer, which pins the others
	err     error  // of the store
}

// ReadAt implements io.ReaderAt.
func (r *ranges) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= r.file.Size || len(p) == 0 {
		return 0, io.EOF
	}
	o := r.file.Object
	if r.etag != "" {
		o.ETag = r.etag
	}
	body, info, err := r.objects.Open(r.ctx, o, offset, min(int64(len(p)), r.file.Size-offset))
	if err != nil {
		r.err = err
		return 0, err
	}
	defer body.Close()
	if err := r.file.check(info); err != nil {
		r.err = err
		return 0, err
	}
	r.etag = info.ETag
	n, err := io.ReadFull(body, p[:min(int64(len(p)), r.file.Size-offset)])
	switch {
	case err != nil:
		r.err = fmt.Errorf("read %s: %w", r.file.Object.Key, err)
		return n, r.err
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

// blame returns what the store said, if it has, and otherwise that the content of the file is bad because of err.
func (r *ranges) blame(err error) error {
	if r.err != nil {
		return r.err
	}
	return manifest.Corrupt(r.file.Object.Key, err.Error())
}
