package main

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestExec runs commands in the environment and passes on how they end.
func TestExec(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	url, _ := fakeAPI(t, answer{}) // exec only looks whether somebody listens
	port := url[strings.LastIndex(url, ":"):]
	environ := append(os.Environ(), "AWS_PROFILE=mine", "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s",
		"STEVEDORE_ENDPOINT_URL="+url, "AWS_ENDPOINT_URL_S3=http://127.0.0.1:1")
	got := invoke(t.Context(), "in\n", environ, "exec", "--region", "eu-west-1", "--",
		sh, "-c", `cat; echo "$AWS_ENDPOINT_URL_S3_CONTROL $HTTP_PROXY $AWS_REGION ${AWS_PROFILE-unset}"; echo oops >&2; exit 17`)
	if want := "in\nhttp://stevedore.internal" + port + " " + url + " eu-west-1 unset\n"; got.code != 17 || got.stdout != want || got.stderr != "oops\n" {
		t.Errorf("got %+v, want exit code 17 and %q", got, want)
	}
	if got := invoke(t.Context(), "", environ, "exec", sh, "-c", "kill -9 $$"); got.code != 128+9 || got.stderr != "" {
		t.Errorf("got %+v, want exit code 137", got)
	}
	if got := invoke(t.Context(), "", environ, "exec", "--", "no-such-command-anywhere"); got.code != 127 || !strings.Contains(got.stderr, "cannot run") {
		t.Errorf("got %+v, want exit code 127", got)
	}
	if got := invoke(t.Context(), "", environ, "exec", "--", t.TempDir()); got.code != 126 {
		t.Errorf("got %+v, want exit code 126", got)
	}

	// Nothing keeps S3 calls from AWS: that is said, unless there are none.
	const warning = "so S3 calls go to AWS"
	if got := invoke(t.Context(), "", nil, "exec", "--endpoint-url", url, "--", "true"); got.code != 0 || !strings.Contains(got.stderr, warning) {
		t.Errorf("got %+v, want a warning", got)
	}
	if got := invoke(t.Context(), "", nil, "exec", "--endpoint-url", url, "--s3-endpoint-url", url, "--", "true"); got.stderr != "" {
		t.Errorf("got %+v, want no warning", got)
	}
	if !jobsOnly([]string{"/usr/bin/aws", "s3control", "list-jobs"}) || jobsOnly([]string{"aws", "s3", "ls"}) || jobsOnly([]string{"sh", "s3control"}) {
		t.Error("the warning is not for aws s3control alone")
	}
	if got := invoke(t.Context(), "", nil, "env", "--endpoint-url", url); got.code != 0 || !strings.Contains(got.stderr, warning) {
		t.Errorf("got %+v, want a warning", got)
	}
}

// TestExecForwardsSignals: the command judges a signal, and its exit code counts.
func TestExecForwardsSignals(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("signals")
	}
	// The inner process is this test binary, too.
	url, _ := fakeAPI(t, answer{})
	p := start(t, roleProgram, "exec", "--endpoint-url", url, "--", "env", roleVariable+"="+roleTerminal, os.Args[0])
	if line, err := bufio.NewReader(p.stdout).ReadString('\n'); line != "up\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.wait(); code != 42 {
		t.Errorf("got exit code %d, want 42\n%s", code, &p.stderr)
	}
}
