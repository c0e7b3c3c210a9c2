//go:build !slim

package devstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
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
		s3api.WithMiddleware("/", refuseEncryption),
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
func open(cfg Config) (*posix.Posix, error) {
	objects := filepath.Join(cfg.Dir, "objects")
	// Outside objects, where each directory is a bucket.
	versions := filepath.Join(cfg.Dir, "versions")
	for _, dir := range []string{objects, versions} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	storer, sidecar, err := openMetadata(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	return posix.New(objects, storer, posix.PosixOpts{
		VersioningDir:       versions,
		SideCarDir:          sidecar,
		CopyObjectThreshold: cfg.CopyLimit, // its zero value refuses every copy
	})
}

// openMetadata keeps what S3 knows of an object beyond its bytes in extended
// attributes, or in files below the returned directory where the file system
// has none: tagging then takes about twice as long. Once begun, a directory
// stays with its choice.
//
// On ext4 the attributes of one object share 4 KiB, so ten tags of the largest
// size are answered with InternalError there. A directory named sidecar, made
// before the first start, lifts that limit.
func openMetadata(dir string) (_ meta.MetadataStorer, sidecar string, err error) {
	sidecar = filepath.Join(dir, "sidecar")
	_, err = os.Stat(sidecar)
	switch {
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		return nil, "", err
	case hasAttributes(dir):
		return meta.XattrMeta{}, "", nil
	default:
		if err := os.Mkdir(sidecar, 0o700); err != nil {
			return nil, "", err
		}
	}
	files, err := meta.NewSideCar(sidecar)
	return files, sidecar, err
}

// hasAttributes reports whether files in dir can carry extended attributes, by
// giving one to a file: a file system may list them and yet refuse new ones.
func hasAttributes(dir string) bool {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return meta.XattrMeta{}.StoreAttribute(f, "", "", "stevedore-probe", []byte("1")) == nil
}

// refuseEncryption answers UpdateObjectEncryption, which the server does not
// know: it would take the request for PutObject and replace the object by the
// XML of the request.
func refuseEncryption(c fiber.Ctx) error {
	if c.Method() != fiber.MethodPut || !c.Request().URI().QueryArgs().Has("encryption") {
		return c.Next()
	}
	refusal := s3err.GetAPIError(s3err.ErrNotImplemented)
	requestID, hostID := utils.EnsureRequestIDs(c)
	c.Response().Header.SetContentType(fiber.MIMEApplicationXML)
	return c.Status(refusal.HTTPStatusCode).Send(refusal.XMLBody(requestID, hostID))
}
