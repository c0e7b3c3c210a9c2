package source

import (
	"context"
	"errors"
	"fmt"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

// Failure says what becomes of a job whose list cannot be read because of err: a *job.FailedError,
// which fails it, where the content is bad (err then wraps a [*manifest.Error]) or the store has refused
// for good. Otherwise reading may be tried again: Failure returns the cause of ctx if that has
// ended, and else err, wrapped. A *job.FailedError stays what it is. Source of the texts: states.md section 7.
func Failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if already, ok := errors.AsType[*job.FailedError](err); ok {
		return already
	}
	if bad, ok := errors.AsType[*manifest.Error](err); ok {
		return failed(bad.Code, bad.Reason, err)
	}
	switch {
	case objectstore.PreconditionFailed(err):
		return failed(job.CodeManifestChanged, "The manifest was changed while it was read. Create the job again with the manifest's present ETag."+at(err), err)
	case objectstore.NotFound(err):
		return failed(job.CodeManifestNotFound, "The manifest, or a file of it, does not exist: "+err.Error(), err)
	case objectstore.AccessDenied(err):
		return failed(job.CodeManifestForbidden, "Reading the manifest is forbidden: AccessDenied"+at(err), err)
	case objectstore.Refused(err):
		return Unreadable(err)
	default:
		return fmt.Errorf("read manifest: %w", err)
	}
}

// at names the object that err is about: of a list of several files it may be any.
func at(err error) string {
	if e, ok := errors.AsType[*objectstore.Error](err); ok && e.Key != "" {
		return " (" + e.Bucket + "/" + e.Key + ")"
	}
	return ""
}

// Unreadable is the failure of a job whose list cannot be read at all because of err, such as that
// its store has no credentials.
func Unreadable(err error) error {
	return failed(job.CodeManifestUnreadable, "The manifest cannot be read: "+err.Error(), err)
}

func failed(code, text string, err error) error {
	return &job.FailedError{Reason: job.Fail(code, text), Err: err}
}
