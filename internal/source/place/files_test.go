package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// TestCreateFile has what is at the place of a file treated as a shell does, except that a file is replaced as a whole.
func TestCreateFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	put := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path(name), []byte(text), mode), os.Chmod(path(name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, end func(File) error) error {
		t.Helper()
		f, err := Streams{}.Create(t.Context(), Place{File: path(name)}, "text/csv")
		if err != nil {
			return err
		}
		if _, err := f.Write([]byte("new")); err != nil {
			t.Fatal(err)
		}
		return end(f)
	}
	done := func(f File) error { _, err := f.Close(); return err }
	check := func(name, text string, mode os.FileMode) {
		t.Helper()
		got, err := os.ReadFile(path(name))
		stat, _ := os.Stat(path(name))
		if err != nil || string(got) != text || stat.Mode() != mode {
			t.Errorf("%s: got %q of mode %v, %v, want %q, %v", name, got, stat.Mode(), err, text, mode)
		}
	}
	put("kept", "old", 0o640)
	put("target", "old", 0o604)
	put("other", "old", 0o640)
	if err := os.MkdirAll(path("sub/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	put("sub/other", "old", 0o604)
	for link, to := range map[string]string{
		"link": "target", "sub/far": "../link", "sub/new": "made", "loop": "loop", "null": os.DevNull,
		"folder": "sub/deep", "sub/deep/up": "../other", "aside": "folder/../fresh",
	} {
		if err := os.Symlink(to, path(link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"kept", "sub/far", "sub/new", "null", "folder/up", "aside"} {
		if err := write(name, done); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("kept", "new", 0o640)
	check("target", "new", 0o604)
	if stat, err := os.Lstat(path("link")); err != nil || stat.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v, %v", stat, err)
	}
	if stat, err := os.Stat(os.DevNull); err != nil || stat.Mode().IsRegular() {
		t.Errorf("the device is %v, %v", stat, err)
	}
	fresh, err := os.OpenFile(path("fresh"), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := fresh.Stat()
	if err != nil || fresh.Close() != nil {
		t.Fatal(err)
	}
	check("sub/made", "new", stat.Mode()) // as any new file
	// Behind a link to a folder, ".." is the folder above the one it leads to.
	check("sub/other", "new", 0o604)
	check("sub/fresh", "new", stat.Mode())
	check("other", "old", 0o640)

	put("kept", "old", 0o640)
	if err := write("kept", func(f File) error { f.Abort(); return nil }); err != nil {
		t.Error(err)
	}
	check("kept", "old", 0o640)
	for _, name := range []string{"loop", "sub", "no/such/folder"} {
		if err := write(name, done); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	names, err := filepath.Glob(path(".*"))
	if err != nil || len(names) > 0 {
		t.Errorf("left are %v, %v", names, err)
	}
}

// TestCreatePipe writes to a pipe.
func TestCreatePipe(t *testing.T) {
	t.Parallel()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	f, err := Streams{}.Create(t.Context(), Place{File: fmt.Sprintf("/dev/fd/%d", in.Fd())}, "text/csv")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	if _, err := f.Write([]byte("new")); err != nil {
		t.Error(err)
	}
	w, err := f.Close()
	got, _ := io.ReadAll(out)
	if err != nil || string(got) != "new" || w.Size != 3 {
		t.Errorf("got %q, %+v, %v", got, w, err)
	}
}
