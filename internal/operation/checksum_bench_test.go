package operation_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
)

// BenchmarkChecksum sums up objects of 8 MiB and, by turns, does the same GETs
// without looking at the bytes, and sums up bytes that are in memory. The last are
// what our throughput is compared with: the lower of them, the first alone, and what
// both leave of a machine whose cores they share (1 / (1/discarded + 1/hashed)).
func BenchmarkChecksum(b *testing.B) {
	srv := objectstoretest.Start(b, objectstoretest.Config{})
	const size = 8 << 20
	text := strings.Repeat("12345678", size/8)
	srv.Put("b", "k", text)
	store, err := objectstore.New(objectstore.Config{Endpoint: srv.URL(), Credentials: credentials.NewStaticCredentialsProvider("a", "s", "")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	const objects = 32
	buffers := sync.Pool{New: func() any { return new([256 << 10]byte) }}
	discard := func() error {
		body, _, err := store.Open(b.Context(), objectstore.Object{Bucket: "b", Key: "k"}, 0, -1)
		if err != nil {
			return err
		}
		defer body.Close()
		buf := buffers.Get().(*[256 << 10]byte)
		defer buffers.Put(buf)
		for err == nil {
			_, err = body.Read(buf[:])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	block := []byte(text[:256<<10])
	for _, workers := range []int{8, 1} {
		for _, a := range job.ChecksumAlgorithm("").Values() {
			o, err := operation.New(computing(job.ChecksumAlgorithm(a), ""), operation.Env{Client: store, Objects: store})
			if err != nil {
				b.Fatal(err)
			}
			hashed := func() error {
				sum := operation.NewHash(job.ChecksumAlgorithm(a))
				for range size / len(block) {
					_, _ = sum.Write(block)
				}
				return nil
			}
			summed := func() error {
				var out job.Outcome
				err := o.Do(b.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out)
				if out.Failed {
					return errors.New(out.Message)
				}
				return err
			}
			b.Run(fmt.Sprintf("%s/at-once=%d", a, workers), func(b *testing.B) {
				var read, hash, ours turns
				for b.Loop() { // by turns, so that what else the machine does hits all of them
					read.take(b, workers, objects, discard)
					hash.take(b, workers, objects, hashed)
					ours.take(b, workers, objects, summed)
				}
				bytes := float64(b.N) * objects * size
				report := func(unit string, of func(turns) time.Duration, scale float64) {
					rate := func(t turns) float64 { return bytes / of(t).Seconds() / 1e6 * scale }
					r, h, o := rate(read), rate(hash), rate(ours)
					b.ReportMetric(r, "MB/s-discarded"+unit)
					b.ReportMetric(h, "MB/s-hashed"+unit)
					b.ReportMetric(o, "MB/s-ours"+unit)
					b.ReportMetric(100*o/r, "%-of-discarded"+unit)
					b.ReportMetric(100*o/min(r, h), "%-of-lower"+unit)
					b.ReportMetric(100*o*(1/r+1/h), "%-of-both"+unit)
				}
				report("", func(t turns) time.Duration { return t.wall }, 1)
				// On a machine that is busy, the ones to look at: what cores that do nothing else would give.
				report("/CPU", func(t turns) time.Duration { return t.cpu }, float64(min(workers, runtime.GOMAXPROCS(0))))
			})
		}
	}
}

// turns add up what something took.
type turns struct{ wall, cpu time.Duration }

// take has workers do something so many times in all.
func (t *turns) take(b *testing.B, workers, times int, do func() error) {
	b.Helper()
	start, before := time.Now(), cpuTime(b)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range times / workers {
				if err := do(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.cpu += cpuTime(b) - before
	t.wall += time.Since(start)
}

// cpuTime is what this process has used so far, the store in it included.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
