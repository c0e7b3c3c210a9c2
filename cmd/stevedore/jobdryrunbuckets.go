package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// written is something that a job would write for its user.
type written struct {
	At      string // s3:// URL of the folder
	Checked bool   // its bucket was looked for, and is there
	Answer  string `json:",omitempty"` // of the store, if that could not be told
}

// text is w for people.
func (w *written) text() string {
	if w.Checked {
		return w.At + "  (the bucket is there; that it may be written to is not checked)"
	}
	return w.At + "  (not checked: the store answers " + w.Answer + " to a listing)"
}

// copies is what a job writes for its tasks.
const copies = "copies"

// checkBuckets looks for the buckets that the job writes to, and its copies if it
// makes any. Nothing is written there, so this tells of a missing bucket only.
func (d *dryRun) checkBuckets(ctx context.Context, access *objectstore.Access, spec *job.Spec) (err error) {
	if r := spec.Report; r.Enabled {
		d.Report, err = lookAt(ctx, access, "report", r.Bucket, r.Prefix, r.ExpectedBucketOwner)
		if err != nil {
			return err
		}
	}
	if g := spec.ManifestGenerator; g != nil && g.S3JobManifestGenerator.EnableManifestOutput {
		out := g.S3JobManifestGenerator.ManifestOutputLocation
		d.ManifestOutput, err = lookAt(ctx, access, "generated manifest", out.Bucket, out.ManifestPrefix, out.ExpectedManifestBucketOwner)
		if err != nil {
			return err
		}
	}
	if c := spec.Operation.S3PutObjectCopy; c != nil {
		d.Target, err = lookAt(ctx, access, copies, c.TargetResource, c.TargetKeyPrefix, "")
	}
	return err
}

// lookAt asks for one key of the bucket of that ARN, where what is to be written. The
// error is a *problem if there is no such bucket.
func lookAt(ctx context.Context, access *objectstore.Access, what, arn, prefix, owner string) (*written, error) {
	bucket := arn[strings.LastIndexByte(arn, ':')+1:]
	w := &written{At: "s3://" + bucket + "/" + prefix}
	err := access.ListPage(ctx, objectstore.ListQuery{Bucket: bucket, Prefix: prefix, MaxKeys: 1, ExpectedBucketOwner: owner}, &objectstore.ListPage{})
	e, ok := errors.AsType[*objectstore.Error](err)
	switch {
	case err == nil:
		w.Checked = true
		return w, nil
	case objectstore.NotFound(err):
		fails := "the job"
		if what == copies {
			fails = "every task"
		}
		return nil, &problem{
			what: fmt.Sprintf("%s would fail: there is no bucket %s for its %s", fails, bucket, what),
			why:  printable(err.Error()), try: "to create the bucket, or name another one in the request", code: exitInvalid, err: err,
		}
	case !ok || e.Status == 0: // nobody has answered
		return nil, err
	}
	w.Answer = strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, e.Code))
	return w, nil
}
