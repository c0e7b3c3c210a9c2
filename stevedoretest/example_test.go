package stevedoretest_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"stevedore/stevedoretest"
)

func TestMain(m *testing.M) { os.Exit(stevedoretest.Main(m)) }

// Tag two objects with one job, through the ordinary AWS clients.
func Example() {
	ctx := context.Background()
	server, err := stevedoretest.New(ctx, stevedoretest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	objects := server.S3()
	put := func(bucket, key, body string) (etag string) {
		out, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
		if err != nil {
			log.Fatal(err)
		}
		return *out.ETag
	}
	if _, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("photos")}); err != nil {
		log.Fatal(err)
	}
	put("photos", "a.jpg", "...")
	put("photos", "b.jpg", "...")
	etag := put("photos", "manifest.csv", "photos,a.jpg\nphotos,b.jpg\n")

	created, err := server.S3Control().CreateJob(ctx, &s3control.CreateJobInput{
		AccountId:            aws.String(stevedoretest.Account),
		RoleArn:              aws.String(stevedoretest.RoleARN),
		Priority:             aws.Int32(1),
		ConfirmationRequired: aws.Bool(false),
		Operation: &types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{
			TagSet: []types.S3Tag{{Key: aws.String("album"), Value: aws.String("summer")}},
		}},
		Manifest: &types.JobManifest{
			Spec: &types.JobManifestSpec{
				Format: types.JobManifestFormatS3BatchOperationsCsv20180820,
				Fields: []types.JobManifestFieldName{types.JobManifestFieldNameBucket, types.JobManifestFieldNameKey},
			},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::photos/manifest.csv"), ETag: &etag},
		},
		Report: &types.JobReport{Enabled: false},
	})
	if err != nil {
		log.Fatal(err)
	}
	job, err := server.Wait(ctx, *created.JobId)
	if err != nil {
		log.Fatal(err)
	}
	tags, err := objects.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String("photos"), Key: aws.String("b.jpg")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.Status, *job.ProgressSummary.NumberOfTasksSucceeded)
	fmt.Println(*tags.TagSet[0].Key, *tags.TagSet[0].Value)
	// Output:
	// Complete 2
	// album summer
}
