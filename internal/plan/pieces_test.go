package plan_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/gunzip"
	"stevedore/internal/objectstore"
	"stevedore/internal/plan"
	"stevedore/internal/source"
)

// shelf is a store in memory, by bucket/key. Some of its streams break.
type shelf struct {
	objects map[string]object
	breaks  atomic.Int64 // the stream after so many, and every later one, breaks somewhere
}

type object struct {
	data []byte
	etag string
}

func (s *shelf) put(key string, data []byte) (etag string) {
	sum := md5.Sum(data)
	etag = hex.EncodeToString(sum[:])
	s.objects[key] = object{data, etag}
	return etag
}

func (s *shelf) find(o objectstore.Object) ([]byte, objectstore.Info, error) {
	found, ok := s.objects[o.Bucket+"/"+o.Key]
	if !ok {
		return nil, objectstore.Info{}, &objectstore.Error{Status: 404, Code: "NoSuchKey"}
	}
	info := objectstore.Info{Size: int64(len(found.data)), ETag: found.etag}
	if o.ETag != "" && o.ETag != info.ETag {
		return nil, info, &objectstore.Error{Status: 412, Code: "PreconditionFailed"}
	}
	return found.data, info, nil
}

func (s *shelf) Head(_ context.Context, o objectstore.Object) (objectstore.Info, error) {
	_, info, err := s.find(o)
	return info, err
}

func (s *shelf) Open(_ context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	data, info, err := s.find(o)
	if err != nil {
		return nil, info, err
	}
	end := info.Size
	if length >= 0 {
		end = min(end, offset+length)
	}
	r := io.Reader(bytes.NewReader(data[offset:end]))
	if s.breaks.Add(-1) == 0 {
		r = io.MultiReader(io.LimitReader(r, rand.Int64N(end-offset+1)), broken{})
	}
	return io.NopCloser(r), info, nil
}

// list is a manifest in a shelf, and the keys it lists in their order.
type list struct {
	*shelf
	spec source.Spec
	keys []string
}

// text appends rows to a file: some quoted, some with a key that is encoded, with
// empty lines and line ends of both kinds.
func (l *list) text(t *rapid.T, rows int) []byte {
	kinds := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 8).Draw(t, "kinds")
	ends := rapid.SliceOfN(rapid.SampledFrom([]string{"\n", "\r\n", "\n\n", "\n\r\n\n"}), 1, 8).Draw(t, "ends")
	var b bytes.Buffer
	for i := range rows {
		key := fmt.Sprintf("k%d/%s", len(l.keys), strings.Repeat("x", len(l.keys)%23))
		switch kinds[i%len(kinds)] {
		case 0:
			fmt.Fprintf(&b, `"b","%s"`, key)
		case 1:
			fmt.Fprintf(&b, "b,%s%%20", key)
			key += " "
		case 2:
			fmt.Fprintf(&b, `b,"%s"""`, key)
			key += `"`
		default:
			fmt.Fprintf(&b, "b,%s", key)
		}
		l.keys = append(l.keys, key)
		b.WriteString(ends[i%len(ends)])
	}
	if rapid.Bool().Draw(t, "without a last line end") {
		return bytes.TrimRight(b.Bytes(), "\r\n")
	}
	return b.Bytes()
}

func newList() *list { return &list{shelf: &shelf{objects: map[string]object{}}} }

// manifest puts the manifest object.
func (l *list) manifest(key string, data []byte, format job.ManifestFormat) {
	l.spec = source.Spec{
		Format: format, Fields: []job.Field{job.FieldBucket, job.FieldKey},
		Object: objectstore.Object{Bucket: "m", Key: key, ETag: l.put("m/"+key, data)},
	}
}

// plain draws a CSV manifest.
func plain(t *rapid.T) *list {
	l := newList()
	l.manifest("m.csv", l.text(t, rapid.IntRange(1, 6000).Draw(t, "rows")), job.ManifestCSV)
	return l
}

// packed draws an inventory of some gzip files, a few of them empty.
func packed(t *rapid.T) *list {
	l := newList()
	inv := manifest.NewInventory("b", "m", time.Unix(1, 0), manifest.Columns{})
	for i := range rapid.IntRange(1, 12).Draw(t, "files") {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if rows := rapid.SampledFrom([]int{0, 1, 40, 999, 1000, 2500}).Draw(t, "rows"); rows > 0 || i == 0 {
			if _, err := w.Write(l.text(t, max(rows, 1))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		file := manifest.DataFile{Key: fmt.Sprintf("data/%d.csv.gz", i), Size: int64(b.Len())}
		file.MD5 = l.put("m/"+file.Key, b.Bytes())
		inv.Files = append(inv.Files, file)
	}
	text, err := inv.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.manifest("manifest.json", text, job.ManifestInventory)
	l.spec.Index = gunzip.NewIndex(rapid.SampledFrom([]int64{1, 100_000}).Draw(t, "index"))
	return l
}

// check reads every chunk from where it starts and compares: all rows, each once, in
// order, and each chunk just its own.
func (l *list) check(t *rapid.T, chunks []job.Chunk, planned job.Plan) {
	spec := l.spec
	spec.Object.ETag, spec.Object.VersionID, spec.Size = planned.ETag, planned.VersionID, planned.Bytes
	src, err := source.Locate(context.Background(), l, spec)
	if err != nil {
		t.Fatal(err)
	}
	var next int64
	for i, c := range chunks {
		if c.First != next || c.Row != next || c.Rows <= 0 {
			t.Fatalf("chunk %d: %+v at row %d", i, c, next)
		}
		rows, err := src.Open(context.Background(), c.File, c.ETag, manifest.Position{Offset: c.Offset, Line: c.Line}, manifest.Position{Offset: c.End})
		if err != nil {
			t.Fatal(err)
		}
		var row manifest.Row
		for rows.Next(&row) {
			if next == int64(len(l.keys)) || string(row.Key) != l.keys[next] {
				t.Fatalf("chunk %d: %+v: row %d is %q", i, c, next, row.Key)
			}
			next++
		}
		if next != c.First+c.Rows {
			t.Fatalf("chunk %d: %+v reads as %d rows", i, c, next-c.First)
		}
		if src.Files[c.File].Kind == source.Text {
			if want := int64(bytes.Count(l.objects["m/"+src.Files[c.File].Object.Key].data[:c.Offset], []byte("\n"))) + 1; max(c.Line, 1) != want {
				t.Fatalf("chunk %d: %+v starts at line %d", i, c, want)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if next != int64(len(l.keys)) || planned.Tasks != next || planned.Bucket != "b" {
		t.Fatalf("chunks cover %d rows of %d, plan %+v", next, len(l.keys), planned)
	}
}

// However a manifest is divided among workers, and wherever planning breaks off
// and is taken up again, its chunks are its rows.
func TestAnyDivisionHasTheSameRows(t *testing.T) {
	t.Parallel()
	for name, draw := range map[string]func(*rapid.T) *list{"plain": plain, "inventory": packed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				l := draw(t)
				r := plan.Request{
					Source: l.spec, Workers: rapid.IntRange(1, 5).Draw(t, "workers"),
					Piece: rapid.Int64Range(100, 100_000).Draw(t, "piece"),
				}
				var s saved
				lost := errors.New("the answer of the job store got lost")
				var from job.Checkpoint
				for try := 0; ; try++ {
					breaks, fail := 0, 0
					if try < 5 {
						breaks, fail = rapid.IntRange(0, 8).Draw(t, "stream that breaks"), rapid.IntRange(0, 2).Draw(t, "failing save")
					}
					l.breaks.Store(int64(breaks))
					saves := 0
					planned, err := plan.Make(context.Background(), r, l, from, func(ctx context.Context, chunks []job.Chunk, cp job.Checkpoint) error {
						if saves++; saves == fail {
							return lost
						}
						from = cp
						return s.save(ctx, chunks, cp)
					})
					if err == nil {
						l.breaks.Store(0)
						l.check(t, s.chunks, planned)
						return
					}
					if _, failed := errors.AsType[*job.FailedError](err); failed || breaks == 0 && !errors.Is(err, lost) {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

// Of several bad rows the first is told, by its line in the whole file, and nothing
// behind it is stored.
func TestTheFirstErrorIsTold(t *testing.T) {
	t.Parallel()
	lines := slices.Repeat([]string{"b,key\n", "\r\n"}, 5000)
	lines[7000], lines[7002], lines[9998] = "b\n", "b,k,x\n", "b,%\n"
	l := newList()
	l.manifest("m.csv", []byte(strings.Join(lines, "")), job.ManifestCSV)
	for range 20 {
		var s saved
		_, err := plan.Make(t.Context(), plan.Request{Source: l.spec, Workers: 4, Piece: 500}, l, job.Checkpoint{}, s.save)
		failed, ok := errors.AsType[*job.FailedError](err)
		if !ok || failed.Reason.FailureReason != "Manifest file is not properly formatted: line 7001: got 1 columns, want 2" {
			t.Fatal(err)
		}
		for _, c := range s.chunks {
			if c.First+c.Rows > 3500 {
				t.Errorf("%+v is behind the bad row", c)
			}
		}
	}
}
