package generate

import (
	"context"
)

// list lists what is left to list.
func (r *run) list(ctx context.Context) error {
	if err := r.again(ctx); err != nil {
		return err
	}
	return r.walk(ctx)
}

// again begins a new pass as a walk. The files of the one before do not count any more.
func (r *run) again(ctx context.Context) error {
	s := r.state
	s.Pass++
	s.Walk, s.Rows, s.Bytes, s.Ranges = true, 0, 0, []Range{{}}
	return r.save(ctx, s, nil)
}
