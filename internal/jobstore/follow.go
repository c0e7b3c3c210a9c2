package jobstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"stevedore/internal/job"
)

const (
	loadPage    = 1000        // keys read at once when the index is loaded
	followPause = time.Second // before another attempt to follow
)

// follow keeps the index up to date from revision next on until ctx ends. When
// the watch falls behind compaction, or breaks, the index is loaded again.
func (s *Store) follow(ctx context.Context, next int64) {
	for {
		err := s.watch(ctx, next)
		for {
			if ctx.Err() != nil {
				return
			}
			s.index.fail(err)
			s.logger.WarnContext(ctx, "list of jobs lost its watch, loading it again", "err", err)
			if next, err = s.loadIndex(ctx); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(followPause):
			}
		}
	}
}

// watch applies changes from revision next on to the index until the watch ends.
func (s *Store) watch(ctx context.Context, next int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range s.client.Watch(ctx, s.keys.prefix, clientv3.WithPrefix(), clientv3.WithRev(next)) {
		if err := resp.Err(); err != nil {
			return fmt.Errorf("watch from revision %d: %w", next, err)
		}
		if len(resp.Events) == 0 {
			continue
		}
		if err := s.apply(resp.Events); err != nil {
			return err
		}
	}
	return errors.New("watch ended")
}

// apply takes events into the index. All events of one revision come together.
func (s *Store) apply(events []*clientv3.Event) error {
	x := s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range events {
		var err error
		if e.Type == clientv3.EventTypeDelete {
			s.indexDelete(string(e.Kv.Key))
		} else {
			err = s.indexPut(e.Kv)
		}
		if err != nil {
			return err
		}
	}
	x.advance(events[len(events)-1].Kv.ModRevision)
	return nil
}

// indexPut takes one record into the index, whose mu is held.
func (s *Store) indexPut(kv *mvccpb.KeyValue) error {
	key := string(kv.Key)
	if strings.HasPrefix(key, s.keys.jobs()) {
		j, err := decodeJob(kv)
		if err != nil {
			return err
		}
		s.index.put(&j)
		return nil
	}
	if rest, ok := strings.CutPrefix(key, s.keys.tallies()); ok {
		var t job.Tally
		if err := decode(kv, &t); err != nil {
			return err
		}
		id, node, _ := strings.Cut(rest, "/")
		s.index.tally(id, node, counts{t.Succeeded, t.Failed})
	}
	return nil
}

// indexDelete takes one deletion into the index, whose mu is held. Tallies only
// go together with their job or when it ends, which its record says.
func (s *Store) indexDelete(key string) {
	if rest, ok := strings.CutPrefix(key, s.keys.jobs()); ok {
		_, id, _ := strings.Cut(rest, "/")
		s.index.remove(id)
	}
}

// loadIndex fills the index from the store as of one revision and returns the
// revision to watch from.
func (s *Store) loadIndex(ctx context.Context) (next int64, err error) {
	for {
		revision, kvs, err := s.snapshot(ctx)
		if errors.Is(err, rpctypes.ErrCompacted) {
			continue // it took longer than compaction; nothing is wrong with trying again
		}
		if err != nil {
			return 0, err
		}
		s.index.mu.Lock()
		s.index.clear()
		for _, kv := range kvs {
			if err = s.indexPut(kv); err != nil {
				break
			}
		}
		if err == nil {
			s.index.advance(revision)
		}
		s.index.mu.Unlock()
		return revision + 1, err
	}
}

// snapshot reads all records and tallies at one revision.
func (s *Store) snapshot(ctx context.Context) (revision int64, kvs []*mvccpb.KeyValue, err error) {
	for _, prefix := range []string{s.keys.jobs(), s.keys.tallies()} {
		from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
		for more := true; more; {
			resp, err := s.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(loadPage), clientv3.WithRev(revision))
			if err != nil {
				return 0, nil, err
			}
			if revision == 0 {
				revision = resp.Header.Revision
			}
			kvs = append(kvs, resp.Kvs...)
			if more = resp.More; more {
				from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
			}
		}
	}
	return revision, kvs, nil
}
