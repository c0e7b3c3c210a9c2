package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"stevedore/internal/devstore"
	"stevedore/internal/lambda"
	"stevedore/internal/service"
)

// What everybody knows of a development server. It is refused on any address
// that others could reach.
const (
	devAccount   = "123456789012"
	devAccessKey = "stevedore"
	devSecret    = "stevedore-secret"
	devRegion    = "us-east-1"
	devListen    = "127.0.0.1:9700"
	devS3Listen  = "127.0.0.1:9701"
)

// devServer is a service beside an S3 server of its own.
type devServer struct {
	dir     string
	remove  bool // dir goes when the server ends
	store   *devstore.Store
	service *service.Service
}

// startDev starts a development server; it answers when startDev returns. An
// empty dir means a temporary one. Of s3 only what is not the same for all
// development servers is to be given.
func startDev(ctx context.Context, dir, listen string, s3 devstore.Config, functions lambda.Config, logger *slog.Logger) (_ *devServer, err error) {
	d := &devServer{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop(ctx))
		}
	}()
	if dir == "" {
		if d.dir, err = os.MkdirTemp("", "stevedore-"); err != nil {
			return nil, &problem{what: "no temporary directory", why: err.Error(), try: "--data DIR", code: exitDataDir, err: err}
		}
		d.remove = true
	} else if d.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}

	if err := usableDir(d.dir); err != nil {
		return nil, &problem{what: "the data directory cannot be used", why: err.Error(), try: "another --data DIR", code: exitDataDir, err: err}
	}
	if err := freeAddress(ctx, s3.Listen); err != nil {
		return nil, &problem{
			what: "the address of the S3 server cannot be listened on", why: err.Error(),
			try: "another --s3-listen address; port 0 takes a free one", code: exitCannotListen, err: err,
		}
	}

	// The store first: the service has to be told where it is.
	s3.Dir, s3.AccessKey, s3.Secret, s3.Region = d.dir, devAccessKey, devSecret, devRegion
	d.store, err = devstore.Start(ctx, s3)
	if err != nil {
		p := &problem{what: "the S3 server could not start", why: err.Error(), code: exitFailed, err: err}
		if errors.Is(err, devstore.ErrLeftOut) {
			p.try = "a build without the tag slim, or serve with a store of your own"
		}
		return nil, p
	}
	c := service.Default()
	c.Listen, c.DataDir, c.Account, c.Logger = listen, d.dir, devAccount, logger
	c.Keys = []service.Key{{AccessKey: devAccessKey, SecretKey: devSecret, Account: devAccount}}
	c.Functions = functions
	c.Store.Endpoint, c.Store.Region = d.store.Endpoint(), devRegion
	c.Store.AccessKey, c.Store.SecretKey = devAccessKey, devSecret
	c.ShutdownGrace = 5 * time.Second
	c.SegmentInterval = 500 * time.Millisecond // somebody watches the counters
	if d.service, err = service.Start(ctx, c); err != nil {
		return nil, startProblem(err, c.DataDir)
	}
	return d, nil
}

// usableDir makes a directory unless it is there, and tries to write in it. The
// S3 server, another process, could only say in words what does not work.
func usableDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make it: %w", err)
	}
	f, err := os.CreateTemp(dir, ".stevedore-*")
	if err != nil {
		return fmt.Errorf("write in it: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// freeAddress returns why address cannot be listened on. That may change before
// somebody does, who then says so.
func freeAddress(ctx context.Context, address string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("try to listen: %w", err)
	}
	return l.Close()
}

// wait returns when ctx ends, with nil, or when a part of the server has ended
// by itself, with an error that says which.
func (d *devServer) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.store.Done():
		return &problem{what: "the S3 server ended by itself", why: text(d.store.Err()), code: exitFailed, err: d.store.Err()}
	case <-d.service.Done():
		return &problem{what: "the service ended by itself", why: text(d.service.Err()), code: exitFailed, err: d.service.Err()}
	}
}

// stop ends the parts in the reverse order of their start, also when ctx has
// ended, and removes a temporary directory. It is safe on a server that has
// started only in part.
func (d *devServer) stop(ctx context.Context) error {
	ctx, cancel := stopContext(ctx, 15*time.Second)
	defer cancel()
	var errs []error
	if d.service != nil {
		errs = append(errs, d.service.Stop(ctx))
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	if d.remove {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// ready is what a ready file says: all that a client needs.
func (d *devServer) ready() ready {
	return ready{
		API: d.service.Endpoint(), S3: d.store.Endpoint(), Account: devAccount,
		AccessKey: devAccessKey, SecretKey: devSecret, Region: devRegion,
	}
}

// loopbackOnly returns a problem unless only this machine can reach address.
func loopbackOnly(flag, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("--%s %s: want host:port", flag, address)
	}
	if !loopback(host) {
		return &problem{
			what: fmt.Sprintf("--%s %s: not an address of this machine alone", flag, address),
			why:  "everybody knows the key pair of a development server",
			try:  "127.0.0.1, or `stevedore serve` with keys of your own",
			code: exitUsage,
		}
	}
	return nil
}

// context returns ctx ended, with a cause that says why, once a part of the
// server has ended by itself. release waits for what watches the server.
func (d *devServer) context(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		cancel(d.wait(ctx))
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
	}
}
