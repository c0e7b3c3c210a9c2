package controlapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/aws/smithy-go"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
)

// endpoint sends the SDK to one address, without the account before the host.
type endpoint string

func (e endpoint) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	u, err := url.Parse(string(e))
	if err != nil {
		return smithyendpoints.Endpoint{}, err
	}
	return smithyendpoints.Endpoint{URI: *u}, nil
}

// sdk starts the API and returns the AWS SDK's client of it. The SDK signs with
// the real time, so the clock is the real one.
func sdk(t *testing.T) (*s3control.Client, *memJobs) {
	t.Helper()
	server, jobs := serve(t, time.Now(), nil)
	return s3control.New(s3control.Options{
		EndpointResolverV2: endpoint(server.URL + "/base"),
		Region:             region,
		RetryMaxAttempts:   1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secretsecret"}, nil
		}),
	}), jobs
}

// operations are the eleven members of JobOperation.
func operations() []string {
	var names []string
	for f := range reflect.TypeFor[types.JobOperation]().Fields() {
		if f.IsExported() {
			names = append(names, f.Name)
		}
	}
	return names
}

// TestDescribedBackUnchanged fills CreateJobInput at random, sends it with the
// SDK and compares every member of what DescribeJob tells.
func TestDescribedBackUnchanged(t *testing.T) {
	t.Parallel()
	client, jobs := sdk(t)
	rapid.Check(t, func(r *rapid.T) {
		g := &generator{r: r}
		describedBack(r, client, jobs, g.createJob(rapid.SampledFrom(operations()).Draw(r, "operation")))
	})
}

// TestEveryMemberDescribedBack does the same with all members given at once,
// and makes sure that none of the SDK's types was left out.
func TestEveryMemberDescribedBack(t *testing.T) {
	t.Parallel()
	client, jobs := sdk(t)
	given := map[string]bool{}
	for _, operation := range operations() {
		inputs := rapid.Custom(func(r *rapid.T) *s3control.CreateJobInput {
			return (&generator{r: r, all: true}).createJob(operation)
		})
		for seed := range 10 {
			input := inputs.Example(seed)
			describedBack(t, client, jobs, input)
			members(reflect.ValueOf(input), given)
		}
	}
	var want func(reflect.Type)
	want = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			want(typ.Elem())
		case reflect.Struct:
			if !strings.Contains(typ.PkgPath(), "s3control") {
				return
			}
			for f := range typ.Fields() {
				if !f.IsExported() {
					continue
				}
				if name := typ.Name() + "." + f.Name; !given[name] {
					t.Errorf("%s was never given", name)
				}
				want(f.Type)
			}
		default: // no members
		}
	}
	want(reflect.TypeFor[s3control.CreateJobInput]())
	want(reflect.TypeFor[types.S3JobManifestGenerator]())
	for _, filter := range encryptionFilters() {
		want(reflect.TypeOf(filter).Elem())
	}
}

// members notes every member of v that is not zero, as Type.Field.
func members(v reflect.Value, given map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			members(v.Elem(), given)
		}
	case reflect.Slice:
		for i := range v.Len() {
			members(v.Index(i), given)
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			if !f.IsExported() {
				continue
			}
			if !field.IsZero() || field.Kind() == reflect.Struct {
				given[v.Type().Name()+"."+f.Name] = true
				members(field, given)
			}
		}
	default: // no members
	}
}

// failer is what rapid's T and testing's T have in common.
type failer interface {
	Context() context.Context
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// describedBack makes a job of input and compares what is told of it.
func describedBack(t failer, client *s3control.Client, jobs *memJobs, input *s3control.CreateJobInput) {
	*input.ClientRequestToken += fmt.Sprint("#", len(jobs.all())) // a new one, whatever was drawn before
	made, err := client.CreateJob(t.Context(), input)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	again, err := client.CreateJob(t.Context(), input)
	if err != nil || *again.JobId != *made.JobId {
		t.Errorf("the same request again: %v, %v", again, err)
	}
	described, err := client.DescribeJob(t.Context(), &s3control.DescribeJobInput{AccountId: new(account), JobId: made.JobId})
	if err != nil {
		t.Fatalf("describe: %v", err)
	}
	tagging, err := client.GetJobTagging(t.Context(), &s3control.GetJobTaggingInput{AccountId: new(account), JobId: made.JobId})
	if err != nil {
		t.Fatalf("tagging: %v", err)
	}
	d := described.Job
	if tagging.Tags == nil {
		t.Errorf("no list of tags")
	}
	tags := tagging.Tags
	if len(tags) == 0 {
		tags = input.Tags // no tags are no tags, however they were not given
	}
	back := &s3control.CreateJobInput{
		AccountId: input.AccountId, ClientRequestToken: input.ClientRequestToken, // not told by the API
		Operation: d.Operation, Priority: &d.Priority, Report: d.Report, RoleArn: d.RoleArn,
		ConfirmationRequired: d.ConfirmationRequired, Description: d.Description,
		Manifest: d.Manifest, ManifestGenerator: d.ManifestGenerator, Tags: tags,
	}
	if diff := cmp.Diff(input, back, exportedOnly()); diff != "" {
		t.Errorf("(-created +described)\n%s", diff)
	}
	if d.Status != types.JobStatusNew || d.FailureReasons == nil || d.CreationTime == nil || d.TerminationDate != nil ||
		*d.JobArn != "arn:aws:s3:us-east-1:123456789012:job/"+*made.JobId || *d.JobId != *made.JobId {
		t.Errorf("described as %+v", d)
	}
}

// exportedOnly leaves out the marker field of the SDK's types.
func exportedOnly() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool {
		f, ok := p.Last().(cmp.StructField)
		return ok && f.Name() == "noSmithyDocumentSerde"
	}, cmp.Ignore())
}

func TestTypedErrors(t *testing.T) {
	t.Parallel()
	client, jobs := sdk(t)
	ctx := t.Context()
	g := func(operation string) *s3control.CreateJobInput {
		return rapid.Custom(func(r *rapid.T) *s3control.CreateJobInput {
			return (&generator{r: r}).createJob(operation)
		}).Example(1)
	}
	input := g("S3DeleteObjectTagging")
	made, err := client.CreateJob(ctx, input)
	if err != nil {
		t.Fatal(err)
	}
	id, unknown := made.JobId, new("00000000-0000-4000-8000-00000000ffff")

	*input.Priority++
	_, err = client.CreateJob(ctx, input)
	wantTyped[*types.IdempotencyException](t, err)
	input.Operation = nil
	broken := g("S3ReplicateObject")
	broken.RoleArn = new("x")
	_, err = client.CreateJob(ctx, broken)
	wantTyped[*types.BadRequestException](t, err)
	if err == nil || !strings.Contains(err.Error(), "RoleArn") {
		t.Errorf("%v does not name the member", err)
	}
	foreign := g("S3ReplicateObject")
	foreign.RoleArn = new("arn:aws:iam::210987654321:role/x")
	_, err = client.CreateJob(ctx, foreign)
	wantCode(t, err, "AccessDenied")

	_, err = client.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: new(account), JobId: unknown})
	wantTyped[*types.NotFoundException](t, err)
	_, err = client.GetJobTagging(ctx, &s3control.GetJobTaggingInput{AccountId: new(account), JobId: unknown})
	wantTyped[*types.NotFoundException](t, err)
	_, err = client.DeleteJobTagging(ctx, &s3control.DeleteJobTaggingInput{AccountId: new(account), JobId: unknown})
	wantTyped[*types.NotFoundException](t, err)
	_, err = client.UpdateJobPriority(ctx, &s3control.UpdateJobPriorityInput{AccountId: new(account), JobId: unknown, Priority: 1})
	wantTyped[*types.NotFoundException](t, err)

	_, err = client.ListJobs(ctx, &s3control.ListJobsInput{AccountId: new(account), MaxResults: new(int32(1001))})
	wantTyped[*types.InvalidRequestException](t, err)
	_, err = client.ListJobs(ctx, &s3control.ListJobsInput{AccountId: new(account), NextToken: new("x/y+z=")})
	wantTyped[*types.InvalidNextTokenException](t, err)

	_, err = client.UpdateJobStatus(ctx, &s3control.UpdateJobStatusInput{AccountId: new(account), JobId: id, RequestedJobStatus: types.RequestedJobStatusReady})
	wantTyped[*types.JobStatusException](t, err)
	_, err = client.UpdateJobPriority(ctx, &s3control.UpdateJobPriorityInput{AccountId: new(account), JobId: id, Priority: -1})
	wantTyped[*types.BadRequestException](t, err)

	tags := make([]types.S3Tag, 51)
	for i := range tags {
		tags[i] = types.S3Tag{Key: new(fmt.Sprint(i)), Value: new("")}
	}
	_, err = client.PutJobTagging(ctx, &s3control.PutJobTaggingInput{AccountId: new(account), JobId: id, Tags: tags})
	wantTyped[*types.TooManyTagsException](t, err)
	_, err = client.PutJobTagging(ctx, &s3control.PutJobTaggingInput{AccountId: new(account), JobId: id, Tags: tags[:50]})
	if err != nil {
		t.Error(err)
	}
	_, err = client.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: new("210987654321"), JobId: id})
	wantCode(t, err, "AccessDenied")

	jobs.fail(errors.New("disk on fire"))
	_, err = client.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: new(account), JobId: id})
	wantTyped[*types.InternalServiceException](t, err)
	jobs.fail(job.ErrUnavailable)
	_, err = client.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: new(account), JobId: id})
	wantCode(t, err, "SlowDown")
}

func wantTyped[E error](t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[E](err); !ok {
		t.Errorf("got %v, want a %s", err, reflect.TypeFor[E]())
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// TestLifeWithTheSDK walks one job through the calls that change it.
func TestLifeWithTheSDK(t *testing.T) {
	t.Parallel()
	client, jobs := sdk(t)
	ctx := t.Context()
	j := waiting(region, time.Now())
	jobs.add(j)

	p, err := client.UpdateJobPriority(ctx, &s3control.UpdateJobPriorityInput{AccountId: new(account), JobId: &j.ID, Priority: 98})
	if err != nil || p.Priority != 98 || *p.JobId != j.ID {
		t.Errorf("priority: %+v, %v", p, err)
	}
	s, err := client.UpdateJobStatus(ctx, &s3control.UpdateJobStatusInput{
		AccountId: new(account), JobId: &j.ID, RequestedJobStatus: types.RequestedJobStatusReady, StatusUpdateReason: new("a+b c/ü & so"),
	})
	if err != nil || s.Status != types.JobStatusReady || *s.StatusUpdateReason != "a+b c/ü & so" {
		t.Errorf("confirm: %+v, %v", s, err)
	}
	s, err = client.UpdateJobStatus(ctx, &s3control.UpdateJobStatusInput{AccountId: new(account), JobId: &j.ID, RequestedJobStatus: types.RequestedJobStatusCancelled})
	if err != nil || s.Status != types.JobStatusCancelled {
		t.Errorf("cancel: %+v, %v", s, err)
	}
	d, err := client.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: new(account), JobId: &j.ID})
	if err != nil {
		t.Fatal(err)
	}
	if d := d.Job; d.Priority != 98 || d.Status != types.JobStatusCancelled || d.TerminationDate == nil || d.SuspendedDate == nil ||
		*d.SuspendedCause != "AWAITING_CONFIRMATION" || *d.StatusUpdateReason != "a+b c/ü & so" || *d.ProgressSummary.TotalNumberOfTasks != 5 {
		t.Errorf("described as %+v", d)
	}
	if _, err := client.PutJobTagging(ctx, &s3control.PutJobTaggingInput{
		AccountId: new(account), JobId: &j.ID, Tags: []types.S3Tag{{Key: new("ü"), Value: new("")}},
	}); err != nil {
		t.Error(err)
	}
	tags, err := client.GetJobTagging(ctx, &s3control.GetJobTaggingInput{AccountId: new(account), JobId: &j.ID})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "ü" || *tags.Tags[0].Value != "" {
		t.Errorf("tags: %+v, %v", tags, err)
	}
	if _, err := client.DeleteJobTagging(ctx, &s3control.DeleteJobTaggingInput{AccountId: new(account), JobId: &j.ID}); err != nil {
		t.Error(err)
	}
	tags, err = client.GetJobTagging(ctx, &s3control.GetJobTaggingInput{AccountId: new(account), JobId: &j.ID})
	if err != nil || tags.Tags == nil || len(tags.Tags) != 0 {
		t.Errorf("tags: %+v, %v", tags, err)
	}

	for i := range 4 {
		j := waiting(region, time.Now().Add(time.Duration(i)*time.Second))
		j.ID = fmt.Sprint("other-", i)
		jobs.add(j)
	}
	pages := s3control.NewListJobsPaginator(client, &s3control.ListJobsInput{
		AccountId: new(account), MaxResults: new(int32(2)), JobStatuses: []types.JobStatus{types.JobStatusSuspended, types.JobStatusCancelled},
	})
	var ids []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			ids = append(ids, *j.JobId)
			if j.Operation != types.OperationNameS3PutObjectTagging || *j.Description != "d" || *j.ProgressSummary.TotalNumberOfTasks != 5 {
				t.Errorf("listed as %+v", j)
			}
		}
	}
	if got, want := strings.Join(ids, " "), "other-3 other-2 other-1 other-0 "+j.ID; got != want {
		t.Errorf("listed %s, want %s", got, want)
	}
}

// TestGeneratedManifestDescriptor is told once there is a manifest that the user
// wants to have.
func TestGeneratedManifestDescriptor(t *testing.T) {
	t.Parallel()
	client, jobs := sdk(t)
	for i, c := range []struct {
		output    bool
		generated *job.Generated
		want      *types.S3GeneratedManifestDescriptor
	}{
		{true, nil, nil},
		{false, &job.Generated{Bucket: "-spool-", Key: "manifest.json", ETag: "e"}, nil},
		{true, &job.Generated{Bucket: "out", Key: "p/manifest.json", ETag: "e", VersionID: "v"}, &types.S3GeneratedManifestDescriptor{
			Format: types.GeneratedManifestFormatS3InventoryReportCsv20211130,
			Location: &types.JobManifestLocation{
				ObjectArn: new("arn:aws:s3:::out/p/manifest.json"), ObjectVersionId: new("v"), ETag: new("e"),
			},
		}},
	} {
		j := waiting(region, time.Now())
		j.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		j.Spec.Manifest, j.Generated = nil, c.generated
		j.Spec.ManifestGenerator = &job.ManifestGenerator{S3JobManifestGenerator: &job.S3JobManifestGenerator{
			SourceBucket: "arn:aws:s3:::b", EnableManifestOutput: c.output,
		}}
		jobs.add(j)
		described, err := client.DescribeJob(t.Context(), &s3control.DescribeJobInput{AccountId: new(account), JobId: &j.ID})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, described.Job.GeneratedManifestDescriptor, exportedOnly()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}
