package objectstore_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stevedore/internal/objectstore"
)

// The environment is the process's: these tests do not run in parallel.

func setEnv(t *testing.T, env map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, value := range env {
		t.Setenv(name, value)
	}
}

func TestConfigFromEnv(t *testing.T) {
	check := func(env map[string]string, wantEndpoint, wantRegion, wantKey string) {
		t.Helper()
		t.Run("", func(t *testing.T) {
			setEnv(t, env)
			cfg, err := objectstore.ConfigFromEnv(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			keys, err := cfg.Credentials.Retrieve(t.Context())
			if err != nil || cfg.Endpoint != wantEndpoint || cfg.Region != wantRegion || keys.AccessKeyID != wantKey {
				t.Errorf("%v: got %q, %q, %q, %v", env, cfg.Endpoint, cfg.Region, keys.AccessKeyID, err)
			}
		})
	}
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
	with := func(more ...string) map[string]string {
		env := make(map[string]string)
		maps.Copy(env, keys)
		for i := 0; i < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	check(with(), "", "", "AKID")
	check(with("AWS_REGION", "eu-west-1", "AWS_ENDPOINT_URL", "http://any:1"), "http://any:1", "eu-west-1", "AKID")
	check(with("AWS_ENDPOINT_URL", "http://any:1", "AWS_ENDPOINT_URL_S3", "http://s3:2"), "http://s3:2", "", "AKID")

	profile := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(profile, []byte(`[profile p]
region = ap-east-1
aws_access_key_id = PROFILE
aws_secret_access_key = secret
services = local
[services local]
s3 =
  endpoint_url = http://profile:3
`), 0o600); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"AWS_CONFIG_FILE": profile, "AWS_PROFILE": "p"}, "http://profile:3", "ap-east-1", "PROFILE")
}

func TestConfigFromEnvTrustsABundle(t *testing.T) {
	dir := t.TempDir()
	setEnv(t, map[string]string{"AWS_CA_BUNDLE": filepath.Join(dir, "missing.pem")})
	if _, err := objectstore.ConfigFromEnv(t.Context()); err == nil {
		t.Error("missing bundle is accepted")
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", empty)
	if _, err := objectstore.ConfigFromEnv(t.Context()); err == nil {
		t.Error("bundle without a certificate is accepted")
	}
}
