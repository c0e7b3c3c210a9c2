package run_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/run"
)

// buckets answers about versions by name.
type buckets struct{ asked atomic.Int64 }

func (b *buckets) Versioning(_ context.Context, bucket string) (string, error) {
	b.asked.Add(1)
	switch bucket {
	case "enabled":
		return "Enabled", nil
	case "suspended":
		return "Suspended", nil
	case "refused":
		return "", &objectstore.Error{Status: 403}
	case "unknown":
		return "", &objectstore.Error{Status: 501}
	case "gone":
		return "", &objectstore.Error{Status: 404}
	case "down":
		return "", &objectstore.Error{Err: errors.New("no route")}
	default:
		return "", nil
	}
}

type see func(t *operation.Task)

func (f see) Do(_ context.Context, t *operation.Task, _ *operation.Scratch, out *job.Outcome) error {
	f(t)
	settle(out, false)
	return nil
}

func TestVersionIDsCountWhereBucketsKeepVersions(t *testing.T) {
	t.Parallel()
	const missing, unknown = "Task failed due to missing VersionId", "cannot tell whether the bucket keeps versions"
	for row, want := range map[string]string{
		"enabled,k,v":     "v",
		"enabled,k,null":  "null",
		"enabled,k,":      missing,
		"suspended,k,v":   "v",
		"suspended,k,":    missing,
		"refused,k,v":     "v",
		"refused,k,":      missing,
		"unknown,k,v":     "v",
		"unknown,k,":      missing,
		"gone,k,v":        "",
		"gone,k,":         "",
		"never,k,ignored": "",
		"never,k,":        "",
		"down,k,v":        "v",
		"down,k,":         unknown,
	} {
		got := "not done"
		b := newBench(t, 0, see(func(task *operation.Task) { got = string(task.VersionID) }))
		b.job.Versions = run.NewVersions(new(buckets))
		b.manifest.data = row
		b.job.Source = b.manifest.locate(t, job.FieldBucket, job.FieldKey, job.FieldVersionID)
		b.book.chunk = job.Chunk{Rows: 1, End: int64(len(row)), Line: 1}
		if err := run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(want, " ") {
			for _, part := range b.report.parts {
				if !strings.Contains(string(part), want) || got != "not done" {
					t.Errorf("%s: %s", row, part)
				}
			}
		} else if got != want || b.book.tally.Succeeded != 1 {
			t.Errorf("%s: done with version %q, tally %+v", row, got, b.book.tally)
		}
	}
}

func TestEachBucketIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0, see(func(*operation.Task) {}))
	asked := new(buckets)
	b.job.Versions = run.NewVersions(asked)
	b.manifest.data = strings.Repeat("enabled,k,v\nnever,k,v\ndown,k,v\n", 500)
	b.job.Source = b.manifest.locate(t, job.FieldBucket, job.FieldKey, job.FieldVersionID)
	b.book.chunk = job.Chunk{Rows: 1500, End: int64(len(b.manifest.data)), Line: 1}
	if err := run.New(run.Config{}).Chunk(t.Context(), t.Context(), b.job, b.book.claim()); err != nil {
		t.Fatal(err)
	}
	if n := asked.asked.Load(); n != 3 {
		t.Errorf("asked %d times about 3 buckets", n)
	}
}
