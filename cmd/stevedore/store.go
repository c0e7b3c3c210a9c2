package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"stevedore/internal/objectstore"
)

// store returns the access of this process to the object store, as exec would
// give it to another one; done closes it. Where nothing says where the store is,
// it is found as every AWS tool finds it.
func (c *connection) store(ctx context.Context, w world) (access *objectstore.Access, done func(), err error) {
	config := objectstore.Config{
		Endpoint: c.s3, Region: c.region,
		Credentials: objectstore.StaticCredentials(c.credentials.AccessKeyID, c.credentials.SecretAccessKey, c.credentials.SessionToken),
	}
	if c.s3 == "" {
		if config, err = objectstore.ConfigFromEnv(ctx, nil); err != nil {
			return nil, nil, &problem{what: "find the object store: " + err.Error(), try: try(w, "help environment"), code: exitInvalid, err: err}
		}
		c.s3 = config.Endpoint
		c.warnOfStore(w)
	} else if bundle := w.getenv("AWS_CA_BUNDLE"); bundle != "" {
		roots, err := readRoots(bundle)
		if err != nil {
			return nil, nil, &problem{what: "AWS_CA_BUNDLE: " + err.Error(), code: exitUnreachable, err: err}
		}
		config.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	store, err := objectstore.New(config)
	if err == nil {
		access, err = objectstore.NewAccess(store, nil)
	}
	if err != nil {
		return nil, nil, &problem{
			what: "the object store cannot be used: " + err.Error(),
			try:  "--s3-endpoint-url, AWS_ENDPOINT_URL_S3; see: " + try(w, "help environment"), code: exitInvalid, err: err,
		}
	}
	return access, store.Close, nil
}

// storeProblem turns an error of the object store into one for the person at the
// terminal; what says what did not work.
func (c *connection) storeProblem(w world, what string, err error) error {
	if _, ok := errors.AsType[*problem](err); ok || err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e, ok := errors.AsType[*objectstore.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	where := c.s3
	if where == "" {
		where = "AWS"
	}
	p := &problem{what: what, why: printable(err.Error()) + "\nfrom the object store at " + where, code: exitFailed, err: err, requestID: printable(e.RequestID)}
	switch {
	case e.Status == 0:
		if e.Err != nil {
			p.why = printable(e.Op+": "+e.Err.Error()) + "\nfrom the object store at " + where
		}
		p.code, p.try = exitUnreachable, "--s3-endpoint-url, or AWS_ENDPOINT_URL_S3; see: "+try(w, "help environment")
	case e.Code == "AuthorizationHeaderMalformed": // of a signature for another region
		p.code, p.try = exitDenied, "--region, or AWS_REGION: that of the store"
	case objectstore.AccessDenied(err), e.Code == "XAdminUserNotFound": // versitygw does not know the access key: a 404
		p.code, p.try = exitDenied, "credentials that may do this; see: "+try(w, "help environment")
		p.why += ", " + c.signedBy()
	case objectstore.NotFound(err):
		p.code, p.try = exitNotFound, "another name; or, if it ought to be there, another store: --s3-endpoint-url"
		p.why = printable(absent(e)) + "\n" + p.why
	}
	return p
}

// absent says what there is none of where the store has answered 404. An answer to
// HEAD does not tell which it is.
func absent(e *objectstore.Error) string {
	switch {
	case e.Code == "NoSuchBucket", e.Key == "":
		return "there is no bucket " + e.Bucket
	case e.Code == "NoSuchKey":
		return fmt.Sprintf("there is no key %s in the bucket %s", e.Key, e.Bucket)
	case e.Code == "NoSuchVersion":
		return fmt.Sprintf("there is no such version of the key %s in the bucket %s", e.Key, e.Bucket)
	}
	return fmt.Sprintf("there is no bucket %s, or no key %s in it", e.Bucket, e.Key)
}
