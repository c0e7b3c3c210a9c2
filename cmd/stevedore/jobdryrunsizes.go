package main

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// sizeEstimate is what the sizes of some objects say about all.
type sizeEstimate struct {
	Sampled int   // rows
	Missing int   // of them, whose object is not there
	Bytes   int64 // of all objects, about
}

// picks are rows of a manifest, each of them any row with the same chance. They
// are chosen while the chunks of the manifest go by.
type picks struct {
	rows  int64 // that went by
	picks []pick
}

// pick is a row of a chunk.
type pick struct {
	chunk job.Chunk
	row   int64 // in the chunk, from 0
}

func newPicks(n int) *picks { return &picks{picks: make([]pick, n)} }

// offer takes notice of a chunk.
func (p *picks) offer(c job.Chunk) {
	p.rows += c.Rows
	for i := range p.picks {
		if row := rand.Int64N(p.rows); row < c.Rows {
			p.picks[i] = pick{c, row}
		}
	}
}

// estimate looks at the objects that were picked.
func (p *picks) estimate(ctx context.Context, src *source.Source, r *rehearsal, tasks int64) (*sizeEstimate, error) {
	const sideBySide = 16
	slices.SortFunc(p.picks, func(a, b pick) int {
		return cmp.Or(cmp.Compare(a.chunk.First, b.chunk.First), cmp.Compare(a.row, b.row))
	})
	p.picks = slices.Compact(p.picks) // there may be fewer rows than picks
	var total, missing atomic.Int64
	g, heads := errgroup.WithContext(ctx)
	g.SetLimit(sideBySide)
	for from := 0; from < len(p.picks); {
		to := from + 1
		for to < len(p.picks) && p.picks[to].chunk.First == p.picks[from].chunk.First {
			to++
		}
		err := eachPick(heads, src, p.picks[from:to], func(o objectstore.Object) error {
			if keeps, err := r.keepsVersions(ctx, o.Bucket); err != nil {
				return err
			} else if !keeps {
				o.VersionID = ""
			}
			g.Go(func() error {
				info, err := r.client.Head(heads, o)
				switch {
				case objectstore.NotFound(err):
					missing.Add(1)
				case err != nil:
					return err
				}
				total.Add(info.Size)
				return nil
			})
			return nil
		})
		if err != nil {
			return nil, errors.Join(g.Wait(), err)
		}
		from = to
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	mean := float64(total.Load()) / float64(max(len(p.picks), 1))
	return &sizeEstimate{Sampled: len(p.picks), Missing: int(missing.Load()), Bytes: int64(math.Round(mean * float64(tasks)))}, nil
}

// eachPick calls do for rows of one chunk, in their order.
func eachPick(ctx context.Context, src *source.Source, of []pick, do func(o objectstore.Object) error) error {
	chunk := of[0].chunk
	rows, err := src.Open(ctx, chunk.File, chunk.ETag, manifest.Position{Offset: chunk.Offset, Line: chunk.Line}, manifest.Position{Offset: chunk.End})
	if err != nil {
		return err
	}
	var row manifest.Row
	at := int64(-1)
	for _, p := range of {
		for at < p.row && rows.Next(&row) {
			at++
		}
		if at < p.row {
			break
		}
		if err := do(objectstore.Object{Bucket: string(row.Bucket), Key: string(row.Key), VersionID: string(row.VersionID)}); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}
