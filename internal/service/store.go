package service

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"strings"
	"time"

	"stevedore/internal/objectstore"
)

// defaultStore is the name of Config.Store wherever a store is named.
const defaultStore = "default"

// Store says where objects are, who asks for them, and how hard it may be pressed.
type Store struct { //nolint:recvcheck // a Store that is logged by value needs LogValue, too
	Endpoint string `yaml:"endpoint"` // URL; empty: AWS itself
	Region   string `yaml:"region"`
	// AccessKey, SecretKey and SessionToken are short for Credentials.Static.
	AccessKey    string `yaml:"access_key"`
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`
	// Credentials ask for the objects where a role has none of its own. Config.Store
	// falls back to the AWS credential chain, another store to nothing.
	Credentials *Credentials `yaml:"credentials"`
	VirtualHost bool         `yaml:"virtual_host"` // bucket in the host name instead of the path
	CAFile      string       `yaml:"ca_file"`      // PEM: the roots for TLS, instead of the system's

	MaxConcurrency       int           `yaml:"max_concurrency"`         // requests of tasks in flight
	MaxRequestsPerSecond float64       `yaml:"max_requests_per_second"` // of tasks; 0: no bound
	AttemptTimeout       time.Duration `yaml:"attempt_timeout"`
	MaxAttempts          int           `yaml:"max_attempts"`
}

// LogValue keeps the secrets out of logs.
func (s Store) LogValue() slog.Value { return slog.StringValue(s.Endpoint) }

func (s *Store) fill() { s.MaxConcurrency = cmp.Or(s.MaxConcurrency, 64) }

// own are the credentials of s, nil if it says nothing about them.
func (s *Store) own() *Credentials {
	if s.Credentials == nil && s.AccessKey != "" {
		return &Credentials{Static: &StaticCredentials{AccessKey: s.AccessKey, SecretKey: s.SecretKey, SessionToken: s.SessionToken}}
	}
	return s.Credentials
}

// isAWS reports whether s is AWS itself and not one of its likes.
func (s *Store) isAWS() bool {
	u, err := url.Parse(s.Endpoint)
	if err != nil || s.Endpoint == "" {
		return s.Endpoint == ""
	}
	host := strings.ToLower(u.Hostname())
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// A report takes what is wrong with a configuration, by key.
type report func(format string, args ...any)

func (s *Store) check(at string, bad report) {
	if s.Endpoint != "" && !isEndpoint(s.Endpoint) {
		bad("%s.endpoint: %q is not an endpoint such as https://s3.example.com", at, redacted(s.Endpoint))
	}
	if (s.AccessKey == "") != (s.SecretKey == "") {
		bad("%s: access_key and secret_key must be given together", at)
	}
	if s.SessionToken != "" && s.AccessKey == "" {
		bad("%s.session_token: goes with access_key and secret_key", at)
	}
	if s.Credentials != nil {
		if s.AccessKey != "" || s.SecretKey != "" {
			bad("%s: access_key and credentials must not be given together", at)
		}
		s.Credentials.check(at+".credentials", bad, 0)
	}
	if s.CAFile != "" {
		if _, err := trusting(s.CAFile); err != nil {
			bad("%s.ca_file: %w", at, err)
		}
	}
	within(at+".max_concurrency", s.MaxConcurrency, maxConcurrency, bad)
	within(at+".max_attempts", s.MaxAttempts, maxAttempts, bad)
	within(at+".attempt_timeout", s.AttemptTimeout, maxTimeout, bad)
	if s.MaxRequestsPerSecond < 0 || math.IsNaN(s.MaxRequestsPerSecond) || math.IsInf(s.MaxRequestsPerSecond, 0) {
		bad("%s.max_requests_per_second: %v is not a number of requests", at, s.MaxRequestsPerSecond)
	}
}

// isEndpoint reports whether raw is a URL of scheme, host and port.
func isEndpoint(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") &&
		u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

// redacted is a URL without the password somebody may have put into it.
func redacted(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return raw
}

// objects is s as package objectstore takes it, without credentials.
func (s *Store) objects() (objectstore.Config, error) {
	o := objectstore.Config{
		Endpoint: s.Endpoint, Region: s.Region, VirtualHost: s.VirtualHost,
		MaxConcurrency: s.MaxConcurrency, RequestsPerSecond: s.MaxRequestsPerSecond,
		AttemptTimeout: s.AttemptTimeout, MaxAttempts: s.MaxAttempts,
	}
	if s.CAFile == "" {
		return o, nil
	}
	var err error
	o.TLS, err = trusting(s.CAFile)
	return o, err
}

// trusting is a TLS configuration that trusts the certificates of a PEM file and
// no others.
func trusting(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// secret is a secret value given as itself or by the file that holds it, as
// Docker and Kubernetes hand secrets out. The line break at its end is not part of
// it.
func secret(value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	value = strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", errors.New(file + " is empty")
	}
	return value, nil
}

// checkSecret reports what is wrong with a secret that may be given in two ways.
func checkSecret(at, value, file string, bad report) {
	if value != "" && file != "" {
		bad("%s and %s_file must not be given together", at, at)
	} else if _, err := secret(value, file); err != nil {
		bad("%s_file: %w", at, err)
	}
}
