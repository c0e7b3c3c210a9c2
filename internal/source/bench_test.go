//go:build unix

package source_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"stevedore/internal/manifest"
	"stevedore/internal/manifest/gunzip"
)

// BenchmarkInventory measures the planning of an inventory's data file as S3 writes it, with everything
// checked, against decompressing it alone, by our reader and by klauspost's, and against counting the lines of the
// text, all between the rounds of the same run. "x-gunzip" is wall time relative to our bare
// decompression, "x-gunzip-cpu" CPU time; "x-klauspost" and "x-newlines" are wall time too. Each is
// the best of the rounds, since the machine may be busy.
func BenchmarkInventory(b *testing.B) {
	text, file, rows := dataFile(b)
	inv := manifest.NewInventory("src", "dst", time.UnixMilli(0), manifest.Columns{})
	inv.FileSchema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
	inv.Files = []manifest.DataFile{{Key: "data/1.csv.gz", Size: int64(len(file)), MD5: sum(file)}}
	s := store{"dst/data/1.csv.gz": file}
	spec := s.inventory(b, inv)
	spec.Index = gunzip.NewIndex(0)
	src := locate(b, s, spec)

	b.SetBytes(int64(len(text)))
	var own, bare, other, lines best
	buf := make([]byte, 256<<10)
	for b.Loop() {
		own.of(b, func() {
			r, err := src.Open(b.Context(), 0, "", manifest.Position{}, manifest.Position{})
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for row := (manifest.Row{}); r.Next(&row); {
				n++
			}
			if r.Err() != nil || n != rows {
				b.Fatalf("read %d rows, want %d: %v", n, rows, r.Err())
			}
			_ = r.Close()
		})
		b.StopTimer()
		bare.of(b, func() { drain(b, gunzip.NewReader(bytes.NewReader(file)), buf, len(text)) })
		other.of(b, func() {
			z, err := gzip.NewReader(bytes.NewReader(file))
			if err != nil {
				b.Fatal(err)
			}
			drain(b, z, buf, len(text))
		})
		lines.of(b, func() {
			if n := bytes.Count(text, []byte{'\n'}); n != rows {
				b.Fatalf("counted %d lines, want %d", n, rows)
			}
		})
		b.StartTimer()
	}
	b.ReportMetric(float64(rows)/own.wall.Seconds(), "rows/s")
	b.ReportMetric(float64(rows)/own.cpu.Seconds(), "rows/cpu-s")
	b.ReportMetric(own.wall.Seconds()/bare.wall.Seconds(), "x-gunzip")
	b.ReportMetric(own.cpu.Seconds()/bare.cpu.Seconds(), "x-gunzip-cpu")
	b.ReportMetric(own.wall.Seconds()/other.wall.Seconds(), "x-klauspost")
	b.ReportMetric(own.wall.Seconds()/lines.wall.Seconds(), "x-newlines")
}

// dataFile returns a data file of about 64 MiB of rows as S3 writes them, and its text.
func dataFile(tb testing.TB) (text, file []byte, rows int) {
	tb.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for len(text) < 64<<20 {
		text = fmt.Appendf(text, "\"source-bucket\",\"data/%04x/photos/2024/object-%08d.jpg\",\"%016x%016x\",\"true\",\"false\",\"%d\",\"2024-%02d-%02dT%02d:%02d:%02d.000Z\",\"%016x%016x\",\"STANDARD\"\n",
			rows%4096, rows, random.Uint64(), random.Uint64(), random.IntN(1<<24), 1+random.IntN(12), 1+random.IntN(28),
			random.IntN(24), random.IntN(60), random.IntN(60), random.Uint64(), random.Uint64())
		rows++
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return text, packed.Bytes(), rows
}

// drain reads r to its end.
func drain(tb testing.TB, r io.Reader, buf []byte, want int) {
	tb.Helper()
	total := 0
	for {
		n, err := r.Read(buf)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if total != want {
		tb.Fatalf("read %d bytes, want %d", total, want)
	}
}

// best is the least time that something took.
type best struct{ wall, cpu time.Duration }

func (t *best) of(tb testing.TB, do func()) {
	tb.Helper()
	began, used := time.Now(), cpu(tb)
	do()
	wall, used := time.Since(began), cpu(tb)-used
	if t.wall == 0 || wall < t.wall {
		t.wall = wall
	}
	if t.cpu == 0 || used < t.cpu {
		t.cpu = used
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
