package plan_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/plan"
)

// Whoever goes on in a file asks for the one that was read so far, and every chunk for the one that it was planned from.
func TestFilesStayPinned(t *testing.T) {
	t.Parallel()
	packed := func(prefix string) []byte {
		var file bytes.Buffer
		w := gzip.NewWriter(&file)
		for i := range 120_000 {
			fmt.Fprintf(w, "b,%s%d\n", prefix, i)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	l := newList()
	inv := manifest.NewInventory("b", "m", time.Unix(1, 0), manifest.Columns{})
	want := []string{l.put("m/0", packed("a/")), l.put("m/1", packed("b/"))}
	for i := range 2 { // without sums, which would tell
		key := fmt.Sprint(i)
		inv.Files = append(inv.Files, manifest.DataFile{Key: key, Size: int64(len(l.objects["m/"+key].data))})
	}
	text, err := inv.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.manifest("manifest.json", text, job.ManifestInventory)
	r := plan.Request{Source: l.spec}
	var all saved
	if _, err := plan.Make(t.Context(), r, l, job.Checkpoint{}, all.save); err != nil {
		t.Fatal(err)
	}
	for _, c := range all.chunks {
		if c.ETag != want[c.File] {
			t.Fatalf("%+v is of a file with the ETag %s", c, want[c.File])
		}
	}
	inside := 0
	for i, cp := range all.checkpoints {
		if last := all.chunks[all.at[i]-1]; cp.File != last.File || last.First+last.Rows == 120_000 || last.First+last.Rows == 240_000 {
			continue // between two files
		}
		inside++
		name := fmt.Sprint("m/", cp.File)
		was := l.objects[name]
		other := bytes.Clone(was.data)
		other[4] ^= 1 // the time in the head of the file: its rows are the same
		l.put(name, other)
		_, err := plan.Make(t.Context(), r, l, cp, new(saved).save)
		if e, ok := errors.AsType[*job.FailedError](err); !ok || e.Reason.FailureCode != job.CodeManifestChanged {
			t.Errorf("from %+v on another file: got %v, want %s", cp, err, job.CodeManifestChanged)
		}
		l.objects[name] = was
	}
	if inside < 2 {
		t.Errorf("only %d checkpoints in files", inside)
	}
}

// busy is a shelf that cannot be asked for one of its files once.
type busy struct {
	*shelf
	key  string
	once sync.Once
}

func (b *busy) Open(ctx context.Context, o objectstore.Object, offset, length int64) (body io.ReadCloser, info objectstore.Info, err error) {
	if o.Key == b.key {
		b.once.Do(func() {
			err = &objectstore.Error{Op: "GetObject", Bucket: o.Bucket, Key: o.Key, Status: 503, Code: "SlowDown"}
		})
	}
	if err != nil {
		return nil, info, err
	}
	return b.shelf.Open(ctx, o, offset, length)
}

// What was found before a try has failed is saved, and the next file is not taken for the one before.
func TestNextFileFails(t *testing.T) {
	t.Parallel()
	l := newList()
	inv := manifest.NewInventory("b", "m", time.Unix(1, 0), manifest.Columns{})
	for _, key := range []string{"0", "1"} {
		var file bytes.Buffer
		w := gzip.NewWriter(&file)
		fmt.Fprintf(w, "b,%s\nb,x\n", key)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		inv.Files = append(inv.Files, manifest.DataFile{Key: key, Size: int64(file.Len()), MD5: l.put("m/"+key, file.Bytes())})
	}
	text, err := inv.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.manifest("manifest.json", text, job.ManifestInventory)
	var s saved
	store := &busy{shelf: l.shelf, key: "1"}
	if _, err := plan.Make(t.Context(), plan.Request{Source: l.spec}, store, job.Checkpoint{}, s.save); err == nil {
		t.Fatal("a file that cannot be had was planned")
	}
	if len(s.checkpoints) != 1 || s.checkpoints[0].Rows != 2 || s.checkpoints[0].File != 1 {
		t.Fatalf("saved are %+v, want the rows of the first file", s.checkpoints)
	}
	planned, err := plan.Make(t.Context(), plan.Request{Source: l.spec}, store, s.checkpoints[0], s.save)
	if err != nil || planned.Tasks != 4 || len(s.chunks) != 2 {
		t.Errorf("got %+v of the chunks %+v, %v", planned, s.chunks, err)
	}
}

// A manifest that is read leniently is read so to its end, whatever becomes of the tag, and what was put up with is counted once.
func TestLeniencyGoesOn(t *testing.T) {
	t.Parallel()
	data := []byte("bucket,key\n" + strings.Repeat("b,a b\nb,c\nb ,d,\n", 50_000))
	l := newList()
	l.manifest("m.csv", data, job.ManifestCSV)
	l.spec.Lenient = true
	for _, piece := range []int64{100_000, int64(len(data))} {
		r := plan.Request{Source: l.spec, Workers: 2, Piece: piece}
		var all saved
		want, err := plan.Make(t.Context(), r, l, job.Checkpoint{}, all.save)
		if err != nil {
			t.Fatal(err)
		}
		const notes = "header row skipped, 50000 keys with unencoded spaces, spaces around cells of 50000 rows removed, empty columns of 50000 rows ignored"
		if want.Leniency != notes || !want.Lenient || want.Tasks != 150_000 {
			t.Fatalf("got %+v, want %q", want, notes)
		}
		if len(all.checkpoints) < 3 {
			t.Fatalf("only %d checkpoints", len(all.checkpoints))
		}
		r.Source.Lenient = false
		for i, cp := range all.checkpoints {
			rest := saved{chunks: slices.Clone(all.chunks[:all.at[i]])}
			got, err := plan.Make(t.Context(), r, l, cp, rest.save)
			if err != nil || got != want {
				t.Errorf("from %+v: got %+v, %v, want %+v", cp, got, err, want)
			}
			var rows int64
			for _, c := range rest.chunks {
				if c.First != rows {
					t.Fatalf("from %+v: a chunk is %+v at row %d", cp, c, rows)
				}
				rows += c.Rows
			}
			if rows != want.Tasks {
				t.Errorf("from %+v: chunks of %d rows, want %d", cp, rows, want.Tasks)
			}
		}
	}
}

// Spaces in one piece make the pluses of another unclear, also if the planning is interrupted between them.
func TestUnclearKeys(t *testing.T) {
	t.Parallel()
	l := newList()
	l.manifest("m.csv", []byte("b,a+b\n"+strings.Repeat("b,c\n", 50_000)+"b,a b\n"), job.ManifestCSV)
	l.spec.Lenient = true
	r := plan.Request{Source: l.spec, Workers: 2, Piece: 20_000}
	var all saved
	check := func(from job.Checkpoint, save plan.Save) {
		t.Helper()
		_, err := plan.Make(t.Context(), r, l, from, save)
		failed, ok := errors.AsType[*job.FailedError](err)
		if !ok || failed.Reason.FailureCode != job.CodeInvalidManifest || !strings.Contains(failed.Reason.FailureReason, `1 have unencoded spaces and 1 have a "+"`) {
			t.Errorf("got %v", err)
		}
	}
	check(job.Checkpoint{}, all.save)
	for _, cp := range all.checkpoints {
		check(cp, (&saved{}).save)
	}
	if len(all.checkpoints) < 2 {
		t.Errorf("%d checkpoints", len(all.checkpoints))
	}
}
