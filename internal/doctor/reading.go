package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// reading tries what jobs rely on when they read.
func (e *exam) reading(ctx context.Context) {
	const name = "reading"
	e.progress(name)
	p := e.scratch("read")
	if res := e.put(ctx, p); !res.OK() {
		e.find(name, "", untested("the object cannot be made: "+answer(res.Status, res.Code)))
		return
	}
	with := func(header, value string) *objectstore.Result {
		return e.call(ctx, objectstore.Request{
			Method: http.MethodGet, Key: []byte(p.key), Headers: []objectstore.Header{{Name: header, Value: value}},
		})
	}
	must := func(res *objectstore.Result, status int) verdict {
		switch {
		case res.Status == status:
			return works("")
		case res.OK():
			return ignored("")
		}
		return refused(res)
	}
	e.find(name, "If-Match", must(with("if-match", `"00000000000000000000000000000000"`), http.StatusPreconditionFailed))
	res := with("range", "bytes=3-7")
	v := must(res, http.StatusPartialContent)
	if v.is == Works && string(res.Body) != p.content[3:8] {
		v = dangerous("other bytes than those asked for")
	}
	e.find(name, "Range", v)
	e.find(name, "x-amz-expected-bucket-owner", must(with("x-amz-expected-bucket-owner", "000000000000"), http.StatusForbidden))
	e.find(name, "checksum of the writer", e.summed(ctx))
	if !e.versioned {
		e.find(name, "versions", untested("the bucket keeps no versions"))
		return
	}
	newer := &patient{key: p.key, content: "newer " + p.content}
	e.put(ctx, newer)
	v = works("")
	if string(e.get(ctx, p.key, p.version).Body) != p.content || string(e.get(ctx, p.key, "").Body) != newer.content {
		v = ignored("the older version cannot be read")
	}
	e.find(name, "versions", v)
}

// summed writes an object with its checksum, which is to be kept, and another
// with a wrong one, which is to be refused.
func (e *exam) summed(ctx context.Context) verdict {
	const name = "x-amz-checksum-sha256"
	sum := func(s string) objectstore.Header {
		sum := sha256.Sum256([]byte(s))
		return objectstore.Header{Name: name, Value: base64.StdEncoding.EncodeToString(sum[:])}
	}
	p := e.scratch("summed")
	right := sum(p.content)
	if res := e.put(ctx, p, right); !res.OK() {
		return refused(res)
	}
	if v := heads(name, right.Value)(ctx, e, p, job.Outcome{}); v.is != Works {
		return v
	}
	if e.put(ctx, e.scratch("missummed"), sum("other bytes")).OK() {
		return ignored("a wrong one is not refused")
	}
	return works("")
}
