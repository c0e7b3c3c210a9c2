package service

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.yaml.in/yaml/v3"

	"stevedore/internal/lambda"
	"stevedore/internal/objectstore"
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
	// Keys are the access keys that may call the API. None: see FromEnv.
	Keys []Key `yaml:"keys"`
	// Store is the object store that every role stands for.
	Store Store `yaml:"store"`
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
	AccessKey    string `yaml:"access_key"`
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`
	Account      string `yaml:"account"` // default: Config.Account
}

// LogValue keeps the secrets out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.AccessKey) }

// Store says where the objects are and who asks for them.
type Store struct {
	Endpoint       string        `yaml:"endpoint"` // URL; empty: AWS_ENDPOINT_URL_S3, else AWS itself
	Region         string        `yaml:"region"`
	AccessKey      string        `yaml:"access_key"` // empty: the AWS credential chain
	SecretKey      string        `yaml:"secret_key"`
	SessionToken   string        `yaml:"session_token"`
	VirtualHost    bool          `yaml:"virtual_host"`    // bucket in the host name instead of the path
	MaxConcurrency int           `yaml:"max_concurrency"` // requests of tasks in flight
	AttemptTimeout time.Duration `yaml:"attempt_timeout"`
	MaxAttempts    int           `yaml:"max_attempts"`
}

// LogValue keeps the secrets out of logs.
func (s Store) LogValue() slog.Value { return slog.StringValue(s.Endpoint) }

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
	c.Store.MaxConcurrency = cmp.Or(c.Store.MaxConcurrency, 64)
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
	var c Config
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read configuration %s: a second document after --- would be ignored; there must be one only", path)
	}
	c.fill()
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Validate returns every problem of c, joined.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
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
		case k.AccessKey == "" || k.SecretKey == "":
			bad("keys[%d]: access_key and secret_key are required", i)
		case seen[k.AccessKey]:
			bad("keys[%d]: access_key %s is there twice", i, k.AccessKey)
		}
		seen[k.AccessKey] = true
		if !account.MatchString(k.Account) {
			bad("keys[%d]: account %q is not a 12-digit account id", i, k.Account)
		}
	}
	if c.Store.Endpoint != "" {
		if u, err := url.Parse(c.Store.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			bad("store.endpoint: %q is not an endpoint such as https://s3.example.com", c.Store.Endpoint)
		}
	}
	if c.ReportSSE != "AES256" && c.ReportSSE != "none" {
		bad("report_sse: %q is neither AES256 nor none", c.ReportSSE)
	}
	if (c.Store.AccessKey == "") != (c.Store.SecretKey == "") {
		bad("store: access_key and secret_key must be given together")
	}
	if err := c.Functions.Validate(); err != nil {
		bad("functions: %w", err)
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"store.max_concurrency", int64(c.Store.MaxConcurrency)},
		{"store.max_attempts", int64(c.Store.MaxAttempts)},
		{"store.attempt_timeout", int64(c.Store.AttemptTimeout)},
		{"confirmation_timeout", int64(c.ConfirmationTimeout)},
		{"retention", int64(c.Retention)},
		{"chunks", int64(c.Chunks)},
		{"segment_interval", int64(c.SegmentInterval)},
		{"shutdown_grace", int64(c.ShutdownGrace)},
	} {
		if n.value < 0 {
			bad("%s: must not be negative", n.name)
		}
	}
	return errors.Join(errs...)
}

// ErrNoCredentials: nothing says who may call the API.
var ErrNoCredentials = errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name store and keys in a configuration file")

// objects returns the configuration of the object store: what c says, and for
// what it does not say the environment, as every AWS tool reads it.
func (c *Config) objects(ctx context.Context) (objectstore.Config, error) {
	o, err := objectstore.ConfigFromEnv(ctx)
	if err != nil {
		return o, fmt.Errorf("object store: %w", err)
	}
	o.Endpoint = cmp.Or(c.Store.Endpoint, o.Endpoint)
	o.Region = cmp.Or(c.Store.Region, o.Region)
	if c.Store.AccessKey != "" {
		o.Credentials = aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(c.Store.AccessKey, c.Store.SecretKey, c.Store.SessionToken))
	}
	if o.Credentials == nil {
		return o, ErrNoCredentials
	}
	o.VirtualHost = c.Store.VirtualHost
	o.MaxConcurrency = c.Store.MaxConcurrency
	o.AttemptTimeout = c.Store.AttemptTimeout
	o.MaxAttempts = c.Store.MaxAttempts
	return o, nil
}

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
		Grace:      c.ShutdownGrace,
		Logger:     c.Logger,
		Run: run.Config{
			Workers:      c.Store.MaxConcurrency,
			SegmentEvery: c.SegmentInterval,
			Logger:       c.Logger,
		},
	}
}
