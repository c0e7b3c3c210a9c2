//go:build stores

package stores

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// copied is where a copy of o is.
func copied(o object, prefix string) object {
	return object{bucket: "target", key: "to/" + prefix + "/" + o.key, body: o.body}
}

// isCopy compares a copy with what it must be.
func (w *world) isCopy(c object, body []byte, contentType, origin, tags string) error {
	ctx := context.Background()
	got, err := w.get(ctx, c)
	if err != nil {
		return fmt.Errorf("the copy cannot be read: %s", reason(err))
	}
	if !bytes.Equal(got, body) {
		return fmt.Errorf("the copy holds %d bytes, want %d: %.60q", len(got), len(body), got)
	}
	h, err := w.head(ctx, c)
	if err != nil {
		return fmt.Errorf("the copy cannot be read: %s", reason(err))
	}
	if v := aws.ToString(h.ContentType); v != contentType {
		return fmt.Errorf("the copy has the Content-Type %q, want %q", v, contentType)
	}
	if v := h.Metadata["origin"]; v != origin {
		return fmt.Errorf("the copy has the metadata %q, want %q", h.Metadata, origin)
	}
	found, err := w.tags(ctx, c)
	if err != nil {
		return fmt.Errorf("the tags of the copy cannot be read: %s", reason(err))
	}
	if v := written(found); v != tags {
		return fmt.Errorf("the copy has the tags %q, want %q", v, tags)
	}
	return nil
}

// plainCopy is the effect of a copy that keeps everything.
func plainCopy(w *world, o object, prefix string, _ row) error {
	return w.isCopy(copied(o, prefix), o.body, "text/x-source", "source", "from=source")
}

// withHead is the effect of a plain copy that shows in its head, too.
func withHead[T comparable](want T, read func(*s3.HeadObjectOutput) T) func(*world, object, string, row) error {
	return func(w *world, o object, prefix string, r row) error {
		if err := plainCopy(w, o, prefix, r); err != nil {
			return err
		}
		var nothing T
		h, err := w.head(context.Background(), copied(o, prefix))
		if err != nil {
			return err
		}
		return is(read(h), want, nothing, nil)
	}
}

func copies() []trial {
	// to is a copy below a prefix of its own, so that no trial sees that of another.
	to := func(change func(*world, *types.S3CopyObjectOperation)) func(*world, string) types.JobOperation {
		return func(w *world, prefix string) types.JobOperation {
			op := &types.S3CopyObjectOperation{TargetResource: aws.String("arn:aws:s3:::target"), TargetKeyPrefix: aws.String("to/" + prefix)}
			if change != nil {
				change(w, op)
			}
			return types.JobOperation{S3PutObjectCopy: op}
		}
	}
	metadata := &types.S3ObjectMetadata{ContentType: aws.String("text/x-new"), UserMetadata: map[string]string{"origin": "job"}}
	until := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	yesterday := time.Now().Add(-24 * time.Hour)
	// The lock of a copy is read where the copy is.
	locking := func(set func(*types.S3CopyObjectOperation)) func(*world, string) types.JobOperation {
		return to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.TargetResource = aws.String("arn:aws:s3:::lockedtarget")
			set(op)
		})
	}
	inLocked := func(effect func(*world, object, string, row) error) func(*world, object, string, row) error {
		return func(w *world, o object, prefix string, r row) error {
			c := copied(o, prefix)
			c.bucket = "lockedtarget"
			if err := w.isCopy(c, o.body, "text/x-source", "source", "from=source"); err != nil {
				return err
			}
			return effect(w, c, prefix, r)
		}
	}
	sum := func(w *world, o object, prefix string, r row) error {
		s := sha256.Sum256(o.body)
		return withHead(base64.StdEncoding.EncodeToString(s[:]), func(h *s3.HeadObjectOutput) string { return aws.ToString(h.ChecksumSHA256) })(w, o, prefix, r)
	}
	public := func(w *world, o object, prefix string, r row) error {
		if err := plainCopy(w, o, prefix, r); err != nil {
			return err
		}
		return readable(w, copied(o, prefix), prefix, r)
	}
	large := func(w *world) error {
		if w.copyLimit == 0 {
			return fmt.Errorf("5 GiB cannot be lowered")
		}
		return nil
	}
	needsTarget := func(bucket string) func(*world) error {
		return func(w *world) error {
			if why, ok := w.without[bucket]; ok {
				return fmt.Errorf("no such bucket: %s", why)
			}
			return nil
		}
	}
	list := []trial{
		{parameter: "all kept, TargetKeyPrefix", op: to(nil), effect: plainCopy},
		{parameter: "old version", in: "versioned", versions: old, op: to(nil), effect: plainCopy},
		{parameter: "current version by its id", in: "versioned", versions: current, op: to(nil), effect: plainCopy},
		{parameter: "no VersionId, bucket with versions", in: "versioned", op: to(nil), effect: plainCopy},
		{parameter: "MetadataDirective REPLACE, NewObjectMetadata", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.MetadataDirective, op.NewObjectMetadata = types.S3MetadataDirectiveReplace, metadata
		}), effect: func(w *world, o object, prefix string, _ row) error {
			return w.isCopy(copied(o, prefix), o.body, "text/x-new", "job", "from=source")
		}},
		{
			parameter: "onto itself, MetadataDirective REPLACE", elsewhere: true,
			op: func(*world, string) types.JobOperation {
				return types.JobOperation{S3PutObjectCopy: &types.S3CopyObjectOperation{
					TargetResource: aws.String("arn:aws:s3:::plain"), MetadataDirective: types.S3MetadataDirectiveReplace, NewObjectMetadata: metadata,
				}}
			},
			effect: func(w *world, o object, _ string, _ row) error {
				return w.isCopy(o, o.body, "text/x-new", "job", "from=source")
			},
		},
		{parameter: "NewObjectTagging", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.NewObjectTagging = s3tags("by", "job")
		}), effect: func(w *world, o object, prefix string, _ row) error {
			return w.hasTagsOfCopy(o, prefix, "by=job")
		}},
		{parameter: "NewObjectTagging, empty", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.NewObjectTagging = s3tags()
		}), effect: func(w *world, o object, prefix string, _ row) error {
			return w.hasTagsOfCopy(o, prefix, "")
		}},
		{parameter: "CannedAccessControlList", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.CannedAccessControlList = types.S3CannedAccessControlListPublicRead
		}), effect: public},
		{parameter: "AccessControlGrants", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.AccessControlGrants = []types.S3Grant{{
				Grantee:    &types.S3Grantee{TypeIdentifier: types.S3GranteeTypeIdentifierGroup, Identifier: aws.String(allUsers)},
				Permission: types.S3PermissionRead,
			}}
		}), effect: public},
		{parameter: "StorageClass STANDARD_IA", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.StorageClass = types.S3StorageClassStandardIa
		}), effect: withHead("STANDARD_IA", func(h *s3.HeadObjectOutput) string {
			if h.StorageClass == s3types.StorageClassStandard {
				return "" // as good as not told
			}
			return string(h.StorageClass)
		})},
		{parameter: "SSEAlgorithm AES256", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.NewObjectMetadata = &types.S3ObjectMetadata{SSEAlgorithm: types.S3SSEAlgorithmAes256}
		}), effect: withHead("AES256", func(h *s3.HeadObjectOutput) string { return string(h.ServerSideEncryption) })},
		{parameter: "SSEAwsKmsKeyId", op: to(func(w *world, op *types.S3CopyObjectOperation) {
			op.SSEAwsKmsKeyId = &w.kmsKey
		}), effect: withHead("aws:kms", func(h *s3.HeadObjectOutput) string { return string(h.ServerSideEncryption) })},
		{parameter: "ChecksumAlgorithm SHA256", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.ChecksumAlgorithm = types.S3ChecksumAlgorithmSha256
		}), effect: sum},
		{parameter: "RedirectLocation", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.RedirectLocation = aws.String("/elsewhere")
		}), effect: withHead("/elsewhere", func(h *s3.HeadObjectOutput) string { return aws.ToString(h.WebsiteRedirectLocation) })},
		{parameter: "ModifiedSinceConstraint that does not hold", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			// A date in the future would not count: the objects have to get older.
			now := time.Now().Truncate(time.Second)
			<-time.After(2 * time.Second)
			op.ModifiedSinceConstraint = aws.Time(now.Add(2 * time.Second))
		}), refusal: []string{"PreconditionFailed", "NotModified"}},
		{parameter: "UnModifiedSinceConstraint that does not hold", op: to(func(_ *world, op *types.S3CopyObjectOperation) {
			op.UnModifiedSinceConstraint = &yesterday
		}), refusal: []string{"PreconditionFailed"}},
		{parameter: "ObjectLockMode, ObjectLockRetainUntilDate", setup: needsTarget("lockedtarget"), op: locking(func(op *types.S3CopyObjectOperation) {
			op.ObjectLockMode, op.ObjectLockRetainUntilDate = types.S3ObjectLockModeGovernance, &until
		}), effect: inLocked(retained(s3types.ObjectLockModeGovernance, until, "", time.Time{}))},
		{parameter: "ObjectLockLegalHoldStatus ON", setup: needsTarget("lockedtarget"), op: locking(func(op *types.S3CopyObjectOperation) {
			op.ObjectLockLegalHoldStatus = types.S3ObjectLockLegalHoldStatusOn
		}), effect: inLocked(held(true))},
		{parameter: "larger than the store copies at once", large: true, setup: large, op: to(nil), effect: plainCopy},
	}
	for i := range list {
		list[i].operation, list[i].elsewhere = "S3PutObjectCopy", true
	}
	return list
}

// hasTagsOfCopy compares the tags of a copy.
func (w *world) hasTagsOfCopy(o object, prefix, want string) error {
	tags, err := w.tags(context.Background(), copied(o, prefix))
	return is(written(tags), want, "from=source", err)
}
