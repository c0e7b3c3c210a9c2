package schedule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"stevedore/internal/job"
)

// Records is what the Desk needs of the job store.
type Records interface {
	JobID(account, region, token string) string
	Create(ctx context.Context, j job.Job) (stored job.Job, created bool, err error)
	Job(ctx context.Context, account, id string) (job.Job, error)
	Update(ctx context.Context, account, id string, change func(*job.Job) error) (job.Job, error)
	List(account, region string, statuses []job.Status, after job.Cursor, limit int) ([]job.Summary, bool)
}

// Roles knows which roles jobs may be given.
type Roles interface {
	// Allowed returns a *job.DeniedError if jobs of account may not use role, or if
	// who asks for it with ctx may not have them use it.
	Allowed(ctx context.Context, account, role string) error
}

// Desk takes the orders of users: it creates jobs, shows them and changes what a
// user may change. Everything it answers is durable.
type Desk struct {
	records Records
	roles   Roles
	logger  *slog.Logger
	now     func() time.Time
}

// NewDesk returns a Desk over records.
func NewDesk(records Records, roles Roles, logger *slog.Logger) *Desk {
	return &Desk{records: records, roles: roles, logger: logger, now: time.Now}
}

// Create makes a job of spec, which is valid, or finds the one that the same
// client token made before: with the same request it answers that job's id, with
// another job.ErrTokenReused. A role that may not be used is a *job.DeniedError.
func (d *Desk) Create(ctx context.Context, account, region string, spec job.Spec) (string, error) {
	if err := d.roles.Allowed(ctx, account, spec.RoleArn); err != nil {
		return "", err
	}
	digest, err := fingerprint(&spec)
	if err != nil {
		return "", err
	}
	stored, created, err := d.records.Create(ctx, job.Job{
		ID:           d.records.JobID(account, region, spec.ClientRequestToken),
		Account:      account,
		Region:       region,
		Spec:         spec,
		Priority:     spec.Priority,
		Tags:         spec.Tags,
		Status:       job.New,
		CreationTime: d.now().UTC().Truncate(time.Millisecond),
		Fingerprint:  digest,
	})
	if err != nil {
		return "", fmt.Errorf("create job: %w", err)
	}
	if created {
		d.logger.InfoContext(ctx, "job created", "job_id", stored.ID, "operation", string(spec.Operation.Name()))
	} else if stored.Fingerprint != digest {
		return "", job.ErrTokenReused
	}
	return stored.ID, nil
}

// fingerprint is a digest of the parsed request: two requests that mean the same
// have the same one, whatever the order of their elements.
func fingerprint(spec *job.Spec) (string, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("fingerprint request: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Job returns a job with the sums of its outcomes so far, or job.ErrNotFound.
func (d *Desk) Job(ctx context.Context, account, region, id string) (job.Job, error) {
	j, err := d.records.Job(ctx, account, id)
	if err != nil {
		return job.Job{}, err
	}
	if j.Region != region {
		return job.Job{}, job.ErrNotFound // jobs are per Region (api.md section 1.2)
	}
	return j, nil
}

// List returns at most limit jobs behind after, the newest first, and whether
// there are more. No statuses means all.
func (d *Desk) List(_ context.Context, account, region string, statuses []job.Status, after job.Cursor, limit int) ([]job.Summary, bool, error) {
	page, more := d.records.List(account, region, statuses, after, limit)
	return page, more, nil
}

// SetPriority changes the priority of a job that has not ended (job.ErrTerminal).
func (d *Desk) SetPriority(ctx context.Context, account, region, id string, priority int32) (job.Job, error) {
	return d.update(ctx, account, region, id, func(j *job.Job) error {
		if j.Status.Terminal() {
			return job.ErrTerminal
		}
		j.Priority = priority
		return nil
	})
}

// RequestStatus confirms (Ready) or cancels (Cancelled) a job. Where its status
// does not allow that, the error is a *job.StatusError.
func (d *Desk) RequestStatus(ctx context.Context, account, region, id string, want job.Status, reason string) (job.Job, error) {
	return d.update(ctx, account, region, id, func(j *job.Job) error {
		to, ok := j.Status.Request(want)
		if !ok {
			return &job.StatusError{From: j.Status, Want: want}
		}
		if to == j.Status {
			return nil // asked again: nothing to change, not even the reason
		}
		from := j.Status
		if !j.Become(to, d.now()) {
			return &job.StatusError{From: from, Want: want}
		}
		if reason != "" {
			j.StatusUpdateReason = reason
		}
		return nil
	})
}

// SetTags replaces the tags of a job, in whatever status it is.
func (d *Desk) SetTags(ctx context.Context, account, region, id string, tags []job.Tag) error {
	_, err := d.update(ctx, account, region, id, func(j *job.Job) error {
		j.Tags = tags
		return nil
	})
	return err
}

func (d *Desk) update(ctx context.Context, account, region, id string, change func(*job.Job) error) (job.Job, error) {
	var from job.Status
	j, err := d.records.Update(ctx, account, id, func(j *job.Job) error {
		if j.Region != region {
			return job.ErrNotFound
		}
		from = j.Status
		return change(j)
	})
	if err == nil && j.Status != from {
		logStatus(d.logger, &j, from)
	}
	return j, err
}

func logStatus(l *slog.Logger, j *job.Job, from job.Status) {
	attrs := []any{slog.String("job_id", j.ID), slog.String("from", string(from)), slog.String("to", string(j.Status))}
	if n := len(j.FailureReasons); n > 0 {
		attrs = append(attrs, slog.String("failure_code", j.FailureReasons[n-1].FailureCode), slog.String("failure_reason", j.FailureReasons[n-1].FailureReason))
	}
	l.Info("job status changed", attrs...)
}
