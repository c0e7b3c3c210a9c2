package operation

import (
	"context"
	"slices"
	"time"

	"stevedore/internal/objectstore"
)

// sweep aborts what an attempt has left that ended with its process: uploads of the
// same object whose parts would lie in the bucket for ever. A store shows nothing of
// an upload that could name us, so only one counts as ours that was begun by whom
// ours was, before it, but after the job was created, and that is dead: a part of a
// live one comes within the time that a copy of it is given. ours is about to be
// completed, so what has been left was silent for at least as long as the copying took.
//
// Whatever cannot be told is left alone, and none of it fails the task.
func (x *transfer) sweep(ctx context.Context, ours *objectstore.Upload) {
	if x.env.Job == nil || x.env.Job.CreationTime.IsZero() {
		return
	}
	pending, now, err := objectstore.Pending(ctx, x.client, x.to)
	if err != nil || len(pending) < 2 {
		return
	}
	i := slices.IndexFunc(pending, func(u objectstore.PendingUpload) bool { return u.ID == ours.ID })
	if i < 0 || pending[i].Initiator == "" {
		return
	}
	age := time.Since(x.env.Job.CreationTime) // the store's clock may be another
	for _, u := range pending {
		if u.Initiator != pending[i].Initiator || !u.Initiated.Before(pending[i].Initiated) || now.Sub(u.Initiated) > age {
			continue
		}
		last, err := u.LastPart(ctx)
		if last.Before(u.Initiated) {
			last = u.Initiated
		}
		if err == nil && now.Sub(last) > objectstore.CopyTimeout(copyPart) {
			_ = u.Abort(ctx)
		}
	}
}
