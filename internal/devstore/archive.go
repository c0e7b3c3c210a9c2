//go:build !slim

package devstore

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3err"
)

// restoration is the restore of an archived object. Nothing happens when its
// times come: they are compared when somebody asks.
type restoration struct {
	Ready  time.Time  // when the copy can be read
	Expiry time.Time  `json:",omitzero"` // when it cannot any more; zero in INTELLIGENT_TIERING
	Days   int32      `json:",omitzero"`
	Tier   types.Tier // the speed asked for
}

func now() time.Time { return time.Now().UTC() }

// at returns the labels as they are at t: an object of INTELLIGENT_TIERING leaves
// its archive tier when it has been restored.
func (l labels) at(t time.Time) labels {
	if l.Tier != "" && l.Restore != nil && !t.Before(l.Restore.Ready) {
		l.Tier, l.Restore = "", nil
	}
	return l
}

// archived reports whether the object must be restored before it can be read.
func (l labels) archived() bool {
	return l.Class == types.StorageClassGlacier || l.Class == types.StorageClassDeepArchive || l.Tier != ""
}

// restoring reports whether a restore is under way at t.
func (l labels) restoring(t time.Time) bool {
	return l.Restore != nil && t.Before(l.Restore.Ready)
}

// restored reports whether there is a restored copy to read at t.
func (l labels) restored(t time.Time) bool {
	return l.Restore != nil && !t.Before(l.Restore.Ready) && t.Before(l.Restore.Expiry)
}

// readable returns InvalidObjectState unless the bytes can be read at t.
func (l labels) readable(t time.Time) error {
	if !l.archived() || l.restored(t) {
		return nil
	}
	return s3err.APIError{
		Code: "InvalidObjectState", HTTPStatusCode: fiber.StatusForbidden,
		Description: "The operation is not valid for the object's storage class.",
	}
}

// restoreHeader returns x-amz-restore as it is at t, or nil.
func (l labels) restoreHeader(t time.Time) *string {
	switch {
	case l.restoring(t):
		return new(`ongoing-request="true"`)
	case l.restored(t):
		return new(fmt.Sprintf(`ongoing-request="false", expiry-date="%s"`, l.Restore.Expiry.Format(http.TimeFormat)))
	}
	return nil
}

// RestoreObject begins to restore an archived object, or changes the restore.
func (b *backend) RestoreObject(ctx context.Context, in *s3.RestoreObjectInput) error {
	c := requestOf(ctx)
	if in.RestoreRequest.Type == types.RestoreRequestTypeSelect || in.RestoreRequest.SelectParameters != nil {
		return s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	var status int
	err := b.relabel(ctx, *in.Bucket, *in.Key, c.Query("versionId"), func(l *labels) (err error) {
		*l, status, err = l.at(now()).restore(in.RestoreRequest, now(), b.restoreAfter)
		return err
	})
	if err != nil {
		return err
	}
	return answer{status: status}
}

// restore returns the labels after a restore is asked for at t that takes so
// long, and the status of the answer: 202, or 200 where the object was restored
// and only keeps its copy longer.
func (l labels) restore(r *types.RestoreRequest, t time.Time, takes time.Duration) (_ labels, status int, err error) {
	if !l.archived() {
		return l, 0, s3err.APIError{
			Code: "InvalidObjectState", HTTPStatusCode: fiber.StatusForbidden,
			Description: "Restore is not allowed for the object's current storage class.",
		}
	}
	next := restoration{Ready: t.Add(takes), Tier: tier(r)}
	switch speed(next.Tier) {
	case 0:
		return l, 0, invalid("Tier", string(next.Tier), "Want Standard, Bulk or Expedited.")
	case speed(types.TierExpedited):
		if l.Class == types.StorageClassDeepArchive || l.Tier == types.ArchiveStatusDeepArchiveAccess {
			return l, 0, invalid("Tier", string(next.Tier), "The tier is not available for the object's storage class.")
		}
	}
	switch {
	case l.Tier != "" && r.Days != nil:
		return l, 0, invalid("Days", strconv.Itoa(int(*r.Days)), "An object of INTELLIGENT_TIERING is restored for good: Days must be absent.")
	case l.Tier != "":
	case r.Days == nil || *r.Days < 1:
		return l, 0, invalid("Days", "", "Want at least one day.")
	default:
		next.Days = *r.Days
		next.Expiry = expiry(next.Ready, next.Days)
	}

	status = fiber.StatusAccepted
	switch {
	case l.restoring(t):
		if next.Days != l.Restore.Days || speed(next.Tier) <= speed(l.Restore.Tier) {
			return l, 0, s3err.APIError{
				Code: "RestoreAlreadyInProgress", HTTPStatusCode: fiber.StatusConflict,
				Description: "Object restore is already in progress.",
			}
		}
		next.Ready, next.Expiry = l.Restore.Ready, l.Restore.Expiry // every tier takes as long here
	case l.restored(t):
		status = fiber.StatusOK
		next.Ready, next.Expiry = l.Restore.Ready, expiry(t, next.Days)
	}
	l.Restore = &next
	return l, status, nil
}

// tier returns the speed that is asked for.
func tier(r *types.RestoreRequest) types.Tier {
	switch {
	case r.GlacierJobParameters != nil && r.GlacierJobParameters.Tier != "":
		return r.GlacierJobParameters.Tier
	case r.Tier != "":
		return r.Tier
	}
	return types.TierStandard
}

// speed orders the tiers; 0 is none of them.
func speed(t types.Tier) int {
	switch t {
	case types.TierBulk:
		return 1
	case types.TierStandard:
		return 2
	case types.TierExpedited:
		return 3
	}
	return 0
}

// expiry returns when a copy restored at t goes: S3 rounds up to the next midnight.
func expiry(t time.Time, days int32) time.Time {
	const day = 24 * time.Hour
	return t.Truncate(day).Add(day * time.Duration(days+1))
}
