package operation

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/lambda"
	"stevedore/internal/objectstore"
)

// A Guard keeps a job from objects that its manifest does not name. There are
// stores that take a key for that of another object: keys are paths there, and
// "a//b", "/a", "./a" and "x/../a" are found under "a/b" and "a". A task on such a
// key would answer well and change the other object.
//
// What a store does is found out with an object of our own, once per bucket, and
// only if such a key comes up. A bucket where none can be made is trusted.
//
// As a Client it looks at the keys that are written to, which for a copy are not
// those of the manifest.
type Guard struct {
	client Client
	facts  buckets[folded]
}

// NewGuard returns a Guard over c.
func NewGuard(c Client) *Guard { return &Guard{client: c} }

// OnObjects reports whether the tasks of op are about objects of a store. Keys for
// a function of the user are any text.
func OnObjects(op job.Operation) bool {
	if op.LambdaInvoke == nil {
		return true
	}
	name, ok := lambda.ParseName(op.LambdaInvoke.FunctionArn)
	return ok && strings.HasPrefix(name.Function, lambda.Reserved)
}

// The ways in which a key can be odd.
const (
	doubleSlash = 1 << iota // an empty segment in the middle
	leadingSlash
	dotSegment
	parentSegment
	trailingSlash
)

// folded is the set of odd ways that a store takes for plain ones.
type folded int

// codeAliased is the error code of a task whose key means another object.
const codeAliased = "KeyAliased"

// Refuses reports whether a task on key would act on another object, or bucket can be the name of none, and puts
// into out how it ended then. An error means that it has no outcome.
func (g *Guard) Refuses(ctx context.Context, bucket string, key []byte, out *job.Outcome) (bool, error) {
	if Misnamed(bucket, out) {
		return true, nil
	}
	ways := oddity(key)
	if ways == 0 {
		return false, nil
	}
	var res objectstore.Result
	refused, err := g.refuses(ctx, bucket, key, ways, &res)
	if refused {
		*out = outcomeOf(&res)
	}
	return refused, err
}

// Misnamed reports whether bucket can be the name of none, and puts into out how a task on an object in it ends.
func Misnamed(bucket string, out *job.Outcome) bool {
	if objectstore.MayBeBucket(bucket) {
		return false
	}
	*out = job.Outcome{
		Failed: true, HTTPStatus: http.StatusBadRequest, Code: "InvalidBucketName",
		Message: "The specified bucket is not valid: " + limit(bucket, 64) + ". Are the columns of the manifest in the order of its Fields?",
	}
	return true
}

// Do implements Client.
func (g *Guard) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		if ways := oddity(req.Key); ways != 0 && !bytes.HasPrefix(req.Key, []byte(probePrefix)) {
			refused, err := g.refuses(ctx, req.Bucket, req.Key, ways, res)
			if refused {
				return
			}
			if err != nil { // there is no time left to find out: an ended context makes that the result
				ended, cancel := context.WithCancel(ctx)
				cancel()
				ctx = ended
			}
		}
	}
	g.client.Do(ctx, req, res)
}

func (g *Guard) refuses(ctx context.Context, bucket string, key []byte, ways folded, res *objectstore.Result) (bool, error) {
	found, err := g.facts.get(ctx, bucket, func(ctx context.Context) (*folded, error) { return g.ask(ctx, bucket) })
	switch e, failed := errors.AsType[*resultError](err); {
	case failed && !cutOff(err):
		*res = e.Result
		return true, nil
	case err != nil:
		return false, err
	}
	ways &= *found
	if ways == trailingSlash { // a folder, unless there is an object of its name
		head := objectstore.Request{Method: http.MethodHead, Bucket: bucket, Key: bytes.TrimRight(key, "/")}
		var plain objectstore.Result
		g.client.Do(ctx, &head, &plain)
		if plain.Status == http.StatusNotFound {
			return false, nil
		}
		if plain.Interrupted() {
			return false, &resultError{plain}
		}
	}
	if ways == 0 {
		return false, nil
	}
	*res = objectstore.Result{
		Status: http.StatusBadRequest, Code: codeAliased, Attempts: 1,
		Message: "The store takes this key for that of another object, since it folds slashes and dots. Nothing was done.",
	}
	return true, nil
}

// ask finds out what the store of a bucket does with odd keys.
func (g *Guard) ask(ctx context.Context, bucket string) (*folded, error) {
	id := rand.Text()
	p := &probe{
		client: g.client, content: []byte("stevedore probe " + id),
		object: objectstore.Object{Bucket: bucket, Key: probePrefix + id},
	}
	defer p.remove(ctx)
	if err := p.write(ctx); err != nil {
		if e, ok := errors.AsType[*resultError](err); ok && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests {
			return new(folded), nil // nothing may be written here: the store is trusted
		}
		return nil, err
	}
	var found folded
	for _, query := range []string{"", "tagging"} { // some calls fold what others do not
		if there, err := g.there(ctx, bucket, probePrefix+rand.Text(), query); err != nil || there {
			if err != nil {
				return nil, err
			}
			continue // this call finds what does not exist: it tells nothing
		}
		for way, odd := range map[folded]string{
			doubleSlash:   strings.Replace(p.object.Key, "/", "//", 1),
			leadingSlash:  "/" + p.object.Key,
			dotSegment:    strings.Replace(p.object.Key, "/", "/./", 1),
			parentSegment: strings.Replace(p.object.Key, "/", "/x/../", 1),
			trailingSlash: p.object.Key + "/",
		} {
			there, err := g.there(ctx, bucket, odd, query)
			if err != nil {
				return nil, err
			}
			if there {
				found |= way
			}
		}
	}
	return &found, nil
}

// there reports whether a GET finds a key.
func (g *Guard) there(ctx context.Context, bucket, key, query string) (bool, error) {
	req := objectstore.Request{Method: http.MethodGet, Bucket: bucket, Key: []byte(key), Query: query}
	var res objectstore.Result
	g.client.Do(ctx, &req, &res)
	if res.Interrupted() || res.Status == 0 || res.Status >= 500 && res.Status != http.StatusNotImplemented {
		return false, &resultError{res}
	}
	return res.OK(), nil
}

// oddity returns the ways in which a key is odd; most are in none.
func oddity(key []byte) folded {
	var ways folded
	if len(key) > 0 && key[0] == '/' {
		ways |= leadingSlash
	}
	if len(key) > 1 && key[len(key)-1] == '/' {
		ways |= trailingSlash
	}
	if !bytes.Contains(key, []byte("/")) {
		if string(key) == "." || string(key) == ".." {
			return dotSegment | parentSegment
		}
		return ways
	}
	for i, segment := range segments(key) {
		switch string(segment) {
		case "":
			if i > 0 {
				ways |= doubleSlash
			}
		case ".":
			ways |= dotSegment
		case "..":
			ways |= parentSegment
		}
	}
	return ways
}

// segments yields the segments of a key but for an empty last one.
func segments(key []byte) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		rest := bytes.TrimSuffix(key, []byte("/"))
		for i := 0; ; i++ {
			segment, after, more := bytes.Cut(rest, []byte("/"))
			if !yield(i, segment) || !more {
				return
			}
			rest = after
		}
	}
}
