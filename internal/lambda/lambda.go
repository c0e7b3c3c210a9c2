// Package lambda calls functions on behalf of the operation LambdaInvoke.
//
//	FunctionArn ─▶ configuration ─┬─▶ a Lambda Invoke endpoint, signed
//	                              ├─▶ an HTTP endpoint
//	                              └─▶ a program of ours: worker ◀─ Runtime API ─▶ bootstrap
//
// Where a function runs is said by the configuration and by nothing else: the
// name that stands in a job only selects among what is configured, so no job can
// make this process speak to an address of its choice.
//
// The package carries bytes. What the JSON in them means for a task is the
// business of package operation.
package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// MaxPayload bounds the answer of a function, in bytes; it is the limit of AWS.
const MaxPayload = 6 << 20

// ErrClosed ends every call of Functions that were closed.
var ErrClosed = errors.New("functions are closed")

// A Call is one invocation to be.
type Call struct {
	Function string // as the job names it: name, partial or full ARN, with or without a qualifier
	Account  string // who calls: the job's account, twelve digits
	Payload  []byte // JSON
	// Credentials sign the call of an endpoint that has no keys of its own. Nil:
	// Options.Credentials do.
	Credentials aws.CredentialsProvider
}

// An Answer is what a function had to say.
type Answer struct {
	// Error is how the function failed, such as Unhandled: Payload is then the
	// JSON that tells of it. Empty: the function returned Payload.
	Error   string
	Payload []byte // at most MaxPayload bytes
}

// Error says that a call did not get as far as an answer of the function.
type Error struct {
	Status    int    // HTTP status, or the one that fits best
	Code      string // such as TooManyRequestsException
	Message   string
	Temporary bool          // the same call may succeed later
	After     time.Duration // how long the other side wants to be left alone
	Err       error         // the cause, if there is more to say
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("invoke: %d %s: %s", e.Status, e.Code, e.Message) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Options are what functions need beside their configuration.
type Options struct {
	// Credentials sign for Lambda Invoke endpoints that have no keys of their own.
	Credentials aws.CredentialsProvider
	Region      string // of endpoints that name none, default us-east-1
	Logger      *slog.Logger
}

// Functions are all functions that jobs can call. They are safe for any number
// of goroutines.
type Functions struct {
	functions map[string]*function
	stops     []func()
	closed    context.Context //nolint:containedctx // their own life, not a call's
	end       context.CancelFunc
	once      sync.Once
}

// function is one entry of the configuration.
type function struct {
	accounts []string
	places   chan struct{} // one element per invocation in flight
	backend  backend
}

// A backend is a way to have a function run.
type backend interface {
	// invoke calls the function once; an error other than an *Error means that
	// ctx ended first.
	invoke(ctx context.Context, name Name, c Call) (Answer, error)
}

// New returns the functions that c describes. Programs are started with the first
// call that needs them. Close ends what was started.
func New(c Config, o Options) (*Functions, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("functions: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	fs := &Functions{functions: map[string]*function{}}
	fs.closed, fs.end = context.WithCancel(context.Background())
	transport := newTransport()
	fs.stops = append(fs.stops, transport.CloseIdleConnections)
	for _, name := range slices.Sorted(maps.Keys(c)) {
		entry := c[name].withDefaults()
		f := &function{accounts: entry.Accounts, places: make(chan struct{}, entry.Concurrency)}
		var err error
		switch {
		case entry.Lambda != nil:
			f.backend, err = newInvokeAPI(entry, transport, o)
		case entry.URL != "":
			f.backend = newWebhook(entry, transport)
		default:
			local := newLocal(name, entry, o)
			fs.stops = append(fs.stops, local.close)
			f.backend = local
		}
		if err != nil {
			return nil, fmt.Errorf("functions: %s: %w", name, err)
		}
		fs.functions[name] = f
	}
	return fs, nil
}

// Check says, with an *Error, why account cannot call a function.
func (fs *Functions) Check(function, account string) error {
	_, _, err := fs.find(function, account)
	return err
}

// Invoke calls a function and waits for its answer. soft ends the waiting for a
// free place, hard ends the call itself, too. The error is an *Error, or says
// that soft, hard or the Functions ended before there was an answer; a call that
// was under way then may have had its effect.
func (fs *Functions) Invoke(soft, hard context.Context, c Call) (Answer, error) {
	f, name, err := fs.find(c.Function, c.Account)
	if err != nil {
		return Answer{}, err
	}
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-soft.Done():
		return Answer{}, context.Cause(soft)
	case <-hard.Done():
		return Answer{}, context.Cause(hard)
	case <-fs.closed.Done():
		return Answer{}, ErrClosed
	}
	switch { // select takes any of those that are ready
	case hard.Err() != nil:
		return Answer{}, context.Cause(hard)
	case soft.Err() != nil:
		return Answer{}, context.Cause(soft)
	case fs.closed.Err() != nil:
		return Answer{}, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(hard)
	defer cancel(nil)
	defer context.AfterFunc(fs.closed, func() { cancel(ErrClosed) })()
	answer, err := f.backend.invoke(ctx, name, c)
	if err != nil && ctx.Err() != nil {
		return Answer{}, context.Cause(ctx)
	}
	return answer, err
}

// find looks a function up, the most exact entry first.
func (fs *Functions) find(text, account string) (*function, Name, error) {
	name, ok := ParseName(text)
	if !ok {
		return nil, name, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterValueException", Message: "Not a function name: " + text}
	}
	for _, key := range name.keys(text) {
		f, ok := fs.functions[key]
		switch {
		case !ok:
			continue
		case len(f.accounts) > 0 && !slices.Contains(f.accounts, account):
			return nil, name, &Error{
				Status: http.StatusForbidden, Code: "AccessDeniedException",
				Message: "Account " + account + " may not invoke the function " + text,
			}
		}
		return f, name, nil
	}
	return nil, name, &Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "Function not found: " + text}
}

// Close ends every call with ErrClosed, stops the programs and waits for them. It
// may be called more than once.
func (fs *Functions) Close() {
	fs.once.Do(func() {
		fs.end()
		for _, f := range fs.functions {
			for range cap(f.places) { // who has a place gives it up with the end of its call
				f.places <- struct{}{}
			}
		}
		for _, stop := range fs.stops {
			stop()
		}
	})
}
