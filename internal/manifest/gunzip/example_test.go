package gunzip_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"stevedore/internal/manifest/gunzip"
)

// A runner opens a data file at the place where its chunk begins. Whoever has read the file before,
// planning it for example, has left points in the index.
func Example() {
	var file bytes.Buffer
	w := gzip.NewWriter(&file)
	for i := range 100_000 {
		fmt.Fprintf(w, "%q,%q\n", "bucket", fmt.Sprintf("key-%08d", i))
	}
	w.Close()

	const key = "inventory-bucket/data/1.csv.gz 5d41402abc4b2a76" // with the ETag: these very bytes
	index := gunzip.NewIndex(0)
	open := func(offset int64) *gunzip.Reader {
		p, _ := index.Nearest(key, offset)
		fmt.Println("reads from the start:", p.In == 0)
		z := gunzip.Resume(bytes.NewReader(file.Bytes()[p.In:]), p) // a GET of the range "bytes=p.In-"
		z.Mark(256<<10, func(p gunzip.Point) { index.Add(key, p) })
		if err := z.Discard(offset - p.Out); err != nil {
			fmt.Println(err)
		}
		return z
	}

	line := len("\"bucket\",\"key-00000000\"\n")
	for _, number := range []int{0, 77_777} {
		text, err := io.ReadAll(open(int64(number * line)))
		first, _, _ := strings.Cut(string(text), "\n")
		fmt.Println(first, len(text)/line, err)
	}
	// Output:
	// reads from the start: true
	// "bucket","key-00000000" 100000 <nil>
	// reads from the start: false
	// "bucket","key-00077777" 22223 <nil>
}
