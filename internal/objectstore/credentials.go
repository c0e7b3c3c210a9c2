package objectstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// The providers here are for [Config.Credentials]. They fetch nothing before they are asked, keep what they have until
// shortly before it expires, and go on with it for as long as it is valid when fresh ones cannot be had. For the
// environment and the machine's own credentials there is [ConfigFromEnv].

const (
	// early is how long before they expire that credentials are renewed; short-lived ones after two thirds of their life.
	early = 5 * time.Minute
	// rereadFile is how often a credentials file is looked at.
	rereadFile = time.Minute
	// fetchAgain is how soon fresh credentials are asked for again when the old ones are all there is.
	fetchAgain = 30 * time.Second
)

// StaticCredentials are keys that never change. sessionToken may be empty.
func StaticCredentials(accessKey, secretKey, sessionToken string) aws.CredentialsProvider {
	return aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(accessKey, secretKey, sessionToken))
}

// FileCredentials are the keys of a profile in a shared credentials file, [default] if profile is empty. The file is read
// again every minute, and whenever the store calls the keys expired: whoever rotates them just replaces it.
func FileCredentials(path, profile string) aws.CredentialsProvider {
	profile = cmp.Or(profile, "default")
	return cached(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		shared, err := config.LoadSharedConfigProfile(ctx, profile, func(o *config.LoadSharedConfigOptions) {
			o.CredentialsFiles, o.ConfigFiles = []string{path}, []string{}
		})
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("credentials file %s: %w", path, err)
		}
		if !shared.Credentials.HasKeys() {
			return aws.Credentials{}, fmt.Errorf("credentials file %s: profile %s has no keys", path, profile)
		}
		return shared.Credentials, nil
	}), rereadFile)
}

// STS says where temporary credentials are handed out. The zero value is AWS's own service in us-east-1; many stores have
// one under their own endpoint.
type STS struct {
	Endpoint string // URL; empty: AWS's for Region
	Region   string // default us-east-1
	TLS      *tls.Config
}

// A Role is what to become.
type Role struct {
	ARN         string
	SessionName string        // as it shows in the store's logs; default stevedore
	ExternalID  string        // only for AssumeRole
	Duration    time.Duration // for which credentials are asked; default one hour
}

// AssumeRole are temporary credentials for role, which those of source may assume.
func AssumeRole(service STS, role Role, source aws.CredentialsProvider) aws.CredentialsProvider {
	return cached(stscreds.NewAssumeRoleProvider(service.client(source), role.ARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName, o.Duration, o.ExternalID = cmp.Or(role.SessionName, sessionName), cmp.Or(role.Duration, time.Hour), optional(role.ExternalID)
	}), 0)
}

// WebIdentity are temporary credentials for role, which the bearer of the token in tokenFile may assume. The file is read
// for each renewal: Kubernetes and its like replace the token from time to time.
func WebIdentity(service STS, role Role, tokenFile string) aws.CredentialsProvider {
	client, token := service.client(aws.AnonymousCredentials{}), stscreds.IdentityTokenFile(tokenFile)
	return cached(stscreds.NewWebIdentityRoleProvider(client, role.ARN, token, func(o *stscreds.WebIdentityRoleOptions) {
		o.RoleSessionName, o.Duration = cmp.Or(role.SessionName, sessionName), cmp.Or(role.Duration, time.Hour)
	}), 0)
}

const sessionName = "stevedore"

func (s STS) client(credentials aws.CredentialsProvider) *sts.Client {
	const patience = 5 * time.Second // tasks wait for it
	return sts.New(sts.Options{
		BaseEndpoint: optional(s.Endpoint), Region: cmp.Or(s.Region, "us-east-1"), Credentials: credentials, RetryMaxAttempts: 2,
		HTTPClient: &http.Client{
			Transport:     &http.Transport{TLSClientConfig: s.TLS, DisableKeepAlives: true}, // used once an hour
			CheckRedirect: noRedirect,
			Timeout:       patience,
		},
	})
}

// cached keeps credentials until they are about to expire, or for the time given if that is not zero.
func cached(source aws.CredentialsProvider, every time.Duration) *aws.CredentialsCache {
	return aws.NewCredentialsCache(&steadyProvider{source: source, every: every})
}

// A steadyProvider gives out what it had while there is nothing better: a service that hands out credentials may fail for
// some minutes without any task failing.
type steadyProvider struct {
	source aws.CredentialsProvider
	every  time.Duration

	mu   sync.Mutex
	last aws.Credentials
}

// Retrieve implements aws.CredentialsProvider. Expires is when it wants to be asked again.
func (p *steadyProvider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	keys, err := p.source.Retrieve(ctx)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.last = keys
		if keys.CanExpire {
			life := keys.Expires.Sub(now)
			keys.Expires = keys.Expires.Add(-min(early, life/3))
		}
	case p.last.HasKeys() && (!p.last.CanExpire || now.Before(p.last.Expires)):
		keys = p.last
		keys.CanExpire, keys.Expires = true, now.Add(fetchAgain)
		return keys, nil
	default:
		return aws.Credentials{}, err
	}
	if p.every > 0 {
		keys.CanExpire, keys.Expires = true, now.Add(p.every)
	}
	return keys, nil
}

// optional is nil for what is not given.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
