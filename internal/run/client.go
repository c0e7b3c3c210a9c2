package run

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// ErrEnding says, as the cause that soft ended for, that the job comes to its end
// early. Its tasks are not done again, so every one that was started gets an
// outcome: what has been done must not be missing in the report.
var ErrEnding = errors.New("the job was stopped")

// lastTry is how long after the end of soft a task that had not had its first
// attempt may begin another.
const lastTry = 5 * time.Second

// Client is the object store as the tasks of one job see it. When soft ends, a
// task stops retrying at the next attempt boundary (states.md section 11).
//
// If the cause is ErrEnding it has failed, by what its last attempt came to; one
// that still waits for its first attempt is turned away, and nobody counts it.
// With any other cause a task has no outcome and is done again; one that waits
// for its first attempt still gets its turn, since rows behind it may have had
// theirs.
type Client struct {
	store operation.Client
	soft  context.Context //nolint:containedctx // of the job, not of a call
}

// NewClient returns the client for the operation of a job that is drained by soft.
func NewClient(store operation.Client, soft context.Context) *Client { //nolint:revive // soft is not about this call
	return &Client{store, soft}
}

// Do implements operation.Client; hard ends it at once.
func (c *Client) Do(hard context.Context, req *objectstore.Request, res *objectstore.Result) {
	t := tryOf(hard)
	c.store.Do(c.soft, req, res)
	t.note(res)
	if !res.Interrupted() || hard.Err() != nil {
		return
	}
	ending := errors.Is(context.Cause(c.soft), ErrEnding)
	if res.Attempts == 0 {
		if ending && t.turnAway() {
			return
		}
		// Not a deadline: that would tear an attempt on the wire apart.
		ctx, cancel := context.WithCancel(hard)
		timer := time.AfterFunc(lastTry, cancel)
		c.store.Do(ctx, req, res)
		timer.Stop()
		cancel()
		t.note(res)
		if !res.Interrupted() || hard.Err() != nil {
			return
		}
	}
	if ending && !errors.Is(res.Err, objectstore.ErrClosed) {
		*res = objectstore.Result{
			Status: res.Status, Code: res.Code, Message: res.Message, RequestID: res.RequestID,
			Err: ErrEnding, Attempts: res.Attempts, Body: res.Body,
		}
	}
}

// try notes whether the requests of one task reached the store. Its worker hands
// it down in the context and uses it again for the next task.
type try struct {
	sent       atomic.Bool // one was attempted
	turnedAway atomic.Bool // one was not, since the job ends, and none before it
}

type tryKey struct{}

// with returns ctx with t in it.
func (t *try) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, tryKey{}, t)
}

// tryOf returns what a worker put into ctx, nil if nobody did.
func tryOf(ctx context.Context) *try {
	t, _ := ctx.Value(tryKey{}).(*try)
	return t
}

func (t *try) reset() {
	t.sent.Store(false)
	t.turnedAway.Store(false)
}

func (t *try) note(res *objectstore.Result) {
	if t != nil && res.Attempts > 0 {
		t.sent.Store(true)
	}
}

// turnAway reports whether the task may be left as if it had never been taken up.
func (t *try) turnAway() bool {
	if t == nil || t.sent.Load() {
		return false
	}
	t.turnedAway.Store(true)
	return true
}

// started reports whether the task can have had an effect.
func (t *try) started() bool { return t.sent.Load() || !t.turnedAway.Load() }
