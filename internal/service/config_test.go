package service_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/lambda"
	"stevedore/internal/operation"
	"stevedore/internal/service"
)

const (
	exampleConfig = "../../docs/config.example.yaml"
	configDoc     = "../../docs/configuration.md"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// load loads a configuration file with the given content.
func load(t *testing.T, content string) (service.Config, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return service.LoadConfig(name)
}

// defaults are the defaults with those of the object store written out, which
// the configuration leaves at zero.
func defaults() service.Config {
	c := service.Default()
	c.Store.AttemptTimeout = 30 * time.Second
	c.Store.MaxAttempts = 5
	return c
}

func TestExampleSaysTheDefaults(t *testing.T) {
	t.Parallel()
	got, err := service.LoadConfig(exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults(), got); diff != "" {
		t.Errorf("the example differs from the defaults (-default +example):\n%s", diff)
	}
}

// With the examples in it, the file sets every key there is.
func TestExampleSaysEverything(t *testing.T) {
	t.Parallel()
	all := regexp.MustCompile(`(?m)^( *)#(\S| +[-a-z])`)
	var lines []byte
	inExample := false
	example := regexp.MustCompile(`^#[a-z_]+:\n$`)
	for line := range bytes.Lines(read(t, exampleConfig)) {
		// "# " opens prose, except below a key that is an example as a whole.
		inExample = example.Match(line) || inExample && bytes.HasPrefix(line, []byte("#  "))
		if inExample || !bytes.HasPrefix(bytes.TrimSpace(line), []byte("# ")) {
			line = all.ReplaceAll(line, []byte("$1$2"))
		}
		lines = append(lines, line...)
	}
	// Files are looked at when the configuration is read.
	dir := t.TempDir()
	caFile := certificate(t, dir)
	for _, name := range []string{"nightly", "nightly-token", "archive"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content := strings.ReplaceAll(string(lines), "/etc/stevedore/archive-ca.pem", caFile)
	content = strings.ReplaceAll(content, "/run/secrets", dir)
	got, err := load(t, content)
	if err != nil {
		t.Fatalf("%v in\n%s", err, lines)
	}
	want := defaults()
	want.Keys = []service.Key{
		{AccessKey: "backup", SecretKey: "change-this", Account: "123456789012"},
		{AccessKey: "analytics", SecretKey: "change-this-too", SessionToken: "only-for-temporary-keys", Account: "210987654321"},
		{AccessKey: "nightly", SecretKeyFile: dir + "/nightly", SessionTokenFile: dir + "/nightly-token", Account: "123456789012"},
	}
	want.Stores = map[string]service.Store{
		"archive": {
			Endpoint: "https://archive.example.com", CAFile: caFile, MaxConcurrency: 64,
			Credentials: &service.Credentials{Static: &service.StaticCredentials{AccessKey: "stevedore", SecretKeyFile: dir + "/archive"}},
		},
		"lake": {
			Endpoint: "https://lake.example.com:9000", MaxConcurrency: 64,
			Credentials: &service.Credentials{AssumeRole: &service.AssumeRole{
				RoleARN: "arn:aws:iam::123456789012:role/lake-reader", ExternalID: "only-if-the-role-asks-for-it",
				SessionName: "stevedore-lake", STSEndpoint: "https://sts.example.com",
				Source: &service.Credentials{File: &service.FileCredentials{Path: "/etc/stevedore/credentials", Profile: "lake"}},
			}},
		},
		"cloud": {
			Region: "eu-central-1", MaxConcurrency: 64,
			Credentials: &service.Credentials{WebIdentity: &service.WebIdentity{TokenFile: dir + "/token", RoleARN: "arn:aws:iam::210987654321:role/stevedore"}},
		},
		"mirror": {Endpoint: "https://mirror.example.com", MaxConcurrency: 64, Credentials: &service.Credentials{Environment: true}},
	}
	want.Buckets = map[string]string{"archive-*": "archive", "reports": "default"}
	want.Roles = []service.Role{
		{ARN: "arn:aws:iam::123456789012:role/archivist", Store: "archive", Callers: []string{"backup"}},
		{
			ARN: "arn:aws:iam::210987654321:role/analytics-*", Store: "lake", Buckets: map[string]string{"published": "cloud"},
			Credentials: &service.Credentials{Static: &service.StaticCredentials{AccessKey: "analytics", SecretKey: "change-this-one-too", SessionToken: "only-for-temporary-keys"}},
			Replication: map[string]operation.ReplicationConfig{"photos": {Rules: []operation.ReplicationRule{{
				ID: "everything", Status: "Enabled", Destination: operation.ReplicationDestination{Bucket: "arn:aws:s3:::photos-copy"},
			}}}},
		},
	}
	want.Store.MaxRequestsPerSecond = 2000
	want.Functions = lambda.Config{"resize": {URL: "https://functions.example.com/resize", BearerToken: "change-this-at-last"}}
	want.Store.Endpoint, want.Store.Region = "https://s3.example.com", "eu-central-1"
	want.Store.AccessKey, want.Store.SecretKey, want.Store.SessionToken = "stevedore", "change-this-as-well", "only-for-temporary-keys"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the whole example differs (-want +got):\n%s", diff)
	}
	for key := range allKeys() {
		name := key[strings.LastIndexAny(key, ".]")+1:]
		if !regexp.MustCompile(`(?m)^[# -]*` + name + `:`).Match(lines) {
			t.Errorf("the example does not show %s", key)
		}
	}
}

// certificate writes the certificate of a test server into dir and returns the file.
func certificate(t *testing.T, dir string) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// allKeys are the keys of a configuration file; those of credentials, which may
// stand in several places, under "credentials".
func allKeys() map[string]reflect.StructField {
	keys := configKeys(reflect.TypeFor[service.Config](), "")
	maps.Copy(keys, configKeys(reflect.TypeFor[service.Credentials](), "credentials."))
	return keys
}

// configKeys are the keys of a configuration file by their path, with the field
// each of them sets.
func configKeys(t reflect.Type, path string) map[string]reflect.StructField {
	keys := map[string]reflect.StructField{}
	for f := range fields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch of := f.Type; {
		case name == "-":
		case of.Kind() == reflect.Struct:
			maps.Copy(keys, configKeys(of, path+name+"."))
		case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct:
			maps.Copy(keys, configKeys(of.Elem(), path+name+"[]."))
		case of.Kind() == reflect.Pointer && of.Elem().Kind() == reflect.Struct && of.Elem() != reflect.TypeFor[service.Credentials]():
			maps.Copy(keys, configKeys(of.Elem(), path+name+"."))
		default:
			keys[path+name] = f
		}
	}
	return keys
}

func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if !yield(f) {
				return
			}
		}
	}
}

// TestDocumented wants a row of the document for each key, and the right default in it.
func TestDocumented(t *testing.T) {
	t.Parallel()
	documented := map[string]string{} // key -> default
	row := regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\| [^|]+ \\| ([^|]+) \\| ")
	for _, m := range row.FindAllSubmatch(read(t, configDoc), -1) {
		documented[string(m[1])] = strings.Trim(string(m[2]), "` ")
	}
	keys := allKeys()
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		text, ok := documented[key]
		if !ok {
			t.Errorf("%s has no row for %s", configDoc, key)
			continue
		}
		if want := valueOf(defaults(), key); want.IsValid() && !want.IsZero() && !says(text, want) {
			t.Errorf("%s: the document says the default is %q, it is %v", key, text, want)
		}
	}
	for key := range documented {
		if _, ok := keys[key]; !ok {
			t.Errorf("%s documents %s, which is no key", configDoc, key)
		}
	}
}

// valueOf is the value a configuration has for a key that is not in a list, the
// zero Value if it has none.
func valueOf(c service.Config, key string) reflect.Value {
	v := reflect.ValueOf(c)
	if strings.HasPrefix(key, "credentials.") {
		return reflect.Value{}
	}
	for part := range strings.SplitSeq(key, ".") {
		for f := range fields(v.Type()) {
			if f.Tag.Get("yaml") == part {
				v = reflect.Indirect(v.FieldByIndex(f.Index))
				break
			}
		}
		if v.Kind() == reflect.Slice || strings.HasSuffix(part, "[]") {
			return reflect.Zero(reflect.TypeFor[string]())
		}
	}
	return v
}

// says reports whether text is what stands for v in a configuration file.
func says(text string, v reflect.Value) bool {
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		got, err := time.ParseDuration(text)
		return err == nil && got == d
	}
	return text == fmt.Sprint(v.Interface())
}

func TestWrongConfigurations(t *testing.T) {
	t.Parallel()
	check := func(content string, want ...string) {
		t.Helper()
		_, err := load(t, content)
		if err == nil {
			t.Errorf("%q is taken", content)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "service.") {
				t.Errorf("%q: got %v, want %q in it", content, err, w)
			}
		}
	}
	// Unknown keys, at every depth, by line.
	check("listen: 127.0.0.1:0\nfoo: 1\n", "config.yaml: line 2: unknown key foo")
	check("listen: 127.0.0.1:0\n---\nfoo: 1\n", "second document")
	check("report_sse: aes\n", "report_sse", `"aes"`)
	check("store: {endpoint: \"127.0.0.1:9000\"}\n", "store.endpoint", "127.0.0.1:9000")
	check("store: {endpoint: \"http://h/path\"}\n", "store.endpoint", "h/path")
	check("chunks: 4\nstore:\n  region: x\n  endpont: http://s3\n", "line 4: unknown key store.endpont")
	check("keys:\n  - access_key: a\n    secret: b\n", "line 3: unknown key keys[0].secret", "keys[0]: access_key and secret_key are required")
	check("Listen: 127.0.0.1:0\n", "line 1", "Listen")
	check("foo: 1\nbar: many\nchunks: -1\n", "line 1: unknown key foo\n", "line 2: unknown key bar\n", "chunks: must not be negative") // all of them at once
	// Values of the wrong kind.
	check("\nchunks: many\n", `line 2: chunks: "many" is not a whole number`)
	check("retention: 90\n", `line 1: retention: "90" is not a duration such as 720h`) // what unit?
	check("retention: 90d\n", `line 1: retention: "90d" is not a duration such as 720h`)
	check("report_json: perhaps\n", `line 1: report_json: "perhaps" is neither true nor false`)
	check("stores:\n  a:\n    max_requests_per_second: few\n", `line 3: stores.a.max_requests_per_second: "few" is not a number`)
	check("chunks: 4\nchunks: 5\n", "line 2: chunks is there twice, see line 1")
	check("keys: {access_key: k}\nstore: http://s3\nlisten: [a]\n", "line 1: keys: want a list, not keys and values",
		`line 2: store: want keys and values, not "http://s3"`, "line 3: listen: want one value, not a list")
	check("- a\n", "line 1: the file: want keys and values, not a list")
	check("store: &s {chunks: 1}\nstores: {a: *s, b: {<<: *s, regin: x}}\n", "line 1: unknown key store.chunks", "line 2: unknown key stores.b.regin")
	check("x: &s {role_arn: 1}\nstore: *s\n", "line 1: unknown key x")
	check("a: [\n", "line ")
	// Numbers that must be a slip.
	check("chunks: 1001\nsegment_interval: 20m\nshutdown_grace: 2h\nstore: {max_concurrency: 10001, max_attempts: 101, attempt_timeout: 61m}\n",
		"chunks: 1001 is more than 1000", "segment_interval: 20m0s is more than 10m0s", "shutdown_grace: 2h", "store.max_concurrency: 10001 is more than 10000",
		"store.max_attempts: 101 is more than 100", "store.attempt_timeout: 1h1m0s is more than 1h0m0s")
	// Values that make no sense, all of them at once.
	check("listen: here\naccount: '12'\nchunks: -1\nstore: {access_key: a, max_attempts: -1}\nkeys: [{access_key: k}]\n",
		"listen:", `account: "12"`, "chunks: must not be negative", "store: access_key and secret_key", "store.max_attempts", "keys[0]")
	check("keys: [{access_key: k, secret_key: s}, {access_key: k, secret_key: s}]\n", "keys[1]", "twice")
	check("keys: [{access_key: k, secret_key: s, account: me}]\n", `keys[0]: account "me"`)

	// Stores, routes and roles.
	check("store: {access_key: a, secret_key: b, credentials: {environment: true}}\n", "store: access_key and credentials")
	check("store: {session_token: t}\n", "store.session_token")
	check("store: {max_requests_per_second: -1}\n", "store.max_requests_per_second: -1")
	check("store: {max_requests_per_second: .nan}\n", "store.max_requests_per_second: NaN")
	check("store: {endpoint: \"https://u:hidden@h\"}\n", "store.endpoint")
	check("store: {ca_file: none.pem}\n", "store.ca_file", "none.pem")
	check("store: {credentials: {}}\n", "store.credentials: want exactly one", "got none")
	check("store: {credentials: {static: {access_key: a}}}\n", "store.credentials.static.secret_key: is required")
	check("store: {credentials: {static: {access_key: a, secret_key: b, secret_key_file: c}}}\n", "store.credentials.static.secret_key and store.credentials.static.secret_key_file must not")
	check("store: {credentials: {static: {access_key: a, secret_key_file: none}}}\n", "store.credentials.static.secret_key_file", "none")
	check("store: {credentials: {file: {profile: p}}}\n", "store.credentials.file.path")
	check("store: {credentials: {environment: true, file: {path: p}}}\n", "got file and environment")
	check("store: {credentials: {assume_role: {sts_endpoint: here, source: {static: {secret_key: b}}}}}\n",
		"assume_role.role_arn", "assume_role.sts_endpoint", "assume_role.source.static.access_key", "keys: are required")
	check("store: {credentials: {web_identity: {}}}\n", "web_identity.token_file", "web_identity.role_arn")
	check("store: {credentials: &c {assume_role: {role_arn: r, source: *c}}}\n", "contains itself")
	check("store: {credentials: {assume_roll: {}}}\n", "line 1", "assume_roll")
	check("stores: {default: {}, 'a b': {endpoint: x}}\n", "stores.default", `"a b" cannot`, "stores.a b.endpoint")
	check("stores: {a: {max_attempts: -1}}\nbuckets: {b: c, d/e: a}\n", "stores.a.max_attempts", `buckets.b: there is no store "c"`, `"d/e" is neither`)
	check("stores: {a: {endpoint: http://h}}\nbuckets: {b: a}\n", "stores.a: has no credentials, but buckets needs them")
	check("stores: {a: {endpoint: http://h}}\nroles: [{arn: 'arn:aws:iam::123456789012:role/r', store: a}]\n", "stores.a: has no credentials, but roles[0]")
	check("stores: {a: {endpoint: http://h}}\nroles: [{arn: 'arn:aws:iam::123456789012:role/r', store: a, credentials: {assume_role: {role_arn: x}}}]\n",
		"stores.a: has no credentials, but roles[0]")
	check("roles: [{}, {arn: role/r}, {arn: 'arn:aws:iam::123456789012:role/*x'}, {arn: 'arn:aws:iam::*:role/x'}, {arn: 'arn:aws:iam::123456789012:role/'}]\n",
		"roles[0].arn: is required", "roles[1].arn", "roles[2].arn", "roles[3].arn", "roles[4].arn")
	check("roles: [{arn: 'arn:aws:iam::123456789012:role/r'}, {arn: 'arn:aws:iam::123456789012:role/r', store: s, buckets: {b: t}, credentials: {}}]\n",
		"roles[1].arn", "there twice", "roles[1].store", "roles[1].buckets.b", "roles[1].credentials")
	check("roles: [{arn: 'arn:aws:iam::123456789012:role/r', callers: [k]}]\n", "roles[0].callers", "no keys")
	check("keys: [{access_key: k, secret_key: s}, {access_key: l, secret_key: s, account: '210987654321'}]\nroles: [{arn: 'arn:aws:iam::123456789012:role/r', callers: [k, l, m]}]\n",
		"l acts for account 210987654321", `no access key "m"`)
	check("keys: [{access_key: k}, {access_key: l, secret_key_file: none}]\n", "keys[0]", "keys[1].secret_key_file")

	if _, err := load(t, "store: {endpoint: \"https://u:hidden@h\"}\n"); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("a password in an endpoint: %v", err)
	}
	if _, err := service.LoadConfig(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestEmptyFileMeansTheDefaults(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "# nothing\n", "---\n", "chunks: 0\nretention: 0s\nlisten: ''\n"} {
		got, err := load(t, content)
		if err != nil {
			t.Errorf("%q: %v", content, err)
		}
		if diff := cmp.Diff(service.Default(), got); diff != "" {
			t.Errorf("%q (-default +got):\n%s", content, diff)
		}
	}
	got, err := load(t, "report_json: false\nreport_sse: none\n")
	if err != nil || *got.ReportJSON || got.ReportSSE != "none" {
		t.Errorf("what is switched off: got %+v, %v", got, err)
	}
}
