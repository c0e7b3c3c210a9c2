package jobstore

import (
	"context"
	"fmt"
	"hash/fnv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"stevedore/internal/job"
)

// scanPage is how many chunks are read at once in search of a free one. Each
// read costs etcd a walk over all chunks behind it, which counts them.
const scanPage = 128

// Claim is the right to do the rest of one chunk.
type Claim struct {
	Account string
	Job     string
	Chunk   job.Chunk // what is left of it
	Fence   int64     // revision of the store at which it was claimed
}

// claimRecord is the value of claims and ownerships; the lease counts, the name
// is for who looks at the store.
type claimRecord struct{ Node string }

// scan is a node's place in the ring of a job's chunks.
type scan struct {
	turn    turn
	begun   bool
	next    int64 // row from which the next page is read
	waiting []candidate
}

// candidate is a chunk that was free when it was read.
type candidate struct {
	chunk    job.Chunk
	revision int64 // of the chunk's record
	claim    int64 // fence of a claim of ours that nobody here knows, or 0
}

// Claim takes some chunk of a job that nobody has claimed. It reports false if
// there is none, or if the job is not Runnable. The claim ends with the commit
// of the chunk's last row, with Release, or with the node's lease. It may be
// called concurrently.
//
// Of j it needs Account and ID; Status and Revision as last read spare it
// reading the job, and Plan lets nodes begin in different places.
func (n *Node) Claim(ctx context.Context, j job.Job) (Claim, bool, error) {
	c, ok, err := n.claim(ctx, j)
	if err != nil {
		return Claim{}, false, fmt.Errorf("claim chunk of job %s: %w", j.ID, err)
	}
	return c, ok, nil
}

func (n *Node) claim(ctx context.Context, j job.Job) (Claim, bool, error) {
	if !j.Status.Runnable() {
		j.Revision = 0 // it may be by now; take finds out
	}
	for { // another node, or goroutine, got a chunk whenever this goes round
		cand, ok, err := n.candidate(ctx, j)
		if err != nil || !ok {
			return Claim{}, false, err
		}
		key := n.store.keys.claim(j.ID, cand.chunk.First)
		if !n.hold(key) {
			continue
		}
		fence, runnable, err := n.take(ctx, key, &j, cand)
		if err == nil && fence != 0 {
			n.got(key, fence)
			return Claim{Account: j.Account, Job: j.ID, Chunk: cand.chunk, Fence: fence}, true, nil
		}
		n.drop(key, 0)
		if err != nil || !runnable {
			return Claim{}, false, err
		}
	}
}

// take tries to claim a candidate. It returns fence 0 if the chunk is not free
// as it was read, and whether the job may be claimed from at all; j's revision
// is brought up to date.
func (n *Node) take(ctx context.Context, key string, j *job.Job, cand candidate) (fence int64, runnable bool, err error) {
	keys := n.store.keys
	chunkKey, jobKey := keys.chunk(j.ID, cand.chunk.First), keys.job(j.Account, j.ID)
	var then []clientv3.Op
	if cand.claim == 0 {
		record, err := encode(claimRecord{n.name})
		if err != nil {
			return 0, false, err
		}
		then = append(then, clientv3.OpPut(key, record, clientv3.WithLease(n.lease)))
	}
	for {
		resp, err := n.store.txn(ctx,
			[]clientv3.Cmp{created(key, cand.claim), unchanged(chunkKey, cand.revision), unchanged(jobKey, j.Revision)},
			then,
			[]clientv3.Op{clientv3.OpGet(jobKey)})
		if err != nil {
			return 0, false, err
		}
		if resp.Succeeded {
			if cand.claim != 0 {
				return cand.claim, true, nil
			}
			return resp.Header.Revision, true, nil
		}
		now, err := jobAt(found(resp, 0))
		if err != nil || !now.Status.Runnable() {
			return 0, false, err
		}
		if now.Revision == j.Revision {
			return 0, true, nil
		}
		j.Revision = now.Revision
	}
}

// candidate returns the next chunk worth trying, false if all are claimed.
func (n *Node) candidate(ctx context.Context, j job.Job) (candidate, bool, error) {
	s := &n.job(j.ID).scan
	if err := s.turn.take(ctx); err != nil {
		return candidate{}, false, err
	}
	defer s.turn.give()
	if !s.begun {
		s.begun, s.next = true, n.firstRow(j)
	}
	if len(s.waiting) == 0 {
		if err := n.search(ctx, j.ID, s); err != nil || len(s.waiting) == 0 {
			return candidate{}, false, err
		}
	}
	c := s.waiting[0]
	s.waiting = s.waiting[1:]
	return c, true, nil
}

// firstRow is where a node begins in a job: nodes that begin in different
// places do not get in each other's way.
func (n *Node) firstRow(j job.Job) int64 {
	if j.Plan == nil || j.Plan.Tasks <= 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(n.name)) // never fails
	return int64(h.Sum64() % uint64(j.Plan.Tasks))
}

// search goes once round the ring of chunks, up to the first page with a free one.
func (n *Node) search(ctx context.Context, id string, s *scan) error {
	for start, wrapped := s.next, false; ; {
		more, err := n.readPage(ctx, id, s)
		switch {
		case err != nil || len(s.waiting) > 0:
			return err
		case wrapped && (!more || s.next > start):
			return nil
		case !more:
			wrapped = true
		}
	}
}

// readPage reads chunks from s.next on, with the claims among them, and moves on.
func (n *Node) readPage(ctx context.Context, id string, s *scan) (more bool, err error) {
	keys := n.store.keys
	// Every claim has its chunk, so the first claims reach as far as the first chunks.
	resp, err := n.store.txn(ctx, nil, []clientv3.Op{
		clientv3.OpGet(keys.chunk(id, s.next), clientv3.WithRange(clientv3.GetPrefixRangeEnd(keys.chunks(id))), clientv3.WithLimit(scanPage)),
		clientv3.OpGet(keys.claim(id, s.next), clientv3.WithRange(clientv3.GetPrefixRangeEnd(keys.claims(id))), clientv3.WithLimit(scanPage)),
	}, nil)
	if err != nil {
		return false, err
	}
	claims := map[string]int64{} // fence of those that are orphans of ours, else 0
	for _, kv := range resp.Responses[1].GetResponseRange().Kvs {
		claims[string(kv.Key)] = n.orphan(kv)
	}
	chunks := resp.Responses[0].GetResponseRange()
	s.waiting = s.waiting[:0]
	for _, kv := range chunks.Kvs {
		c := candidate{revision: kv.ModRevision}
		if err := decode(kv, &c.chunk); err != nil {
			return false, err
		}
		s.next = c.chunk.First + 1
		key := keys.claim(id, c.chunk.First)
		fence, claimed := claims[key]
		if claimed && fence == 0 || n.holds(key) {
			continue
		}
		c.claim = fence
		s.waiting = append(s.waiting, c)
	}
	if !chunks.More {
		s.next = 0
	}
	return chunks.More, nil
}

// Release gives a claim back; what is left of the chunk may be claimed by
// anybody. One that is gone already is fine. After an error the node will find
// the chunk by itself.
func (n *Node) Release(ctx context.Context, c Claim) error {
	key := n.store.keys.claim(c.Job, c.Chunk.First)
	defer n.drop(key, c.Fence)
	if err := n.store.deleteCreated(ctx, key, c.Fence); err != nil {
		return fmt.Errorf("release chunk of job %s: %w", c.Job, err)
	}
	return nil
}
