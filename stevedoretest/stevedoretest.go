// Package stevedoretest starts a whole Stevedore inside a Go test: the S3 Control
// API, the workers and a real S3 server to work on, all on free loopback ports
// and in a temporary directory. It is to S3 batch jobs what net/http/httptest is
// to HTTP.
//
//	func TestMain(m *testing.M) { os.Exit(stevedoretest.Main(m)) }
//
//	func TestNightlyJob(t *testing.T) {
//		server := stevedoretest.Start(t)
//		nightly.Run(server.S3(), server.S3Control()) // the code under test
//		...
//	}
//
// The S3 server runs as a child process of the test binary, which is why Main
// has to come first.
package stevedoretest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"stevedore/internal/devstore"
	"stevedore/internal/service"
)

// What every Server accepts.
const (
	Account   = "123456789012"
	AccessKey = "stevedore"
	SecretKey = "stevedore-secret"
	Region    = "us-east-1"
	RoleARN   = "arn:aws:iam::" + Account + ":role/any" // any role of the account will do
)

// Main runs the tests of a package that uses New or Start and returns the exit
// code: call it from TestMain. In a child process it runs the S3 server instead.
func Main(m *testing.M) int {
	if code, ran := devstore.Main(os.Args); ran {
		return code
	}
	return m.Run()
}

// Options change what New starts. The zero value is fine.
type Options struct {
	// Dir holds jobs and objects; a Server started on it again has them still.
	// Empty: a temporary directory, removed by Close.
	Dir string
	// CopyLimit is the largest object CopyObject takes, in bytes. 0: 5 GiB.
	CopyLimit int64
	// Logger takes the log. Nil: nothing is logged.
	Logger *slog.Logger
}

// Server is a running Stevedore with its own S3 server. Every account, key and
// role it knows is among the constants above.
type Server struct {
	Endpoint   string // of the S3 Control API, such as http://127.0.0.1:41234
	S3Endpoint string // of the S3 server

	dir     string // to remove
	store   *devstore.Store
	service *service.Service
}

// Start starts a Server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := New(t.Context(), Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// New starts a Server; ctx bounds the start only. The caller closes it.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	s := &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start stevedore: %w", err), s.Close())
		}
	}()
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "stevedoretest"); err != nil {
			return s, err
		}
		s.dir = dir
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return s, err
	}
	s.store, err = devstore.Start(ctx, devstore.Config{
		Dir: filepath.Join(dir, "objects"), AccessKey: AccessKey, Secret: SecretKey, Region: Region, CopyLimit: o.CopyLimit,
	})
	if err != nil {
		return s, err
	}
	s.S3Endpoint = s.store.Endpoint()
	s.service, err = service.Start(ctx, service.Config{
		Listen: "127.0.0.1:0", DataDir: filepath.Join(dir, "jobs"), Account: Account,
		Store:  service.Store{Endpoint: s.S3Endpoint, Region: Region, AccessKey: AccessKey, SecretKey: SecretKey},
		Logger: o.Logger,
	})
	if err != nil {
		return s, err
	}
	s.Endpoint = s.service.Endpoint()
	return s, nil
}

// Close stops the Server and removes its temporary directory. Tasks in flight
// are finished and committed first.
func (s *Server) Close() error {
	var errs []error
	if s.service != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, s.service.Stop(ctx))
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// S3 returns a client of the S3 server.
func (s *Server) S3() *s3.Client {
	return s3.New(s3.Options{
		Region: Region, Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
		BaseEndpoint: aws.String(s.S3Endpoint), UsePathStyle: true,
	})
}

// S3Control returns a client of the job API.
func (s *Server) S3Control() *s3control.Client {
	return s3control.New(s3control.Options{
		Region: Region, Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
		EndpointResolverV2: endpoint(s.Endpoint),
	})
}

// endpoint sends every call to one URL. Without it the SDK would put the account
// id before the host name, which no resolver knows.
type endpoint string

func (e endpoint) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	u, err := url.Parse(string(e))
	if err != nil {
		return smithyendpoints.Endpoint{}, err
	}
	return smithyendpoints.Endpoint{URI: *u}, nil
}

// Wait waits until a job has ended, or waits for its confirmation, and returns
// it; or until ctx ends.
func (s *Server) Wait(ctx context.Context, jobID string) (*types.JobDescriptor, error) {
	client := s.S3Control()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := client.DescribeJob(ctx, &s3control.DescribeJobInput{AccountId: aws.String(Account), JobId: &jobID})
		if err != nil {
			return nil, err
		}
		switch out.Job.Status {
		default: // not there yet
		case types.JobStatusComplete, types.JobStatusFailed, types.JobStatusCancelled, types.JobStatusSuspended:
			return out.Job, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for job %s, which is %s: %w", jobID, out.Job.Status, context.Cause(ctx))
		}
	}
}
