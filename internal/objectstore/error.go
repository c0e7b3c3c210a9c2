package objectstore

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Error is what every call but Do fails with.
type Error struct {
	Op          string // the S3 call, such as "GetObject"
	Bucket, Key string
	Status      int // HTTP status; 0: no answer
	// Code, Message and RequestID are the store's. An answer without a body has the code of its status, such as NotFound.
	Code, Message, RequestID string
	Err                      error // all there is to know; nil if the answer is
	Attempts                 int   // made, of calls through a Client; else 0

	interrupted bool
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s: ", e.Op, e.Bucket, e.Key)
	if e.Status == 0 && e.Err != nil {
		fmt.Fprint(&b, e.Err)
		return b.String()
	}
	fmt.Fprintf(&b, "%d %s", e.Status, e.Code)
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// NotFound reports whether err says that the bucket, the object or the version is not there.
func NotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// AccessDenied reports whether err says that the credentials do not suffice, whatever the reason.
func AccessDenied(err error) bool { return hasStatus(err, http.StatusForbidden) }

// BadRequest reports whether err says that the request is wrong, or, as stores also put it, that the credentials have
// expired: an answer to HEAD has no code that would tell which.
func BadRequest(err error) bool { return hasStatus(err, http.StatusBadRequest) }

// PreconditionFailed reports whether err says that the object is not the one that was meant: its ETag differs.
func PreconditionFailed(err error) bool { return hasStatus(err, http.StatusPreconditionFailed) }

// NotImplemented reports whether err says that the store has no such call.
func NotImplemented(err error) bool {
	return hasStatus(err, http.StatusNotImplemented) || hasStatus(err, http.StatusMethodNotAllowed)
}

// Refused reports whether err says that the store has answered for good: asking again will not help. It has not if it is
// out of order for a while or wants to be asked less often, whatever status it gives that, if the credentials have expired,
// since they are about to be renewed, and if there was no answer at all.
func Refused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status < 300 || e.Status >= 500 || judge(0, e.Code) != final {
		return false
	}
	return e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

// Interrupted reports whether err says that a call through a Client ended without a final answer, because its context
// ended or the store was closed: it may or may not have had its effect. See [Result.Interrupted].
func Interrupted(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.interrupted
}

func hasStatus(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == status
}

// failure makes an Error of what the opening or the reading of an object failed with.
func (s *Store) failure(op, bucket, key string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Op == op {
		return err
	}
	if s.closed.Err() != nil {
		err = errors.Join(ErrClosed, err)
	}
	return &Error{Op: op, Bucket: bucket, Key: key, Err: err}
}
