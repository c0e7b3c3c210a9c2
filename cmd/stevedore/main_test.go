package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/devstore"
)

var update = flag.Bool("update", false, "rewrite the goldens in testdata")

// Roles of the test binary when a test starts it as another process.
const (
	roleVariable = "STEVEDORE_TEST_ROLE"
	roleProgram  = "program" // be stevedore
	roleTerminal = "on-term" // say "up" and exit with 42 at SIGTERM
)

func TestMain(m *testing.M) {
	if code, ran := devstore.Main(os.Args); ran {
		os.Exit(code)
	}
	switch os.Getenv(roleVariable) {
	case roleProgram:
		main()
	case roleTerminal:
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("up")
		<-signals
		os.Exit(42)
	}
	os.Exit(m.Run())
}

// outcome of a command line.
type ran struct {
	code           int
	stdout, stderr string
}

// invoke runs a command line in this process.
func invoke(ctx context.Context, stdin string, environ []string, args ...string) ran {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, world{strings.NewReader(stdin), &stdout, &stderr, environ, ""})
	return ran{code, stdout.String(), stderr.String()}
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// process is stevedore as another process.
type process struct {
	cmd    *exec.Cmd
	stdout *io.PipeReader
	stderr bytes.Buffer // to be read after the end
	exited chan error
}

// start starts this binary in a role. What it prints has to be read from stdout.
func start(t *testing.T, role string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], args...), exited: make(chan error, 1)}
	r, w := io.Pipe()
	p.stdout = r
	p.cmd.Stdout, p.cmd.Stderr = w, &p.stderr
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		err := p.cmd.Wait()
		w.Close()
		p.exited <- err
	}()
	return p
}

// wait returns the exit code.
func (p *process) wait() int {
	go io.Copy(io.Discard, p.stdout)
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}
