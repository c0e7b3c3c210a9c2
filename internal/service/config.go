package service

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"stevedore/internal/lambda"
	"stevedore/internal/run"
	"stevedore/internal/schedule"
)

// Config is everything one process is told. The YAML names are those of the
// configuration file, where an unknown name is an error. The zero value of a
// field means the default that Default shows.
type Config struct {
	// Listen is the address of the API, host:port; port 0 takes a free one.
	Listen string `yaml:"listen"`
	// DataDir holds the job store. It belongs to one process at a time.
	DataDir string `yaml:"data_dir"`
	// Account owns all jobs when keys are not configured: twelve digits.
	Account string `yaml:"account"`
	// Keys are the access keys that may call the API. None: the key pair of Store.
	Keys []Key `yaml:"keys"`
	// Store is the store that a role has which names none, and every role where no
	// roles are configured. Where a store is named, it is "default".
	Store Store `yaml:"store"`
	// Stores are more of them, by name.
	Stores map[string]Store `yaml:"stores"`
	// Buckets says which store has a bucket, by its name or a pattern with *, for
	// buckets that are not in the store of the job's role.
	Buckets map[string]string `yaml:"buckets"`
	// Roles are the roles that jobs may be given. None: every role of an account
	// that has keys, and all of them mean Store and Buckets.
	Roles []Role `yaml:"roles"`
	// Functions are what LambdaInvoke can call beside the built-in ones, by name.
	Functions lambda.Config `yaml:"functions"`
	// ReportJSON writes report.json, identical to manifest.json, beside it:
	// the documentation of the API's Prefix member promises that name.
	ReportJSON *bool `yaml:"report_json"`
	// ReportSSE is the server-side encryption asked for report objects; "none"
	// for stores that refuse the header.
	ReportSSE string `yaml:"report_sse"`
	// ConfirmationTimeout fails a job that nobody has confirmed for so long.
	ConfirmationTimeout time.Duration `yaml:"confirmation_timeout"`
	// Retention is how long the record of an ended job is kept.
	Retention time.Duration `yaml:"retention"`
	// Chunks is how many chunks run at once.
	Chunks int `yaml:"chunks"`
	// SegmentInterval is how often outcomes are committed while a chunk runs,
	// and so how much a crash repeats.
	SegmentInterval time.Duration `yaml:"segment_interval"`
	// ShutdownGrace is how long tasks in flight may take when the process is
	// asked to stop.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`

	// Logger takes the log. Nil: nothing is logged.
	Logger *slog.Logger `yaml:"-"`
}

// Key is an access key of the API and the account it acts for.
type Key struct {
	AccessKey        string `yaml:"access_key"`
	SecretKey        string `yaml:"secret_key"`
	SecretKeyFile    string `yaml:"secret_key_file"` // read once, in place of SecretKey
	SessionToken     string `yaml:"session_token"`
	SessionTokenFile string `yaml:"session_token_file"`
	Account          string `yaml:"account"` // default: Config.Account
}

// LogValue keeps the secrets out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.AccessKey) }

// Default returns the configuration that an empty file means.
func Default() Config {
	var c Config
	c.fill()
	return c
}

func (c *Config) fill() {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:9700")
	c.DataDir = cmp.Or(c.DataDir, "stevedore-data")
	c.Account = cmp.Or(c.Account, "123456789012")
	c.Store.fill()
	c.Stores = maps.Clone(c.Stores)
	for name, s := range c.Stores {
		s.fill()
		c.Stores[name] = s
	}
	c.ReportSSE = cmp.Or(c.ReportSSE, "AES256")
	c.ConfirmationTimeout = cmp.Or(c.ConfirmationTimeout, 30*24*time.Hour)
	c.Retention = cmp.Or(c.Retention, 90*24*time.Hour)
	c.Chunks = cmp.Or(c.Chunks, 4)
	c.SegmentInterval = cmp.Or(c.SegmentInterval, 2*time.Second)
	c.ShutdownGrace = cmp.Or(c.ShutdownGrace, 30*time.Second)
	if c.ReportJSON == nil {
		c.ReportJSON = new(true)
	}
	for i := range c.Keys {
		c.Keys[i].Account = cmp.Or(c.Keys[i].Account, c.Account)
	}
}

// LoadConfig reads a configuration file. It returns every problem it finds, with
// line numbers where the file itself is wrong.
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	var (
		c    Config
		file yaml.Node
		bad  misfits
	)
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read configuration %s: a second document after --- would be ignored; there must be one only", path)
	}
	for _, n := range file.Content {
		bad.value(n, reflect.TypeFor[Config](), "")
	}
	strict := yaml.NewDecoder(bytes.NewReader(data))
	strict.KnownFields(true)
	err = strict.Decode(&c)
	if _, partly := errors.AsType[*yaml.TypeError](err); err != nil && !errors.Is(err, io.EOF) && (!partly || len(bad.problems) == 0) {
		return Config{}, fmt.Errorf("read configuration %s: %w", path, errors.Join(append(bad.problems, err)...))
	}
	c.fill()
	if err := errors.Join(append(bad.problems, c.Validate())...); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Validate returns every problem of c, joined.
func (c *Config) Validate() error {
	var errs []error
	bad := report(func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) })
	account := regexp.MustCompile(`^\d{12}$`)
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen: %w", err)
	}
	if c.DataDir == "" {
		bad("data_dir: must name a directory")
	}
	if !account.MatchString(c.Account) {
		bad("account: %q is not a 12-digit account id", c.Account)
	}
	seen := map[string]bool{}
	for i, k := range c.Keys {
		switch {
		case k.AccessKey == "" || k.SecretKey+k.SecretKeyFile == "":
			bad("keys[%d]: access_key and secret_key are required", i)
		case seen[k.AccessKey]:
			bad("keys[%d]: access_key %s is there twice", i, k.AccessKey)
		}
		seen[k.AccessKey] = true
		if !account.MatchString(k.Account) {
			bad("keys[%d]: account %q is not a 12-digit account id", i, k.Account)
		}
		checkSecret(fmt.Sprintf("keys[%d].secret_key", i), k.SecretKey, k.SecretKeyFile, bad)
		checkSecret(fmt.Sprintf("keys[%d].session_token", i), k.SessionToken, k.SessionTokenFile, bad)
	}
	c.checkStores(bad)
	if c.ReportSSE != "AES256" && c.ReportSSE != "none" {
		bad("report_sse: %q is neither AES256 nor none", c.ReportSSE)
	}
	if err := c.Functions.Validate(); err != nil {
		bad("functions: %w", err)
	}
	within("confirmation_timeout", c.ConfirmationTimeout, math.MaxInt64, bad)
	within("retention", c.Retention, math.MaxInt64, bad)
	within("chunks", c.Chunks, maxChunks, bad)
	within("segment_interval", c.SegmentInterval, maxInterval, bad)
	within("shutdown_grace", c.ShutdownGrace, maxTimeout, bad)
	return errors.Join(errs...)
}

// Upper bounds: far beyond what helps, and small enough that a slip of the keyboard
// is noticed at the start and not when memory or connections run out.
const (
	maxChunks      = 1_000
	maxConcurrency = 10_000
	maxAttempts    = 100
	maxTimeout     = time.Hour
	maxInterval    = 10 * time.Minute
)

// within reports a number that is negative or greater than most.
func within[T int | time.Duration](key string, value, most T, bad report) {
	switch {
	case value < 0:
		bad("%s: must not be negative", key)
	case value > most:
		bad("%s: %v is more than %v", key, value, most)
	}
}

// ErrNoCredentials is returned if nothing says who may call the API.
var ErrNoCredentials = errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name store and keys in a configuration file")

// schedule returns the configuration of the scheduler.
func (c *Config) schedule() schedule.Config {
	sse := c.ReportSSE
	if sse == "none" {
		sse = ""
	}
	return schedule.Config{
		Chunks:     c.Chunks,
		ReportJSON: *c.ReportJSON,
		ReportSSE:  sse,
		TempDir:    filepath.Join(c.DataDir, "tmp"),
		Spool:      filepath.Join(c.DataDir, "spool"),
		Grace:      c.ShutdownGrace,
		Logger:     c.Logger,
		Run: run.Config{
			Workers:      c.workers(),
			SegmentEvery: c.SegmentInterval,
			Logger:       c.Logger,
		},
	}
}

// workers is how many tasks of a chunk may be in flight: what the store that may be
// pressed hardest can take.
func (c *Config) workers() int {
	n := 1
	for _, r := range c.roleList() {
		for _, name := range c.reach(&r) {
			s, named := c.Stores[name]
			if !named {
				s = c.Store
			}
			n = max(n, s.MaxConcurrency)
		}
	}
	return n
}
