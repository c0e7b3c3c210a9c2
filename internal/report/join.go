package report

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// parallel bounds the parts that are read, or deleted, at the same time.
const parallel = 8

// A result is one entry of the report's index.
type result struct {
	TaskExecutionStatus string
	Bucket              string
	MD5Checksum         string
	Key                 string
}

// A joiner makes the result files of one status out of parts, one file after
// the other. The parts of a file are read side by side: as their sizes are
// known, each has its place before it is there.
type joiner struct {
	w       *Writer
	failed  bool
	results []result // of the files that are written

	file       *os.File // the one under way; nil: none
	size, rows int64    // of it
	reads      *errgroup.Group
}

// add puts p at the end of the file under way, or of a new one if it is full.
// A part that turns out to be broken ends ctx by stop.
func (n *joiner) add(ctx context.Context, stop context.CancelCauseFunc, p job.Part) error {
	if n.file != nil && (n.size+p.Size > n.w.opt.MaxFileBytes || n.rows+p.Rows > n.w.opt.MaxFileRows) {
		if err := n.flush(ctx); err != nil {
			return err
		}
	}
	if n.file == nil {
		if err := n.open(); err != nil {
			return err
		}
	}
	to := io.NewOffsetWriter(n.file, n.size)
	n.size += p.Size
	n.rows += p.Rows
	n.reads.Go(func() error {
		err := n.w.fetch(ctx, p, to)
		if err != nil {
			stop(err)
		}
		return err
	})
	return context.Cause(ctx)
}

func (n *joiner) open() error {
	f, err := os.CreateTemp(n.w.opt.TempDir, "report-*.csv")
	if err != nil {
		return fmt.Errorf("join report: %w", err)
	}
	_ = os.Remove(f.Name()) // where that works, nothing stays behind whatever happens
	n.file, n.size, n.rows = f, 0, 0
	n.reads = new(errgroup.Group)
	n.reads.SetLimit(parallel)
	return nil
}

// flush writes the file under way, if there is one, into the report.
func (n *joiner) flush(ctx context.Context) error {
	if n.file == nil {
		return nil
	}
	defer n.close()
	if err := n.reads.Wait(); err != nil {
		return err
	}
	sum := md5.New()
	if _, err := io.Copy(sum, io.NewSectionReader(n.file, 0, n.size)); err != nil {
		return fmt.Errorf("join report: %w", err)
	}
	key := n.w.resultKey(statusOf(n.failed), len(n.results))
	md5sum := sum.Sum(nil)
	if err := n.w.put(ctx, key, typeCSV, io.NewSectionReader(n.file, 0, n.size), n.size, md5sum); err != nil {
		return err
	}
	n.results = append(n.results, result{
		TaskExecutionStatus: statusOf(n.failed),
		Bucket:              n.w.bucket,
		MD5Checksum:         hex.EncodeToString(md5sum),
		Key:                 key,
	})
	return nil
}

// close drops the file under way, if there is one, after its last reader. It
// may be called again.
func (n *joiner) close() {
	if n.file == nil {
		return
	}
	_ = n.reads.Wait() // flush has looked at it
	_ = n.file.Close() // nobody reads it again
	_ = os.Remove(n.file.Name())
	n.file = nil
}

// resultKey names the nth file of a status. Nothing but the job goes into it,
// so that it is the same whenever the report is written again.
func (w *Writer) resultKey(status string, n int) string {
	return fmt.Sprintf("%sresults/%x.csv", w.folder, sha1.Sum(fmt.Appendf(nil, "%s/%s/%d", w.id, status, n)))
}

// fetch copies a part and makes sure that it is what was put.
func (w *Writer) fetch(ctx context.Context, p job.Part, to io.Writer) error {
	body, _, err := w.objects.Open(ctx, objectstore.Object{Bucket: w.bucket, Key: p.Key}, 0, -1)
	if err != nil {
		return broken(ctx, err)
	}
	defer body.Close()
	sum := md5.New()
	size, err := io.Copy(io.MultiWriter(to, sum), io.LimitReader(body, p.Size+1))
	switch {
	case err != nil:
		return broken(ctx, fmt.Errorf("read %s: %w", p.Key, err))
	case size > p.Size:
		return broken(ctx, fmt.Errorf("read %s: has more than its %d bytes", p.Key, p.Size))
	case size < p.Size:
		return broken(ctx, fmt.Errorf("read %s: has %d bytes, was written with %d", p.Key, size, p.Size))
	case hex.EncodeToString(sum.Sum(nil)) != p.MD5:
		return broken(ctx, fmt.Errorf("read %s: its MD5 is not %s any more", p.Key, p.MD5))
	}
	return nil
}
