//go:build !slim

package devstore

import (
	"context"
	"errors"

	"github.com/versity/versitygw/backend/meta"
)

// nullVersion names the version of an object that was written while its bucket
// kept no versions.
const nullVersion = "null"

// named is version as versitygw finds it: while the null version is the current
// one, most of its calls look for it in vain among the noncurrent ones.
func (b *backend) named(bucket, key, version string) string {
	if version != nullVersion {
		return version
	}
	if _, err := b.attrs.RetrieveAttribute(nil, bucket, key, versionAttribute); errors.Is(err, meta.ErrNoSuchKey) {
		return ""
	}
	return version
}

// GetObjectTagging and those below know the null version.
func (b *backend) GetObjectTagging(ctx context.Context, bucket, key, version string) (map[string]string, error) {
	return b.Posix.GetObjectTagging(ctx, bucket, key, b.named(bucket, key, version))
}

// PutObjectTagging implements backend.Backend.
func (b *backend) PutObjectTagging(ctx context.Context, bucket, key, version string, tags map[string]string) error {
	return b.Posix.PutObjectTagging(ctx, bucket, key, b.named(bucket, key, version), tags)
}

// DeleteObjectTagging implements backend.Backend.
func (b *backend) DeleteObjectTagging(ctx context.Context, bucket, key, version string) error {
	return b.Posix.DeleteObjectTagging(ctx, bucket, key, b.named(bucket, key, version))
}

// PutObjectLegalHold implements backend.Backend.
func (b *backend) PutObjectLegalHold(ctx context.Context, bucket, key, version string, on bool) error {
	return b.Posix.PutObjectLegalHold(ctx, bucket, key, b.named(bucket, key, version), on)
}

// GetObjectLegalHold implements backend.Backend.
func (b *backend) GetObjectLegalHold(ctx context.Context, bucket, key, version string) (*bool, error) {
	return b.Posix.GetObjectLegalHold(ctx, bucket, key, b.named(bucket, key, version))
}

// PutObjectRetention implements backend.Backend.
func (b *backend) PutObjectRetention(ctx context.Context, bucket, key, version string, retention []byte) error {
	return b.Posix.PutObjectRetention(ctx, bucket, key, b.named(bucket, key, version), retention)
}

// GetObjectRetention implements backend.Backend.
func (b *backend) GetObjectRetention(ctx context.Context, bucket, key, version string) ([]byte, error) {
	return b.Posix.GetObjectRetention(ctx, bucket, key, b.named(bucket, key, version))
}
