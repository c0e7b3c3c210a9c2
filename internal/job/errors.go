package job

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that there is no such job, or it is another account's or Region's.
	ErrNotFound = errors.New("the specified job does not exist")
	// ErrTokenReused says that the client token made another job from a different request.
	ErrTokenReused = errors.New("the client request token was used before with a different request")
	// ErrTerminal says that the job has ended and cannot be changed any more.
	ErrTerminal = errors.New("the job has ended")
	// ErrUnavailable says that the job store cannot take writes now; nothing was changed,
	// or the same call may be repeated safely.
	ErrUnavailable = errors.New("the job store is not available")
)

// StatusError says that a job in From cannot be moved to Want.
type StatusError struct{ From, Want Status }

func (e *StatusError) Error() string {
	return fmt.Sprintf("a job in status %s cannot be set to %s", e.From, e.Want)
}

// DeniedError says that the caller may not do this; Message is for the caller.
type DeniedError struct{ Message string }

func (e *DeniedError) Error() string { return e.Message }

// FailedError says that a job, not a task, has to fail, and why.
type FailedError struct {
	Reason FailureReason
	Err    error // what was behind it; nil if the reason says it all
}

func (e *FailedError) Error() string { return e.Reason.FailureCode + ": " + e.Reason.FailureReason }

func (e *FailedError) Unwrap() error { return e.Err }
