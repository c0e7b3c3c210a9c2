package place

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"stevedore/internal/objectstore"
)

// TestBeside finds the data files of an inventory where they were put, and nothing outside.
func TestBeside(t *testing.T) {
	t.Parallel()
	check := func(key, at string, want bool) {
		t.Helper()
		folder := t.TempDir()
		for _, name := range []string{"inv/2026-11-01T01-00Z/manifest.json", at} {
			path := filepath.Join(folder, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("{}"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		f := files{filepath.Join(folder, "inv", "2026-11-01T01-00Z", Manifest)}
		body, info, err := f.Open(t.Context(), objectstore.Object{Bucket: "dest", Key: key}, 0, -1)
		switch {
		case !want:
			if !objectstore.NotFound(err) {
				t.Errorf("%s at %s: got %v, want it not to be found", key, at, err)
			}
			return
		case err != nil:
			t.Errorf("%s at %s: %v", key, at, err)
			return
		}
		text, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || string(text) != "{}" || info.Size != 2 {
			t.Errorf("%s at %s: got %q, %+v, %v", key, at, text, info, err)
		}
		if _, _, err := f.Open(t.Context(), objectstore.Object{Bucket: "dest", Key: key, ETag: "other"}, 0, -1); !objectstore.PreconditionFailed(err) {
			t.Errorf("%s with another ETag: got %v", key, err)
		}
	}
	const key = "dest/photos/daily/data/1.csv.gz"
	check(key, "inv/2026-11-01T01-00Z/data/1.csv.gz", true)
	check(key, "inv/2026-11-01T01-00Z/1.csv.gz", true)
	check(key, "inv/data/1.csv.gz", true)
	check(key, "inv/dest/photos/daily/data/1.csv.gz", true)
	check(key, "data/1.csv.gz", false)
	check("../../secret", "secret", false)
	check("/secret", "secret", false)
}

// TestReadingEnds with its context, as there is no connection to a file that would break.
func TestReadingEnds(t *testing.T) {
	t.Parallel()
	file := write(t, "list", []byte("b,k\n"))
	ctx, cancel := context.WithCancelCause(t.Context())
	body, _, err := files{file}.Open(ctx, objectstore.Object{Bucket: fileBucket, Key: file}, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	cancel(enough)
	if n, err := body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, enough) {
		t.Errorf("got %d bytes and %v, want %v", n, err, enough)
	}
}
