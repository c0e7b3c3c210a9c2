package jobstore

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"stevedore/internal/job"
)

// MaxChunks is how many chunks one call of PutChunks takes: a transaction of
// etcd has at most 128 operations.
const MaxChunks = 100

// Ownership is the right to plan or to finish one job.
type Ownership struct {
	Account string
	Job     string
	Fence   int64 // revision of the store at which it was got
}

// Checkpoint is how far the planner of a job has come.
type Checkpoint = job.Checkpoint

// Own takes a job for planning or finishing. It reports false if another node
// has it, or this one, or if the job has ended. Of j it needs Account and ID;
// Revision as last read spares it reading the job.
func (n *Node) Own(ctx context.Context, j job.Job) (Ownership, bool, error) {
	key := n.store.keys.owner(j.ID)
	if j.Status.Terminal() || !n.hold(key) {
		return Ownership{}, false, nil
	}
	fence, err := n.own(ctx, key, j)
	if err != nil {
		err = fmt.Errorf("own job %s: %w", j.ID, err)
	}
	if err != nil || fence == 0 {
		n.drop(key, 0)
		return Ownership{}, false, err
	}
	n.got(key, fence)
	return Ownership{Account: j.Account, Job: j.ID, Fence: fence}, true, nil
}

// own returns the fence, 0 if the job is not to be had.
func (n *Node) own(ctx context.Context, key string, j job.Job) (fence int64, err error) {
	record, err := encode(claimRecord{n.name})
	if err != nil {
		return 0, err
	}
	jobKey := n.store.keys.job(j.Account, j.ID)
	for revision := j.Revision; ; {
		resp, err := n.store.txn(ctx,
			[]clientv3.Cmp{absent(key), unchanged(jobKey, revision)},
			[]clientv3.Op{clientv3.OpPut(key, record, clientv3.WithLease(n.lease))},
			[]clientv3.Op{clientv3.OpGet(key), clientv3.OpGet(jobKey)})
		if err != nil {
			return 0, err
		}
		if resp.Succeeded {
			return resp.Header.Revision, nil
		}
		if owner := found(resp, 0); owner != nil {
			return n.orphan(owner), nil
		}
		now, err := jobAt(found(resp, 1))
		if err != nil || now.Status.Terminal() || now.Status == "" {
			return 0, err
		}
		revision = now.Revision
	}
}

// orphan returns the fence of a claim or ownership if it hangs on this node's
// lease, else 0. If nobody here holds its key, it was taken, or given back, by a
// call whose answer got lost, and may be worked under.
func (n *Node) orphan(kv *mvccpb.KeyValue) int64 {
	if clientv3.LeaseID(kv.Lease) == n.lease {
		return kv.CreateRevision
	}
	return 0
}

// jobAt decodes a record that may be absent: then the job has no status.
func jobAt(kv *mvccpb.KeyValue) (job.Job, error) {
	if kv == nil {
		return job.Job{}, nil
	}
	return decodeJob(kv)
}

// Disown gives an ownership back. One that is gone already is fine.
func (n *Node) Disown(ctx context.Context, own Ownership) error {
	key := n.store.keys.owner(own.Job)
	defer n.drop(key, own.Fence)
	if err := n.store.deleteCreated(ctx, key, own.Fence); err != nil {
		return fmt.Errorf("disown job %s: %w", own.Job, err)
	}
	return nil
}

// deleteCreated deletes key if it is the one created at revision.
func (s *Store) deleteCreated(ctx context.Context, key string, revision int64) error {
	_, err := s.txn(ctx, []clientv3.Cmp{created(key, revision)}, []clientv3.Op{clientv3.OpDelete(key)}, nil)
	return err
}

// Checkpoint reads how far planning a job has come. It reports false if no
// chunk was stored yet.
func (s *Store) Checkpoint(ctx context.Context, jobID string) (Checkpoint, bool, error) {
	var cp Checkpoint
	resp, err := s.get(ctx, s.keys.plan(jobID))
	if err == nil && len(resp.Kvs) > 0 {
		err = decode(resp.Kvs[0], &cp)
	}
	if err != nil {
		return Checkpoint{}, false, fmt.Errorf("read checkpoint of job %s: %w", jobID, err)
	}
	return cp, len(resp.Kvs) > 0, nil
}

// PutChunks stores chunks that follow on each other, at most MaxChunks, and
// together with them the checkpoint after the last. It may be repeated. It
// returns ErrFenced if the ownership is gone or the job is no longer Preparing.
func (n *Node) PutChunks(ctx context.Context, own Ownership, chunks []job.Chunk, cp Checkpoint) error {
	if err := checkChunks(chunks, cp); err != nil {
		return fmt.Errorf("store chunks of job %s: %w", own.Job, err)
	}
	if err := n.putChunks(ctx, own, chunks, cp); err != nil {
		return fmt.Errorf("store chunks of job %s: %w", own.Job, err)
	}
	return nil
}

func (n *Node) putChunks(ctx context.Context, own Ownership, chunks []job.Chunk, cp Checkpoint) error {
	keys := n.store.keys
	ops := make([]clientv3.Op, 0, len(chunks)+1)
	for _, c := range chunks {
		value, err := encode(c)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(keys.chunk(own.Job, c.First), value))
	}
	value, err := encode(cp)
	if err != nil {
		return err
	}
	return n.prepare(ctx, own, append(ops, clientv3.OpPut(keys.plan(own.Job), value)))
}

// prepare carries out ops if the job is Preparing and still owned.
func (n *Node) prepare(ctx context.Context, own Ownership, ops []clientv3.Op) error {
	keys := n.store.keys
	owner, jobKey := keys.owner(own.Job), keys.job(own.Account, own.Job)
	work := n.job(own.Job)
	for {
		revision := work.revision.Load() // 0 at first: the answer says
		resp, err := n.store.txn(ctx,
			[]clientv3.Cmp{created(owner, own.Fence), unchanged(jobKey, revision)},
			ops,
			[]clientv3.Op{clientv3.OpGet(owner), clientv3.OpGet(jobKey)})
		if err != nil {
			return err
		}
		if resp.Succeeded {
			return nil
		}
		if kv := found(resp, 0); kv == nil || kv.CreateRevision != own.Fence {
			return ErrFenced
		}
		now, err := jobAt(found(resp, 1))
		if err != nil {
			return err
		}
		if now.Status != job.Preparing {
			return fmt.Errorf("%w: the job is %q", ErrFenced, now.Status)
		}
		work.revision.Store(now.Revision)
	}
}

// checkChunks guards against mistakes of the planner.
func checkChunks(chunks []job.Chunk, cp Checkpoint) error {
	if len(chunks) > MaxChunks {
		return fmt.Errorf("%d chunks at once, at most %d", len(chunks), MaxChunks)
	}
	for i, c := range chunks {
		end := cp.Rows
		if i+1 < len(chunks) {
			end = chunks[i+1].First
		}
		if c.Rows <= 0 || c.Row != c.First || c.First+c.Rows != end {
			return fmt.Errorf("chunk at row %d: %d rows from row %d do not end at row %d", c.First, c.Rows, c.Row, end)
		}
	}
	return nil
}
