package objectstore

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// An Object names what to read. Empty VersionID or ETag: whichever is current. An ETag may come with or without quotes.
type Object struct {
	Bucket, Key, VersionID, ETag string
	RequesterPays                bool // agree to pay for the request
}

// Info describes an object that was read. ETag has no quotes.
type Info struct {
	Size            int64 // bytes of the whole object
	ETag, VersionID string
	ContentType     string
	LastModified    time.Time
	StorageClass    string // empty: STANDARD
}

// PutInput is one object to write.
type PutInput struct {
	Bucket, Key         string
	Body                io.ReadSeeker
	Size                int64 // bytes of Body
	ContentType         string
	SSE                 string // AES256, or empty for what the bucket says
	ExpectedBucketOwner string // twelve digits, or empty
	ContentMD5          string // base64; empty: Put reads Body once more to get it
}

// coldPath is the network under the SDK.
type coldPath struct{ transport *http.Transport }

func newColdPath(cfg Config, at endpoint) coldPath {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, cfg.AttemptTimeout)
			defer cancel()
			c, err := cfg.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &impatient{c, cfg.AttemptTimeout}, nil
		},
		TLSHandshakeTimeout:    cfg.AttemptTimeout,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        idleFor,
		DisableCompression:     true, // the bytes of a gzip manifest are counted and pinned as they lie there
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if at.secure && cfg.TLS != nil {
		transport.TLSClientConfig = cfg.TLS.Clone()
	}
	return coldPath{transport}
}

// impatient is a connection on which nothing may take longer than patience: a peer that has gone silent must not hold a
// manifest for ever, while one that is merely slow may take hours.
type impatient struct {
	net.Conn
	patience time.Duration
}

func (c *impatient) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.patience))
	return c.Conn.Read(p)
}

// Write renews the patience for a Read that waits already: the answer to this is what it waits for.
func (c *impatient) Write(p []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(c.patience))
	return c.Conn.Write(p)
}

func (p coldPath) client(cfg Config, at endpoint, credentials aws.CredentialsProvider) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: new(at.url()),
		Region:       cfg.Region,
		Credentials:  credentials,
		UsePathStyle: !at.virtual,
		HTTPClient:   &http.Client{Transport: p.transport, CheckRedirect: noRedirect},
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = cfg.MaxAttempts
			o.Backoff = retry.NewExponentialJitterBackoff(cfg.BackoffCap)
			o.MaxBackoff = cfg.BackoffCap
		}),
		// Many stores refuse the checksums that the SDK adds by default; ours go as Content-MD5.
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
	})
}

func payer(o Object) types.RequestPayer {
	if o.RequesterPays {
		return types.RequestPayerRequester
	}
	return ""
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Head looks at o without reading it. If o has an ETag and the object another, the error is a PreconditionFailed.
func (s *Store) Head(ctx context.Context, o Object) (Info, error) {
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: optional(o.VersionID), IfMatch: ifMatch(o.ETag), RequestPayer: payer(o),
	})
	if err != nil {
		return Info{}, s.failure("HeadObject", o.Bucket, o.Key, err)
	}
	return Info{
		Size: aws.ToInt64(out.ContentLength), ETag: bareETag(aws.ToString(out.ETag)), VersionID: aws.ToString(out.VersionId),
		ContentType: aws.ToString(out.ContentType), LastModified: aws.ToTime(out.LastModified), StorageClass: string(out.StorageClass),
	}, nil
}

// Put writes an object with a single request and returns its ETag without quotes.
func (s *Store) Put(ctx context.Context, in PutInput) (etag string, err error) {
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	if in.ContentMD5 == "" {
		if in.ContentMD5, err = contentMD5(in.Body); err != nil {
			return "", s.failure("PutObject", in.Bucket, in.Key, fmt.Errorf("read body: %w", err))
		}
	}
	out, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &in.Bucket, Key: &in.Key, Body: in.Body, ContentLength: &in.Size, ContentMD5: &in.ContentMD5,
		ContentType: optional(in.ContentType), ServerSideEncryption: types.ServerSideEncryption(in.SSE),
		ExpectedBucketOwner: optional(in.ExpectedBucketOwner),
	})
	if err != nil {
		return "", s.failure("PutObject", in.Bucket, in.Key, err)
	}
	return bareETag(aws.ToString(out.ETag)), nil
}

func contentMD5(body io.ReadSeeker) (string, error) {
	start, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", err
	}
	sum := md5.New()
	if _, err := io.Copy(sum, body); err != nil {
		return "", err
	}
	_, err = body.Seek(start, io.SeekStart)
	return base64.StdEncoding.EncodeToString(sum.Sum(nil)), err
}

// Delete removes the current version of an object. That there is none is no error.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return s.failure("DeleteObject", bucket, key, err)
	}
	return nil
}

// Versioning is the bucket's: "", "Enabled" or "Suspended".
func (s *Store) Versioning(ctx context.Context, bucket string) (string, error) {
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
	if err != nil {
		return "", s.failure("GetBucketVersioning", bucket, "", err)
	}
	return string(out.Status), nil
}

// whileOpen is ctx, but ended also by Close.
func (s *Store) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closed, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// optional is nil for what is not given.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// bareETag is an ETag as the report and the API show it. A weak one counts as the same: If-Match never matches W/.
func bareETag(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}

func ifMatch(etag string) *string {
	if etag = bareETag(etag); etag == "" {
		return nil
	}
	return new(`"` + etag + `"`)
}
