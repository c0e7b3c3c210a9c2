package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// The buckets of a seeded server.
const (
	demoBucket      = "demo"
	manifestsBucket = "manifests"
	reportsBucket   = "reports"
	manifestKey     = "manifest.csv"
)

// parallel is how many requests of seeding and checking are in flight.
const parallel = 32

// objectKey and objectBody are the nth object of a seeded server.
func objectKey(n int) string { return fmt.Sprintf("data/%06d.txt", n) }

func objectBody(n int) []byte { return fmt.Appendf(nil, "This is object number %d.\n", n) }

// objectIndex is the n of which key is the objectKey, or -1.
func objectIndex(key string) int {
	var n int
	if _, err := fmt.Sscanf(key, "data/%d.txt", &n); err != nil || n < 0 || objectKey(n) != key {
		return -1
	}
	return n
}

// newS3 returns a client of the store and what closes its connections.
func newS3(r ready) (client *s3.Client, done func()) {
	transport := &http.Transport{MaxIdleConnsPerHost: parallel, MaxConnsPerHost: parallel}
	return s3.New(s3.Options{
		BaseEndpoint: &r.S3,
		UsePathStyle: true,
		Region:       r.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(r.AccessKey, r.SecretKey, ""),
		HTTPClient:   &http.Client{Transport: transport, Timeout: time.Minute},
	}), transport.CloseIdleConnections
}

// createBuckets makes buckets that may exist already.
func createBuckets(ctx context.Context, client *s3.Client, names ...string) error {
	for _, name := range names {
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
		_, owned := errors.AsType[*types.BucketAlreadyOwnedByYou](err)
		_, exists := errors.AsType[*types.BucketAlreadyExists](err)
		if err != nil && !owned && !exists {
			return fmt.Errorf("create bucket %s: %w", name, err)
		}
	}
	return nil
}

// seededBeyond reports whether the demo bucket has objects of a larger seed than n.
func seededBeyond(ctx context.Context, client *s3.Client, n int) (bool, error) {
	if n == 0 {
		return false, nil
	}
	page, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: new(demoBucket), Prefix: new("data/"), StartAfter: new(objectKey(n - 1)), MaxKeys: new(int32(1)),
	})
	if err != nil {
		return false, fmt.Errorf("list %s: %w", demoBucket, err)
	}
	return len(page.Contents) > 0, nil
}

// seed puts n objects into the demo bucket, with a tag if asked for, and tells
// progress how many are there.
func seed(ctx context.Context, client *s3.Client, n int, tagging *string, progress func(done int)) error {
	return each(ctx, n, progress, func(ctx context.Context, i int) error {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: new(demoBucket), Key: new(objectKey(i)), Body: bytes.NewReader(objectBody(i)),
			ContentType: new("text/plain"), Tagging: tagging,
		})
		if err != nil {
			return fmt.Errorf("put %s: %w", objectKey(i), err)
		}
		return nil
	})
}

// putManifest lists the n objects of the demo bucket in a CSV manifest and
// returns its ETag.
func putManifest(ctx context.Context, client *s3.Client, n int) (etag string, err error) {
	var list bytes.Buffer
	w := csv.NewWriter(&list)
	for i := range n {
		w.Write([]string{demoBucket, objectKey(i)}) //nolint:errcheck // a buffer takes everything
	}
	w.Flush()
	out, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: new(manifestsBucket), Key: new(manifestKey), Body: bytes.NewReader(list.Bytes()),
		ContentType: new("text/csv"),
	})
	if err != nil {
		return "", fmt.Errorf("put %s: %w", manifestKey, err)
	}
	if out.ETag == nil {
		return "", fmt.Errorf("put %s: the answer has no ETag", manifestKey)
	}
	return unquoteETag(*out.ETag), nil
}

// unquoteETag is an ETag as a job names it.
func unquoteETag(s string) string { return string(bytes.Trim([]byte(s), `"`)) }

// each does n things, some at the same time, up to the first error. progress
// may be called concurrently.
func each(ctx context.Context, n int, progress func(done int), do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var next, done atomic.Int64
	progress(0)
	for range min(parallel, n) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := do(ctx, i); err != nil {
					return err
				}
				progress(int(done.Add(1)))
			}
		})
	}
	return group.Wait()
}
