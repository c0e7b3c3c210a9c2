// Package report turns outcomes into the completion report in the user's bucket.
//
//	outcomes ─▶ AppendRow ─▶ PutPart, with every segment
//	                            │ parts/<row>-<status>-<md5>.csv
//	segments ─▶ Finish: parts of a status, in row order, joined
//	                            │ results/<sha1>.csv, manifest.json.md5, report.json, manifest.json
//	            DeleteParts ◀───┘
//
// A part is written before its segment is committed and named after what it
// holds. A worker that lost its claim may write one too late: it gets a name of
// its own and can never replace a part that a segment counts on.
//
// All else is named after the job alone, so that a report that was begun and
// cut off is written again under the same names. manifest.json comes last: once
// it is there, the report is whole.
//
// report.json is the same as manifest.json, byte for byte. The description of
// the API promises it, while AWS and everybody who reads such reports mean
// manifest.json (reports.md section 2).
package report

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync/atomic"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// Objects is what a report needs of the store it is kept in. All methods may be
// called concurrently and repeat by themselves what is worth it.
type Objects interface {
	// Put writes an object with one request, or replaces it.
	Put(ctx context.Context, in objectstore.PutInput) (etag string, err error)
	// Open reads an object from offset on; a length below 0 means to its end.
	Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error)
	// Delete removes an object. That there is none is no error.
	Delete(ctx context.Context, bucket, key string) error
	// List yields the keys that start with prefix. The first error ends it.
	List(ctx context.Context, bucket, prefix string) iter.Seq2[string, error]
}

// Options shape a report. The zero value is usable.
type Options struct {
	// JSONCopy asks for report.json beside manifest.json.
	JSONCopy bool
	// SSE is the server-side encryption asked for with every object: AES256, or
	// empty for what the bucket says. A store that knows no such encryption is
	// not asked again, and the report is written without.
	SSE string
	// RequireSSE makes a refused SSE the failure of the report instead.
	RequireSSE bool
	// MaxFileBytes and MaxFileRows bound one result file; a part is never cut, so
	// one that is bigger has a file to itself. Default 256 MiB and 1,000,000.
	MaxFileBytes, MaxFileRows int64
	// TempDir is where result files are put together: two at a time, each of at
	// most MaxFileBytes. Default: the system's.
	TempDir string
}

// FailureText is what a user reads about a job whose report could not be written.
const FailureText = "The job report could not be written to your report bucket. Please check your permissions."

// WriteError says that the report cannot be written, or is no longer what was
// written: the job fails. Any other error of this package is trouble on our
// side or the end of a context, after which the same call may be made again.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return "write report: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// Reason is what the job fails with.
func (e *WriteError) Reason() job.FailureReason {
	return job.Fail(job.CodeReportFailed, FailureText)
}

// A Writer writes the report of one job. It may be used concurrently.
type Writer struct {
	objects Objects
	id      string // of the job
	spec    job.Report
	bucket  string
	folder  string // all keys start with it; ends in a slash
	opt     Options
	plain   atomic.Bool // the store has refused to encrypt
}

// NewWriter returns a writer for the report of j as its spec asks for it.
func NewWriter(o Objects, j *job.Job, opt Options) *Writer {
	opt.MaxFileBytes = cmp.Or(opt.MaxFileBytes, 256<<20)
	opt.MaxFileRows = cmp.Or(opt.MaxFileRows, 1_000_000)
	spec := j.Spec.Report
	folder := strings.TrimSuffix(spec.Prefix, "/")
	if folder != "" {
		folder += "/"
	}
	return &Writer{
		objects: o,
		id:      j.ID,
		spec:    spec,
		bucket:  job.BucketName(spec.Bucket),
		folder:  folder + "job-" + j.ID + "/",
		opt:     opt,
	}
}

// Wants reports whether the report lists failed tasks, or succeeded ones.
func (w *Writer) Wants(failed bool) bool {
	return w.spec.Enabled && (failed || w.spec.ReportScope != job.FailedTasks)
}

// PutPart writes the rows of one status of the segment that starts at row. It
// may be repeated. An error that is a *WriteError belongs into the segment's
// ReportError.
func (w *Writer) PutPart(ctx context.Context, row int64, failed bool, rows int64, data []byte) (job.Part, error) {
	sum := md5.Sum(data)
	p := job.Part{
		Failed: failed,
		Key:    fmt.Sprintf("%sparts/%020d-%s-%x.csv", w.folder, row, statusOf(failed), sum),
		Size:   int64(len(data)),
		Rows:   rows,
		MD5:    hex.EncodeToString(sum[:]),
	}
	if err := w.put(ctx, p.Key, typeCSV, bytes.NewReader(data), p.Size, sum[:]); err != nil {
		return job.Part{}, err
	}
	return p, nil
}

const (
	typeCSV  = "text/csv"
	typeJSON = "application/json"
	typeText = "text/plain"
)

// put writes an object. body stands at its start and sum is its MD5.
func (w *Writer) put(ctx context.Context, key, contentType string, body io.ReadSeeker, size int64, sum []byte) error {
	in := objectstore.PutInput{
		Bucket:              w.bucket,
		Key:                 key,
		Body:                body,
		Size:                size,
		ContentType:         contentType,
		SSE:                 w.opt.SSE,
		ExpectedBucketOwner: w.spec.ExpectedBucketOwner,
		ContentMD5:          base64.StdEncoding.EncodeToString(sum),
	}
	if w.plain.Load() {
		in.SSE = ""
	}
	_, err := w.objects.Put(ctx, in)
	if err != nil && in.SSE != "" && !w.opt.RequireSSE && refusesSSE(err) {
		if _, err = body.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read %s again: %w", key, err)
		}
		in.SSE = ""
		if _, err = w.objects.Put(ctx, in); err == nil {
			w.plain.Store(true)
		}
	}
	if err != nil {
		return broken(ctx, err)
	}
	return nil
}

// refusesSSE reports whether a store that cannot encrypt may have said so. One
// that can and must not be written to says AccessDenied.
func refusesSSE(err error) bool {
	e, ok := errors.AsType[*objectstore.Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case "NotImplemented", "InvalidArgument", "InvalidEncryptionAlgorithmError":
		return true
	default:
		return false
	}
}

// broken tells the report's own failures from ours: from the end of ctx, which
// may have come with a cause, a closed store and a full disk.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, local := errors.AsType[*fs.PathError](err); local || errors.Is(err, objectstore.ErrClosed) {
		return fmt.Errorf("write report: %w", err)
	}
	return &WriteError{err}
}
