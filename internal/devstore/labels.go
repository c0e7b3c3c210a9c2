//go:build !slim

package devstore

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3err"
)

// labels are what an object version is said to be and versitygw does not keep.
// They are stored beside what versitygw stores of the object, follow it when it
// becomes a noncurrent version, and go when it goes. Its bytes are the same
// whatever they say.
type labels struct {
	// Class is the storage class; empty is STANDARD.
	Class types.StorageClass `json:",omitzero"`
	// Tier is the archive tier of an object in INTELLIGENT_TIERING, or empty.
	Tier types.ArchiveStatus `json:",omitzero"`
	// Restore is the last restore of an archived object.
	Restore *restoration `json:",omitzero"`
	// Encryption is nil where none was asked for.
	Encryption *encryption `json:",omitzero"`
	// Replication is the status a replicating client has given.
	Replication types.ReplicationStatus `json:",omitzero"`
	// Grants is nil for the private default, which nobody asked for.
	Grants []grant `json:",omitzero"`
}

// class returns the storage class.
func (l labels) class() types.StorageClass {
	if l.Class == "" {
		return types.StorageClassStandard
	}
	return l.Class
}

// Headers that ask for labels and that answer with them.
const (
	classHeader       = "X-Amz-Storage-Class"
	tierHeader        = "X-Amz-Archive-Status"
	restoreHeader     = "X-Amz-Restore"
	replicationHeader = "X-Amz-Replication-Status"
	versionHeader     = "X-Amz-Version-Id"
	// tierMetadata puts an object of INTELLIGENT_TIERING into an archive
	// tier: S3 itself moves it there after months.
	tierMetadata = "X-Amz-Meta-Stevedore-Archive-Status"
)

// asked returns the labels that a request to write an object asks for.
func (b *backend) asked(ctx context.Context, c fiber.Ctx, bucket string) (l labels, err error) {
	if c == nil {
		return l, nil
	}
	class := types.StorageClass(c.Get(classHeader))
	if class != "" && !slices.Contains(class.Values(), class) {
		return l, s3err.APIError{
			Code: "InvalidStorageClass", HTTPStatusCode: fiber.StatusBadRequest,
			Description: "The storage class you specified is not valid.",
		}
	}
	if class != types.StorageClassStandard {
		l.Class = class
	}
	if tier := types.ArchiveStatus(c.Get(tierMetadata)); class == types.StorageClassIntelligentTiering && tier != "" {
		if !slices.Contains(tier.Values(), tier) {
			return l, invalid("x-amz-meta-stevedore-archive-status", string(tier), "Want ARCHIVE_ACCESS or DEEP_ARCHIVE_ACCESS.")
		}
		l.Tier = tier
	}
	status := types.ReplicationStatus(c.Get(replicationHeader))
	if status != "" && !slices.Contains(status.Values(), status) {
		return l, invalid("x-amz-replication-status", string(status), "There is no such replication status.")
	}
	l.Replication = status
	if l.Encryption, err = encryptionOf(c); err != nil {
		return l, err
	}
	l.Grants, err = b.askedGrants(ctx, c, bucket)
	return l, err
}

// report sets the headers that tell of the labels, apart from those that
// versitygw sets itself.
func (l labels) report(c fiber.Ctx) {
	if c == nil {
		return
	}
	l.Encryption.report(c)
	if l.Replication != "" {
		c.Set(replicationHeader, string(l.Replication))
	}
	if l.Tier != "" {
		c.Set(tierHeader, string(l.Tier))
	}
}

// invalid is the answer to an argument that S3 would not take, or that we
// cannot.
func invalid(name, value, description string) s3err.S3Error {
	return s3err.InvalidArgumentError{ArgumentName: name, ArgumentValue: value, Description: description}
}

// encryption is how an object is said to be encrypted. Nothing is encrypted.
type encryption struct {
	Algorithm types.ServerSideEncryption
	KeyID     string `json:",omitzero"`
	Context   string `json:",omitzero"`
	BucketKey bool   `json:",omitzero"`
}

const (
	sseHeader          = "X-Amz-Server-Side-Encryption"
	sseKeyHeader       = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	sseContextHeader   = "X-Amz-Server-Side-Encryption-Context"
	sseBucketKeyHeader = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"
	sseCustomerHeader  = "X-Amz-Server-Side-Encryption-Customer-Algorithm"
)

// encryptionOf returns the encryption that a request asks for, or nil.
func encryptionOf(c fiber.Ctx) (*encryption, error) {
	if c.Get(sseCustomerHeader) != "" {
		return nil, s3err.APIError{
			Code: "NotImplemented", HTTPStatusCode: fiber.StatusNotImplemented,
			Description: "The development store does not encrypt with keys of customers (SSE-C).",
		}
	}
	e := encryption{
		Algorithm: types.ServerSideEncryption(c.Get(sseHeader)),
		KeyID:     c.Get(sseKeyHeader),
		Context:   c.Get(sseContextHeader),
		BucketKey: strings.EqualFold(c.Get(sseBucketKeyHeader), "true"),
	}
	kms := e.Algorithm == types.ServerSideEncryptionAwsKms || e.Algorithm == types.ServerSideEncryptionAwsKmsDsse
	switch {
	case e == encryption{}:
		return nil, nil
	case !kms && e.Algorithm != types.ServerSideEncryptionAes256:
		return nil, invalid("x-amz-server-side-encryption", string(e.Algorithm), "The encryption method specified is not supported.")
	case !kms && e.KeyID != "":
		return nil, invalid("x-amz-server-side-encryption-aws-kms-key-id", e.KeyID, "A KMS key needs the encryption aws:kms.")
	}
	return &e, nil
}

// report sets the headers that tell of the encryption; of none where e is nil.
func (e *encryption) report(c fiber.Ctx) {
	if e == nil {
		return
	}
	c.Set(sseHeader, string(e.Algorithm))
	if e.KeyID != "" {
		c.Set(sseKeyHeader, e.KeyID)
	}
	if e.BucketKey {
		c.Set(sseBucketKeyHeader, strconv.FormatBool(true))
	}
}
