//go:build !slim

package devstore

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3response"
)

// CreateMultipartUpload keeps the labels with the upload until it is complete.
func (b *backend) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	c := requestOf(ctx)
	l, err := b.asked(ctx, c, *in.Bucket)
	if err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	out, err := b.Posix.CreateMultipartUpload(ctx, in)
	if err != nil {
		return out, err
	}
	if err := b.setLabels(nil, uploadPlace(*in.Bucket, *in.Key, out.UploadId), l); err != nil {
		_ = b.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: &out.UploadId})
		return out, err
	}
	l.report(c)
	return out, nil
}

// CompleteMultipartUpload hands the labels of the upload on to the object.
func (b *backend) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	bucket, key := *in.Bucket, *in.Key
	var (
		l       labels
		err     error
		unlock  = func() {}
		started bool
	)
	defer func() { unlock() }()
	// versitygw calls it for each part: before the first one is the last
	// moment at which the object can get its labels before it appears.
	assemble := func(part, object *os.File) (repeatable bool, _ error) {
		if !started {
			started = true
			unlock = b.lock(bucket, key)
			// Only the part knows where the upload is by now.
			if l, err = b.labels(place{filepath.Dir(part.Name()), ""}); err == nil {
				err = b.stage(object, bucket, key, l)
			}
		}
		_, copyErr := io.Copy(object, part)
		return true, copyErr
	}
	out, version, completeErr := b.CompleteMultipartUploadWithCopy(ctx, in, assemble)
	if completeErr != nil || !started {
		return out, version, completeErr
	}
	if err == nil {
		err = b.settle(bucket, key, l, markerAttribute)
	}
	if err == nil {
		l.report(requestOf(ctx))
	}
	return out, version, err
}
