package check_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"stevedore/internal/source"
	"stevedore/internal/source/check"
	"stevedore/internal/source/place"
)

// FuzzRun checks lists of any content: it must end, and no line may be more than one row or one problem.
func FuzzRun(f *testing.F) {
	for _, text := range []string{"src,a\nsrc\nsrc,b", "Bucket,Key\r\n\r\nsrc,a b\r\n", "\ufeffb,k,v\n", "\x1f\x8b\x08", "PAR1\x15\x04", `{"files": []}`} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, content []byte, lenient bool) {
		path := filepath.Join(t.TempDir(), "list")
		write(t, path, content)
		l, err := place.Find(t.Context(), nil, place.Place{File: path}, place.Options{Lenient: lenient})
		if err != nil {
			return // its columns cannot be guessed
		}
		src, err := source.Locate(t.Context(), l.Objects, l.Spec)
		if err != nil {
			return
		}
		r, err := check.Run(t.Context(), src, check.Options{Binary: l.Foreign, Dupes: true, Most: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if src.Files == nil || src.Files[0].Kind != source.Text {
			return
		}
		lines := int64(bytes.Count(content, []byte("\n")) + 1)
		last := int64(0)
		for _, p := range r.Problems {
			if p.Line != 0 && p.Line <= last || p.Line > lines {
				t.Errorf("%q: line %d after line %d of %d", content, p.Line, last, lines)
			}
			last = p.Line
		}
		if r.Rows+int64(len(r.Problems)) > max(lines, 1) {
			t.Errorf("%q: %d rows and %d problems in %d lines", content, r.Rows, len(r.Problems), lines)
		}
	})
}
