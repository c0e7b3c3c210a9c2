//go:build unix

package plan_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/plan"
)

// BenchmarkMake measures rows per second of CPU time, from the bytes of a manifest in memory to chunks that nobody
// stores. Every key of "escaped" has something to decode, and so has every one of "utf8", beyond ASCII.
func BenchmarkMake(b *testing.B) {
	for _, list := range []struct{ name, row string }{
		{"plain", "source-bucket,data/%04x/photos/2024/object-%08d.jpg\n"},
		{"escaped", "source-bucket,data/%04x/my%%20photos/of+2024/%%23%08d.jpg\n"},
		{"utf8", "source-bucket,%%E5%%86%%99%%E7%%9C%%9F/%04x/object-%08d.jpg\n"},
	} {
		b.Run(list.name, func(b *testing.B) {
			var text strings.Builder
			rows := int64(0)
			for ; text.Len() < 16<<20; rows++ {
				fmt.Fprintf(&text, list.row, rows%4096, rows)
			}
			objects := memory{data: text.String()}
			b.SetBytes(int64(text.Len()))
			start := cpu(b)
			for b.Loop() {
				got, err := plan.Make(b.Context(), requestOf(), &objects, job.Checkpoint{}, func(context.Context, []job.Chunk, job.Checkpoint) error { return nil })
				if err != nil || got.Tasks != rows {
					b.Fatalf("%d rows planned, want %d, error %v", got.Tasks, rows, err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/(cpu(b)-start), "rows/cpu-s")
		})
	}
}

// cpu returns the seconds of CPU time this process has used, which a busy machine distorts less than wall time.
func cpu(tb testing.TB) float64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
