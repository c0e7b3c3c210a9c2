// Command stevedore is S3 Batch Operations for any S3-compatible store: the
// daemon, a development server with a store of its own, a demonstration that
// checks itself, and the client of the job API.
//
// There is one file per subcommand; each takes its streams and its environment
// from a world, so that a test can call it.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"stevedore/internal/devstore"
)

func main() {
	// The child that serves objects for dev and demo is this same binary.
	if code, ran := devstore.Main(os.Args); ran {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], world{os.Stdin, os.Stdout, os.Stderr, os.Environ(), os.Args[0]}))
}

// world is all that a command knows of where it runs.
type world struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string // KEY=value; the last one counts
	program        string   // how the user called us
}

// getenv returns an environment variable, or "".
func (w world) getenv(name string) string {
	for _, entry := range slices.Backward(w.environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// run carries out a command line and returns the exit code, having said on
// stderr what went wrong.
func run(ctx context.Context, args []string, w world) int {
	started := false
	cmd := newRoot(w, &started)
	cmd.SetArgs(append([]string{}, args...)) // of nil, cobra would make os.Args
	called, err := cmd.ExecuteContextC(ctx)
	if err != nil {
		err = misused(w, called, started, err)
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled), ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		if p, ok := errors.AsType[*problem](err); !ok || p.code != exitInterrupted {
			err = &problem{what: "interrupted", code: exitInterrupted, err: err}
		}
	}
	return tell(w.stderr, err)
}
