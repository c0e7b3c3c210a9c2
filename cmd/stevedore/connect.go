package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"
)

const helpEnvironment = `How the client commands (job, exec, env, manifest) find the server and the store,
and what they sign with.
The first that is given counts:

  the API       --endpoint-url, the ready file, STEVEDORE_ENDPOINT_URL,
                AWS_ENDPOINT_URL_S3_CONTROL, http://127.0.0.1:9700
  the account   --account-id, the ready file, STEVEDORE_ACCOUNT_ID,
                AWS_ACCOUNT_ID, 123456789012
  credentials   the ready file, AWS_ACCESS_KEY_ID and so on in the environment,
                for a server on this machine the key pair of "stevedore dev",
                for any other what the AWS SDK finds (profiles, roles)
  the region    --region, the ready file, AWS_REGION, AWS_DEFAULT_REGION, the
                profile, us-east-1; with the key pair of dev: --region, us-east-1
  the store     --s3-endpoint-url, the ready file, AWS_ENDPOINT_URL_S3; with the
                key pair of dev and the API at its usual address, the usual
                address of dev's S3 server: http://127.0.0.1:9701
                (exec, env, manifest, job retry, job create --dry-run)

The ready file is what "stevedore dev --ready-file PATH" writes, given by
--ready-file or STEVEDORE_READY_FILE.

A server on this machine gets the key pair of dev even if there is a default
profile in the files of the AWS CLI: that one is for AWS. Set AWS_PROFILE to use it.

Unlike the AWS clients, ours does not put the account before the host name.

serve reads AWS_ENDPOINT_URL_S3 and the other AWS_ variables as every AWS tool
does, and STEVEDORE_CONFIG. LANG says whether progress bars may be more than
ASCII, TERM=dumb asks for plain lines.
`

// connectFlags say where the server is and who asks.
type connectFlags struct{ endpoint, s3, account, region, readyFile string }

func (f *connectFlags) add(cmd *cobra.Command, store bool) {
	fs := cmd.PersistentFlags()
	fs.StringVar(&f.endpoint, "endpoint-url", "", "`URL` of the API (see stevedore help environment)")
	fs.StringVar(&f.account, "account-id", "", "account `ID`, twelve digits")
	fs.StringVar(&f.region, "region", "", "`REGION` of the jobs")
	fs.StringVar(&f.readyFile, "ready-file", "", "take all of these and the keys from `PATH`, written by stevedore dev")
	if store {
		fs.StringVar(&f.s3, "s3-endpoint-url", "", "`URL` of the store")
	}
}

// connection is what the flags and the environment come to.
type connection struct {
	endpoint    *url.URL
	s3          string // URL; empty: not known
	account     string
	region      string
	credentials aws.Credentials
	dev         bool           // with the key pair of a development server
	roots       *x509.CertPool // nil: those of the system
}

// connect finds out where the server is and who asks.
func (f *connectFlags) connect(ctx context.Context, w world) (*connection, error) {
	var given ready
	if path := cmp.Or(f.readyFile, w.getenv("STEVEDORE_READY_FILE")); path != "" {
		var err error
		if given, err = readReady(path); err != nil {
			return nil, &problem{what: err.Error(), try: try(w, "dev --ready-file "+quoteShell(path)), code: exitUnreachable, err: err}
		}
	}
	endpoint := cmp.Or(f.endpoint, given.API, w.getenv("STEVEDORE_ENDPOINT_URL"), w.getenv("AWS_ENDPOINT_URL_S3_CONTROL"), "http://"+devListen)
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("the endpoint %q is not an http URL", endpoint)
	}
	c := &connection{
		endpoint: u,
		s3:       cmp.Or(f.s3, given.S3, w.getenv("AWS_ENDPOINT_URL_S3")),
		account:  cmp.Or(f.account, given.Account, w.getenv("STEVEDORE_ACCOUNT_ID"), w.getenv("AWS_ACCOUNT_ID"), devAccount),
		region:   cmp.Or(f.region, given.Region),
	}
	if bundle := w.getenv("AWS_CA_BUNDLE"); bundle != "" && u.Scheme == "https" {
		if c.roots, err = readRoots(bundle); err != nil {
			return nil, &problem{what: "AWS_CA_BUNDLE: " + err.Error(), code: exitUnreachable, err: err}
		}
	}
	switch {
	case given.AccessKey != "":
		c.credentials = aws.Credentials{AccessKeyID: given.AccessKey, SecretAccessKey: given.SecretKey}
		c.region = cmp.Or(c.region, devRegion)
	case w.getenv("AWS_ACCESS_KEY_ID") != "":
		c.credentials = aws.Credentials{
			AccessKeyID:     w.getenv("AWS_ACCESS_KEY_ID"),
			SecretAccessKey: w.getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken:    w.getenv("AWS_SESSION_TOKEN"),
		}
		c.region = cmp.Or(c.region, w.getenv("AWS_REGION"), w.getenv("AWS_DEFAULT_REGION"), devRegion)
	case loopback(u.Hostname()) && !namesCredentials(w):
		c.dev = true
		c.credentials = aws.Credentials{AccessKeyID: devAccessKey, SecretAccessKey: devSecret}
		c.region = cmp.Or(c.region, devRegion)
		if c.s3 == "" && u.Host == devListen {
			c.s3 = "http://" + devS3Listen
		}
	default:
		return c, c.fromSDK(ctx, w)
	}
	return c, nil
}

// readRoots reads the certificates that an https server may be signed with.
func readRoots(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read certificates: none in %s", path)
	}
	return roots, nil
}

// fromSDK takes credentials and region from where every AWS tool looks.
func (c *connection) fromSDK(ctx context.Context, w world) error {
	found, err := config.LoadDefaultConfig(ctx)
	if err == nil {
		c.credentials, err = found.Credentials.Retrieve(ctx)
	}
	if err != nil {
		return &problem{
			what: "no credentials for " + c.endpoint.String(), why: err.Error(),
			try: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; see: " + try(w, "help environment"), code: exitDenied, err: err,
		}
	}
	c.region = cmp.Or(c.region, found.Region, devRegion)
	return nil
}

// namesCredentials reports whether the environment says which credentials to use.
func namesCredentials(w world) bool {
	for _, name := range []string{
		"AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	} {
		if w.getenv(name) != "" {
			return true
		}
	}
	return false
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// signedBy says whose signature a server did not like.
func (c *connection) signedBy() string {
	if c.dev {
		return "signed with the key pair of `stevedore dev`"
	}
	return fmt.Sprintf("signed with the access key %s", c.credentials.AccessKeyID)
}
