package run_test

import (
	"context"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/run"
)

// BenchmarkChunk gives what a task costs that takes no time itself.
func BenchmarkChunk(b *testing.B) {
	const rows = 100_000
	op := do(func(_ context.Context, _ string, out *job.Outcome) error {
		settle(out, false)
		return nil
	})
	for b.Loop() {
		bench := newBench(b, rows, op)
		if err := run.New(run.Config{}).Chunk(b.Context(), b.Context(), bench.job, bench.book.claim()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/task")
}
