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
	case objectstore.AccessDenied(err):
		p.code, p.try = exitDenied, "credentials that may do this; see: "+try(w, "help environment")
		p.why += ", " + c.signedBy()
	case objectstore.NotFound(err):
		p.code, p.try = exitNotFound, "--s3-endpoint-url: is that the store of the server?"
	}
	return p
}
