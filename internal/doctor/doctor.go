// Package doctor finds out what an object store can really do for jobs.
//
//	scratch object ─▶ the operation, as a job does it ─▶ its answer
//	       └────────▶ read back: effect there? bytes still the same? ─▶ finding
//
// Many stores answer 200 and do nothing, and some take a call that they do not
// know for new content of the object. So no answer is believed: every effect is
// read back, and so are the bytes. All of it happens to objects of the doctor's
// own, under a reserved prefix, which are deleted again with their versions.
package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// Prefix is where scratch objects are made: that of the probes of jobs.
const Prefix = ".stevedore-probe/"

// A Verdict says what a store does with a request.
type Verdict string

// The verdicts.
const (
	Works     Verdict = "works"     // the effect was read back
	Refused   Verdict = "refused"   // with an error, and without harm
	Ignored   Verdict = "ignored"   // answered as done, but the effect is not there
	Dangerous Verdict = "dangerous" // the bytes of an object, or another object, were changed
	Untested  Verdict = "untested"  // could not be tried here; the detail says why
)

// A Finding is what a store does with one parameter of one operation.
type Finding struct {
	Operation string
	Parameter string `json:",omitzero"` // empty: none but what is required
	Verdict   Verdict
	Code      string `json:",omitzero"` // status and code of a refusal
	Detail    string `json:",omitzero"`
}

// A Check is something that everything else needs.
type Check struct {
	Name   string
	OK     bool
	Detail string `json:",omitzero"`
}

// A Report is all that was found out.
type Report struct {
	Endpoint string
	Bucket   string
	Created  bool // the bucket was made for this, and removed again
	Checks   []Check
	Findings []Finding
	// LeftBehind lists what could not be deleted again.
	LeftBehind []string `json:",omitzero"`
}

// Count says how many findings have a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for i := range r.Findings {
		if r.Findings[i].Verdict == v {
			n++
		}
	}
	return n
}

// A Store is what is examined. *objectstore.Store and *objectstore.Access are such.
type Store interface {
	operation.Client
	operation.Objects
}

// Config says where to look.
type Config struct {
	Endpoint string // for the report
	Region   string // where a bucket is created; empty: wherever the store likes
	Bucket   string
	Create   bool // make Bucket first, with Object Lock if there is such a thing, and remove it at the end
	// KMSKey is the key that encryption is tried with. Empty: none of the store's,
	// which a store that knows its keys must refuse.
	KMSKey string
	// Progress is told what is being tried. It may be nil.
	Progress func(operation string)
}

// noKey is the ARN of a key that nobody has.
const noKey = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"

// CheckError says that the store cannot be examined: one of the first checks has
// failed. The report that comes with it has the checks made so far.
type CheckError struct {
	Check  string
	Status int    // of the answer; 0: there was none
	Code   string // of the store
	Text   string
}

func (e *CheckError) Error() string { return e.Check + ": " + e.Text }

// Examine tries everything. The report is never nil. The error is a *CheckError,
// or says that ctx has ended; what had been made by then is deleted all the same.
func Examine(ctx context.Context, store Store, c Config) (*Report, error) {
	e := &exam{
		store: store, config: c, bucket: c.Bucket, prefix: Prefix + strings.ToLower(rand.Text()[:12]) + "/",
		report: &Report{Endpoint: c.Endpoint, Bucket: c.Bucket}, written: map[written]bool{},
	}
	err := e.admit(ctx)
	if err == nil {
		for _, part := range []func(context.Context){
			e.reading, e.keys, e.taggings, e.copies, e.acls, e.holds, e.retentions, e.restores,
			e.checksums, e.encryptions, e.replications, e.functions,
		} {
			if ctx.Err() != nil {
				break
			}
			part(ctx)
		}
		err = context.Cause(ctx)
	}
	e.discharge(ctx)
	return e.report, err
}

// Steps is how often Config.Progress is called in an examination that comes to its
// end.
const Steps = 14

// exam is one examination.
type exam struct {
	store  Store
	config Config
	bucket string
	prefix string // of all keys, but for some odd ones that have a slash before it
	report *Report

	versioned bool // the bucket keeps versions
	locked    bool // it has Object Lock
	serial    int  // of the last scratch object

	mu      sync.Mutex // an operation may send several requests at once
	written map[written]bool
	deletes objectstore.Result // the last answer to DeleteObjects, without its body
}

// written is an object that was made, or may have been.
type written struct{ key, version string }

// Do sends a request and takes note of what it may have made. The operations
// under examination go through it.
func (e *exam) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	noted := *req
	noted.KeepHeader = true
	e.store.Do(ctx, &noted, res)
	e.mu.Lock()
	defer e.mu.Unlock()
	if req.OnBucket {
		if req.Query == "delete" {
			e.deletes = objectstore.Result{Status: res.Status, Code: res.Code, Attempts: res.Attempts}
		}
		return
	}
	if req.Method == "PUT" || req.Method == "POST" || req.Method == "DELETE" {
		e.written[written{string(req.Key), header(res, "x-amz-version-id")}] = true
	}
}

// header is the value of a header of an answer.
func header(res *objectstore.Result, name string) string {
	h := objectstore.Head{Header: res.Header}
	return h.Get(name)
}

// call sends one request of the doctor's own.
func (e *exam) call(ctx context.Context, req objectstore.Request) *objectstore.Result {
	if req.Bucket == "" {
		req.Bucket = e.bucket
	}
	res := new(objectstore.Result)
	e.Do(ctx, &req, res)
	return res
}

func (e *exam) find(operation, parameter string, v verdict) {
	e.report.Findings = append(e.report.Findings, Finding{
		Operation: operation, Parameter: parameter, Verdict: v.is, Code: v.code, Detail: v.detail,
	})
}

func (e *exam) progress(operation string) {
	if e.config.Progress != nil {
		e.config.Progress(operation)
	}
}

// verdict is a Verdict with its reason.
type verdict struct {
	is           Verdict
	code, detail string
}

func works(detail string) verdict     { return verdict{is: Works, detail: detail} }
func ignored(detail string) verdict   { return verdict{is: Ignored, detail: detail} }
func dangerous(detail string) verdict { return verdict{is: Dangerous, detail: detail} }
func untested(detail string) verdict  { return verdict{is: Untested, detail: detail} }

// refused is the verdict on an answer that is an error.
func refused(res *objectstore.Result) verdict {
	if res.Status == 0 {
		return untested("no answer: " + res.Code)
	}
	return verdict{is: Refused, code: answer(res.Status, res.Code)}
}

// wait ends at a time, or with ctx.
func wait(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// unreadable is the verdict where an effect cannot be read back.
func unreadable(err error) verdict {
	if e, ok := errors.AsType[*objectstore.Error](err); ok {
		return untested("accepted, but cannot be read back: " + answer(e.Status, e.Code))
	}
	return untested("accepted, but cannot be read back: " + err.Error())
}
