package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ConfigFromEnv reads endpoint, region and credentials the way every AWS tool does: AWS_ENDPOINT_URL_S3,
// AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and so on, the shared configuration files, the
// credentials of the machine. AWS_CA_BUNDLE names the roots for TLS, instead of the system's. It does not fetch the credentials yet.
func ConfigFromEnv(ctx context.Context) (Config, error) {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return Config{}, fmt.Errorf("read AWS configuration: %w", err)
	}
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
