package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// python is one that has boto3.
type python struct{ path, releases string }

// pythons finds those on this machine: Debian's boto3 is years old, that of the
// Python on PATH may be new.
func pythons(t *testing.T) []python {
	t.Helper()
	var found []python
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		e := command(t, cleanEnv(), "", path, "-c", "import boto3, botocore; print('boto3', boto3.__version__, 'botocore', botocore.__version__)")
		p := python{path, strings.TrimSpace(e.stdout)}
		if e.code == 0 && !slices.ContainsFunc(found, func(q python) bool { return q.releases == p.releases }) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		t.Fatal("no Python with boto3; make tools installs one")
	}
	return found
}

// TestBoto3 runs testdata/jobs.py. Both ways past the account in the host name are
// taken: a hook that removes it before signing, and stevedore exec.
func TestBoto3(t *testing.T) {
	t.Parallel()
	const tasks = 20
	for _, python := range pythons(t) {
		t.Run(python.releases, func(t *testing.T) {
			t.Parallel()
			d := startDev(t, tasks)
			env := cleanEnv("TEST_API="+d.api, "TEST_S3="+d.s3, "TEST_ETAG="+d.manifestTag, "TEST_TASKS="+strconv.Itoa(tasks), "STEVEDORE_READY_FILE="+d.readyFile)
			run := func(way string, args ...string) {
				t.Helper()
				args = append(args, python.path, filepath.Join("testdata", "jobs.py"))
				if e := command(t, append(env, "TEST_WAY="+way), "", args[0], args[1:]...); e.code != 0 {
					t.Errorf("%s: exit code %d\n%s%s", way, e.code, e.stdout, e.stderr)
				}
			}
			run("hook")
			run("exec", binary, "exec", "--")
		})
	}
}
