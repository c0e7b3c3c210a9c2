package run

import (
	"context"
	"sync"
	"time"

	"stevedore/internal/objectstore"
)

// Versioning tells whether a bucket keeps versions.
type Versioning interface {
	// Versioning answers "Enabled", "Suspended", or "" for a bucket without versions.
	Versioning(ctx context.Context, bucket string) (string, error)
}

// Versions remembers which buckets keep versions. Version ids of a manifest are
// used in buckets that do and ignored in others; an empty cell fails its task in
// a bucket that does (manifests.md section 2).
type Versions struct {
	store Versioning

	mu    sync.Mutex
	known map[string]*bucketVersions
}

type bucketVersions struct {
	mu      sync.Mutex // held while the store is asked, so that it is asked once
	settled bool
	keeps   bool
	err     error // why the store could not say, believed until retry
	retry   time.Time
}

// askAgain is how long a store that could not say is left alone, so that the
// workers of a job do not wait for it one after the other.
const askAgain = 5 * time.Second

// maxBuckets bounds what is remembered; a manifest of more buckets asks again.
const maxBuckets = 10_000

// NewVersions returns an empty memory over store.
func NewVersions(store Versioning) *Versions {
	return &Versions{store: store, known: map[string]*bucketVersions{}}
}

// keeps reports whether bucket keeps versions. Where the store refuses to say, or
// does not know the call, it answers true: a version id is then sent as given,
// and an empty one is not taken for "the current version".
func (v *Versions) keeps(ctx context.Context, bucket string) (bool, error) {
	v.mu.Lock()
	b := v.known[bucket]
	if b == nil {
		if len(v.known) >= maxBuckets {
			clear(v.known)
		}
		b = &bucketVersions{}
		v.known[bucket] = b
	}
	v.mu.Unlock()

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settled {
		return b.keeps, nil
	}
	if b.err != nil && time.Now().Before(b.retry) {
		return false, b.err
	}
	status, err := v.store.Versioning(ctx, bucket)
	switch {
	case err == nil:
		b.settled, b.keeps = true, status != ""
	case objectstore.NotFound(err):
		b.settled, b.keeps = true, false // no such bucket: the task's own call will say so
	case objectstore.AccessDenied(err), objectstore.NotImplemented(err):
		b.settled, b.keeps = true, true
	default:
		b.err, b.retry = err, time.Now().Add(askAgain)
		return false, err
	}
	return b.keeps, nil
}
