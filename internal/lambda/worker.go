package lambda

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// stopPatience is how long a program has between being asked to end and its end.
const stopPatience = 2 * time.Second

// errGone: the program has ended before it was given the invocation.
var errGone = errors.New("the function's program has ended")

// worker is one process of a function and the Runtime API that this process alone
// is served.
type worker struct {
	local   *local
	server  *http.Server
	serving sync.WaitGroup
	process *exec.Cmd
	end     context.CancelFunc // asks the process to end, see stopPatience
	exited  chan struct{}      // closed when the process has ended
	exitErr error              // how; to be read once exited is closed
	work    chan *invocation   // to whoever asks for the next one
	failed  chan failedInit    // what the program says of a start that failed
	once    sync.Once

	// Written by invoke only.
	used bool // an invocation got through
	fit  bool // for another one

	mu      sync.Mutex
	current *invocation // handed out, without an answer yet
}

// startWorker starts the program of l.
func startWorker(ctx context.Context, l *local) (*worker, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the function: %w", err)
	}
	w := &worker{
		local: l, exited: make(chan struct{}),
		work: make(chan *invocation), failed: make(chan failedInit, 1),
	}
	w.server = &http.Server{
		Handler:           w.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(l.logger.Handler(), slog.LevelDebug),
	}
	w.serving.Go(func() { _ = w.server.Serve(listener) }) // ends when stop closes it
	if err := w.start(listener.Addr().String()); err != nil {
		w.server.Close()
		w.serving.Wait()
		return nil, err
	}
	return w, nil
}

// start starts the process.
func (w *worker) start(api string) error {
	f := &w.local.config
	program, err := filepath.Abs(f.Bootstrap)
	if err != nil {
		return fmt.Errorf("find program: %w", err)
	}
	// The process lives longer than the call that needed it first.
	life, end := context.WithCancel(context.Background())
	w.end = end
	cmd := exec.CommandContext(life, program)
	cmd.Dir = f.Dir
	if cmd.Dir == "" {
		cmd.Dir = filepath.Dir(program)
	}
	cmd.Env = environment(w.local, cmd.Dir, api)
	out := &lineLogger{logger: w.local.logger, stream: "stdout"}
	errs := &lineLogger{logger: w.local.logger, stream: "stderr"}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = stopPatience
	tieToParent(cmd)
	w.process = cmd

	started := make(chan error)
	go func() { // ends with the process, which stop waits for
		// The kernel ends the process with the thread that has started it: this one
		// must not go before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		w.exitErr = cmd.Wait()
		killAll(cmd) // what it has started itself
		out.flush()
		errs.flush()
		close(w.exited)
	}()
	if err := <-started; err != nil {
		end()
		return fmt.Errorf("start program: %w", err)
	}
	w.local.logger.Debug("function started", "pid", cmd.Process.Pid)
	return nil
}

// environment is what the program finds: the documented variables of a custom
// runtime, then what the configuration says.
func environment(l *local, dir, api string) []string {
	name, _ := ParseName(l.name)
	env := map[string]string{
		"AWS_LAMBDA_RUNTIME_API":          api,
		"AWS_LAMBDA_FUNCTION_NAME":        name.Function,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(cmp.Or(l.config.MemoryMB, 3008)),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + name.Function,
		"AWS_LAMBDA_LOG_STREAM_NAME":      "stevedore",
		"AWS_REGION":                      l.region,
		"AWS_DEFAULT_REGION":              l.region,
		"LAMBDA_TASK_ROOT":                dir,
		"LAMBDA_RUNTIME_DIR":              dir,
		"_HANDLER":                        l.config.Handler,
		"TZ":                              ":UTC",
		"LANG":                            "en_US.UTF-8",
		"PATH":                            "/usr/local/bin:/usr/bin:/bin",
	}
	maps.Copy(env, l.config.Env)
	list := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key])
	}
	return list
}

// invocation is one call on its way through the Runtime API.
type invocation struct {
	id       string
	function string // ARN
	payload  []byte
	answer   chan Answer // takes one without waiting
}

// invoke has the program do one invocation. errGone: it never got it.
func (w *worker) invoke(ctx context.Context, arn string, payload []byte) (Answer, error) {
	f := &w.local.config
	w.fit = false
	inv := &invocation{id: newID(), function: arn, payload: payload, answer: make(chan Answer, 1)}

	patience, starting := f.Timeout, !w.used
	if starting {
		patience = f.InitTimeout
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	memory, stopWatching := w.watchMemory()
	defer stopWatching()
	select {
	case w.work <- inv:
	case said := <-w.failed:
		return said.answer(inv.id), nil
	case <-w.exited:
		if !starting {
			return Answer{}, errGone
		}
		select {
		case said := <-w.failed:
			return said.answer(inv.id), nil
		default:
			return w.exit(inv.id, nil), nil
		}
	case <-timer.C:
		if starting {
			return failure("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Init timed out after %.2f seconds", inv.id, patience.Seconds())), nil
		}
		return Answer{}, errGone // it hangs behind the answer to its last invocation
	case limit := <-memory:
		return w.exit(inv.id, limit), nil
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}

	w.used = true
	timer.Reset(f.Timeout)
	select {
	case answer := <-inv.answer:
		w.fit = true
		return answer, nil
	case <-w.exited:
		select {
		case answer := <-inv.answer: // the last thing it did
			return answer, nil
		default:
		}
		return w.exit(inv.id, nil), nil
	case <-timer.C:
		return failure("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", inv.id, f.Timeout.Seconds())), nil
	case limit := <-memory:
		return w.exit(inv.id, limit), nil
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
}

// exit is the answer of a program that has ended instead of giving one; reason is
// ours, if it is we who end it.
func (w *worker) exit(id string, reason error) Answer {
	what := "Runtime exited without providing a reason"
	switch {
	case reason != nil:
		what = "Runtime exited with error: " + reason.Error()
	case w.exitErr != nil:
		what = "Runtime exited with error: " + w.exitErr.Error()
	}
	return failure("Runtime.ExitError", "RequestId: "+id+" Error: "+what)
}

// watchMemory sends on the channel once the process takes more than it may.
func (w *worker) watchMemory() (<-chan error, func()) {
	limit := int64(w.local.config.MemoryMB) << 20
	if limit == 0 {
		return nil, func() {}
	}
	over := make(chan error, 1)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if residentBytes(w.process.Process.Pid) > limit {
				over <- fmt.Errorf("signal: killed (more than %d MB of memory)", w.local.config.MemoryMB)
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return over, func() {
		close(stop)
		watching.Wait()
	}
}

// stop ends the process, at once if it is in the middle of something, and closes
// its Runtime API.
func (w *worker) stop() {
	w.once.Do(func() {
		if !w.fit {
			killAll(w.process)
		}
		w.end()
		<-w.exited
		w.server.Close()
		w.serving.Wait()
	})
}

// newID is a request id: a random UUID, as the Lambda service makes them.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
