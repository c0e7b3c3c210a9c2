package place

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// TestStoredInventory writes an inventory to a store and reads it by its folder.
func TestStoredInventory(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.CreateBucket("lists")
	store := open(t, s3)
	folder := Place{Object: objectstore.Object{Bucket: "lists", Key: "to day"}}
	w, err := Streams{Store: store}.NewWriter(t.Context(), folder, Inventory, manifest.Columns{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&manifest.Row{Bucket: []byte("photos"), Key: []byte("a b")}); err != nil {
		t.Fatal(err)
	}
	done, err := w.Close()
	if err != nil || done.Place.String() != "s3://lists/to day/manifest.json" || w.Fields() != nil {
		t.Fatalf("got %+v, %v", done, err)
	}
	folder.Object.Key += "/"
	rows, _ := read(t.Context(), t, store, folder)
	if len(rows) != 1 || string(rows[0].Key) != "a b" {
		t.Errorf("got %+v", rows)
	}
	sum, _ := s3.Object("lists", "to day/manifest.checksum")
	if string(sum.Body) != done.MD5 {
		t.Errorf("the checksum is %s, want %s", sum.Body, done.MD5)
	}
}

// TestInventoryThatCannotBeEnded has none of its files afterwards, unless its manifest.json may be there.
func TestInventoryThatCannotBeEnded(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.Put("lists", "list/data/other.csv.gz", "")
	s3.Put("lists", "list/manifest.json", "{}")
	for key, status := range map[string]int{"list/manifest.json": 400, "doubt/manifest.json": 500} {
		s3.Fault(objectstoretest.Match{Op: "PutObject", Key: func(k string) bool { return k == key }}, objectstoretest.Status(status, "Broken"))
	}
	store := open(t, s3)
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, Manifest), 0o700); err != nil { // a folder where the file is to be
		t.Fatal(err)
	}
	in := func(name string) Place { return Place{Object: objectstore.Object{Bucket: "lists", Key: name}} }
	for _, p := range []Place{{File: folder}, in("list"), in("doubt")} {
		w, err := Streams{Store: store}.NewWriter(t.Context(), p, Inventory, manifest.Columns{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&manifest.Row{Bucket: []byte("b"), Key: []byte("k")}); err != nil {
			t.Fatal(err)
		}
		if done, err := w.Close(); err == nil {
			t.Errorf("%s: got %+v, want an error", p, done)
		}
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 1 || left[0].Name() != Manifest {
		t.Errorf("left are %v, %v", left, err)
	}
	keys := s3.Keys("lists")
	for i, key := range keys {
		if strings.HasPrefix(key, "doubt/data/") {
			keys[i] = "doubt/data"
		}
	}
	if diff := cmp.Diff([]string{"doubt/data", "doubt/manifest.checksum", "list/data/other.csv.gz", "list/manifest.json"}, keys); diff != "" {
		t.Errorf("in the bucket (-want +got):\n%s", diff)
	}
}

// TestInventoryGivenUp takes away the folders that were made for it, and no others.
func TestInventoryGivenUp(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	data := filepath.Join(folder, "there", dataFolder)
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"there", "new"} {
		w, err := Streams{}.NewWriter(t.Context(), Place{File: filepath.Join(folder, name)}, Inventory, manifest.Columns{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&manifest.Row{Bucket: []byte("b"), Key: []byte("k")}); err != nil {
			t.Fatal(err)
		}
		w.Abort()
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("the folder that was there has %v, %v", left, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestHasInventory(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{})
	s3.Put("lists", "old/manifest.json", "{}")
	s3.Put("lists", "new/data/1.csv.gz", "")
	s3.Fault(objectstoretest.Match{Op: "HeadObject", Bucket: "secret"}, objectstoretest.Status(403, "AccessDenied"))
	s3.Fault(objectstoretest.Match{Op: "HeadObject", Bucket: "broken"}, objectstoretest.Status(400, "Broken"))
	to := Streams{Store: open(t, s3)}
	check := func(text string, want, fails bool) {
		t.Helper()
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := to.HasInventory(t.Context(), p); got != want || (err != nil) != fails {
			t.Errorf("%s: got %t, %v", text, got, err)
		}
	}
	check("s3://lists/old", true, false)
	check("s3://lists/old/", true, false)
	check("s3://lists/new", false, false)
	check("s3://none", false, false)
	check("s3://secret/old", false, false)
	check("s3://broken/old", false, true)
	file := write(t, Manifest, []byte("{}"))
	check(filepath.Dir(file), true, false)
	check(filepath.Join(filepath.Dir(file), "none"), false, false)
}
