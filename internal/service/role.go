package service

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// Role says what a RoleArn stands for.
type Role struct {
	// ARN is that of the role, or the beginning of several, with * at its end. Of
	// more than one that fit a job's RoleArn the longest counts.
	ARN string `yaml:"arn"`
	// Store has the buckets without a route. Default: Config.Store.
	Store string `yaml:"store"`
	// Buckets are routes that count more than Config.Buckets.
	Buckets map[string]string `yaml:"buckets"`
	// Credentials ask every store that the role reaches, in place of the store's own.
	Credentials *Credentials `yaml:"credentials"`
	// Callers are the access keys of the API that may pass the role. None: every
	// key of the role's account.
	Callers []string `yaml:"callers"`
	// Replication says, by source bucket, where S3ReplicateObject replicates to, for
	// stores that keep no replication configuration.
	Replication map[string]operation.ReplicationConfig `yaml:"replication"`
}

// roleList are the roles of c. Without any, every role stands for the same.
func (c *Config) roleList() []Role {
	if len(c.Roles) == 0 {
		return []Role{{}}
	}
	return c.Roles
}

// routes are the stores that the buckets of r lead to, by name or pattern.
func (c *Config) routes(r *Role) map[string]string {
	all := maps.Clone(c.Buckets)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, r.Buckets)
	return all
}

// reach are the names of the stores that r reaches.
func (c *Config) reach(r *Role) []string {
	names := slices.Collect(maps.Values(c.routes(r)))
	names = append(names, cmp.Or(r.Store, defaultStore))
	slices.Sort(names)
	return slices.Compact(names)
}

// checkStores reports what is wrong with stores, routes and roles.
func (c *Config) checkStores(bad report) {
	name := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	c.Store.check("store", bad)
	for _, n := range slices.Sorted(maps.Keys(c.Stores)) {
		s := c.Stores[n]
		switch {
		case n == defaultStore:
			bad("stores.%s: this name is for the store under store", n)
		case !name.MatchString(n):
			bad("stores: %q cannot be a name; want letters, digits, - and _", n)
		}
		s.check("stores."+n, bad)
	}
	c.checkRoutes("buckets", c.Buckets, bad)

	arns := map[string]int{}
	for i, r := range c.Roles {
		at := fmt.Sprintf("roles[%d]", i)
		if first, twice := arns[r.ARN]; twice && r.ARN != "" {
			bad("%s.arn: %s is there twice, see roles[%d]", at, r.ARN, first)
		} else {
			arns[r.ARN] = i
		}
		c.checkRole(at, &r, bad)
	}
	if own := c.Store.own(); own != nil && own.temporary() && len(c.Keys) == 0 {
		bad("keys: are required, since those of store.credentials change and no caller knows them")
	}
	if len(c.Roles) == 0 {
		c.checkOwned("buckets", &Role{}, bad)
	}
}

func (c *Config) checkRole(at string, r *Role, bad report) {
	pattern := regexp.MustCompile(`^arn:[^:*]+:iam::\d{12}:role/[^*]*\*?$`)
	switch {
	case r.ARN == "":
		bad("%s.arn: is required", at)
	case !pattern.MatchString(r.ARN) || strings.HasSuffix(r.ARN, ":role/"):
		bad("%s.arn: %q is not the ARN of a role, such as arn:aws:iam::%s:role/backup or arn:aws:iam::%s:role/team-*", at, r.ARN, c.Account, c.Account)
	default:
		c.checkCallers(at, r, bad)
	}
	if r.Store != "" && !c.hasStore(r.Store) {
		bad("%s.store: there is no store %q under stores", at, r.Store)
	}
	c.checkRoutes(at+".buckets", r.Buckets, bad)
	if r.Credentials != nil {
		r.Credentials.check(at+".credentials", bad, 0)
	}
	for _, bucket := range slices.Sorted(maps.Keys(r.Replication)) {
		for n, rule := range r.Replication[bucket].Rules {
			checkReplication(&rule, fmt.Sprintf("%s.replication.%s.rules[%d]", at, bucket, n), bad)
		}
	}
	c.checkOwned(at, r, bad)
}

func checkReplication(rule *operation.ReplicationRule, at string, bad report) {
	if job.BucketName(rule.Destination.Bucket) == "" {
		bad("%s.destination.bucket: %q is not the ARN of a bucket, such as arn:aws:s3:::copies", at, rule.Destination.Bucket)
	}
	for _, s := range []struct{ key, status string }{
		{"status", rule.Status},
		{"delete_marker_replication.status", cmp.Or(rule.DeleteMarkerReplication.Status, "Disabled")},
	} {
		if s.status != "Enabled" && s.status != "Disabled" {
			bad("%s.%s: %q is neither Enabled nor Disabled", at, s.key, s.status)
		}
	}
}

// checkOwned reports the stores whose own credentials r needs and which have none.
func (c *Config) checkOwned(at string, r *Role, bad report) {
	needed := c.reach(r)
	switch own := r.Credentials; {
	case own == nil:
	case own.AssumeRole != nil && own.AssumeRole.Source == nil:
		needed = []string{r.Store}
	default:
		return
	}
	for _, name := range needed {
		if s, named := c.Stores[name]; named && s.own() == nil {
			bad("stores.%s: has no credentials, but %s needs them", name, at)
		}
	}
}

func (c *Config) checkCallers(at string, r *Role, bad report) {
	account := job.AccountOfRole(r.ARN)
	accounts := map[string]string{} // of the keys
	for _, k := range c.Keys {
		accounts[k.AccessKey] = k.Account
	}
	for _, caller := range r.Callers {
		switch of, known := accounts[caller]; {
		case len(c.Keys) == 0:
			bad("%s.callers: %q is not known, there are no keys", at, caller)
		case !known:
			bad("%s.callers: there is no access key %q under keys", at, caller)
		case of != account:
			bad("%s.callers: %s acts for account %s and can never pass a role of %s", at, caller, of, account)
		}
	}
}

func (c *Config) checkRoutes(at string, routes map[string]string, bad report) {
	for _, bucket := range slices.Sorted(maps.Keys(routes)) {
		if bucket == "" || strings.ContainsAny(bucket, "/ ") {
			bad("%s: %q is neither a bucket nor a pattern such as logs-*", at, bucket)
		}
		if !c.hasStore(routes[bucket]) {
			bad("%s.%s: there is no store %q under stores", at, bucket, routes[bucket])
		}
	}
}

func (c *Config) hasStore(name string) bool {
	_, ok := c.Stores[name]
	return ok || name == defaultStore
}

// roles are the roles of the configuration with the stores they open. They are
// what jobs may be given (schedule.Roles) and what jobs do everything through
// (schedule.Stores).
type roles struct {
	all    []openRole
	stores []*objectstore.Store
}

type openRole struct {
	arn     string // as configured, empty for any
	callers []string
	access  *objectstore.Access
	// replication is by source bucket.
	replication map[string]operation.ReplicationConfig
}

// openRoles opens every store that a role reaches, once for all roles without
// credentials of their own and once more for each role that has such.
func (c *Config) openRoles(environment objectstore.Config) (*roles, error) {
	o := opener{config: c, environment: environment, roles: &roles{}, shared: map[string]*objectstore.Store{}}
	for i, r := range c.roleList() {
		access, err := o.access(&r)
		if err != nil {
			o.roles.close()
			if len(c.Roles) > 0 {
				err = fmt.Errorf("roles[%d]: %w", i, err)
			}
			return nil, err
		}
		o.roles.all = append(o.roles.all, openRole{r.ARN, r.Callers, access, r.Replication})
	}
	return o.roles, nil
}

// opener opens the stores of a configuration.
type opener struct {
	config      *Config
	environment objectstore.Config // what the AWS variables and files say
	roles       *roles
	shared      map[string]*objectstore.Store // those with their own credentials, by name
}

// access opens what r reaches.
func (o *opener) access(r *Role) (*objectstore.Access, error) {
	var keys aws.CredentialsProvider // nil: those of each store
	home := cmp.Or(r.Store, defaultStore)
	if r.Credentials != nil {
		s, at, err := o.config.describe(home, o.environment)
		if err != nil {
			return nil, fmt.Errorf("store %s: %w", home, err)
		}
		if keys, err = r.Credentials.provider(&s, at.TLS, o.environment.Credentials, at.Credentials); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
	}
	stores := map[string]*objectstore.Store{}
	for _, name := range o.config.reach(r) {
		var err error
		if stores[name], err = o.open(name, keys); err != nil {
			return nil, fmt.Errorf("store %s: %w", name, err)
		}
	}
	routes := map[string]*objectstore.Store{}
	for bucket, name := range o.config.routes(r) {
		routes[bucket] = stores[name]
	}
	return objectstore.NewAccess(stores[home], routes)
}

// open opens a store that is asked with keys, or else with its own.
func (o *opener) open(name string, keys aws.CredentialsProvider) (*objectstore.Store, error) {
	if s := o.shared[name]; s != nil && keys == nil {
		return s, nil
	}
	_, at, err := o.config.describe(name, o.environment)
	if err != nil {
		return nil, err
	}
	if keys != nil {
		at.Credentials = keys
	}
	if at.Credentials == nil {
		return nil, ErrNoCredentials
	}
	s, err := objectstore.New(at)
	if err != nil {
		return nil, err
	}
	o.roles.stores = append(o.roles.stores, s)
	if keys == nil {
		o.shared[name] = s
	}
	return s, nil
}

// describe returns a store by name and how it is reached with its own credentials,
// which are nil if it has none. What the default store does not say comes from the
// environment, and so do the roots for TLS of every store without any.
func (c *Config) describe(name string, environment objectstore.Config) (Store, objectstore.Config, error) {
	s, named := c.Stores[name]
	if !named {
		s = c.Store
		s.Endpoint = cmp.Or(s.Endpoint, environment.Endpoint)
		s.Region = cmp.Or(s.Region, environment.Region)
	}
	at, err := s.objects()
	if err != nil {
		return s, at, err
	}
	if at.TLS == nil {
		at.TLS = environment.TLS
	}
	if own := s.own(); own != nil {
		at.Credentials, err = own.provider(&s, at.TLS, environment.Credentials, environment.Credentials)
	} else if !named {
		at.Credentials = environment.Credentials
	}
	return s, at, err
}

func (t *roles) close() {
	for _, s := range t.stores {
		s.Close()
	}
}

// find returns what a RoleArn stands for, nil if nothing.
func (t *roles) find(arn string) *openRole {
	var best *openRole
	for i := range t.all {
		r := &t.all[i]
		prefix, wild := strings.CutSuffix(r.arn, "*")
		switch {
		case r.arn == arn:
			return r
		case (wild || r.arn == "") && strings.HasPrefix(arn, prefix) && (best == nil || len(r.arn) > len(best.arn)):
			best = r
		}
	}
	return best
}

// Allowed returns a *job.DeniedError unless role belongs to account, is configured,
// and may be passed by the caller of ctx.
func (t *roles) Allowed(ctx context.Context, account, role string) error {
	if job.AccountOfRole(role) != account {
		return &job.DeniedError{Message: "Cross-account pass role is not allowed"}
	}
	r := t.find(role)
	if r == nil || len(r.callers) > 0 && !slices.Contains(r.callers, controlapi.CallerOf(ctx)) {
		return &job.DeniedError{Message: "The access key is not authorized to perform iam:PassRole on resource " + role +
			": the configuration of this server has no such role, or not for this key"}
	}
	return nil
}

// Store returns what role may reach. The error is a *job.FailedError: the role was
// taken out of the configuration since the job was created.
func (t *roles) Store(_ context.Context, _, role string) (*objectstore.Access, error) {
	if r := t.find(role); r != nil {
		return r.access, nil
	}
	return nil, &job.FailedError{Reason: job.Fail(codeRoleGone, "The role "+role+" is not in the configuration of this server any more.")}
}

// Replication implements schedule.Replications.
func (t *roles) Replication(_, role string) map[string]operation.ReplicationConfig {
	if r := t.find(role); r != nil {
		return r.replication
	}
	return nil
}

// codeRoleGone is the failure code of a job whose role is no more.
const codeRoleGone = "RoleNotFound"
