package jobstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

// BenchmarkCommit commits one row at a time: segment, tally and chunk, on disk.
// The jobs run side by side; commits of one job take turns.
func BenchmarkCommit(b *testing.B) {
	for _, jobs := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			s := openForTest(b)
			n, err := s.Join(b.Context(), "node")
			if err != nil {
				b.Fatal(err)
			}
			claims := make([]jobstore.Claim, jobs)
			for i := range claims {
				j := activate(b, s, n, fmt.Sprint("token", i), 1, 1<<40)
				if claims[i], _, err = n.Claim(b.Context(), j); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			var begun atomic.Int64
			done := make(chan error)
			for _, c := range claims {
				go func() {
					var err error
					for err == nil && begun.Add(1) <= int64(b.N) {
						seg, delta, rest := after(c.Chunk, 1)
						c, err = n.Commit(b.Context(), c, seg, delta, rest)
					}
					done <- err
				}()
			}
			for range claims {
				if err := <-done; err != nil {
					b.Error(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkClaim claims chunks of a job that has very many, and finishes each.
func BenchmarkClaim(b *testing.B) {
	for _, chunks := range []int64{1_000, 200_000} {
		b.Run(fmt.Sprintf("chunks=%d", chunks), func(b *testing.B) {
			s := openForTest(b)
			n, j := active(b, s, chunks, 10)
			b.ReportAllocs()
			for b.Loop() {
				c, ok, err := n.Claim(b.Context(), j)
				if err != nil || !ok {
					b.Fatal(ok, err)
				}
				b.StopTimer()
				if err := n.Release(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkUpdate changes one job's record.
func BenchmarkUpdate(b *testing.B) {
	s := openForTest(b)
	_, j := active(b, s, 1, 10)
	for b.Loop() {
		_, err := s.Update(b.Context(), j.Account, j.ID, func(j *job.Job) error { j.Priority++; return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens and closes a store of ended jobs.
func BenchmarkOpen(b *testing.B) {
	for _, jobs := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			dir := b.TempDir()
			s := open(b, dir)
			fill(b, s, jobs)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := open(b, dir).Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLoadIndex reads 10,000 jobs into memory.
func BenchmarkLoadIndex(b *testing.B) {
	s := openForTest(b)
	fill(b, s, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		s.LoadIndex(b)
	}
}

// BenchmarkList lists a page from the middle of 10,000 jobs.
func BenchmarkList(b *testing.B) {
	s := openForTest(b)
	fill(b, s, 10_000)
	s.LoadIndex(b)
	middle := job.Cursor{CreationTime: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC), ID: "job-05000"}
	for b.Loop() {
		if page, _ := s.List("1", "r", []job.Status{job.Complete}, middle, 1000); len(page) != 1000 {
			b.Fatal(len(page))
		}
	}
}

// fill stores records of ended jobs of about 1.5 kB.
func fill(b *testing.B, s *jobstore.Store, jobs int) {
	b.Helper()
	keys := make([]string, jobs)
	for i := range keys {
		keys[i] = fmt.Sprintf("jobs/1/job-%05d", i)
	}
	s.PutRaw(b, keys, func(i int) string {
		return fmt.Sprintf(`{"ID":"job-%05d","Account":"1","Region":"r","Status":"Complete","Priority":10,
			"CreationTime":"2026-01-02T03:04:05.678Z","TerminationDate":"2026-01-02T04:04:05.678Z",
			"Plan":{"Tasks":1000,"Bytes":123456,"ETag":"0123456789abcdef"},"Tally":{"Succeeded":990,"Failed":10},
			"StatusUpdateReason":"%01000d"}`, i, i)
	})
}
