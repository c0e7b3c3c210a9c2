package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/google/go-cmp/cmp"
)

// jobJSON is what "job create" and the AWS CLI take as --cli-input-json.
func jobJSON(etag, more string) string {
	return fmt.Sprintf(`{
		"Operation": {"S3PutObjectTagging": {"TagSet": [{"Key": "by", "Value": "us"}]}},
		"Manifest": {
			"Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
			"Location": {"ObjectArn": "arn:aws:s3:::manifests/manifest.csv", "ETag": "%s"}
		},
		"Report": {"Enabled": true, "Bucket": "arn:aws:s3:::reports", "Prefix": "r", "Format": "Report_CSV_20180820", "ReportScope": "AllTasks"},
		"Priority": 5, "RoleArn": "%s"%s
	}`, etag, role, more)
}

// ourClient is our own client of the job API.
type ourClient struct{ d *devServer }

// run runs a job command and checks its exit code.
func (c ourClient) run(t *testing.T, code int, stdin string, args ...string) ending {
	t.Helper()
	e := command(t, cleanEnv("STEVEDORE_READY_FILE="+c.d.readyFile), stdin, binary, append([]string{"job"}, args...)...)
	if e.code != code {
		t.Errorf("job %q: exit code %d, want %d: %s%s", args, e.code, code, e.stdout, e.stderr)
	}
	return e
}

// create creates a job and returns its ID.
func (c ourClient) create(t *testing.T, request string) string {
	t.Helper()
	e := c.run(t, 0, request, "create", "--cli-input-json", "-", "-o", "json")
	var out struct{ JobID string }
	if err := json.Unmarshal([]byte(e.stdout), &out); err != nil || out.JobID == "" {
		t.Fatalf("created %q: %v", e.stdout, err)
	}
	return out.JobID
}

// TestJobCommands takes jobs through their lives with our own client.
func TestJobCommands(t *testing.T) {
	t.Parallel()
	const tasks = 30
	d := startDev(t, tasks)
	c, sdk := ourClient{d}, control(d.host())

	file := filepath.Join(t.TempDir(), "job.json")
	if err := os.WriteFile(file, []byte(jobJSON(d.manifestTag, `, "Description": "our own", "Tags": [{"Key": "a", "Value": "1"}]`)), 0o600); err != nil {
		t.Fatal(err)
	}
	e := c.run(t, 0, "", "create", "--cli-input-json", file, "-o", "name")
	id, ok := strings.CutPrefix(strings.TrimSpace(e.stdout), "job/")
	if !ok {
		t.Fatalf("created %q", e.stdout)
	}
	until(t, sdk, id, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusSuspended })

	contains(t, "list", c.run(t, 0, "", "list").stdout, id[:8], "Suspended", "S3PutObjectTagging", "our own")
	if e := c.run(t, 0, "", "list", "--status", "active,complete", "-o", "name"); e.stdout != "" {
		t.Errorf("active jobs: %q", e.stdout)
	}
	contains(t, "describe", c.run(t, 0, "", "describe", id[:8]).stdout, id, "our own", "30 in all", "job confirm "+id[:8])
	contains(t, "watch", c.run(t, 8, "", "watch", id, "--timeout", "300ms", "--interval", "50ms").stderr, "still Suspended")
	contains(t, "priority", c.run(t, 0, "", "priority", id[:12], "77").stdout, id, "77")
	contains(t, "tag set", c.run(t, 0, "", "tag", "set", id, "b=2", "c=").stdout, "a ", "b ")
	contains(t, "tag unset", c.run(t, 0, "", "tag", "unset", id, "a", "c", "-o", "json").stdout, `"Key": "b"`)
	if e := c.run(t, 0, "", "tag", "get", id); strings.Join(strings.Fields(e.stdout), " ") != "b 2" {
		t.Errorf("tags: %q", e.stdout)
	}
	c.run(t, 0, "", "tag", "unset", id, "--all")

	contains(t, "confirm", c.run(t, 0, "", "confirm", id).stdout, "job/"+id+" Ready")
	e = c.run(t, 0, "", "watch", id, "--exit-status", "--interval", "50ms")
	contains(t, "watch", e.stdout, "job/"+id+" Complete: 30 of 30 tasks succeeded, 0 failed", "s3://reports/r/job-"+id+"/manifest.json")
	contains(t, "watch", e.stderr, "status=Complete", "pct=100")
	exactlyOnce(t, d.report(t, "reports", "r", id), tasks, "succeeded")

	// How a job ends is an exit code, if one wants it.
	missing := d.put(t, "manifests", "manifest.csv", []byte("demo,data/000001.txt\ndemo,none\n"))
	partial := c.create(t, jobJSON(strings.Trim(missing, `"`), `, "ConfirmationRequired": false`))
	c.run(t, 3, "", "watch", partial, "--exit-status", "--interval", "50ms")
	contains(t, "watch", c.run(t, 0, "", "watch", partial).stdout, "1 of 2 tasks succeeded, 1 failed")
	failed := c.create(t, jobJSON("0123456789abcdef0123456789abcdef", `, "ConfirmationRequired": false`))
	c.run(t, 5, "", "watch", failed, "--exit-status", "--interval", "50ms")
	contains(t, "watch", c.run(t, 0, "", "watch", failed).stdout, "Failed", "ETag")
	cancelled := c.create(t, jobJSON(strings.Trim(missing, `"`), ""))
	contains(t, "cancel", c.run(t, 0, "", "cancel", cancelled, "--reason", "wrong bucket").stdout, "job/"+cancelled+" Cancel")
	c.run(t, 5, "", "watch", cancelled, "--exit-status", "--interval", "50ms")
	contains(t, "describe", c.run(t, 0, "", "describe", cancelled).stdout, "wrong bucket")

	// With -o json it prints what the AWS CLI prints, after the same call.
	aws := newAWSCLI(t, d)
	same := func(args []string, call string, more ...string) {
		t.Helper()
		var ours, theirs any
		if err := json.Unmarshal([]byte(c.run(t, 0, "", append(args, "-o", "json")...).stdout), &ours); err != nil {
			t.Fatal(err)
		}
		aws.jobs(t, &theirs, call, more...)
		if diff := cmp.Diff(instants(theirs), instants(ours)); diff != "" {
			t.Errorf("%s: theirs (-) and ours (+):\n%s", call, diff)
		}
	}
	same([]string{"describe", id}, "describe-job", "--job-id", id)
	same([]string{"describe", failed}, "describe-job", "--job-id", failed)
	same([]string{"list"}, "list-jobs")
	same([]string{"tag", "get", id}, "get-job-tagging", "--job-id", id)
}

// instants writes the times in what JSON was read into in one form.
func instants(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = instants(member)
		}
	case []any:
		for i, item := range v {
			v[i] = instants(item)
		}
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return at.UTC()
		}
	}
	return v
}

// TestJobExitCodes: scripts branch on them.
func TestJobExitCodes(t *testing.T) {
	t.Parallel()
	d := startDev(t, 2)
	c := ourClient{d}
	id := c.create(t, jobJSON(d.manifestTag, `, "ClientRequestToken": "t", "ConfirmationRequired": false`))
	c.run(t, 0, "", "watch", id, "--interval", "50ms")

	refused := func(code int, word string, args ...string) {
		t.Helper()
		contains(t, strings.Join(args, " "), c.run(t, code, "", args...).stderr, "error: ", word)
	}
	unknown := "00000000-0000-4000-8000-000000000000"
	refused(2, "--lst", "list", "--lst")
	refused(2, "too short", "describe", "abc")
	refused(2, "Running", "list", "--status", "Running")
	refused(2, "-1", "priority", "--", id, "-1")
	refused(2, "KEY=VALUE", "tag", "set", id, "a")
	refused(2, "-o yaml", "list", "-o", "yaml")
	refused(2, "twelve", "list", "--region", "eu-west-3", "twelve")
	refused(6, "does not exist", "describe", unknown)
	refused(6, "no job whose ID begins", "cancel", "00000000-0000")
	refused(6, "does not exist", "watch", unknown)
	refused(6, "does not exist", "describe", id, "--region", "eu-west-3")
	refused(7, "JobStatusException", "cancel", id)
	refused(7, "JobStatusException", "confirm", id)
	refused(7, "BadRequestException", "priority", id, "3")
	refused(4, "AccessDenied", "list", "--account-id", "999999999999")
	refused(11, "no server answers", "list", "--endpoint-url", "http://127.0.0.1:1")
	refused(11, "ready file", "list", "--ready-file", d.readyFile+".none")

	create := func(code int, request string, words ...string) {
		t.Helper()
		contains(t, request, c.run(t, code, request, "create", "--cli-input-json", "-").stderr, words...)
	}
	good := jobJSON(d.manifestTag, `, "ClientRequestToken": "t", "ConfirmationRequired": false`)
	contains(t, "the same token", c.run(t, 0, good, "create", "--cli-input-json", "-").stdout, id)
	create(7, strings.Replace(good, `"Priority": 5`, `"Priority": 6`, 1), "IdempotencyException", "request id ")
	create(10, strings.Replace(good, `"Priority": 5`, `"Priorty": 5`, 1), "Priorty: is not a member", "Priority: is required")
	create(10, strings.Replace(good, role, "admin", 1), "RoleArn")
	create(10, "{", "not a JSON object")
	create(10, good+good, "more than one")
	create(4, strings.Replace(good, role, "arn:aws:iam::999999999999:role/x", 1), "Cross-account")

	keys := command(t, cleanEnv("AWS_ACCESS_KEY_ID="+access, "AWS_SECRET_ACCESS_KEY=wrong"), "", binary, "job", "list", "--endpoint-url", d.api)
	if keys.code != 4 {
		t.Errorf("a wrong secret: exit code %d, want 4", keys.code)
	}
	contains(t, "a wrong secret", keys.stderr, "SignatureDoesNotMatch", access)
	list, err := control(d.host()).ListJobs(t.Context(), listAll())
	if err != nil || len(list.Jobs) != 1 {
		t.Errorf("after all that was refused there are %d jobs, want 1: %v", len(list.Jobs), err)
	}
}

// TestExec: a command ends as it would have ended alone.
func TestExec(t *testing.T) {
	t.Parallel()
	d := startDev(t, 0)
	dir := t.TempDir()
	check := func(code int, word string, args ...string) {
		t.Helper()
		e := d.stevedore(t, append([]string{"exec", "--"}, args...)...)
		if e.code != code {
			t.Errorf("exec %q: exit code %d, want %d: %s%s", args, e.code, code, e.stdout, e.stderr)
		}
		contains(t, strings.Join(args, " "), e.stdout+e.stderr, word)
	}
	check(0, "http://stevedore.internal:", "sh", "-c", "echo $AWS_ENDPOINT_URL_S3_CONTROL")
	check(0, d.api, "sh", "-c", "echo $HTTP_PROXY")
	check(0, d.s3, "sh", "-c", "echo $AWS_ENDPOINT_URL_S3")
	check(7, "", "sh", "-c", "exit 7")
	check(143, "", "sh", "-c", "kill -TERM $$")
	check(0, "--not-ours -h", "echo", "--not-ours", "-h")
	check(127, "cannot run", "no-such-command")
	check(126, "cannot run", dir)
	if e := d.stevedore(t, "exec"); e.code != 2 {
		t.Errorf("exec without a command: exit code %d, want 2", e.code)
	}
}

// TestEnv: what it prints is what exec sets, in each form.
func TestEnv(t *testing.T) {
	t.Parallel()
	d := startDev(t, 0)
	e := d.stevedore(t, "env", "--shell", "json")
	var env map[string]string
	if err := json.Unmarshal([]byte(e.stdout), &env); err != nil {
		t.Fatalf("%v in %q", err, e.stdout)
	}
	for name, want := range map[string]string{
		"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1",
		"AWS_ENDPOINT_URL_S3": d.s3, "HTTP_PROXY": d.api, "http_proxy": d.api, "STEVEDORE_ENDPOINT_URL": d.api,
	} {
		if env[name] != want {
			t.Errorf("%s: got %q, want %q", name, env[name], want)
		}
	}
	contains(t, "NO_PROXY", env["NO_PROXY"], "127.0.0.1", "localhost")

	// A shell takes it over, and our own client follows it without a ready file.
	script := `eval "$("$1" env --ready-file "$2")"; unset STEVEDORE_READY_FILE; test -z "${AWS_PROFILE+set}"; "$1" job list -o json`
	shell := command(t, cleanEnv("AWS_PROFILE=other"), "", "sh", "-ec", script, "sh", binary, d.readyFile)
	if shell.code != 0 || !strings.Contains(shell.stdout, `"Jobs": []`) {
		t.Errorf("sh: exit code %d: %s%s", shell.code, shell.stdout, shell.stderr)
	}
	contains(t, "fish", d.stevedore(t, "env", "--shell", "fish").stdout, "set -gx AWS_ENDPOINT_URL_S3 '"+d.s3+"'", "set -e AWS_PROFILE")
	if e := d.stevedore(t, "env", "--shell", "csh"); e.code != 2 {
		t.Errorf("env for a shell it does not know: exit code %d, want 2", e.code)
	}
}
