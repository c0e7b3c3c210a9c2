//go:build !slim

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"stevedore/internal/controlapi"
)

// devForTest runs `stevedore dev` in this process until the test ends and
// returns its ready file and what it printed.
func devForTest(t *testing.T, args ...string) (readyFile string, r ready, block string) {
	t.Helper()
	readyFile = filepath.Join(t.TempDir(), "ready.json")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	out, in := io.Pipe()
	var stderr bytes.Buffer
	exited := make(chan int, 1)
	go func() {
		args := append([]string{"dev", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--ready-file", readyFile}, args...)
		code := run(ctx, args, world{strings.NewReader(""), in, &stderr, os.Environ(), ""})
		in.Close()
		exited <- code
	}()
	var printed strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&printed, lines.Text())
		if strings.Contains(lines.Text(), "print(jobs.list_jobs(") { // the last line
			break
		}
	}
	t.Cleanup(func() {
		cancel()
		go io.Copy(io.Discard, out)
		if code := <-exited; code != 0 {
			t.Errorf("dev: exit code %d\n%s", code, &stderr)
		}
		if _, err := os.Stat(readyFile); err == nil {
			t.Error("the ready file is still there")
		}
	})
	r, err := readReady(readyFile)
	if err != nil {
		t.Fatalf("%v\n%s", err, &printed)
	}
	return readyFile, r, printed.String()
}

// TestClient follows jobs through their lives with our own client.
func TestClient(t *testing.T) {
	t.Parallel()
	file, r, block := devForTest(t, "--seed", "30")
	objects, closeS3 := newS3(r)
	defer closeS3()
	put := func(key, body string) (etag string) {
		t.Helper()
		out, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(manifestsBucket), Key: &key, Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		return unquoteETag(*out.ETag)
	}
	cli := func(args ...string) ran {
		return invoke(t.Context(), "", nil, append(args, "--ready-file", file)...)
	}
	check := func(want int, says string, args ...string) ran {
		t.Helper()
		got := cli(args...)
		if got.code != want || !strings.Contains(got.stdout+got.stderr, says) {
			t.Fatalf("%q: got exit code %d\n%s%s\nwant %d and %q", args, got.code, got.stdout, got.stderr, want, says)
		}
		return got
	}
	create := func(key, etag string, confirm bool) string {
		t.Helper()
		in := fmt.Sprintf(`{"ConfirmationRequired":%t,"Operation":%s,"Report":%s,"Priority":5,"RoleArn":"%s","Description":"a b",
			"Manifest":{"Spec":{"Format":"S3BatchOperations_CSV_20180820","Fields":["Bucket","Key"]},
			"Location":{"ObjectArn":"arn:aws:s3:::manifests/%s","ETag":"%s"}}}`, confirm, sampleOperation, sampleReport, roleARN(r.Account), key, etag)
		got := invoke(t.Context(), in, nil, "job", "create", "--cli-input-json", "-", "-o", "json", "--ready-file", file)
		var answer controlapi.CreateJobResult
		if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil || got.code != 0 {
			t.Fatalf("%+v: %v", got, err)
		}
		return answer.JobId
	}

	// suspended waits until a job asks for its confirmation.
	suspended := func(id string) {
		t.Helper()
		for {
			got := check(0, "", "job", "describe", id, "-o", "json")
			if strings.Contains(got.stdout, `"Status": "Suspended"`) {
				return
			}
			if !strings.Contains(got.stdout, `"Status": "New"`) && !strings.Contains(got.stdout, `"Status": "Preparing"`) {
				t.Fatalf("got\n%s\nwant a job on its way to Suspended", got.stdout)
			}
		}
	}

	check(0, "ID  STATUS", "job", "list")
	good := put("good.csv", "demo,data/000000.txt\ndemo,data/000001.txt\n")
	waiting := create("good.csv", good, true)
	suspended(waiting)
	check(exitPending, "waits for you: stevedore job confirm "+shortID(waiting), "job", "watch", waiting, "--interval", "10ms", "--timeout", "1s")
	check(0, "Suspended", "job", "list", "--status", "suspended,Active")
	if got := check(0, "", "job", "list", "--status", "Failed", "-o", "name"); got.stdout != "" {
		t.Errorf("got %q, want no failed jobs", got.stdout)
	}
	check(0, "job/"+waiting, "job", "list", "-o", "name")
	check(0, "  a b\n", "job", "list")
	check(0, "AWAITING_CONFIRMATION", "job", "describe", waiting[:4])
	check(0, waiting+" priority 7", "job", "priority", shortID(waiting), "7")
	check(0, waiting+" Ready", "job", "confirm", "job/"+waiting)
	check(0, "Complete: 2 of 2 tasks succeeded, 0 failed", "job", "watch", waiting, "--exit-status", "--interval", "10ms")
	check(0, `"Status": "Complete"`, "job", "watch", waiting, "-o", "json")
	check(0, "Outcome      ok\n", "job", "describe", waiting)
	if got := check(0, "written to s3://reports/demo/job-"+waiting, "job", "describe", waiting); strings.Contains(got.stdout, "AWAITING_CONFIRMATION") {
		t.Errorf("got\n%s\nwant no cause of a wait that is over", got.stdout)
	}
	check(exitConflict, "JobStatusException (400)", "job", "cancel", waiting)
	check(exitConflict, "JobStatusException", "job", "confirm", waiting)
	check(exitConflict, "has ended", "job", "priority", waiting, "1")

	check(0, "team  storage", "job", "tag", "set", waiting, "team=storage", "x=")
	check(0, "team  tape", "job", "tag", "set", waiting, "team=tape", "y=a b")
	check(0, "team  tape", "job", "tag", shortID(waiting))
	if got := check(0, "", "job", "tag", "get", waiting); got.stdout != "team  tape\nx     \ny     a b\n" {
		t.Errorf("got the tags\n%s", got.stdout)
	}
	if got := check(0, "", "job", "tag", "unset", waiting, "x", "none"); got.stdout != "team  tape\ny     a b\n" {
		t.Errorf("got the tags\n%s", got.stdout)
	}
	check(0, `"Value": "only"`, "job", "tag", "set", waiting, "--replace", "just=only", "-o", "json")
	check(exitInvalid, "InvalidTag", "job", "tag", "set", waiting, "bad=\x7f")
	check(0, `"Tags": []`, "job", "tag", "unset", waiting, "--all", "-o", "json")

	part := put("part.csv", "demo,data/000000.txt\ndemo,not/there\n")
	check(exitTasksFailed, "1 of 2 tasks succeeded, 1 failed", "job", "watch", create("part.csv", part, false), "--exit-status", "--interval", "10ms")
	broken := create("good.csv", strings.Repeat("0", 32), false)
	check(0, "Failed before any task ran", "job", "watch", broken, "--interval", "10ms")
	check(exitJobFailed, "ManifestETagMismatch", "job", "watch", broken, "--exit-status", "--progress", "none")

	unwanted, other := create("good.csv", good, true), create("good.csv", good, true)
	suspended(unwanted)
	suspended(other)
	check(exitNotFound, unwanted+" Cancelled\njob/"+other+" Cancelled", "job", "cancel", unwanted, "ffff", other, "--reason", "no need")
	check(0, "no need\n", "job", "describe", unwanted)
	check(exitJobFailed, "Cancelled", "job", "watch", unwanted, "--exit-status")
	check(0, "partial", "job", "list")

	const nobody = "00000000-0000-0000-0000-000000000000"
	check(exitNotFound, "NotFoundException (404)", "job", "describe", nobody)
	check(exitNotFound, "per account and region", "job", "describe", waiting, "--region", "eu-west-1")
	check(exitDenied, "AccessDenied (403)", "job", "list", "--account-id", "999999999999")
	check(exitDenied, "try   --account-id "+r.Account+"\n", "job", "list", "--account-id", "999999999999")
	keys := []string{"AWS_ACCESS_KEY_ID=else", "AWS_SECRET_ACCESS_KEY=x"}
	if got := invoke(t.Context(), "", keys, "job", "list", "--endpoint-url", r.API); got.code != exitDenied || !strings.Contains(got.stderr, "signed with the access key else") {
		t.Errorf("got %+v, want exit code %d", got, exitDenied)
	}
	if got := invoke(t.Context(), `{"Operation":{"S3DeleteObjectTagging":{}},"Report":{"Enabled":true},"Priority":1,"RoleArn":"r"}`, nil,
		"job", "create", "--cli-input-json", "-", "--ready-file", file); got.code != exitInvalid || !strings.Contains(got.stderr, "BadRequestException") || !strings.Contains(got.stderr, "RoleArn") {
		t.Errorf("got %+v, want exit code %d", got, exitInvalid)
	}

	foreign := strings.Replace(exampleText(t, "tag"), r.Account, "999999999999", 1)
	if got := invoke(t.Context(), foreign, nil, "job", "create", "--cli-input-json", "-", "--ready-file", file); got.code != exitDenied || !strings.Contains(got.stderr, "try   a RoleArn such as arn:aws:iam::"+r.Account) {
		t.Errorf("got %+v, want exit code %d", got, exitDenied)
	}
	// The example is taken as it stands, and does nothing before its ETag is right.
	example := strings.Replace(exampleText(t, "untag"), exampleETag, good, 1)
	example = strings.Replace(example, manifestKey, "good.csv", 1)
	if got := invoke(t.Context(), example, nil, "job", "create", "--cli-input-json", "-", "--ready-file", file); got.code != 0 {
		t.Errorf("got %+v", got)
	}

	// What dev prints for our own client works as it stands.
	pasted := regexp.MustCompile(`(?m)^  stevedore (job list.*)$`).FindStringSubmatch(block)
	if pasted == nil {
		t.Fatalf("no line to paste in\n%s", block)
	}
	if got := invoke(t.Context(), "", nil, strings.Fields(pasted[1])...); got.code != 0 || !strings.Contains(got.stdout, "Complete") {
		t.Errorf("%s: got %+v", pasted[1], got)
	}
	if !strings.Contains(block, "exec --ready-file "+file+" -- aws s3control create-job") {
		t.Errorf("no line to create a job in\n%s", block)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	got := invoke(t.Context(), "", nil, "job", "list", "--endpoint-url", "http://"+address)
	if got.code != exitUnreachable || !strings.Contains(got.stderr, "no server answers at http://"+address) {
		t.Errorf("got %+v, want exit code %d", got, exitUnreachable)
	}
	got = invoke(t.Context(), "", nil, "exec", "--endpoint-url", "http://"+address, "--", "echo", "ran")
	if got.code != exitUnreachable || got.stdout != "" || !strings.Contains(got.stderr, "try   stevedore dev") {
		t.Errorf("got %+v, want exit code %d and no command run", got, exitUnreachable)
	}
}

// TestDevCannotStart: which exit code and title each obstacle has.
func TestDevCannotStart(t *testing.T) {
	t.Parallel()
	check := func(want int, says string, args ...string) {
		t.Helper()
		got := invoke(t.Context(), "", os.Environ(), append([]string{"dev", "--listen", "127.0.0.1:0"}, args...)...)
		if got.code != want || !strings.HasPrefix(got.stderr, "error: "+says) {
			t.Errorf("%q: got %+v, want exit code %d and %q", args, got, want, says)
		}
	}
	url, _ := fakeAPI(t, answer{})
	check(exitCannotListen, "the address of the S3 server cannot be listened on", "--s3-listen", strings.TrimPrefix(url, "http://"))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(exitDataDir, "the data directory cannot be used", "--s3-listen", "127.0.0.1:0", "--data", file)
	check(exitDataDir, "the data directory cannot be used", "--s3-listen", "127.0.0.1:0", "--data", filepath.Join(file, "below"))
}

func TestDemo(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"tag", "untag", "copy"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			got := invoke(t.Context(), "", os.Environ(), "demo", "--objects", "50", "--operation", operation)
			if got.code != 0 || !strings.Contains(got.stdout, "\n50 of 50 succeeded, ") || !strings.HasSuffix(got.stdout, "--keep leaves it to be looked at\n") {
				t.Errorf("got exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if !strings.HasPrefix(got.stdout, "seeding: 0 of 50 ") || strings.Count(got.stdout, ": 50 of 50 objects (100.0%)") != 3 {
				t.Errorf("progress in\n%s", got.stdout)
			}
		})
	}
}

// TestDevKeepsData: what one server did, the next one on the same directory knows.
func TestDevKeepsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var id string
	t.Run("first", func(t *testing.T) {
		file, r, block := devForTest(t, "--seed", "3", "--data", dir)
		etag := regexp.MustCompile(`"ETag":"([0-9a-f]{32})"`).FindStringSubmatch(block)
		if etag == nil {
			t.Fatalf("no ETag in\n%s", block)
		}
		in := `{"ConfirmationRequired":false,"Operation":` + sampleOperation + `,"Manifest":` + sampleManifest(etag[1]) +
			`,"Report":` + sampleReport + `,"Priority":1,"RoleArn":"` + roleARN(r.Account) + `"}`
		got := invoke(t.Context(), in, nil, "job", "create", "--cli-input-json", "-", "-o", "name", "--ready-file", file)
		id = strings.TrimSpace(strings.TrimPrefix(got.stdout, "job/"))
		if got = invoke(t.Context(), "", nil, "job", "watch", id, "--exit-status", "--interval", "10ms", "--ready-file", file); got.code != 0 {
			t.Fatalf("got %+v", got)
		}
	})
	t.Run("second", func(t *testing.T) {
		file, r, _ := devForTest(t, "--data", dir)
		if got := invoke(t.Context(), "", nil, "job", "describe", id, "--ready-file", file); got.code != 0 || !strings.Contains(got.stdout, "Complete") {
			t.Errorf("got %+v", got)
		}
		objects, closeS3 := newS3(r)
		defer closeS3()
		for n := range 3 {
			if err := checkTags(t.Context(), objects, n, "hello=world"); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("seeded again", func(t *testing.T) {
		if _, _, block := devForTest(t, "--data", dir, "--seed", "2"); !strings.Contains(block, "objects of an earlier start") {
			t.Errorf("nothing of the third object in\n%s", block)
		}
	})
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Errorf("the data directory has %d entries, %v", len(entries), err)
	}
}

// TestDevStoreFlags: the S3 server is as its flags say.
func TestDevStoreFlags(t *testing.T) {
	t.Parallel()
	_, r, _ := devForTest(t, "--seed", "1", "--copy-limit", "1", "--restore-after", "1h")
	objects, closeS3 := newS3(r)
	defer closeS3()
	bucket, source := new(demoBucket), new(manifestsBucket+"/"+manifestKey) // longer than a byte
	_, err := objects.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucket, Key: new("copy"), CopySource: source})
	if err == nil || !strings.Contains(err.Error(), "InvalidRequest") {
		t.Errorf("copy above the limit: got %v, want InvalidRequest", err)
	}
	_, err = objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: new("cold"), StorageClass: types.StorageClassGlacier})
	if err != nil {
		t.Fatal(err)
	}
	_, err = objects.RestoreObject(t.Context(), &s3.RestoreObjectInput{
		Bucket: bucket, Key: new("cold"), RestoreRequest: &types.RestoreRequest{Days: new(int32(1))},
	})
	if err != nil {
		t.Fatal(err)
	}
	head, err := objects.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: new("cold")})
	if err != nil || head.Restore == nil || *head.Restore != `ongoing-request="true"` {
		t.Errorf("got %+v and %v, want a restore under way", head, err)
	}
}

// TestDevProcess starts dev as a process and ends it in the ways it can end.
func TestDevProcess(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("signals")
	}
	begin := func(t *testing.T) (p *process, dir string) {
		t.Helper()
		p = start(t, roleProgram, "dev", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--log-level", "error")
		lines := bufio.NewScanner(p.stdout)
		for lines.Scan() {
			if m := regexp.MustCompile(`^  data +(\S+)   removed at the end$`).FindStringSubmatch(lines.Text()); m != nil {
				dir = m[1]
			}
			if strings.Contains(lines.Text(), "print(jobs.list_jobs(") {
				return p, dir
			}
		}
		t.Fatalf("exit code %d\n%s", p.wait(), &p.stderr)
		return nil, ""
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			p, dir := begin(t)
			p.cmd.Process.Signal(s)
			if code := p.wait(); code != 0 || p.stderr.Len() > 0 {
				t.Errorf("exit code %d\n%s", code, &p.stderr)
			}
			if _, err := os.Stat(dir); dir == "" || err == nil {
				t.Errorf("the temporary directory %q is still there", dir)
			}
		})
	}
	t.Run("child dies", func(t *testing.T) {
		t.Parallel()
		p, dir := begin(t)
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.cmd.Process.Pid, p.cmd.Process.Pid))
		if err != nil {
			t.Skip("no list of child processes here")
		}
		var child int
		if _, err := fmt.Sscan(string(children), &child); err != nil {
			// The child may have been started by another thread.
			all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
			for _, file := range all {
				data, _ := os.ReadFile(file)
				fmt.Sscan(string(data), &child)
			}
		}
		if child == 0 {
			t.Fatal("no child process")
		}
		if victim, err := os.FindProcess(child); err == nil {
			victim.Kill()
		}
		if code := p.wait(); code != exitFailed || !strings.Contains(p.stderr.String(), "the S3 server ended by itself") {
			t.Errorf("exit code %d\n%s", code, &p.stderr)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("the temporary directory %q is still there", dir)
		}
	})
}

// TestServe: how the daemon starts, does not start, and stops.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want int, says string, args ...string) {
		t.Helper()
		got := invoke(t.Context(), "", nil, append([]string{"serve"}, args...)...)
		if got.code != want || !strings.Contains(got.stderr, says) {
			t.Errorf("%q: got exit code %d\n%s\nwant %d and %q", args, got.code, got.stderr, want, says)
		}
	}
	write("listen: 127.0.0.1:0\nlisten_on: x\n")
	check(exitInvalid, "line 2", "--config", config)
	check(exitInvalid, "12-digit", "--account", "1", "--data-dir", dir)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	check(exitInvalid, "no credentials", "--listen", "127.0.0.1:0", "--data-dir", dir)

	write(`account: "210987654321"
keys: [{access_key: k, secret_key: s}]
store: {endpoint: "http://127.0.0.1:1", access_key: a, secret_key: b}
`)
	args := []string{"--config", config, "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"), "--log-format", "json"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, in := io.Pipe()
	exited := make(chan int, 1)
	go func() {
		exited <- run(ctx, append([]string{"serve"}, args...), world{strings.NewReader(""), io.Discard, in, nil, ""})
		in.Close()
	}()
	lines := bufio.NewScanner(log)
	var started struct{ Msg, API string }
	for started.Msg != "service started" && lines.Scan() {
		started.Msg = ""
		if err := json.Unmarshal(lines.Bytes(), &started); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
	}
	go io.Copy(io.Discard, log)
	keys := []string{"AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s"}
	if got := invoke(t.Context(), "", keys, "job", "list", "--endpoint-url", started.API, "--account-id", "210987654321"); got.code != 0 {
		t.Errorf("got %+v", got)
	}
	check(exitCannotListen, "cannot be listened on", append(args, "--listen", strings.TrimPrefix(started.API, "http://"))...)
	check(exitDataDir, "cannot be used", args...)
	check(exitDataDir, "error: the data directory cannot be used", append(args, "--data-dir", config)...)
	check(exitDataDir, "error: the data directory cannot be used", append(args, "--data-dir", filepath.Join(config, "below"))...)
	cancel()
	if code := <-exited; code != 0 {
		t.Errorf("exit code %d", code)
	}
}
