package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/run"
	"stevedore/internal/source"
)

// book is a job store of one chunk, as strict as the real one.
type book struct {
	mu       sync.Mutex
	chunk    job.Chunk // what is left
	fence    int       // of the claim that holds it
	segments []job.Segment
	tally    job.Tally
	refusals int                 // commits that fail before the next goes through
	onCommit func(committed int) // called with every commit, under mu
}

// claim takes the chunk away from whoever has it.
func (b *book) claim() *claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fence++
	return &claim{b, b.fence}
}

// lose ends the claim that is held.
func (b *book) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fence++
}

func (b *book) left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.chunk.Rows
}

type claim struct {
	book  *book
	fence int
}

func (c *claim) Chunk() job.Chunk {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	return c.book.chunk
}

func (c *claim) Commit(_ context.Context, s job.Segment, delta job.Tally, rest job.Chunk) error {
	b := c.book
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.fence != b.fence:
		return run.ErrFenced
	case b.refusals > 0:
		b.refusals--
		return errors.New("job store is out of order")
	case s.Row != b.chunk.Row || s.Rows <= 0 || rest.Row != s.Row+s.Rows || rest.Rows != b.chunk.Rows-s.Rows,
		rest.First != b.chunk.First || rest.End != b.chunk.End || rest.Offset < b.chunk.Offset,
		s.Succeeded+s.Failed+s.Skipped != s.Rows || delta.Succeeded != s.Succeeded || delta.Failed != s.Failed:
		return fmt.Errorf("segment %+v, delta %+v, rest %+v do not fit %+v: %w", s, delta, rest, b.chunk, run.ErrFenced)
	}
	b.chunk = rest
	b.segments = append(b.segments, s)
	b.tally.Add(delta)
	if b.onCommit != nil {
		b.onCommit(len(b.segments))
	}
	return nil
}

// memory is a store that has a manifest.
type memory struct {
	data   string
	breaks atomic.Int64 // reads that break in the middle
	err    error        // what opening fails with
}

func (m *memory) Head(context.Context, objectstore.Object) (objectstore.Info, error) {
	return objectstore.Info{Size: int64(len(m.data)), ETag: "etag"}, nil
}

func (m *memory) Open(ctx context.Context, _ objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	if m.err != nil {
		return nil, objectstore.Info{}, m.err
	}
	r := io.Reader(strings.NewReader(m.data[offset : offset+length]))
	if m.breaks.Add(-1) >= 0 {
		r = io.MultiReader(io.LimitReader(r, length/2), broken{})
	}
	return io.NopCloser(&bound{ctx, r}), objectstore.Info{}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// bound ends with its context, as reading from a store does.
type bound struct {
	ctx context.Context //nolint:containedctx // as objectstore.Open does
	r   io.Reader
}

func (b *bound) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, b.ctx.Err()
	}
	return b.r.Read(p[:min(len(p), 1000)])
}

// shelf is a report in memory.
type shelf struct {
	mu    sync.Mutex
	parts map[string][]byte
	err   error // what writing fails with
	puts  int
}

func (s *shelf) Wants(bool) bool { return true }

func (s *shelf) PutPart(_ context.Context, row int64, failed bool, rows int64, data []byte) (job.Part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.err != nil {
		return job.Part{}, s.err
	}
	key := fmt.Sprintf("%d-%t-%x", row, failed, bytes.Count(data, []byte("\n")))
	if s.parts == nil {
		s.parts = map[string][]byte{}
	}
	s.parts[key] = bytes.Clone(data)
	return job.Part{Failed: failed, Key: key, Rows: rows, Size: int64(len(data))}, nil
}

// do is an operation made of a function.
type do func(ctx context.Context, key string, out *job.Outcome) error

func (f do) Do(ctx context.Context, t *operation.Task, _ *operation.Scratch, out *job.Outcome) error {
	return f(ctx, string(t.Key), out)
}

type noVersions struct{}

func (noVersions) Versioning(context.Context, string) (string, error) { return "", nil }

// bench is a chunk ready to run.
type bench struct {
	book     *book
	manifest *memory
	report   *shelf
	job      *run.Job
}

// newBench returns a chunk of n rows; those whose number fails says so are to fail.
func newBench(t testing.TB, n int64, op operation.Operation) *bench {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "b,%d\n", i)
	}
	m := &memory{data: b.String()}
	report := new(shelf)
	return &bench{
		book:     &book{chunk: job.Chunk{Rows: n, End: int64(b.Len()), Line: 1}},
		manifest: m, report: report,
		job: &run.Job{
			Source: m.locate(t, job.FieldBucket, job.FieldKey), Operation: op, Report: report,
			Versions: run.NewVersions(noVersions{}), Meter: run.NewMeter(job.Tally{}, func() {}),
		},
	}
}

// locate finds the manifest in m.
func (m *memory) locate(t testing.TB, fields ...job.Field) *source.Source {
	t.Helper()
	src, err := source.Locate(t.Context(), m, source.Spec{
		Format: job.ManifestCSV, Fields: fields, Object: objectstore.Object{Bucket: "manifests", Key: "m.csv", ETag: "etag"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// check compares what was committed with the model: the first rows in order, each
// once, with the outcome that wants says.
func (b *bench) check(t interface{ Errorf(string, ...any) }, fails func(row int64) bool) {
	var next, failed int64
	for _, s := range b.book.segments {
		if s.Row != next {
			t.Errorf("segment of row %d comes at row %d", s.Row, next)
		}
		want := [2]strings.Builder{}
		for row := s.Row; row < s.Row+s.Rows; row++ {
			if fails(row) {
				failed++
				fmt.Fprintf(&want[1], "b,%d,,failed,404,NoSuchKey,gone\n", row)
			} else {
				fmt.Fprintf(&want[0], "b,%d,,succeeded,200,,Successful\n", row)
			}
		}
		for i := range want {
			var got string
			for _, p := range s.Parts {
				if p.Failed == (i == 1) {
					got += string(b.report.parts[p.Key])
				}
			}
			if got != want[i].String() {
				t.Errorf("parts of segment %d:\n%s\nwant\n%s", s.Row, got, want[i].String())
			}
		}
		next += s.Rows
	}
	if b.book.tally.Failed != failed || b.book.tally.Executed() != next {
		t.Errorf("tally %+v, want %d failed of %d", b.book.tally, failed, next)
	}
}

func settle(out *job.Outcome, failed bool) {
	if failed {
		*out = job.Outcome{Failed: true, HTTPStatus: 404, Code: "NoSuchKey", Message: "gone", Attempts: 1}
	} else {
		*out = job.Outcome{HTTPStatus: 200, Message: "Successful", Attempts: 1}
	}
}

// number is the row that a key of newBench is of.
func number(key string) (row int64) {
	fmt.Sscan(key, &row)
	return row
}
