//go:build stores

package stores

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stevedore/internal/devstore"
)

const (
	account = "123456789012"
	access  = "stevedore"
	secret  = "stevedore-secret"
	role    = "arn:aws:iam::" + account + ":role/any"
	keyARN  = "arn:aws:kms:us-east-1:" + account + ":key/stores"
	keyBits = "c3RldmVkb3JlLXN0b3Jlcy10ZXN0LTMyYnl0ZS1rZXk=" // 32 bytes, no secret
)

const (
	versitygwModule = "github.com/versity/versitygw" // in the version of go.mod
	minioModule     = "github.com/minio/minio"
	minioVersion    = "v0.0.0-20260212201848-7aac2a2c5b7c" // the last
)

// Sizes in bytes above which a store that can be told so refuses CopyObject.
// Versitygw refuses parts of that size, too, and parts have 128 MiB.
const (
	devstoreLimit  = 6 << 20
	versitygwLimit = 130 << 20
)

// server is one kind of S3 server.
type server struct {
	name string
	// start starts it on a free port, for the time of the test, and tells its
	// endpoint and version. If it cannot be had here, cannotHave ends the test.
	start     func(t *testing.T, dir string) (endpoint, version string, p *process)
	kmsKey    string // what CopyObject names the one key by
	copyLimit int    // the size above which it refuses CopyObject, where that could be lowered
	packaged  bool   // in whatever version this machine has or gets
}

// cannotHave ends the test of a server: who has named it wants to see it tried.
func cannotHave(t *testing.T, why string, args ...any) {
	t.Helper()
	if *only != "" {
		t.Fatalf(why, args...)
	}
	t.Skipf(why, args...)
}

// servers are those of the tables, in the order of their columns.
func servers() []server {
	return []server{
		{name: "devstore", start: startDevstore, kmsKey: keyARN, copyLimit: devstoreLimit},
		{name: "versitygw", start: startVersitygw, kmsKey: keyARN, copyLimit: versitygwLimit},
		{name: "minio", start: startMinio, kmsKey: "stores"},
		{name: "ceph", start: startCeph, kmsKey: keyARN, packaged: true},
		{name: "moto", start: startMoto, kmsKey: keyARN, packaged: true},
	}
}

func startDevstore(t *testing.T, dir string) (endpoint, version string, p *process) {
	t.Helper()
	store, err := devstore.Start(t.Context(), devstore.Config{Dir: dir, AccessKey: access, Secret: secret, CopyLimit: devstoreLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store.Endpoint(), "versitygw " + requiredVersion(t, versitygwModule) + ", wrapped", nil
}

func startVersitygw(t *testing.T, dir string) (endpoint, version string, p *process) {
	t.Helper()
	program := goProgram(t, "STEVEDORE_VERSITYGW", versitygwModule+"/cmd/versitygw", requiredVersion(t, versitygwModule))
	address := freeAddress(t)
	data, versions, users := filepath.Join(dir, "data"), filepath.Join(dir, "versions"), filepath.Join(dir, "users")
	for _, d := range []string{data, versions, users} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p = startProcess(t, cleanEnv(), program, "--port", address, "--access", access, "--secret", secret, "--iam-dir", users, "--keep-alive",
		"--quiet", "--copy-object-threshold", strconv.Itoa(versitygwLimit), "posix", "--versioning-dir", versions, data)
	return "http://" + address, moduleVersion(t, program), p
}

func startMinio(t *testing.T, dir string) (endpoint, version string, p *process) {
	t.Helper()
	program := goProgram(t, "STEVEDORE_MINIO", minioModule, minioVersion)
	address := freeAddress(t)
	env := cleanEnv("MINIO_ROOT_USER="+access, "MINIO_ROOT_PASSWORD="+secret, "MINIO_KMS_SECRET_KEY=stores:"+keyBits, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	p = startProcess(t, env, program, "server", "--quiet", "--address", address, dir)
	return "http://" + address, moduleVersion(t, program), p
}

// startCeph starts a monitor, one OSD and a gateway, without a manager.
func startCeph(t *testing.T, _ string) (endpoint, version string, p *process) {
	t.Helper()
	if *fetch {
		if out, err := exec.CommandContext(t.Context(), "../../../.ci/tools", "stores").CombinedOutput(); err != nil {
			t.Logf("install Ceph: %v\n%s", err, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), "radosgw", "--version").Output()
	if err != nil {
		cannotHave(t, "no Ceph, %v: -get installs Debian's packages, as root", err)
	}
	version, _, _ = strings.Cut(strings.TrimPrefix(string(out), "ceph version "), " ")
	address, monitor := freeAddress(t), freeAddress(t)
	short, err := os.MkdirTemp("", "ceph") //nolint:usetesting // sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(short, "log", "*.log"))
			for _, log := range logs {
				logTail(t, log)
			}
		}
		os.RemoveAll(short)
	})
	env := cleanEnv("ACCESS="+access, "SECRET="+secret, "KMS="+keyARN+"="+keyBits)
	return "http://" + address, version, startProcess(t, env, "bash", "ceph.sh", short, address, monitor)
}

func startMoto(t *testing.T, _ string) (endpoint, version string, p *process) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", "-c", "import moto, moto.server; print(moto.__version__)").Output()
	if err != nil {
		cannotHave(t, "python3 has no moto.server: it comes with the package moto and its extra for servers")
	}
	host, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	p = startProcess(t, cleanEnv("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE=33554432"), "python3", "-m", "moto.server", "-H", host, "-p", port)
	return "http://" + net.JoinHostPort(host, port), strings.TrimSpace(string(out)), p
}

// goProgram finds a program: named by an environment variable, or in the cache,
// where it is built if that is allowed.
func goProgram(t *testing.T, variable, path, version string) string {
	t.Helper()
	if program := os.Getenv(variable); program != "" {
		return program
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "stevedore-stores", version)
	program := filepath.Join(dir, filepath.Base(path))
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if !*fetch {
		cannotHave(t, "no %s: -get builds it, or %s names it", filepath.Base(path), variable)
	}
	install := exec.CommandContext(t.Context(), "go", "install", path+"@"+version)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		cannotHave(t, "go install %s@%s: %v\n%s", path, version, err, out)
	}
	return program
}

// requiredVersion is the version of a module that stevedore is built with.
func requiredVersion(t *testing.T, module string) string {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(info.Deps, func(d *debug.Module) bool { return d.Path == module })
	if i < 0 {
		t.Fatalf("stevedore is built without %s", module)
	}
	return info.Deps[i].Version
}

func moduleVersion(t *testing.T, program string) string {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	return info.Main.Version
}

// leash runs a command that ends with its standard input, and so with this
// process, however that ends.
const leash = `exec 3<&0
"$@" </dev/null 3<&- & pid=$!
{ cat <&3 >/dev/null; kill "$pid"; } & watch=$!
wait "$pid"; code=$?
kill "$watch" 2>/dev/null
exit $code`

// process is a running server.
type process struct {
	ended chan struct{} // closed once it has
	log   string        // the file of what it prints
}

// startProcess starts a server for the time of the test.
func startProcess(t *testing.T, env []string, program string, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), filepath.Base(program)+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{ended: make(chan struct{}), log: log.Name()}
	cmd := exec.Command("sh", append([]string{"-c", leash, "sh", program}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // it is killed, or await finds it gone
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		select {
		case <-p.ended:
		case <-time.After(30 * time.Second): // it does not end when it is told to
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-p.ended
		}
		log.Close()
		text, err := os.ReadFile(p.log)
		if err != nil || program == binary && (bytes.Contains(text, []byte("DATA RACE")) || bytes.Contains(text, []byte("panic:"))) {
			t.Errorf("stevedore raced or panicked, or left no log: %v", err)
		}
		if t.Failed() {
			logTail(t, p.log)
		}
	})
	return p
}

// logTail shows the end of a log.
func logTail(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	t.Logf("the end of %s, %v:\n%s", filepath.Base(path), err, text[max(0, len(text)-4000):])
}

// await asks until it is answered as it should be. It fails the test if the
// server ends first; nil is a server within this process.
func (p *process) await(t *testing.T, what string, ready func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var ended chan struct{}
	if p != nil {
		ended = p.ended
	}
	for !ready(ctx) {
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("%s has ended before it was ready", what)
		case <-ctx.Done():
			t.Fatalf("%s does not get ready", what)
		}
	}
}

// answers reports whether a GET gets that status.
func answers(ctx context.Context, url string, status int) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == status
}

// port is the last that was given away. Outgoing connections have higher ones, so
// that none of them takes a port between here and the server.
var port = sync.OnceValue(func() *atomic.Int32 {
	p := new(atomic.Int32)
	p.Store(10000 + rand.Int32N(18000))
	return p
})

// freeAddress is a loopback address that nobody listens on.
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

// cleanEnv is the environment of this process without what would lead an AWS
// client elsewhere, and with more.
func cleanEnv(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		name = strings.ToUpper(name)
		return strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "STEVEDORE_") || strings.HasSuffix(name, "_PROXY")
	})
	return append(append(env, "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true"), more...)
}
