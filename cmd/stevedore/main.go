// Command stevedore is S3 Batch Operations for any S3-compatible store: the
// daemon, a development server with a store of its own, a demonstration that
// checks itself, and the client of the job API.
//
// There is one file per subcommand; each takes its streams and its environment
// from a world, so that a test can call it.
package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
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

// output is standard output. It remembers that it could not be written: a command
// whose answer nobody got has not done its work, even if it did not look.
type output struct {
	io.Writer

	mu  sync.Mutex
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.err = cmp.Or(o.err, err)
	}
	return n, err
}

// failed returns the first error.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// run carries out a command line and returns the exit code, having said on
// stderr what went wrong.
func run(ctx context.Context, args []string, w world) int {
	started := false
	out := &output{Writer: w.stdout}
	w.stdout = out
	cmd := newRoot(w, &started)
	cmd.SetArgs(append([]string{}, args...)) // of nil, cobra would make os.Args
	called, err := cmd.ExecuteContextC(ctx)
	switch failed := out.failed(); {
	case errors.Is(failed, syscall.EPIPE):
		err = &problem{code: exitPipe, silent: true, err: failed}
	case err != nil:
		err = misused(w, called, started, err)
	case failed != nil:
		err = &problem{what: "standard output could not be written", why: failed.Error(), code: exitFailed, err: failed}
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled), ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		if p, ok := errors.AsType[*problem](err); !ok || p.code != exitInterrupted {
			err = &problem{what: "interrupted", code: exitInterrupted, err: err}
		}
	}
	return tell(w.stderr, err)
}
