package jobstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"stevedore/internal/job"
)

// segmentPage is how many segments are read at once.
const segmentPage = 500

// Work is what there is left to do for a job.
type Work struct {
	Chunks   int64 // that have rows to do
	Claims   int64 // how many of them somebody is at
	Segments int64 // committed
	Covered  int64 // rows that have their outcome
}

// Work reads how much of a job is left and done, all at one revision.
func (s *Store) Work(ctx context.Context, jobID string) (Work, error) {
	count := func(prefix string) clientv3.Op {
		return clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	}
	resp, err := s.txn(ctx, nil, []clientv3.Op{
		count(s.keys.chunks(jobID)),
		count(s.keys.claims(jobID)),
		count(s.keys.segments(jobID)),
		clientv3.OpGet(s.keys.tally(jobID), clientv3.WithPrefix()),
	}, nil)
	if err != nil {
		return Work{}, fmt.Errorf("read work of job %s: %w", jobID, err)
	}
	sum, err := sumTallies(resp.Responses[3].GetResponseRange().Kvs)
	if err != nil {
		return Work{}, fmt.Errorf("read work of job %s: %w", jobID, err)
	}
	return Work{
		Chunks:   resp.Responses[0].GetResponseRange().Count,
		Claims:   resp.Responses[1].GetResponseRange().Count,
		Segments: resp.Responses[2].GetResponseRange().Count,
		Covered:  sum.Executed(),
	}, nil
}

// Segments yields the segments of a job by row, all as of one revision, a page
// in memory at a time. The first error ends it. It may be ranged over again.
//
// A reader that takes longer than old revisions are kept goes on at a newer
// one, which shows the same as long as no segment came or went meanwhile; if
// one did, that is an error.
func (s *Store) Segments(ctx context.Context, jobID string) iter.Seq2[job.Segment, error] {
	return func(yield func(job.Segment, error) bool) {
		if err := s.segments(ctx, jobID, func(seg job.Segment) bool { return yield(seg, nil) }); err != nil {
			yield(job.Segment{}, fmt.Errorf("read segments of job %s: %w", jobID, err))
		}
	}
}

func (s *Store) segments(ctx context.Context, jobID string, yield func(job.Segment) bool) error {
	prefix := s.keys.segments(jobID)
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	var revision, total int64
	for {
		resp, err := s.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(segmentPage), clientv3.WithRev(revision))
		if errors.Is(err, rpctypes.ErrCompacted) {
			if revision, err = s.segmentsSince(ctx, prefix, total); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if revision == 0 {
			revision, total = resp.Header.Revision, resp.Count
		}
		for _, kv := range resp.Kvs {
			var seg segmentRecord
			if err := decode(kv, &seg); err != nil {
				return err
			}
			if !yield(seg.Segment) {
				return nil
			}
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// segmentsSince returns the revision now if there are still as many segments.
// They are written once and deleted all together, so they are the same ones.
func (s *Store) segmentsSince(ctx context.Context, prefix string, total int64) (int64, error) {
	resp, err := s.get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	if resp.Count != total {
		return 0, fmt.Errorf("there were %d segments, now there are %d", total, resp.Count)
	}
	return resp.Header.Revision, nil
}
