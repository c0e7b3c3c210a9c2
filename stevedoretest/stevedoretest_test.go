package stevedoretest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"stevedore/stevedoretest"
)

// TestDirKeepsJobsAndObjects starts a Server twice on one directory.
func TestDirKeepsJobsAndObjects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *stevedoretest.Server {
		t.Helper()
		s, err := stevedoretest.New(t.Context(), stevedoretest.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if _, err := s.S3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Fatal(err)
	}
	etag, err := s.S3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("m"), Body: strings.NewReader("bucket,m\n")})
	if err != nil {
		t.Fatal(err)
	}
	created, err := s.S3Control().CreateJob(t.Context(), &s3control.CreateJobInput{
		AccountId: aws.String(stevedoretest.Account), RoleArn: aws.String(stevedoretest.RoleARN), Priority: aws.Int32(1),
		Operation: &types.JobOperation{S3DeleteObjectTagging: &types.S3DeleteObjectTaggingOperation{}},
		Manifest: &types.JobManifest{
			Spec:     &types.JobManifestSpec{Format: types.JobManifestFormatS3BatchOperationsCsv20180820, Fields: []types.JobManifestFieldName{"Bucket", "Key"}},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::bucket/m"), ETag: etag.ETag},
		},
		Report: &types.JobReport{Enabled: false},
	})
	if err != nil {
		t.Fatal(err)
	}
	if j, err := s.Wait(t.Context(), *created.JobId); err != nil || j.Status != types.JobStatusSuspended {
		t.Fatalf("got %+v, %v; a job is suspended unless told otherwise", j, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open()
	defer s.Close()
	if _, err := s.S3Control().UpdateJobStatus(t.Context(), &s3control.UpdateJobStatusInput{
		AccountId: aws.String(stevedoretest.Account), JobId: created.JobId, RequestedJobStatus: types.RequestedJobStatusReady,
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		j, err := s.Wait(ctx, *created.JobId)
		if err != nil {
			t.Fatal(err)
		}
		if j.Status == types.JobStatusComplete {
			break
		}
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a directory that was given must stay: %v", err)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	s := stevedoretest.Start(t)
	_, err := s.Wait(t.Context(), "00000000-0000-4000-8000-000000000000")
	if _, ok := errors.AsType[*types.NotFoundException](err); !ok {
		t.Errorf("got %v, want a typed NotFoundException", err)
	}
}
