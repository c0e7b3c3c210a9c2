package controlapi

import (
	"context"
	"errors"
	"net/http"

	"stevedore/internal/controlapi/restxml"
	"stevedore/internal/controlapi/sigv4"
	"stevedore/internal/job"
)

// Codes of Error besides those of a signature: the shape names of the model,
// which clients turn into typed exceptions, and what S3 says where it has none.
const (
	BadRequest       = "BadRequestException"
	Idempotency      = "IdempotencyException"
	InternalService  = "InternalServiceException"
	InvalidNextToken = "InvalidNextTokenException"
	InvalidRequest   = "InvalidRequestException" // ListJobs
	InvalidTag       = "InvalidTag"
	JobStatus        = "JobStatusException"
	MethodNotAllowed = "MethodNotAllowed"
	NoSuchKey        = "NoSuchKey"
	NotFound         = "NotFoundException"
	SlowDown         = "SlowDown"
	TooManyTags      = "TooManyTagsException"
)

// Error is an answer the caller may see. Err is for the log only.
type Error struct {
	Code    string
	Message string
	Err     error
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func (e *Error) Unwrap() error { return e.Err }

// status is the HTTP status of a code. NotFoundException has 400 in AWS's
// reference; every client takes 404 the same, and so do proxies and people.
func (e *Error) status() int {
	switch e.Code {
	case BadRequest, Idempotency, InvalidNextToken, InvalidRequest, InvalidTag, JobStatus, TooManyTags,
		sigv4.AuthorizationHeaderMalformed, sigv4.InvalidRequest, sigv4.InvalidToken:
		return http.StatusBadRequest
	case sigv4.AccessDenied, sigv4.InvalidAccessKeyID, sigv4.MissingAuthenticationToken,
		sigv4.RequestTimeTooSkewed, sigv4.SignatureDoesNotMatch:
		return http.StatusForbidden
	case NotFound, NoSuchKey:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case SlowDown:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// faultOf makes what the caller of c may see of any error.
func faultOf(err error, c call) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		return &Error{Code: e.Code, Message: e.Message}
	}
	if e, ok := errors.AsType[*job.InvalidError](err); ok {
		return &Error{Code: c.invalid, Message: e.Error()}
	}
	if e, ok := errors.AsType[*job.StatusError](err); ok {
		return &Error{Code: JobStatus, Message: e.Error()}
	}
	if e, ok := errors.AsType[*job.DeniedError](err); ok {
		return &Error{Code: sigv4.AccessDenied, Message: e.Message}
	}
	switch {
	case errors.Is(err, job.ErrNotFound):
		return &Error{Code: NotFound, Message: job.ErrNotFound.Error()}
	case errors.Is(err, job.ErrTokenReused):
		return &Error{Code: Idempotency, Message: "ClientRequestToken: " + job.ErrTokenReused.Error()}
	case errors.Is(err, job.ErrTerminal):
		return &Error{Code: c.invalid, Message: job.ErrTerminal.Error() + " and cannot be changed any more"}
	case errors.Is(err, job.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{Code: SlowDown, Message: "the job store cannot answer now; repeat the call", Err: err}
	default:
		return &Error{Code: InternalService, Message: "an internal error; its cause is in the server's log under this request id", Err: err}
	}
}

// document is the error in the wrapped form: the flat form of S3 would reach
// the Go SDK as UnknownError.
func (e *Error) document(requestID, hostID string) []byte {
	type detail struct{ Type, Code, Message string }
	blame := "Sender"
	if e.status() >= http.StatusInternalServerError {
		blame = "Receiver"
	}
	return restxml.Marshal("ErrorResponse", struct {
		Error     detail
		RequestId string //nolint:revive // the API's spelling
		HostId    string //nolint:revive // the API's spelling
	}{detail{blame, e.Code, e.Message}, requestID, hostID})
}
