//go:build !slim

package devstore

import (
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const included = true

const (
	maxConnections = 4096
	maxRequests    = 4096 // in flight; one more is answered with SlowDown
	maxParts       = 10_000
)

// serve runs the S3 server until ctx ends, and calls ready with its address
// once requests are accepted. It changes the working directory of the process.
func serve(ctx context.Context, cfg Config, ready func(addr string)) error {
	be, err := open(cfg)
	if err != nil {
		return err
	}
	defer be.Shutdown()

	var bound string // written before the server calls ready, on the same goroutine
	server, err := s3api.New(be,
		middlewares.RootUserConfig{Access: cfg.AccessKey, Secret: cfg.Secret},
		cfg.Region,
		auth.NewIAMServiceSingle(auth.Account{Access: cfg.AccessKey, Secret: cfg.Secret, Role: auth.RoleAdmin}),
		nil, nil, nil, nil, // no logs, events, metrics
		s3api.WithQuiet(),
		s3api.WithKeepAlive(),
		s3api.WithConcurrencyLimiter(maxConnections, maxRequests),
		s3api.WithMpMaxParts(maxParts),
		s3api.WithMiddleware("/", be.attend),
		s3api.WithOnListen(func() { ready(bound) }),
	)
	if err != nil {
		return err
	}

	served := make(chan error, 1)
	go func() {
		served <- bind(ctx, cfg.Listen, func(addr string) error {
			bound = addr
			return server.ServeMultiPort([]string{addr})
		})
	}()
	select {
	case err := <-served:
		if ctx.Err() != nil {
			return nil // told to end while it waited for the port
		}
		return err
	case <-ctx.Done():
	}

	stopped := make(chan struct{})
	go func() {
		_ = server.ShutDown() // it reports its own time limit, which is longer than ours
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(drainLimit): // a client that does not read: its connection dies with the process
	}
	return nil
}

// open prepares the directories below cfg.Dir and the backend on them.
func open(cfg Config) (*backend, error) {
	objects := filepath.Join(cfg.Dir, "objects")
	// Outside objects, where each directory is a bucket.
	versions := filepath.Join(cfg.Dir, "versions")
	replication := filepath.Join(cfg.Dir, "replication")
	for _, dir := range []string{objects, versions, replication} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	attrs, sidecar, err := openAttributes(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	files, err := posix.New(objects, attrs, posix.PosixOpts{
		VersioningDir: versions,
		SideCarDir:    sidecar,
		// For the parts of UploadPartCopy; CopyObject is ours. Its zero value refuses all.
		CopyObjectThreshold: DefaultCopyLimit,
	})
	if err != nil {
		return nil, err
	}
	return &backend{
		Posix:        files,
		attrs:        attrs,
		byPath:       sidecar != "",
		versions:     versions,
		replication:  replication,
		copyLimit:    cfg.CopyLimit,
		restoreAfter: cfg.RestoreAfter,
		seed:         maphash.MakeSeed(),
	}, nil
}
