//go:build !slim

package devstore

import (
	"context"
	"io/fs"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	gateway "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// PutObject stores an object with its labels. versitygw takes
// UpdateObjectEncryption for PutObject, so it comes here, too.
func (b *backend) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	c := requestOf(ctx)
	if aliased(*in.Key) { // the key of a form is not in the path
		return s3response.PutObjectOutput{}, refuseKey(*in.Key)
	}
	if c != nil && c.Request().URI().QueryArgs().Has("encryption") {
		return s3response.PutObjectOutput{}, b.updateEncryption(ctx, c, *in.Bucket, *in.Key, in.Body)
	}
	l, err := b.asked(ctx, c, *in.Bucket)
	if err != nil {
		return s3response.PutObjectOutput{}, err
	}
	out, err := b.put(ctx, in, l)
	if err == nil {
		l.report(c)
	}
	return out, err
}

// put stores an object with the given labels.
func (b *backend) put(ctx context.Context, in s3response.PutObjectInput, l labels) (out s3response.PutObjectOutput, err error) {
	bucket, key := *in.Bucket, *in.Key
	if strings.HasSuffix(key, "/") { // a directory, which is never staged
		defer b.lock(bucket, key)()
		if out, err = b.Posix.PutObject(ctx, in); err != nil {
			return out, err
		}
		return out, b.setLabels(nil, place{bucket, key}, l)
	}
	unlock := func() {}
	defer func() { unlock() }()
	out, err = b.PutObjectWithPostFunc(ctx, in, func(staged *os.File) error {
		unlock = b.lock(bucket, key)
		return b.stage(staged, bucket, key, l)
	})
	if err != nil {
		return out, err
	}
	stale := []string{markerAttribute}
	if gateway.GetStringFromPtr(in.Tagging) == "" {
		stale = append(stale, tagsAttribute)
	}
	if len(in.Metadata) == 0 {
		stale = append(stale, metadataAttribute)
	}
	return out, b.settle(bucket, key, l, stale...)
}

// HeadObject adds the labels to what versitygw tells of an object.
func (b *backend) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	version := gateway.GetStringFromPtr(in.VersionId)
	if current := b.named(*in.Bucket, *in.Key, version); current != version {
		in.VersionId = &current
	}
	out, err := b.Posix.HeadObject(ctx, in)
	if err != nil {
		return out, err
	}
	l, err := b.labelsOf(*in.Bucket, *in.Key, version)
	if err != nil {
		return nil, err
	}
	if version != "" {
		b.tellLock(ctx, out, *in.Bucket, *in.Key, version)
	}
	l = l.at(now())
	out.StorageClass = l.class()
	out.Restore = l.restoreHeader(now())
	l.report(requestOf(ctx))
	return out, nil
}

// GetObject adds the labels to what versitygw returns, and keeps the bytes of an
// archived object back.
func (b *backend) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	out, err := b.Posix.GetObject(ctx, in)
	if err != nil {
		return out, err
	}
	l, err := b.labelsOf(*in.Bucket, *in.Key, gateway.GetStringFromPtr(in.VersionId))
	if err == nil {
		l = l.at(now())
		err = l.readable(now())
	}
	if err != nil {
		if out.Body != nil {
			_ = out.Body.Close()
		}
		return nil, err
	}
	out.StorageClass = l.class()
	out.Restore = l.restoreHeader(now())
	l.report(requestOf(ctx))
	return out, nil
}

// GetObjectAttributes tells the storage class with the rest.
func (b *backend) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (s3response.GetObjectAttributesResponse, error) {
	version := gateway.GetStringFromPtr(in.VersionId)
	if current := b.named(*in.Bucket, *in.Key, version); current != version {
		in.VersionId = &current
	}
	out, err := b.Posix.GetObjectAttributes(ctx, in)
	if err != nil {
		return out, err
	}
	l, err := b.labelsOf(*in.Bucket, *in.Key, version)
	out.StorageClass = l.class()
	return out, err
}

// DeleteObject waits for changes of labels under way, so that none is written
// to a version that takes the place of a deleted one.
func (b *backend) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	bucket, key, version := *in.Bucket, *in.Key, gateway.GetStringFromPtr(in.VersionId)
	defer b.lock(bucket, key)()
	if b.byPath && version != "" {
		if _, err := b.head(ctx, bucket, key, version); err == nil {
			// The next version moves to this path and brings only the labels that it has.
			p, err := b.place(bucket, key, version)
			if err != nil {
				return nil, err
			}
			if err := b.setLabels(nil, p, labels{}); err != nil {
				return nil, err
			}
		}
	}
	return b.Posix.DeleteObject(ctx, in)
}

// DeleteObjects deletes one object after the other.
func (b *backend) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	var result s3response.DeleteResult
	for _, object := range in.Delete.Objects {
		var out *s3.DeleteObjectOutput
		var err error
		if key := gateway.GetStringFromPtr(object.Key); aliased(key) {
			err = refuseKey(key)
		} else {
			out, err = b.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: object.Key, VersionId: object.VersionId})
		}
		if err != nil {
			result.Error = append(result.Error, s3err.ObjectDeleteError(object.Key, object.VersionId, err))
			continue
		}
		deleted := types.DeletedObject{Key: object.Key, VersionId: object.VersionId, DeleteMarker: out.DeleteMarker}
		if out.DeleteMarker != nil && *out.DeleteMarker {
			deleted.DeleteMarkerVersionId = out.VersionId
		}
		result.Deleted = append(result.Deleted, deleted)
	}
	return result, nil
}

// ListObjects tells the storage class of each object.
func (b *backend) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	return b.ListObjectsParametrized(ctx, in, b.listed)
}

// ListObjectsV2 tells the storage class of each object.
func (b *backend) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	return b.ListObjectsV2Parametrized(ctx, in, b.listed)
}

// listed is versitygw's function for the entries of a listing, with the storage class.
func (b *backend) listed(bucket string, owner bool) gateway.GetObjFunc {
	entry := b.FileToObj(bucket, owner)
	return func(path string, d fs.DirEntry) (s3response.Object, error) {
		object, err := entry(path, d)
		if err != nil {
			return object, err
		}
		l, err := b.labels(place{bucket, path})
		object.StorageClass = types.ObjectStorageClass(l.class())
		return object, err
	}
}

// ListObjectVersions tells the storage class of each version.
func (b *backend) ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput) (s3response.ListVersionsResult, error) {
	out, err := b.Posix.ListObjectVersions(ctx, in)
	if err != nil {
		return out, err
	}
	for i, v := range out.Versions {
		l, err := b.labelsOf(*in.Bucket, *v.Key, gateway.GetStringFromPtr(v.VersionId))
		if err != nil {
			return out, err
		}
		out.Versions[i].StorageClass = types.ObjectVersionStorageClass(l.class())
	}
	return out, nil
}
