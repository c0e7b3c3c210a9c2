package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/klauspost/compress/zstd"

	"stevedore/internal/manifest"
	"stevedore/internal/manifest/gunzip"
	"stevedore/internal/objectstore"
)

const (
	// pointEvery is how many bytes of text lie between two points where a gzip file can be entered.
	pointEvery = 4 << 20
	// maxWindow bounds the memory of a zstd stream, in bytes. More than 8 MiB take special options to write.
	maxWindow = 64 << 20
	// expansion is about how much more text than stored bytes a compressed list has.
	expansion = 5
)

// Splittable reports whether [Source.Piece] can read the file in pieces.
func (s *Source) Splittable(file int) bool { return s.Files[file].Kind == Text }

// Open reads the rows of a file from one position on, up to but not including those that start at end or
// behind it; a zero end means that of the file. Both must be positions where a row starts. pin is
// the ETag that the file had when it was opened first; empty the first time.
//
// A file that is read to its end is compared with the MD5 that the inventory gives, and for that read from its
// first byte, wherever its rows are asked for: whoever began with it may have died before its end. If the MD5
// differs, [Rows.Err] says so behind the last row. Only of a columnar file that is entered in the middle, pin
// tells that it was compared before. Errors are those of [Failure]. ctx bounds the reading too.
func (s *Source) Open(ctx context.Context, file int, pin string, from, end manifest.Position) (*Rows, error) {
	f := s.Files[file]
	if pin != "" {
		f.Object.ETag = pin
	}
	r := &Rows{ctx: ctx, file: f, from: from, etag: f.Object.ETag, total: -1, cancel: func() {}, closer: io.NopCloser(nil)}
	if end.Offset <= 0 {
		end.Offset = math.MaxInt64
	}
	var err error
	switch {
	case from.Offset >= end.Offset, f.Kind == Text && from.Offset >= f.Size:
		r.rows = manifest.NewCSV(strings.NewReader(""), s.Layout, from) // there is nothing to ask for
	case f.Kind == Parquet, f.Kind == ORC:
		err = s.openTable(ctx, r, end.Offset)
	default:
		err = s.openText(ctx, r, end.Offset)
	}
	if err != nil {
		_ = r.Close()
		return nil, Failure(ctx, err)
	}
	return r, nil
}

// Piece reads the rows of a splittable file that start in the bytes from (included) to end (not included),
// which may be any: a row that starts before from belongs to the piece before. Lines are counted
// from 1 at the first row start of the piece, empty lines included; see [manifest.Error.Move] for errors.
func (s *Source) Piece(ctx context.Context, file int, from, end int64) (*Rows, error) {
	f := s.Files[file]
	r := &Rows{ctx: ctx, file: f, from: manifest.Position{Offset: from}, etag: f.Object.ETag, total: -1, cancel: func() {}}
	before := max(0, from-1) // if that is a line end, a row starts at from
	body := &stream{ctx: ctx, objects: s.objects, file: f, at: before, length: end - before + 4<<10}
	r.closer = body
	if err := body.open(); err != nil {
		return nil, Failure(ctx, err)
	}
	r.etag = body.file.Object.ETag
	r.rows = manifest.NewPiece(body, s.Layout, before, from > 0, end)
	return r, nil
}

// openText opens a file of lines, compressed or not.
func (s *Source) openText(ctx context.Context, r *Rows, end int64) error {
	ctx, r.cancel = context.WithCancel(ctx)
	body := &stream{ctx: ctx, objects: s.objects, file: r.file, length: math.MaxInt64}
	r.closer = body
	from := r.from.Offset
	var point gunzip.Point
	switch {
	case r.file.Kind == Text:
		body.at, body.length = from, end-from
	case r.file.Kind == Gzip && from > 0 && r.etag != "" && (end != math.MaxInt64 || r.file.MD5 == ""):
		point, _ = s.index.Nearest(indexKey(r.file.Object), from)
		body.at = point.In
	}
	if r.file.Kind != Text && end != math.MaxInt64 {
		body.length = (end-point.Out)/expansion + 64<<10
	}
	if body.at == 0 && end == math.MaxInt64 {
		body.check = r.file.MD5
	}
	if err := body.open(); err != nil {
		return err
	}
	r.file.Object.ETag = body.file.Object.ETag
	r.etag = r.file.Object.ETag

	text := io.Reader(body)
	if r.file.Kind == Gzip {
		text = s.inflate(r, body, point, end)
	}
	if r.file.Kind == Zstd {
		packed := &watch{r: body}
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("read %s: %w", r.file.Object.Key, err)
		}
		r.closer = closers{z.IOReadCloser(), body}
		text = &unpacked{r: z, src: packed, file: r.file, skip: from}
	}
	if r.file.Kind != Text && end == math.MaxInt64 {
		r.text = text
	}
	rows := manifest.NewCSV(text, s.Layout, r.from)
	rows.Until(end)
	r.rows = rows
	return nil
}

// inflate decompresses a gzip file from a point of it on.
func (s *Source) inflate(r *Rows, body *stream, point gunzip.Point, end int64) io.Reader {
	packed := &watch{r: body}
	whole := end == math.MaxInt64
	if whole {
		// Somebody is planning: fetching, decompressing and looking at rows go on side by side.
		a := readAhead(body)
		r.closer = closers{a, body}
		packed.r = a
	}
	z := gunzip.Resume(packed, point)
	if r.etag != "" {
		key := indexKey(r.file.Object)
		z.Mark(pointEvery, func(p gunzip.Point) { s.index.Add(key, p) })
	}
	text := &unpacked{r: z, src: packed, file: r.file, skip: r.from.Offset - point.Out}
	if !whole {
		return text
	}
	a := readAhead(text)
	r.closer = closers{a, r.closer}
	return a
}

// indexKey is what a file goes by in the index.
func indexKey(o objectstore.Object) string {
	return o.Bucket + "/" + o.Key + "\x00" + o.VersionID + "\x00" + o.ETag
}

// openTable opens a columnar file.
func (s *Source) openTable(ctx context.Context, r *Rows, end int64) error {
	if r.from.Offset == 0 && end == math.MaxInt64 && r.file.MD5 != "" {
		// Its columns are read here and there, so what is to be summed up is read beforehand.
		etag, err := s.verify(ctx, r.file)
		if err != nil {
			return err
		}
		r.file.Object.ETag = etag
	}
	t, err := s.table(ctx, r.file)
	if err != nil {
		return err
	}
	if t.layout.HasVersionID() != s.Layout.HasVersionID() {
		return manifest.Corrupt(r.file.Object.Key, "the columns are not those of the other files")
	}
	r.etag, r.total = t.r.etag, t.file.Rows()
	c := t.file.Read(t.layout.Cells(), r.from.Offset)
	r.closer = c
	r.rows = manifest.NewTable(&blamed{c, t.r}, t.layout, r.from, end)
	return nil
}

// blamed says whose fault an error of the cells is.
type blamed struct {
	cells
	r *ranges
}

func (b *blamed) Err() error {
	if err := b.cells.Err(); err != nil {
		return b.r.blame(err)
	}
	return nil
}

// verify reads a file from one end to the other and returns its ETag.
func (s *Source) verify(ctx context.Context, f File) (string, error) {
	body := &stream{ctx: ctx, objects: s.objects, file: f, length: math.MaxInt64, check: f.MD5}
	defer body.Close()
	if err := body.open(); err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return "", err
	}
	return body.file.Object.ETag, nil
}

// in returns err with the file that it is about, if it is about the content.
func in(f File, err error) error {
	if bad, ok := errors.AsType[*manifest.Error](err); ok {
		return bad.In(f.Object.Key)
	}
	return err
}

// closers are closed one after the other.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
