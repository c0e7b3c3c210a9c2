package report_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/report"
)

// memory is the store of the report. Hooks, where set, may fail a call.
type memory struct {
	onPut  func(n int, in objectstore.PutInput) error // n counts from 1
	onOpen func(key string) error
	onList func() error
	slow   time.Duration // every Open takes so long

	mu      sync.Mutex
	objects map[string][]byte
	puts    []objectstore.PutInput
	opened  int // bodies open now
	most    int // at the same time
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

func (m *memory) Put(ctx context.Context, in objectstore.PutInput) (string, error) {
	data, err := io.ReadAll(in.Body)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	m.puts = append(m.puts, in)
	if m.onPut != nil {
		if err := m.onPut(len(m.puts), in); err != nil {
			return "", err
		}
	}
	sum := md5.Sum(data)
	if int64(len(data)) != in.Size || in.ContentMD5 != base64.StdEncoding.EncodeToString(sum[:]) {
		return "", &objectstore.Error{Op: "PutObject", Status: 400, Code: "BadDigest"}
	}
	m.objects[in.Key] = data
	return "etag", nil
}

func (m *memory) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, objectstore.Info{}, err
	}
	if m.onOpen != nil {
		if err := m.onOpen(o.Key); err != nil {
			return nil, objectstore.Info{}, err
		}
	}
	data, ok := m.objects[o.Key]
	if !ok || offset != 0 || length >= 0 {
		return nil, objectstore.Info{}, &objectstore.Error{Op: "GetObject", Status: 404, Code: "NoSuchKey"}
	}
	m.opened++
	m.most = max(m.most, m.opened)
	if m.slow > 0 {
		m.mu.Unlock()
		time.Sleep(m.slow) // in a synctest bubble
		m.mu.Lock()
	}
	return &body{Reader: bytes.NewReader(data), m: m}, objectstore.Info{}, nil
}

type body struct {
	io.Reader
	m *memory
}

func (b *body) Close() error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.opened--
	return nil
}

func (m *memory) Delete(ctx context.Context, _, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return ctx.Err()
}

func (m *memory) List(ctx context.Context, _, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		m.mu.Lock()
		keys := slices.Sorted(maps.Keys(m.objects))
		err := ctx.Err()
		if err == nil && m.onList != nil {
			err = m.onList()
		}
		m.mu.Unlock()
		if err != nil {
			yield("", err)
			return
		}
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}

// finished is all of the report but its parts.
func (m *memory) finished() map[string]string {
	out := map[string]string{}
	for key, data := range m.objects {
		if !strings.Contains(key, "/parts/") {
			out[key] = string(data)
		}
	}
	return out
}

const id = "00e123a4-c0d8-41f4-a0eb-b46f9ba5b07c"

func newJob(scope job.ReportScope) *job.Job {
	return &job.Job{ID: id, Spec: job.Spec{Report: job.Report{
		Enabled: true, Bucket: "arn:aws:s3:::reports", Format: job.ReportCSV, Prefix: "batch", ReportScope: scope,
		ExpectedBucketOwner: "123456789012",
	}}}
}

// a task is a row with its outcome.
type task struct {
	key string
	out job.Outcome
}

func fine(key string) task {
	return task{key, job.Outcome{HTTPStatus: 200, Message: "Successful"}}
}

func failed(key string) task {
	return task{key, job.Outcome{Failed: true, HTTPStatus: 404, Code: "NoSuchKey", Message: "Gone."}}
}

func (k task) row() string {
	return string(report.AppendRow(nil, []byte("src"), []byte(k.key), nil, &k.out))
}

// rows joins the rows of one status.
func rows(tasks []task, failed bool) string {
	var b strings.Builder
	for _, k := range tasks {
		if k.out.Failed == failed {
			b.WriteString(k.row())
		}
	}
	return b.String()
}

// segment does what a runner does with tasks done from row on.
func segment(t testing.TB, w *report.Writer, row int64, tasks []task) job.Segment {
	t.Helper()
	s := job.Segment{Row: row, Rows: int64(len(tasks))}
	for _, k := range tasks {
		if k.out.Failed {
			s.Failed++
		} else {
			s.Succeeded++
		}
	}
	for failed, n := range map[bool]int64{false: s.Succeeded, true: s.Failed} {
		if n == 0 || !w.Wants(failed) {
			continue
		}
		p, err := w.PutPart(context.Background(), row, failed, n, []byte(rows(tasks, failed)))
		if err != nil {
			t.Fatal(err)
		}
		s.Parts = append(s.Parts, p)
	}
	return s
}

func each(segments ...job.Segment) iter.Seq2[job.Segment, error] {
	return func(yield func(job.Segment, error) bool) {
		for _, s := range segments {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// index reads manifest.json and checks all that it says about other objects.
func (m *memory) index(t testing.TB, folder string) (keys map[string][]string) {
	t.Helper()
	var x struct {
		Results []struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
	}
	manifest := m.objects[folder+"manifest.json"]
	if err := json.Unmarshal(manifest, &x); err != nil {
		t.Fatalf("manifest.json: %v", err)
	}
	if want, got := fmt.Sprintf("%x\n", md5.Sum(manifest)), string(m.objects[folder+"manifest.json.md5"]); got != want || len(got) != 33 {
		t.Errorf("manifest.json.md5: got %q, want %q", got, want)
	}
	keys = map[string][]string{}
	for _, r := range x.Results {
		if got := fmt.Sprintf("%x", md5.Sum(m.objects[r.Key])); got != r.MD5Checksum || r.Bucket != "reports" {
			t.Errorf("%s in %s: got MD5 %s, want %s", r.Key, r.Bucket, got, r.MD5Checksum)
		}
		keys[r.TaskExecutionStatus] = append(keys[r.TaskExecutionStatus], r.Key)
	}
	return keys
}
