package service_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	inKeys := false
	for line := range bytes.Lines(read(t, exampleConfig)) {
		// "# " opens prose, except below the lists of keys and functions.
		inKeys = bytes.HasPrefix(line, []byte("#keys:")) || bytes.HasPrefix(line, []byte("#functions:")) || inKeys && bytes.HasPrefix(line, []byte("#  "))
		if inKeys || !bytes.HasPrefix(bytes.TrimSpace(line), []byte("# ")) {
			line = all.ReplaceAll(line, []byte("$1$2"))
		}
		lines = append(lines, line...)
	}
	got, err := load(t, string(lines))
	if err != nil {
		t.Fatalf("%v in\n%s", err, lines)
	}
	want := defaults()
	want.Keys = []service.Key{
		{AccessKey: "backup", SecretKey: "change-this", Account: "123456789012"},
		{AccessKey: "analytics", SecretKey: "change-this-too", SessionToken: "only-for-temporary-keys", Account: "210987654321"},
	}
	want.Functions = lambda.Config{"resize": {URL: "https://functions.example.com/resize", BearerToken: "change-this-at-last"}}
	want.Store.Endpoint, want.Store.Region = "https://s3.example.com", "eu-central-1"
	want.Store.AccessKey, want.Store.SecretKey, want.Store.SessionToken = "stevedore", "change-this-as-well", "only-for-temporary-keys"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the whole example differs (-want +got):\n%s", diff)
	}
	for key := range configKeys(reflect.TypeFor[service.Config](), "") {
		name := key[strings.LastIndexAny(key, ".]")+1:]
		if !regexp.MustCompile(`(?m)^[# -]*` + name + `:`).Match(lines) {
			t.Errorf("the example does not show %s", key)
		}
	}
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
		default:
			keys[path+name] = f
		}
	}
	return keys
}

func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
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
	keys := configKeys(reflect.TypeFor[service.Config](), "")
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		text, ok := documented[key]
		if !ok {
			t.Errorf("%s has no row for %s", configDoc, key)
			continue
		}
		if want := valueOf(defaults(), key); !want.IsZero() && !says(text, want) {
			t.Errorf("%s: the document says the default is %q, it is %v", key, text, want)
		}
	}
	for key := range documented {
		if _, ok := keys[key]; !ok {
			t.Errorf("%s documents %s, which is no key", configDoc, key)
		}
	}
}

// valueOf is the value a configuration has for a key that is not in a list.
func valueOf(c service.Config, key string) reflect.Value {
	v := reflect.ValueOf(c)
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
	if d, ok := v.Interface().(time.Duration); ok {
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
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: got %v, want %q in it", content, err, w)
			}
		}
	}
	// Unknown keys, at every depth, by line.
	check("listen: 127.0.0.1:0\nfoo: 1\n", "config.yaml", "line 2", "foo")
	check("listen: 127.0.0.1:0\n---\nfoo: 1\n", "second document")
	check("report_sse: aes\n", "report_sse", `"aes"`)
	check("store: {endpoint: \"127.0.0.1:9000\"}\n", "store.endpoint", "127.0.0.1:9000")
	check("store: {endpoint: \"http://h/path\"}\n", "store.endpoint", "h/path")
	check("chunks: 4\nstore:\n  region: x\n  endpont: http://s3\n", "line 4", "endpont")
	check("keys:\n  - access_key: a\n    secret: b\n", "line 3", "secret")
	check("Listen: 127.0.0.1:0\n", "line 1", "Listen")
	check("foo: 1\nbar: 1\n", "line 1", "line 2") // all of them at once
	// Values of the wrong kind.
	check("\nchunks: many\n", "line 2")
	check("retention: 90\n", "line 1") // what unit?
	check("retention: 90d\n", "line 1")
	check("report_json: perhaps\n", "line 1")
	check("chunks: 4\nchunks: 5\n", "line 2")
	check("a: [\n", "line ")
	// Values that make no sense, all of them at once.
	check("listen: here\naccount: '12'\nchunks: -1\nstore: {access_key: a, max_attempts: -1}\nkeys: [{access_key: k}]\n",
		"listen:", `account: "12"`, "chunks: must not be negative", "store: access_key and secret_key", "store.max_attempts", "keys[0]")
	check("keys: [{access_key: k, secret_key: s}, {access_key: k, secret_key: s}]\n", "keys[1]", "twice")
	check("keys: [{access_key: k, secret_key: s, account: me}]\n", `keys[0]: account "me"`)

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
