package report

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// schema is what AWS writes, though the rows have ErrorCode and HTTPStatusCode
// the other way round.
const schema = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"

// Finish writes the report out of the parts of segments, which must come in row
// order; they are gone through once. Without any segment no task ran, and there
// is no report. Nothing is done if the job wants none.
//
// created is the time the report bears. A Finish that was cut off can be called
// again, as long as DeleteParts was not: it writes the same names, and with the
// same time the same bytes.
//
// The error is a *WriteError if the job must fail for it, among others if a
// segment has a ReportError or a part is missing.
func (w *Writer) Finish(ctx context.Context, created time.Time, segments iter.Seq2[job.Segment, error]) error {
	if !w.spec.Enabled {
		return nil
	}
	results, ran, err := w.join(ctx, segments)
	if err != nil || !ran {
		return err
	}
	index, err := encodeIndex(created, results)
	if err != nil {
		return err
	}
	sum := md5.Sum(index)
	digest := fmt.Appendf(nil, "%x\n", sum)
	digestSum := md5.Sum(digest)
	if err := w.put(ctx, w.folder+"manifest.json.md5", typeText, bytes.NewReader(digest), int64(len(digest)), digestSum[:]); err != nil {
		return err
	}
	names := []string{"report.json", "manifest.json"} // whoever waits for manifest.json finds all else
	if !w.opt.JSONCopy {
		names = names[1:]
	}
	for _, name := range names {
		if err := w.put(ctx, w.folder+name, typeJSON, bytes.NewReader(index), int64(len(index)), sum[:]); err != nil {
			return err
		}
	}
	return nil
}

// join writes the result files and tells whether there was any segment.
func (w *Writer) join(ctx context.Context, segments iter.Seq2[job.Segment, error]) (results []result, ran bool, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	succeeded, failed := &joiner{w: w}, &joiner{w: w, failed: true}
	defer func() {
		stop(nil) // readers first, then their files
		succeeded.close()
		failed.close()
	}()
	var next int64 // row after the last segment
	for s, err := range segments {
		if err != nil {
			return nil, false, fmt.Errorf("read segments: %w", err)
		}
		if s.Row < next {
			return nil, false, fmt.Errorf("join report: segment of row %d comes after row %d", s.Row, next)
		}
		next = s.Row + s.Rows
		ran = true
		if err := w.complete(&s); err != nil {
			return nil, false, err
		}
		for _, p := range s.Parts {
			n := succeeded
			if p.Failed {
				n = failed
			}
			if !w.Wants(p.Failed) || p.Rows == 0 {
				continue
			}
			if err := n.add(ctx, stop, p); err != nil {
				return nil, false, err
			}
		}
	}
	for _, n := range []*joiner{succeeded, failed} {
		if err := n.flush(ctx); err != nil {
			return nil, false, err
		}
	}
	return slices.Concat(succeeded.results, failed.results), ran, nil
}

// complete refuses a segment that has not a row for every task.
func (w *Writer) complete(s *job.Segment) error {
	if s.ReportError != "" {
		return &WriteError{errors.New(s.ReportError)}
	}
	var succeeded, failed int64
	for _, p := range s.Parts {
		if p.Failed {
			failed += p.Rows
		} else {
			succeeded += p.Rows
		}
	}
	if w.Wants(false) && succeeded != s.Succeeded || w.Wants(true) && failed != s.Failed {
		return &WriteError{fmt.Errorf("segment of row %d has rows for %d succeeded and %d failed tasks, counts %d and %d",
			s.Row, succeeded, failed, s.Succeeded, s.Failed)}
	}
	return nil
}

// encodeIndex is manifest.json.
func encodeIndex(created time.Time, results []result) ([]byte, error) {
	if results == nil {
		results = []result{} // [] and not null
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // keys stay readable
	e.SetIndent("", "  ")
	err := e.Encode(struct {
		Format             job.ReportFormat
		ReportCreationDate string
		Results            []result
		ReportSchema       string
	}{job.ReportCSV, created.UTC().Format("2006-01-02T15:04:05.000Z"), results, schema})
	if err != nil {
		return nil, fmt.Errorf("encode report index: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// DeleteParts removes the parts, once the report is written or will never be:
// those of segments, and then whatever else lies among them because a worker
// died before it could commit. The latter needs the right to list the bucket
// and is left undone without it. It may be repeated.
func (w *Writer) DeleteParts(ctx context.Context, segments iter.Seq2[job.Segment, error]) error {
	if !w.spec.Enabled {
		return nil
	}
	if err := w.deleteAll(ctx, partKeys(segments)); err != nil {
		return fmt.Errorf("delete parts: %w", err)
	}
	err := w.deleteAll(ctx, w.objects.List(ctx, w.bucket, w.folder+"parts/"))
	if err != nil && !objectstore.AccessDenied(err) {
		return fmt.Errorf("delete parts: %w", err)
	}
	return nil
}

func partKeys(segments iter.Seq2[job.Segment, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for s, err := range segments {
			if err != nil {
				yield("", fmt.Errorf("read segments: %w", err))
				return
			}
			for _, p := range s.Parts {
				if !yield(p.Key, nil) {
					return
				}
			}
		}
	}
}

func (w *Writer) deleteAll(ctx context.Context, keys iter.Seq2[string, error]) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for key, err := range keys {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			g.Go(func() error { return err })
			break
		}
		g.Go(func() error { return w.objects.Delete(ctx, w.bucket, key) })
	}
	return g.Wait()
}
