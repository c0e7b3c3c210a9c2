package plan

import (
	"context"
	"sync"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/source"
)

// cutsAhead is how many cuts of a piece wait to be taken before its worker waits
// too; few pieces have more.
const cutsAhead = 1024

// piece is a part of the manifest that one worker reads: a file, the rest of one
// behind a checkpoint, or some bytes of one.
type piece struct {
	file int
	pin  string            // ETag of file, if it was opened before the checkpoint
	from manifest.Position // in file
	cut  bool              // it ends at end, and its lines are counted from 1
	end  int64
	last bool // of its file

	// A worker finds out how many rows a chunk is to have and tells the one of the
	// next piece; 0 means that it did not.
	known, tell chan int64

	cuts chan cut // closed at the end of the piece
	// Written by the worker before the first cut.
	etag   string // of file
	bucket string // of the first row
	// Written by the worker before it closes cuts.
	lines int64 // of the piece
	notes manifest.Notes
	err   error // what ended it
}

// cut is where a chunk ends.
type cut struct {
	rows  int64 // in the chunk
	end   manifest.Position
	size  int64           // rows that a chunk is to have
	notes *manifest.Notes // of the piece up to end; nil if there are none
}

// pieces yields the pieces of src behind a checkpoint, in order.
func pieces(src *source.Source, at job.Checkpoint, size int64, yield func(*piece) bool) {
	known := make(chan int64, 1)
	known <- at.ChunkRows
	send := func(p *piece) bool {
		p.known, p.tell = known, make(chan int64, 1)
		p.cuts = make(chan cut, cutsAhead)
		known = p.tell
		return yield(p)
	}
	for i := at.File; i < len(src.Files); i++ {
		var p piece
		if i == at.File {
			p.pin, p.from = at.FileETag, manifest.Position{Offset: at.Offset, Line: at.Line}
		}
		f := src.Files[i]
		if text := src.Splittable(i) && f.Object.ETag != ""; text && p.from.Offset+size < f.Size {
			for from := p.from.Offset; from < f.Size; from += size {
				end := min(from+size, f.Size)
				if !send(&piece{file: i, from: manifest.Position{Offset: from}, cut: true, end: end, last: end == f.Size}) {
					return
				}
			}
			continue
		}
		p.file, p.last = i, true
		if !send(&p) {
			return
		}
	}
}

// reading is workers on their way through a manifest.
type reading struct {
	order <-chan *piece // all pieces, in order; some are not read yet
	group sync.WaitGroup
}

// wait returns once no goroutine of r is left, after its context has ended.
func (r *reading) wait() { r.group.Wait() }

// startReading reads the pieces of src behind a checkpoint until ctx ends.
func startReading(ctx context.Context, src *source.Source, at job.Checkpoint, workers int, size int64) *reading {
	order := make(chan *piece, workers) // how far they are ahead
	next := make(chan *piece)
	r := &reading{order: order}
	r.group.Go(func() {
		defer close(order)
		defer close(next)
		pieces(src, at, size, func(p *piece) bool {
			for _, to := range []chan<- *piece{order, next} {
				select {
				case to <- p:
				case <-ctx.Done():
					p.err = context.Cause(ctx)
					close(p.cuts)
					return false
				}
			}
			return true
		})
	})
	for range workers {
		r.group.Go(func() {
			for p := range next {
				p.err = p.read(ctx, src)
				close(p.cuts)
			}
		})
	}
	return r
}

// read finds the cuts of the piece.
func (p *piece) read(ctx context.Context, src *source.Source) (err error) {
	var size int64 // of a chunk, in rows
	select {
	case size = <-p.known:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	tell := sync.OnceFunc(func() { p.tell <- size })
	defer tell()
	if size > 0 {
		tell()
	}

	rows, err := p.open(ctx, src)
	if err != nil {
		return err
	}
	defer rows.Close()
	p.etag = rows.ETag()
	var count int64 // rows behind the last cut
	if row := (manifest.Row{}); rows.Next(&row) {
		p.bucket, count = string(row.Bucket), 1
	}
	for limit := max(size, minChunk); ; {
		n := rows.Fill(nil, int(limit-count))
		if n == 0 {
			break
		}
		if count += int64(n); count < limit {
			continue
		}
		if size == 0 {
			// The first rows tell how long a row is, and so how many there will be.
			size = chunkRows(src, p.file, rows)
			tell() // the worker of the next piece waits for it
			if limit = size; count < limit {
				continue
			}
		}
		if err := p.send(ctx, cut{count, rows.Position(), size, notesOf(rows)}); err != nil {
			return err
		}
		count = 0
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if count > 0 {
		if size == 0 {
			size = chunkRows(src, p.file, rows)
		}
		if err := p.send(ctx, cut{count, rows.Position(), size, notesOf(rows)}); err != nil {
			return err
		}
	}
	p.lines, p.notes = rows.Lines(), rows.Notes()
	return nil
}

func (p *piece) open(ctx context.Context, src *source.Source) (*source.Rows, error) {
	if p.cut {
		return src.Piece(ctx, p.file, p.from.Offset, p.end)
	}
	return src.Open(ctx, p.file, p.pin, p.from, manifest.Position{})
}

func notesOf(rows *source.Rows) *manifest.Notes {
	if n := rows.Notes(); n != (manifest.Notes{}) {
		return &n
	}
	return nil
}

// send hands a cut over, if p is still wanted.
func (p *piece) send(ctx context.Context, c cut) error {
	select {
	case p.cuts <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// chunkRows is how many rows a chunk is to have, judged by the first rows of a file.
func chunkRows(src *source.Source, file int, rows *source.Rows) int64 {
	var all int64 // bytes of all files
	for _, f := range src.Files {
		all += max(f.Size, 0)
	}
	count := rows.Estimate()
	if one := src.Files[file].Size; one > 0 {
		count = int64(float64(count) * float64(all) / float64(one))
	}
	return min(max(count/wantChunks, minChunk), maxChunk)
}
