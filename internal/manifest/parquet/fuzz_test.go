package parquet_test

import (
	"testing"

	"github.com/parquet-go/parquet-go"
)

// FuzzRead reads files that may be anything: see exercise.
func FuzzRead(f *testing.F) {
	rows, _ := objects(12)
	f.Add(write(f, rows, 5))
	f.Add(write(f, rows, 12, parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1)))
	f.Add(write(f, rows, 12, parquet.Compression(&parquet.Zstd)))
	f.Add(write(f, rows, 12, parquet.Compression(&parquet.Gzip)))
	f.Add(write(f, rows, 12, parquet.Compression(&parquet.Lz4Raw)))
	f.Fuzz(exercise)
}
