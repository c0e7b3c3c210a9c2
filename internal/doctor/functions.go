package doctor

import (
	"context"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/operation"
)

const lambdaName = "LambdaInvoke"

// function is a job with a built-in function. Functions of the user's own have
// nothing to do with the store.
func function(name string, arguments map[string]string) job.Operation {
	return job.Operation{LambdaInvoke: &job.LambdaInvoke{
		FunctionArn: "arn:aws:lambda:us-east-1:123456789012:function:" + name, InvocationSchemaVersion: "2.0", UserArguments: arguments,
	}}
}

func (e *exam) functions(ctx context.Context) {
	e.progress(lambdaName)
	e.try(ctx, &trial{
		operation: lambdaName, parameter: "stevedore-head-object", op: function("stevedore-head-object", nil),
		effect: func(_ context.Context, _ *exam, _ *patient, out job.Outcome) verdict {
			if strings.HasPrefix(out.Message, "{") {
				return works("")
			}
			return ignored("nothing is told")
		},
	})
	e.try(ctx, &trial{
		operation: lambdaName, parameter: "stevedore-merge-tags", put: tagged(), op: function("stevedore-merge-tags", map[string]string{"add.new": "tag"}),
		effect: hasTags(job.Tag{Key: "from", Value: "source"}, job.Tag{Key: "new", Value: "tag"}),
	})
	for _, versions := range []bool{false, true} {
		if ctx.Err() != nil {
			return
		}
		parameter := "stevedore-delete-object"
		if versions {
			parameter += ", VersionId"
		}
		e.find(lambdaName, parameter, e.deleting(ctx, versions))
	}
}

// deleting deletes three objects as a job does: with one request, if that can be.
// With versions it deletes the older of two, and the other one must stay.
func (e *exam) deleting(ctx context.Context, versions bool) verdict {
	if versions && !e.versioned {
		return untested("the bucket keeps no versions")
	}
	var (
		tasks      []operation.Task
		gone, kept []*patient
	)
	for range 3 {
		p := e.scratch("deleted & gone")
		if res := e.put(ctx, p); !res.OK() {
			return untested("the object cannot be made: " + answer(res.Status, res.Code))
		}
		t := operation.Task{Bucket: e.bucket, Key: []byte(p.key)}
		if versions {
			newer := &patient{key: p.key, content: p.content + ", the newer version"}
			e.put(ctx, newer)
			kept = append(kept, newer)
			t.VersionID = []byte(p.version)
		}
		gone, tasks = append(gone, p), append(tasks, t)
	}
	op, err := operation.New(function("stevedore-delete-object", map[string]string{"confirm": "permanently delete"}), operation.Env{Client: e, Objects: e.store})
	if err != nil {
		return failure(err)
	}
	batch, ok := op.(operation.Batcher)
	if !ok {
		return untested("the function takes no batches")
	}
	outs := make([]job.Outcome, len(tasks))
	if err := batch.DoBatch(ctx, tasks, operation.NewScratch(), outs); err != nil {
		return failure(err)
	}
	for _, p := range kept {
		if reason := e.intact(ctx, p); reason != "" {
			return dangerous("another version: " + reason)
		}
	}
	for i, p := range gone {
		if outs[i].Failed {
			return verdict{is: Refused, code: answer(outs[i].HTTPStatus, outs[i].Code)}
		}
		version := ""
		if versions {
			version = p.version
		}
		if e.get(ctx, p.key, version).OK() {
			return ignored("still there")
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.deletes.OK() {
		return works("one by one, DeleteObjects is refused: " + answer(e.deletes.Status, e.deletes.Code))
	}
	return works("")
}
