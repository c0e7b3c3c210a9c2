package doctor

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// patient is a scratch object. Where old is set it has an older version, too,
// and that is the one to be treated.
type patient struct {
	key     string
	content string
	version string // "" where the bucket keeps none
	old     *patient
}

// target is the version that an operation is to treat.
func (p *patient) target() *patient {
	if p.old != nil {
		return p.old
	}
	return p
}

// scratch names a new scratch object.
func (e *exam) scratch(name string) *patient {
	e.serial++
	key := fmt.Sprintf("%s%03d-%s", e.prefix, e.serial, name)
	return &patient{key: key, content: "scratch object of stevedore doctor, " + key}
}

// put writes an object.
func (e *exam) put(ctx context.Context, p *patient, headers ...objectstore.Header) *objectstore.Result {
	res := e.call(ctx, objectstore.Request{Method: http.MethodPut, Key: []byte(p.key), Body: objectstore.NewBody([]byte(p.content)), Headers: headers})
	p.version = header(res, "x-amz-version-id")
	return res
}

// get reads an object, which must be small.
func (e *exam) get(ctx context.Context, key, version string) *objectstore.Result {
	return e.call(ctx, objectstore.Request{Method: http.MethodGet, Key: []byte(key), VersionID: []byte(version)})
}

// intact reads a version back. The reason is "" if its bytes are those that were
// written, or cannot be read since they are in an archive.
func (e *exam) intact(ctx context.Context, p *patient) (reason string) {
	switch res := e.get(ctx, p.key, p.version); {
	case res.OK() && string(res.Body) == p.content, res.Code == "InvalidObjectState", res.Status == 0:
		return ""
	case res.OK():
		return "the object has other bytes now"
	default:
		return "the object cannot be read any more: " + answer(res.Status, res.Code)
	}
}

// operate does an operation on a version, as a job does it.
func (e *exam) operate(ctx context.Context, op job.Operation, key, version string) (job.Outcome, error) {
	var out job.Outcome
	o, err := operation.New(op, operation.Env{Client: e, Objects: e.store, Job: &job.Job{Account: "123456789012", ID: "doctor"}})
	if err == nil {
		t := operation.Task{Bucket: e.bucket, Key: []byte(key), RawKey: []byte(key), VersionID: []byte(version)}
		err = o.Do(ctx, &t, operation.NewScratch(), &out)
	}
	return out, err
}

// trial is one operation with one parameter.
type trial struct {
	operation, parameter string
	op                   job.Operation
	put                  []objectstore.Header // how the scratch object is written
	before               func(ctx context.Context, e *exam, p *patient) (verdict, bool)
	old                  bool // treat an old version
	two                  bool // there is an old version, but the current one is treated, without its id
	// effect reads back what the operation should have done to a version.
	effect func(ctx context.Context, e *exam, p *patient, out job.Outcome) verdict
}

// try makes a trial and notes what came of it.
func (e *exam) try(ctx context.Context, t *trial) {
	if ctx.Err() != nil {
		return
	}
	v := e.judge(ctx, t)
	if ctx.Err() == nil {
		e.find(t.operation, t.parameter, v)
	}
}

func (e *exam) judge(ctx context.Context, t *trial) verdict {
	p, v, ok := e.prepare(ctx, t)
	if !ok {
		return v
	}
	target := p.target()
	out, err := e.operate(ctx, t.op, target.key, given(p))
	// The bytes first: whatever the answer was, this is the worst that can be.
	for q := p; q != nil; q = q.old {
		if reason := e.intact(ctx, q); reason != "" {
			return dangerous(reason)
		}
	}
	if err != nil {
		return failure(err)
	}
	if out.Failed {
		return verdict{is: Refused, code: answer(out.HTTPStatus, out.Code)}
	}
	v = t.effect(ctx, e, target, out)
	if p.old != nil && v.is == Ignored && t.old {
		current := *p
		current.old = nil
		if e.versioned && t.effect(ctx, e, &current, out).is == Works {
			return dangerous("the current version was changed instead")
		}
	}
	return v
}

// given is the version id that the task names.
func given(p *patient) string {
	if p.old != nil {
		return p.old.version
	}
	return ""
}

// failure is the verdict on a job that failed as a whole.
func failure(err error) verdict {
	if f, ok := errors.AsType[*job.FailedError](err); ok {
		return verdict{is: Refused, code: f.Reason.FailureCode, detail: f.Reason.FailureReason}
	}
	return untested(err.Error())
}

// prepare writes the scratch object of a trial.
func (e *exam) prepare(ctx context.Context, t *trial) (*patient, verdict, bool) {
	p := e.scratch("object")
	var old *patient
	if t.old || t.two {
		if !e.versioned {
			return nil, untested("the bucket keeps no versions"), false
		}
		old = &patient{key: p.key, content: p.content + ", old version"}
		if res := e.put(ctx, old, t.put...); !res.OK() {
			return nil, untested("the object cannot be made: " + answer(res.Status, res.Code)), false
		}
	}
	if res := e.put(ctx, p, t.put...); !res.OK() {
		return nil, untested("the object cannot be made: " + answer(res.Status, res.Code)), false
	}
	if t.old {
		if old.version == "" || old.version == p.version {
			return nil, untested("the store tells no version ids"), false
		}
		p.old = old
	}
	if t.before != nil {
		if v, ok := t.before(ctx, e, p.target()); !ok {
			return nil, v, false
		}
	}
	return p, verdict{}, true
}

// object is how package objectstore names p.
func (e *exam) object(p *patient) objectstore.Object {
	return objectstore.Object{Bucket: e.bucket, Key: p.key, VersionID: p.version}
}

// tags are those of an object, as one text, sorted.
func (e *exam) tags(ctx context.Context, o objectstore.Object) (string, error) {
	document, err := objectstore.GetTagging(ctx, e, o)
	if s, ok := errors.AsType[*objectstore.Error](err); ok && s.Code == "NoSuchTagSet" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var answer struct {
		XMLName xml.Name  `xml:"Tagging"`
		Tags    []job.Tag `xml:"TagSet>Tag"`
	}
	if err := xml.Unmarshal(document, &answer); err != nil {
		return "", fmt.Errorf("read tags: %w", err)
	}
	return tagText(answer.Tags), nil
}

// tagText is tags as one text, sorted.
func tagText(tags []job.Tag) string {
	m := map[string]string{}
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+m[k])
	}
	return strings.Join(list, "&")
}

// heads reads a header of an object back and compares it.
func heads(name string, want ...string) func(context.Context, *exam, *patient, job.Outcome) verdict {
	return func(ctx context.Context, e *exam, p *patient, _ job.Outcome) verdict {
		h, err := objectstore.HeadFull(ctx, e, e.object(p))
		if err != nil {
			return unreadable(err)
		}
		return compare(name, h.Get(name), want...)
	}
}

// compare is the verdict on a value that was read back; no want means any.
func compare(name, got string, want ...string) verdict {
	switch {
	case len(want) == 0 && got != "", slices.Contains(want, got):
		return works("")
	case got == "":
		return ignored("no " + name)
	}
	return ignored(fmt.Sprintf("%s is %q", name, got))
}
