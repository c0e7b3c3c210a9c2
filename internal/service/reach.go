package service

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"stevedore/internal/objectstore"
)

// Reach is what jobs of a configuration reach.
type Reach struct {
	Access   *objectstore.Access
	Endpoint string // of the store that has the bucket asked for
	Region   string
	Close    func() // drops the connections
}

// OpenReach opens what a job with role would reach, without a service, with at
// most so many attempts for a request. Without a role it is Config.Store and
// Config.Buckets. ctx bounds the opening.
func OpenReach(ctx context.Context, c Config, role, bucket string, attempts int) (*Reach, error) {
	c.fill() // which copies the stores
	c.Store.MaxAttempts = attempts
	for name, s := range c.Stores {
		s.MaxAttempts = attempts
		c.Stores[name] = s
	}
	environment, err := objectstore.ConfigFromEnv(ctx, c.Logger)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	at := &Role{}
	if role != "" && len(c.Roles) > 0 {
		known := roles{}
		for i := range c.Roles {
			known.all = append(known.all, openRole{arn: c.Roles[i].ARN})
		}
		found := known.find(role)
		if found == nil {
			return nil, errors.New("the configuration has no role " + role)
		}
		at = &c.Roles[slices.IndexFunc(c.Roles, func(r Role) bool { return r.ARN == found.arn })]
	}
	o := opener{config: &c, environment: environment, roles: &roles{}, shared: map[string]*objectstore.Store{}}
	access, err := o.access(at)
	if err != nil {
		o.roles.close()
		return nil, fmt.Errorf("object store: %w", err)
	}
	endpoint, region := access.For(bucket).Location()
	return &Reach{Access: access, Endpoint: endpoint, Region: region, Close: o.roles.close}, nil
}
