//go:build !slim

package devstore

import (
	"context"
	"encoding/xml"
	"io"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3err"
)

// maxDocument is the largest XML document read from a request body, in bytes.
const maxDocument = 64 << 10

// updateEncryption serves UpdateObjectEncryption: the label changes, and bytes,
// ETag and dates stay. Of the sources only objects with SSE-S3 and SSE-KMS may
// change; one without a label counts as SSE-S3, which is the default of S3.
func (b *backend) updateEncryption(ctx context.Context, c fiber.Ctx, bucket, key string, body io.Reader) error {
	document, err := io.ReadAll(io.LimitReader(body, maxDocument)) // at its end the signed hash is compared
	if err != nil {
		return err
	}
	var want struct {
		XMLName xml.Name `xml:"ObjectEncryption"`
		KMS     *struct {
			KeyARN    string `xml:"KMSKeyArn"`
			BucketKey bool   `xml:"BucketKeyEnabled"`
		} `xml:"SSE-KMS"`
	}
	if !parse(document, &want) || want.KMS == nil {
		return s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	arn := regexp.MustCompile(`^arn:aws[a-zA-Z0-9-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+$`)
	if !arn.MatchString(want.KMS.KeyARN) {
		return badRequest("KMSKeyArn must be the ARN of a key.")
	}
	err = b.relabel(ctx, bucket, key, c.Query("versionId"), func(l *labels) error {
		if l.Encryption != nil && l.Encryption.Algorithm == types.ServerSideEncryptionAwsKmsDsse {
			return badRequest("The encryption of an object with aws:kms:dsse cannot be updated.")
		}
		if b.locked(ctx, bucket, key, c.Query("versionId")) {
			return s3err.GetAPIError(s3err.ErrObjectLocked)
		}
		l.Encryption = &encryption{
			Algorithm: types.ServerSideEncryptionAwsKms, KeyID: want.KMS.KeyARN, BucketKey: want.KMS.BucketKey,
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer{status: fiber.StatusOK}
}

func badRequest(description string) error {
	return s3err.APIError{Code: "InvalidRequest", HTTPStatusCode: fiber.StatusBadRequest, Description: description}
}
