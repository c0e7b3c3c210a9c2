package parquet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"stevedore/internal/manifest/parquet"
)

// object is a row of an inventory as the library that writes the files of these tests takes it.
type object struct {
	Bucket   string    `parquet:"bucket,dict"`
	Key      string    `parquet:"key"`
	Version  *string   `parquet:"version_id,optional"`
	Latest   *bool     `parquet:"is_latest,optional"`
	Size     *int64    `parquet:"size,optional"`
	Modified time.Time `parquet:"last_modified_date,timestamp"`
	Class    *string   `parquet:"storage_class,optional,dict"`
	Count    int32     `parquet:"count,delta"`
	Total    uint64    `parquet:"total,delta"`
	Prefixed string    `parquet:"prefixed,delta"`
	Length   []byte    `parquet:"length,delta"`
	Ratio    float64   `parquet:"ratio,split"`
	Part     float32   `parquet:"part"`
	Day      int32     `parquet:"day,date"`
	Old      uint32    `parquet:"old,dict"`
	Micros   time.Time `parquet:"micros,timestamp(microsecond)"`
	Nanos    time.Time `parquet:"nanos,timestamp(nanosecond)"`
	Fixed    [3]byte   `parquet:"fixed"`
	Flag     bool      `parquet:"flag"`
}

const stamp = "2006-01-02T15:04:05.000Z"

// objects returns n rows, and what is to be read of them.
func objects(n int) (rows []object, want [][]string) {
	const null = "<null>"
	for i := range n {
		at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC).Add(time.Duration(i) * 1234567 * time.Microsecond)
		o := object{
			Bucket: "source", Key: fmt.Sprintf("data/%04x/ünïcode %d.jpg", i*i%4096, i),
			Modified: at, Count: int32(i * 7919 % 1000), Total: 1<<63 + uint64(i), Prefixed: fmt.Sprintf("logs/2024/%08d", i/3),
			Length: bytes.Repeat([]byte{'x'}, i%17), Ratio: float64(i) / 8, Part: float32(i) / 4, Day: int32(i - 10),
			Old: uint32(1<<32 - 1 - i%5), Micros: at, Nanos: at, Fixed: [3]byte{'a', byte('0' + i%10), 'z'}, Flag: i%3 == 0,
		}
		row := []string{
			o.Bucket, o.Key, null, null, null, at.Format(stamp), null, strconv.Itoa(int(o.Count)),
			strconv.FormatUint(o.Total, 10), o.Prefixed, string(o.Length), strconv.FormatFloat(o.Ratio, 'g', -1, 64),
			strconv.FormatFloat(float64(o.Part), 'g', -1, 32), time.Date(1970, 1, 1+int(o.Day), 0, 0, 0, 0, time.UTC).Format(time.DateOnly),
			strconv.Itoa(int(o.Old)), at.Format(stamp), at.Format(stamp), string(o.Fixed[:]), strconv.FormatBool(o.Flag),
		}
		if i%4 != 0 {
			o.Version = new(fmt.Sprintf("v%d", i))
			row[2] = *o.Version
		}
		if i%5 != 0 {
			o.Latest = new(i%2 == 0)
			row[3] = strconv.FormatBool(*o.Latest)
		}
		if i%1000 > 100 {
			o.Size = new(int64(i) * 1e12)
			row[4] = strconv.FormatInt(*o.Size, 10)
		}
		if i%1000 < 900 {
			o.Class = new([]string{"STANDARD", "GLACIER", ""}[i%3])
			row[6] = *o.Class
		}
		rows, want = append(rows, o), append(want, row)
	}
	return rows, want
}

// write returns a file of the rows in groups of size rows.
func write(t testing.TB, rows []object, size int, options ...pq.WriterOption) []byte {
	t.Helper()
	var file bytes.Buffer
	w := pq.NewGenericWriter[object](&file, options...)
	for group := range slices.Chunk(rows, max(size, 1)) {
		if _, err := w.Write(group); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func open(t testing.TB, file []byte) *parquet.File {
	t.Helper()
	f, err := parquet.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read returns the rows of f from number from on.
func read(t testing.TB, f *parquet.File, columns []int, from int64) (rows [][]string) {
	t.Helper()
	r := f.Read(columns, from)
	defer r.Close()
	cells := make([][]byte, len(columns))
	for r.Next(cells) {
		row := make([]string, len(cells))
		for i, cell := range cells {
			row[i] = string(cell)
			if cell == nil {
				row[i] = "<null>"
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
func all(f *parquet.File) (columns []int) {
	for i := range f.Columns() {
		columns = append(columns, i)
	}
	return columns
}

func TestRead(t *testing.T) {
	t.Parallel()
	rows, want := objects(3000)
	for _, codec := range []compress.Codec{&pq.Uncompressed, &pq.Snappy, &pq.Gzip, &pq.Zstd, &pq.Lz4Raw} {
		for _, version := range []int{1, 2} {
			for _, group := range []int{3000, 700, 1} {
				if group == 1 && codec != &pq.Snappy {
					continue
				}
				t.Run(fmt.Sprintf("%s/v%d/%d", codec, version, group), func(t *testing.T) {
					t.Parallel()
					file := write(t, rows, group, pq.Compression(codec), pq.DataPageVersion(version), pq.PageBufferSize(2000))
					f := open(t, file)
					if f.Rows() != int64(len(rows)) {
						t.Errorf("%d rows, want %d", f.Rows(), len(rows))
					}
					wantColumns := []string{
						"bucket", "key", "version_id", "is_latest", "size", "last_modified_date", "storage_class",
						"count", "total", "prefixed", "length", "ratio", "part", "day", "old", "micros", "nanos", "fixed", "flag",
					}
					if diff := cmp.Diff(wantColumns, f.Columns()); diff != "" {
						t.Errorf("columns (-want +got):\n%s", diff)
					}
					if diff := cmp.Diff(want, read(t, f, all(f), 0)); diff != "" {
						t.Errorf("rows (-want +got):\n%s", diff)
					}
					for _, from := range []int64{1, 57, 699, 700, 701, 1523, 2999, 3000, 4000} {
						got := read(t, f, all(f), from)
						if diff := cmp.Diff(want[min(from, 3000):], got, equateEmpty); diff != "" {
							t.Errorf("rows from %d (-want +got):\n%s", from, diff)
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

// TestReadSome asks for columns in an order of its own, one of them twice.
func TestReadSome(t *testing.T) {
	t.Parallel()
	rows, want := objects(500)
	f := open(t, write(t, rows, 200))
	for i, row := range read(t, f, []int{4, 1, 4}, 0) {
		if diff := cmp.Diff([]string{want[i][4], want[i][1], want[i][4]}, row); diff != "" {
			t.Fatalf("row %d (-want +got):\n%s", i, diff)
		}
	}
	if got := len(read(t, f, nil, 100)); got != 400 {
		t.Errorf("%d rows of no columns, want 400", got)
	}
}

// TestReadSparingly counts the bytes read of a file for one column of many, and for the last rows.
func TestReadSparingly(t *testing.T) {
	t.Parallel()
	rows, _ := objects(30_000)
	file := write(t, rows, 5_000, pq.Compression(&pq.Snappy))
	counter := &counting{r: bytes.NewReader(file)}
	f, err := parquet.Open(counter, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, columns []int, from, most int64) {
		t.Helper()
		counter.calls, counter.bytes = 0, 0
		read(t, f, columns, from)
		if counter.bytes > most {
			t.Errorf("%s: read %d bytes of %d, want at most %d", what, counter.bytes, len(file), most)
		}
		if calls := int64(6 * len(columns)); counter.calls > calls {
			t.Errorf("%s: %d calls, want one for each column chunk, %d", what, counter.calls, calls)
		}
	}
	check("bucket", []int{0}, 0, int64(len(file)/20))
	check("bucket and key", []int{0, 1}, 0, int64(len(file)/3))
	check("last row group", all(f), 25_000, int64(len(file)/5))
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

func TestNested(t *testing.T) {
	t.Parallel()
	type row struct {
		Before string
		List   []string
		Group  struct{ A, B string }
		After  string
	}
	var file bytes.Buffer
	w := pq.NewGenericWriter[row](&file)
	if _, err := w.Write([]row{{Before: "b", List: []string{"x", "y"}, After: "a"}, {After: "a2"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := open(t, file.Bytes())
	if diff := cmp.Diff([]string{"Before", "List", "Group", "After"}, f.Columns()); diff != "" {
		t.Fatalf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{"b", "a"}, {"", "a2"}}, read(t, f, []int{0, 3}, 0)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, column := range []int{1, 2} {
		r := f.Read([]int{column}, 0)
		if r.Next(make([][]byte, 1)) {
			t.Errorf("column %d: got a row", column)
		}
		if bad, ok := errors.AsType[*parquet.FormatError](r.Err()); !ok {
			t.Errorf("column %d: error %v, want a FormatError", column, r.Err())
		} else {
			t.Log(bad)
		}
	}
}

// TestDamage cuts a file short and changes each of its bytes in turn: an error or wrong text, never more.
func TestDamage(t *testing.T) {
	t.Parallel()
	rows, _ := objects(20)
	file := write(t, rows, 10, pq.Compression(&pq.Snappy), pq.DataPageVersion(1))
	for i := range file {
		if _, err := parquet.Open(bytes.NewReader(file[:i]), int64(i)); err == nil {
			t.Errorf("a file cut to %d bytes of %d opens", i, len(file))
		}
		damaged := slices.Clone(file)
		damaged[i] ^= []byte{0x01, 0x80, 0xff, 0x10}[i%4]
		exercise(t, damaged)
	}
}

// TestManyColumns refuses a schema that takes far more memory than it has bytes.
func TestManyColumns(t *testing.T) {
	t.Parallel()
	const columns = 1_000_000
	metadata := binary.AppendUvarint([]byte{0x29, 0xfc}, columns)                  // field 2, a list of structures
	metadata = append(metadata, bytes.Repeat([]byte{0x48, 1, 'c', 0}, columns)...) // field 4, the name
	file := append(append([]byte("PAR1"), metadata...), 0)                         // the end
	file = append(binary.LittleEndian.AppendUint32(file, uint32(len(metadata)+1)), "PAR1"...)
	_, err := parquet.Open(bytes.NewReader(file), int64(len(file)))
	if bad, ok := errors.AsType[*parquet.FormatError](err); !ok || bad.Detail != "a Parquet file of more than 10000 columns" {
		t.Errorf("got %v, want too many columns", err)
	}
}

// TestSums changes a key: what its page says of itself tells.
func TestSums(t *testing.T) {
	t.Parallel()
	rows, _ := objects(20)
	for version := 1; version <= 2; version++ {
		file := write(t, rows, 20, pq.Compression(&pq.Uncompressed), pq.DataPageVersion(version))
		at := bytes.Index(file, []byte(rows[7].Key))
		if at < 0 {
			t.Fatal("the key is not there as it is")
		}
		file[at] ^= 1
		r := open(t, file).Read([]int{1}, 0)
		cells, n := make([][]byte, 1), 0
		for r.Next(cells) {
			n++
		}
		if _, ok := errors.AsType[*parquet.FormatError](r.Err()); !ok || n > 0 {
			t.Errorf("version %d: got %d rows, %v, want that the page is damaged", version, n, r.Err())
		}
	}
}

// exercise reads a file, or the start of one that says it is long, and fails if it ends with an error that is not of the content.
func exercise(t *testing.T, file []byte) {
	t.Helper()
	const most = 300 // rows
	f, err := parquet.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		if _, ok := errors.AsType[*parquet.FormatError](err); !ok {
			t.Fatalf("open: %v is no FormatError", err)
		}
		return
	}
	for column := range f.Columns() {
		from := int64(column % 2 * 3)
		r := f.Read([]int{column}, from)
		n, cells := 0, make([][]byte, 1)
		for n < most && r.Next(cells) {
			n++
		}
		if err := r.Err(); err != nil {
			if _, ok := errors.AsType[*parquet.FormatError](err); !ok {
				t.Fatalf("column %d: %v is no FormatError", column, err)
			}
		} else if n < most && int64(n) != max(0, f.Rows()-from) {
			t.Fatalf("column %d: %d rows from %d of %d without an error", column, n, from, f.Rows())
		}
		r.Close()
	}
}

// TestReadError tells an error of the reader from one of the content.
func TestReadError(t *testing.T) {
	t.Parallel()
	rows, _ := objects(100)
	file := write(t, rows, 100)
	broken := errors.New("connection reset")
	f, err := parquet.Open(&failing{bytes.NewReader(file), 1, broken}, int64(len(file)))
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
	if _, ok := errors.AsType[*parquet.FormatError](r.Err()); ok {
		t.Error("it is called an error of the content")
	}
	if _, err := parquet.Open(bytes.NewReader(file), int64(len(file))+9); !errors.Is(err, io.ErrUnexpectedEOF) {
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
	rows, _ := objects(10)
	r := open(t, write(t, rows, 5, pq.Compression(&pq.Zstd))).Read([]int{1}, 0)
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

// TestWriter reads what a Writer wrote, with this package and with the library.
func TestWriter(t *testing.T) {
	t.Parallel()
	columns := []string{"size", "bucket", "key", "is_latest", "last_modified_date", "e_tag"}
	const n = 210_000
	var file bytes.Buffer
	w, err := parquet.NewWriter(&file, columns)
	if err != nil {
		t.Fatal(err)
	}
	row := func(i int) []string {
		cells := []string{strconv.Itoa(i), "b", fmt.Sprintf("key %d", i), "true", "2024-01-02T03:04:05.678Z", "<null>"}
		if i%10 == 3 {
			cells = []string{"<null>", "", "k", "<null>", "<null>", ""}
		}
		return cells
	}
	cells := make([][]byte, len(columns))
	for i := range n {
		for j, cell := range row(i) {
			if cells[j] = nil; cell != "<null>" {
				cells[j] = append([]byte{}, cell...)
			}
		}
		if err := w.Write(cells); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := open(t, file.Bytes())
	if diff := cmp.Diff(columns, f.Columns()); diff != "" {
		t.Fatalf("columns (-want +got):\n%s", diff)
	}
	got := read(t, f, all(f), 0)
	if len(got) != n {
		t.Fatalf("%d rows, want %d", len(got), n)
	}
	for i := range got {
		if !slices.Equal(got[i], row(i)) {
			t.Fatalf("row %d: %q, want %q", i, got[i], row(i))
		}
	}
	lib, err := pq.OpenFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(lib.RowGroups()); got != 3 {
		t.Errorf("%d row groups, want 3", got)
	}
}

func TestWriterErrors(t *testing.T) {
	t.Parallel()
	if _, err := parquet.NewWriter(io.Discard, []string{"key", "key"}); err == nil {
		t.Error("two columns of one name")
	}
	check := func(column, cell, want string) {
		t.Helper()
		w, err := parquet.NewWriter(io.Discard, []string{column})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write([][]byte{[]byte(cell)}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := w.Write(make([][]byte, 2)); err == nil {
			t.Error("two cells for one column")
		}
	}
	check("size", "12x", `write parquet: row 1: column size: strconv.ParseInt: parsing "12x": invalid syntax`)
	check("is_latest", "yes", `write parquet: row 1: column is_latest: strconv.ParseBool: parsing "yes": invalid syntax`)
	check("last_modified_date", "today", `write parquet: row 1: column last_modified_date: parsing time "today" as "2006-01-02T15:04:05Z07:00": cannot parse "today" as "2006"`)
}
