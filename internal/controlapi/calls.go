package controlapi

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"stevedore/internal/controlapi/restxml"
	"stevedore/internal/controlapi/sigv4"
	"stevedore/internal/job"
)

const maxResults = 1000 // jobs on one page of ListJobs

// calls are the eight calls of the job API. BadRequestException is not modelled
// for ListJobs and the tagging calls.
func (a *api) calls() []call {
	return []call{
		{name: "CreateJob", method: "POST", path: "/jobs", invalid: BadRequest, writes: true, do: a.createJob},
		{name: "ListJobs", method: "GET", path: "/jobs", invalid: InvalidRequest, do: a.listJobs},
		{name: "DescribeJob", method: "GET", path: "/jobs/{id}", invalid: BadRequest, do: a.describeJob},
		{name: "UpdateJobPriority", method: "POST", path: "/jobs/{id}/priority", invalid: BadRequest, writes: true, do: a.updateJobPriority},
		{name: "UpdateJobStatus", method: "POST", path: "/jobs/{id}/status", invalid: BadRequest, writes: true, do: a.updateJobStatus},
		{name: "GetJobTagging", method: "GET", path: "/jobs/{id}/tagging", invalid: sigv4.InvalidRequest, do: a.getJobTagging},
		{name: "PutJobTagging", method: "PUT", path: "/jobs/{id}/tagging", invalid: sigv4.InvalidRequest, writes: true, do: a.putJobTagging},
		{name: "DeleteJobTagging", method: "DELETE", path: "/jobs/{id}/tagging", invalid: sigv4.InvalidRequest, writes: true, do: a.deleteJobTagging},
	}
}

func (a *api) createJob(ctx context.Context, x *exchange) (any, error) {
	var spec job.Spec
	problems, err := restxml.Unmarshal(x.body, "CreateJobRequest", &spec)
	if err != nil {
		return nil, x.invalidf("%s", err)
	}
	if err := problemsOf(problems, spec.Validate()); err != nil {
		return nil, err
	}
	if owner := job.AccountOfRole(spec.RoleArn); owner != x.account {
		return nil, &Error{Code: sigv4.AccessDenied, Message: "Cross-account pass role is not allowed: RoleArn is of account " + owner +
			", the request of account " + x.account + "; name a role of account " + x.account}
	}
	if x.created, err = a.jobs.Create(withCaller(ctx, x.accessKey), x.account, x.region, spec); err != nil {
		return nil, fmt.Errorf("create job: %w", err)
	}
	return CreateJobResult{x.created}, nil
}

// problemsOf joins what decoding and validation found. Of what could not be
// decoded, decoding has said the last word.
func problemsOf(decoding []job.Problem, validation error) error {
	invalid, ok := validation.(*job.InvalidError) //nolint:errorlint // Validate returns nothing else
	if !ok {
		invalid = &job.InvalidError{}
	}
	said := map[string]bool{}
	for _, p := range decoding {
		said[p.Member] = true
	}
	all := slices.Clone(decoding)
	for _, p := range invalid.Problems {
		if !said[p.Member] {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &job.InvalidError{Problems: all}
}

func (a *api) describeJob(ctx context.Context, x *exchange) (any, error) {
	j, err := a.jobs.Job(ctx, x.account, x.region, x.id)
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	return DescribeJobResult{describe(&j, a.now())}, nil
}

func (a *api) listJobs(ctx context.Context, x *exchange) (any, error) {
	var statuses []job.Status
	for _, s := range x.query["jobStatuses"] {
		status := job.Status(s)
		if !slices.Contains(job.Statuses(), status) {
			return nil, x.invalidf("jobStatuses: %s is not one of %s", quote(s), strings.Join(status.Values(), ", "))
		}
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	statuses = slices.Compact(statuses)

	most := maxResults
	if s, ok, err := x.parameter("maxResults"); err != nil {
		return nil, err
	} else if ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > maxResults {
			return nil, x.invalidf("maxResults: %s is not a whole number from 0 to %d", quote(s), maxResults)
		}
		if n > 0 { // what 0 means is not documented: as if absent
			most = n
		}
	}

	var after job.Cursor
	if s, ok, err := x.parameter("nextToken"); err != nil {
		return nil, err
	} else if ok {
		if after, ok = readToken(s, x.account, x.region, statuses); !ok {
			return nil, &Error{Code: InvalidNextToken, Message: "nextToken: not a token of this list; list again from the start"}
		}
	}

	jobs, more, err := a.jobs.List(ctx, x.account, x.region, statuses, after, most)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	result := ListJobsResult{Jobs: make([]ListedJob, len(jobs))}
	now := a.now()
	for i := range jobs {
		result.Jobs[i] = listed(&jobs[i], now)
	}
	if more && len(jobs) > 0 {
		result.NextToken = writeToken(jobs[len(jobs)-1].Cursor(), x.account, x.region, statuses)
	}
	return result, nil
}

func (a *api) updateJobPriority(ctx context.Context, x *exchange) (any, error) {
	s, ok, err := x.parameter("priority")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, x.invalidf("priority: is required")
	}
	priority, err := strconv.ParseInt(s, 10, 32)
	if err != nil || priority < 0 {
		return nil, x.invalidf("priority: %s is not a whole number from 0 to 2147483647", quote(s))
	}
	j, err := a.jobs.SetPriority(ctx, x.account, x.region, x.id, int32(priority))
	if err != nil {
		return nil, fmt.Errorf("set priority: %w", err)
	}
	return UpdateJobPriorityResult{j.ID, j.Priority}, nil
}

func (a *api) updateJobStatus(ctx context.Context, x *exchange) (any, error) {
	s, ok, err := x.parameter("requestedJobStatus")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, x.invalidf("requestedJobStatus: is required")
	}
	want := job.Status(s)
	if want != job.Ready && want != job.Cancelled {
		return nil, x.invalidf("requestedJobStatus: %s is not one of Cancelled, Ready", quote(s))
	}
	reason, ok, err := x.parameter("statusUpdateReason")
	if err != nil {
		return nil, err
	}
	if n := utf8.RuneCountInString(reason); ok && (n < 1 || n > 256) {
		return nil, x.invalidf("statusUpdateReason: has %d characters, must have 1 to 256", n)
	}
	j, err := a.jobs.RequestStatus(ctx, x.account, x.region, x.id, want, reason)
	if err != nil {
		return nil, fmt.Errorf("update status: %w", err)
	}
	return UpdateJobStatusResult{j.ID, j.Status, j.StatusUpdateReason}, nil
}

func (a *api) getJobTagging(ctx context.Context, x *exchange) (any, error) {
	j, err := a.jobs.Job(ctx, x.account, x.region, x.id)
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	if j.Tags == nil {
		j.Tags = []job.Tag{} // an absent list and no tags are not the same to clients
	}
	return JobTags{j.Tags}, nil
}

func (a *api) putJobTagging(ctx context.Context, x *exchange) (any, error) {
	var in JobTags
	problems, err := restxml.Unmarshal(x.body, "PutJobTaggingRequest", &in)
	if err != nil {
		return nil, x.invalidf("%s", err)
	}
	if len(in.Tags) > job.MaxTags {
		return nil, &Error{Code: TooManyTags, Message: fmt.Sprintf("Tags: has %d tags, must have at most %d", len(in.Tags), job.MaxTags)}
	}
	if err := problemsOf(problems, nil); err != nil {
		return nil, err
	}
	if err := job.ValidateTags(in.Tags); err != nil {
		return nil, &Error{Code: InvalidTag, Message: err.Error()}
	}
	return a.setTags(ctx, x, in.Tags)
}

func (a *api) deleteJobTagging(ctx context.Context, x *exchange) (any, error) {
	return a.setTags(ctx, x, nil)
}

func (a *api) setTags(ctx context.Context, x *exchange, tags []job.Tag) (any, error) {
	if err := a.jobs.SetTags(ctx, x.account, x.region, x.id, tags); err != nil {
		return nil, fmt.Errorf("set tags: %w", err)
	}
	return struct{}{}, nil
}

// parameter returns a parameter of the query that may be given once.
func (x *exchange) parameter(name string) (value string, given bool, err error) {
	values := x.query[name]
	switch {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return "", false, x.invalidf("%s: is given more than once", name)
	case !representable(values[0]):
		return "", false, x.invalidf("%s: has characters that XML cannot carry", name)
	}
	return values[0], true, nil
}

// representable reports whether s can be told back in XML.
func representable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}

// quote shows a caller's value in a message.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strconv.Quote(s)
}
