//go:build unix

package orc_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

const benchRows = 1_000_000

// BenchmarkRead reads bucket, key and version of a million rows. It counts rows in a second of CPU time,
// which a busy machine distorts less than wall time.
func BenchmarkRead(b *testing.B) {
	for name, compression := range map[string]uint64{"none": none, "zlib": zlib, "snappy": snap, "zstd": zst} {
		b.Run(name, func(b *testing.B) {
			tb := &table{rows: benchRows, perStripe: 200_000, compression: compression, chunk: 256 << 10, version2: true, columns: []series{
				{"bucket", typeString, true, func(int) any { return "source-bucket" }},
				{"key", typeString, false, func(row int) any {
					return fmt.Sprintf("data/%04x/photos/2024/object-%08d.jpg", row%4096, row)[:30+row%12]
				}},
				{"version_id", typeString, false, func(row int) any {
					if row%4 == 0 {
						return nil
					}
					return fmt.Sprintf("3sL4kqtJlcpXroDTDmJ%013d", row)
				}},
			}}
			file := tb.encode(b)
			f := open(b, file)
			cells := make([][]byte, 3)
			used := time.Duration(0)
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				start := cpu(b)
				r, n := f.Read([]int{0, 1, 2}, 0), 0
				for r.Next(cells) {
					n++
				}
				if r.Err() != nil || n != benchRows {
					b.Fatalf("%d rows, %v", n, r.Err())
				}
				r.Close()
				used += cpu(b) - start
			}
			b.ReportMetric(benchRows*float64(b.N)/used.Seconds(), "rows/cpu-s")
		})
	}
}

// cpu returns the CPU time this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
