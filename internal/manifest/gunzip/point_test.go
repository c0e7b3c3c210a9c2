package gunzip_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/klauspost/compress/flate"

	"stevedore/internal/manifest/gunzip"
)

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// points reads a file from a point to its end and returns the text and the points on the way.
func points(t fataler, file []byte, from gunzip.Point, every int64) (text []byte, made []gunzip.Point) {
	t.Helper()
	z := gunzip.Resume(bytes.NewReader(file[from.In:]), from)
	if z.Offset() != from.Out {
		t.Fatalf("resumed at %d, want %d", z.Offset(), from.Out)
	}
	z.Mark(every, func(p gunzip.Point) { made = append(made, p) })
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("resumed at byte %d: %v", from.In, err)
	}
	return text, made
}

// checkPoints checks that from the points of a file, all of its tail is read and the same points are
// made. Of very many points it tries some.
func checkPoints(t fataler, file, text []byte, every int64) {
	t.Helper()
	_, made := points(t, file, gunzip.Point{}, every)
	for i := 0; i < len(made); i += 1 + len(made)/30 {
		p := made[i]
		if p.Size() < 64 || p.Size() > 64+41<<10 {
			t.Fatalf("point %d has %d bytes", i, p.Size())
		}
		tail, again := points(t, file, p, every)
		if !bytes.Equal(tail, text[p.Out:]) {
			t.Fatalf("from point %d, %d in and %d out: got %d bytes, want %d", i, p.In, p.Out, len(tail), int64(len(text))-p.Out)
		}
		if !slices.EqualFunc(made[i+1:], again, func(a, b gunzip.Point) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("from point %d, other points", i)
		}
	}
}

func TestPoints(t *testing.T) {
	t.Parallel()
	text := inventory(30_000, true)
	file := packed(t, text, 6)
	const every = 256 << 10
	_, made := points(t, file, gunzip.Point{}, every)
	if len(made) != len(text)/every {
		t.Errorf("%d points in %d bytes, want one for each %d", len(made), len(text), every)
	}
	size := int64(0)
	for i, p := range made {
		if at := p.Out - int64(i+1)*every; at < 0 || at > 128<<10 {
			t.Errorf("point %d is %d bytes behind its place", i, at)
		}
		size += p.Size()
	}
	t.Logf("%d bytes each", size/int64(len(made)))
	checkPoints(t, file, text, every)
}

func TestPointsOfMembers(t *testing.T) {
	t.Parallel()
	var file, text []byte
	for i := range 50 {
		part := inventory(i*3, i%2 == 0)
		file = append(file, packed(t, part, i%10)...)
		text = append(text, part...)
	}
	_, made := points(t, file, gunzip.Point{}, 1)
	if len(made) < 49 {
		t.Errorf("%d points for 50 members", len(made))
	}
	checkPoints(t, file, text, 1)
	checkPoints(t, append(file, 0, 0, 0), text, 10_000)
}

// A resumed Reader checks the member it has entered, too.
func TestResumeChecks(t *testing.T) {
	t.Parallel()
	text := inventory(5000, true)
	file := packed(t, text, 6)
	_, made := points(t, file, gunzip.Point{}, 200_000)
	if len(made) < 2 {
		t.Fatal("no points")
	}
	for _, p := range made {
		for i, want := range map[int]string{1: "incorrect length check", 8: "incorrect data check"} {
			bad := slices.Clone(file)
			bad[len(bad)-i]++
			z := gunzip.Resume(bytes.NewReader(bad[p.In:]), p)
			tail, err := io.ReadAll(z)
			e, ok := errors.AsType[*gunzip.Error](err)
			if !ok || e.Reason != want || !bytes.Equal(tail, text[p.Out:]) {
				t.Errorf("got %d bytes, error %v, want %s", len(tail), err, want)
			}
			if at := int64(len(file) - i/2); e.In != at && e.In != int64(len(file))-4 {
				t.Errorf("error at byte %d of %d, want near %d", e.In, len(file), at)
			}
		}
		if _, err := io.ReadAll(gunzip.Resume(bytes.NewReader(nil), p)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("resumed at the end of the data: error %v", err)
		}
	}
}

// Blocks of a compressor that flushes are as short as it likes.
func TestPointsAtFlushes(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	w, err := flate.NewWriter(&body, 6)
	if err != nil {
		t.Fatal(err)
	}
	text := inventory(100, true)
	for i := 0; i < len(text); i += 97 {
		if _, err := w.Write(text[i:min(i+97, len(text))]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, made := points(t, member(body.Bytes(), text), gunzip.Point{}, 200)
	if len(made) < len(text)/200-1 {
		t.Errorf("%d points in %d bytes", len(made), len(text))
	}
	checkPoints(t, member(body.Bytes(), text), text, 200)
}
