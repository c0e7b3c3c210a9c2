//go:build stores

package stores

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// trial is one job over a few objects of its own, and what must come of it.
type trial struct {
	operation, parameter string

	in       string                     // the bucket; default "plain". All but that one keep versions.
	versions version                    // what the manifest names
	size     int                        // of the objects, in bytes; default: a few
	large    bool                       // of the objects: above the limit of CopyObject
	put      func(*s3.PutObjectInput)   // how the objects are made
	setup    func(*world) error         // before there are objects; what it returns makes the trial n/a
	before   func(*world, object) error // done to each object

	op func(w *world, prefix string) types.JobOperation

	// effect reads back what became of an object. It returns errNothing if all is
	// as it was before, errUnreadable if the store does not tell, and another error
	// if it is something else. r is its row.
	effect func(w *world, o object, prefix string, r row) error
	// elsewhere: the effect is not on the object itself.
	elsewhere bool
	// gone: the object does not exist afterwards.
	gone bool
	// refusal is the code a task must end with; then there is no effect.
	refusal []string
	// failure is the code that the job must fail with, before any task.
	failure string
}

// unproved reports whether nothing shows in the objects that the job could be held
// to: it has to fail, or it only reads.
func (tr *trial) unproved() bool {
	return tr.failure != "" || tr.refusal != nil || tr.large || tr.operation == "LambdaInvoke" || tr.operation == "S3ComputeObjectChecksum"
}

// version is which version of an object the manifest names.
type version int

const (
	none    version = iota
	old             // there is a newer one, which must be left alone
	current         // there is an older one, which must be left alone
)

var (
	errNothing    = errors.New("nothing has changed")
	errUnreadable = errors.New("cannot be read back")
)

// subject is one object of a trial.
type subject struct {
	object        // as the manifest names it
	other  object // another version of it, if there is one
	newest object // what is there without a version
}

// try runs a trial and says what came of it. Whatever that is, no other bytes may
// be in the objects afterwards. The job gets the tags.
func (w *world) try(t *testing.T, n int, tr trial, tags ...types.S3Tag) cell {
	t.Helper()
	ctx := t.Context()
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
	if tr.large {
		tr.size = w.copyLimit + 5<<20
	}
	prefix := fmt.Sprintf("trial%03d", n)
	var subjects []subject
	for _, key := range []string{"plain.txt", "a b+c%é.txt"} {
		s, err := w.subject(ctx, tr, prefix+"/"+key)
		if err != nil {
			return absent.with(reason(err))
		}
		subjects = append(subjects, s)
	}
	var objects []object
	for _, s := range subjects {
		objects = append(objects, s.object)
	}
	if tr.failure != "" { // enough for several to be at it at once
		for i := range 1500 {
			objects = append(objects, object{bucket: tr.in, key: fmt.Sprintf("%s/none/%d", prefix, i)})
		}
	}
	e, err := w.run(ctx, tr.op(w, prefix), objects, tags...)
	var result cell
	if err != nil {
		result = wrong.with(reason(err))
	} else {
		result = w.judge(tr, prefix, subjects, e)
	}
	for _, s := range subjects {
		for _, o := range []object{s.object, s.other, s.newest} {
			if o.key == "" || tr.gone && (o.version == s.version || tr.in == "plain") && result.worth() >= emulated.worth() {
				continue
			}
			if damage := w.damaged(ctx, o); damage != "" {
				t.Errorf("%s %s destroys data: %s version %q %s", tr.operation, tr.parameter, o.key, o.version, damage)
				result = wrong.with("destroys data: " + damage)
			}
		}
	}
	return result
}

// subject makes an object, in a bucket with versions two of it.
func (w *world) subject(ctx context.Context, tr trial, key string) (s subject, err error) {
	body := func(s string) string { return s + " " + key + strings.Repeat(".", tr.size) }
	first, err := w.put(ctx, tr.in, key, body("first"), tr.put)
	if err != nil && tr.put != nil { // the store has no such objects: see what the job makes of others
		tr.put = nil
		first, err = w.put(ctx, tr.in, key, body("first"), nil)
	}
	if err != nil {
		return s, err
	}
	s.object = first
	if tr.in != "plain" {
		second, err := w.put(ctx, tr.in, key, body("second"), tr.put)
		if err != nil {
			return s, err
		}
		s.object, s.other = second, first
		if tr.versions == old {
			s.object, s.other = first, second
		}
	}
	s.newest = object{bucket: tr.in, key: key, etag: first.etag, body: []byte(body("first"))}
	if tr.in != "plain" {
		s.newest.body = []byte(body("second"))
	}
	if tr.before != nil {
		if err := tr.before(w, s.object); err != nil {
			return s, err
		}
	}
	if tr.versions == none {
		s.version = ""
	}
	return s, nil
}

// verified runs a trial once more in a job that has its effects read back, and c
// is what came of it before: a task whose effect is not there has to fail now, and
// a task whose effect is there must not. It is told of unless the latter holds.
func (w *world) verified(t *testing.T, n int, tr trial, c cell) (v cell, tell bool) {
	t.Helper()
	verify := types.S3Tag{Key: aws.String("stevedore:verify"), Value: aws.String("all")}
	switch c.word() {
	case ignored, wrong:
		tr.refusal = []string{"VerificationFailed"}
		return w.try(t, n, tr, verify), true
	case works, emulated:
		if !tr.unproved() {
			v = w.try(t, n, tr, verify)
			return v, v.worth() < c.worth()
		}
	}
	return "", false
}

// damaged says what is wrong with the bytes of an object, if anything.
func (w *world) damaged(ctx context.Context, o object) string {
	body, err := w.get(ctx, o)
	switch {
	case err != nil && strings.Contains(reason(err), "InvalidObjectState"): // archived
		h, err := w.head(ctx, o)
		if err != nil || o.version != "" && aws.ToString(h.ETag) != o.etag {
			return fmt.Sprintf("is archived and has another ETag: %v", err)
		}
	case err != nil:
		return "cannot be read: " + reason(err)
	case !bytes.Equal(body, o.body):
		return fmt.Sprintf("holds %d bytes, had %d: %.60q", len(body), len(o.body), body)
	}
	return ""
}

// judge says what a job came to.
func (w *world) judge(tr trial, prefix string, subjects []subject, e end) cell {
	switch {
	case e.status != types.JobStatusComplete && e.code == "NotImplemented":
		return notYet.with(e.why)
	case e.status != types.JobStatusComplete && tr.failure != "" && e.code == tr.failure:
		if e.tasks > 0 {
			return works.with(fmt.Sprintf("the job fails with %s, after %d tasks", e.code, e.tasks))
		}
		return works.with("the job fails with " + e.code)
	case e.status != types.JobStatusComplete:
		return refused.with(fmt.Sprintf("the job fails with %s: %s", e.code, e.why))
	case tr.failure != "":
		return ignored.with("the job should fail with " + tr.failure)
	}
	result := works
	for i, s := range subjects {
		c := w.judgeTask(tr, prefix, s, e.rows[name(s.object)])
		if i == 0 || c.worth() < result.worth() {
			result = c
		}
	}
	return result
}

func (w *world) judgeTask(tr trial, prefix string, s subject, r row) cell {
	answer := strings.TrimSpace(r.http + " " + r.code)
	switch {
	case r.status == "failed" && slices.Contains(tr.refusal, r.code):
		return works.with(answer)
	case r.status == "failed":
		return refused.with(answer + explained(tr, r))
	case r.status != "succeeded":
		return wrong.with(fmt.Sprintf("row %q", r))
	case tr.refusal != nil:
		return ignored.with("want " + tr.refusal[0])
	}
	switch err := tr.effect(w, s.object, prefix, r); {
	case errors.Is(err, errNothing):
		return ignored
	case errors.Is(err, errUnreadable):
		return ignored.with(err.Error())
	case err != nil:
		return wrong.with(err.Error())
	}
	if s.other.key != "" && !tr.elsewhere {
		if err := tr.effect(w, s.other, prefix, r); !errors.Is(err, errNothing) {
			return wrong.with(fmt.Sprintf("the other version was changed: %v", err))
		}
	}
	if way, ok := strings.CutPrefix(r.message, "Successful"); ok && way != "" {
		return emulated.with(strings.Trim(way, " ()"))
	}
	return works
}

// explained is the message of a failed task where the code does not say enough.
func explained(tr trial, r row) string {
	switch r.code {
	case "PermanentFailure", "BadRequest", "InvalidRequest", "InternalError":
		return ", " + r.message
	}
	if tr.operation == "S3UpdateObjectEncryption" || tr.operation == "S3ReplicateObject" { // ours
		return ", " + r.message
	}
	return ""
}
