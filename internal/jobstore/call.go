package jobstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"stevedore/internal/job"
)

// call runs f, which talks to etcd, with a context that also ends with the
// store, and tells Close about it.
func (s *Store) call(ctx context.Context, f func(context.Context) error) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("%w: closed", job.ErrUnavailable)
	}
	s.calls.Add(1)
	s.mu.Unlock()
	defer s.calls.Done()

	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	err := f(inner)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.life.Err() != nil:
		return fmt.Errorf("%w: closed", job.ErrUnavailable)
	default:
		return storeError(err)
	}
}

// storeError says which errors of etcd mean that it is out of order, as opposed
// to having been asked something it refuses.
func storeError(err error) error {
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	refusals := []codes.Code{codes.InvalidArgument, codes.OutOfRange, codes.NotFound, codes.FailedPrecondition}
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok && slices.Contains(refusals, e.Code()) {
		return err
	}
	return fmt.Errorf("%w: %w", job.ErrUnavailable, err)
}

// txn runs one transaction: all of then if every comparison holds, else all of otherwise.
func (s *Store) txn(ctx context.Context, when []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	var resp *clientv3.TxnResponse
	err := s.call(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Txn(ctx).If(when...).Then(then...).Else(otherwise...).Commit()
		return err
	})
	return resp, err
}

func (s *Store) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	var resp *clientv3.GetResponse
	err := s.call(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, key, opts...)
		return err
	})
	return resp, err
}

func absent(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), "=", 0) }

func created(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", revision)
}

func unchanged(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", revision)
}

// deletePrefix deletes every key under prefix.
func deletePrefix(prefix string) clientv3.Op {
	return clientv3.OpDelete(prefix, clientv3.WithPrefix())
}

// found is the i-th answer of a transaction of single reads, nil if the key is absent.
func found(resp *clientv3.TxnResponse, i int) *mvccpb.KeyValue {
	if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}

// encode makes the record of v. Records are plain structs, so that it cannot
// fail but by a mistake in this package.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode record: %w", err)
	}
	return string(b), nil
}

func decode(kv *mvccpb.KeyValue, v any) error {
	if err := json.Unmarshal(kv.Value, v); err != nil {
		return fmt.Errorf("decode record %s: %w", kv.Key, err)
	}
	return nil
}

func decodeJob(kv *mvccpb.KeyValue) (job.Job, error) {
	var j job.Job
	err := decode(kv, &j)
	j.Revision = kv.ModRevision
	return j, err
}
