package devstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	bindPatience = 8 * time.Second // longer than a predecessor's drainLimit
	bindPause    = 50 * time.Millisecond
)

// greeting is the one line the child sends its parent.
type greeting struct {
	Addr    string `json:",omitzero"` // where it serves
	Problem string `json:",omitzero"` // or why it does not
}

// Main runs the development store if args, the program's os.Args, ask for it,
// and reports whether it did, with the exit code. It is the first thing the
// main function of a program does, and the TestMain of a package, that uses
// [Start]:
//
//	if code, ran := devstore.Main(os.Args); ran {
//		os.Exit(code)
//	}
func Main(args []string) (code int, ran bool) {
	if !isChild(args) {
		return 0, false
	}
	// A Ctrl-C in a terminal reaches the whole process group, but the parent
	// needs its store until it has drained: only the leash ends the child.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The server prints to the standard output, which is the line to the parent.
	parent := os.Stdout
	os.Stdout = os.Stderr

	if err := runChild(os.Stdin, parent); err != nil {
		fmt.Fprintln(os.Stderr, "development store:", err)
		return 1, true
	}
	return 0, true
}

func isChild(args []string) bool { return len(args) > 1 && args[1] == Subcommand }

// runChild reads its configuration from the first line of stdin and serves
// until stdin ends.
func runChild(stdin io.Reader, parent io.Writer) error {
	tell := json.NewEncoder(parent)
	var cfg Config
	if err := json.NewDecoder(stdin).Decode(&cfg); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the parent's end of the pipe, or with this process
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	err := serve(ctx, cfg, func(addr string) { _ = tell.Encode(greeting{Addr: addr}) })
	if err != nil {
		_ = tell.Encode(greeting{Problem: err.Error()})
	}
	return err
}

// bind calls listen until it gets a port. listen takes an address, with a port
// that is not 0, and returns an error that is EADDRINUSE if the port is taken:
// a wanted port may still be held by a predecessor that is about to end, and a
// free one may be taken before listen gets to it.
func bind(ctx context.Context, addr string, listen func(addr string) error) error {
	ctx, cancel := context.WithTimeout(ctx, bindPatience)
	defer cancel()
	for {
		candidate, err := withPort(ctx, addr)
		if err != nil {
			return err
		}
		if err := listen(candidate); !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
		case <-time.After(bindPause):
		}
	}
}

// withPort returns addr with a free port in place of port 0.
func withPort(ctx context.Context, addr string) (string, error) {
	if _, port, err := net.SplitHostPort(addr); err != nil || port != "0" {
		return addr, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
