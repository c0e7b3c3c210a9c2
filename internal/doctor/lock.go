package doctor

import (
	"context"
	"encoding/xml"
	"net/http"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// locking is how long scratch objects are locked at most. They are unlocked at
// the end; should that fail, they can be deleted then.
const locking = 10 * time.Minute

const holdName, retainName = "S3PutObjectLegalHold", "S3PutObjectRetention"

func hold(status job.ObjectLockLegalHoldStatus) job.Operation {
	return job.Operation{S3PutObjectLegalHold: &job.S3PutObjectLegalHold{LegalHold: &job.LegalHold{Status: status}}}
}

func retain(until *time.Time, mode job.ObjectLockMode, bypass *bool) job.Operation {
	return job.Operation{S3PutObjectRetention: &job.S3PutObjectRetention{
		BypassGovernanceRetention: bypass, Retention: &job.Retention{Mode: mode, RetainUntilDate: until},
	}}
}

// doFirst has an operation done before the one that is tried.
func doFirst(op job.Operation) func(context.Context, *exam, *patient) (verdict, bool) {
	return func(ctx context.Context, e *exam, p *patient) (verdict, bool) {
		out, err := e.operate(ctx, op, p.key, p.version)
		if err != nil {
			return failure(err), false
		}
		if out.Failed {
			return untested("cannot be locked first: " + answer(out.HTTPStatus, out.Code)), false
		}
		return verdict{}, true
	}
}

// held reads the legal hold back.
func held(want string) func(context.Context, *exam, *patient, job.Outcome) verdict {
	return func(ctx context.Context, e *exam, p *patient, _ job.Outcome) verdict {
		var answer struct{ Status string }
		if v, ok := e.lockOf(ctx, p, "legal-hold", &answer); !ok {
			return v
		}
		return compare("legal hold", answer.Status, want)
	}
}

// retained reads the retention back; the zero time means none.
func retained(mode string, until time.Time) func(context.Context, *exam, *patient, job.Outcome) verdict {
	return func(ctx context.Context, e *exam, p *patient, _ job.Outcome) verdict {
		var answer struct {
			Mode  string
			Until time.Time `xml:"RetainUntilDate"`
		}
		if v, ok := e.lockOf(ctx, p, "retention", &answer); !ok {
			return v
		}
		switch {
		case answer.Mode != mode:
			return compare("retention", answer.Mode, mode)
		case mode != "" && !answer.Until.Equal(until):
			return ignored("the date is another")
		}
		return works("")
	}
}

// lockOf reads a document about the lock of an object, whose root stores call by
// several names. That there is none is no error. ok is false where v is the verdict.
func (e *exam) lockOf(ctx context.Context, p *patient, query string, into any) (v verdict, ok bool) {
	res := e.call(ctx, objectstore.Request{Method: http.MethodGet, Key: []byte(p.key), VersionID: []byte(p.version), Query: query})
	if res.Code == "NoSuchObjectLockConfiguration" || res.Code == "ObjectLockConfigurationNotFoundError" {
		return verdict{}, true
	}
	if !res.OK() {
		return untested("accepted, but cannot be read back: " + answer(res.Status, res.Code)), false
	}
	if len(res.Body) > 0 && xml.Unmarshal(res.Body, into) != nil { // an empty document for no retention has been seen
		return ignored("what is read back is no such document"), false
	}
	return verdict{}, true
}

// protects tries to delete a version that must not be.
func protects(ctx context.Context, e *exam, p *patient, _ job.Outcome) verdict {
	if p.version == "" {
		return untested("the store tells no version ids")
	}
	res := e.call(ctx, objectstore.Request{Method: http.MethodDelete, Key: []byte(p.key), VersionID: []byte(p.version)})
	if e.get(ctx, p.key, p.version).OK() {
		return works("")
	}
	return ignored("the version could be deleted: " + answer(res.Status, res.Code))
}

func (e *exam) holds(ctx context.Context) {
	e.lockTrials(ctx, holdName, []trial{
		{parameter: "ON", op: hold("ON"), effect: held("ON")},
		{parameter: "ON, deleting", op: hold("ON"), effect: protects},
		{parameter: "OFF", before: doFirst(hold("ON")), op: hold("OFF"), effect: held("OFF")},
		{parameter: "VersionId", op: hold("ON"), old: true, effect: held("ON")},
	})
}

func (e *exam) retentions(ctx context.Context) {
	until := time.Now().UTC().Add(locking).Truncate(time.Second)
	sooner := until.Add(-locking / 2)
	governed := retain(&until, "GOVERNANCE", nil)
	e.lockTrials(ctx, retainName, []trial{
		{parameter: "GOVERNANCE", op: governed, effect: retained("GOVERNANCE", until)},
		{parameter: "GOVERNANCE, deleting", op: governed, effect: protects},
		{parameter: "BypassGovernanceRetention", before: doFirst(governed), op: retain(&sooner, "GOVERNANCE", new(true)), effect: retained("GOVERNANCE", sooner)},
		{parameter: "removal", before: doFirst(governed), op: retain(nil, "", new(true)), effect: retained("", time.Time{})},
		{parameter: "VersionId", op: governed, old: true, effect: retained("GOVERNANCE", until)},
	})
	if ctx.Err() == nil {
		e.find(retainName, "COMPLIANCE", untested("could not be undone"))
	}
}

// lockTrials makes trials that need Object Lock. Where the bucket has none, what a
// job would do is shown by the first: it looks at the bucket before anything else.
func (e *exam) lockTrials(ctx context.Context, name string, trials []trial) {
	e.progress(name)
	for i, t := range trials {
		t.operation = name
		if !e.locked && i > 0 && ctx.Err() == nil {
			e.find(name, t.parameter, untested("the bucket has no Object Lock"))
			continue
		}
		e.try(ctx, &t)
	}
}
