package operation

import (
	"context"
	"slices"

	"stevedore/internal/objectstore"
)

// Eligibility tells which objects the replication configuration of their bucket
// sends somewhere. It is for choosing objects before S3ReplicateObject is done to
// them: what it needs no request for it decides without one.
type Eligibility struct{ replicate *replicate }

// NewEligibility returns an Eligibility that asks by Env.Client, and otherwise goes
// by Env.Replication. It may be asked concurrently.
func NewEligibility(env Env) *Eligibility { return &Eligibility{&replicate{env: env}} }

// Of reports whether an object of that storage class is eligible. One that is gone
// is not.
func (e *Eligibility) Of(ctx context.Context, o objectstore.Object, class string) (bool, error) {
	if class == "GLACIER" || class == "DEEP_ARCHIVE" {
		return false, nil
	}
	config, err := e.replicate.configs.get(ctx, o.Bucket, func(ctx context.Context) (*ReplicationConfig, error) {
		return e.replicate.ask(ctx, o.Bucket)
	})
	if err != nil {
		return false, err
	}
	if len(config.matching(o.Key, nil)) > 0 {
		return true, nil
	}
	byTags := func(r ReplicationRule) bool { return r.byTags() && r.Status == "Enabled" }
	if !slices.ContainsFunc(config.Rules, byTags) {
		return false, nil
	}
	tags, err := tagsOf(ctx, e.replicate.env.Client, o)
	if objectstore.NotFound(err) {
		return false, nil
	}
	return err == nil && len(config.matching(o.Key, tags)) > 0, err
}
