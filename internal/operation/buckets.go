package operation

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"stevedore/internal/objectstore"
)

// buckets remembers what was found out about each bucket, so that every store is
// asked once per job and node. Its zero value is ready.
type buckets[T any] struct {
	mu    sync.Mutex
	known map[string]*bucketFact[T]
}

type bucketFact[T any] struct {
	found atomic.Pointer[T]

	turn   chan struct{} // has an element while the store is asked
	outage error         // the store could not say, believed until retry
	retry  time.Time
}

// get returns what is known of a bucket, and has ask find it out if nothing is.
// What ask fails with is believed for a moment, unless it was cut off.
func (b *buckets[T]) get(ctx context.Context, bucket string, ask func(context.Context) (*T, error)) (*T, error) {
	f := b.fact(bucket)
	if found := f.found.Load(); found != nil {
		return found, nil
	}
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if found := f.found.Load(); found != nil {
		return found, nil
	}
	if time.Now().Before(f.retry) {
		return nil, f.outage
	}
	found, err := ask(ctx)
	if err != nil {
		if ctx.Err() == nil && !cutOff(err) {
			f.outage, f.retry = err, time.Now().Add(askAgain)
		}
		return nil, err
	}
	f.found.Store(found)
	return found, nil
}

func (b *buckets[T]) fact(bucket string) *bucketFact[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.known[bucket]
	if f == nil {
		if b.known == nil || len(b.known) >= maxBuckets {
			b.known = map[string]*bucketFact[T]{}
		}
		f = &bucketFact[T]{turn: make(chan struct{}, 1)}
		b.known[bucket] = f
	}
	return f
}

// cutOff reports whether a request has no answer because the job or the store
// came to its end.
func cutOff(err error) bool {
	if e, ok := errors.AsType[*resultError](err); ok && e.Interrupted() {
		return true
	}
	return objectstore.Interrupted(err) || errors.Is(err, objectstore.ErrClosed)
}
