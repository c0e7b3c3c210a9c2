package doctor

import (
	"context"
	"strings"

	"stevedore/internal/job"
)

// oddKey is a key that a store may take for another: what follows the prefix, and
// what of that it could be taken for.
type oddKey struct {
	name, key, other string
	lead             bool // a slash goes before everything
}

func oddKeys(prefix string) []oddKey {
	long := strings.Repeat("0123456789abcde/", 64)
	return []oddKey{
		{name: "spaces", key: "a b"},
		{name: "plus", key: "a+b", other: "a b"},
		{name: "percent", key: "per%41cent", other: "perAcent"},
		{name: "reserved characters", key: `?a=b&c#d;'"<>`, other: "?a=b"},
		{name: "beyond ASCII", key: "größe/日本語"},
		{name: "backslash", key: `back\slash`, other: "back/slash"},
		{name: "slash twice", key: "double//slash", other: "double/slash"},
		{name: "slash at the beginning", key: "lead", other: "lead", lead: true},
		{name: "slash at the end", key: "tail/", other: "tail"},
		{name: "..", key: "dots/../up", other: "up"},
		{name: ".", key: "mid/./dot", other: "mid/dot"},
		{name: "control character", key: "ctl\x01", other: "ctl"},
		{name: "1,024 bytes", key: long[:1024-len(prefix)-1] + "z"},
		{name: "300 bytes without a slash", key: strings.Repeat("k", 300)},
	}
}

// keys puts and tags objects with odd keys, beside those that they could be taken
// for: these must stay as they are.
func (e *exam) keys(ctx context.Context) {
	e.progress("keys")
	for _, k := range oddKeys(e.prefix) {
		if ctx.Err() != nil {
			return
		}
		e.find("keys", k.name, e.odd(ctx, k))
	}
}

func (e *exam) odd(ctx context.Context, k oddKey) verdict {
	p := &patient{key: e.prefix + k.key, content: "odd: " + k.name}
	if k.lead {
		p.key = "/" + p.key
	}
	put := e.put(ctx, p)
	var other *patient
	if k.other != "" {
		// The other object comes second: a store that keeps files may not have both.
		other = &patient{key: e.prefix + k.other, content: "other"}
		if string(e.get(ctx, other.key, "").Body) == p.content {
			return dangerous("writes the object " + shown(k) + " instead")
		}
		if !e.put(ctx, other).OK() {
			other = nil
		}
	}
	op := job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "odd", Value: "key"}}}}
	out, err := e.operate(ctx, op, p.key, "")
	if other != nil {
		if tags, err := e.tags(ctx, e.object(&patient{key: other.key})); err == nil && tags != "" {
			return dangerous("treats the object " + shown(k) + " instead")
		}
	}
	switch res := e.get(ctx, p.key, ""); {
	case !put.OK():
		return refused(put)
	case other != nil && string(res.Body) == other.content:
		return dangerous("is written instead of the object " + shown(k))
	case string(res.Body) != p.content:
		return ignored("cannot be read back")
	case err != nil:
		return failure(err)
	case out.Failed:
		return verdict{is: Refused, code: answer(out.HTTPStatus, out.Code), detail: "tagging"}
	}
	if tags, err := e.tags(ctx, e.object(&patient{key: p.key})); err == nil && tags != "odd=key" {
		return ignored("cannot be tagged")
	}
	return works("")
}

// shown is the key that another is taken for.
func shown(k oddKey) string {
	if k.lead {
		return "without the slash"
	}
	return k.other
}
