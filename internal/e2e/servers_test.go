package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// contains checks that text has every word.
func contains(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s: no %q in:\n%s", what, word, text)
		}
	}
}

// leftovers are the files that processes left in a temporary directory.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "stevedore-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// TestDev looks at what a development server says, has and leaves behind.
func TestDev(t *testing.T) {
	t.Parallel()
	const objects = 12
	d := startDev(t, objects)
	data, err := os.ReadFile(d.readyFile)
	if err != nil {
		t.Fatal(err)
	}
	var ready map[string]string
	if err := json.Unmarshal(data, &ready); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(ready))
	if want := []string{"access_key", "account", "api", "region", "s3", "secret_key"}; !slices.Equal(names, want) {
		t.Errorf("the ready file has %q, want %q", names, want)
	}
	if ready["account"] != account || ready["access_key"] != access || ready["secret_key"] != secret {
		t.Errorf("the ready file says %q", data)
	}
	if info, err := os.Stat(d.readyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the ready file has keys in it: %v, %v", info.Mode(), err)
	}
	if keys := d.keys(t, "demo", "data/"); len(keys) != objects || keys[0] != key(0) {
		t.Errorf("%d objects: %q", len(keys), keys)
	}
	if rows := strings.Count(string(d.get(t, "manifests", "manifest.csv")), "\n"); rows != objects {
		t.Errorf("the manifest has %d rows, want %d", rows, objects)
	}
	if keys := d.keys(t, "reports", ""); len(keys) != 0 {
		t.Errorf("the bucket reports has %q", keys)
	}

	tmp := filepath.Dir(d.readyFile)
	if len(leftovers(t, tmp)) != 1 {
		t.Errorf("data are in %q, want one temporary directory", leftovers(t, tmp))
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if left := leftovers(t, tmp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := os.Stat(d.readyFile); err == nil {
		t.Error("the ready file is still there")
	}
	contains(t, "the block", d.printed(t), d.api, d.s3, account, access, secret,
		"exec --ready-file "+d.readyFile+" -- aws s3control list-jobs --account-id "+account,
		"boto3.client('s3control', endpoint_url='"+d.api+"'", "removed at the end")
}

// TestDevBlock runs what a development server says one can run: every line for
// the AWS CLI and for our own client in a shell, and the program for boto3.
func TestDevBlock(t *testing.T) {
	t.Parallel()
	d := startDev(t, 3)
	block := d.printed(t)
	between := func(from, to string) string {
		t.Helper()
		_, rest, ok := strings.Cut(block, from)
		part, _, found := strings.Cut(rest, to)
		if !ok || !found {
			t.Fatalf("no %q or no %q in:\n%s", from, to, block)
		}
		return part
	}
	e := command(t, cleanEnv(), "", "sh", "-exc", between("unmodified:\n", "\nOur own client:"))
	if e.code != 0 {
		t.Errorf("AWS CLI: exit code %d: %s%s", e.code, e.stdout, e.stderr)
	}
	contains(t, "AWS CLI", e.stdout, `"Jobs": []`, " manifests\n", `"JobId": "`)
	list, err := control(d.host()).ListJobs(t.Context(), listAll())
	if err != nil || len(list.Jobs) != 1 {
		t.Fatalf("jobs: %v, %v", list, err)
	}
	id := *list.Jobs[0].JobId
	e = command(t, cleanEnv(), "", "sh", "-exc", strings.ReplaceAll(between("own client:\n", "\nboto3:"), "JOB-ID", id))
	if e.code != 0 {
		t.Errorf("our own client: exit code %d: %s%s", e.code, e.stdout, e.stderr)
	}
	contains(t, "our own client", e.stdout, id[:8]+" ", "job/"+id+" Complete: 3 of 3 tasks succeeded")

	_, program, _ := strings.Cut(block, "\nboto3:\n")
	program = strings.ReplaceAll(program, "\n  ", "\n")
	if e := command(t, cleanEnv(), program, pythons(t)[0].path, "-"); e.code != 0 || !strings.Contains(e.stdout, id) {
		t.Errorf("boto3: exit code %d: %s%s\n%s", e.code, e.stdout, e.stderr, program)
	}
}

// TestDevKeepsData: jobs and objects survive a restart with the same directory,
// which two processes cannot have at once.
func TestDevKeepsData(t *testing.T) {
	t.Parallel()
	const tasks = 8
	data := t.TempDir()
	first := startDev(t, tasks, "--data", data)
	in := tagJob(first.manifestTag, "kept", "yes")
	in.ConfirmationRequired = nil
	in.Tags = []types.S3Tag{{Key: aws.String("a"), Value: aws.String("b")}}
	created, err := control(first.host()).CreateJob(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	until(t, control(first.host()), *created.JobId, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusSuspended })
	e := command(t, cleanEnv(), "", binary, "dev", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--data", data)
	if e.code != 11 {
		t.Errorf("a second process on the same data: exit code %d, want 11: %s", e.code, e.stderr)
	}
	contains(t, "a second process on the same data", e.stderr, "error: the data directory cannot be used")
	if code := first.terminate(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}

	second := startDev(t, 0, "--data", data)
	c := control(second.host())
	tags, err := c.GetJobTagging(t.Context(), &s3control.GetJobTaggingInput{AccountId: aws.String(account), JobId: created.JobId})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "b" {
		t.Errorf("tags after a restart: %v, %v", tags, err)
	}
	if _, err := c.UpdateJobStatus(t.Context(), &s3control.UpdateJobStatusInput{
		AccountId: aws.String(account), JobId: created.JobId, RequestedJobStatus: types.RequestedJobStatusReady,
	}); err != nil {
		t.Fatal(err)
	}
	if j := until(t, c, *created.JobId, ended); j.Status != types.JobStatusComplete {
		t.Fatalf("the job ended %s: %+v", j.Status, j.FailureReasons)
	}
	exactlyOnce(t, second.report(t, "reports", "r", *created.JobId), tasks, "succeeded")
	second.tagged(t, "demo", tasks, "kept", "yes")
}

// TestDevRefuses: everybody knows the keys of a development server.
func TestDevRefuses(t *testing.T) {
	t.Parallel()
	refused := func(code int, word string, args ...string) {
		t.Helper()
		e := command(t, cleanEnv(), "", binary, append([]string{"dev"}, args...)...)
		if e.code != code {
			t.Errorf("dev %q: exit code %d, want %d: %s", args, e.code, code, e.stderr)
		}
		contains(t, strings.Join(args, " "), e.stderr, word)
	}
	refused(2, "--listen 0.0.0.0:0", "--listen", "0.0.0.0:0")
	refused(2, "--listen :0", "--listen", ":0")
	refused(2, "--s3-listen [::]:0", "--s3-listen", "[::]:0")
	refused(2, "--s3-listen 192.0.2.1:80", "--s3-listen", "192.0.2.1:80")
	refused(2, "--seed", "--seed", "-1")
	refused(2, "--sed", "--sed", "1")
}

// TestDemo: the first command of the README, for each operation.
func TestDemo(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"tag", "untag", "copy"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			e := command(t, cleanEnv("TMPDIR="+dir), "", binary, "demo", "--objects", "300", "--operation", operation)
			if e.code != 0 {
				t.Errorf("exit code %d\n%s%s", e.code, e.stdout, e.stderr)
			}
			contains(t, operation, e.stdout, "300 of 300 succeeded", "tasks per second", "report  s3://reports/demo/job-", "exactly one row for each of 300 tasks")
			if left := leftovers(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
	for _, wrong := range [][]string{{"--operation", "acl"}, {"--objects", "0"}} {
		if e := command(t, cleanEnv(), "", binary, append([]string{"demo"}, wrong...)...); e.code != 2 {
			t.Errorf("demo %q: exit code %d, want 2: %s", wrong, e.code, e.stderr)
		}
	}
}

// TestDemoInterrupted: a demonstration that did not come to its end has not
// succeeded, and leaves nothing behind either.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, filepath.Join(dir, "demo.log"), cleanEnv("TMPDIR="+dir), "demo", "--objects", "1000000")
	p.await(t, func(context.Context) bool { return strings.Contains(p.printed(t), "seeding") })
	if code := p.terminate(t); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestServeRefuses: the daemon says what is wrong before it does anything.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	o := startObjects(t)
	env, dir := storeEnv(o.endpoint), t.TempDir()
	refused := func(env []string, code int, word string, args ...string) {
		t.Helper()
		e := command(t, env, "", binary, append([]string{"serve", "--data-dir", filepath.Join(dir, "other")}, args...)...)
		if e.code != code {
			t.Errorf("serve %q: exit code %d, want %d: %s", args, e.code, code, e.stderr)
		}
		contains(t, strings.Join(args, " "), e.stderr, "error: ", word)
	}
	config := func(text string) string {
		f, err := os.CreateTemp(dir, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	refused(env, 10, "line 3: unknown key store.endpint", "--config", config("listen: 127.0.0.1:0\nstore:\n  endpint: http://127.0.0.1:1\n"))
	refused(env, 10, `line 1: retention: "soon" is not a duration`, "--config", config("retention: soon\n"))
	refused(env, 10, "keys[0]: access_key", "--config", config("keys:\n  - access_key: a\n"))
	refused(env, 10, "no such file", "--config", filepath.Join(dir, "none.yaml"))
	refused(env, 10, "account", "--account", "123")
	refused(env, 10, "listen", "--listen", "nowhere")
	refused(cleanEnv(), 10, "AWS_ACCESS_KEY_ID", "--listen", "127.0.0.1:0")
	refused(env, 2, "--lisen", "--lisen", "127.0.0.1:0")

	address := freeAddress(t)
	serve(t, o, dir, address)
	refused(env, 12, address, "--listen", address)
	refused(env, 11, "the data directory cannot be used", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "jobs"))
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/v20180820/jobs": 403} {
		if got := probe(t.Context(), "http://"+address+path); got != want {
			t.Errorf("GET %s: got %d, want %d", path, got, want)
		}
	}
}

// slowStore is an S3 server that does not answer some requests until it is released.
type slowStore struct {
	server  *http.Server
	url     string
	reached chan struct{} // closed with the first request that has to wait
	release func()
}

// tagging reports whether a request tags an object.
func tagging(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.Query().Has("tagging") }

func startSlowStore(t *testing.T, store string, waits func(*http.Request) bool) *slowStore {
	t.Helper()
	target, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the one that was signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // no log
	}
	released := make(chan struct{})
	s := &slowStore{reached: make(chan struct{}), release: sync.OnceFunc(func() { close(released) })}
	first := sync.OnceFunc(func() { close(s.reached) })
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if waits(r) {
			first()
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { s.server.Serve(l) })
	t.Cleanup(func() {
		s.server.Close()
		serving.Wait()
	})
	return s
}

// TestStopWithHungStore stops a daemon whose store does not answer: within the
// grace period if asked once, at once if asked twice; and nothing is lost or done
// twice in the report.
func TestStopWithHungStore(t *testing.T) {
	t.Parallel()
	const tasks = 50
	o := startObjects(t)
	o.buckets(t, "data", "manifests", "reports")
	etag := o.put(t, "manifests", "manifest.csv", o.seed(t, "data", tasks))
	slow := startSlowStore(t, o.endpoint, tagging)
	through := *o
	through.endpoint = slow.url
	dir, address := t.TempDir(), freeAddress(t)
	c := control(address)

	p := serve(t, &through, dir, address)
	created, err := c.CreateJob(t.Context(), tagJob(etag, "hung", "no more"))
	if err != nil {
		t.Fatal(err)
	}
	p.await(t, func(context.Context) bool { return isClosed(slow.reached) })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await(t, func(ctx context.Context) bool {
		return probe(ctx, "http://"+address+"/readyz") == http.StatusServiceUnavailable
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Errorf("after a second SIGTERM the process ended with %v", p.cmd.ProcessState)
	}

	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("shutdown_grace: 100ms\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = serve(t, &through, dir, address, "--config", config)
	until(t, c, *created.JobId, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusActive })
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM with a store that hangs", code)
	}

	slow.release()
	serve(t, &through, dir, address)
	if j := until(t, c, *created.JobId, ended); j.Status != types.JobStatusComplete || *j.ProgressSummary.NumberOfTasksSucceeded != tasks {
		t.Errorf("the job ended %s: %+v", j.Status, j.ProgressSummary)
	}
	exactlyOnce(t, o.report(t, "reports", "r", *created.JobId), tasks, "succeeded")
	o.tagged(t, "data", tasks, "hung", "no more")
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestVersion: it says which build this is.
func TestVersion(t *testing.T) {
	t.Parallel()
	e := command(t, cleanEnv(), "", binary, "version")
	if e.code != 0 || !regexp.MustCompile(`^stevedore \S+ .*go1\.\d+`).MatchString(e.stdout) {
		t.Errorf("exit code %d: %s%s", e.code, e.stdout, e.stderr)
	}
}
