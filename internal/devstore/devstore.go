// Package devstore runs a real S3 server for development, the demo and tests:
// versitygw with its posix backend, as a child process of the same binary.
//
//	parent                                 child (same executable, hidden subcommand)
//	  │ stdin: Config as JSON, then held open ──▶ serves S3 on loopback
//	  │ ◀── stdout: the address, or why not       objects in Dir/objects
//	  └ closes stdin, or dies ──────────────────▶ finishes requests, exits
//
// A child, because the backend changes the working directory and works only
// once in a process; a crash stays in the child, too. The program that uses
// the package must call [Main] before anything else.
//
// The open standard input is the leash of the child: however the parent ends,
// the system closes it and the child ends as well. That holds on every
// operating system and does not depend on which thread started the child, as
// a parent death signal would.
//
// What versitygw lacks of S3 for the eleven operations of a job is added by
// wrapping its backend: object ACLs, storage classes and restores, replication
// configurations, encryption, as labels that are kept and told. See
// docs/development-store.md for what is real and what is simulated.
package devstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Subcommand is the hidden first argument that makes a process the development store.
const Subcommand = "devstore-child"

// DefaultCopyLimit is the size in bytes above which S3 refuses CopyObject: 5 GiB.
const DefaultCopyLimit int64 = 5 << 30

// DefaultRestoreAfter is how long the restore of an archived object takes, where
// S3 takes minutes to days.
const DefaultRestoreAfter = 3 * time.Second

const (
	startLimit = 30 * time.Second // from exec to the first answer, including bindPatience
	drainLimit = 2 * time.Second  // the child's time to finish requests
	closeLimit = 2 * drainLimit   // the parent's time to wait for that
)

// ErrLeftOut is returned by [Start] in a build with the tag slim.
var ErrLeftOut = errors.New("this build has no development store (build tag slim)")

// Config says where a development store keeps its data and who may use it.
type Config struct {
	// Dir holds the objects and their versions. It must be absolute; it is
	// created when missing, and a store started on it again finds all its data.
	Dir string
	// Listen is a loopback address; default 127.0.0.1:0, a free port.
	Listen string
	// AccessKey and Secret are the one key pair that is accepted. Both are required.
	AccessKey, Secret string
	// Region is the region requests are signed for; default us-east-1.
	Region string
	// CopyLimit is the largest source of CopyObject, in bytes; default
	// [DefaultCopyLimit]. A low one makes small objects need a multipart
	// copy, whose parts it does not limit.
	CopyLimit int64
	// RestoreAfter is how long the restore of an archived object takes;
	// default [DefaultRestoreAfter].
	RestoreAfter time.Duration
	// Log takes what the server prints; default nowhere.
	Log io.Writer `json:"-"`
}

// withDefaults returns the checked configuration with its defaults filled in.
func (c Config) withDefaults() (Config, error) {
	listen, err := loopback(cmp.Or(c.Listen, "127.0.0.1:0"))
	c.Listen = listen
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.CopyLimit = cmp.Or(c.CopyLimit, DefaultCopyLimit)
	c.RestoreAfter = cmp.Or(c.RestoreAfter, DefaultRestoreAfter)
	var problems []error
	if !filepath.IsAbs(c.Dir) {
		problems = append(problems, fmt.Errorf("directory %q is not absolute", c.Dir))
	}
	if err != nil {
		problems = append(problems, err)
	}
	if c.AccessKey == "" || c.Secret == "" {
		problems = append(problems, errors.New("access key and secret are required"))
	}
	if c.CopyLimit < 0 {
		problems = append(problems, fmt.Errorf("copy limit %d is negative", c.CopyLimit))
	}
	if c.RestoreAfter < 0 {
		problems = append(problems, fmt.Errorf("restore after %s: negative", c.RestoreAfter))
	}
	return c, errors.Join(problems...)
}

// loopback returns addr with its host as an IP address. The credentials of a
// development store are no secret, so it must not be reachable from outside.
func loopback(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("listen address %q: want host:port", addr)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return "", fmt.Errorf("listen address %q: the development store listens on loopback addresses only, such as 127.0.0.1", addr)
	}
	return net.JoinHostPort(host, port), nil
}

// Store is a running development store.
type Store struct {
	endpoint string
	cmd      *exec.Cmd
	leash    io.Closer
	done     chan struct{}
	err      error // how the child ended; set before done is closed
}

// Start runs a development store and returns once it accepts requests. ctx
// bounds the start only. The store lives until [Store.Close] or the end of
// this process.
func Start(ctx context.Context, cfg Config) (*Store, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start development store: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Store, error) {
	if !included {
		return nil, ErrLeftOut
	}
	if isChild(os.Args) { // would start itself again and again
		return nil, errors.New("this program does not call devstore.Main first")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}

	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, Subcommand)
	cmd.Stderr = cfg.Log
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Store{cmd: cmd, leash: leash, done: make(chan struct{})}

	var hello greeting
	greeted := make(chan error, 1)
	go func() {
		err := json.NewEncoder(leash).Encode(cfg)
		if err == nil {
			err = json.NewDecoder(answers).Decode(&hello)
		}
		greeted <- err
		// Wait closes answers, so it comes after the last read.
		s.err = cmd.Wait()
		close(s.done)
	}()

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	select {
	case err = <-greeted:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-s.done
		return nil, context.Cause(ctx)
	}
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("no greeting from the child (is devstore.Main called first?): %w", err), s.Close())
	case hello.Problem != "":
		_ = s.Close() // it says the same
		return nil, errors.New(hello.Problem)
	}
	s.endpoint = "http://" + hello.Addr
	return s, nil
}

// Endpoint returns the base URL of the store, such as http://127.0.0.1:9701.
func (s *Store) Endpoint() string { return s.endpoint }

// Done is closed when the store has ended, by [Store.Close] or by a crash.
func (s *Store) Done() <-chan struct{} { return s.done }

// Err says how the store ended: nil while it runs and after an orderly end.
func (s *Store) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	if s.err != nil {
		return fmt.Errorf("development store: %w", s.err)
	}
	return nil
}

// Close lets the store finish the requests it has and waits for its end. It
// takes two seconds where clients hold connections open that they never used,
// so close theirs first. It may be called more than once, and concurrently.
func (s *Store) Close() error {
	_ = s.leash.Close() // already closed when the child has ended
	timeout := time.NewTimer(closeLimit)
	defer timeout.Stop()
	select {
	case <-s.done:
	case <-timeout.C:
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return s.Err()
}
