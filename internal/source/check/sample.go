package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"stevedore/internal/objectstore"
)

// looks is how many objects are asked for at once.
const looks = 16

// look asks for the objects of the sample, and warns of those that cannot be had.
func (c *checker) look(ctx context.Context) error {
	slices.SortFunc(c.sample, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line))
	})
	var (
		next  = make(chan int)
		errs  = make([]error, len(c.sample))
		group sync.WaitGroup
	)
	for range min(looks, len(c.sample)) {
		group.Go(func() {
			for i := range next {
				_, errs[i] = c.options.Head(ctx, c.sample[i].object)
			}
		})
	}
	for i := range c.sample {
		next <- i
	}
	close(next)
	group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	refusals := map[string]*Warning{}
	for i, err := range errs {
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*objectstore.Error](err)
		if !ok || e.Status == 0 {
			return err
		}
		answer := fmt.Sprintf("%d %s", e.Status, e.Code)
		w := refusals[answer]
		if w == nil {
			at := c.sample[i].at
			w = &Warning{File: c.name(at.file), Line: at.line}
			refusals[answer] = w
		}
		w.Rows++
		w.Text = fmt.Sprintf("of %d sampled whose object answers HEAD with %s", len(c.sample), answer)
	}
	c.report.Sampled = int64(len(c.sample))
	for _, answer := range slices.Sorted(maps.Keys(refusals)) {
		c.report.Warnings = append(c.report.Warnings, *refusals[answer])
	}
	return nil
}
