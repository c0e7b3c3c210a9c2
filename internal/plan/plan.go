// Package plan turns a manifest into work: it reads the manifest once from one
// end to the other, checks every row, counts them and cuts them into chunks.
//
//	            ┌─▶ piece ─▶ worker ─▶ cuts ─┐
//	manifest ───┼─▶ piece ─▶ worker ─▶ cuts ─┼─▶ in order: chunks + checkpoint ─▶ job store
//	            └─▶ piece ─▶ worker ─▶ cuts ─┘                              └───▶ the plan
//
// A manifest is an ordered list of pieces: its files, and of a large file of plain
// text some bytes at a time. Workers read pieces ahead, as many as there are
// cores, and one goroutine takes what they found in the order of the rows, numbers
// it and has it stored. So the first error is the one that comes first in the
// manifest, and a row costs no memory.
//
// Chunks and the checkpoint they lead up to are stored together, so that whoever
// takes over goes on where the last chunk ends.
package plan

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/source"
)

// Save stores chunks and the checkpoint after them in one transaction.
type Save func(ctx context.Context, chunks []job.Chunk, cp job.Checkpoint) error

// Request says what to plan. Zero values mean the defaults.
type Request struct {
	Source source.Spec
	Most   int64 // rows it may have at most, see MaxTasks; default: any number

	Workers int   // pieces read at once, default GOMAXPROCS
	Piece   int64 // bytes of a piece of a file of plain text, default 64 MiB
}

// MaxTasks is how many rows a manifest may have for op (states.md section 10).
func MaxTasks(op job.Operation) int64 {
	if op.S3InitiateRestoreObject != nil {
		return 4_000_000_000
	}
	return 20_000_000_000
}

const (
	// minChunk and maxChunk bound the rows of a chunk; between them a manifest
	// becomes about wantChunks of them (engine.md section 5). The last chunk of a
	// piece may have less.
	minChunk   = 1_000
	maxChunk   = 100_000
	wantChunks = 1_000
	// saveChunks and saveEvery bound the chunks of one transaction and the
	// planning that a crash repeats.
	saveChunks = 50
	saveEvery  = 2 * time.Second

	defaultPiece = 64 << 20
)

// ErrNoRows is why a manifest without rows is refused.
var ErrNoRows = errors.New("no rows")

// Make plans a manifest from checkpoint from, the zero value for a fresh start. A
// *job.FailedError fails the job; any other error means that planning may be tried
// again from the last checkpoint saved, be it that the store does not answer for
// now, or that save failed. save is called by one goroutine.
func Make(ctx context.Context, r Request, objects source.Objects, from job.Checkpoint, save Save) (job.Plan, error) {
	if from.ETag != "" {
		r.Source.Object.ETag, r.Source.Object.VersionID, r.Source.Size = from.ETag, from.VersionID, from.Size
		r.Source.Lenient = from.Lenient
	}
	src, err := source.Locate(ctx, objects, r.Source)
	if err != nil {
		return job.Plan{}, err
	}
	from.ETag, from.VersionID, from.Size, from.Lenient = src.Object.ETag, src.Object.VersionID, src.Size, r.Source.Lenient
	if r.Workers <= 0 {
		r.Workers = runtime.GOMAXPROCS(0)
	}
	if r.Piece <= 0 {
		r.Piece = defaultPiece
	}
	p := &planner{source: src, save: save, at: from, most: r.Most, notes: manifest.Notes(from.Notes)}
	if err := p.run(ctx, r.Workers, r.Piece); err != nil {
		return job.Plan{}, err
	}
	notes := src.Notes()
	notes.Add(p.notes)
	if unclear := notes.Unclear(); unclear != "" {
		return job.Plan{}, invalid(unclear)
	}
	return job.Plan{
		Tasks: p.at.Rows, Bytes: p.at.Size, Bucket: p.at.Bucket,
		ETag: p.at.ETag, VersionID: p.at.VersionID, Lenient: p.at.Lenient, Leniency: notes.String(),
	}, nil
}

// planner takes what the workers found in the order of the rows.
type planner struct {
	source *source.Source
	save   Save
	most   int64

	at      job.Checkpoint // after the last row of pending
	lines   int64          // of the present file before the present piece of it
	notes   manifest.Notes // of all pieces before the present one
	pending []job.Chunk    // cut, not saved
	saved   time.Time
}

func (p *planner) run(ctx context.Context, workers int, size int64) error {
	ctx, stop := context.WithCancel(ctx)
	ahead := startReading(ctx, p.source, p.at, workers, size)
	defer ahead.wait()
	defer stop()
	p.saved = time.Now()
	p.lines = max(p.at.Line, 1) - 1
	for piece := range ahead.order {
		if err := p.take(ctx, piece); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.at.Rows == 0:
		return &job.FailedError{Reason: job.Fail(job.CodeInvalidManifest, "Invalid Manifest Content: the manifest has no rows"), Err: ErrNoRows}
	}
	return p.flush(ctx)
}

// take numbers the chunks of a piece and has them saved.
func (p *planner) take(ctx context.Context, piece *piece) error {
	for c := range piece.cuts {
		pin := piece.etag
		if p.source.Files[piece.file].Object.ETag != "" {
			pin = ""
		}
		p.at.FileETag = pin
		if p.at.Rows == 0 {
			p.at.Bucket = piece.bucket
		}
		p.pending = append(p.pending, job.Chunk{
			First: p.at.Rows, Row: p.at.Rows, Rows: c.rows,
			File: piece.file, ETag: pin, Offset: p.at.Offset, Line: p.at.Line, End: c.end.Offset,
		})
		p.at.Chunks++
		p.at.Rows += c.rows
		p.at.ChunkRows = c.size
		p.at.Offset, p.at.Line = c.end.Offset, c.end.Line
		if piece.cut {
			p.at.Line += p.lines
		}
		if c.notes != nil {
			notes := p.notes
			notes.Add(*c.notes)
			p.at.Notes = job.Notes(notes)
		}
		if p.most > 0 && p.at.Rows > p.most {
			return invalid("The S3 Batch Operations job failed because it contains more keys than the maximum allowed in a single job")
		}
		if len(p.pending) >= saveChunks || time.Since(p.saved) >= saveEvery {
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := piece.err; err != nil {
		if bad, ok := errors.AsType[*manifest.Error](err); ok && piece.cut {
			return source.Failure(ctx, bad.Move(p.lines)) // a piece counts its lines from 1
		}
		_ = p.flush(ctx) // if it may be tried again, that goes on from here; err is the one to tell
		return err
	}
	p.notes.Add(piece.notes)
	if p.lines += piece.lines; piece.last {
		p.lines = 0
		p.at.File, p.at.Offset, p.at.Line, p.at.FileETag = piece.file+1, 0, 0, ""
	}
	return nil
}

// flush saves what has gathered.
func (p *planner) flush(ctx context.Context) error {
	if len(p.pending) == 0 {
		return nil
	}
	if err := p.save(ctx, p.pending, p.at); err != nil {
		return fmt.Errorf("save plan at row %d: %w", p.at.Rows, err)
	}
	p.pending, p.saved = p.pending[:0], time.Now()
	return nil
}

func invalid(text string) error {
	return &job.FailedError{Reason: job.Fail(job.CodeInvalidManifest, text)}
}
