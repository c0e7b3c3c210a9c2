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

// BenchmarkReader compares this package with others, by turns and each by its best time, so that
// noise hits all alike.
func BenchmarkReader(b *testing.B) {
	readers := []struct {
		name string
		open func(io.Reader) (io.Reader, error)
	}{
		{"ours", func(r io.Reader) (io.Reader, error) { return gunzip.NewReader(r), nil }},
		{"marked", func(r io.Reader) (io.Reader, error) {
			z := gunzip.NewReader(r)
			z.Mark(4<<20, func(gunzip.Point) {})
			return z, nil
		}},
		{"klauspost", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		{"std", func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) }},
	}
	for name, hard := range map[string]bool{"easy": false, "hard": true} {
		b.Run(name, func(b *testing.B) {
			text := inventory(30_000, hard) // 5 MB: one point, and short enough to be read undisturbed now and then
			file := packed(b, text, 6)
			best := map[string]time.Duration{}
			buffer := make([]byte, 64<<10)
			for b.Loop() {
				for _, reader := range readers {
					begin := time.Now()
					r, err := reader.open(bytes.NewReader(file))
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer)
					if err != nil || n != int64(len(text)) {
						b.Fatalf("%s: %d bytes of %d: %v", reader.name, n, len(text), err)
					}
					if d := time.Since(begin); best[reader.name] == 0 || d < best[reader.name] {
						best[reader.name] = d
					}
				}
			}
			for _, reader := range readers {
				b.ReportMetric(float64(len(text))/1e6/best[reader.name].Seconds(), reader.name+"-MB/s")
				b.ReportMetric(best[reader.name].Seconds()/best["ours"].Seconds(), "x-"+reader.name)
			}
			b.ReportMetric(float64(len(text))/float64(len(file)), "compression")
		})
	}
}
