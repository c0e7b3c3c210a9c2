package jobstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"stevedore/internal/job"
)

const (
	commitAttempts = 8                     // while etcd is out of order
	commitPause    = 20 * time.Millisecond // before the second attempt; doubles
)

// tally is what this node has counted of a job, as last seen in the store.
// Commits of one job take turns, since each adds to it.
type tally struct {
	turn     turn
	sum      job.Tally
	revision int64 // 0 while the store is not known to have one
}

func (t *tally) see(kv *mvccpb.KeyValue) error {
	t.sum, t.revision = job.Tally{}, 0
	if kv == nil {
		return nil
	}
	t.revision = kv.ModRevision
	return decode(kv, &t.sum)
}

// segmentRecord is the value of a segment.
type segmentRecord struct {
	job.Segment
	Fence int64 // of the claim it was committed under
}

// Commit stores the outcomes of the next rows of a claimed chunk: the segment,
// delta added to this node's tally of the job, and what is left of the chunk,
// all or nothing. With rest.Rows 0 the chunk and the claim are done; else the
// claim that is returned goes on.
//
// It returns ErrFenced if the claim is gone: nothing was stored and others do
// these rows. After any other error the rows may be stored or not; repeat the
// call with the same arguments until it succeeds, or Release the claim.
func (n *Node) Commit(ctx context.Context, c Claim, seg job.Segment, delta job.Tally, rest job.Chunk) (Claim, error) {
	err := checkCommit(c.Chunk, seg, delta, rest)
	if err == nil {
		err = n.commit(ctx, c, seg, delta, rest)
	}
	if errors.Is(err, ErrFenced) || err == nil && rest.Rows == 0 {
		n.drop(n.store.keys.claim(c.Job, c.Chunk.First), c.Fence)
	}
	if err != nil {
		return Claim{}, fmt.Errorf("commit rows %d to %d of job %s: %w", seg.Row, seg.Row+seg.Rows-1, c.Job, err)
	}
	c.Chunk = rest
	return c, nil
}

func (n *Node) commit(ctx context.Context, c Claim, seg job.Segment, delta job.Tally, rest job.Chunk) error {
	t := &n.job(c.Job).tally
	if err := t.turn.take(ctx); err != nil {
		return err
	}
	defer t.turn.give()
	pause := commitPause
	for attempt := 1; ; attempt++ {
		done, err := n.tryCommit(ctx, t, c, seg, delta, rest)
		switch {
		case done:
			return nil
		case err == nil:
			continue // the tally was not the one we knew
		case attempt == commitAttempts || ctx.Err() != nil,
			!errors.Is(err, job.ErrUnavailable) || errors.Is(err, rpctypes.ErrNoSpace):
			return err
		}
		// Whether it was stored is not known: the next attempt finds out.
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.store.life.Done():
			return err
		}
		pause *= 2
	}
}

// tryCommit is one attempt. It reports false without an error if t was out of date.
func (n *Node) tryCommit(ctx context.Context, t *tally, c Claim, seg job.Segment, delta job.Tally, rest job.Chunk) (bool, error) {
	keys := n.store.keys
	claim, chunk := keys.claim(c.Job, c.Chunk.First), keys.chunk(c.Job, c.Chunk.First)
	segment, tallyKey := keys.segment(c.Job, seg.Row), keys.nodeTally(c.Job, n.name)

	sum := cloneTally(t.sum)
	sum.Add(delta)
	sumValue, err1 := encode(sum)
	segValue, err2 := encode(segmentRecord{seg, c.Fence})
	restValue, err3 := encode(rest)
	if err := errors.Join(err1, err2, err3); err != nil {
		return false, err
	}
	then := []clientv3.Op{clientv3.OpPut(segment, segValue), clientv3.OpPut(tallyKey, sumValue)}
	if rest.Rows == 0 {
		then = append(then, clientv3.OpDelete(chunk), clientv3.OpDelete(claim))
	} else {
		then = append(then, clientv3.OpPut(chunk, restValue))
	}
	resp, err := n.store.txn(ctx,
		[]clientv3.Cmp{created(claim, c.Fence), absent(segment), unchanged(tallyKey, t.revision)},
		then,
		[]clientv3.Op{clientv3.OpGet(claim), clientv3.OpGet(segment), clientv3.OpGet(tallyKey)})
	if err != nil {
		return false, err
	}
	if resp.Succeeded {
		t.sum, t.revision = sum, resp.Header.Revision
		return true, nil
	}
	if err := t.see(found(resp, 2)); err != nil {
		return false, err
	}
	stored := found(resp, 1)
	if stored != nil && string(stored.Value) == segValue {
		return true, nil // an earlier attempt whose answer got lost
	}
	if kv := found(resp, 0); kv == nil || kv.CreateRevision != c.Fence {
		return false, ErrFenced
	}
	if stored != nil {
		return false, errors.New("they were committed under this claim with other outcomes")
	}
	return false, nil
}

// checkCommit guards against mistakes of the runner: a segment that does not
// fit its chunk would be a hole in the report.
func checkCommit(chunk job.Chunk, seg job.Segment, delta job.Tally, rest job.Chunk) error {
	end := seg.Row + seg.Rows
	switch {
	case seg.Row != chunk.Row || seg.Rows <= 0 || seg.Rows > chunk.Rows:
		return fmt.Errorf("segment of %d rows does not begin the %d rows left at row %d", seg.Rows, chunk.Rows, chunk.Row)
	case rest.Rows != chunk.Rows-seg.Rows:
		return fmt.Errorf("%d rows left, not %d", chunk.Rows-seg.Rows, rest.Rows)
	case rest.Rows > 0 && (rest.First != chunk.First || rest.Row != end || rest.File != chunk.File || rest.End != chunk.End || rest.Offset < chunk.Offset || rest.Offset > rest.End):
		return fmt.Errorf("the rest of the chunk does not go on at row %d", end)
	case seg.Succeeded < 0 || seg.Failed < 0 || seg.Skipped < 0 || seg.Succeeded+seg.Failed+seg.Skipped != seg.Rows:
		return fmt.Errorf("%d succeeded, %d failed and %d skipped do not make %d rows", seg.Succeeded, seg.Failed, seg.Skipped, seg.Rows)
	case delta.Succeeded != seg.Succeeded || delta.Failed != seg.Failed:
		return fmt.Errorf("tally of %d succeeded and %d failed for a segment of %d and %d",
			delta.Succeeded, delta.Failed, seg.Succeeded, seg.Failed)
	}
	return nil
}
