package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cleanEnv is the environment of this process without what would lead an AWS
// client elsewhere, and with more.
func cleanEnv(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		name = strings.ToUpper(name)
		return strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "STEVEDORE_") || strings.HasSuffix(name, "_PROXY")
	})
	// No file of the user's, no questions to a cloud, no pager.
	return append(append(env, "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"), more...)
}

// process is a running server.
type process struct {
	cmd      *exec.Cmd
	done     chan struct{}
	log, out *os.File
}

// start starts the binary. What it logs goes to the end of a file, and what it
// prints to another beside it.
func start(t *testing.T, log string, env []string, args ...string) *process {
	t.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(log + ".out")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{done: make(chan struct{}), log: file, out: out}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, out, file
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		text, err := os.ReadFile(log)
		if err != nil || bytes.Contains(text, []byte("DATA RACE")) || bytes.Contains(text, []byte("panic:")) {
			t.Errorf("the server raced or panicked, or left no log: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", tail(text, 8000))
		}
	})
	return p
}

// await returns once ready says so; it fails the test if the process ends first.
func (p *process) await(t *testing.T, ready func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready(ctx) {
		select {
		case <-tick.C:
		case <-p.done:
			t.Fatalf("the server ended: %v", p.cmd.ProcessState)
		case <-ctx.Done():
			t.Fatal("the server does not get ready")
		}
	}
}

// kill ends the process as a power cut would end it.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
	p.log.Close()
	p.out.Close()
}

// printed is what the process has printed so far.
func (p *process) printed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// terminate asks the process to end and returns its exit code.
func (p *process) terminate(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// serve starts the daemon on a data directory and address and waits until it is ready.
func serve(t *testing.T, o *objects, dir, address string, more ...string) *process {
	t.Helper()
	p := start(t, filepath.Join(dir, "serve.log"), storeEnv(o.endpoint),
		append([]string{"serve", "--listen", address, "--data-dir", filepath.Join(dir, "jobs")}, more...)...)
	p.await(t, func(ctx context.Context) bool { return probe(ctx, "http://"+address+"/readyz") == http.StatusOK })
	return p
}

// storeEnv tells the daemon where the objects are, as every AWS tool is told.
func storeEnv(s3 string) []string {
	return cleanEnv("AWS_ENDPOINT_URL_S3="+s3, "AWS_ACCESS_KEY_ID="+access, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION=us-east-1")
}

// probe is the status of a GET, 0 if there is no answer.
func probe(ctx context.Context, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// port is the last that was given away. Outgoing connections have higher ones, so
// that none of them takes a port between here and the server.
var port = sync.OnceValue(func() *atomic.Int32 {
	p := new(atomic.Int32)
	p.Store(10000 + rand.Int32N(18000))
	return p
})

// freeAddress is a loopback address that a process may listen on again and again.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port().Add(1))))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// devServer is a running "stevedore dev" on free ports.
type devServer struct {
	*process
	*objects
	readyFile   string
	api, s3     string // URLs
	manifestTag string // ETag of manifests/manifest.csv
}

// startDev starts a development server with n objects in bucket demo; more are flags.
func startDev(t *testing.T, n int, more ...string) *devServer {
	t.Helper()
	dir := t.TempDir()
	d := &devServer{readyFile: filepath.Join(dir, "ready.json")}
	d.process = start(t, filepath.Join(dir, "dev.log"), cleanEnv("TMPDIR="+dir),
		append([]string{"dev", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--seed", strconv.Itoa(n), "--ready-file", d.readyFile}, more...)...)
	var ready struct{ API, S3 string }
	d.await(t, func(context.Context) bool {
		data, err := os.ReadFile(d.readyFile)
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &ready); err != nil {
			t.Fatalf("ready file: %v in %q", err, data)
		}
		return true
	})
	d.api, d.s3 = ready.API, ready.S3
	d.objects = clientsOf(t, ready.S3)
	if n > 0 {
		d.manifestTag = sum(d.get(t, "manifests", "manifest.csv"))
	}
	return d
}

// host is the address of the API.
func (d *devServer) host() string { return strings.TrimPrefix(d.api, "http://") }

// ending is how a command has ended.
type ending struct {
	stdout, stderr string
	code           int
}

// command runs a command to its end.
func command(t *testing.T, env []string, stdin, name string, args ...string) ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil && (cmd.ProcessState == nil || !cmd.ProcessState.Exited()) {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	if strings.Contains(stderr.String(), "DATA RACE") || strings.Contains(stderr.String(), "panic:") {
		t.Errorf("%s %q raced or panicked:\n%s", name, args, stderr.String())
	}
	return ending{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// stevedore runs one of our commands against this server.
func (d *devServer) stevedore(t *testing.T, args ...string) ending {
	t.Helper()
	return command(t, cleanEnv("STEVEDORE_READY_FILE="+d.readyFile), "", binary, args...)
}
