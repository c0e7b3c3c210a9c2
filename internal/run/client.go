package run

import (
	"context"
	"errors"
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
// task stops retrying at the next attempt boundary (states.md section 11). If the
// cause is ErrEnding it has failed, by what its last attempt came to; else it has
// no outcome and is done again. One that waits for its first attempt still gets
// its turn.
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
	c.store.Do(c.soft, req, res)
	if !res.Interrupted() || hard.Err() != nil {
		return
	}
	if res.Attempts == 0 {
		// Not a deadline: that would tear an attempt on the wire apart.
		ctx, cancel := context.WithCancel(hard)
		timer := time.AfterFunc(lastTry, cancel)
		c.store.Do(ctx, req, res)
		timer.Stop()
		cancel()
		if !res.Interrupted() || hard.Err() != nil {
			return
		}
	}
	if errors.Is(context.Cause(c.soft), ErrEnding) && !errors.Is(res.Err, objectstore.ErrClosed) {
		*res = objectstore.Result{
			Status: res.Status, Code: res.Code, Message: res.Message, RequestID: res.RequestID,
			Err: ErrEnding, Attempts: res.Attempts, Body: res.Body,
		}
	}
}
