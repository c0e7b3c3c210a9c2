package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// awsCLI is the AWS CLI as "stevedore exec" runs it: unmodified, and told nothing
// on its command line.
type awsCLI struct{ d *devServer }

func newAWSCLI(t *testing.T, d *devServer) awsCLI {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Fatalf("%v; make tools installs it", err)
	}
	return awsCLI{d}
}

func (c awsCLI) run(t *testing.T, args ...string) ending {
	t.Helper()
	return c.d.stevedore(t, append([]string{"exec", "--", "aws"}, args...)...)
}

// ok runs a command that has to succeed and reads its JSON into out, unless that is nil.
func (c awsCLI) ok(t *testing.T, out any, args ...string) {
	t.Helper()
	e := c.run(t, append(args, "--output", "json")...)
	if e.code != 0 {
		t.Fatalf("aws %q: exit code %d: %s", args, e.code, e.stderr)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal([]byte(e.stdout), out); err != nil {
		t.Fatalf("aws %q: %v in %q", args, err, e.stdout)
	}
}

// jobs calls S3 Control for our account.
func (c awsCLI) jobs(t *testing.T, out any, call string, args ...string) {
	t.Helper()
	c.ok(t, out, append([]string{"s3control", call, "--account-id", account}, args...)...)
}

// refused runs a call that has to fail with an error code, and a message that
// has a word in it.
func (c awsCLI) refused(t *testing.T, code, word string, args ...string) {
	t.Helper()
	isRefused(t, c.run(t, append([]string{"s3control"}, args...)...), code, word)
}

func isRefused(t *testing.T, e ending, code, word string) {
	t.Helper()
	if e.code == 0 || !strings.Contains(e.stderr, "An error occurred ("+code+") when calling") || !strings.Contains(e.stderr, word) {
		t.Errorf("want %s with %q, got exit code %d: %s%s", code, word, e.code, e.stdout, e.stderr)
	}
}

// createArgs are the arguments of create-job for a manifest.
func createArgs(manifest, etag string, more ...string) []string {
	return append([]string{
		"--priority", "7", "--role-arn", role, "--description", "by the CLI: dépôt",
		"--operation", `{"S3PutObjectTagging":{"TagSet":[{"Key":"by","Value":"cli"},{"Key":"empty","Value":""}]}}`,
		"--manifest", fmt.Sprintf(`{"Spec":{"Format":"S3BatchOperations_CSV_20180820","Fields":["Bucket","Key"]},`+
			`"Location":{"ObjectArn":"arn:aws:s3:::manifests/%s","ETag":"%s"}}`, manifest, etag),
		"--report", `{"Enabled":true,"Bucket":"arn:aws:s3:::reports","Prefix":"r","Format":"Report_CSV_20180820","ReportScope":"AllTasks"}`,
	}, more...)
}

type cliJob struct {
	Status, Description, JobID, StatusUpdateReason string
	Priority                                       int
	ProgressSummary                                struct{ TotalNumberOfTasks, NumberOfTasksSucceeded, NumberOfTasksFailed int }
	Operation                                      struct {
		S3PutObjectTagging struct{ TagSet []struct{ Key, Value string } }
	}
	FailureReasons []struct{ FailureCode string }
}

// TestAWSCLI takes one job from the upload of its manifest to its report with
// nothing but the AWS CLI.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	const tasks = 40
	d := startDev(t, tasks)
	c, sdk := newAWSCLI(t, d), control(d.host())
	dir := t.TempDir()

	file := filepath.Join(dir, "manifest.csv")
	if err := os.WriteFile(file, d.get(t, "manifests", "manifest.csv"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(t, "s3", "cp", file, "s3://manifests/mine.csv")
	var head struct{ ETag string }
	c.ok(t, &head, "s3api", "head-object", "--bucket", "manifests", "--key", "mine.csv")
	etag := strings.Trim(head.ETag, `"`)

	// A job waits for its confirmation unless told otherwise.
	var created struct{ JobID string }
	c.jobs(t, &created, "create-job", createArgs("mine.csv", etag, "--tags", "Key=team,Value=storage")...)
	id := created.JobID
	until(t, sdk, id, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusSuspended })
	var described struct{ Job cliJob }
	c.jobs(t, &described, "describe-job", "--job-id", id)
	if j := described.Job; j.Status != "Suspended" || j.Priority != 7 || j.Description != "by the CLI: dépôt" ||
		j.ProgressSummary.TotalNumberOfTasks != tasks || len(j.Operation.S3PutObjectTagging.TagSet) != 2 || j.FailureReasons == nil {
		t.Errorf("described as %+v", j)
	}

	t.Run("tags", func(t *testing.T) {
		var got struct{ Tags []struct{ Key, Value string } }
		tags := func(want string) {
			t.Helper()
			c.jobs(t, &got, "get-job-tagging", "--job-id", id)
			if s := fmt.Sprint(got.Tags); s != want {
				t.Errorf("tags: got %s, want %s", s, want)
			}
		}
		tags("[{team storage}]")
		c.jobs(t, nil, "put-job-tagging", "--job-id", id, "--tags", "Key=a b,Value=1", "Key=c,Value=")
		tags("[{a b 1} {c }]")
		c.jobs(t, nil, "delete-job-tagging", "--job-id", id)
		tags("[]")
	})

	var priority struct {
		JobID    string
		Priority int
	}
	c.jobs(t, &priority, "update-job-priority", "--job-id", id, "--priority", "99")
	if priority.JobID != id || priority.Priority != 99 {
		t.Errorf("update-job-priority: %+v", priority)
	}
	var status struct{ JobID, Status, StatusUpdateReason string }
	c.jobs(t, &status, "update-job-status", "--job-id", id, "--requested-job-status", "Ready", "--status-update-reason", "looks right")
	if status.JobID != id || status.Status != "Ready" || status.StatusUpdateReason != "looks right" {
		t.Errorf("update-job-status: %+v", status)
	}
	until(t, sdk, id, ended)
	c.jobs(t, &described, "describe-job", "--job-id", id)
	if j := described.Job; j.Status != "Complete" || j.ProgressSummary.NumberOfTasksSucceeded != tasks || j.Priority != 99 {
		t.Errorf("ended as %+v", j)
	}
	exactlyOnce(t, d.report(t, "reports", "r", id), tasks, "succeeded")

	// The results, read back as a user does.
	c.run(t, "s3", "cp", "--recursive", "s3://reports/r/", dir)
	index, err := os.ReadFile(filepath.Join(dir, "job-"+id, "manifest.json"))
	if err != nil || !strings.Contains(string(index), "Report_CSV_20180820") {
		t.Errorf("report: %v, %s", err, index)
	}
	var tagged struct{ TagSet []struct{ Key, Value string } }
	c.ok(t, &tagged, "s3api", "get-object-tagging", "--bucket", "demo", "--key", key(3))
	got := map[string]string{} // in whatever order the store tells them
	for _, tag := range tagged.TagSet {
		got[tag.Key] = tag.Value
	}
	if want := map[string]string{"by": "cli", "empty": ""}; len(tagged.TagSet) != 2 || !maps.Equal(got, want) {
		t.Errorf("tags of an object: %v", tagged.TagSet)
	}
}

// TestAWSCLILists pages through jobs, newest first, and cancels one.
func TestAWSCLILists(t *testing.T) {
	t.Parallel()
	d := startDev(t, 5)
	c, sdk := newAWSCLI(t, d), control(d.host())

	// The same client token makes one job; it runs at once if told to.
	again := createArgs("manifest.csv", d.manifestTag, "--no-confirmation-required", "--client-request-token", "token-1")
	var first, second, third struct{ JobID string }
	c.jobs(t, &first, "create-job", again...)
	c.jobs(t, &second, "create-job", again...)
	if first != second {
		t.Errorf("the same token made %s and %s", first.JobID, second.JobID)
	}
	c.refused(t, "IdempotencyException", "ClientRequestToken",
		append([]string{"create-job", "--account-id", account}, append(again, "--priority", "8")...)...)
	if j := until(t, sdk, first.JobID, ended); j.Status != types.JobStatusComplete {
		t.Errorf("the job ended %s: %+v", j.Status, j.FailureReasons)
	}

	c.jobs(t, &second, "create-job", createArgs("manifest.csv", d.manifestTag)...)
	c.jobs(t, &third, "create-job", createArgs("manifest.csv", d.manifestTag)...)
	for _, id := range []string{second.JobID, third.JobID} {
		until(t, sdk, id, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusSuspended })
	}
	var status struct{ Status string }
	c.jobs(t, &status, "update-job-status", "--job-id", second.JobID, "--requested-job-status", "Cancelled", "--status-update-reason", "no more")
	if status.Status != "Cancelled" {
		t.Errorf("cancelling a suspended job answered %s", status.Status)
	}

	type page struct {
		NextToken string
		Jobs      []struct{ JobID, Operation, Status string }
	}
	ids := func(p page) (ids []string) {
		for _, j := range p.Jobs {
			if j.Operation != "S3PutObjectTagging" {
				t.Errorf("listed as %+v", j)
			}
			ids = append(ids, j.JobID)
		}
		return ids
	}
	check := func(got []string, want ...string) {
		t.Helper()
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var p page
	c.jobs(t, &p, "list-jobs", "--max-results", "2")
	check(ids(p), third.JobID, second.JobID)
	if p.NextToken == "" {
		t.Fatal("two of three jobs listed, and no token for the rest")
	}
	token := p.NextToken
	p = page{}
	c.jobs(t, &p, "list-jobs", "--max-results", "2", "--next-token", token)
	check(ids(p), first.JobID)
	if p.NextToken != "" {
		t.Error("there is a token on the last page")
	}
	p = page{}
	c.jobs(t, &p, "list-jobs", "--job-statuses", "Cancelled", "Complete")
	check(ids(p), second.JobID, first.JobID)
	c.refused(t, "InvalidNextTokenException", "nextToken", "list-jobs", "--account-id", account, "--job-statuses", "Active", "--next-token", token)
	c.refused(t, "JobStatusException", "Cancelled",
		"update-job-status", "--account-id", account, "--job-id", second.JobID, "--requested-job-status", "Ready")
	var described struct{ Job cliJob }
	c.jobs(t, &described, "describe-job", "--job-id", second.JobID)
	if described.Job.StatusUpdateReason != "no more" {
		t.Errorf("described as %+v", described.Job)
	}
}

// TestAWSCLIRefused does what is wrong, and looks for the error and the sentence.
func TestAWSCLIRefused(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1)
	c := newAWSCLI(t, d)
	create := func(more ...string) []string {
		return append([]string{"create-job", "--account-id", account}, createArgs("manifest.csv", d.manifestTag, more...)...)
	}
	var tags []string
	for i := range 51 {
		tags = append(tags, fmt.Sprintf("Key=k%d,Value=v", i))
	}
	sdk := control(d.host())
	made, err := sdk.CreateJob(t.Context(), tagJob(d.manifestTag, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	c.refused(t, "NotFoundException", "job does not exist", "describe-job", "--account-id", account, "--job-id", "00000000-0000-4000-8000-000000000000")
	c.refused(t, "TooManyTagsException", "51", append([]string{"put-job-tagging", "--account-id", account, "--job-id", *made.JobId, "--tags"}, tags...)...)
	c.refused(t, "AccessDenied", "account", "list-jobs", "--account-id", "999999999999")
	c.refused(t, "BadRequestException", "RoleArn", create("--role-arn", "admin")...)
	c.refused(t, "BadRequestException", "Report.Bucket", create("--report", `{"Enabled":true,"Format":"Report_CSV_20180820","ReportScope":"AllTasks"}`)...)

	// What exec sets can be overridden, and an old CLI can be told the endpoint.
	endpoint := "http://stevedore.internal:" + d.api[strings.LastIndex(d.api, ":")+1:]
	isRefused(t, d.stevedore(t, "exec", "--", "env", "AWS_SECRET_ACCESS_KEY=wrong",
		"aws", "s3control", "list-jobs", "--account-id", account, "--endpoint-url", endpoint), "SignatureDoesNotMatch", "signature")

	list, err := sdk.ListJobs(t.Context(), listAll())
	if err != nil || len(list.Jobs) != 1 {
		t.Errorf("after all that was refused there are %d jobs, want the one that was not: %v", len(list.Jobs), err)
	}
}
