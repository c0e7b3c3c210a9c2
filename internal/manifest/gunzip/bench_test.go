package gunzip_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"stevedore/internal/manifest/gunzip"
)

// inventory returns rows as in a data file of an S3 inventory: easy ones with keys in order, as most
// buckets have, or hard ones with random keys.
func inventory(rows int, hard bool) []byte {
	var (
		text   bytes.Buffer
		random = rand.New(rand.NewPCG(1, 2))
		start  = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	)
	for i := range rows {
		key := fmt.Sprintf("logs/production/2026/%02d/%02d/service-%d/part-%08d.json.gz", i/90000%12+1, i/3000%28+1, i/700%7, i)
		if hard {
			key = fmt.Sprintf("%016x%016x%016x/%08x.bin", random.Uint64(), random.Uint64(), random.Uint64(), random.Uint32())
		}
		modified := start.Add(time.Duration(i)*37*time.Second + time.Duration(random.IntN(20000))*time.Millisecond)
		fmt.Fprintf(&text, "\"inventory-bucket\",\"%s\",\"%d\",\"%s\",\"%016x%016x\",\"STANDARD\"\n",
			key, random.IntN(1<<24), modified.Format("2006-01-02T15:04:05.000Z"), random.Uint64(), random.Uint64())
	}
	return text.Bytes()
}

// packed compresses text as gzip(1) would.
func packed(t testing.TB, text []byte, level int) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := stdgzip.NewWriterLevel(&file, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// BenchmarkReader compares this package with others by turns, so that they meet the same noise.
func BenchmarkReader(b *testing.B) {
	for name, hard := range map[string]bool{"easy": false, "hard": true} {
		b.Run(name, func(b *testing.B) {
			text := inventory(200_000, hard)
			file := packed(b, text, 6)
			read := func(open func(io.Reader) (io.Reader, error)) time.Duration {
				begin := time.Now()
				r, err := open(bytes.NewReader(file))
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 64<<10))
				if err != nil || n != int64(len(text)) {
					b.Fatalf("read %d bytes of %d: %v", n, len(text), err)
				}
				return time.Since(begin)
			}
			var ours, marked, klauspost, std time.Duration
			for b.Loop() {
				ours += read(func(r io.Reader) (io.Reader, error) { return gunzip.NewReader(r), nil })
				marked += read(func(r io.Reader) (io.Reader, error) {
					z := gunzip.NewReader(r)
					z.Mark(4<<20, func(gunzip.Point) {})
					return z, nil
				})
				klauspost += read(func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })
				std += read(func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) })
			}
			rate := func(d time.Duration) float64 { return float64(len(text)) * float64(b.N) / 1e6 / d.Seconds() }
			b.ReportMetric(rate(ours), "MB/s")
			b.ReportMetric(rate(marked), "marked-MB/s")
			b.ReportMetric(rate(klauspost), "klauspost-MB/s")
			b.ReportMetric(rate(std), "std-MB/s")
			b.ReportMetric(rate(ours)/rate(klauspost), "x-klauspost")
			b.ReportMetric(rate(ours)/rate(std), "x-std")
			b.ReportMetric(float64(len(text))/float64(len(file)), "compression")
		})
	}
}
