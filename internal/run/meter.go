package run

import (
	"sync/atomic"

	"stevedore/internal/job"
)

// Meter counts the outcomes of one job as they happen, committed or not, and
// says when too many have failed. It starts from what is committed already.
type Meter struct {
	succeeded, failed atomic.Int64
	tripped           atomic.Bool
	trip              func()
}

// NewMeter returns a meter that stands at t. It calls trip at most once, when the
// failure threshold is passed: on a worker's goroutine, or here and now if t has
// passed it. trip must not block.
func NewMeter(t job.Tally, trip func()) *Meter {
	m := &Meter{trip: trip}
	m.succeeded.Store(t.Succeeded)
	m.failed.Store(t.Failed)
	m.check(t.Succeeded, t.Failed)
	return m
}

// count takes in one outcome. The threshold can only be passed by a failure, or
// by the task that makes the number of executed tasks large enough.
func (m *Meter) count(failed bool) {
	var s, f int64
	if failed {
		f, s = m.failed.Add(1), m.succeeded.Load()
	} else {
		s, f = m.succeeded.Add(1), m.failed.Load()
	}
	if failed || s+f == job.ThresholdTasks {
		m.check(s, f)
	}
}

func (m *Meter) check(succeeded, failed int64) {
	if job.OverThreshold(succeeded, failed) && !m.tripped.Swap(true) {
		m.trip()
	}
}
