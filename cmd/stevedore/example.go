package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"stevedore/internal/job"
)

// exampleETag stands for the ETag of the manifest. No object has it: a job that
// is created without it being replaced ends before any task runs.
const exampleETag = "ETAG-OF-THE-MANIFEST"

// exampleNames are the operations that there are examples of, in the words
// people use.
func exampleNames() []string {
	return []string{
		"tag", "untag", "copy", "acl", "restore", "legal-hold", "retention",
		"replicate", "checksum", "encrypt", "lambda",
	}
}

// exampleOperation is an operation with what it cannot do without.
func exampleOperation(name, account string, now time.Time) (o job.Operation, ok bool) {
	switch name {
	case "tag":
		o.S3PutObjectTagging = &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "hello", Value: "world"}}}
	case "untag":
		o.S3DeleteObjectTagging = &job.S3DeleteObjectTagging{}
	case "copy":
		o.S3PutObjectCopy = &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::" + copiesBucket, TargetKeyPrefix: "copy/"}
	case "acl":
		o.S3PutObjectAcl = &job.S3PutObjectAcl{AccessControlPolicy: &job.AccessControlPolicy{CannedAccessControlList: "private"}}
	case "restore":
		o.S3InitiateRestoreObject = &job.S3InitiateRestoreObject{ExpirationInDays: new(int32(7)), GlacierJobTier: "BULK"}
	case "legal-hold":
		o.S3PutObjectLegalHold = &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: "ON"}}
	case "retention":
		until := now.UTC().AddDate(0, 0, 30).Truncate(24 * time.Hour)
		o.S3PutObjectRetention = &job.S3PutObjectRetention{Retention: &job.Retention{RetainUntilDate: &until, Mode: "GOVERNANCE"}}
	case "replicate":
		o.S3ReplicateObject = &job.S3ReplicateObject{}
	case "checksum":
		o.S3ComputeObjectChecksum = &job.S3ComputeObjectChecksum{ChecksumAlgorithm: "SHA256", ChecksumType: "FULL_OBJECT"}
	case "encrypt":
		key := "arn:aws:kms:" + devRegion + ":" + account + ":key/00000000-0000-0000-0000-000000000000"
		o.S3UpdateObjectEncryption = &job.S3UpdateObjectEncryption{ObjectEncryption: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: key}}}
	case "lambda":
		o.LambdaInvoke = &job.LambdaInvoke{
			FunctionArn: "arn:aws:lambda:" + devRegion + ":" + account + ":function:thumbnail", InvocationSchemaVersion: "2.0",
		}
	default:
		return o, false
	}
	return o, true
}

// exampleSpec is a job over the objects of a seeded development server.
func exampleSpec(o job.Operation, account string) job.Spec {
	return job.Spec{
		ConfirmationRequired: new(true),
		Operation:            o,
		Report: job.Report{
			Bucket: "arn:aws:s3:::" + reportsBucket, Prefix: "demo", Format: job.ReportCSV, Enabled: true, ReportScope: job.AllTasks,
		},
		Manifest: &job.Manifest{
			Spec:     &job.ManifestSpec{Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey}},
			Location: &job.ManifestLocation{ObjectArn: "arn:aws:s3:::" + manifestsBucket + "/" + manifestKey, ETag: exampleETag},
		},
		Priority: 10,
		RoleArn:  roleARN(account),
	}
}

// printExample prints a request to create a job, and on standard error what to
// do with it.
func (c *jobCommands) printExample(name string) error {
	account := cmp.Or(c.connect.account, c.w.getenv("STEVEDORE_ACCOUNT_ID"), c.w.getenv("AWS_ACCOUNT_ID"), devAccount)
	operation, ok := exampleOperation(name, account, time.Now())
	if !ok {
		return usagef("--example %s: want one of %s", name, strings.Join(exampleNames(), ", "))
	}
	if err := writeAWS(c.w.stdout, exampleSpec(operation, account)); err != nil {
		return err
	}
	fmt.Fprintf(c.w.stderr, "put your names in, and for %s what this prints:\n  %s\n", exampleETag,
		try(c.w, "exec -- aws s3api head-object --bucket "+manifestsBucket+" --key "+manifestKey+" --query ETag --output text | tr -d '\"'"))
	return nil
}
