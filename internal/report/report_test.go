package report_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/report"
)

const folder = "batch/job-" + id + "/"

func created() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC) }

// TestExample writes the example of the specification, byte for byte.
func TestExample(t *testing.T) {
	t.Parallel()
	m := newMemory()
	w := report.NewWriter(m, newJob(job.AllTasks), report.Options{TempDir: t.TempDir()})
	broken := failed("%22q%22%2Cc.txt")
	broken.out.HTTPStatus, broken.out.Code, broken.out.Message = 400, "InvalidRequest", `Message with a comma, and "quotes".`
	missing := failed("missing.txt")
	missing.out.Message = "The specified key does not exist."
	s := segment(t, w, 0, []task{fine("photos/a%20b.jpg"), missing, fine("plain.txt")})
	u := segment(t, w, 3, []task{broken, fine("pct%2520literal")})
	if err := w.Finish(t.Context(), created(), each(s, u)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	bucket := os.DirFS(filepath.Join("testdata", "reports"))
	err := fs.WalkDir(bucket, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(bucket, name)
		want[name] = string(data)
		return err
	})
	if err != nil || len(want) != 4 {
		t.Fatalf("example: got %d objects, %v", len(want), err)
	}
	if diff := cmp.Diff(want, m.finished()); diff != "" {
		t.Errorf("example (-) and written (+):\n%s", diff)
	}
}

// TestOrder makes sure that whoever sees manifest.json finds everything else,
// and that every object goes out as asked.
func TestOrder(t *testing.T) {
	t.Parallel()
	m := newMemory()
	w := report.NewWriter(m, newJob(job.AllTasks), report.Options{JSONCopy: true, SSE: "AES256", TempDir: t.TempDir()})
	s := segment(t, w, 0, []task{fine("a"), failed("b")})
	parts := len(m.puts)
	if err := w.Finish(t.Context(), created(), each(s)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range m.puts[parts:] {
		kind, _, _ := strings.Cut(strings.TrimPrefix(in.Key, folder), "/")
		got = append(got, kind+" "+in.ContentType)
	}
	want := []string{
		"results text/csv", "results text/csv", "manifest.json.md5 text/plain", "report.json application/json", "manifest.json application/json",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) and got (+):\n%s", diff)
	}
	for _, in := range m.puts {
		if in.Bucket != "reports" || in.SSE != "AES256" || in.ExpectedBucketOwner != "123456789012" {
			t.Errorf("%s: bucket %q, SSE %q, owner %q", in.Key, in.Bucket, in.SSE, in.ExpectedBucketOwner)
		}
	}
	if copied, index := m.objects[folder+"report.json"], m.objects[folder+"manifest.json"]; string(copied) != string(index) {
		t.Errorf("report.json is %q, manifest.json %q", copied, index)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	check := func(prefix, want string) {
		t.Helper()
		m, j := newMemory(), newJob(job.AllTasks)
		j.Spec.Report.Prefix = prefix
		w := report.NewWriter(m, j, report.Options{TempDir: t.TempDir()})
		if err := w.Finish(t.Context(), created(), each(segment(t, w, 0, []task{fine("a")}))); err != nil {
			t.Fatal(err)
		}
		for key := range m.objects {
			if !strings.HasPrefix(key, want) {
				t.Errorf("prefix %q: got %s, want %s...", prefix, key, want)
			}
		}
		key := m.index(t, want)["succeeded"][0]
		if _, ok := m.objects[key]; !ok {
			t.Errorf("prefix %q: the index names %s", prefix, key)
		}
		if index := string(m.objects[want+"manifest.json"]); !strings.Contains(index, strings.ReplaceAll(key, `"`, `\"`)) {
			t.Errorf("prefix %q: %s is not readable in %s", prefix, key, index)
		}
	}
	check("", "job-"+id+"/")
	check("a", "a/job-"+id+"/")
	check("a/b/", "a/b/job-"+id+"/")
	check("a//", "a//job-"+id+"/")
	check("a<&>\"é", "a<&>\"é/job-"+id+"/")
}

func TestScope(t *testing.T) {
	t.Parallel()
	wants := func(r job.Report, succeeded, failed bool) {
		t.Helper()
		w := report.NewWriter(newMemory(), &job.Job{Spec: job.Spec{Report: r}}, report.Options{})
		if w.Wants(false) != succeeded || w.Wants(true) != failed {
			t.Errorf("%+v: wants %t, %t, want %t, %t", r, w.Wants(false), w.Wants(true), succeeded, failed)
		}
	}
	wants(job.Report{Enabled: true, ReportScope: job.AllTasks}, true, true)
	wants(job.Report{Enabled: true, ReportScope: job.FailedTasks}, false, true)
	wants(job.Report{ReportScope: job.AllTasks}, false, false)

	finish := func(scope job.ReportScope, enabled bool, batches ...[]task) *memory {
		t.Helper()
		m, j := newMemory(), newJob(scope)
		j.Spec.Report.Enabled = enabled
		w := report.NewWriter(m, j, report.Options{TempDir: t.TempDir()})
		var segments []job.Segment
		for i, tasks := range batches {
			segments = append(segments, segment(t, w, int64(i), tasks))
		}
		if err := w.Finish(t.Context(), created(), each(segments...)); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := finish(job.FailedTasks, true, []task{fine("a")}); len(m.objects) != 2 || len(m.index(t, folder)) != 0 {
		t.Errorf("nothing failed: got %v", m.objects)
	} else if index := m.objects[folder+"manifest.json"]; !strings.Contains(string(index), `"Results": []`) {
		t.Errorf("nothing failed: got %s", index)
	}
	if m := finish(job.FailedTasks, true, []task{fine("a"), failed("b")}); len(m.index(t, folder)["succeeded"]) != 0 || len(m.index(t, folder)["failed"]) != 1 {
		t.Errorf("one failed: got %v", m.objects)
	}
	if m := finish(job.AllTasks, true, []task{fine("a")}); len(m.index(t, folder)["succeeded"]) != 1 || len(m.index(t, folder)["failed"]) != 0 {
		t.Errorf("none failed: got %v", m.objects)
	}
	m := newMemory()
	bare := job.Segment{Parts: []job.Part{{Key: "nowhere"}, {Key: "nowhere", Failed: true}}}
	if err := report.NewWriter(m, newJob(job.AllTasks), report.Options{}).Finish(t.Context(), created(), each(bare)); err != nil || len(m.index(t, folder)) != 0 {
		t.Errorf("parts without rows: got %v, %v", m.objects, err)
	}
	if m := finish(job.AllTasks, true); len(m.objects) != 0 {
		t.Errorf("no task ran: got %v", m.objects)
	}
	if m := finish(job.AllTasks, false, []task{fine("a")}); len(m.objects) != 0 {
		t.Errorf("disabled: got %v", m.objects)
	}
}

// TestSameRows writes any tasks in any segments: rows in, rows out, in order.
func TestSameRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m, opt := newMemory(), report.Options{
			MaxFileBytes: rapid.Int64Range(1, 400).Draw(rt, "bytes"),
			MaxFileRows:  rapid.Int64Range(1, 10).Draw(rt, "rows"),
			TempDir:      dir,
		}
		w := report.NewWriter(m, newJob(job.AllTasks), opt)
		var all []task
		var segments []job.Segment
		for row := int64(0); len(segments) < 12 && rapid.Bool().Draw(rt, "more"); row += rapid.Int64Range(0, 3).Draw(rt, "gap") {
			var tasks []task
			for range rapid.IntRange(1, 8).Draw(rt, "tasks") {
				key := fmt.Sprint(rapid.StringN(0, 10, 20).Draw(rt, "key"), len(all)+len(tasks))
				if rapid.Bool().Draw(rt, "failed") {
					tasks = append(tasks, failed(key))
				} else {
					tasks = append(tasks, fine(key))
				}
			}
			all = append(all, tasks...)
			segments = append(segments, segment(t, w, row, tasks))
			row += int64(len(tasks))
		}
		if err := w.Finish(t.Context(), created(), each(segments...)); err != nil {
			rt.Fatal(err)
		}
		if len(all) == 0 {
			return
		}
		parts := map[string]bool{}
		for _, s := range segments {
			for _, p := range s.Parts {
				parts[string(m.objects[p.Key])] = true
			}
		}
		for status, keys := range m.index(t, folder) {
			var got strings.Builder
			for _, key := range keys {
				data := m.objects[key]
				got.Write(data)
				list, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
				if err != nil {
					rt.Fatal(err)
				}
				if size, n := int64(len(data)), int64(len(list)); (size > opt.MaxFileBytes || n > opt.MaxFileRows) && !parts[string(data)] {
					rt.Errorf("%s: %d bytes, %d rows of more than one part, want at most %d and %d", key, size, n, opt.MaxFileBytes, opt.MaxFileRows)
				}
			}
			if want := rows(all, status == "failed"); got.String() != want {
				rt.Errorf("%s: got %q, want %q", status, got.String(), want)
			}
		}
		if m.opened != 0 || m.most > 16 {
			rt.Errorf("%d parts left open, %d open at a time", m.opened, m.most)
		}
		if err := w.DeleteParts(t.Context(), each(segments...)); err != nil {
			rt.Fatal(err)
		}
		if len(m.objects) != len(m.finished()) {
			rt.Error("parts are left")
		}
	})
	empty(t, dir)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("temporary files %v are left, %v", left, err)
	}
}

// TestSplit looks at where the files are cut.
func TestSplit(t *testing.T) {
	t.Parallel()
	check := func(bytes, limit int64, want ...int) {
		t.Helper()
		m := newMemory()
		w := report.NewWriter(m, newJob(job.AllTasks), report.Options{MaxFileBytes: bytes, MaxFileRows: limit, TempDir: t.TempDir()})
		var segments []job.Segment
		for i := range int64(6) {
			segments = append(segments, segment(t, w, 2*i, []task{fine("a"), fine("b")}))
		}
		if err := w.Finish(t.Context(), created(), each(segments...)); err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, key := range m.index(t, folder)["succeeded"] {
			got = append(got, strings.Count(string(m.objects[key]), "\n"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("at most %d bytes, %d rows: got files of %d rows, want %d", bytes, limit, got, want)
		}
	}
	part := int64(len(fine("a").row() + fine("b").row()))
	check(0, 0, 12) // the defaults
	check(0, 4, 4, 4, 4)
	check(0, 5, 4, 4, 4)
	check(0, 1, 2, 2, 2, 2, 2, 2) // a part is never cut
	check(4*part, 0, 8, 4)
	check(4*part-1, 0, 6, 6)
	check(1, 0, 2, 2, 2, 2, 2, 2)
}

// TestCutOff fails every single Put in turn and finishes again.
func TestCutOff(t *testing.T) {
	t.Parallel()
	opt := report.Options{JSONCopy: true, MaxFileRows: 2, TempDir: t.TempDir()}
	write := func(m *memory, fail int) (again bool) {
		w := report.NewWriter(m, newJob(job.AllTasks), opt)
		var segments []job.Segment
		for row := range int64(4) {
			segments = append(segments, segment(t, w, 2*row, []task{fine(fmt.Sprint("a", row)), failed(fmt.Sprint("b", row))}))
		}
		parts := len(m.puts)
		m.onPut = func(n int, _ objectstore.PutInput) error {
			if n == parts+fail {
				return &objectstore.Error{Op: "PutObject", Status: 500, Code: "InternalError"}
			}
			return nil
		}
		err := w.Finish(t.Context(), created(), each(segments...))
		if _, ok := errors.AsType[*report.WriteError](err); err != nil && !ok {
			t.Fatal(err)
		}
		if _, whole := m.objects[folder+"manifest.json"]; whole != (err == nil) {
			t.Errorf("put %d failed (%v): manifest.json there: %t", fail, err, whole)
		}
		if err == nil {
			return false
		}
		m.onPut = nil
		w = report.NewWriter(m, newJob(job.AllTasks), opt) // another process
		if err := w.Finish(t.Context(), created(), each(segments...)); err != nil {
			t.Fatal(err)
		}
		return true
	}
	clean := newMemory()
	write(clean, 0)
	want := clean.finished()
	if len(want) != 7 {
		t.Fatalf("got %d objects, want 4 results, 2 indexes, 1 digest", len(want))
	}
	n := 0
	for again := true; again; {
		n++
		m := newMemory()
		again = write(m, n)
		if diff := cmp.Diff(want, m.finished()); diff != "" {
			t.Errorf("put %d failed: without (-) and with (+) failure:\n%s", n, diff)
		}
	}
	if n != len(want)+1 {
		t.Errorf("got %d puts, want %d", n-1, len(want))
	}
	empty(t, opt.TempDir)
}

// TestLateWriter has a worker that lost its claim write its part after the
// segment of the next one was committed.
func TestLateWriter(t *testing.T) {
	t.Parallel()
	m := newMemory()
	w := report.NewWriter(m, newJob(job.AllTasks), report.Options{TempDir: t.TempDir()})
	committed := segment(t, w, 0, []task{fine("a"), failed("b")})
	segment(t, w, 0, []task{fine("a"), fine("b"), fine("c")})
	if err := w.Finish(t.Context(), created(), each(committed)); err != nil {
		t.Fatal(err)
	}
	keys := m.index(t, folder)
	if got := string(m.objects[keys["succeeded"][0]]); got != fine("a").row() {
		t.Errorf("got %q, want the committed row", got)
	}
	if err := w.DeleteParts(t.Context(), each(committed)); err != nil {
		t.Fatal(err)
	}
	if len(m.objects) != 4 {
		t.Errorf("got %d objects, want the 4 of the report", len(m.objects))
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	over := errors.New("shutting down")
	check := func(name string, spoil func(m *memory, s []job.Segment, stop func()) iter.Seq2[job.Segment, error], want string, ours bool) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		dir, m := t.TempDir(), newMemory()
		w := report.NewWriter(m, newJob(job.AllTasks), report.Options{TempDir: dir})
		segments := []job.Segment{
			segment(t, w, 0, []task{fine("a"), failed("b")}),
			segment(t, w, 2, []task{fine("c"), fine("d")}),
			segment(t, w, 4, []task{fine("e"), failed("f")}),
		}
		all := spoil(m, segments, func() { cancel(over) })
		if all == nil {
			all = each(segments...)
		}
		err := w.Finish(ctx, created(), all)
		cancel(nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
			return
		}
		e, fails := errors.AsType[*report.WriteError](err)
		if fails == ours {
			t.Errorf("%s: %v fails the job: %t", name, err, fails)
		}
		if fails && e.Reason() != (job.FailureReason{FailureCode: "ReportWriteFailed", FailureReason: report.FailureText}) {
			t.Errorf("%s: got reason %+v", name, e.Reason())
		}
		if _, ok := m.objects[folder+"manifest.json"]; ok {
			t.Errorf("%s: there is a manifest.json", name)
		}
		if m.opened != 0 {
			t.Errorf("%s: %d parts left open", name, m.opened)
		}
		empty(t, dir)
	}
	type sequence = iter.Seq2[job.Segment, error]
	const fails, ours = false, true
	check("report error", func(_ *memory, s []job.Segment, _ func()) sequence { s[2].ReportError = "AccessDenied: no"; return nil },
		"write report: AccessDenied: no", fails)
	check("part missing", func(m *memory, s []job.Segment, _ func()) sequence { delete(m.objects, s[1].Parts[0].Key); return nil },
		"NoSuchKey", fails)
	spoil := func(with string) func(m *memory, s []job.Segment, _ func()) sequence {
		return func(m *memory, s []job.Segment, _ func()) sequence {
			p := s[0].Parts[0]
			data := string(m.objects[p.Key])
			m.objects[p.Key] = []byte(strings.NewReplacer("X", data[:len(data)-1], "Y", data).Replace(with))
			return nil
		}
	}
	check("part other", spoil("X!"), "its MD5 is not", fails)
	check("part shorter", spoil("X"), "was written with", fails)
	check("part longer", spoil("Y!"), "more than its", fails)
	check("rows missing", func(_ *memory, s []job.Segment, _ func()) sequence { s[1].Parts = nil; return nil },
		"has rows for 0 succeeded and 0 failed tasks, counts 2 and 0", fails)
	check("failed rows missing", func(_ *memory, s []job.Segment, _ func()) sequence { s[1].Failed++; return nil }, "counts 2 and 1", fails)
	check("forbidden", func(m *memory, _ []job.Segment, _ func()) sequence {
		m.onPut = func(int, objectstore.PutInput) error {
			return &objectstore.Error{Op: "PutObject", Status: 403, Code: "AccessDenied"}
		}
		return nil
	}, "AccessDenied", fails)
	check("overlap", func(_ *memory, s []job.Segment, _ func()) sequence { s[1].Row = 1; return nil }, "segment of row 1 comes after row 2", ours)
	check("segments unreadable", func(_ *memory, s []job.Segment, _ func()) sequence {
		return func(yield func(job.Segment, error) bool) {
			if yield(s[0], nil) {
				yield(job.Segment{}, errors.New("no quorum"))
			}
		}
	}, "read segments: no quorum", ours)
	check("stopped", func(_ *memory, _ []job.Segment, stop func()) sequence { stop(); return nil }, "shutting down", ours)
	check("stopped while reading", func(m *memory, _ []job.Segment, stop func()) sequence {
		m.onOpen = func(string) error { stop(); return context.Canceled }
		return nil
	}, "shutting down", ours)
	check("stopped while writing", func(m *memory, _ []job.Segment, stop func()) sequence {
		m.onPut = func(int, objectstore.PutInput) error { stop(); return context.Canceled }
		return nil
	}, "shutting down", ours)
	check("disk full", func(m *memory, _ []job.Segment, _ func()) sequence {
		m.onOpen = func(string) error { return &fs.PathError{Op: "write", Path: "report.csv", Err: syscall.ENOSPC} }
		return nil
	}, "no space left", ours)
	check("part missing early", func(m *memory, s []job.Segment, _ func()) sequence {
		delete(m.objects, s[0].Parts[0].Key)
		return func(yield func(job.Segment, error) bool) {
			const most = 100_000
			for row := range int64(most) { // all in one file, all gone
				if !yield(job.Segment{Row: row, Rows: 1, Succeeded: 1, Parts: []job.Part{{Key: s[0].Parts[0].Key, Rows: 1}}}, nil) {
					return
				}
			}
			t.Errorf("%d more parts were asked for after one was gone", most)
		}
	}, "NoSuchKey", fails)
	check("closed", func(m *memory, _ []job.Segment, _ func()) sequence {
		m.onPut = func(int, objectstore.PutInput) error {
			return &objectstore.Error{Op: "PutObject", Err: objectstore.ErrClosed}
		}
		return nil
	}, "closed", ours)
}

// TestParallel reads parts side by side, but not all at once.
func TestParallel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		w := report.NewWriter(m, newJob(job.AllTasks), report.Options{TempDir: t.TempDir()})
		var segments []job.Segment
		for row := range int64(40) {
			segments = append(segments, segment(t, w, row, []task{fine("a")}))
		}
		m.slow = time.Second
		if err := w.Finish(t.Context(), created(), each(segments...)); err != nil {
			t.Fatal(err)
		}
		if m.most != 8 {
			t.Errorf("%d parts were read at the same time, want 8", m.most)
		}
	})
}

func TestNoTempDir(t *testing.T) {
	t.Parallel()
	w := report.NewWriter(newMemory(), newJob(job.AllTasks), report.Options{TempDir: filepath.Join(t.TempDir(), "missing")})
	err := w.Finish(t.Context(), created(), each(segment(t, w, 0, []task{fine("a")})))
	if _, fails := errors.AsType[*report.WriteError](err); err == nil || fails {
		t.Errorf("got %v, want an error that does not fail the job", err)
	}
}

func TestPutPartRefused(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.onPut = func(int, objectstore.PutInput) error {
		return &objectstore.Error{Op: "PutObject", Status: 404, Code: "NoSuchBucket"}
	}
	w := report.NewWriter(m, newJob(job.AllTasks), report.Options{})
	_, err := w.PutPart(t.Context(), 0, false, 1, []byte("x\n"))
	if _, ok := errors.AsType[*report.WriteError](err); !ok || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("got %v, want a WriteError", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.PutPart(ctx, 0, false, 1, []byte("x\n")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that of the context", err)
	}
}

// TestNoEncryption is about stores that refuse x-amz-server-side-encryption.
func TestNoEncryption(t *testing.T) {
	t.Parallel()
	check := func(code string, require bool, want string) {
		t.Helper()
		m := newMemory()
		m.onPut = func(_ int, in objectstore.PutInput) error {
			if in.SSE != "" {
				return &objectstore.Error{Op: "PutObject", Status: 400, Code: code}
			}
			return nil
		}
		w := report.NewWriter(m, newJob(job.AllTasks), report.Options{SSE: "AES256", RequireSSE: require})
		for i := range int64(2) {
			_, _ = w.PutPart(t.Context(), i, false, 1, []byte("x\n"))
		}
		var got []string
		for _, in := range m.puts {
			got = append(got, "<"+in.SSE+">")
		}
		if got := strings.Join(got, ""); got != want {
			t.Errorf("%s, required %t: got %s, want %s", code, require, got, want)
		}
	}
	check("NotImplemented", false, "<AES256><><>") // asked once only
	check("InvalidArgument", false, "<AES256><><>")
	check("NotImplemented", true, "<AES256><AES256>")
	check("AccessDenied", false, "<AES256><AES256>") // a policy may demand it
}

func TestDeleteParts(t *testing.T) {
	t.Parallel()
	m := newMemory()
	w := report.NewWriter(m, newJob(job.AllTasks), report.Options{TempDir: t.TempDir()})
	known, orphan := segment(t, w, 0, []task{fine("a")}), segment(t, w, 1, []task{fine("b")})
	m.objects["batch/job-other/parts/x.csv"] = nil

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asked := 0
	if err := w.DeleteParts(ctx, func(yield func(job.Segment, error) bool) {
		for range 100 {
			if asked++; !yield(known, nil) {
				return
			}
		}
	}); !errors.Is(err, context.Canceled) || asked != 1 {
		t.Errorf("got %v after %d segments, want that of the context at once", err, asked)
	}
	m.objects[known.Parts[0].Key] = nil // the double deletes first and asks then

	m.onList = func() error { return &objectstore.Error{Status: 403, Code: "AccessDenied"} }
	if err := w.DeleteParts(t.Context(), each(known)); err != nil {
		t.Errorf("may not list: %v", err)
	}
	if _, ok := m.objects[known.Parts[0].Key]; ok || len(m.objects) != 2 {
		t.Errorf("may not list: got %v", m.objects)
	}
	m.onList = func() error { return &objectstore.Error{Status: 500, Code: "InternalError"} }
	if err := w.DeleteParts(t.Context(), each()); err == nil {
		t.Error("listing broke: got no error")
	}
	m.onList = nil
	for range 2 {
		if err := w.DeleteParts(t.Context(), each(known)); err != nil {
			t.Error(err)
		}
	}
	if _, ok := m.objects[orphan.Parts[0].Key]; ok || len(m.objects) != 1 {
		t.Errorf("got %v, want the other job's part only", m.objects)
	}
	j := newJob(job.AllTasks)
	j.Spec.Report.Enabled = false
	if err := report.NewWriter(nil, j, report.Options{}).DeleteParts(t.Context(), each()); err != nil {
		t.Error(err)
	}
}
