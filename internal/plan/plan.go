// Package plan turns a manifest into work: it reads the manifest once from one
// end to the other, checks every row, counts them and cuts them into chunks.
//
//	manifest object ─▶ rows ─▶ chunks + checkpoint ─▶ job store
//	                     └───▶ the plan: how many tasks, of which pinned object
//
// A row costs no memory. Chunks and the checkpoint they lead up to are stored
// together, so that whoever takes over goes on where the last chunk ends.
package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

// Objects is what planning needs of the store that holds the manifest.
type Objects interface {
	Head(ctx context.Context, o objectstore.Object) (objectstore.Info, error)
	Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error)
}

// Save stores chunks and the checkpoint after them in one transaction.
type Save func(ctx context.Context, chunks []job.Chunk, cp job.Checkpoint) error

func failed(code, text string, err error) error {
	return &job.FailedError{Reason: job.Fail(code, text), Err: err}
}

// maxTasks is how many rows a manifest may have for op (states.md section 10).
func maxTasks(op job.Operation) int64 {
	if op.S3InitiateRestoreObject != nil {
		return 4_000_000_000
	}
	return 20_000_000_000
}

const (
	// minChunk and maxChunk bound the rows of a chunk; between them a manifest
	// becomes about wantChunks of them (engine.md section 5).
	minChunk   = 1_000
	maxChunk   = 100_000
	wantChunks = 1_000
	// saveChunks and saveEvery bound the chunks of one transaction and the
	// planning that a crash repeats.
	saveChunks = 50
	saveEvery  = 2 * time.Second
)

// CSV plans the CSV manifest of j from checkpoint from, the zero value for a
// fresh start. A *job.FailedError fails the job; any other error means that
// planning may be tried again from the last checkpoint saved, be it that the
// store does not answer for now, or that save failed.
func CSV(ctx context.Context, j *job.Job, objects Objects, from job.Checkpoint, save Save) (job.Plan, error) {
	bucket, key, _ := job.ObjectOf(j.Spec.Manifest.Location.ObjectArn)
	object := objectstore.Object{Bucket: bucket, Key: key, VersionID: from.VersionID, ETag: from.ETag}
	p := &planner{save: save, at: from, most: maxTasks(j.Spec.Operation)}
	layout, err := manifest.NewLayout(j.Spec.Manifest.Spec.Fields)
	if err != nil {
		return job.Plan{}, content(err)
	}
	if from.ETag == "" {
		object.VersionID = j.Spec.Manifest.Location.ObjectVersionId
		if err := p.pin(ctx, j.Spec.Manifest.Location, &object, objects); err != nil {
			return job.Plan{}, err
		}
	}
	body := io.NopCloser(strings.NewReader("")) // behind the last byte there is nothing to ask for
	if from.Offset < p.at.Size {
		if body, _, err = objects.Open(ctx, object, from.Offset, -1); err != nil {
			return job.Plan{}, unreadable(ctx, err)
		}
	}
	defer body.Close()
	if err := p.cut(ctx, manifest.NewCSV(body, layout, manifest.Position{Offset: from.Offset, Line: from.Line})); err != nil {
		return job.Plan{}, err
	}
	return job.Plan{
		Tasks: p.at.Rows, Bytes: p.at.Size, Bucket: p.at.Bucket,
		ETag: p.at.ETag, VersionID: p.at.VersionID,
	}, nil
}

type planner struct {
	save    Save
	most    int64          // rows
	at      job.Checkpoint // after the last row of pending
	pending []job.Chunk    // cut, not saved
	saved   time.Time
}

// pin finds the manifest and notes which object exactly all reads are to see.
func (p *planner) pin(ctx context.Context, l *job.ManifestLocation, o *objectstore.Object, objects Objects) error {
	info, err := objects.Head(ctx, *o)
	if err != nil {
		return unreadable(ctx, err)
	}
	if got, want := bare(info.ETag), bare(l.ETag); got != want {
		return failed(job.CodeManifestChanged, fmt.Sprintf(
			"The manifest %s has the ETag %s, the job was created for %s. Create the job again with the manifest's present ETag.", l.ObjectArn, got, want), nil)
	}
	o.ETag = info.ETag
	if o.VersionID == "" && info.VersionID != "null" {
		o.VersionID = info.VersionID
	}
	p.at = job.Checkpoint{ETag: o.ETag, VersionID: o.VersionID, Size: info.Size}
	return nil
}

// bare is an ETag as users and stores give it, without quotes and weakness.
func bare(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}

// cut reads all rows and saves their chunks.
func (p *planner) cut(ctx context.Context, rows *manifest.CSV) error {
	p.saved = time.Now()
	first := p.at.Offset
	base := p.at.Rows
	size := int64(minChunk)
	var row manifest.Row
	chunk := p.begin()
	for rows.Next(&row) {
		if p.at.Rows == 0 {
			p.at.Bucket = string(row.Bucket)
		}
		p.at.Rows++
		chunk.Rows++
		if chunk.Rows < size {
			continue
		}
		if p.at.Rows-base == minChunk {
			// The first rows tell how long a row is, and so how many there will be.
			perRow := max(1, (rows.Offset()-first)/minChunk)
			size = min(max(p.at.Size/perRow/wantChunks, minChunk), maxChunk)
			if size > chunk.Rows {
				continue
			}
		}
		if err := p.end(ctx, chunk, rows, false); err != nil {
			return err
		}
		chunk = p.begin()
	}
	switch err := rows.Err(); {
	case err == nil:
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		if _, bad := errors.AsType[*manifest.Error](err); bad {
			return content(err)
		}
		return unreadable(ctx, err)
	}
	if p.at.Rows == 0 {
		return failed(job.CodeInvalidManifest, "Invalid Manifest Content: the manifest has no rows", nil)
	}
	return p.end(ctx, chunk, rows, true)
}

func (p *planner) begin() job.Chunk {
	return job.Chunk{First: p.at.Rows, Row: p.at.Rows, Offset: p.at.Offset, Line: p.at.Line}
}

// end closes chunk, if it has rows, and saves what has gathered when it is time.
func (p *planner) end(ctx context.Context, chunk job.Chunk, rows *manifest.CSV, last bool) error {
	if chunk.Rows > 0 {
		next := rows.Position()
		p.at.Offset, p.at.Line = next.Offset, next.Line
		p.at.Chunks++
		chunk.End = next.Offset
		p.pending = append(p.pending, chunk)
	}
	if p.at.Rows > p.most {
		return failed(job.CodeInvalidManifest, "The S3 Batch Operations job failed because it contains more keys than the maximum allowed in a single job", nil)
	}
	if len(p.pending) == 0 || !last && len(p.pending) < saveChunks && time.Since(p.saved) < saveEvery {
		return nil
	}
	if err := p.save(ctx, p.pending, p.at); err != nil {
		return fmt.Errorf("save plan at row %d: %w", p.at.Rows, err)
	}
	p.pending, p.saved = p.pending[:0], time.Now()
	return nil
}

// content is the failure of a job whose manifest breaks a rule.
func content(err error) error {
	if e, ok := errors.AsType[*manifest.Error](err); ok {
		return failed(e.Code, e.Reason, err)
	}
	return failed(job.CodeInvalidManifest, err.Error(), err)
}

// unreadable is the failure of a job whose manifest is refused, by whatever the
// store said. Where it said nothing, or that it is out of order, the error is a
// plain one. Source of the texts: states.md section 7.
func unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case objectstore.PreconditionFailed(err):
		return failed(job.CodeManifestChanged, "The manifest was changed while it was read. Create the job again with the manifest's present ETag.", err)
	case objectstore.NotFound(err):
		return failed(job.CodeManifestNotFound, "The manifest does not exist: "+err.Error(), err)
	case objectstore.AccessDenied(err):
		return failed(job.CodeManifestForbidden, "Reading the manifest is forbidden: AccessDenied", err)
	case refused(err):
		return Unreadable(err)
	default:
		return fmt.Errorf("read manifest: %w", err)
	}
}

// Unreadable is the failure of a job whose manifest cannot be read because of err.
func Unreadable(err error) error {
	return failed(job.CodeManifestUnreadable, "The manifest cannot be read: "+err.Error(), err)
}

// refused reports whether the store has answered for good, as opposed to being
// out of order for a while, or asked with credentials about to be renewed.
func refused(err error) bool {
	e, ok := errors.AsType[*objectstore.Error](err)
	if !ok || e.Status < 300 || e.Status >= 500 {
		return false
	}
	switch e.Code {
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return false
	}
	return e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}
