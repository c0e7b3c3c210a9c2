package objectstore_test

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
			cfg, err := objectstore.ConfigFromEnv(t.Context(), nil)
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
	if _, err := objectstore.ConfigFromEnv(t.Context(), nil); err == nil {
		t.Error("missing bundle is accepted")
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", empty)
	if _, err := objectstore.ConfigFromEnv(t.Context(), nil); err == nil {
		t.Error("bundle without a certificate is accepted")
	}
}

// TestMachineIsAskedLast has a machine that knows a region and, in its second way of asking, credentials.
func TestMachineIsAskedLast(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		switch name, ok := strings.CutPrefix(r.URL.Path, "/latest/meta-data/iam/security-credentials"); {
		case !ok:
			w.WriteHeader(http.StatusForbidden)
		case strings.Trim(name, "/") == "":
			_, _ = io.WriteString(w, "role")
		default:
			_, _ = io.WriteString(w, `{"Code": "Success", "AccessKeyId": "MACHINE", "SecretAccessKey": "secret", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}`)
		}
	}))
	t.Cleanup(machine.Close)
	paths := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
	read := func(more map[string]string) (key, log string) {
		t.Helper()
		setEnv(t, map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.URL, "AWS_EC2_METADATA_DISABLED": "", "AWS_DEFAULTS_MODE": "auto"})
		for name, value := range more {
			t.Setenv(name, value)
		}
		var out bytes.Buffer
		cfg, err := objectstore.ConfigFromEnv(t.Context(), slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if err != nil {
			t.Fatal(err)
		}
		if paths() != nil {
			t.Errorf("asked for %q before credentials were needed", paths())
		}
		keys, err := cfg.Credentials.Retrieve(t.Context())
		if err != nil || cfg.Region != "" {
			t.Errorf("region %q, %v", cfg.Region, err)
		}
		return keys.AccessKeyID, out.String()
	}
	if key, log := read(map[string]string{"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}); key != "AKID" || log != "" || paths() != nil {
		t.Errorf("with keys in the environment: key %s, asked for %q, logged %s", key, paths(), log)
	}
	key, log := read(map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
	if key != "MACHINE" || slices.ContainsFunc(paths(), func(path string) bool { return strings.Contains(path, "region") }) {
		t.Errorf("key %s, asked for %q", key, paths())
	}
	if !strings.Contains(log, "level=DEBUG") || !strings.Contains(log, "IMDSv1") { // it has no tokens
		t.Errorf("logged %q", log)
	}
}
