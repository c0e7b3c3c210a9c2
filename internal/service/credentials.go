package service

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/objectstore"
)

// Credentials say as whom a store is asked: exactly one of the ways to get them.
type Credentials struct {
	Static *StaticCredentials `yaml:"static"`
	File   *FileCredentials   `yaml:"file"`
	// Environment means the AWS credential chain: variables, shared files, the
	// machine's own.
	Environment bool         `yaml:"environment"`
	AssumeRole  *AssumeRole  `yaml:"assume_role"`
	WebIdentity *WebIdentity `yaml:"web_identity"`
}

// LogValue keeps the secrets out of logs.
func (c *Credentials) LogValue() slog.Value {
	return slog.StringValue("credentials: " + strings.Join(c.kinds(), ", "))
}

// StaticCredentials are keys that never change. Those in files are read once.
type StaticCredentials struct {
	AccessKey        string `yaml:"access_key"`
	SecretKey        string `yaml:"secret_key"`
	SecretKeyFile    string `yaml:"secret_key_file"`
	SessionToken     string `yaml:"session_token"`
	SessionTokenFile string `yaml:"session_token_file"`
}

// LogValue keeps the secrets out of logs.
func (c *StaticCredentials) LogValue() slog.Value { return slog.StringValue(c.AccessKey) }

// FileCredentials are a profile of a shared credentials file, which may be
// replaced at any time.
type FileCredentials struct {
	Path    string `yaml:"path"`
	Profile string `yaml:"profile"` // default "default"
}

// AssumeRole are temporary credentials of a role, renewed before they expire.
type AssumeRole struct {
	RoleARN     string `yaml:"role_arn"`
	ExternalID  string `yaml:"external_id"`
	SessionName string `yaml:"session_name"` // default "stevedore"
	// STSEndpoint is a URL. Default: the store's own endpoint, for AWS that of its
	// Region.
	STSEndpoint string `yaml:"sts_endpoint"`
	// Source may assume the role. Default: for a role of ours the credentials of
	// its store, for a store the environment.
	Source *Credentials `yaml:"source"`
}

// WebIdentity are temporary credentials for the bearer of a token, renewed before
// they expire.
type WebIdentity struct {
	TokenFile   string `yaml:"token_file"` // read for every renewal
	RoleARN     string `yaml:"role_arn"`
	SessionName string `yaml:"session_name"` // default "stevedore"
	STSEndpoint string `yaml:"sts_endpoint"` // as that of AssumeRole
}

// kinds names the ways that are given, by their keys.
func (c *Credentials) kinds() (given []string) {
	for _, k := range []struct {
		key   string
		given bool
	}{
		{"static", c.Static != nil},
		{"file", c.File != nil},
		{"environment", c.Environment},
		{"assume_role", c.AssumeRole != nil},
		{"web_identity", c.WebIdentity != nil},
	} {
		if k.given {
			given = append(given, k.key)
		}
	}
	return given
}

// temporary reports whether the keys are others from time to time.
func (c *Credentials) temporary() bool { return c.AssumeRole != nil || c.WebIdentity != nil }

// maxSources bounds how many roles are assumed one out of the other.
const maxSources = 4

// check reports what is wrong with c, which is the source of so many others.
func (c *Credentials) check(at string, bad report, depth int) {
	if depth > maxSources {
		bad("%s: more than %d roles assumed one out of the other", at, maxSources)
		return
	}
	if given := c.kinds(); len(given) != 1 {
		bad("%s: want exactly one of static, file, environment, assume_role and web_identity, got %s", at, cmp.Or(strings.Join(given, " and "), "none"))
		return
	}
	require := func(key, value string) {
		if value == "" {
			bad("%s.%s: is required", at, key)
		}
	}
	endpoint := func(key, value string) {
		if value != "" && !isEndpoint(value) {
			bad("%s.%s: %q is not an endpoint such as https://sts.example.com", at, key, redacted(value))
		}
	}
	switch {
	case c.Static != nil:
		require("static.access_key", c.Static.AccessKey)
		require("static.secret_key", c.Static.SecretKey+c.Static.SecretKeyFile)
		checkSecret(at+".static.secret_key", c.Static.SecretKey, c.Static.SecretKeyFile, bad)
		checkSecret(at+".static.session_token", c.Static.SessionToken, c.Static.SessionTokenFile, bad)
	case c.File != nil:
		require("file.path", c.File.Path)
	case c.AssumeRole != nil:
		require("assume_role.role_arn", c.AssumeRole.RoleARN)
		endpoint("assume_role.sts_endpoint", c.AssumeRole.STSEndpoint)
		if c.AssumeRole.Source != nil {
			c.AssumeRole.Source.check(at+".assume_role.source", bad, depth+1)
		}
	case c.WebIdentity != nil:
		require("web_identity.token_file", c.WebIdentity.TokenFile)
		require("web_identity.role_arn", c.WebIdentity.RoleARN)
		endpoint("web_identity.sts_endpoint", c.WebIdentity.STSEndpoint)
	}
}

// provider gets c, for s, whose roots are trusted. Where c assumes a role without
// saying who may, source may.
func (c *Credentials) provider(s *Store, trusted *tls.Config, environment, source aws.CredentialsProvider) (aws.CredentialsProvider, error) {
	service := func(endpoint string) objectstore.STS {
		if endpoint == "" && !s.isAWS() {
			endpoint = s.Endpoint
		}
		return objectstore.STS{Endpoint: endpoint, Region: s.Region, TLS: trusted}
	}
	switch {
	case c.Static != nil:
		secretKey, err := secret(c.Static.SecretKey, c.Static.SecretKeyFile)
		if err != nil {
			return nil, err
		}
		token, err := secret(c.Static.SessionToken, c.Static.SessionTokenFile)
		if err != nil {
			return nil, err
		}
		return objectstore.StaticCredentials(c.Static.AccessKey, secretKey, token), nil
	case c.File != nil:
		return objectstore.FileCredentials(c.File.Path, c.File.Profile), nil
	case c.AssumeRole != nil:
		if a := c.AssumeRole; a.Source != nil {
			var err error
			if source, err = a.Source.provider(s, trusted, environment, environment); err != nil {
				return nil, err
			}
		}
		role := objectstore.Role{ARN: c.AssumeRole.RoleARN, SessionName: c.AssumeRole.SessionName, ExternalID: c.AssumeRole.ExternalID}
		return objectstore.AssumeRole(service(c.AssumeRole.STSEndpoint), role, source), nil
	case c.WebIdentity != nil:
		role := objectstore.Role{ARN: c.WebIdentity.RoleARN, SessionName: c.WebIdentity.SessionName}
		return objectstore.WebIdentity(service(c.WebIdentity.STSEndpoint), role, c.WebIdentity.TokenFile), nil
	}
	return environment, nil
}
