//go:build !slim

package devstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	gateway "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// CopyObject reads the source and puts the copy. Other than versitygw's own, a
// copy of an object onto itself is a new version with a new date, and a source
// may be a version in a bucket whose versioning is suspended.
func (b *backend) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (out s3response.CopyObjectOutput, err error) {
	c := requestOf(ctx)
	bucket, key, version, err := b.source(ctx, *in.CopySource, in.ExpectedSourceBucketOwner)
	if err != nil {
		return out, err
	}
	l, err := b.asked(ctx, c, *in.Bucket)
	if err != nil {
		return out, err
	}
	replace := in.MetadataDirective == types.MetadataDirectiveReplace
	if bucket == *in.Bucket && key == *in.Key && version == "" && !replace && !changes(c, in) {
		return out, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}

	src, err := b.Posix.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &bucket, Key: &key, VersionId: &version, Range: new(""), ChecksumMode: types.ChecksumModeEnabled,
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModifiedSince: in.CopySourceIfModifiedSince, IfUnmodifiedSince: in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return out, sourceError(err, version)
	}
	var body io.Reader = bytes.NewReader(nil) // a directory object
	if src.Body != nil {
		defer src.Body.Close()
		body = src.Body
	}
	if err := b.sourceReadable(bucket, key, version); err != nil {
		return out, err
	}
	if *src.ContentLength > b.copyLimit {
		return out, s3err.GetCopySourceObjectTooLargeErr(b.copyLimit)
	}

	put := s3response.PutObjectInput{
		Bucket: in.Bucket, Key: in.Key, Body: body, ContentLength: src.ContentLength,
		ContentType: src.ContentType, ContentEncoding: src.ContentEncoding,
		ContentDisposition: src.ContentDisposition, ContentLanguage: src.ContentLanguage,
		CacheControl: src.CacheControl, Expires: src.ExpiresString, Metadata: src.Metadata,
		WebsiteRedirectLocation:   in.WebsiteRedirectLocation, // never copied
		Tagging:                   in.Tagging,
		ChecksumAlgorithm:         in.ChecksumAlgorithm,
		ObjectLockRetainUntilDate: in.ObjectLockRetainUntilDate,
		ObjectLockMode:            in.ObjectLockMode,
		ObjectLockLegalHoldStatus: in.ObjectLockLegalHoldStatus,
	}
	if replace {
		put.ContentType, put.ContentEncoding = in.ContentType, in.ContentEncoding
		put.ContentDisposition, put.ContentLanguage = in.ContentDisposition, in.ContentLanguage
		put.CacheControl, put.Expires, put.Metadata = in.CacheControl, in.Expires, in.Metadata
	}
	if in.TaggingDirective != types.TaggingDirectiveReplace {
		tags, err := b.GetObjectTagging(ctx, bucket, key, version)
		if err != nil {
			return out, err
		}
		values := url.Values{}
		for name, value := range tags {
			values.Set(name, value)
		}
		put.Tagging = new(values.Encode())
	}
	if put.ChecksumAlgorithm == "" {
		put.ChecksumAlgorithm = algorithm(src)
	}

	done, err := b.put(ctx, put, l)
	if err != nil {
		return out, err
	}
	modified := now() // or almost: the copy may be gone again
	if head, err := b.head(ctx, *in.Bucket, *in.Key, done.VersionID); err == nil {
		modified = *head.LastModified
	}
	l.report(c)
	return s3response.CopyObjectOutput{
		CopyObjectResult: &s3response.CopyObjectResult{
			ETag: &done.ETag, LastModified: &modified, ChecksumType: done.ChecksumType,
			ChecksumCRC32: done.ChecksumCRC32, ChecksumCRC32C: done.ChecksumCRC32C, ChecksumCRC64NVME: done.ChecksumCRC64NVME,
			ChecksumSHA1: done.ChecksumSHA1, ChecksumSHA256: done.ChecksumSHA256, ChecksumSHA512: done.ChecksumSHA512,
			ChecksumMD5: done.ChecksumMD5, ChecksumXXHASH64: done.ChecksumXXHASH64,
			ChecksumXXHASH3: done.ChecksumXXHASH3, ChecksumXXHASH128: done.ChecksumXXHASH128,
		},
		VersionId:           &done.VersionID,
		CopySourceVersionId: src.VersionId,
	}, nil
}

// UploadPartCopy keeps the bytes of an archived source back.
func (b *backend) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (out s3response.CopyPartResult, err error) {
	bucket, key, version, err := b.source(ctx, *in.CopySource, nil) // versitygw compares the owner
	if err != nil {
		return out, err
	}
	if _, err := b.head(ctx, bucket, key, version); err != nil {
		return out, sourceError(err, version)
	}
	if err := b.sourceReadable(bucket, key, version); err != nil {
		return out, err
	}
	out, err = b.Posix.UploadPartCopy(ctx, in)
	return out, sourceError(err, version)
}

// source parses a copy source. owner is nil or the owner its bucket must have.
func (b *backend) source(ctx context.Context, header string, owner *string) (bucket, key, version string, err error) {
	bucket, key, version, err = gateway.ParseCopySource(header)
	if err != nil {
		return "", "", "", err
	}
	if aliased(key) {
		return "", "", "", refuseKey(key)
	}
	if gateway.GetStringFromPtr(owner) == "" {
		return bucket, key, version, nil
	}
	data, err := b.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &bucket})
	if err != nil {
		return "", "", "", err
	}
	acl, err := auth.ParseACL(data)
	if err == nil && acl.Owner != *owner {
		err = s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	return bucket, key, version, err
}

// sourceReadable returns InvalidObjectState for a source that is archived.
func (b *backend) sourceReadable(bucket, key, version string) error {
	l, err := b.labelsOf(bucket, key, version)
	if err != nil {
		return err
	}
	return l.at(now()).readable(now())
}

// sourceError returns what S3 says of a source that GetObject cannot read.
func sourceError(err error, version string) error {
	switch {
	case errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)):
		return s3err.GetAPIError(s3err.ErrPreconditionFailed)
	case errors.Is(err, s3err.GetAPIError(s3err.ErrMethodNotAllowed)) && version != "":
		return s3err.APIError{
			Code: "InvalidRequest", HTTPStatusCode: fiber.StatusBadRequest,
			Description: "The source of a copy request may not specifically refer to a delete marker by version id.",
		}
	}
	return err
}

// changes reports whether a copy changes more of an object than its metadata: S3
// refuses to copy an object onto itself otherwise.
func changes(c fiber.Ctx, in s3response.CopyObjectInput) bool {
	return c != nil && (c.Get(classHeader) != "" || c.Get(sseHeader) != "") ||
		gateway.GetStringFromPtr(in.WebsiteRedirectLocation) != ""
}

// algorithm returns the algorithm of an object's checksum, or "".
func algorithm(o *s3.GetObjectOutput) types.ChecksumAlgorithm {
	for _, c := range []struct {
		sum  *string
		name types.ChecksumAlgorithm
	}{
		{o.ChecksumCRC32, types.ChecksumAlgorithmCrc32},
		{o.ChecksumCRC32C, types.ChecksumAlgorithmCrc32c},
		{o.ChecksumCRC64NVME, types.ChecksumAlgorithmCrc64nvme},
		{o.ChecksumSHA1, types.ChecksumAlgorithmSha1},
		{o.ChecksumSHA256, types.ChecksumAlgorithmSha256},
		{o.ChecksumSHA512, types.ChecksumAlgorithmSha512},
		{o.ChecksumMD5, types.ChecksumAlgorithmMd5},
		{o.ChecksumXXHASH64, types.ChecksumAlgorithmXxhash64},
		{o.ChecksumXXHASH3, types.ChecksumAlgorithmXxhash3},
		{o.ChecksumXXHASH128, types.ChecksumAlgorithmXxhash128},
	} {
		if c.sum != nil {
			return c.name
		}
	}
	return ""
}
