package controlapi

import (
	"time"

	"stevedore/internal/job"
)

// The answers, in the words of the model; restxml leaves out what is absent.
type (
	createJobResult struct {
		JobId string //nolint:revive // the API's spelling
	}

	describeJobResult struct{ Job jobDescriptor }

	listJobsResult struct {
		NextToken string
		Jobs      []listedJob
	}

	updateJobPriorityResult struct {
		JobId    string //nolint:revive // the API's spelling
		Priority int32
	}

	updateJobStatusResult struct {
		JobId              string //nolint:revive // the API's spelling
		Status             job.Status
		StatusUpdateReason string
	}

	// jobTags is what GetJobTagging answers and PutJobTagging takes.
	jobTags struct {
		Tags []job.Tag `required:"true"`
	}
)

// jobDescriptor is a job as DescribeJob shows it. Tags are not part of it.
type jobDescriptor struct {
	JobId                string //nolint:revive // the API's spelling
	ConfirmationRequired *bool
	Description          string
	JobArn               string //nolint:revive // the API's spelling
	Status               job.Status
	Manifest             *job.Manifest
	Operation            *job.Operation
	Priority             int32
	ProgressSummary      progress
	StatusUpdateReason   string
	FailureReasons       []job.FailureReason
	Report               *job.Report
	CreationTime         time.Time
	TerminationDate      *time.Time
	RoleArn              string //nolint:revive // the API's spelling
	SuspendedDate        *time.Time
	SuspendedCause       string
	ManifestGenerator    *job.ManifestGenerator
}

// listedJob is a job as ListJobs shows it.
type listedJob struct {
	JobId           string //nolint:revive // the API's spelling
	Description     string
	Operation       job.OperationName
	Priority        int32
	Status          job.Status
	CreationTime    time.Time
	TerminationDate *time.Time
	ProgressSummary progress
}

type progress struct {
	TotalNumberOfTasks     int64
	NumberOfTasksSucceeded int64
	NumberOfTasksFailed    int64
	Timers                 timers
}

type timers struct{ ElapsedTimeInActiveSeconds int64 }

func describe(j *job.Job, now time.Time) jobDescriptor {
	p := progress{Timers: timers{int64(j.ActiveTime(now).Seconds())}}
	if j.Plan != nil {
		p.TotalNumberOfTasks = j.Plan.Tasks
	}
	if j.Tally != nil {
		p.NumberOfTasksSucceeded, p.NumberOfTasksFailed = j.Tally.Succeeded, j.Tally.Failed
	}
	reasons := j.FailureReasons
	if reasons == nil {
		reasons = []job.FailureReason{} // shown even when there are none, as the real service does
	}
	return jobDescriptor{
		JobId:                j.ID,
		ConfirmationRequired: j.Spec.ConfirmationRequired,
		Description:          j.Spec.Description,
		JobArn:               j.ARN(),
		Status:               j.Status,
		Manifest:             j.Spec.Manifest,
		Operation:            &j.Spec.Operation,
		Priority:             j.Priority,
		ProgressSummary:      p,
		StatusUpdateReason:   j.StatusUpdateReason,
		FailureReasons:       reasons,
		Report:               &j.Spec.Report,
		CreationTime:         j.CreationTime,
		TerminationDate:      j.TerminationDate,
		RoleArn:              j.Spec.RoleArn,
		SuspendedDate:        j.SuspendedDate,
		SuspendedCause:       j.SuspendedCause,
		ManifestGenerator:    j.Spec.ManifestGenerator,
	}
}

func listed(s *job.Summary, now time.Time) listedJob {
	active := s.Active
	if s.ActiveSince != nil {
		active += max(0, now.Sub(*s.ActiveSince))
	}
	return listedJob{
		JobId:           s.ID,
		Description:     s.Description,
		Operation:       s.Operation,
		Priority:        s.Priority,
		Status:          s.Status,
		CreationTime:    s.CreationTime,
		TerminationDate: s.TerminationDate,
		ProgressSummary: progress{s.Tasks, s.Succeeded, s.Failed, timers{int64(active.Seconds())}},
	}
}
