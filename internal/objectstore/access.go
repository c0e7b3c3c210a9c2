package objectstore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A Client carries requests: a *Store, an *Access, or what stands before one.
type Client interface {
	// Do sends req and tells in res what came of it, see [Store.Do]. It may be called concurrently; req is only read.
	Do(ctx context.Context, req *Request, res *Result)
}

// Access is what one role may reach: a store for every bucket. Every call goes to the store of its bucket, so whoever
// has an Access need not know that there may be several. It is safe for any number of goroutines. It does not own its
// stores: closing them is for who made them.
type Access struct {
	rest     *Store
	named    map[string]*Store
	patterns []route  // the most specific first
	limiter  *Limiter // nil: none
}

// A route leads the buckets that match a pattern to a store.
type route struct {
	pattern string
	store   *Store
}

// NewAccess returns an Access that leads a bucket to the store of routes under its name, else under the most specific
// pattern that matches, else to rest. In a pattern "*" stands for any characters; specific is what has the most others.
func NewAccess(rest *Store, routes map[string]*Store) (*Access, error) {
	a := &Access{rest: rest, named: make(map[string]*Store)}
	var problems []error
	if rest == nil {
		problems = append(problems, errors.New("routes: no store for the buckets that have no route"))
	}
	for pattern, store := range routes {
		switch {
		case pattern == "" || store == nil:
			problems = append(problems, errors.New("routes: want a bucket and a store, got \""+pattern+"\""))
		case strings.Contains(pattern, "*"):
			a.patterns = append(a.patterns, route{pattern, store})
		default:
			a.named[pattern] = store
		}
	}
	slices.SortFunc(a.patterns, func(p, q route) int {
		literals := func(r route) int { return len(r.pattern) - strings.Count(r.pattern, "*") }
		return cmp.Or(cmp.Compare(literals(q), literals(p)), cmp.Compare(p.pattern, q.pattern))
	})
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return a, nil
}

// For returns the store of a bucket.
func (a *Access) For(bucket string) *Store {
	if len(a.named) > 0 {
		if s, ok := a.named[bucket]; ok {
			return s
		}
	}
	for i := range a.patterns {
		if matches(a.patterns[i].pattern, bucket) {
			return a.patterns[i].store
		}
	}
	return a.rest
}

// Credentials are those that the store of all buckets without a route is asked with.
func (a *Access) Credentials() aws.CredentialsProvider { return a.rest.credentials }

// Same reports whether two buckets are behind the same endpoint, so that the store can copy from one to the other
// itself. Whether the credentials for one may read the other is for the store to say.
func (a *Access) Same(one, other string) bool {
	if one == other {
		return true
	}
	p, q := a.For(one), a.For(other)
	return p == q || p.endpoint.url() == q.endpoint.url()
}

// matches reports whether name is what pattern describes.
func matches(pattern, name string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part) // the first is the best: it leaves the most for what follows
		if at < 0 {
			return false
		}
		name, rest = name[at+len(part):], after
	}
}

// Limited returns an Access to the same stores for the tasks of one job: it keeps to the limits of l, and what its Open,
// Head and Versioning ask waits for its turn as the requests of Do. So does a stream of its Open: it has a place among the
// requests in flight until its last byte was read, or it is closed. Whoever reads one must not wait for another request
// meanwhile: there may be room for one only.
func (a *Access) Limited(l *Limiter) *Access {
	limited := *a
	limited.limiter = l
	return &limited
}

// Do is [Store.Do] on the store of req's bucket. A copy goes to where its destination is.
func (a *Access) Do(ctx context.Context, req *Request, res *Result) {
	a.For(req.Bucket).do(ctx, req, res, a.limiter)
}

// Head is [Store.Head].
func (a *Access) Head(ctx context.Context, o Object) (Info, error) {
	h, err := head(ctx, a, o)
	return h.Info, err
}

// Open is [Store.Open]. With limits the stream counts among the requests in flight, see [Access.Limited].
func (a *Access) Open(ctx context.Context, o Object, offset, length int64) (io.ReadCloser, Info, error) {
	return a.For(o.Bucket).open(ctx, o, offset, length, a.limiter)
}

// Put is [Store.Put].
func (a *Access) Put(ctx context.Context, in PutInput) (etag string, err error) {
	return a.For(in.Bucket).Put(ctx, in)
}

// Delete is [Store.Delete].
func (a *Access) Delete(ctx context.Context, bucket, key string) error {
	return a.For(bucket).Delete(ctx, bucket, key)
}

// List is [Store.List].
func (a *Access) List(ctx context.Context, bucket, prefix string) iter.Seq2[string, error] {
	return a.For(bucket).List(ctx, bucket, prefix)
}

// Versioning is [Store.Versioning].
func (a *Access) Versioning(ctx context.Context, bucket string) (string, error) {
	return versioning(ctx, a, bucket)
}
