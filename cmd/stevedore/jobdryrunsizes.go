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
	Bytes   int64 // of all objects: about, unless every row was sampled
}

// picks are rows of a manifest, each set of them with the same chance, or all
// rows if there are no more. They are chosen while the chunks of the manifest go by.
type picks struct {
	most  int
	rows  int64 // that went by
	picks []pick

	// With more rows than picks, as in Li's algorithm L: the row to come that takes the place
	// of a pick, and the largest of the random numbers that the picks would have.
	next    int64
	largest float64
}

// pick is a row of a chunk.
type pick struct {
	chunk job.Chunk
	row   int64 // in the chunk, from 0
}

func newPicks(n int) *picks { return &picks{most: n, largest: 1} }

// offer takes notice of a chunk.
func (p *picks) offer(c job.Chunk) {
	first := p.rows
	p.rows += c.Rows
	for p.next < p.rows && p.most > 0 {
		at := pick{c, p.next - first}
		if len(p.picks) < p.most {
			p.picks = append(p.picks, at)
		} else {
			p.picks[rand.IntN(p.most)] = at
		}
		p.next++
		if len(p.picks) == p.most {
			p.skip()
		}
	}
}

// skip passes over the rows that take nobody's place.
func (p *picks) skip() {
	const far = 1 << 62 // rows, which no manifest has

	random := func() float64 { return 1 - rand.Float64() } // of (0, 1]: it has a logarithm
	p.largest *= math.Exp(math.Log(random()) / float64(p.most))
	if rows := math.Log(random()) / math.Log1p(-p.largest); rows < far {
		p.next = min(p.next+int64(rows), far)
	} else {
		p.next = far
	}
}

// estimate looks at the objects that were picked.
func (p *picks) estimate(ctx context.Context, src *source.Source, r *rehearsal, tasks int64) (*sizeEstimate, error) {
	const sideBySide = 16
	slices.SortFunc(p.picks, func(a, b pick) int {
		return cmp.Or(cmp.Compare(a.chunk.First, b.chunk.First), cmp.Compare(a.row, b.row))
	})
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
	estimate := &sizeEstimate{Sampled: len(p.picks), Missing: int(missing.Load()), Bytes: total.Load()}
	if n := int64(len(p.picks)); n < tasks {
		estimate.Bytes = int64(math.Round(float64(total.Load()) / float64(n) * float64(tasks)))
	}
	return estimate, nil
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
