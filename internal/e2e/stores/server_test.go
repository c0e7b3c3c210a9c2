//go:build stores

package stores

import (
	"context"
	"debug/buildinfo"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	versitygwModule = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
	minioModule     = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c" // the last
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
	// endpoint and version; or skips the test if it cannot be had here.
	start     func(t *testing.T, dir string) (endpoint, version string)
	kmsKey    string // what CopyObject names the one key by
	copyLimit int    // the size above which it refuses CopyObject, where that could be lowered
}

// servers are those of the tables, in the order of their columns.
func servers() []server {
	return []server{
		{"devstore", startDevstore, keyARN, devstoreLimit},
		{"versitygw", startVersitygw, keyARN, versitygwLimit},
		{"minio", startMinio, "stores", 0},
		{"ceph", startCeph, keyARN, 0},
		{"moto", startMoto, keyARN, 0},
	}
}

func startDevstore(t *testing.T, dir string) (endpoint, version string) {
	t.Helper()
	store, err := devstore.Start(t.Context(), devstore.Config{Dir: dir, AccessKey: access, Secret: secret, CopyLimit: devstoreLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/versity/versitygw" {
			version = "versitygw " + d.Version + ", wrapped"
		}
	}
	return store.Endpoint(), version
}

func startVersitygw(t *testing.T, dir string) (endpoint, version string) {
	t.Helper()
	program := goProgram(t, "STEVEDORE_VERSITYGW", versitygwModule)
	address := freeAddress(t)
	data, versions, users := filepath.Join(dir, "data"), filepath.Join(dir, "versions"), filepath.Join(dir, "users")
	for _, d := range []string{data, versions, users} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	startProcess(t, cleanEnv(), program, "--port", address, "--access", access, "--secret", secret, "--iam-dir", users, "--keep-alive",
		"--quiet", "--copy-object-threshold", strconv.Itoa(versitygwLimit), "posix", "--versioning-dir", versions, data)
	return "http://" + address, moduleVersion(t, program)
}

func startMinio(t *testing.T, dir string) (endpoint, version string) {
	t.Helper()
	program := goProgram(t, "STEVEDORE_MINIO", minioModule)
	address := freeAddress(t)
	env := cleanEnv("MINIO_ROOT_USER="+access, "MINIO_ROOT_PASSWORD="+secret, "MINIO_KMS_SECRET_KEY=stores:"+keyBits, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	startProcess(t, env, program, "server", "--quiet", "--address", address, dir)
	return "http://" + address, moduleVersion(t, program)
}

// startCeph starts a monitor, one OSD and a gateway, without a manager.
func startCeph(t *testing.T, dir string) (endpoint, version string) {
	t.Helper()
	programs := []string{"ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool"}
	if missing(programs) && *fetch {
		install := exec.CommandContext(t.Context(), "sh", "-c", "apt-get update -qq && apt-get install -y -qq --no-install-recommends ceph-mon ceph-osd radosgw ceph-common")
		install.Env = cleanEnv("DEBIAN_FRONTEND=noninteractive")
		if out, err := install.CombinedOutput(); err != nil {
			t.Logf("install Ceph: %v\n%s", err, out)
		}
	}
	if missing(programs) {
		t.Skip("no Ceph: -get installs Debian's packages ceph-mon ceph-osd radosgw ceph-common, as root")
	}
	script, err := filepath.Abs("ceph.sh")
	if err != nil {
		t.Fatal(err)
	}
	address, monitor := freeAddress(t), freeAddress(t)
	short, err := os.MkdirTemp("", "ceph") //nolint:usetesting // sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	startProcess(t, cleanEnv("ACCESS="+access, "SECRET="+secret, "KMS="+keyARN+"="+keyBits), "bash", script, short, address, monitor)
	out, err := exec.CommandContext(t.Context(), "radosgw", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ = strings.Cut(strings.TrimPrefix(string(out), "ceph version "), " ")
	return "http://" + address, version
}

func missing(programs []string) bool {
	return slices.ContainsFunc(programs, func(p string) bool {
		_, err := exec.LookPath(p)
		return err != nil
	})
}

func startMoto(t *testing.T, _ string) (endpoint, version string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", "-c", "import moto, moto.server; print(moto.__version__)").Output()
	if err != nil {
		t.Skip("python3 has no moto.server: it comes with the package moto and its extra for servers")
	}
	host, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	startProcess(t, cleanEnv("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE=33554432"), "python3", "-m", "moto.server", "-H", host, "-p", port)
	return "http://" + net.JoinHostPort(host, port), strings.TrimSpace(string(out))
}

// goProgram finds a program: named by an environment variable, or in the cache,
// where it is built if that is allowed.
func goProgram(t *testing.T, variable, module string) string {
	t.Helper()
	if path := os.Getenv(variable); path != "" {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path, at, _ := strings.Cut(module, "@")
	dir := filepath.Join(cache, "stevedore-stores", at)
	program := filepath.Join(dir, filepath.Base(path))
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if !*fetch {
		t.Skipf("no %s: -get builds it, or %s names it", filepath.Base(path), variable)
	}
	install := exec.CommandContext(t.Context(), "go", "install", module)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("go install %s: %v\n%s", module, err, out)
	}
	return program
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
const leash = `"$@" </dev/null & pid=$!; cat >/dev/null; kill "$pid"; wait "$pid"`

// startProcess starts a server for the time of the test.
func startProcess(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{"-c", leash, "sh", program}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s printed:\n%s", filepath.Base(program), text[max(0, len(text)-4000):])
		}
		log.Close()
	})
}

// await asks until it is answered as it should be.
func await(t *testing.T, what string, ready func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ready(ctx) {
		select {
		case <-tick.C:
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

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
