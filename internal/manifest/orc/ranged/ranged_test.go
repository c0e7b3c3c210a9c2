package ranged_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"stevedore/internal/manifest/orc/ranged"
)

// TestReader walks through ranges by steps of all sizes.
func TestReader(t *testing.T) {
	t.Parallel()
	file := make([]byte, 5<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range file {
		file[i] = byte(random.Uint32())
	}
	var r ranged.Reader
	for range 20 {
		off := random.IntN(len(file))
		end := off + random.IntN(len(file)-off+1)
		r.Open(bytes.NewReader(file), int64(off), int64(end))
		for off < end {
			if got := r.Left(); got != int64(end-off) {
				t.Fatalf("%d bytes left, want %d", got, end-off)
			}
			n := random.IntN(1 << random.IntN(22))
			got, err := r.Peek(n)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, file[off:min(off+n, end)]) {
				t.Fatalf("%d bytes at %d are not those of the file", len(got), off)
			}
			use := random.IntN(min(2*n+2, end-off+1)) // less than that, or more
			r.Use(int64(use))
			off += use
		}
		if got, err := r.Peek(10); err != nil || len(got) != 0 {
			t.Errorf("%d bytes at the end, %v", len(got), err)
		}
	}
}

func TestReadAt(t *testing.T) {
	t.Parallel()
	file := bytes.NewReader([]byte("0123456789"))
	b := make([]byte, 4)
	if err := ranged.ReadAt(file, b, 6); err != nil || string(b) != "6789" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := ranged.ReadAt(file, b, 7); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v beyond the end", err)
	}
}
