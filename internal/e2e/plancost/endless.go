package main

import (
	"context"
	"fmt"
	"io"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// rowSize is the bytes of a row with its line end, about what inventories have.
const rowSize = 60

const etag = "0123456789abcdef0123456789abcdef"

// endless is a store with a CSV manifest of so many rows that is made while it is
// read, from any byte on.
type endless struct{ rows int64 }

func (e endless) spec() source.Spec {
	return source.Spec{
		Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey},
		Object: objectstore.Object{Bucket: "manifests", Key: "m.csv", ETag: etag},
	}
}

func (e endless) Head(context.Context, objectstore.Object) (objectstore.Info, error) {
	return objectstore.Info{Size: e.rows * rowSize, ETag: etag}, nil
}

func (e endless) Open(_ context.Context, _ objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	end := e.rows * rowSize
	if length >= 0 {
		end = min(end, offset+length)
	}
	r := &rows{next: offset / rowSize, left: end - offset/rowSize*rowSize}
	r.row = fmt.Appendf(nil, "bucket,some/prefix/of/a/key/%031d\n", r.next)
	if skip := offset % rowSize; skip > 0 {
		if _, err := io.ReadFull(r, make([]byte, skip)); err != nil {
			return nil, objectstore.Info{}, err
		}
	}
	return io.NopCloser(r), objectstore.Info{Size: e.rows * rowSize, ETag: etag}, nil
}

// rows makes rows whose keys count up.
type rows struct {
	next int64
	left int64  // bytes
	row  []byte // the row to come
	at   int    // bytes of it that were read
}

func (r *rows) Read(p []byte) (n int, err error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	for n < len(p) {
		k := copy(p[n:], r.row[r.at:])
		n += k
		if r.at += k; r.at == rowSize {
			r.at = 0
			r.count()
		}
	}
	r.left -= int64(n)
	return n, nil
}

// count adds one to the number in the row.
func (r *rows) count() {
	for i := rowSize - 2; ; i-- {
		if r.row[i]++; r.row[i] <= '9' {
			return
		}
		r.row[i] = '0'
	}
}
