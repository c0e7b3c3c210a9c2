package plan_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/plan"
)

const rowSize = 60 // bytes, with the line end

// endless is a manifest of so many rows that is made while it is read.
type endless struct{ rows int64 }

func (e endless) Head(context.Context, objectstore.Object) (objectstore.Info, error) {
	return objectstore.Info{Size: e.rows * rowSize, ETag: "etag"}, nil
}

func (e endless) Open(_ context.Context, _ objectstore.Object, offset, _ int64) (io.ReadCloser, objectstore.Info, error) {
	return io.NopCloser(&generator{next: offset / rowSize, end: e.rows}), objectstore.Info{}, nil
}

type generator struct {
	next, end int64
	block     []byte
	left      []byte // of block
}

func (g *generator) Read(p []byte) (int, error) {
	if len(g.left) == 0 {
		if g.next == g.end {
			return 0, io.EOF
		}
		g.block = g.block[:0]
		for range min(1000, g.end-g.next) {
			g.block = fmt.Appendf(g.block, "bucket,some/prefix/of/a/key/%031d\n", g.next)
			g.next++
		}
		g.left = g.block
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// Memory does not grow with the manifest: ten million rows, 600 MB, are planned
// in a few megabytes.
func TestMemoryOfTenMillionRows(t *testing.T) {
	rows := int64(10_000_000)
	if testing.Short() || raceDetector {
		rows = 1_000_000
	}
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before, peak := stats.HeapAlloc, uint64(0)
	var chunks, planned int64
	got, err := plan.Make(t.Context(), requestOf(), endless{rows}, job.Checkpoint{}, func(_ context.Context, c []job.Chunk, cp job.Checkpoint) error {
		chunks, planned = chunks+int64(len(c)), cp.Rows
		runtime.ReadMemStats(&stats) // garbage counts, too: it is what a process needs
		peak = max(peak, stats.HeapAlloc)
		return nil
	})
	if err != nil || got.Tasks != rows || got.Bytes != rows*rowSize || planned != rows {
		t.Fatalf("%+v, %v", got, err)
	}
	if chunks > 2*rows/max(1000, rows/1000) {
		t.Errorf("%d chunks", chunks)
	}
	const limit = 32 << 20
	if peak > before+limit {
		t.Errorf("heap grew from %d to %d bytes, at most %d wanted", before, peak, limit)
	}
	t.Logf("%d rows in %d chunks, heap grew by at most %d KiB", rows, chunks, max(int64(peak)-int64(before), 0)>>10)
}

// BenchmarkPlan gives the cost of planning per row, the making of the rows included.
func BenchmarkPlan(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := plan.Make(b.Context(), requestOf(), endless{100_000}, job.Checkpoint{}, new(saved).save); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/row")
}
