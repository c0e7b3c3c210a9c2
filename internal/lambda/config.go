package lambda

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Reserved is how the names of the functions begin that are built in.
const Reserved = "stevedore-"

// anyFunction in the configuration means every function that has no entry.
const anyFunction = "*"

// Config names the functions that jobs may call. The key is a function's name, a
// name with a qualifier (name:PROD), or a full ARN; the most exact one counts. The
// key * stands for every other function, and is for Lambda endpoints only.
type Config map[string]Function

// Function says where one function runs: exactly one of Bootstrap, URL and
// Lambda is set.
type Function struct {
	// Bootstrap is a program of the Lambda custom runtime that we start ourselves.
	Bootstrap string `yaml:"bootstrap"`
	// URL takes the JSON of an invocation by POST and answers with that of the result.
	URL string `yaml:"url"`
	// Lambda is an endpoint of the Lambda Invoke API.
	Lambda *Endpoint `yaml:"lambda"`

	// Concurrency is how many invocations run at once, of a Bootstrap also how
	// many processes. Default 4 for a Bootstrap, else 64.
	Concurrency int `yaml:"concurrency"`
	// Timeout bounds one invocation. Default 1 minute, for Lambda 16 minutes: one
	// more than a function may take there.
	Timeout time.Duration `yaml:"timeout"`
	// Accounts may call the function; none means all.
	Accounts []string `yaml:"accounts"`

	// Headers go with every request to URL.
	Headers map[string]string `yaml:"headers"`
	// BearerToken goes to URL as "Authorization: Bearer ...".
	BearerToken string `yaml:"bearer_token"`

	// Dir is where Bootstrap runs, default its own folder.
	Dir string `yaml:"dir"`
	// Handler is what Bootstrap reads as _HANDLER, default "bootstrap".
	Handler string `yaml:"handler"`
	// Env is the environment of Bootstrap. It gets that of the Lambda runtime and
	// PATH besides, and nothing of ours: our credentials are not its own.
	Env map[string]string `yaml:"env"`
	// MemoryMB is how much memory a process of Bootstrap may take, in MiB, before
	// it is killed. 0: no limit. Looked after on Linux only.
	MemoryMB int `yaml:"memory_mb"`
	// InitTimeout bounds the time from the start of Bootstrap to its first
	// question for work. Default 10 s.
	InitTimeout time.Duration `yaml:"init_timeout"`
}

// Endpoint is a Lambda Invoke API: AWS's, or one that is compatible.
type Endpoint struct {
	Endpoint     string `yaml:"endpoint"`   // URL; empty: AWS in Region
	Region       string `yaml:"region"`     // default that of the object store
	AccessKey    string `yaml:"access_key"` // empty: the credentials of the object store
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`
	// Function is what is invoked there, with the qualifier of the job. Default:
	// the FunctionArn of the job as it stands.
	Function string `yaml:"function"`
}

// LogValue keeps the secrets out of logs.
func (f Function) LogValue() slog.Value {
	switch {
	case f.Bootstrap != "":
		return slog.StringValue(f.Bootstrap)
	case f.Lambda != nil:
		return slog.AnyValue(f.Lambda)
	}
	return slog.StringValue("url")
}

// LogValue keeps the secrets out of logs.
func (e Endpoint) LogValue() slog.Value {
	return slog.StringValue(cmp.Or(e.Endpoint, "lambda "+e.Region))
}

func (f Function) withDefaults() Function {
	concurrency, timeout := 64, time.Minute
	switch {
	case f.Bootstrap != "":
		concurrency = 4
	case f.Lambda != nil:
		timeout = 16 * time.Minute
	}
	f.Concurrency = cmp.Or(f.Concurrency, concurrency)
	f.Timeout = cmp.Or(f.Timeout, timeout)
	f.InitTimeout = cmp.Or(f.InitTimeout, 10*time.Second)
	f.Handler = cmp.Or(f.Handler, "bootstrap")
	return f
}

// Validate returns every problem of c, joined.
func (c Config) Validate() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c)) {
		f := c[name]
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...)))
		}
		parsed, ok := ParseName(name)
		switch {
		case name == anyFunction && f.Lambda == nil:
			bad("is for a lambda endpoint only, which knows the functions apart")
		case name == anyFunction:
		case !ok:
			bad("is neither the name nor the ARN of a function")
		case strings.HasPrefix(parsed.Function, Reserved):
			bad("names that begin with " + Reserved + " are taken by the built-in functions")
		}
		f.validate(bad)
	}
	return errors.Join(errs...)
}

func (f Function) validate(bad func(format string, args ...any)) {
	kinds := 0
	for _, given := range []bool{f.Bootstrap != "", f.URL != "", f.Lambda != nil} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		bad("want exactly one of bootstrap, url and lambda")
		return
	}
	account := regexp.MustCompile(`^\d{12}$`)
	for _, a := range f.Accounts {
		if !account.MatchString(a) {
			bad("accounts: %q is not a 12-digit account id", a)
		}
	}
	for name, n := range map[string]int64{
		"concurrency": int64(f.Concurrency), "timeout": int64(f.Timeout),
		"memory_mb": int64(f.MemoryMB), "init_timeout": int64(f.InitTimeout),
	} {
		if n < 0 {
			bad("%s: must not be negative", name)
		}
	}
	if f.URL == "" && (len(f.Headers) > 0 || f.BearerToken != "") {
		bad("headers and bearer_token go with url only")
	}
	if f.Bootstrap == "" && (f.Dir != "" || f.Handler != "" || len(f.Env) > 0 || f.MemoryMB != 0 || f.InitTimeout != 0) {
		bad("dir, handler, env, memory_mb and init_timeout go with bootstrap only")
	}
	switch {
	case f.Bootstrap != "":
		f.validateBootstrap(bad)
	case f.URL != "":
		f.validateURL(bad)
	default:
		f.Lambda.validate(bad)
	}
}

func (f Function) validateBootstrap(bad func(string, ...any)) {
	switch info, err := os.Stat(f.Bootstrap); {
	case err != nil:
		bad("bootstrap: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		bad("bootstrap: %s is not a program", f.Bootstrap)
	}
	for key := range f.Env {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.Contains(f.Env[key], "\x00") {
			bad("env: %q cannot stand in an environment", key)
		}
	}
}

func (f Function) validateURL(bad func(string, ...any)) {
	if err := checkURL(f.URL); err != nil {
		bad("url: %w", err)
	}
	for key, value := range f.Headers {
		if key == "" || strings.ContainsAny(key, " \t\r\n:") || strings.ContainsAny(value, "\r\n\x00") {
			bad("headers: %q cannot be sent", key)
		}
		switch http.CanonicalHeaderKey(key) {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection":
			bad("headers: %s is set by the client itself", key)
		}
	}
	if strings.ContainsAny(f.BearerToken, "\r\n\x00") {
		bad("bearer_token: cannot be sent")
	}
}

func (e Endpoint) validate(bad func(string, ...any)) {
	if e.Endpoint != "" {
		if err := checkURL(e.Endpoint); err != nil {
			bad("lambda.endpoint: %w", err)
		}
	}
	if (e.AccessKey == "") != (e.SecretKey == "") {
		bad("lambda: access_key and secret_key must be given together")
	}
	if _, ok := ParseName(e.Function); e.Function != "" && !ok {
		bad("lambda.function: %q is neither the name nor the ARN of a function", e.Function)
	}
}

// checkURL says what is wrong with an address to speak to.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("is not a URL") // the error would show what may be a password
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("%q: want http:// or https:// and a host", u.Redacted())
	case u.User != nil:
		return errors.New("user and password do not go into the URL")
	}
	return nil
}
