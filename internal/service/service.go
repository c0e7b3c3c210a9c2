// Package service builds one process out of one Config: it opens the job store,
// finds the object store, starts the scheduler and opens the door, in this order,
// and stops them in reverse.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stevedore/internal/controlapi"
	"stevedore/internal/jobstore"
	"stevedore/internal/lambda"
	"stevedore/internal/objectstore"
	"stevedore/internal/schedule"
)

// Service is a running process: API, scheduler and job store.
type Service struct {
	config    Config
	logger    *slog.Logger
	store     *jobstore.Store
	roles     *roles
	functions *lambda.Functions
	server    *http.Server
	address   string

	stopWork context.CancelFunc // scheduler and keeper: finish and stop
	workers  sync.WaitGroup
	serving  sync.WaitGroup
	stopping atomic.Bool
	stopOnce sync.Once
	stopErr  error

	done chan struct{}
	mu   sync.Mutex
	err  error // why the service ended by itself
}

// Start starts a service and returns once it answers requests. ctx bounds the
// start only; the service runs until Stop, or until it cannot go on (Done, Err).
func Start(ctx context.Context, c Config) (_ *Service, err error) {
	c.fill()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Service{config: c, logger: c.Logger, done: make(chan struct{})}
	var undo []func()
	defer func() {
		if err != nil {
			for _, step := range slices.Backward(undo) {
				step()
			}
		}
	}()

	// The port first: a second process on it should not get as far as the data.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, &ListenError{err}
	}
	undo = append(undo, func() { listener.Close() })
	s.address = listener.Addr().String()

	environment, err := objectstore.ConfigFromEnv(ctx, c.Logger)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	_, objects, err := c.describe(defaultStore, environment)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	keys, err := c.keys(ctx, objects.Credentials)
	if err != nil {
		return nil, err
	}
	if s.roles, err = c.openRoles(environment); err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	undo = append(undo, s.roles.close)
	s.functions, err = lambda.New(c.Functions, lambda.Options{Credentials: objects.Credentials, Region: objects.Region, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	undo = append(undo, s.functions.Close)

	if err := os.MkdirAll(filepath.Join(c.DataDir, "tmp"), 0o700); err != nil {
		return nil, &DataError{err}
	}
	s.store, err = jobstore.Open(ctx, jobstore.Config{Dir: filepath.Join(c.DataDir, "jobs"), Logger: c.Logger})
	if err != nil {
		return nil, &DataError{err}
	}
	undo = append(undo, func() { s.store.Close() })

	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	s.stopWork = stopWork
	node, err := s.store.Join(ctx, nodeName)
	if err != nil {
		stopWork()
		return nil, fmt.Errorf("join: %w", err)
	}
	s.workers.Go(func() { s.schedule(work, node) })
	keeper := schedule.NewKeeper(s.store, schedule.Terms{Confirmation: c.ConfirmationTimeout, Retention: c.Retention}, c.Logger)
	s.workers.Go(func() { keeper.Run(work) })

	desk := schedule.NewDesk(s.store, s.roles, c.Logger)
	api := controlapi.New(controlapi.Config{Jobs: desk, Keys: keys, Logger: c.Logger})
	s.server = &http.Server{
		Handler:           s.routes(api),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
	s.serving.Go(func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.end(fmt.Errorf("serve API: %w", err))
		}
	})
	c.Logger.InfoContext(ctx, "service started", "api", s.Endpoint(), "store", cmp.Or(objects.Endpoint, "AWS in "+objects.Region), "data_dir", c.DataDir)
	return s, nil
}

// nodeName is this process in the job store. The data directory has one process
// at a time, so one name does: a new process takes over what the last one held.
const nodeName = "local"

// ListenError says that the API's address cannot be listened on.
type ListenError struct{ Err error }

func (e *ListenError) Error() string { return "listen for the API: " + e.Err.Error() }

func (e *ListenError) Unwrap() error { return e.Err }

// DataError says that the data directory cannot be used.
type DataError struct{ Err error }

func (e *DataError) Error() string { return "data directory: " + e.Err.Error() }

func (e *DataError) Unwrap() error { return e.Err }

// schedule runs the scheduler, as a new node each time the lease is lost.
func (s *Service) schedule(ctx context.Context, node *jobstore.Node) {
	for {
		config := s.config.schedule()
		config.Functions = s.functions
		err := schedule.New(config, s.store, node, s.roles).Run(ctx)
		leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if err := node.Leave(leave); err != nil {
			s.logger.DebugContext(ctx, "node has not left", "err", err)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		s.logger.WarnContext(ctx, "scheduler stopped, starting over", "err", err)
		for node, err = s.store.Join(ctx, nodeName); err != nil; node, err = s.store.Join(ctx, nodeName) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
}

// Endpoint is the URL of the API, such as http://127.0.0.1:9700.
func (s *Service) Endpoint() string { return "http://" + s.address }

// Done is closed when the service has ended, by Stop or by itself.
func (s *Service) Done() <-chan struct{} { return s.done }

// Err says why the service ended by itself, nil if it did not.
func (s *Service) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Service) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
	default:
		s.err = err
		close(s.done)
	}
}

// Stop takes no more chunks, commits what is finished, gives the rest back and
// closes everything. Calls of the API that are being answered may end while ctx
// lasts. It may be called more than once.
func (s *Service) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopping.Store(true)
		s.stopWork()
		s.workers.Wait() // bounded by the grace period and one attempt at the store
		err := s.server.Shutdown(ctx)
		if err != nil {
			s.server.Close()
		}
		s.serving.Wait()
		s.functions.Close()
		s.roles.close()
		s.stopErr = errors.Join(err, s.store.Close())
		s.end(nil)
	})
	return s.stopErr
}
