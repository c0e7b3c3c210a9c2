package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"stevedore/internal/objectstore"
)

// objectWriter writes an object of any size as a stream: with one request if it
// is small, else in parts. There is no object before Close.
type objectWriter struct {
	ctx    context.Context //nolint:containedctx // of the writing, as io.Writer has none
	access *objectstore.Access
	object objectstore.Object
	owner  string // the account that must own the bucket, or empty
	part   int    // bytes of a part, default defaultPart

	pending []byte
	upload  *objectstore.Upload
	parts   []objectstore.Uploaded
}

// defaultPart is the size of a part; ten thousand of them make 640 GB.
const defaultPart = 64 << 20

// Write implements io.Writer.
func (w *objectWriter) Write(p []byte) (int, error) {
	if w.part == 0 {
		w.part = defaultPart
	}
	written := 0
	for len(p) > 0 {
		n := min(len(p), w.part-len(w.pending))
		w.pending = append(w.pending, p[:n]...)
		p = p[n:]
		if len(w.pending) == w.part {
			if err := w.flush(); err != nil {
				return written, err
			}
		}
		written += n
	}
	return written, nil
}

// flush sends what is pending as a part.
func (w *objectWriter) flush() (err error) {
	if w.upload == nil {
		headers := []objectstore.Header{{Name: "content-type", Value: "text/csv"}}
		if w.owner != "" {
			headers = append(headers, objectstore.Header{Name: "x-amz-expected-bucket-owner", Value: w.owner})
		}
		if w.upload, err = objectstore.CreateMultipart(w.ctx, w.access, w.object, headers...); err != nil {
			return fmt.Errorf("begin upload: %w", err)
		}
	}
	sent, err := w.upload.PutPart(w.ctx, len(w.parts)+1, bytes.NewReader(w.pending), int64(len(w.pending)))
	if err != nil {
		return fmt.Errorf("upload part %d: %w", len(w.parts)+1, err)
	}
	w.parts, w.pending = append(w.parts, sent), w.pending[:0]
	return nil
}

// Close makes the object of what was written and returns its ETag.
func (w *objectWriter) Close() (etag string, err error) {
	if w.upload == nil {
		return w.access.Put(w.ctx, objectstore.PutInput{
			Bucket: w.object.Bucket, Key: w.object.Key, Body: bytes.NewReader(w.pending), Size: int64(len(w.pending)),
			ContentType: "text/csv", ExpectedBucketOwner: w.owner,
		})
	}
	if len(w.pending) > 0 {
		if err := w.flush(); err != nil {
			return "", errors.Join(err, w.abort())
		}
	}
	made, err := w.upload.Complete(w.ctx, w.parts)
	if err != nil {
		return "", fmt.Errorf("complete upload: %w", errors.Join(err, w.abort()))
	}
	return made.ETag, nil
}

// abort gives up what was written.
func (w *objectWriter) abort() error {
	if w.upload == nil {
		return nil
	}
	return w.upload.Abort(context.WithoutCancel(w.ctx))
}
