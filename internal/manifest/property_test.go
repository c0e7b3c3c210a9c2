package manifest_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/manifest"
)

// A written is a manifest made at random, with what a reader must find in it.
type written struct {
	columns string
	text    []byte
	rows    []cells
	ends    []manifest.Position
}

// draw writes random rows with random quoting, line ends and blank lines.
func draw(t *rapid.T) written {
	w := written{columns: rapid.SampledFrom([]string{
		"Bucket,Key", "Key,Bucket", "Bucket,Key,VersionId", "VersionId,Ignore,Key,Ignore,Bucket", "Ignore,Bucket,Key",
	}).Draw(t, "columns")}
	lineEnd := rapid.SampledFrom([]string{"\n", "\r\n"})
	blank := rapid.SampledFrom([]string{"", "", "", "\n", "\r\n", "\n\n"})
	count := rapid.IntRange(0, 30).Draw(t, "rows")
	lines := int64(0)
	for i := range count {
		gap := blank.Draw(t, "blank")
		lines += int64(strings.Count(gap, "\n")) + 1
		w.text = append(w.text, gap...)

		row := cells{Bucket: rapid.SampledFrom([]string{"src", "a", "my-bucket.eu", `odd"one`}).Draw(t, "bucket")}
		for range rapid.IntRange(1, 20).Draw(t, "key length") {
			r := rapid.SampledFrom([]rune("aZ09/._- +%,\"é€😀\x00\n\r\t\x7f\ufeff")).Draw(t, "rune")
			row.Key += string(r)
			row.RawKey += encode(t, r)
		}
		for j, column := range strings.Split(w.columns, ",") {
			if j > 0 {
				w.text = append(w.text, ',')
			}
			var cell string
			switch column {
			case "Bucket":
				cell = row.Bucket
			case "Key":
				cell = row.RawKey
			case "VersionId":
				row.VersionID = rapid.SampledFrom([]string{"", "null", "3sL4kqtJlcpXroDTDmJ", "a,b", `"`, "v%2F+"}).Draw(t, "version")
				cell = row.VersionID
			default:
				cell = rapid.SampledFrom([]string{"", "x", `{"a": [1, 2]}`, "%zz", "€"}).Draw(t, "ignored")
			}
			if strings.ContainsAny(cell, `",`) || rapid.Bool().Draw(t, "quoted") {
				cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
			}
			w.text = append(w.text, cell...)
		}
		if i < count-1 || rapid.Bool().Draw(t, "last line end") {
			w.text = append(w.text, lineEnd.Draw(t, "line end")...)
		}
		w.rows = append(w.rows, row)
		w.ends = append(w.ends, manifest.Position{Offset: int64(len(w.text)), Line: lines + 1})
	}
	return w
}

// encode writes r into a key cell in one of the ways that mean r.
func encode(t *rapid.T, r rune) string {
	encoded := ""
	for _, b := range []byte(string(r)) {
		digits := rapid.SampledFrom([]string{"0123456789ABCDEF", "0123456789abcdef"}).Draw(t, "digits")
		encoded += "%" + string(digits[b>>4]) + string(digits[b&15])
	}
	switch {
	case r == ' ' && rapid.Bool().Draw(t, "plus"):
		return "+"
	case strings.ContainsRune("%+\x00\n\r\ufeff \t\x7f", r) || rapid.Bool().Draw(t, "encoded"):
		return encoded
	}
	return string(r)
}

// What was written is read, however the bytes arrive, row by row and in batches.
func TestReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		l, err := manifest.NewLayout(fields(w.columns))
		if err != nil {
			t.Fatal(err)
		}
		check := func(name string, rows []cells, ends []manifest.Position, err error) {
			if err != nil {
				t.Fatalf("%s: %v\n%q", name, err, w.text)
			}
			if diff := cmp.Diff(w.rows, rows); diff != "" {
				t.Fatalf("%s: rows differ (-want +got):\n%s\n%q", name, diff, w.text)
			}
			if diff := cmp.Diff(w.ends, ends); diff != "" {
				t.Fatalf("%s: positions differ (-want +got):\n%s\n%q", name, diff, w.text)
			}
		}
		byRow := func(r io.Reader) (rows []cells, ends []manifest.Position, err error) {
			var row manifest.Row
			c := manifest.NewCSV(r, l, manifest.Position{})
			for c.Next(&row) {
				rows, ends = append(rows, cellsOf(row)), append(ends, c.Position())
			}
			return rows, ends, c.Err()
		}
		byBatch := func(r io.Reader, limit int) (rows []cells, ends []manifest.Position, err error) {
			var batch manifest.Batch
			c := manifest.NewCSV(r, l, manifest.Position{})
			for c.Fill(&batch, limit) > 0 {
				for i := range batch.Len() {
					rows, ends = append(rows, cellsOf(batch.Row(i))), append(ends, batch.End(i))
				}
			}
			return rows, ends, c.Err()
		}
		rows, ends, err := byRow(bytes.NewReader(w.text))
		check("at once", rows, ends, err)
		rows, ends, err = byRow(iotest.OneByteReader(bytes.NewReader(w.text)))
		check("byte by byte", rows, ends, err)
		rows, ends, err = byRow(iotest.DataErrReader(bytes.NewReader(w.text)))
		check("last bytes with EOF", rows, ends, err)
		rows, ends, err = byBatch(bytes.NewReader(w.text), rapid.IntRange(1, 10).Draw(t, "limit"))
		check("in batches", rows, ends, err)
		rows, ends, err = byBatch(iotest.OneByteReader(bytes.NewReader(w.text)), 7)
		check("in batches, byte by byte", rows, ends, err)
		c := manifest.NewCSV(bytes.NewReader(w.text), l, manifest.Position{})
		for ends = nil; c.Fill(nil, 1) > 0; {
			ends = append(ends, c.Position())
		}
		check("counted", w.rows, ends, c.Err())
	})
}

// A manifest cut after any row reads as its two pieces, each from its own position.
func TestReadsInPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		l, err := manifest.NewLayout(fields(w.columns))
		if err != nil {
			t.Fatal(err)
		}
		piece := func(from, to manifest.Position, rows []cells, end manifest.Position) {
			c := manifest.NewCSV(bytes.NewReader(w.text[from.Offset:to.Offset]), l, from)
			got, err := readFrom(c)
			if err != nil {
				t.Fatalf("%+v to %+v: %v\n%q", from, to, err, w.text)
			}
			if diff := cmp.Diff(rows, got); diff != "" {
				t.Fatalf("%+v to %+v: rows differ (-want +got):\n%s\n%q", from, to, diff, w.text)
			}
			if c.Position() != end {
				t.Fatalf("%+v to %+v: ends at %+v, want %+v", from, to, c.Position(), end)
			}
		}
		all := manifest.Position{Offset: int64(len(w.text))}
		for i, cut := range w.ends {
			piece(manifest.Position{}, cut, w.rows[:i+1], cut)
			if i < len(w.ends)-1 {
				piece(cut, all, w.rows[i+1:], w.ends[len(w.ends)-1])
			}
		}
	})
}

// Rows are read right across the edges of the window, whatever their length and however the reader
// hands out its bytes.
func TestWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var text bytes.Buffer
		var want []int
		for text.Len() < 1<<20 {
			n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 60_000), rapid.Just(64<<10-6)).Draw(t, "length")
			text.WriteString("src,a,")
			text.WriteString(strings.Repeat("x", n))
			text.WriteString(rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "line end"))
			want = append(want, text.Len())
			text.WriteString(rapid.SampledFrom([]string{"", "\n", "\r\n"}).Draw(t, "blank"))
		}
		l, err := manifest.NewLayout(fields("Bucket,Key,Ignore"))
		if err != nil {
			t.Fatal(err)
		}
		r := &ragged{r: bytes.NewReader(text.Bytes()), sizes: rapid.SliceOfN(rapid.IntRange(0, 100_000), 1, 20).Draw(t, "reads")}
		c := manifest.NewCSV(r, l, manifest.Position{})
		var row manifest.Row
		for i, end := range want {
			if !c.Next(&row) || string(row.Key) != "a" || c.Offset() != int64(end) {
				t.Fatalf("row %d of %d: key %q ends at %d, want %d, error %v", i, len(want), row.Key, c.Offset(), end, c.Err())
			}
		}
		if c.Next(&row) || c.Err() != nil {
			t.Fatalf("after the last row: %q, error %v", row.Key, c.Err())
		}
	})
}

// A ragged reader reads at most the given sizes in turn.
type ragged struct {
	r     io.Reader
	sizes []int
	i     int
}

func (r *ragged) Read(p []byte) (int, error) {
	n := r.sizes[r.i%len(r.sizes)]
	if r.i++; r.i%len(r.sizes) == 0 {
		n++ // never only nothing
	}
	return r.r.Read(p[:min(n, len(p))])
}
