package operation

import (
	"context"
	"time"
)

// lastMoments is how long a task may go on when its job is to stop: enough for
// the many that are nearly done.
const lastMoments = 5 * time.Second

// untilDrained is ctx for a task that may take long: it ends some moments after
// the job was told to stop, with that cause. Nobody then has to wait for hours
// to pause a job; the task is done again. cancel must be called.
func (e *Env) untilDrained(ctx context.Context) (_ context.Context, cancel func()) {
	if e.Soft == nil {
		return ctx, func() {}
	}
	ctx, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	stop := context.AfterFunc(e.Soft, func() {
		defer close(ended)
		timer := time.NewTimer(lastMoments)
		defer timer.Stop()
		select {
		case <-timer.C:
			end(context.Cause(e.Soft))
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		end(nil)
		if !stop() {
			<-ended
		}
	}
}
