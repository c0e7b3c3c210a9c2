package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConnect: which of all that is given counts.
func TestConnect(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ready.json")
	if err := writeReady(file, ready{
		API: "http://127.0.0.1:5", S3: "http://127.0.0.1:6", Account: "555555555555",
		AccessKey: "file-key", SecretKey: "file-secret", Region: "file-region",
	}); err != nil {
		t.Fatal(err)
	}
	check := func(flags connectFlags, environ, want string) {
		t.Helper()
		c, err := flags.connect(t.Context(), world{environ: strings.Fields(environ)})
		if err != nil {
			t.Errorf("%+v with %s: %v", flags, environ, err)
			return
		}
		k := c.credentials
		got := strings.Join([]string{c.endpoint.String(), c.s3, c.account, c.region, k.AccessKeyID, k.SecretAccessKey, k.SessionToken}, " ")
		if got != want {
			t.Errorf("%+v with %s:\n got %s\nwant %s", flags, environ, got, want)
		}
	}
	const keys = "AWS_ACCESS_KEY_ID=env-key AWS_SECRET_ACCESS_KEY=env-secret "
	check(connectFlags{}, "",
		"http://127.0.0.1:9700 http://127.0.0.1:9701 123456789012 us-east-1 stevedore stevedore-secret ")
	check(connectFlags{}, "AWS_REGION=eu-west-1",
		"http://127.0.0.1:9700 http://127.0.0.1:9701 123456789012 us-east-1 stevedore stevedore-secret ")
	check(connectFlags{region: "eu-west-1"}, "",
		"http://127.0.0.1:9700 http://127.0.0.1:9701 123456789012 eu-west-1 stevedore stevedore-secret ")
	check(connectFlags{endpoint: "http://localhost:1"}, "",
		"http://localhost:1  123456789012 us-east-1 stevedore stevedore-secret ")
	check(connectFlags{}, keys+"AWS_SESSION_TOKEN=t AWS_DEFAULT_REGION=eu-west-1",
		"http://127.0.0.1:9700  123456789012 eu-west-1 env-key env-secret t")
	check(connectFlags{}, keys+"AWS_REGION=eu-west-2 AWS_DEFAULT_REGION=eu-west-1",
		"http://127.0.0.1:9700  123456789012 eu-west-2 env-key env-secret ")
	check(connectFlags{}, keys+"AWS_ENDPOINT_URL_S3_CONTROL=http://c AWS_ENDPOINT_URL_S3=http://s AWS_ACCOUNT_ID=111111111111",
		"http://c http://s 111111111111 us-east-1 env-key env-secret ")
	check(connectFlags{}, keys+"STEVEDORE_ENDPOINT_URL=https://d/base AWS_ENDPOINT_URL_S3_CONTROL=http://c STEVEDORE_ACCOUNT_ID=2 AWS_ACCOUNT_ID=1",
		"https://d/base  2 us-east-1 env-key env-secret ")
	check(connectFlags{readyFile: file}, keys+"STEVEDORE_ENDPOINT_URL=http://d AWS_ENDPOINT_URL_S3=http://s AWS_REGION=r STEVEDORE_ACCOUNT_ID=2",
		"http://127.0.0.1:5 http://127.0.0.1:6 555555555555 file-region file-key file-secret ")
	check(connectFlags{endpoint: "http://e", s3: "http://f", account: "9", region: "g"}, "STEVEDORE_READY_FILE="+file,
		"http://e http://f 9 g file-key file-secret ")
}

// TestConnectWithProfile reads the files of the AWS CLI, but for a server on
// this machine only when told to.
func TestConnectWithProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id=profile-key\naws_secret_access_key=s\nregion=eu-north-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	check := func(endpoint, profile, wantKey, wantRegion string) {
		t.Helper()
		flags := connectFlags{endpoint: endpoint}
		c, err := flags.connect(t.Context(), world{environ: []string{"AWS_PROFILE=" + profile}})
		if err != nil || c.credentials.AccessKeyID != wantKey || c.region != wantRegion {
			t.Errorf("%s: got %+v, %v, want %s in %s", endpoint, c, err, wantKey, wantRegion)
		}
	}
	check("http://127.0.0.1:9700", "", "stevedore", "us-east-1")
	check("http://127.0.0.1:9700", "default", "profile-key", "eu-north-1")
	check("http://batch.example", "", "profile-key", "eu-north-1")

	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	got := invoke(t.Context(), "", nil, "job", "list", "--endpoint-url", "http://batch.example")
	if got.code != exitDenied || !strings.Contains(got.stderr, "no credentials for http://batch.example") {
		t.Errorf("got %+v, want exit code %d", got, exitDenied)
	}
}

func TestEnv(t *testing.T) {
	t.Parallel()
	environ := []string{
		"AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=it's secret", "AWS_ENDPOINT_URL_S3=http://minio.example:9000",
		"NO_PROXY=*, intern.example", "HTTP_PROXY=http://proxy.example",
	}
	got := invoke(t.Context(), "", environ, "env", "--endpoint-url", "http://10.0.0.1:9700/base")
	want := `export STEVEDORE_ENDPOINT_URL=http://10.0.0.1:9700/base
export STEVEDORE_ACCOUNT_ID=123456789012
export AWS_ACCESS_KEY_ID=key
export AWS_SECRET_ACCESS_KEY='it'\''s secret'
unset AWS_SESSION_TOKEN
unset AWS_SECURITY_TOKEN
unset AWS_PROFILE
unset AWS_DEFAULT_PROFILE
unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS
export AWS_REGION=us-east-1
export AWS_DEFAULT_REGION=us-east-1
export AWS_ENDPOINT_URL_S3=http://minio.example:9000
export AWS_ENDPOINT_URL_S3_CONTROL=http://stevedore.internal:9700/base
export HTTP_PROXY=http://10.0.0.1:9700
export http_proxy=http://10.0.0.1:9700
export NO_PROXY=intern.example,127.0.0.1,localhost,::1,minio.example
export no_proxy=intern.example,127.0.0.1,localhost,::1,minio.example
`
	if diff := cmp.Diff(want, got.stdout); got.code != 0 || diff != "" {
		t.Errorf("%+v (-want +got):\n%s", got, diff)
	}

	got = invoke(t.Context(), "", environ, "env", "--shell", "fish")
	if !strings.Contains(got.stdout, `set -gx AWS_SECRET_ACCESS_KEY 'it\'s secret'`) || !strings.Contains(got.stdout, "set -e AWS_PROFILE\n") {
		t.Errorf("fish: got\n%s", got.stdout)
	}
	got = invoke(t.Context(), "", environ, "env", "--shell", "json")
	if !strings.Contains(got.stdout, `"AWS_SECRET_ACCESS_KEY": "it's secret"`) || strings.Contains(got.stdout, "AWS_PROFILE") {
		t.Errorf("json: got\n%s", got.stdout)
	}
	got = invoke(t.Context(), "", environ, "env", "--endpoint-url", "https://batch.example")
	if !strings.Contains(got.stdout, "export AWS_ENDPOINT_URL_S3_CONTROL=https://batch.example\n") || strings.Contains(got.stdout, "HTTP_PROXY") {
		t.Errorf("https: got\n%s", got.stdout)
	}
}

func TestOverlay(t *testing.T) {
	t.Parallel()
	got := overlay([]string{"A=1", "B=2", "C=3", "PATH=x"}, []variable{{name: "A", value: "9"}, {name: "C", unset: true}, {name: "D", value: ""}})
	if want := []string{"B=2", "PATH=x", "A=9", "D="}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
