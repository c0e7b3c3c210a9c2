package orc_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/manifest/orc"
)

const (
	null  = "<null>"
	stamp = "2006-01-02T15:04:05.000Z"
)

// inventory returns a table with columns of every type that is read.
func inventory(t testing.TB, rows int) *table {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Skip(err) // a system without time zones
	}
	mix := func(row int) int64 { return int64(uint64(row+1) * 0x9e3779b97f4a7c15 >> 1) }
	start := time.Date(1969, 12, 1, 0, 0, 0, 0, zone)
	return &table{rows: rows, perStripe: max(rows, 1), chunk: 1000, version2: true, zone: zone, columns: []series{
		{"bucket", typeString, true, func(int) any { return "source" }},
		{"key", typeString, false, func(row int) any { return fmt.Sprintf("data/%x/ünïcode %d.jpg", mix(row)%1000, row) }},
		{"version_id", typeVarchar, false, func(row int) any {
			if row%4 == 0 {
				return nil
			}
			return strings.Repeat("v", int(mix(row)%7)) // often empty
		}},
		{"storage_class", typeChar, true, func(row int) any {
			if row%1000 > 900 {
				return nil
			}
			return []string{"STANDARD", "GLACIER", ""}[mix(row)%3]
		}},
		{"is_latest", typeBoolean, false, func(row int) any { return mix(row)%3 == 0 }},
		{"is_delete_marker", typeBoolean, false, func(row int) any {
			if row%5 == 0 {
				return nil
			}
			return row%100 < 50
		}},
		{"size", typeLong, false, func(row int) any {
			switch {
			case row%900 < 30:
				return int64(row) // rises
			case row%900 < 60:
				return int64(7)
			case row%40 == 0:
				return mix(row) >> 24 // much larger than the others
			case row%900 > 800:
				return -mix(row)
			case row%900 > 700:
				return mix(row)
			}
			return mix(row) % 1000
		}},
		{"falling", typeInt, false, func(row int) any { return int64(-row*row) / 3 }},
		{"short", typeShort, false, func(row int) any { return mix(row)%60000 - 30000 }},
		{"byte", typeByte, false, func(row int) any { return int64(int8(mix(row) >> uint(row%100))) }},
		{"last_modified_date", typeTimestamp, false, func(row int) any {
			return start.Add(time.Duration(row) * 12345678 * time.Millisecond)
		}},
		{"instant", typeInstant, false, func(row int) any { return start.Add(time.Duration(row*row) * time.Second) }},
		{"day", typeDate, false, func(row int) any { return int64(row - 100) }},
		{"nothing", typeString, false, func(int) any { return nil }},
		{"blob", typeBinary, false, func(row int) any { return string(binaryOf(row)) }},
		{"ratio", typeDouble, false, func(row int) any { return float64(row) / 8 }},
		{"part", typeFloat, false, func(row int) any { return float64(row) / 4 }},
	}}
}

func binaryOf(row int) []byte { return []byte{0, byte(row), 0xff} }

// want returns the rows of the table as they are to be read.
func (tb *table) want() (rows [][]string) {
	for row := range tb.rows {
		var cells []string
		for _, s := range tb.columns {
			v := s.value(row)
			if tb.absent != nil && tb.absent(row) {
				v = nil
			}
			cells = append(cells, text(s.kind, v))
		}
		rows = append(rows, cells)
	}
	return rows
}

func text(kind uint64, v any) string {
	switch v := v.(type) {
	case nil:
		return null
	case int64:
		if kind == typeDate {
			return time.Date(1970, 1, 1+int(v), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		}
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		if kind == typeInstant {
			v = v.UTC()
		}
		return v.Format(stamp)
	}
	return fmt.Sprint(v)
}

func open(t testing.TB, file []byte) *orc.File {
	t.Helper()
	f, err := orc.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read returns the rows of f from number from on.
func read(t testing.TB, f *orc.File, columns []int, from int64) (rows [][]string) {
	t.Helper()
	r := f.Read(columns, from)
	defer r.Close()
	cells := make([][]byte, len(columns))
	for r.Next(cells) {
		row := make([]string, len(cells))
		for i, cell := range cells {
			if row[i] = string(cell); cell == nil {
				row[i] = null
			}
		}
		rows = append(rows, row)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// all returns the indexes of all columns of f.
func all(f *orc.File) (columns []int) {
	for i := range f.Columns() {
		columns = append(columns, i)
	}
	return columns
}

func TestRead(t *testing.T) {
	t.Parallel()
	const rows = 2000
	for _, compression := range []uint64{none, zlib, snap, lz4, zst} {
		for _, version2 := range []bool{false, true} {
			for _, perStripe := range []int{rows, 700} {
				t.Run(fmt.Sprintf("%d/%t/%d", compression, version2, perStripe), func(t *testing.T) {
					t.Parallel()
					tb := inventory(t, rows)
					tb.compression, tb.version2, tb.perStripe = compression, version2, perStripe
					if perStripe == 700 {
						tb.absent = func(row int) bool { return row%50 == 13 }
					}
					want := tb.want()
					f := open(t, tb.encode(t))
					if f.Rows() != rows {
						t.Errorf("%d rows, want %d", f.Rows(), rows)
					}
					var names []string
					for _, s := range tb.columns {
						names = append(names, s.name)
					}
					if diff := cmp.Diff(names, f.Columns()); diff != "" {
						t.Errorf("columns (-want +got):\n%s", diff)
					}
					for _, from := range []int64{0, 699, 700, 1523, rows + 1000} {
						if diff := cmp.Diff(want[min(from, rows):], read(t, f, all(f), from), equateEmpty); diff != "" {
							t.Fatalf("rows from %d (-want +got):\n%s", from, diff)
						}
					}
				})
			}
		}
	}
}

var equateEmpty = cmp.Comparer(func(a, b [][]string) bool {
	return slices.EqualFunc(a, b, func(a, b []string) bool { return slices.Equal(a, b) })
})

// TestGolden reads files of another writer: see testdata/golden.go.txt.
func TestGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want [][]string
	for line := range strings.Lines(string(text)) {
		want = append(want, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	for _, name := range []string{"golden-none.orc", "golden-zlib.orc"} {
		file, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		f := open(t, file)
		if diff := cmp.Diff(want, read(t, f, all(f), 0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(want[130:], read(t, f, all(f), 130)); diff != "" {
			t.Errorf("%s from row 130 (-want +got):\n%s", name, diff)
		}
	}
}

// TestReadSome asks for columns in an order of its own, one of them twice.
func TestReadSome(t *testing.T) {
	t.Parallel()
	tb := inventory(t, 500)
	tb.perStripe = 200
	want := tb.want()
	f := open(t, tb.encode(t))
	for i, row := range read(t, f, []int{6, 1, 6}, 0) {
		if diff := cmp.Diff([]string{want[i][6], want[i][1], want[i][6]}, row); diff != "" {
			t.Fatalf("row %d (-want +got):\n%s", i, diff)
		}
	}
	if got := len(read(t, f, nil, 100)); got != 400 {
		t.Errorf("%d rows of no columns, want 400", got)
	}
}

// TestReadSparingly counts what is read of a file for some of its columns or rows.
func TestReadSparingly(t *testing.T) {
	t.Parallel()
	bulk := series{"bulk", typeString, false, func(row int) any { return strings.Repeat(string(rune('a'+row%26)), 2000) }}
	tb := inventory(t, 3000)
	tb.columns = []series{bulk, tb.columns[1], bulk}
	tb.perStripe = 1000
	file := tb.encode(t)
	counter := &counting{r: bytes.NewReader(file)}
	f, err := orc.Open(counter, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, columns []int, from, mostCalls, mostBytes int64) {
		t.Helper()
		counter.calls, counter.bytes = 0, 0
		read(t, f, columns, from)
		if counter.calls > mostCalls || counter.bytes > mostBytes {
			t.Errorf("%s: %d calls for %d bytes, want at most %d for %d", what, counter.calls, counter.bytes, mostCalls, mostBytes)
		}
	}
	check("key", []int{1}, 0, 9, int64(len(file)/50)) // footer, data and length of 3 stripes
	check("last stripe", []int{0, 1, 2}, 2000, 9, int64(len(file)/3+1000))
	check("last row", []int{0}, 2999, 4, int64(len(file)/6+1000))
	check("end", []int{0}, 3000, 0, 0)
}

// TestReadSmall reads a small stripe in one piece.
func TestReadSmall(t *testing.T) {
	t.Parallel()
	tb := inventory(t, 300)
	tb.perStripe = 100
	file := tb.encode(t)
	counter := &counting{r: bytes.NewReader(file)}
	f, err := orc.Open(counter, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	read(t, f, all(f), 0)
	if counter.calls != 1+3 {
		t.Errorf("%d calls, want one for the tail and one for each of 3 stripes", counter.calls)
	}
}

// TestBigFooter has metadata of more bytes than are read at first.
func TestBigFooter(t *testing.T) {
	t.Parallel()
	for _, compression := range []uint64{none, zlib} {
		tb := inventory(t, 50)
		tb.compression = compression
		statistics := make([]byte, 400<<10) // which do not compress
		r := rand.New(rand.NewPCG(1, 2))
		for i := range statistics {
			statistics[i] = byte(r.Uint32())
		}
		tb.tail = (&message{}).bytes(7, statistics).b
		f := open(t, tb.encode(t))
		if diff := cmp.Diff(tb.want(), read(t, f, all(f), 0)); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	}
}

type counting struct {
	r            io.ReaderAt
	calls, bytes int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.calls++
	c.bytes += int64(len(p))
	return c.r.ReadAt(p, off)
}

// TestUnread has columns and files that are not read.
func TestUnread(t *testing.T) {
	t.Parallel()
	tb := inventory(t, 3)
	tb.columns[2].kind = typeList
	f := open(t, tb.encode(t))
	if got := len(read(t, f, []int{0, 1, 3}, 0)); got != 3 {
		t.Errorf("%d rows of the other columns, want 3", got)
	}
	r := f.Read([]int{1, 2}, 0)
	if r.Next(make([][]byte, 2)) {
		t.Error("got a row of a list")
	}
	check := func(what string, err error, want string) {
		t.Helper()
		bad, ok := errors.AsType[*orc.FormatError](err)
		if !ok || bad.Detail != want {
			t.Errorf("%s: got %v, want %s", what, err, want)
		}
	}
	check("list", r.Err(), "column version_id has a type that is not read: list")

	openError := func(change func(*table)) error {
		tb := inventory(t, 3)
		change(tb)
		file := tb.encode(t)
		_, err := orc.Open(bytes.NewReader(file), int64(len(file)))
		return err
	}
	check("LZO", openError(func(tb *table) { tb.compression = lzo }), "the ORC file is compressed with LZO, which is not read")
	check("unknown", openError(func(tb *table) { tb.compression = 9 }), "the ORC file is compressed with method 9, which is not read")
	check("encrypted", openError(func(tb *table) { tb.tail = (&message{}).bytes(10, nil).b }), "the ORC file has encrypted columns")
	check("rows", openError(func(tb *table) { tb.tail = (&message{}).uint(6, 4).b }), "damaged ORC file: 3 rows in its stripes, 4 in all")

	text := []byte("bucket,key\n")
	_, err := orc.Open(bytes.NewReader(text), int64(len(text)))
	check("text", err, "not an ORC file: it ends with no postscript")
	_, err = orc.Open(bytes.NewReader(nil), 0)
	check("empty", err, "not an ORC file: only 0 bytes")
}

// TestDamage cuts a file short and changes each of its bytes in turn: an error or wrong text, never
// more.
func TestDamage(t *testing.T) {
	t.Parallel()
	tb := inventory(t, 40)
	tb.perStripe, tb.compression = 30, snap
	file := tb.encode(t)
	for i := range file {
		if _, err := orc.Open(bytes.NewReader(file[:i]), int64(i)); err == nil {
			t.Errorf("a file cut to %d bytes of %d opens", i, len(file))
		}
		damaged := slices.Clone(file)
		damaged[i] ^= []byte{0x01, 0x80, 0xff, 0x10}[i%4]
		exercise(t, damaged)
	}
}

// exercise reads a file, or the start of one that says it is long, and fails if it ends with an error that is not of the content.
func exercise(t *testing.T, file []byte) {
	t.Helper()
	const most = 300 // rows
	check := func(err error) {
		t.Helper()
		if _, ok := errors.AsType[*orc.FormatError](err); err != nil && !ok {
			t.Fatalf("%v is no FormatError", err)
		}
	}
	f, err := orc.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		check(err)
		return
	}
	for column := range min(len(f.Columns()), 20) {
		from := int64(column % 2 * 3)
		r := f.Read([]int{column}, from)
		n, cells := 0, make([][]byte, 1)
		for n < most && r.Next(cells) {
			n++
		}
		check(r.Err())
		if r.Err() == nil && n < most && int64(n) != max(0, f.Rows()-from) {
			t.Fatalf("column %d: %d rows from %d of %d without an error", column, n, from, f.Rows())
		}
		r.Close()
	}
}

// TestReadError tells an error of the reader from one of the content.
func TestReadError(t *testing.T) {
	t.Parallel()
	file := inventory(t, 100).encode(t)
	broken := errors.New("connection reset")
	f, err := orc.Open(&failing{bytes.NewReader(file), 1, broken}, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	r := f.Read([]int{0, 1}, 0)
	if r.Next(make([][]byte, 2)) {
		t.Error("got a row")
	}
	if !errors.Is(r.Err(), broken) {
		t.Errorf("error %v, want %v", r.Err(), broken)
	}
	if _, ok := errors.AsType[*orc.FormatError](r.Err()); ok {
		t.Error("it is called an error of the content")
	}
	if _, err := orc.Open(bytes.NewReader(file), int64(len(file))+9); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file shorter than said: %v", err)
	}
}

// failing fails after so many calls.
type failing struct {
	r     io.ReaderAt
	calls int
	err   error
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.calls--; f.calls < 0 {
		return 0, f.err
	}
	return f.r.ReadAt(p, off)
}

func TestClose(t *testing.T) {
	t.Parallel()
	tb := inventory(t, 10)
	tb.perStripe, tb.compression = 5, zst
	r := open(t, tb.encode(t)).Read([]int{1}, 0)
	cells := make([][]byte, 1)
	if !r.Next(cells) {
		t.Fatal(r.Err())
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if r.Next(cells) || r.Err() != nil {
		t.Errorf("a row or an error after Close: %v", r.Err())
	}
}
