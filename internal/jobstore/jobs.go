package jobstore

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"stevedore/internal/job"
)

const secretSize = 32

// loadSecret reads the secret that job IDs are made with, or makes it.
func (s *Store) loadSecret(ctx context.Context) ([]byte, error) {
	fresh := make([]byte, secretSize)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	key := s.keys.secret()
	resp, err := s.txn(ctx,
		[]clientv3.Cmp{absent(key)},
		[]clientv3.Op{clientv3.OpPut(key, string(fresh)), clientv3.OpGet(key)},
		[]clientv3.Op{clientv3.OpGet(key), clientv3.OpGet(key)})
	if err != nil {
		return nil, err
	}
	secret := found(resp, 1)
	if secret == nil || len(secret.Value) != secretSize {
		return nil, fmt.Errorf("%s holds no secret", key)
	}
	return secret.Value, nil
}

// JobID is the ID of the job that account makes in region with the client
// request token: the same for the same three, and not to be guessed from
// outside. It has the form of a random UUID.
func (s *Store) JobID(account, region, token string) string {
	h := hmac.New(sha256.New, s.secret)
	// An account and a region have no zero bytes, so nothing else adds up to the same text.
	fmt.Fprintf(h, "%s\x00%s\x00%s", account, region, token)
	id := h.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// Create stores j unless there is a job of its account and ID: then it returns
// that one and false. IDs are those of JobID, different in all accounts. After an error the job may exist; the same call may be
// repeated.
func (s *Store) Create(ctx context.Context, j job.Job) (stored job.Job, isNew bool, err error) {
	if err := errors.Join(checkName("account", j.Account), checkName("job", j.ID)); err != nil {
		return job.Job{}, false, err
	}
	value, err := encode(j)
	if err != nil {
		return job.Job{}, false, err
	}
	key := s.keys.job(j.Account, j.ID)
	resp, err := s.txn(ctx,
		[]clientv3.Cmp{absent(key)},
		[]clientv3.Op{clientv3.OpPut(key, value), clientv3.OpGet(key)},
		[]clientv3.Op{clientv3.OpGet(key), clientv3.OpGet(key)})
	if err != nil {
		return job.Job{}, false, fmt.Errorf("create job: %w", err)
	}
	kv := found(resp, 1)
	if stored, err = decodeJob(kv); err != nil {
		return job.Job{}, false, fmt.Errorf("create job: %w", err)
	}
	s.index.wait(ctx, s.life, kv.ModRevision)
	return stored, resp.Succeeded, nil
}

// Job reads a job with its tally as of now, or returns job.ErrNotFound.
func (s *Store) Job(ctx context.Context, account, id string) (job.Job, error) {
	r, err := s.read(ctx, account, id)
	if err != nil {
		return job.Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	return r.job, nil
}

// reading is a job as it was at one revision of the store.
type reading struct {
	job   job.Job
	value string // of the record
	at    int64  // revision of the store
}

func (s *Store) read(ctx context.Context, account, id string) (reading, error) {
	resp, err := s.txn(ctx, nil, []clientv3.Op{
		clientv3.OpGet(s.keys.job(account, id)),
		clientv3.OpGet(s.keys.tally(id), clientv3.WithPrefix()),
	}, nil)
	if err != nil {
		return reading{}, err
	}
	kv := found(resp, 0)
	if kv == nil {
		return reading{}, job.ErrNotFound
	}
	r := reading{value: string(kv.Value), at: resp.Header.Revision}
	if r.job, err = decodeJob(kv); err != nil {
		return reading{}, err
	}
	if !r.job.Status.Terminal() {
		sum, err := sumTallies(resp.Responses[1].GetResponseRange().Kvs)
		if err != nil {
			return reading{}, err
		}
		r.job.Tally = &sum
	}
	return r, nil
}

func sumTallies(kvs []*mvccpb.KeyValue) (job.Tally, error) {
	var sum job.Tally
	for _, kv := range kvs {
		var t job.Tally
		if err := decode(kv, &t); err != nil {
			return job.Tally{}, err
		}
		sum.Add(t)
	}
	return sum, nil
}

// Update changes a job: it reads it, hands it to change and stores the outcome
// unless somebody else stored one meanwhile; then it starts over, so change may
// be called again. An error of change ends it and is returned, wrapped. A
// change that changes nothing writes nothing.
//
// A status that becomes terminal takes the sum of all tallies into the record
// and, in the same transaction, deletes everything else that is stored about
// the job. The Tally that change is given is for reading: what it sets is ignored.
// A status change that the table forbids is an error, as is one of identity.
func (s *Store) Update(ctx context.Context, account, id string, change func(*job.Job) error) (job.Job, error) {
	for { // somebody else has got on whenever this goes round
		r, err := s.read(ctx, account, id)
		if err != nil {
			return job.Job{}, fmt.Errorf("update job %s: %w", id, err)
		}
		j, done, err := s.tryUpdate(ctx, r, change)
		if err != nil {
			return job.Job{}, fmt.Errorf("update job %s: %w", id, err)
		}
		if done {
			return j, nil
		}
	}
}

// tryUpdate is one round of Update. It reports false if the job was changed meanwhile.
func (s *Store) tryUpdate(ctx context.Context, r reading, change func(*job.Job) error) (job.Job, bool, error) {
	old, j := r.job, r.job
	if old.Tally != nil {
		tally := cloneTally(*old.Tally)
		j.Tally = &tally
	}
	if err := change(&j); err != nil {
		return job.Job{}, false, err
	}
	if err := checkUpdate(&old, &j); err != nil {
		return job.Job{}, false, err
	}
	record := j
	record.Tally = nil
	if j.Status.Terminal() {
		record.Tally = old.Tally
	}
	value, err := encode(record)
	if err != nil {
		return job.Job{}, false, err
	}
	j.Tally = old.Tally
	if value == r.value {
		return j, true, nil
	}
	key := s.keys.job(old.Account, old.ID)
	when := []clientv3.Cmp{unchanged(key, old.Revision)}
	then := []clientv3.Op{clientv3.OpPut(key, value)}
	if j.Status.Terminal() && !old.Status.Terminal() {
		// No tally may have moved since they were summed.
		when = append(when, clientv3.Compare(clientv3.ModRevision(s.keys.tally(old.ID)), "<", r.at+1).WithPrefix())
		then = append(then, s.deleteRest(old.ID)...)
	}
	resp, err := s.txn(ctx, when, then, nil)
	if err != nil || !resp.Succeeded {
		return job.Job{}, false, err
	}
	j.Revision = resp.Header.Revision
	s.index.wait(ctx, s.life, j.Revision)
	return j, true, nil
}

// checkUpdate guards against mistakes of the caller.
func checkUpdate(old, j *job.Job) error {
	if j.Account != old.Account || j.ID != old.ID || j.Region != old.Region || !j.CreationTime.Equal(old.CreationTime) {
		return errors.New("the identity of a job cannot change")
	}
	if j.Status != old.Status && !old.Status.CanBecome(j.Status) {
		return &job.StatusError{From: old.Status, Want: j.Status}
	}
	return nil
}

// deleteRest deletes all that is stored about a job but its record.
func (s *Store) deleteRest(id string) []clientv3.Op {
	return []clientv3.Op{
		deletePrefix(s.keys.chunks(id)),
		deletePrefix(s.keys.claims(id)),
		deletePrefix(s.keys.segments(id)),
		deletePrefix(s.keys.tally(id)),
		deletePrefix(s.keys.generation(id)),
		clientv3.OpDelete(s.keys.plan(id)),
		clientv3.OpDelete(s.keys.owner(id)),
	}
}

// Delete forgets a job altogether. A job that is not there is fine.
func (s *Store) Delete(ctx context.Context, account, id string) error {
	ops := append([]clientv3.Op{clientv3.OpDelete(s.keys.job(account, id))}, s.deleteRest(id)...)
	resp, err := s.txn(ctx, nil, ops, nil)
	if err != nil {
		return fmt.Errorf("delete job %s: %w", id, err)
	}
	if resp.Responses[0].GetResponseDeleteRange().Deleted > 0 {
		s.index.wait(ctx, s.life, resp.Header.Revision)
	}
	return nil
}

// cloneTally copies t, so that adding to the copy leaves t alone.
func cloneTally(t job.Tally) job.Tally {
	t.Codes = maps.Clone(t.Codes)
	return t
}
