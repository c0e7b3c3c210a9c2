package controlapi

import (
	"time"

	"stevedore/internal/job"
)

// The answers, in the words and the order of the model; restxml leaves out what
// is absent. Our own client reads them, too.
type (
	// CreateJobResult answers CreateJob.
	CreateJobResult struct {
		JobId string //nolint:revive // the API's spelling
	}

	// DescribeJobResult answers DescribeJob.
	DescribeJobResult struct{ Job JobDescriptor }

	// ListJobsResult is a page of ListJobs; NextToken is empty on the last one.
	ListJobsResult struct {
		NextToken string
		Jobs      []ListedJob
	}

	// UpdateJobPriorityResult answers UpdateJobPriority.
	UpdateJobPriorityResult struct {
		JobId    string //nolint:revive // the API's spelling
		Priority int32
	}

	// UpdateJobStatusResult answers UpdateJobStatus with the status the job has now.
	UpdateJobStatusResult struct {
		JobId              string //nolint:revive // the API's spelling
		Status             job.Status
		StatusUpdateReason string
	}

	// JobTags is what GetJobTagging answers and PutJobTagging takes.
	JobTags struct {
		Tags []job.Tag `required:"true"`
	}
)

// JobDescriptor is a job as DescribeJob shows it. Tags are not part of it.
type JobDescriptor struct {
	JobId                string //nolint:revive // the API's spelling
	ConfirmationRequired *bool
	Description          string
	JobArn               string
	Status               job.Status
	Manifest             *job.Manifest
	Operation            *job.Operation
	Priority             int32
	ProgressSummary      Progress
	StatusUpdateReason   string
	FailureReasons       []job.FailureReason
	Report               *job.Report
	CreationTime         time.Time
	TerminationDate      *time.Time
	RoleArn              string
	SuspendedDate        *time.Time
	SuspendedCause       string
	ManifestGenerator    *job.ManifestGenerator
	// GeneratedManifestDescriptor is there once the manifest is, if the user wants to
	// have it.
	GeneratedManifestDescriptor *GeneratedManifest
}

// GeneratedManifest says where the manifest of a generator is kept for the user.
type GeneratedManifest struct {
	Format   job.GeneratedManifestFormat
	Location *job.ManifestLocation
}

// ListedJob is a job as ListJobs shows it.
type ListedJob struct {
	JobId           string //nolint:revive // the API's spelling
	Description     string
	Operation       job.OperationName
	Priority        int32
	Status          job.Status
	CreationTime    time.Time
	TerminationDate *time.Time
	ProgressSummary Progress
}

// Progress counts a job's tasks; the total is 0 until they are counted.
type Progress struct {
	TotalNumberOfTasks     int64
	NumberOfTasksSucceeded int64
	NumberOfTasksFailed    int64
	Timers                 Timers
}

// Timers says how long a job has been Active, in seconds.
type Timers struct{ ElapsedTimeInActiveSeconds int64 }

func describe(j *job.Job, now time.Time) JobDescriptor {
	p := Progress{Timers: Timers{int64(j.ActiveTime(now).Seconds())}}
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
	return JobDescriptor{
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

		GeneratedManifestDescriptor: generated(j),
	}
}

func generated(j *job.Job) *GeneratedManifest {
	g := j.Spec.ManifestGenerator
	if g == nil || !g.S3JobManifestGenerator.EnableManifestOutput || j.Generated == nil {
		return nil
	}
	return &GeneratedManifest{
		Format: job.GeneratedManifestCSV,
		Location: &job.ManifestLocation{
			ObjectArn: "arn:aws:s3:::" + j.Generated.Bucket + "/" + j.Generated.Key, ObjectVersionId: j.Generated.VersionID, ETag: j.Generated.ETag,
		},
	}
}

func listed(s *job.Summary, now time.Time) ListedJob {
	active := s.Active
	if s.ActiveSince != nil {
		active += max(0, now.Sub(*s.ActiveSince))
	}
	return ListedJob{
		JobId:           s.ID,
		Description:     s.Description,
		Operation:       s.Operation,
		Priority:        s.Priority,
		Status:          s.Status,
		CreationTime:    s.CreationTime,
		TerminationDate: s.TerminationDate,
		ProgressSummary: Progress{s.Tasks, s.Succeeded, s.Failed, Timers{int64(active.Seconds())}},
	}
}
