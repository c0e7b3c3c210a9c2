//go:build !slim

package devstore

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3err"
)

// serveReplication serves the replication configuration of a bucket. versitygw
// has verified the request, found the bucket, and answered that it does not
// implement this. Nothing replicates by itself: the configuration is for others
// to read, and they give objects their status by x-amz-replication-status.
func (b *backend) serveReplication(c fiber.Ctx, bucket string) error {
	switch c.Method() {
	case fiber.MethodGet:
		document, err := os.ReadFile(b.replicationFile(bucket))
		if errors.Is(err, fs.ErrNotExist) {
			return fail(c, s3err.APIError{
				Code: "ReplicationConfigurationNotFoundError", HTTPStatusCode: fiber.StatusNotFound,
				Description: "The replication configuration was not found.",
			})
		}
		if err != nil {
			return fail(c, err)
		}
		return succeed(c, fiber.StatusOK, document)
	case fiber.MethodPut:
		if err := b.setReplication(c.RequestCtx(), bucket, c.BodyRaw()); err != nil {
			return fail(c, err)
		}
		return succeed(c, fiber.StatusOK, nil)
	case fiber.MethodDelete:
		if err := b.dropReplication(bucket); err != nil {
			return fail(c, err)
		}
		return succeed(c, fiber.StatusNoContent, nil)
	}
	return nil
}

// setReplication keeps a replication configuration as it came.
func (b *backend) setReplication(ctx context.Context, bucket string, document []byte) error {
	var config struct {
		XMLName xml.Name `xml:"ReplicationConfiguration"`
		Role    string
		Rules   []struct {
			Status types.ReplicationRuleStatus
			Bucket string `xml:"Destination>Bucket"`
		} `xml:"Rule"`
	}
	if !parse(document, &config) || config.Role == "" || len(config.Rules) == 0 {
		return s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	for _, rule := range config.Rules {
		enabled := rule.Status == types.ReplicationRuleStatusEnabled
		if rule.Bucket == "" || !enabled && rule.Status != types.ReplicationRuleStatusDisabled {
			return s3err.GetAPIError(s3err.ErrMalformedXML)
		}
	}
	versioning, err := b.GetBucketVersioning(ctx, bucket)
	if err != nil {
		return err
	}
	if versioning.Status == nil || *versioning.Status != types.BucketVersioningStatusEnabled {
		return badRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration.")
	}
	return b.writeReplication(bucket, document)
}

// writeReplication replaces the file in one step.
func (b *backend) writeReplication(bucket string, document []byte) (err error) {
	f, err := os.CreateTemp(b.replication, ".new-")
	if err != nil {
		return fmt.Errorf("write replication configuration: %w", err)
	}
	_, err = f.Write(document)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), b.replicationFile(bucket))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write replication configuration: %w", err)
	}
	return nil
}

func (b *backend) dropReplication(bucket string) error {
	err := os.Remove(b.replicationFile(bucket))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// replicationFile holds the configuration of a bucket, whose name versitygw has
// found valid.
func (b *backend) replicationFile(bucket string) string {
	return filepath.Join(b.replication, bucket+".xml")
}

// DeleteBucket deletes the bucket's replication configuration with it.
func (b *backend) DeleteBucket(ctx context.Context, bucket string) error {
	if err := b.Posix.DeleteBucket(ctx, bucket); err != nil {
		return err
	}
	return b.dropReplication(bucket)
}
