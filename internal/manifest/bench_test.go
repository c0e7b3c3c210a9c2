//go:build unix

package manifest_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net/url"
	"syscall"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
)

// A list is a kind of manifest to measure.
type list struct {
	name   string
	fields []job.Field
	row    func(i int) string
}

// lists returns what is measured. Every fourth key of "encoded" has something to decode, every one of "escaped" (one
// to three times what stands for ASCII) and of "utf8".
func lists() []list {
	return []list{
		{"plain", bucketKey, func(i int) string {
			return fmt.Sprintf("source-bucket,data/%04x/photos/2024/object-%08d.jpg\n", i%4096, i)
		}},
		{"encoded", bucketKey, func(i int) string {
			if i%4 != 0 {
				return fmt.Sprintf("source-bucket,data/%04x/photos/2024/object-%08d.jpg\n", i%4096, i)
			}
			return fmt.Sprintf("source-bucket,data/%04x/my%%20photos%%28old%%29/%%E2%%82%%AC+object-%08d.jpg\n", i%4096, i)
		}},
		{"escaped", bucketKey, func(i int) string {
			words := []string{"photos", "of", "2024", "holiday", "final", "report", "IMG"}
			gaps := []string{"%20", "%20", "+", "%2B", "%20-%20", "%26"}
			random := uint(i) * 0x9E3779B97F4A7C15 >> 32 // the same in each run, but no processor foresees it
			key := words[random%7]
			for j := range 1 + random>>6%3 {
				key += gaps[random>>(8+3*j)%6] + words[random>>(9+4*j)%7]
			}
			return fmt.Sprintf("source-bucket,data/%04x/%s/object-%08d.jpg\n", i%4096, key, i)
		}},
		{"utf8", bucketKey, func(i int) string {
			return fmt.Sprintf("source-bucket,%%E5%%86%%99%%E7%%9C%%9F/%04x/object-%08d.jpg\n", i%4096, i)
		}},
		{"version", bucketKeyVersion, func(i int) string {
			return fmt.Sprintf("source-bucket,data/%04x/photos/2024/object-%08d.jpg,3sL4kqtJlcpXroDTDmJ%013d\n", i%4096, i, i)
		}},
		{"quoted", bucketKey, func(i int) string {
			return fmt.Sprintf("\"source-bucket\",\"data/%04x/photos/2024/object-%08d.jpg\"\n", i%4096, i)
		}},
	}
}

// text returns about 16 MiB of rows.
func (l list) text() (text []byte, rows int) {
	for len(text) < 16<<20 {
		text = append(text, l.row(rows)...)
		rows++
	}
	return text, rows
}

// BenchmarkCSV measures rows per second of CPU time with everything checked and decoded, row by row
// and in batches, and only counted, as planning does; run it with -cpu 1. "x-newlines" is the cost relative to counting line feeds, "x-stdlib" the gain over
// encoding/csv and url.QueryUnescape, both measured between the rounds of the same run.
func BenchmarkCSV(b *testing.B) {
	for _, list := range lists() {
		text, rows := list.text()
		l := layout(b, list.fields)
		buf := make([]byte, 256<<10)

		measure := func(b *testing.B, read func() int) {
			b.Helper()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var own, newlines, stdlib time.Duration
			for b.Loop() {
				start := cpu(b)
				if n := read(); n != rows {
					b.Fatalf("read %d rows, want %d", n, rows)
				}
				own += cpu(b) - start

				b.StopTimer()
				start = cpu(b)
				if n := countLines(b, text, buf); n != rows {
					b.Fatalf("counted %d rows, want %d", n, rows)
				}
				newlines += cpu(b) - start
				start = cpu(b)
				if n := readStdlib(b, text); n != rows {
					b.Fatalf("read %d rows with encoding/csv, want %d", n, rows)
				}
				stdlib += cpu(b) - start
				b.StartTimer()
			}
			b.ReportMetric(float64(rows)*float64(b.N)/own.Seconds(), "rows/cpu-s")
			b.ReportMetric(own.Seconds()/newlines.Seconds(), "x-newlines")
			b.ReportMetric(stdlib.Seconds()/own.Seconds(), "x-stdlib")
		}
		b.Run(list.name+"/rows", func(b *testing.B) {
			measure(b, func() (n int) {
				var row manifest.Row
				c := manifest.NewCSV(bytes.NewReader(text), l, manifest.Position{})
				for c.Next(&row) {
					n++
				}
				return n
			})
		})
		b.Run(list.name+"/batches", func(b *testing.B) {
			var batch manifest.Batch
			measure(b, func() (n int) {
				c := manifest.NewCSV(bytes.NewReader(text), l, manifest.Position{})
				for c.Fill(&batch, 1000) > 0 {
					n += batch.Len()
				}
				return n
			})
		})
		b.Run(list.name+"/counted", func(b *testing.B) {
			measure(b, func() (total int) {
				c := manifest.NewCSV(bytes.NewReader(text), l, manifest.Position{})
				for n := c.Fill(nil, 1000); n > 0; n = c.Fill(nil, 1000) {
					total += n
				}
				return total
			})
		})
	}
}

// cpu returns the CPU time this process has used, which a busy machine distorts less than wall time.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// countLines counts line feeds.
func countLines(tb testing.TB, text, buf []byte) (n int) {
	tb.Helper()
	r := bytes.NewReader(text)
	for {
		size, err := r.Read(buf)
		n += bytes.Count(buf[:size], []byte{'\n'})
		if err == io.EOF {
			return n
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// readStdlib reads rows with a key in the second column.
func readStdlib(tb testing.TB, text []byte) (n int) {
	tb.Helper()
	c := csv.NewReader(bytes.NewReader(text))
	c.ReuseRecord = true
	for {
		record, err := c.Read()
		if err == io.EOF {
			return n
		}
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := url.QueryUnescape(record[1]); err != nil {
			tb.Fatal(err)
		}
		n++
	}
}
