package jobstore

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// filePage is how many files of a generation are read at once.
const filePage = 1_000

// PutGeneration stores how far generating the manifest of a job has come: state in
// place of the one before and, together with it, what there is to know of more
// files, by name, at most MaxChunks. It may be repeated. It returns ErrFenced if the
// ownership is gone or the job is no longer Preparing.
func (n *Node) PutGeneration(ctx context.Context, own Ownership, state json.RawMessage, files map[string]json.RawMessage) error {
	if len(files) > MaxChunks {
		return fmt.Errorf("store generation of job %s: %d files at once, at most %d", own.Job, len(files), MaxChunks)
	}
	keys := n.store.keys
	ops := []clientv3.Op{clientv3.OpPut(keys.generationState(own.Job), string(state))}
	for name, file := range files {
		ops = append(ops, clientv3.OpPut(keys.generationFile(own.Job, name), string(file)))
	}
	if err := n.prepare(ctx, own, ops); err != nil {
		return fmt.Errorf("store generation of job %s: %w", own.Job, err)
	}
	return nil
}

// Generation reads the state that PutGeneration stored last, nil if none was.
func (s *Store) Generation(ctx context.Context, jobID string) (json.RawMessage, error) {
	resp, err := s.get(ctx, s.keys.generationState(jobID))
	if err != nil {
		return nil, fmt.Errorf("read generation of job %s: %w", jobID, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	return resp.Kvs[0].Value, nil
}

// GenerationFiles yields what was stored of every file, a page in memory at a time.
// The first error ends it.
func (s *Store) GenerationFiles(ctx context.Context, jobID string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		prefix := s.keys.generationFiles(jobID)
		from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
		for {
			resp, err := s.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(filePage))
			if err != nil {
				yield(nil, fmt.Errorf("read generation of job %s: %w", jobID, err))
				return
			}
			for _, kv := range resp.Kvs {
				if !yield(kv.Value, nil) {
					return
				}
			}
			if !resp.More {
				return
			}
			from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		}
	}
}
