package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

// ConfigFromEnv reads endpoint, region and credentials the way every AWS tool does: AWS_ENDPOINT_URL_S3,
// AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and so on, the shared configuration files, the
// credentials of the machine. AWS_CA_BUNDLE names the roots for TLS, instead of the system's. It does not fetch the credentials yet.
//
// The machine is asked for credentials only, after everything else, and not for long. What the SDK has to say is logged
// at debug level; logger may be nil.
func ConfigFromEnv(ctx context.Context, logger *slog.Logger) (Config, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	machine := new(metadata)
	loaded, err := config.LoadDefaultConfig(ctx,
		config.WithLogger(logging.LoggerFunc(func(level logging.Classification, format string, v ...any) {
			logger.DebugContext(ctx, "AWS SDK", "classification", string(level), "text", fmt.Sprintf(format, v...))
		})),
		config.WithDefaultsMode(aws.DefaultsModeLegacy), // "auto" would ask the machine for its region
		config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) { o.Client = machine }),
	)
	if err != nil {
		return Config{}, fmt.Errorf("read AWS configuration: %w", err)
	}
	machine.client = imds.NewFromConfig(loaded)
	// Only the SDK's own client resolves the endpoint of one service from a profile.
	options := s3.NewFromConfig(loaded).Options()
	cfg := Config{
		Endpoint:    aws.ToString(options.BaseEndpoint),
		Region:      loaded.Region,
		Credentials: loaded.Credentials,
	}
	if bundle := os.Getenv("AWS_CA_BUNDLE"); bundle != "" {
		if cfg.TLS, err = trusting(bundle); err != nil {
			return Config{}, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
		}
	}
	return cfg, nil
}

// metadata asks the machine about itself. Where it is an instance of EC2 the answer comes at once; elsewhere whoever
// started the process waits for an error.
type metadata struct{ client *imds.Client }

// GetMetadata implements ec2rolecreds.GetMetadataAPIClient. The answer has been read when it returns.
func (m *metadata) GetMetadata(ctx context.Context, in *imds.GetMetadataInput, options ...func(*imds.Options)) (*imds.GetMetadataOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return m.client.GetMetadata(ctx, in, options...)
}

// trusting is a TLS configuration that trusts the certificates of a PEM file and no others.
func trusting(path string) (*tls.Config, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + path)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
