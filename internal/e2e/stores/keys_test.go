//go:build stores

package stores

import (
	"context"
	"fmt"
	"net/http"
	"slices"
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
		record("S3PutObjectTagging", keys+k.label, c)
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
		record("S3PutObjectCopy", keys+k.label, c)
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

// ofEachOperation are the plain trials, those of the functions that change
// objects, and the replication that all stores have.
func ofEachOperation(all []trial) (list []trial) {
	seen := map[string]bool{}
	for _, tr := range all {
		if !seen[tr.operation] || tr.operation == "LambdaInvoke" && tr.in == "" || tr.in == "configured" {
			list = append(list, tr)
		}
		seen[tr.operation] = true
	}
	return list
}

// tryOddKeys runs one trial on objects with odd keys below a prefix, beside those
// that they could be taken for, which must not be touched.
func (w *world) tryOddKeys(t *testing.T, n int, tr trial) cell {
	t.Helper()
	ctx := t.Context()
	tr.before = nil
	if tr.in == "" {
		tr.in = "plain"
	}
	if why, ok := w.without[tr.in]; ok {
		return absent.with("no such bucket: " + why)
	}
	if tr.setup != nil {
		if err := tr.setup(w); err != nil {
			return absent.with(reason(err))
		}
	}
	prefix := fmt.Sprintf("odd%02d", n)
	type pair struct {
		label      string
		odd, other subject
		there      bool
	}
	var pairs []pair
	for _, k := range oddKeyList() {
		p := pair{label: k.label}
		key := prefix + "/" + k.key
		if over := len(copied(object{key: key}, prefix).key) - 1024; over > 0 { // the copy has the longest
			key = prefix + "/" + strings.TrimLeft(k.key[over:], "/")
		}
		p.odd.object = object{bucket: tr.in, key: key}
		if s, err := w.subject(ctx, tr, key); err == nil {
			p.odd = s
			p.there = w.holds(ctx, tr.in, key) == string(s.newest.body) || w.damaged(ctx, s.newest) == ""
		}
		pairs = append(pairs, p)
	}
	for i, k := range oddKeyList() { // after all of the odd ones: this is what they may be taken for
		if k.other == "" {
			continue
		}
		s, err := w.subject(ctx, tr, prefix+"/"+k.other)
		if err != nil {
			return absent.with(reason(err))
		}
		pairs[i].other = s
	}
	var objects []object
	for i, p := range pairs {
		p.there = p.there && w.damaged(ctx, p.odd.newest) == ""
		if !p.there {
			p.odd.version = ""
		}
		pairs[i] = p
		objects = append(objects, p.odd.object)
	}
	if tr.versions != none { // every row needs one
		objects = nil
		pairs = slices.DeleteFunc(pairs, func(p pair) bool { return !p.there })
		for _, p := range pairs {
			objects = append(objects, p.odd.object)
		}
	}
	e, err := w.run(ctx, tr.op(w, prefix), objects)
	if err != nil || e.status != types.JobStatusComplete {
		return wrong.with(fmt.Sprintf("the job fails with %s: %s %v", e.code, e.why, err))
	}
	there, result := 0, works
	for _, p := range pairs {
		r := e.rows[name(p.odd.object)]
		c := works
		if p.there {
			there++
			c = w.judgeTask(tr, prefix, subject{object: p.odd.object}, r)
			if damage := w.damaged(ctx, p.odd.newest); damage != "" && (!tr.gone || r.status != "succeeded") {
				c = wrong.with("destroys data: " + damage)
				t.Errorf("%s %s, key %s: %s", tr.operation, tr.parameter, p.label, c)
			}
		} else if r.status != "failed" && !tr.gone { // what is not there counts as deleted, as for S3
			c = wrong.with("there is no such object, and the task says " + r.status)
		}
		if p.other.key != "" {
			if what := w.touched(ctx, tr, prefix, p.other); what != "" {
				c = wrong.with(what)
				t.Errorf("%s %s, key %s: %s", tr.operation, tr.parameter, p.label, c)
			}
		}
		if c.worth() < result.worth() {
			_, why, _ := strings.Cut(string(c), ": ")
			result = c.word().with(strings.TrimSpace(p.label + " " + why))
		}
	}
	if result.word() == works || result.word() == emulated {
		result = result.word().with(fmt.Sprintf("%d of %d keys, the store has no others", there, len(oddKeyList())))
		if there == len(oddKeyList()) {
			result = result.word().with(fmt.Sprintf("all %d keys", there))
		}
	}
	return result
}

// touched says what a job has done to an object that its manifest does not name.
func (w *world) touched(ctx context.Context, tr trial, prefix string, s subject) string {
	if damage := w.damaged(ctx, s.newest); damage != "" {
		return "destroys `" + s.key + "`: " + damage
	}
	if !tr.elsewhere {
		if err := tr.effect(w, s.object, prefix, row{}); err == nil {
			return "changes `" + s.key + "` instead"
		}
	}
	for _, made := range []object{copied(s.object, prefix), {bucket: "replica", key: s.key}} {
		if w.holds(ctx, made.bucket, made.key) != "" {
			return "makes `" + made.bucket + "/" + made.key + "` instead"
		}
	}
	return ""
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
