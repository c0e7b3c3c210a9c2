package generate

import (
	"context"
	"fmt"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// Failed is the failure of a job whose manifest could not be generated because of err, however often that was tried.
func Failed(err error) error {
	return failed(CodeFailed, "The manifest cannot be generated: "+err.Error(), err)
}

func failed(code, text string, err error) error {
	return &job.FailedError{Reason: job.Fail(code, text), Err: err}
}

// nobody and nobodyElse are accounts that own no bucket: their numbers are not given out.
const (
	nobody     = "000000000000"
	nobodyElse = "000000000001"
)

// look asks for one key, so that a bucket that is not there or not open fails the job at once. It reports whether the store
// takes no notice of the owner that is expected.
func (r *run) look(ctx context.Context) (loose bool, err error) {
	var page objectstore.ListPage
	q := objectstore.ListQuery{Bucket: r.bucket, Prefix: r.filter.prefix, MaxKeys: 1, ExpectedBucketOwner: r.job.Generator.ExpectedBucketOwner}
	if err := r.job.Source.ListPage(ctx, q, &page); err != nil {
		return false, r.unlisted(ctx, err)
	}
	if q.ExpectedBucketOwner == "" {
		return false, nil
	}
	if q.ExpectedBucketOwner == nobody {
		q.ExpectedBucketOwner = nobodyElse
	} else {
		q.ExpectedBucketOwner = nobody
	}
	switch err := r.job.Source.ListPage(ctx, q, &page); {
	case err == nil:
		return true, nil
	case refused(err):
		return false, nil
	default:
		return false, r.unlisted(ctx, err)
	}
}

// unlisted says what becomes of a job whose bucket cannot be listed because of err.
func (r *run) unlisted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	owner := r.job.Generator.ExpectedBucketOwner
	switch {
	case objectstore.NotFound(err):
		return failed(CodeFailed, "The source bucket "+r.bucket+" does not exist.", err)
	case objectstore.AccessDenied(err) && owner != "":
		// S3 gives the same answer for what may not be read and for another's bucket.
		var page objectstore.ListPage
		q := objectstore.ListQuery{Bucket: r.bucket, Prefix: r.filter.prefix, MaxKeys: 1}
		if r.job.Source.ListPage(ctx, q, &page) == nil {
			return failed(CodeNotOwner, "The source bucket "+r.bucket+" does not belong to the account "+owner+" that ExpectedBucketOwner names.", err)
		}
		fallthrough
	case objectstore.AccessDenied(err):
		return failed(CodeFailed, "Listing the source bucket "+r.bucket+" is forbidden: AccessDenied", err)
	case refused(err):
		return failed(CodeFailed, "The source bucket "+r.bucket+" cannot be listed: "+err.Error(), err)
	}
	return fmt.Errorf("generate manifest: %w", err)
}

// unwritten says what becomes of a job whose manifest cannot be written because of err.
func (r *run) unwritten(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case refused(err):
		return failed(CodeFailed, "The generated manifest cannot be written to the bucket "+r.job.Depot.At("").Bucket+": "+err.Error(), err)
	}
	return fmt.Errorf("generate manifest: %w", err)
}

// refused reports whether the store has answered for good.
func refused(err error) bool { return objectstore.Refused(err) }
