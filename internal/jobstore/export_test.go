package jobstore

import (
	"context"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Fault says what goes wrong with one transaction.
type Fault int

const (
	NoFault    Fault = iota
	LoseCall         // it never reaches etcd
	LoseAnswer       // it is done, but the caller sees a timeout
)

// InjectFaults asks fault about every transaction from now on, from the
// goroutine of the call.
func (s *Store) InjectFaults(fault func() Fault) {
	s.client.KV = faultyKV{s.client.KV, fault}
}

type faultyKV struct {
	clientv3.KV
	fault func() Fault
}

func (kv faultyKV) Txn(ctx context.Context) clientv3.Txn {
	return &faultyTxn{kv.KV.Txn(ctx), kv.fault}
}

type faultyTxn struct {
	clientv3.Txn
	fault func() Fault
}

func (t *faultyTxn) If(cs ...clientv3.Cmp) clientv3.Txn { t.Txn = t.Txn.If(cs...); return t }
func (t *faultyTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *faultyTxn) Else(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(o...); return t }

func (t *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	fault := t.fault()
	if fault == LoseCall {
		return nil, rpctypes.ErrTimeout
	}
	resp, err := t.Txn.Commit()
	if fault == LoseAnswer {
		return nil, rpctypes.ErrTimeout
	}
	return resp, err
}

// Keys returns all keys in the store.
func (s *Store) Keys(t testing.TB) []string {
	t.Helper()
	resp, err := s.get(t.Context(), s.keys.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, kv := range resp.Kvs {
		out = append(out, string(kv.Key))
	}
	return out
}

// Compact drops every revision but the last.
func (s *Store) Compact(t testing.TB) {
	t.Helper()
	resp, err := s.get(t.Context(), s.keys.secret())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Compact(t.Context(), resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// FollowFrom runs another follower of the index from a revision on.
func (s *Store) FollowFrom(ctx context.Context, revision int64) { s.follow(ctx, revision) }

// Watch is one watch of the index, from a revision on.
func (s *Store) Watch(ctx context.Context, revision int64) error { return s.watch(ctx, revision) }

// LoadIndex fills the index anew.
func (s *Store) LoadIndex(t testing.TB) {
	t.Helper()
	if _, err := s.loadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// PutRaw stores values under keys below the prefix, many at once.
func (s *Store) PutRaw(t testing.TB, keys []string, value func(i int) string) {
	t.Helper()
	for at := 0; at < len(keys); at += MaxChunks {
		var ops []clientv3.Op
		for i := at; i < min(at+MaxChunks, len(keys)); i++ {
			ops = append(ops, clientv3.OpPut(s.keys.prefix+keys[i], value(i)))
		}
		if _, err := s.txn(t.Context(), nil, ops, nil); err != nil {
			t.Fatal(err)
		}
	}
}
