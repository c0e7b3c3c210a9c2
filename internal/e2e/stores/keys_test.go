//go:build stores

package stores

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"stevedore/internal/objectstore"
)

// oddKey is a key that stores may take for another.
type oddKey struct {
	label, key string
	other      string // the other, if there is a likely one
}

func oddKeyList() []oddKey {
	return []oddKey{
		{"`a b`", "a b", ""},
		{"`plus+`", "plus+", "plus "},
		{"`per%41cent`", "per%41cent", "perAcent"},
		{"`größe/日本語`", "größe/日本語", ""},
		{"`?a=b&c#d`", "?a=b&c#d", ""},
		{"`'\"<&>`", "'\"<&>", ""},
		{"`back\\slash`", `back\slash`, "back/slash"},
		{"`double//slash`", "double//slash", "double/slash"},
		{"`/lead`", "/lead", "lead"},
		{"`dots/../up`", "dots/../up", "up"},
		{"`./dot`", "./dot", "dot"},
		{"`mid/./dot`", "mid/./dot", "mid/dot"},
		{"`tail/`", "tail/", "tail"},
		{"with a newline", "new\nline", "new"},
		{"with the byte 01", "ctl\x01", "ctl"},
		{"of 1,024 bytes", strings.Repeat("0123456789abcde/", 63) + strings.Repeat("z", 16), ""},
		{"of 1,024 bytes without a slash", strings.Repeat("k", 1024), ""},
	}
}

// call sends one request with a key as it is.
func (w *world) call(ctx context.Context, method, bucket, key, query string, body []byte) *objectstore.Result {
	res := new(objectstore.Result)
	w.lean.Do(ctx, &objectstore.Request{Method: method, Bucket: bucket, Key: []byte(key), Query: query, Body: objectstore.NewBody(body)}, res)
	return res
}

// holds returns what is in an object, "" if it is not there.
func (w *world) holds(ctx context.Context, bucket, key string) string {
	res := w.call(ctx, http.MethodGet, bucket, key, "", nil)
	if !res.OK() {
		return ""
	}
	return string(res.Body)
}

func (w *world) tagged(ctx context.Context, bucket, key string) bool {
	return strings.Contains(string(w.call(ctx, http.MethodGet, bucket, key, "tagging", nil).Body), "<Value>odd-keys</Value>")
}

// oddKeys tags and copies objects with odd keys, beside those that they could be
// taken for: these must not be touched.
func (w *world) oddKeys(t *testing.T, record func(operation, parameter string, c cell)) {
	t.Helper()
	ctx := t.Context()
	list := oddKeyList()
	var objects []object
	there := map[string]bool{}
	for _, k := range list {
		objects = append(objects, object{bucket: "odd", key: k.key})
		w.call(ctx, http.MethodPut, "odd", k.key, "", []byte("odd "+k.key))
	}
	for _, k := range list { // after all of the odd ones: this is what they may be taken for
		if k.other != "" {
			w.call(ctx, http.MethodPut, "odd", k.other, "", []byte("other "+k.other))
			w.call(ctx, http.MethodPut, "oddtarget", k.other, "", []byte("other target "+k.other))
		}
	}
	for _, k := range list {
		there[k.key] = w.holds(ctx, "odd", k.key) == "odd "+k.key
	}

	e, err := w.run(ctx, types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{TagSet: s3tags("by", "odd-keys")}}, objects)
	if err != nil || e.status != types.JobStatusComplete {
		t.Errorf("tagging odd keys: %+v, %v", e, err)
		return
	}
	for i, k := range list {
		r := e.rows[name(objects[i])]
		alias := k.other != "" && w.tagged(ctx, "odd", k.other)
		c := oddCell(k, r, there[k.key], alias, w.tagged(ctx, "odd", k.key))
		if alias {
			t.Errorf("tagging %q: %s", k.key, c)
		}
		record("S3PutObjectTagging", "key "+k.label, c)
	}

	e, err = w.run(ctx, types.JobOperation{S3PutObjectCopy: &types.S3CopyObjectOperation{TargetResource: aws.String("arn:aws:s3:::oddtarget")}}, objects)
	if err != nil || e.status != types.JobStatusComplete {
		t.Errorf("copying odd keys: %+v, %v", e, err)
		return
	}
	for i, k := range list {
		r := e.rows[name(objects[i])]
		alias := false
		if k.other != "" {
			held := w.holds(ctx, "oddtarget", k.other)
			alias = held != "" && held != "other target "+k.other
		}
		c := oddCell(k, r, there[k.key], alias, w.holds(ctx, "oddtarget", k.key) == "odd "+k.key)
		if alias {
			t.Errorf("copying %q: %s", k.key, c)
		}
		record("S3PutObjectCopy", "key "+k.label, c)
	}
	for _, k := range list {
		if got := w.holds(ctx, "odd", k.other); k.other != "" && got != "" && got != "other "+k.other {
			t.Errorf("%q holds %q now", k.other, got)
		}
		if got := w.holds(ctx, "odd", k.key); there[k.key] && got != "odd "+k.key {
			t.Errorf("%q holds %q now", k.key, got)
		}
	}
}

// oddCell says what a task on an odd key came to: there tells whether the store
// has the object at all, alias whether another was changed, done whether it has
// the effect.
func oddCell(k oddKey, r row, there, alias, done bool) cell {
	switch {
	case alias:
		return wrong.with(fmt.Sprintf("changes `%s` instead, and says %s", k.other, r.status))
	case r.status == "succeeded" && there && done:
		return works
	case r.status == "succeeded":
		return wrong.with("says it has succeeded, and nothing has happened")
	case r.status == "failed" && there:
		return refused.with(strings.TrimSpace(r.http + " " + r.code))
	case r.status == "failed":
		return refused.with(fmt.Sprintf("no such keys, %s %s", r.http, r.code))
	}
	return wrong.with(fmt.Sprintf("row %q", r))
}

// noProbes makes sure that nothing is left of the objects that jobs have made to
// find out what the store can do.
func (w *world) noProbes(t *testing.T) {
	t.Helper()
	for _, bucket := range []string{"plain", "versioned", "locked"} {
		if w.without[bucket] != "" {
			continue
		}
		out, err := w.s3.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: aws.String(".stevedore-probe/")})
		if err != nil || len(out.Versions)+len(out.DeleteMarkers) > 0 {
			t.Errorf("left in %s: %+v, %v", bucket, out, err)
		}
	}
}
