package jobstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Node is one worker process in the store. What it claims and owns hangs on its
// lease and is free for others once that is gone.
type Node struct {
	store *Store
	name  string
	lease clientv3.LeaseID
	ttl   time.Duration
	stop  context.CancelFunc // ends keepAlive
	lost  chan struct{}

	mu   sync.Mutex
	held map[string]int64    // claims and ownerships somebody here works under: fence by key, 0 while it is being got
	jobs map[string]*nodeJob // by job ID
}

// nodeRecord is what is stored about a node; its lease is that of the key.
type nodeRecord struct{ Joined time.Time }

// joinAttempts bounds how often a node tries to get its name.
const joinAttempts = 10

// Join makes a node of that name. A node of the same name that is still
// registered is taken for dead, since only one process can have the store open:
// its lease is revoked first, and all it had claimed is free at once.
func (s *Store) Join(ctx context.Context, name string) (*Node, error) {
	if err := checkName("node", name); err != nil {
		return nil, err
	}
	n, err := s.join(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("join as %s: %w", name, err)
	}
	return n, nil
}

func (s *Store) join(ctx context.Context, name string) (*Node, error) {
	for range joinAttempts {
		if err := s.evict(ctx, s.keys.node(name)); err != nil {
			return nil, err
		}
		asked := time.Now()
		lease, ttl, err := s.register(ctx, s.keys.node(name))
		if err != nil {
			return nil, err
		}
		if lease == clientv3.NoLease {
			continue
		}
		alive, stop := context.WithCancel(s.life)
		n := &Node{
			store: s, name: name, lease: lease, ttl: ttl,
			stop: stop, lost: make(chan struct{}),
			held: map[string]int64{}, jobs: map[string]*nodeJob{},
		}
		if err := s.spawn(func() { n.keepAlive(alive, asked) }); err != nil {
			stop()
			return nil, err
		}
		return n, nil
	}
	return nil, errors.New("others keep taking the name")
}

// register stores the key of a node under a lease of its own. It returns
// clientv3.NoLease if the key is taken. A lease that is granted in vain expires
// by itself.
func (s *Store) register(ctx context.Context, key string) (clientv3.LeaseID, time.Duration, error) {
	var grant *clientv3.LeaseGrantResponse
	err := s.call(ctx, func(ctx context.Context) (err error) {
		grant, err = s.client.Grant(ctx, max(1, int64(s.leaseTTL.Round(time.Second)/time.Second)))
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("grant lease: %w", err)
	}
	record, err := encode(nodeRecord{time.Now().UTC()})
	if err != nil {
		return 0, 0, err
	}
	resp, err := s.txn(ctx, []clientv3.Cmp{absent(key)},
		[]clientv3.Op{clientv3.OpPut(key, record, clientv3.WithLease(grant.ID))}, nil)
	if err != nil || !resp.Succeeded {
		return clientv3.NoLease, 0, err
	}
	return grant.ID, time.Duration(grant.TTL) * time.Second, nil
}

// evict revokes the lease of the node under key, if there is one.
func (s *Store) evict(ctx context.Context, key string) error {
	resp, err := s.get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return err
	}
	return s.revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
}

func (s *Store) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	err := s.call(ctx, func(ctx context.Context) error {
		_, err := s.client.Revoke(ctx, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke lease: %w", err)
	}
	return nil
}

// Name is the name it joined under.
func (n *Node) Name() string { return n.name }

// Lost is closed when the lease is gone: by an outage longer than its TTL, by
// another node of the same name, by Leave or with the store. Nothing can be
// committed from then on; the way back is to join anew.
func (n *Node) Lost() <-chan struct{} { return n.lost }

// Leave gives back all claims and ends the node.
func (n *Node) Leave(ctx context.Context) error {
	n.stop()
	<-n.lost
	if err := n.store.revoke(ctx, n.lease); err != nil {
		return fmt.Errorf("leave as %s: %w", n.name, err)
	}
	return nil
}

// keepAlive renews the lease until ctx ends or it is gone. It does nothing else,
// so that it never waits behind the traffic of tasks.
func (n *Node) keepAlive(ctx context.Context, asked time.Time) {
	defer close(n.lost)
	tick := time.NewTicker(n.ttl / 3)
	defer tick.Stop()
	expires := asked.Add(n.ttl)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sent := time.Now()
		err := n.renew(ctx, expires)
		switch {
		case err == nil:
			expires = sent.Add(n.ttl)
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrFenced) || !time.Now().Before(expires):
			n.store.logger.ErrorContext(ctx, "lease lost", "node", n.name, "err", err)
			return
		default:
			n.store.logger.WarnContext(ctx, "lease not renewed", "node", n.name, "err", err)
		}
	}
}

func (n *Node) renew(ctx context.Context, expires time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, expires)
	defer cancel()
	return n.store.call(ctx, func(ctx context.Context) error {
		_, err := n.store.client.KeepAliveOnce(ctx, n.lease)
		return err
	})
}

// hold marks a key as worked under here. It reports false if it is already.
func (n *Node) hold(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.held[key]; taken {
		return false
	}
	n.held[key] = 0
	return true
}

// got notes the fence of a key held: it keeps who gave it back earlier from dropping it.
func (n *Node) got(key string, fence int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held[key] = fence
}

// drop ends holding a key under a fence.
func (n *Node) drop(key string, fence int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if held, taken := n.held[key]; taken && held == fence {
		delete(n.held, key)
	}
}

func (n *Node) holds(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, taken := n.held[key]
	return taken
}

// nodeJob is what a node remembers about a job it works for. All of it may be
// forgotten at any time.
type nodeJob struct {
	revision atomic.Int64 // of the record when last seen Preparing
	scan     scan
	tally    tally
}

func (n *Node) job(id string) *nodeJob {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.jobs[id]; w != nil {
		return w
	}
	for old := range n.jobs {
		if n.store.index.ended(old) {
			delete(n.jobs, old)
		}
	}
	w := &nodeJob{scan: scan{turn: newTurn()}, tally: tally{turn: newTurn()}}
	n.jobs[id] = w
	return w
}

// turn is a mutex that a context can end waiting for.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }
