package lambda_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stevedore/internal/lambda"
)

// functions returns functions with one, f, that f describes.
func functions(t testing.TB, f lambda.Function, logger *slog.Logger) *lambda.Functions {
	t.Helper()
	fs, err := lambda.New(lambda.Config{"f": f}, lambda.Options{Logger: logger, Region: "eu-north-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fs.Close)
	return fs
}

func local(t testing.TB, f lambda.Function) *lambda.Functions {
	t.Helper()
	f.Bootstrap = bootstrap
	return functions(t, f, nil)
}

// payload is an invocation for one key.
func payload(key string) []byte {
	p, _ := json.Marshal(map[string]any{
		"invocationSchemaVersion": "2.0", "invocationId": "i", "job": map[string]any{"id": "j"},
		"tasks": []any{map[string]any{"taskId": "t", "s3Key": strings.ReplaceAll(key, "+", "%2B"), "s3VersionId": nil, "s3Bucket": "b"}},
	})
	return p
}

func invoke(t testing.TB, fs *lambda.Functions, key string) lambda.Answer {
	t.Helper()
	a, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: "f", Account: "123456789012", Payload: payload(key)})
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return a
}

// failed checks an answer that stands for a failed function.
func failed(t testing.TB, a lambda.Answer, kind, message string) {
	t.Helper()
	var said struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal(a.Payload, &said); err != nil {
		t.Errorf("payload %q: %v", a.Payload, err)
	}
	if a.Error == "" || said.ErrorType != kind || !strings.Contains(said.ErrorMessage, message) {
		t.Errorf("got %q, %s, want a function error %s with %q", a.Error, a.Payload, kind, message)
	}
}

func TestLocalFunction(t *testing.T) {
	t.Parallel()
	fs := local(t, lambda.Function{Concurrency: 1, Env: map[string]string{"MINE": "yes", "DIR": t.TempDir()}, Timeout: 90 * time.Second})
	if a := invoke(t, fs, "hello"); a.Error != "" || !strings.Contains(string(a.Payload), `"resultString":"hello"`) {
		t.Errorf("got %+v %s", a, a.Payload)
	}
	pid := string(invoke(t, fs, "pid").Payload)
	if again := string(invoke(t, fs, "pid").Payload); again != pid {
		t.Errorf("process %s was not used again: %s", pid, again)
	}
	failed(t, invoke(t, fs, "error:it broke"), "errorString", "it broke")
	if again := string(invoke(t, fs, "pid").Payload); again != pid {
		t.Errorf("process %s did not outlive an error: %s", pid, again)
	}
	failed(t, invoke(t, fs, "panic:ouch"), "string", "ouch")
	failed(t, invoke(t, fs, "exit:7"), "Runtime.ExitError", "exit status 7")
	failed(t, invoke(t, fs, "exit:0"), "Runtime.ExitError", "without providing a reason")
	if again := string(invoke(t, fs, "pid").Payload); again == pid || again == "" {
		t.Errorf("got process %s after exits, want another than %s", again, pid)
	}
	if a := invoke(t, fs, "huge:6291456"); len(a.Payload) != lambda.MaxPayload || a.Error != "" {
		t.Errorf("got %d bytes, %q, want the largest answer there is", len(a.Payload), a.Error)
	}
	failed(t, invoke(t, fs, "huge:6291457"), "Function.ResponseSizeTooLarge", "6291456")
	invoke(t, fs, "hello") // and it goes on

	var lc []string
	if err := json.Unmarshal(invoke(t, fs, "context").Payload, &lc); err != nil {
		t.Fatal(err)
	}
	if len(lc[0]) != 36 || lc[1] != "arn:aws:lambda:eu-north-1:123456789012:function:f" || lc[2] != "1m30s" {
		t.Errorf("got %q, want a request id, the ARN and the deadline", lc)
	}
	var env []string
	if err := json.Unmarshal(invoke(t, fs, "env").Payload, &env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MINE=yes", "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_REGION=eu-north-1", "_HANDLER=bootstrap"} {
		if !slices.Contains(env, want) {
			t.Errorf("got %q, want %s", env, want)
		}
	}
	for _, e := range env {
		if name, _, _ := strings.Cut(e, "="); name == "HOME" || strings.HasPrefix(name, "GO") {
			t.Errorf("%s is ours, not the function's", e)
		}
	}
}

func TestStartsThatFail(t *testing.T) {
	t.Parallel()
	check := func(start, kind, message string) {
		t.Helper()
		fs := local(t, lambda.Function{Env: map[string]string{"START": start}, InitTimeout: 300 * time.Millisecond})
		failed(t, invoke(t, fs, "hello"), kind, message)
		failed(t, invoke(t, fs, "hello"), kind, message) // after a pause, again
	}
	check("exit", "Runtime.ExitError", "exit status 3")
	check("hang", "Sandbox.Timedout", "Init timed out after 0.30 seconds")
	check("error", "Test.Init", "no start today")
	check("mute-error", "Test.Init", "could not be initialized")
}

func TestRuntimesThatMisbehave(t *testing.T) {
	t.Parallel()
	start := func(start string) *lambda.Functions {
		return local(t, lambda.Function{Concurrency: 1, Env: map[string]string{"START": start}})
	}
	again := start("again")
	failed(t, invoke(t, again, "k"), "Runtime.NoResponse", "before it answered")
	twice := start("twice")
	for range 3 {
		if a := invoke(t, twice, "k"); string(a.Payload) != `"first"` {
			t.Errorf("got %s, want the first answer to the question", a.Payload)
		}
	}
	failed(t, invoke(t, start("mute"), "k"), "Test.Mute", "did not say how")
	once := start("once")
	for range 3 { // it ends behind every answer, which costs no call
		if a := invoke(t, once, "k"); string(a.Payload) != `"last words"` {
			t.Errorf("got %s, want its last words", a.Payload)
		}
	}
}

func TestTimeoutKillsAndStartsOver(t *testing.T) {
	t.Parallel()
	fs := local(t, lambda.Function{Concurrency: 1, Timeout: 500 * time.Millisecond})
	pid := string(invoke(t, fs, "pid").Payload)
	failed(t, invoke(t, fs, "hang"), "Sandbox.Timedout", "Task timed out after 0.50 seconds")
	if again := string(invoke(t, fs, "pid").Payload); again == pid {
		t.Errorf("process %s hangs, and is used again", pid)
	}
	gone(t, pid)
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("nobody tells how much memory a process takes")
	}
	fs := local(t, lambda.Function{MemoryMB: 128})
	failed(t, invoke(t, fs, "memory"), "Runtime.ExitError", "more than 128 MB")
	if a := invoke(t, fs, "hello"); a.Error != "" {
		t.Errorf("got %s, want a new process", a.Payload)
	}
}

// gone waits until there is no process pid any more.
func gone(t testing.TB, pid string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %s is still there", pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	fs := local(t, lambda.Function{Concurrency: 3})
	var mu sync.Mutex
	pids := map[string]int{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				a, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: "f", Payload: payload("pid")})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				pids[string(a.Payload)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(pids) > 3 {
		t.Errorf("got %d processes, want at most 3", len(pids))
	}
	fs.Close()
	for pid := range pids {
		gone(t, pid)
	}
	if _, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: "f"}); !errors.Is(err, lambda.ErrClosed) {
		t.Errorf("got %v after Close", err)
	}
}

func TestContextsEndCalls(t *testing.T) {
	t.Parallel()
	fs := local(t, lambda.Function{Concurrency: 1})
	pid := string(invoke(t, fs, "pid").Payload)
	drained, dropped := errors.New("drained"), errors.New("dropped")
	soft, drain := context.WithCancelCause(t.Context())
	hard, drop := context.WithCancelCause(t.Context())
	hanging := make(chan error, 1)
	go func() {
		_, err := fs.Invoke(soft, hard, lambda.Call{Function: "f", Payload: payload("hang")})
		hanging <- err
	}()
	taken := errors.New("the place is taken")
	var err error
	for !errors.Is(err, taken) { // it hangs once nobody else gets the place
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, taken)
		_, err = fs.Invoke(ctx, t.Context(), lambda.Call{Function: "f", Payload: payload("hello")})
		cancel()
	}

	// One that waits for its place goes when soft ends; one at work does not.
	waiting := make(chan error, 1)
	go func() {
		_, err := fs.Invoke(soft, t.Context(), lambda.Call{Function: "f", Payload: payload("hello")})
		waiting <- err
	}()
	drain(drained)
	if err := <-waiting; !errors.Is(err, drained) {
		t.Errorf("got %v for a call that waits, want %v", err, drained)
	}
	select {
	case err := <-hanging:
		t.Errorf("a call at work ended with %v", err)
	default:
	}
	drop(dropped)
	if err := <-hanging; !errors.Is(err, dropped) {
		t.Errorf("got %v, want %v", err, dropped)
	}
	gone(t, pid)
}

func TestCloseEndsCallsAtWork(t *testing.T) {
	t.Parallel()
	fs := local(t, lambda.Function{Concurrency: 1})
	pid := string(invoke(t, fs, "pid").Payload)
	ended := make(chan error, 1)
	go func() {
		_, err := fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: "f", Payload: payload("hang")})
		ended <- err
	}()
	fs.Close()
	fs.Close()
	if err := <-ended; !errors.Is(err, lambda.ErrClosed) {
		t.Errorf("got %v, want %v", err, lambda.ErrClosed)
	}
	gone(t, pid)
}

// TestCallsThatWaitForAStart ends a call while its function may not be started yet.
func TestCallsThatWaitForAStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "bootstrap")
	if err := os.WriteFile(program, []byte("#!/nonexistent/shell\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	fs := functions(t, lambda.Function{Bootstrap: program}, nil)
	var err error
	for range 4 {
		_, err = fs.Invoke(t.Context(), t.Context(), lambda.Call{Function: "f"})
		if e, ok := errors.AsType[*lambda.Error](err); !ok || !e.Temporary || e.Status != 500 {
			t.Errorf("got %v, want a temporary error", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := fs.Invoke(t.Context(), ctx, lambda.Call{Function: "f"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

func TestOutputIsLogged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	}), nil))
	fs := functions(t, lambda.Function{Bootstrap: bootstrap}, logger)
	invoke(t, fs, "print:a warning")
	fs.Close()
	mu.Lock()
	defer mu.Unlock()
	var longest, warned string
	for lines := bufio.NewScanner(&log); lines.Scan(); {
		var entry struct{ Msg, Function, Stream, Line string }
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Msg != "function output" || entry.Function != "f" {
			continue
		}
		if entry.Stream == "stdout" {
			longest = entry.Line
		} else {
			warned = entry.Line
		}
	}
	if warned != "a warning" || len(longest) != 4<<10+3 || !strings.HasSuffix(longest, "...") {
		t.Errorf("got %q and a line of %d bytes", warned, len(longest))
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// parent has a function hang, prints the process it hangs in, and waits to be killed.
func parent() {
	fs, err := lambda.New(lambda.Config{"f": {Bootstrap: os.Getenv("STEVEDORE_TEST_PARENT"), Concurrency: 1}}, lambda.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ctx := context.Background()
	a, err := fs.Invoke(ctx, ctx, lambda.Call{Function: "f", Payload: payload("pid")})
	fmt.Println(string(a.Payload), err)
	_, err = fs.Invoke(ctx, ctx, lambda.Call{Function: "f", Payload: payload("hang")})
	fmt.Println(err)
	os.Exit(1)
}

// TestFunctionsEndWithTheirParent kills a process that runs functions.
func TestFunctionsEndWithTheirParent(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "STEVEDORE_TEST_PARENT="+bootstrap)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || rest != "<nil>" {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := syscall.Kill(cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, pid)
}
