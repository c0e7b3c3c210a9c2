package generate

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// A filter keeps the objects that pass every condition given (manifests.md section 4).
type filter struct {
	prefix string // of all keys wanted: it goes into the listing

	prefixes, suffixes, substrings [][]byte // any of each; nil: all keys
	after, before                  *time.Time
	larger, smaller                *int64
	classes                        []job.StorageClass
	encryptions                    []job.ObjectEncryptionFilter
	replications                   []job.ReplicationStatus
	eligible                       bool
}

// newFilter compiles what the job says; nil keeps everything.
func newFilter(g *job.GeneratorFilter) *filter {
	f := &filter{}
	if g == nil {
		return f
	}
	f.after, f.before = g.CreatedAfter, g.CreatedBefore
	f.larger, f.smaller = g.ObjectSizeGreaterThanBytes, g.ObjectSizeLessThanBytes
	f.classes, f.encryptions, f.replications = g.MatchAnyStorageClass, g.MatchAnyObjectEncryption, g.ObjectReplicationStatuses
	f.eligible = g.EligibleForReplication != nil && *g.EligibleForReplication // false does not filter
	if names := g.KeyNameConstraint; names != nil {
		f.prefixes, f.suffixes, f.substrings = texts(names.MatchAnyPrefix), texts(names.MatchAnySuffix), texts(names.MatchAnySubstring)
		if len(f.prefixes) == 1 {
			f.prefix = names.MatchAnyPrefix[0]
		}
	}
	return f
}

func texts(list []string) (out [][]byte) {
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

// listed reports whether an object passes as far as the listing tells.
func (f *filter) listed(e *objectstore.ListEntry) bool {
	return anyOf(f.prefixes, e.Key, bytes.HasPrefix) &&
		anyOf(f.suffixes, e.Key, bytes.HasSuffix) &&
		anyOf(f.substrings, e.Key, bytes.Contains) &&
		(f.after == nil || e.LastModified.After(*f.after)) &&
		(f.before == nil || e.LastModified.Before(*f.before)) &&
		(f.larger == nil || e.Size > *f.larger) &&
		(f.smaller == nil || e.Size < *f.smaller) &&
		(len(f.classes) == 0 || slices.Contains(f.classes, classOf(e)))
}

func anyOf(list [][]byte, key []byte, matches func(key, part []byte) bool) bool {
	for _, part := range list {
		if matches(key, part) {
			return true
		}
	}
	return len(list) == 0
}

// classOf is the storage class of an object. Stores leave out that of most, as HEAD does.
func classOf(e *objectstore.ListEntry) job.StorageClass {
	if len(e.StorageClass) == 0 {
		return "STANDARD"
	}
	return job.StorageClass(e.StorageClass)
}

// heads reports whether there are conditions that only a HEAD can tell.
func (f *filter) heads() bool { return len(f.encryptions) > 0 || len(f.replications) > 0 }

// told reports whether an object passes by what HEAD tells of it.
func (f *filter) told(h *objectstore.Head) bool {
	if len(f.encryptions) > 0 && !slices.ContainsFunc(f.encryptions, func(e job.ObjectEncryptionFilter) bool { return encrypted(h, &e) }) {
		return false
	}
	return len(f.replications) == 0 || slices.Contains(f.replications, replicationOf(h))
}

// toldNothing reports whether an object passes whose HEAD the store refuses as a bad request. It does so for objects that are
// encrypted with a key of the customer, which HEAD must come with. Of such an object no more is known.
func (f *filter) toldNothing() bool {
	byCustomer := func(e job.ObjectEncryptionFilter) bool { return e.SSEC != nil }
	return len(f.replications) == 0 && slices.ContainsFunc(f.encryptions, byCustomer)
}

// encrypted reports whether an object is encrypted in the way of e.
func encrypted(h *objectstore.Head, e *job.ObjectEncryptionFilter) bool {
	const header = "x-amz-server-side-encryption"
	customer := h.Get(header+"-customer-algorithm") != ""
	algorithm := h.Get(header)
	key := h.Get(header + "-aws-kms-key-id")
	switch {
	case e.SSES3 != nil:
		return algorithm == "AES256"
	case e.SSEKMS != nil:
		bucketKey := strings.EqualFold(h.Get(header+"-bucket-key-enabled"), "true")
		return algorithm == "aws:kms" && sameKey(e.SSEKMS.KmsKeyArn, key) &&
			(e.SSEKMS.BucketKeyEnabled == nil || *e.SSEKMS.BucketKeyEnabled == bucketKey)
	case e.DSSEKMS != nil:
		return algorithm == "aws:kms:dsse" && sameKey(e.DSSEKMS.KmsKeyArn, key)
	case e.SSEC != nil:
		return customer
	case e.NOTSSE != nil:
		return algorithm == "" && !customer
	}
	return false
}

// sameKey reports whether key, as a store names it, is the one that is wanted. Some stores leave out all but its id, and MinIO
// all but that and what ARNs of keys begin with.
func sameKey(arn, key string) bool {
	if arn == "" || arn == key {
		return true
	}
	_, id, ok := strings.Cut(arn, ":key/")
	return ok && id != "" && id == strings.TrimPrefix(key, "arn:aws:kms:")
}

// replicationOf is the replication status of an object, as the filter names it. PENDING cannot be chosen.
func replicationOf(h *objectstore.Head) job.ReplicationStatus {
	switch status := h.Get("x-amz-replication-status"); status {
	case "":
		return "NONE"
	case "COMPLETE": // as older documents and some stores spell it
		return "COMPLETED"
	default:
		return job.ReplicationStatus(status)
	}
}
