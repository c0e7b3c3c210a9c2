// Command plancost plans a manifest of any number of rows into a real job store.
// The rows are made while they are read, so that twenty billion of them cost
// neither disk nor network. It tells rows per second, the peak of resident memory,
// the chunks and what they take in the job store, and for comparison how fast the
// line ends of the same stream are counted.
//
//	go run ./internal/e2e/plancost -rows 100000000
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
	"stevedore/internal/objectstore"
	"stevedore/internal/plan"
	"stevedore/internal/source"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var m measurement
	flag.Int64Var(&m.rows, "rows", 100_000_000, "rows of the manifest")
	flag.Int64Var(&m.rowSize, "row-bytes", 60, "bytes of a row with its line end; 60 are about what inventories have, 8 the least")
	flag.IntVar(&m.workers, "workers", runtime.GOMAXPROCS(0), "pieces planned at once")
	flag.StringVar(&m.dir, "dir", "", "where to make the folder of the job store, which is removed at the end; empty: the system's")
	flag.Parse()
	if err := m.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "plancost:", err)
		os.Exit(1)
	}
}

type measurement struct {
	rows    int64
	rowSize int64 // bytes, with the line end
	workers int
	dir     string
}

func (m *measurement) run(ctx context.Context) (err error) {
	if m.rows < 1 || m.rowSize < 8 {
		return errors.New("-rows must be at least 1, -row-bytes at least 8")
	}
	dir, err := os.MkdirTemp(m.dir, "plancost")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	objects := newEndless(m.rows, m.rowSize)
	counted, err := m.count(ctx, objects)
	if err != nil {
		return err
	}
	fmt.Printf("line ends counted by one goroutine: %.1f M rows/s\n", counted/1e6)

	store, err := jobstore.Open(ctx, jobstore.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	node, err := store.Join(ctx, "plancost")
	if err != nil {
		return err
	}
	j, own, err := prepare(ctx, store, node)
	if err != nil {
		return err
	}
	began, shown := time.Now(), time.Now()
	cpu := cpuTime()
	var chunks int64
	planned, err := plan.Make(ctx, plan.Request{Source: objects.spec(), Most: plan.MaxTasks(j.Spec.Operation), Workers: m.workers}, objects, job.Checkpoint{},
		func(ctx context.Context, cut []job.Chunk, cp job.Checkpoint) error {
			if chunks = cp.Chunks; time.Since(shown) > 10*time.Second {
				shown = time.Now()
				fmt.Printf("%12d rows, %7.1f M rows/s, %d MiB\n", cp.Rows, float64(cp.Rows)/time.Since(began).Seconds()/1e6, peak()>>20)
			}
			// As the service would do it: the job store may be slow on a busy machine.
			var err error
			for range 10 {
				if err = node.PutChunks(ctx, own, cut, cp); err == nil || errors.Is(err, jobstore.ErrFenced) || ctx.Err() != nil {
					break
				}
			}
			return err
		})
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	rate := float64(planned.Tasks) / took
	perCore := float64(planned.Tasks) / (cpuTime() - cpu).Seconds()
	fmt.Printf("%d rows planned in %.1f s by %d workers: %.1f M rows/s, %.1f M per CPU second, %.2f of counting line ends\n",
		planned.Tasks, took, m.workers, rate/1e6, perCore/1e6, rate/counted)
	size, err := stored(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%d chunks, job store %.1f MiB, peak of resident memory %d MiB\n", chunks, float64(size)/(1<<20), peak()>>20)
	if planned.Tasks != m.rows {
		return fmt.Errorf("planned %d rows of %d", planned.Tasks, m.rows)
	}
	return nil
}

// count counts line ends as planning reads them, in at most 20 million rows, and
// returns rows per second.
func (m *measurement) count(ctx context.Context, objects endless) (float64, error) {
	rows := min(m.rows, 20_000_000)
	body, _, err := objects.Open(ctx, objectstore.Object{}, 0, rows*m.rowSize)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	buf := make([]byte, 256<<10)
	var lines int64
	for {
		n, err := body.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if err != nil {
			break
		}
	}
	if lines != rows {
		return 0, fmt.Errorf("counted %d lines of %d", lines, rows)
	}
	return float64(lines) / time.Since(began).Seconds(), nil
}

// prepare makes a job that is being planned by node.
func prepare(ctx context.Context, store *jobstore.Store, node *jobstore.Node) (job.Job, jobstore.Ownership, error) {
	const account, region, token = "123456789012", "us-east-1", "plancost"
	j, _, err := store.Create(ctx, job.Job{
		ID: store.JobID(account, region, token), Account: account, Region: region, Status: job.New, CreationTime: time.Now(),
		Spec: job.Spec{Operation: job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}, ClientRequestToken: token},
	})
	if err != nil {
		return j, jobstore.Ownership{}, err
	}
	if j, err = store.Update(ctx, j.Account, j.ID, func(j *job.Job) error {
		j.Become(job.Preparing, time.Now())
		return nil
	}); err != nil {
		return j, jobstore.Ownership{}, err
	}
	own, ok, err := node.Own(ctx, j)
	if err == nil && !ok {
		err = errors.New("the job cannot be owned")
	}
	return j, own, err
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that was resident so far, in bytes; 0 where the system
// does not tell.
func peak() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	rest, _, _ = strings.Cut(rest, "kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
	return n << 10
}

// stored is what the files of the job store's data take, its log left out: that is
// bounded.
func stored(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "db" {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// source.Objects is what planning reads from.
var _ source.Objects = endless{}
