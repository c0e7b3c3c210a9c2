package controlapi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

// oneKey knows one access key, the one of the recorded requests.
type oneKey controlapi.Key

func (k oneKey) Lookup(accessKey string) (controlapi.Key, bool) {
	return controlapi.Key(k), accessKey == "AKIDEXAMPLE"
}

func testKey() oneKey { return oneKey{Secret: "secretsecret", Account: account} }

// memJobs keeps jobs in memory and nothing runs them: each is New until a test
// or a call says otherwise.
type memJobs struct {
	now func() time.Time

	mu   sync.Mutex
	jobs []job.Job // by creation
	err  error     // what every call answers instead, if not nil
}

var _ controlapi.Jobs = (*memJobs)(nil)

// add stores a job as it is.
func (m *memJobs) add(j job.Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs = append(m.jobs, j)
}

// fail makes every call answer err from now on.
func (m *memJobs) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// all returns the stored jobs, oldest first.
func (m *memJobs) all() []job.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.jobs)
}

func (m *memJobs) Create(_ context.Context, account, region string, spec job.Spec) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return "", m.err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	for _, j := range m.jobs {
		if j.Account == account && j.Region == region && j.Spec.ClientRequestToken == spec.ClientRequestToken {
			if j.Fingerprint != string(text) {
				return "", job.ErrTokenReused
			}
			return j.ID, nil
		}
	}
	// As a real store does, keep what can be written down and nothing else.
	var stored job.Spec
	if err := json.Unmarshal(text, &stored); err != nil {
		return "", err
	}
	j := job.Job{
		ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", len(m.jobs)+1), Account: account, Region: region,
		Spec: stored, Priority: spec.Priority, Tags: stored.Tags,
		Status: job.New, CreationTime: m.now().UTC(), Fingerprint: string(text),
	}
	m.jobs = append(m.jobs, j)
	return j.ID, nil
}

func (m *memJobs) find(account, region, id string) (*job.Job, error) {
	if m.err != nil {
		return nil, m.err
	}
	for i := range m.jobs {
		if j := &m.jobs[i]; j.ID == id && j.Account == account && j.Region == region {
			return j, nil
		}
	}
	return nil, job.ErrNotFound
}

func (m *memJobs) Job(_ context.Context, account, region, id string) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, err := m.find(account, region, id)
	if err != nil {
		return job.Job{}, err
	}
	return *j, nil
}

func (m *memJobs) List(_ context.Context, account, region string, statuses []job.Status, after job.Cursor, limit int) ([]job.Summary, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, false, m.err
	}
	var all []job.Summary
	for i := range m.jobs {
		s := m.jobs[i].Summary()
		if s.Account == account && s.Region == region &&
			(len(statuses) == 0 || slices.Contains(statuses, s.Status)) &&
			(after == job.Cursor{} || s.Cursor().Compare(after) > 0) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b job.Summary) int { return a.Cursor().Compare(b.Cursor()) })
	return all[:min(limit, len(all))], len(all) > limit, nil
}

func (m *memJobs) SetPriority(_ context.Context, account, region, id string, priority int32) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, err := m.find(account, region, id)
	switch {
	case err != nil:
		return job.Job{}, err
	case j.Status.Terminal():
		return job.Job{}, job.ErrTerminal
	}
	j.Priority = priority
	return *j, nil
}

func (m *memJobs) RequestStatus(_ context.Context, account, region, id string, want job.Status, reason string) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, err := m.find(account, region, id)
	if err != nil {
		return job.Job{}, err
	}
	to, ok := j.Status.Request(want)
	if !ok {
		return job.Job{}, &job.StatusError{From: j.Status, Want: want}
	}
	j.Become(to, m.now())
	j.StatusUpdateReason = cmp.Or(reason, j.StatusUpdateReason)
	return *j, nil
}

func (m *memJobs) SetTags(_ context.Context, account, region, id string, tags []job.Tag) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, err := m.find(account, region, id)
	if err != nil {
		return err
	}
	j.Tags = tags
	return nil
}

// serve starts the API over jobs in memory, on a clock that stands still at now.
func serve(t *testing.T, now time.Time, log slog.Handler) (*httptest.Server, *memJobs) {
	t.Helper()
	clock := func() time.Time { return now }
	jobs := &memJobs{now: clock}
	cfg := controlapi.Config{Jobs: jobs, Keys: testKey(), Now: clock}
	if log != nil {
		cfg.Logger = slog.New(log)
	}
	server := httptest.NewServer(controlapi.New(cfg))
	t.Cleanup(server.Close)
	return server, jobs
}
