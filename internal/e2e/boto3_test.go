package e2e

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestBoto3 runs testdata/jobs.py with every Python here that has boto3: Debian's
// is years old, the one on PATH may be new. Both ways past the account in the host
// name are taken: a hook that removes it before signing, and the API as the proxy.
func TestBoto3(t *testing.T) {
	t.Parallel()
	const tasks = 20
	seen := map[string]bool{}
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		releases := command(t, cleanEnv(), "", path, "-c", "import boto3, botocore; print('boto3', boto3.__version__, 'botocore', botocore.__version__)")
		if releases.code != 0 || seen[releases.stdout] {
			continue
		}
		seen[releases.stdout] = true
		t.Run(filepath.Base(path)+strconv.Itoa(len(seen)), func(t *testing.T) {
			t.Parallel()
			t.Log(path, releases.stdout)
			d := startDev(t, tasks)
			for _, way := range []string{"hook", "proxy"} {
				env := cleanEnv("TEST_API="+d.api, "TEST_S3="+d.s3, "TEST_ETAG="+d.manifestTag, "TEST_TASKS="+strconv.Itoa(tasks), "TEST_WAY="+way)
				if way == "proxy" {
					env = append(env, "HTTP_PROXY="+d.api, "http_proxy="+d.api, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
				}
				if e := command(t, env, "", path, filepath.Join("testdata", "jobs.py")); e.code != 0 {
					t.Errorf("%s: exit code %d\n%s%s", way, e.code, e.stdout, e.stderr)
				}
			}
		})
	}
	if len(seen) == 0 {
		t.Fatal("no Python with boto3; make tools installs one")
	}
}
