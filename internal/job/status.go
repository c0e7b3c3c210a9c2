package job

import "slices"

// Status says where a job is in its life; the names are the API's.
type Status string

// The thirteen statuses of the API model.
const (
	New        Status = "New"        // accepted, nothing done yet
	Preparing  Status = "Preparing"  // the manifest is read, checked and counted
	Suspended  Status = "Suspended"  // planned, waits for the user's confirmation
	Ready      Status = "Ready"      // may run, waits for capacity
	Active     Status = "Active"     // tasks run
	Pausing    Status = "Pausing"    // a job of higher priority takes over
	Paused     Status = "Paused"     // waits for that job
	Completing Status = "Completing" // every task has its outcome, the report is written
	Complete   Status = "Complete"   // every task was attempted, failed or not
	Cancelling Status = "Cancelling" // running tasks end, no new ones start
	Cancelled  Status = "Cancelled"
	Failing    Status = "Failing" // as Cancelling, because of an error of the job itself
	Failed     Status = "Failed"
)

// Statuses lists every status, in the order a job may pass through them.
func Statuses() []Status {
	return []Status{
		New, Preparing, Suspended, Ready, Active, Pausing, Paused,
		Completing, Complete, Cancelling, Cancelled, Failing, Failed,
	}
}

// Values names the legal values, for Check.
func (Status) Values() []string { return names(Statuses()) }

// next says where a job may go from s. A status without successors is final.
// Source: states.md section 2; what that leaves open is decided here:
// a job without work left that is cancelled ends at once, one that holds a
// planner or tasks drains through Cancelling; Completing cannot be cancelled.
func (s Status) next() []Status {
	switch s {
	case New:
		return []Status{Preparing, Failing, Failed, Cancelled}
	case Preparing:
		return []Status{Suspended, Ready, Failing, Failed, Cancelling}
	case Suspended:
		return []Status{Ready, Failed, Cancelled}
	case Ready:
		return []Status{Active, Failing, Failed, Cancelled}
	case Active:
		return []Status{Pausing, Completing, Failing, Cancelling}
	case Pausing:
		return []Status{Paused, Failing, Cancelling}
	case Paused:
		return []Status{Active, Failing, Cancelling}
	case Completing:
		return []Status{Complete, Failing}
	case Cancelling:
		return []Status{Cancelled, Failing}
	case Failing:
		return []Status{Failed}
	default:
		return nil
	}
}

// CanBecome reports whether a job may go from s to t in one step.
func (s Status) CanBecome(t Status) bool { return slices.Contains(s.next(), t) }

// Terminal reports whether a job in s is over for good.
func (s Status) Terminal() bool { return s == Complete || s == Cancelled || s == Failed }

// Planned reports whether a job in s has been counted and cut into chunks and
// has not ended: what the scheduler may still find chunks of.
func (s Status) Planned() bool {
	switch s {
	case Suspended, Ready, Active, Pausing, Paused, Completing, Cancelling, Failing:
		return true
	default:
		return false
	}
}

// Runnable reports whether chunks of a job in s may be claimed.
func (s Status) Runnable() bool { return s == Ready || s == Active }

// Request is the answer to UpdateJobStatus: where a job in s goes when a user
// asks for want, which is Ready or Cancelled. ok is false where the API answers
// JobStatusException. A request that is already fulfilled keeps the status and
// is fine, so that a client may safely repeat it. Source: states.md section 2.
func (s Status) Request(want Status) (to Status, ok bool) {
	switch {
	case want == Ready && s == Suspended:
		return Ready, true
	case want == Ready && s == Ready:
		return Ready, true
	case want != Cancelled:
		return s, false
	}
	switch s {
	case New, Suspended, Ready:
		return Cancelled, true
	case Preparing, Active, Pausing, Paused:
		return Cancelling, true
	case Cancelling, Cancelled:
		return s, true
	default: // Completing, Complete, Failing, Failed
		return s, false
	}
}

func names[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
