package lambda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// A program that does not survive its start is started again only after a
	// pause, which grows from crashPause to maxCrashPause.
	crashPause    = 100 * time.Millisecond
	maxCrashPause = 10 * time.Second
)

// local is a function whose program we run. There are never more workers than
// places: who calls has a place, and takes an idle worker or starts one.
type local struct {
	name   string // as configured
	config Function
	region string
	logger *slog.Logger

	mu      sync.Mutex
	idle    []*worker // the last one used is the next one taken
	closed  bool
	crashes int       // starts that failed, in a row
	startAt time.Time // not before
}

func newLocal(name string, f Function, o Options) *local {
	return &local{
		name: name, config: f, region: cmp.Or(o.Region, "us-east-1"),
		logger: o.Logger.With("function", name),
	}
}

func (l *local) invoke(ctx context.Context, name Name, c Call) (Answer, error) {
	for {
		w, err := l.take(ctx)
		if err != nil {
			return Answer{}, err
		}
		used := w.used
		answer, err := w.invoke(ctx, name.ARN(l.region, c.Account), c.Payload)
		if errors.Is(err, errGone) && used {
			// It ended while it had nothing to do: the call costs that nothing.
			w.stop()
			continue
		}
		if !used && err == nil {
			l.noteStart(w.used)
		}
		if w.fit {
			l.put(w)
		} else {
			w.stop()
		}
		return answer, err
	}
}

// take returns an idle worker, or a new one.
func (l *local) take(ctx context.Context) (*worker, error) {
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		w := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.mu.Unlock()
		return w, nil
	}
	wait := time.Until(l.startAt)
	l.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	w, err := startWorker(ctx, l)
	if err != nil {
		l.noteStart(false)
		l.logger.WarnContext(ctx, "function cannot be started", "err", err)
		return nil, &Error{
			Status: http.StatusInternalServerError, Code: "ServiceException", Temporary: true,
			Message: fmt.Sprintf("The function %s cannot be started", l.name), Err: err,
		}
	}
	return w, nil
}

// noteStart makes the pause before the next start longer, or forgets it.
func (l *local) noteStart(well bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if well {
		l.crashes, l.startAt = 0, time.Time{}
		return
	}
	l.startAt = time.Now().Add(min(crashPause<<min(l.crashes, 10), maxCrashPause))
	l.crashes++
}

func (l *local) put(w *worker) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.idle = append(l.idle, w)
	}
	l.mu.Unlock()
	if closed {
		w.stop()
	}
}

// close stops the idle workers. Those at work are stopped by their calls, which
// end by the context they were made with.
func (l *local) close() {
	l.mu.Lock()
	idle := l.idle
	l.idle, l.closed = nil, true
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, w := range idle {
		wg.Go(w.stop)
	}
	wg.Wait()
}
