package e2e

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// TestGoSDK uses the Go SDK as a program would: concurrently, with paginators and
// typed errors; and goes on after the server was killed as if nothing had happened.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	const tasks, callers = 10, 16
	o := startObjects(t)
	o.buckets(t, "data", "manifests", "reports")
	etag := o.put(t, "manifests", "manifest.csv", o.seed(t, "data", tasks))
	dir, address := t.TempDir(), freeAddress(t)
	p := serve(t, o, dir, address)
	c := control(address)

	// However often and however concurrently a request is sent: one job.
	once := tagJob(etag, "by", "go")
	once.ClientRequestToken, once.ConfirmationRequired = aws.String("once"), nil
	ids := make([]string, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			out, err := c.CreateJob(t.Context(), once)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = *out.JobId
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] != ids[callers-1] || ids[0] == "" {
		t.Fatalf("one token made the jobs %q", slices.Compact(ids))
	}
	id := ids[0]
	newest := []string{id}
	for range 4 {
		out, err := c.CreateJob(t.Context(), tagJob(etag, "by", "go"))
		if err != nil {
			t.Fatal(err)
		}
		newest = slices.Insert(newest, 0, *out.JobId)
	}
	until(t, c, id, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusSuspended })

	pages := s3control.NewListJobsPaginator(c, &s3control.ListJobsInput{AccountId: aws.String(account), MaxResults: aws.Int32(2)})
	var listed []string
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			listed = append(listed, *j.JobId)
		}
		if n == 0 { // the next page comes from the next process
			p.kill()
			p = serve(t, o, dir, address)
		}
	}
	if !slices.Equal(listed, newest) {
		t.Errorf("listed %q, want %q", listed, newest)
	}

	if out, err := c.CreateJob(t.Context(), once); err != nil || *out.JobId != id {
		t.Errorf("the token after a restart: %v, %v, want %s", out, err, id)
	}
	changed := *once
	changed.Priority = aws.Int32(9)
	_, err := c.CreateJob(t.Context(), &changed)
	is[*types.IdempotencyException](t, err)
	of := func(id string) *s3control.UpdateJobStatusInput {
		return &s3control.UpdateJobStatusInput{AccountId: aws.String(account), JobId: &id, RequestedJobStatus: types.RequestedJobStatusReady}
	}
	unknown := "00000000-0000-4000-8000-000000000000"
	_, err = c.UpdateJobStatus(t.Context(), of(unknown))
	is[*types.NotFoundException](t, err)
	_, err = c.DescribeJob(t.Context(), &s3control.DescribeJobInput{AccountId: aws.String(account), JobId: &unknown})
	is[*types.NotFoundException](t, err)
	_, err = c.PutJobTagging(t.Context(), &s3control.PutJobTaggingInput{
		AccountId: aws.String(account), JobId: &id, Tags: slices.Repeat([]types.S3Tag{{Key: aws.String("k"), Value: aws.String("")}}, 51),
	})
	is[*types.TooManyTagsException](t, err)
	bad := tagJob(etag, "by", "go")
	bad.RoleArn = aws.String("admin")
	_, err = c.CreateJob(t.Context(), bad)
	is[*types.BadRequestException](t, err)
	_, err = c.ListJobs(t.Context(), &s3control.ListJobsInput{AccountId: aws.String(account), NextToken: aws.String("x")})
	is[*types.InvalidNextTokenException](t, err)
	_, err = c.ListJobs(t.Context(), &s3control.ListJobsInput{AccountId: aws.String(account), JobStatuses: []types.JobStatus{"Running"}})
	is[*types.InvalidRequestException](t, err)

	if out, err := c.UpdateJobStatus(t.Context(), of(id)); err != nil || out.Status != types.JobStatusReady {
		t.Errorf("confirming answered %v, %v", out, err)
	}
	for _, id := range newest {
		if j := until(t, c, id, ended); j.Status != types.JobStatusComplete {
			t.Errorf("job %s ended %s: %+v", id, j.Status, j.FailureReasons)
		}
		exactlyOnce(t, o.report(t, "reports", "r", id), tasks, "succeeded")
	}
	_, err = c.UpdateJobStatus(t.Context(), of(id))
	is[*types.JobStatusException](t, err)
	if out, err := c.CreateJob(t.Context(), once); err != nil || *out.JobId != id {
		t.Errorf("the token after the end of the job: %v, %v, want %s", out, err, id)
	}
}

// is checks that err is a typed error with a sentence.
func is[E error](t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Errorf("want a %T, got %v", e, err)
		return
	}
	m, ok := any(e).(interface{ ErrorMessage() string })
	if !ok || m.ErrorMessage() == "" {
		t.Errorf("%T has no message", e)
	}
}
