package operation

import (
	"maps"
	"sync"
	"time"

	"stevedore/internal/objectstore"
)

const (
	// believed is how long what a job has found out about a store counts for others.
	believed = 10 * time.Minute
	// maxMemories bounds what is kept of it.
	maxMemories = 1000
)

// A Memory is what the jobs of a process have found out about their stores, so
// that short jobs need not each find it out again. Only what works is kept: where
// something does not, it may have been mended since. Its zero value is ready.
type Memory struct {
	mu    sync.Mutex
	known map[memoryKey]memorized
}

// A memoryKey says where a fact holds: for one store, so for its credentials too.
type memoryKey struct {
	store       *objectstore.Store
	bucket, key string // key is that of KMS
	bucketKey   bool
}

type memorized struct {
	how   *encrypting
	until time.Time
}

// A Recollection is what a Memory has of the stores of a role. Nil has nothing.
type Recollection struct {
	memory *Memory
	access *objectstore.Access
}

// Of returns what m has, and will have, of the stores that a leads to.
func (m *Memory) Of(a *objectstore.Access) *Recollection { return &Recollection{m, a} }

// encryption returns how objects of a bucket are given a key, nil if that is not
// known.
func (r *Recollection) encryption(bucket, key string, bucketKey bool) *encrypting {
	if r == nil {
		return nil
	}
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	if fact := r.memory.known[r.about(bucket, key, bucketKey)]; time.Now().Before(fact.until) {
		return fact.how
	}
	return nil
}

// keep has others know how objects of a bucket were found to be given a key.
func (r *Recollection) keep(bucket, key string, bucketKey bool, how *encrypting) {
	if r == nil || how.way == byNothing {
		return
	}
	m, now := r.memory, time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxMemories {
		maps.DeleteFunc(m.known, func(_ memoryKey, fact memorized) bool { return now.After(fact.until) })
	}
	if m.known == nil || len(m.known) >= maxMemories {
		m.known = map[memoryKey]memorized{}
	}
	m.known[r.about(bucket, key, bucketKey)] = memorized{how, now.Add(believed)}
}

func (r *Recollection) about(bucket, key string, bucketKey bool) memoryKey {
	return memoryKey{r.access.For(bucket), bucket, key, bucketKey}
}
