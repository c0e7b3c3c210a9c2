//go:build !slim

package devstore

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3err"
)

// clearRetention serves PutObjectRetention with an empty Retention, which takes
// the retention away. versitygw has verified the request and found that its
// date, which is not there, has passed; any other answer stays.
func (b *backend) clearRetention(c fiber.Ctx, bucket, key string) error {
	past := s3err.GetInvalidArgumentErr(s3err.InvalidArgPastObjectLockRetainDate, "").Description
	if !bytes.Contains(c.Response().Body(), []byte(past)) {
		return nil
	}
	var want struct {
		XMLName xml.Name `xml:"Retention"`
		Mode    string
		Until   string `xml:"RetainUntilDate"`
	}
	if !parse(c.BodyRaw(), &want) || want.Mode != "" || want.Until != "" {
		return nil
	}
	bypass := strings.EqualFold(c.Get("X-Amz-Bypass-Governance-Retention"), "true")
	if err := b.removeRetention(c.RequestCtx(), bucket, key, c.Query("versionId"), bypass); err != nil {
		return fail(c, err)
	}
	return succeed(c, fiber.StatusOK, nil)
}

// removeRetention removes the retention of an object version, unless it holds.
func (b *backend) removeRetention(ctx context.Context, bucket, key, version string, bypass bool) error {
	defer b.lock(bucket, key)()
	r, err := b.retention(ctx, bucket, key, version)
	if err != nil || r == nil {
		return err
	}
	if r.RetainUntilDate.After(now()) && (r.Mode == types.ObjectLockRetentionModeCompliance || !bypass) {
		return s3err.GetAPIError(s3err.ErrObjectLocked)
	}
	p, err := b.place(bucket, key, version)
	if err != nil {
		return err
	}
	if err := b.attrs.DeleteAttribute(p.bucket, p.object, retentionAttribute); err != nil && !absent(err) {
		return fmt.Errorf("remove retention: %w", err)
	}
	return nil
}

// retention returns the retention of an object version, or nil.
func (b *backend) retention(ctx context.Context, bucket, key, version string) (*types.ObjectLockRetention, error) {
	data, err := b.GetObjectRetention(ctx, bucket, key, version)
	if errors.Is(err, s3err.GetAPIError(s3err.ErrNoSuchObjectLockConfiguration)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r types.ObjectLockRetention
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read retention: %w", err)
	}
	if r.RetainUntilDate == nil {
		return nil, nil
	}
	return &r, nil
}

// locked reports whether a legal hold or a retention protects an object version.
func (b *backend) locked(ctx context.Context, bucket, key, version string) bool {
	// Both fail in a bucket without Object Lock, where nothing is locked.
	if hold, err := b.GetObjectLegalHold(ctx, bucket, key, version); err == nil && hold != nil && *hold {
		return true
	}
	r, err := b.retention(ctx, bucket, key, version)
	return err == nil && r != nil && r.RetainUntilDate.After(now())
}

// tellLock adds hold and retention to what versitygw tells of a version: it looks
// for those of a noncurrent one in vain.
func (b *backend) tellLock(ctx context.Context, out *s3.HeadObjectOutput, bucket, key, version string) {
	if hold, err := b.GetObjectLegalHold(ctx, bucket, key, version); err == nil && hold != nil {
		out.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOff
		if *hold {
			out.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn
		}
	}
	if r, err := b.retention(ctx, bucket, key, version); err == nil && r != nil {
		out.ObjectLockMode = types.ObjectLockMode(r.Mode)
		out.ObjectLockRetainUntilDate = r.RetainUntilDate
	}
}
