// Package jobstore keeps everything durable about jobs: their records, the
// chunks still to do, who has claimed them, the committed segments and the
// sums of their outcomes.
//
//	jobs/<account>/<job>   record              Create, Update, Delete
//	plan/<job>             planner's checkpoint ┐ PutChunks, fenced by Own
//	chunks/<job>/<first>   rows left to do      ┘
//	claims/<job>/<first>   node, leased         ┐ Claim
//	segments/<job>/<row>   outcomes, once       │ Commit: one transaction,
//	tally/<job>/<node>     sums of outcomes     ┘ fenced by the claim
//	owners/<job>, nodes/<node>                  leased
//
// It runs etcd inside the process, without listening anywhere, and asks of it
// what makes the promises hold: transactions with comparisons, leases that die
// with their node, linearizable reads and a watch from a revision. Every write
// that was acknowledged is on disk.
package jobstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"stevedore/internal/job"
)

// ErrFenced says that the claim, ownership or lease of the caller is gone. What
// it did under it was not stored and must be dropped.
var ErrFenced = errors.New("the claim is no longer ours")

// Config says where the store lives.
type Config struct {
	Dir        string        // data directory, created with mode 0700; one process at a time
	LeaseTTL   time.Duration // how long a dead node keeps its claims; whole seconds, default 10 s, at least 2 s
	Prefix     string        // of every key; default "/stevedore/"
	QuotaBytes int64         // size of the data from which writes are refused; default 8 GiB
	Logger     *slog.Logger  // default: nothing is logged
}

const (
	defaultLeaseTTL   = 10 * time.Second
	defaultPrefix     = "/stevedore/"
	defaultQuotaBytes = 8 << 30
)

// Store is an open job store. Its methods may be called concurrently; each
// returns job.ErrUnavailable, wrapped, while etcd cannot serve it and once the
// store is closed.
type Store struct {
	keys     keys
	leaseTTL time.Duration
	logger   *slog.Logger
	client   *clientv3.Client
	server   *server
	secret   []byte // made on the first Open
	index    *index

	life    context.Context //nolint:containedctx // ends with Close; calls end with it
	end     context.CancelFunc
	workers sync.WaitGroup // the watch and the nodes' leases

	close func() error // shutdown, once

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // calls into etcd, counted in under mu
}

// Open opens the store in c.Dir, which it makes if there is none. It returns
// once reads and writes work and the list of jobs is loaded. A directory that
// another process has open is an error.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Dir == "" {
		return nil, errors.New("open job store: no data directory given")
	}
	c.LeaseTTL = cmp.Or(c.LeaseTTL, defaultLeaseTTL)
	c.Prefix = cmp.Or(c.Prefix, defaultPrefix)
	c.QuotaBytes = cmp.Or(c.QuotaBytes, defaultQuotaBytes)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if !strings.HasSuffix(c.Prefix, "/") {
		c.Prefix += "/"
	}

	srv, err := serve(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open job store in %s: %w", c.Dir, err)
	}
	life, end := context.WithCancel(context.Background())
	s := &Store{
		keys:     keys{c.Prefix},
		leaseTTL: c.LeaseTTL,
		logger:   c.Logger,
		client:   srv.client,
		server:   srv,
		index:    newIndex(),
		life:     life,
		end:      end,
	}
	s.close = sync.OnceValue(s.shutdown)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open job store in %s: %w", c.Dir, err), s.Close())
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := s.server.recoverSpace(ctx); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	secret, err := s.loadSecret(ctx)
	if err != nil {
		return fmt.Errorf("read secret: %w", err)
	}
	s.secret = secret
	next, err := s.loadIndex(ctx)
	if err != nil {
		return fmt.Errorf("read jobs: %w", err)
	}
	return s.spawn(func() { s.follow(s.life, next) })
}

// spawn runs f, which ends with the store's life, in a goroutine that Close waits for.
func (s *Store) spawn(f func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("%w: closed", job.ErrUnavailable)
	}
	s.workers.Go(f)
	return nil
}

// Close ends calls in flight and stops etcd. Leases of nodes that have not left
// stay until they expire or a node of the same name joins. It may be called
// again.
func (s *Store) Close() error { return s.close() }

func (s *Store) shutdown() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.workers.Wait()
	s.calls.Wait()
	if err := s.server.close(); err != nil {
		return fmt.Errorf("close job store: %w", err)
	}
	return nil
}

// Ready returns nil while writes work, else why they do not.
func (s *Store) Ready() error {
	if s.life.Err() != nil {
		return fmt.Errorf("%w: closed", job.ErrUnavailable)
	}
	if err := s.server.ready(); err != nil {
		return fmt.Errorf("%w: %w", job.ErrUnavailable, err)
	}
	if err := s.index.failure(); err != nil {
		return fmt.Errorf("%w: list of jobs: %w", job.ErrUnavailable, err)
	}
	return nil
}

// server is etcd inside this process.
type server struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	unlock func() error
	quota  int64
}

func (v *server) ready() error {
	select {
	case <-v.etcd.Server.StopNotify():
		return errors.New("etcd has stopped")
	default:
	}
	if v.etcd.Server.Leader() == 0 {
		return errors.New("etcd has no leader")
	}
	for _, a := range v.etcd.Server.Alarms() {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			return fmt.Errorf("the data has outgrown its quota of %d bytes: restart with a larger one", v.quota)
		}
		return fmt.Errorf("etcd raised the alarm %s", a.Alarm) //nolint:staticcheck // SA4004: one alarm is enough
	}
	return nil
}
