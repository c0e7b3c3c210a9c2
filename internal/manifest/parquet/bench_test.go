//go:build unix

package parquet_test

import (
	"bytes"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"stevedore/internal/manifest/parquet"
)

const benchRows = 1_000_000

// BenchmarkRead reads bucket, key and version of a million rows. It counts rows in a second of CPU time,
// which a busy machine distorts less than wall time.
func BenchmarkRead(b *testing.B) {
	type row struct {
		Bucket  string  `parquet:"bucket,dict"`
		Key     string  `parquet:"key"`
		Version *string `parquet:"version_id,optional"`
		Size    int64   `parquet:"size"`
	}
	for _, codec := range []compress.Codec{&pq.Uncompressed, &pq.Snappy, &pq.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			var file bytes.Buffer
			w := pq.NewGenericWriter[row](&file, pq.Compression(codec), pq.MaxRowsPerRowGroup(200_000))
			for i := range benchRows {
				r := row{Bucket: "source-bucket", Key: fmt.Sprintf("data/%04x/photos/2024/object-%08d.jpg", i%4096, i), Size: int64(i)}
				if i%4 != 0 {
					r.Version = new(fmt.Sprintf("3sL4kqtJlcpXroDTDmJ%013d", i))
				}
				if _, err := w.Write([]row{r}); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			f := open(b, file.Bytes())
			cells := make([][]byte, 3)
			used := time.Duration(0)
			b.SetBytes(int64(file.Len()))
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

// BenchmarkWrite writes bucket, key, version and size of a million rows.
func BenchmarkWrite(b *testing.B) {
	bucket, version := []byte("source-bucket"), []byte("3sL4kqtJlcpXroDTDmJ0000000000000")
	key, size := []byte(nil), []byte("4096")
	b.ReportAllocs()
	start := cpu(b)
	for b.Loop() {
		w, err := parquet.NewWriter(io.Discard, []string{"bucket", "key", "version_id", "size"})
		if err != nil {
			b.Fatal(err)
		}
		for i := range benchRows {
			key = fmt.Appendf(key[:0], "data/%04x/photos/2024/object-%08d.jpg", i%4096, i)
			if err := w.Write([][]byte{bucket, key, version, size}); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(benchRows*float64(b.N)/(cpu(b)-start).Seconds(), "rows/cpu-s")
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
