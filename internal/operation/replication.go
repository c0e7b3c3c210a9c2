package operation

import (
	"cmp"
	"slices"
	"strings"

	"stevedore/internal/job"
)

// ReplicationConfig says where the objects of a bucket are replicated to. It is
// read from a store as XML, or from our configuration where the store keeps none.
type ReplicationConfig struct {
	Rules []ReplicationRule `xml:"Rule" yaml:"rules"`
}

// A ReplicationRule is one destination for some of the objects.
type ReplicationRule struct {
	ID       string `xml:"ID" yaml:"id"`
	Priority int    `xml:"Priority" yaml:"priority"` // of several rules for one destination the highest counts
	Status   string `xml:"Status" yaml:"status"`     // Enabled or Disabled
	// Prefix is for rules of the first schema, which have no Filter: they replicate
	// delete markers too.
	Prefix                  string                 `xml:"Prefix" yaml:"prefix"`
	Filter                  *ReplicationFilter     `xml:"Filter" yaml:"filter"`
	DeleteMarkerReplication ReplicationSwitch      `xml:"DeleteMarkerReplication" yaml:"delete_marker_replication"`
	Destination             ReplicationDestination `xml:"Destination" yaml:"destination"`
}

// A ReplicationSwitch is Enabled or Disabled.
type ReplicationSwitch struct {
	Status string `xml:"Status" yaml:"status"`
}

// A ReplicationFilter says which objects a rule is for: one of its members, or all of And.
type ReplicationFilter struct {
	Prefix string    `xml:"Prefix" yaml:"prefix"`
	Tag    *job.Tag  `xml:"Tag" yaml:"tag"`
	And    FilterAnd `xml:"And" yaml:"and"`
}

// FilterAnd holds if all of it does.
type FilterAnd struct {
	Prefix string    `xml:"Prefix" yaml:"prefix"`
	Tags   []job.Tag `xml:"Tag" yaml:"tags"`
}

// A ReplicationDestination is where copies go, and how they are kept.
type ReplicationDestination struct {
	Bucket       string `xml:"Bucket" yaml:"bucket"`              // ARN
	StorageClass string `xml:"StorageClass" yaml:"storage_class"` // empty: the source's
	Encryption   struct {
		ReplicaKMSKeyID string `xml:"ReplicaKmsKeyID" yaml:"replica_kms_key_id"`
	} `xml:"EncryptionConfiguration" yaml:"encryption_configuration"`
}

// matches reports whether an object is among those of the rule.
func (r *ReplicationRule) matches(key string, tags []job.Tag) bool {
	if r.Status != "Enabled" {
		return false
	}
	if r.Filter == nil {
		return strings.HasPrefix(key, r.Prefix)
	}
	wanted := r.Filter.And.Tags
	if r.Filter.Tag != nil {
		wanted = append(slices.Clone(wanted), *r.Filter.Tag)
	}
	for _, tag := range wanted {
		if !slices.Contains(tags, tag) {
			return false
		}
	}
	return strings.HasPrefix(key, r.Filter.Prefix) && strings.HasPrefix(key, r.Filter.And.Prefix)
}

// byTags reports whether the rule looks at tags, which a delete marker has none of.
func (r *ReplicationRule) byTags() bool {
	return r.Filter != nil && (r.Filter.Tag != nil || len(r.Filter.And.Tags) > 0)
}

// markers reports whether the rule replicates delete markers.
func (r *ReplicationRule) markers() bool {
	return r.Filter == nil || r.DeleteMarkerReplication.Status == "Enabled" && !r.byTags()
}

// matching are the rules for an object, one for each destination: that of the
// highest priority.
func (c *ReplicationConfig) matching(key string, tags []job.Tag) []*ReplicationRule {
	var all []*ReplicationRule
	for i := range c.Rules {
		if c.Rules[i].matches(key, tags) {
			all = append(all, &c.Rules[i])
		}
	}
	slices.SortStableFunc(all, func(a, b *ReplicationRule) int {
		return cmp.Or(strings.Compare(a.Destination.Bucket, b.Destination.Bucket), cmp.Compare(b.Priority, a.Priority))
	})
	return slices.CompactFunc(all, func(a, b *ReplicationRule) bool { return a.Destination.Bucket == b.Destination.Bucket })
}
