package plan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	s3test "stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/plan"
	"stevedore/internal/source"
)

// memory is a manifest in memory that can break after some bytes.
type memory struct {
	data    string
	breakAt int // of each Open; 0: never
	opens   int
}

func (m *memory) Head(context.Context, objectstore.Object) (objectstore.Info, error) {
	return objectstore.Info{Size: int64(len(m.data)), ETag: "etag"}, nil
}

func (m *memory) Open(_ context.Context, o objectstore.Object, offset, _ int64) (io.ReadCloser, objectstore.Info, error) {
	m.opens++
	if o.ETag != "etag" {
		return nil, objectstore.Info{}, errors.New("not pinned")
	}
	if offset >= int64(len(m.data)) {
		return nil, objectstore.Info{}, &objectstore.Error{Status: 416, Code: "InvalidRange"}
	}
	r := io.Reader(strings.NewReader(m.data[offset:]))
	if m.breakAt > 0 {
		r = io.MultiReader(io.LimitReader(r, int64(m.breakAt)), broken{})
	}
	return io.NopCloser(r), objectstore.Info{}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// requestOf asks for the plan of a CSV manifest.
func requestOf(fields ...job.Field) plan.Request {
	if fields == nil {
		fields = []job.Field{job.FieldBucket, job.FieldKey}
	}
	return plan.Request{Source: source.SpecOf(&job.Manifest{
		Spec:     &job.ManifestSpec{Format: job.ManifestCSV, Fields: fields},
		Location: &job.ManifestLocation{ObjectArn: "arn:aws:s3:::b/dir/m one.csv", ETag: `"etag"`},
	}, false)}
}

// saved is what a planner stores.
type saved struct {
	chunks      []job.Chunk
	checkpoints []job.Checkpoint
	at          []int // chunks at each checkpoint
}

func (s *saved) save(_ context.Context, chunks []job.Chunk, cp job.Checkpoint) error {
	s.chunks = append(s.chunks, chunks...)
	s.checkpoints = append(s.checkpoints, cp)
	s.at = append(s.at, len(s.chunks))
	return nil
}

// line draws a line of a manifest; an empty one is no row.
func line(t *rapid.T) string {
	key := strings.Repeat("k", rapid.IntRange(1, 40).Draw(t, "key"))
	end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return end
	case 1:
		return `"b","` + key + `"` + end
	default:
		return "b," + key + end
	}
}

func isRow(line string) bool { return strings.Trim(line, "\r\n") != "" }

func manifestOf(t *rapid.T) (data string, rows int64) {
	some := rapid.SliceOfN(rapid.Custom(line), 1, 50).Draw(t, "lines")
	some = append(some, "b,k\n") // one row at least
	var b strings.Builder
	for range rapid.IntRange(1, 150).Draw(t, "times") {
		for _, l := range some {
			b.WriteString(l)
			if isRow(l) {
				rows++
			}
		}
	}
	data = b.String()
	if rapid.Bool().Draw(t, "without a last line end") {
		data = strings.TrimRight(data, "\r\n")
	}
	return data, rows
}

// firstBucket is the bucket of a manifest's first row.
func firstBucket(t interface{ Fatal(args ...any) }, data string) string {
	layout, err := manifest.NewLayout(requestOf().Source.Fields)
	if err != nil {
		t.Fatal(err)
	}
	var row manifest.Row
	if rows := manifest.NewCSV(strings.NewReader(data), layout, manifest.Position{}); !rows.Next(&row) {
		t.Fatal(rows.Err())
	}
	return string(row.Bucket)
}

// checkChunks compares chunks with the manifest: they cover every row once, in
// order, and each reads back as exactly its rows.
func checkChunks(t *rapid.T, data string, rows int64, chunks []job.Chunk) {
	layout, err := manifest.NewLayout(requestOf().Source.Fields)
	if err != nil {
		t.Fatal(err)
	}
	var next int64
	for i, c := range chunks {
		if c.First != next || c.Row != next || c.Rows <= 0 || i < len(chunks)-1 && c.Rows != 1000 {
			t.Fatalf("chunk %d: %+v at row %d", i, c, next)
		}
		if want := int64(strings.Count(data[:c.Offset], "\n")) + 1; c.Line != want && c.Line+want != 1 {
			t.Fatalf("chunk %d starts at line %d, says %d", i, want, c.Line)
		}
		r := manifest.NewCSV(strings.NewReader(data[c.Offset:c.End]), layout, manifest.Position{Offset: c.Offset, Line: c.Line})
		var row manifest.Row
		var n int64
		for r.Next(&row) {
			n++
		}
		if r.Err() != nil || n != c.Rows {
			t.Fatalf("chunk %d: %+v reads as %d rows, %v", i, c, n, r.Err())
		}
		next += c.Rows
	}
	if next != rows {
		t.Fatalf("chunks cover %d rows of %d", next, rows)
	}
}

func TestChunksCoverTheManifest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data, rows := manifestOf(t)
		var s saved
		got, err := plan.Make(context.Background(), requestOf(), &memory{data: data}, job.Checkpoint{}, s.save)
		if err != nil {
			t.Fatal(err)
		}
		if want := (job.Plan{Tasks: rows, Bytes: int64(len(data)), Bucket: firstBucket(t, data), ETag: "etag"}); got != want {
			t.Errorf("plan %+v, want %+v", got, want)
		}
		checkChunks(t, data, rows, s.chunks)
	})
}

// Planning breaks off again and again, at any byte, and each time somebody takes
// it up from the last checkpoint: the chunks are those of one go.
func TestPlanningGoesOnFromEveryCheckpoint(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data, rows := manifestOf(t)
		m := &memory{data: data}
		var s saved
		lost := errors.New("the answer of the job store got lost")
		var from job.Checkpoint
		for try := 0; ; try++ {
			m.breakAt = 0
			if try < 10 && rapid.Bool().Draw(t, "breaks") {
				m.breakAt = rapid.IntRange(1, len(data)).Draw(t, "at")
			}
			saves, fail := 0, rapid.IntRange(0, 3).Draw(t, "failing save")
			got, err := plan.Make(context.Background(), requestOf(), m, from, func(ctx context.Context, chunks []job.Chunk, cp job.Checkpoint) error {
				if saves++; try < 10 && saves == fail {
					return lost
				}
				from = cp
				return s.save(ctx, chunks, cp)
			})
			if err == nil {
				if got.Tasks != rows || got.ETag != "etag" || got.Bytes != int64(len(data)) {
					t.Errorf("plan %+v of %d rows", got, rows)
				}
				break
			}
			if _, failed := errors.AsType[*job.FailedError](err); failed || m.breakAt == 0 && !errors.Is(err, lost) {
				t.Fatal(err)
			}
		}
		checkChunks(t, data, rows, s.chunks)
	})
}

func TestCheckpointsAreResumable(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("b,k\n", 150_500) + "\n\n"
	var all saved
	if _, err := plan.Make(t.Context(), requestOf(), &memory{data: data}, job.Checkpoint{}, all.save); err != nil {
		t.Fatal(err)
	}
	if len(all.checkpoints) < 3 {
		t.Fatalf("only %d checkpoints", len(all.checkpoints))
	}
	for i, cp := range all.checkpoints {
		rest := saved{chunks: slices.Clone(all.chunks[:all.at[i]])}
		if cp.Chunks != int64(all.at[i]) {
			t.Errorf("checkpoint %+v after %d chunks", cp, all.at[i])
		}
		got, err := plan.Make(t.Context(), requestOf(), &memory{data: data}, cp, rest.save)
		if err != nil || got.Tasks != 150_500 {
			t.Errorf("from %+v: %+v, %v", cp, got, err)
		}
		if diff := cmp.Diff(all.chunks, rest.chunks); diff != "" {
			t.Errorf("from %+v (-want +got):\n%s", cp, diff)
		}
	}
}

// What is behind the last row may be nothing at all: not a byte to ask for.
func TestCheckpointAtTheEnd(t *testing.T) {
	t.Parallel()
	m := &memory{data: "b,k\n"}
	var s saved
	cp := job.Checkpoint{Chunks: 1, Rows: 1, Offset: 4, Line: 2, Bucket: "b", ETag: "etag", Size: 4}
	got, err := plan.Make(t.Context(), requestOf(), m, cp, s.save)
	if err != nil || got != (job.Plan{Tasks: 1, Bytes: 4, Bucket: "b", ETag: "etag"}) || len(s.chunks) != 0 || m.opens != 0 {
		t.Errorf("%+v, %v, chunks %+v, %d opens", got, err, s.chunks, m.opens)
	}
}

func TestChunksGrowWithTheManifest(t *testing.T) {
	t.Parallel()
	for rows, want := range map[int]int64{1: 1, 999: 999, 1000: 1000, 1001: 1000, 900_000: 1000, 3_000_000: 3000} {
		var s saved
		if _, err := plan.Make(t.Context(), requestOf(), &memory{data: strings.Repeat("b,k\n", rows)}, job.Checkpoint{}, s.save); err != nil {
			t.Fatal(err)
		}
		if got := s.chunks[0].Rows; got != want {
			t.Errorf("%d rows: the first chunk has %d, want %d", rows, got, want)
		}
	}
}

// Every read of a manifest says which object exactly it means.
func TestEveryRequestIsPinned(t *testing.T) {
	t.Parallel()
	for _, versioned := range []bool{false, true} {
		s := s3test.Start(t, s3test.Config{})
		if s.CreateBucket("b"); versioned {
			s.SetVersioning("b", "Enabled")
		}
		o := s.Put("b", "dir/m one.csv", strings.Repeat("b,some/key/of/some/length\n", 3000))
		s.Fault(s3test.Match{Op: "GetObject", Times: 3}, s3test.CutBody(20_000))
		store, err := objectstore.New(objectstore.Config{Endpoint: s.URL(), Credentials: s.Credentials()})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		r := requestOf()
		r.Source.Object.ETag = `"` + o.ETag + `"`
		var saves saved
		got, err := plan.Make(t.Context(), r, store, job.Checkpoint{}, saves.save)
		if err != nil {
			t.Fatal(err)
		}
		if want := (job.Plan{Tasks: 3000, Bytes: int64(len(o.Body)), Bucket: firstBucket(t, string(o.Body)), ETag: o.ETag, VersionID: o.VersionID}); got != want {
			t.Errorf("plan %+v, want %+v", got, want)
		}
		reads := s.Requests("GetObject")
		if len(reads) != 4 {
			t.Errorf("%d reads", len(reads))
		}
		for _, r := range reads {
			if r.Header.Get("If-Match") != `"`+o.ETag+`"` || r.VersionID != o.VersionID {
				t.Errorf("read with If-Match %q and version %q, want %q and %q", r.Header.Get("If-Match"), r.VersionID, o.ETag, o.VersionID)
			}
		}
		for _, cp := range saves.checkpoints {
			if cp.ETag != o.ETag || cp.VersionID != o.VersionID || cp.Size != int64(len(o.Body)) {
				t.Errorf("checkpoint %+v", cp)
			}
		}
	}
}

func TestAGivenVersionIsPlanned(t *testing.T) {
	t.Parallel()
	s := s3test.Start(t, s3test.Config{})
	s.CreateBucket("b")
	unversioned := s.Put("b", "dir/m one.csv", "b,1\n")
	s.SetVersioning("b", "Enabled")
	first := s.Put("b", "dir/m one.csv", "b,1\nb,2\n")
	s.Put("b", "dir/m one.csv", "b,1\nb,2\nb,3\n")
	store, err := objectstore.New(objectstore.Config{Endpoint: s.URL(), Credentials: s.Credentials()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for version, want := range map[string]s3test.Object{"null": unversioned, first.VersionID: first} {
		r := requestOf()
		r.Source.Object.ETag, r.Source.Object.VersionID = want.ETag, version
		got, err := plan.Make(t.Context(), r, store, job.Checkpoint{}, new(saved).save)
		if err != nil || got.Bytes != int64(len(want.Body)) || got.VersionID != version {
			t.Errorf("version %s: %+v, %v", version, got, err)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data   string
		fields []job.Field
		etag   string
		code   string
		text   string
	}{
		"no rows":        {data: "\n\n", code: "InvalidManifestContent", text: "Invalid Manifest Content: the manifest has no rows"},
		"empty":          {data: "", code: "InvalidManifestContent", text: "Invalid Manifest Content: the manifest has no rows"},
		"columns":        {data: "b,k\nb\n", code: "InvalidManifestContent", text: "Manifest file is not properly formatted: line 2: got 1 columns, want 2"},
		"missing fields": {data: "b,k\n", fields: []job.Field{job.FieldKey}, code: "InvalidManifestContent", text: "Required fields are missing in the schema: Bucket"},
		"other ETag": {
			data: "b,k\n", etag: `W/"other"`, code: "ManifestETagMismatch",
			text: "The manifest arn:aws:s3:::b/dir/m one.csv has the ETag etag, the job was created for other. Create the job again with the manifest's present ETag.",
		},
	} {
		r := requestOf(c.fields...)
		if c.etag != "" {
			r.Source.Object.ETag = c.etag
		}
		_, err := plan.Make(t.Context(), r, &memory{data: c.data}, job.Checkpoint{}, new(saved).save)
		failed, ok := errors.AsType[*job.FailedError](err)
		if !ok || failed.Reason.FailureCode != c.code || failed.Reason.FailureReason != c.text {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTooManyRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op    job.Operation
		limit int64
	}{
		{job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}, 20_000_000_000},
		{job.Operation{S3InitiateRestoreObject: &job.S3InitiateRestoreObject{}}, 4_000_000_000},
	} {
		for rows, tooMany := range map[int64]bool{c.limit: false, c.limit + 1: true} {
			r := requestOf()
			r.Most = plan.MaxTasks(c.op)
			from := job.Checkpoint{Rows: c.limit - 10, Offset: 0, Line: 1, ETag: "etag", Size: 44}
			_, err := plan.Make(t.Context(), r, &memory{data: strings.Repeat("b,k\n", int(rows-from.Rows))}, from, new(saved).save)
			failed, is := errors.AsType[*job.FailedError](err)
			if is != tooMany || is && !strings.Contains(failed.Reason.FailureReason, "it contains more keys than the maximum allowed in a single job") {
				t.Errorf("%s, %d rows: %v", c.op.Name(), rows, err)
			}
		}
	}
}

func TestEndOfTheContextIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := fmt.Errorf("shutdown")
	_, err := plan.Make(ctx, requestOf(), &memory{data: strings.Repeat("b,k\n", 100_000), breakAt: 300_000}, job.Checkpoint{},
		func(context.Context, []job.Chunk, job.Checkpoint) error {
			cancel(cause)
			return nil
		})
	if !errors.Is(err, cause) {
		t.Errorf("planning ended with %v", err)
	}
}
