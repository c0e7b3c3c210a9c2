package main

import (
	"context"
	"fmt"
	"io"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// blockRows is after how many rows the same keys come again: few enough for a
// block to stay in a core's cache, so that making rows costs next to nothing.
const blockRows = 4096

const etag = "0123456789abcdef0123456789abcdef"

// endless is a store with a CSV manifest of so many rows that is made while it is
// read, from any byte on.
type endless struct {
	size  int64 // bytes
	block []byte
}

func newEndless(rows, rowSize int64) endless {
	e := endless{size: rows * rowSize}
	for i := range blockRows {
		e.block = fmt.Appendf(e.block, "b,%0*d\n", rowSize-3, i)
	}
	return e
}

func (e endless) spec() source.Spec {
	return source.Spec{
		Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey},
		Object: objectstore.Object{Bucket: "manifests", Key: "m.csv", ETag: etag},
	}
}

func (e endless) Head(context.Context, objectstore.Object) (objectstore.Info, error) {
	return objectstore.Info{Size: e.size, ETag: etag}, nil
}

func (e endless) Open(_ context.Context, _ objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	end := e.size
	if length >= 0 {
		end = min(end, offset+length)
	}
	return io.NopCloser(&rows{block: e.block, at: offset, end: end}), objectstore.Info{Size: e.size, ETag: etag}, nil
}

// rows yields the bytes of a manifest from at to end.
type rows struct {
	block   []byte
	at, end int64
}

func (r *rows) Read(p []byte) (n int, err error) {
	if r.at >= r.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.end-r.at)]
	for n < len(p) {
		n += copy(p[n:], r.block[(r.at+int64(n))%int64(len(r.block)):])
	}
	r.at += int64(n)
	return n, nil
}
