package orc_test

import (
	"fmt"
	"testing"
)

const benchRows = 1_000_000

// BenchmarkRead reads bucket, key and version of a million rows.
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
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				r, n := f.Read([]int{0, 1, 2}, 0), 0
				for r.Next(cells) {
					n++
				}
				if r.Err() != nil || n != benchRows {
					b.Fatalf("%d rows, %v", n, r.Err())
				}
				r.Close()
			}
			b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
