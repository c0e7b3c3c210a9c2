package operation

import (
	"context"
	"encoding/xml"
	"net/http"
	"sync/atomic"
	"unicode/utf8"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

const (
	// maxDelete is how many objects S3 takes in one DeleteObjects.
	maxDelete = 1000
	// maxDeleteAnswer bounds the answer that a DeleteObjects is expected to get, in
	// bytes: Client reads no more than a MiB.
	maxDeleteAnswer = 900 << 10
	// deletedEntry is what an entry of that answer has beside key and version id.
	deletedEntry = 512
)

// confirmDelete is what a job must say, since what it does cannot be undone.
const confirmDelete = "permanently delete"

// deleteObject deletes objects, or the versions that the manifest names, for
// good: with DeleteObjects, or one by one where the store has no such call.
type deleteObject struct {
	client Client
	single atomic.Bool // the store has no DeleteObjects
}

func newDeleteObject(args map[string]string, env Env) (Operation, error) {
	if err := unknownArgument(deleteObjectFunction, args, func(name string) bool { return name == "confirm" }); err != nil {
		return nil, err
	}
	if args["confirm"] != confirmDelete {
		return nil, refuse("InvalidRequest", deleteObjectFunction+` needs the user argument "confirm":"`+confirmDelete+`", and so InvocationSchemaVersion 2.0`)
	}
	return &deleteObject{client: env.Client}, nil
}

// Do deletes one object.
func (o *deleteObject) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	s.req = objectstore.Request{Method: http.MethodDelete, Bucket: t.Bucket, Key: t.Key, VersionID: t.VersionID}
	if err := s.do(ctx, o.client, out); err != nil {
		return err
	}
	if gone(out) {
		*out = job.Outcome{HTTPStatus: http.StatusOK, Message: success, Attempts: out.Attempts}
	}
	return nil
}

// gone reports whether an object was not deleted because it is not there. S3
// takes that for success, and so must a task that is done again after a crash.
func gone(out *job.Outcome) bool {
	return out.Failed && (out.Code == "NoSuchKey" || out.Code == "NoSuchVersion")
}

// Batch implements Batcher.
func (o *deleteObject) Batch() int { return maxDelete }

// DoBatch implements Batcher.
func (o *deleteObject) DoBatch(ctx context.Context, tasks []Task, s *Scratch, outs []job.Outcome) error {
	for len(tasks) > 0 {
		n := o.together(tasks)
		var err error
		if n > 1 {
			err = o.deleteTogether(ctx, tasks[:n], s, outs[:n])
		} else {
			n = 1
			err = o.Do(ctx, &tasks[0], s, &outs[0])
		}
		if err != nil {
			return err
		}
		tasks, outs = tasks[n:], outs[n:]
	}
	return nil
}

// together is how many of the first tasks one request can delete. Odd keys go by
// themselves: there are stores that refuse them everywhere but in DeleteObjects,
// which deletes another object, and a Guard cannot know that.
func (o *deleteObject) together(tasks []Task) int {
	if o.single.Load() {
		return 1
	}
	answer := 0
	for i := range tasks {
		t := &tasks[i]
		answer += 2*len(t.Key) + len(t.VersionID) + deletedEntry // some characters take more room in XML
		if i == maxDelete || t.Bucket != tasks[0].Bucket || answer > maxDeleteAnswer || !inXML(t.Key) || !inXML(t.VersionID) || oddity(t.Key) != 0 {
			return i
		}
	}
	return len(tasks)
}

// inXML reports whether an XML document can carry s so that every reader gets the
// same back. Line breaks are among what it cannot.
func inXML(s []byte) bool {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRune(s[i:])
		if r < ' ' || r == utf8.RuneError && size == 1 || r == 0xfffe || r == 0xffff || '\u007f' <= r && r <= '\u009f' || r == '\u2028' {
			return false
		}
		i += size
	}
	return true
}

// deleted is the answer to DeleteObjects.
type deleted struct {
	XMLName xml.Name                          `xml:"DeleteResult"`
	Deleted []struct{ Key, VersionId string } //nolint:revive // the API's spelling
	Errors  []struct {
		Key, VersionId string //nolint:revive // the API's spelling
		Code, Message  string
	} `xml:"Error"`
}

// deleteTogether deletes tasks of one bucket with one request. Whatever the answer
// does not settle is deleted by a request of its own.
func (o *deleteObject) deleteTogether(ctx context.Context, tasks []Task, s *Scratch, outs []job.Outcome) error {
	s.req = objectstore.Request{
		Method: http.MethodPost, Bucket: tasks[0].Bucket, OnBucket: true, Query: "delete",
		Body: deleteBody(tasks), ErrorIn200: true,
	}
	var whole job.Outcome
	if err := s.do(ctx, o.client, &whole); err != nil {
		return err
	}
	var answer deleted
	switch {
	case whole.Failed && (whole.HTTPStatus == http.StatusNotImplemented || whole.HTTPStatus == http.StatusMethodNotAllowed):
		o.single.Store(true)
	case whole.Failed && (whole.HTTPStatus >= 500 || whole.HTTPStatus == http.StatusTooManyRequests || whole.Code == "NoSuchBucket"):
		for i := range outs { // it was tried often enough, or would be the same for each
			outs[i] = whole
		}
		return nil
	case whole.Failed:
		// It may have been the request that was refused, and not the deleting.
	default:
		if xml.Unmarshal(s.res.Body, &answer) != nil {
			answer = deleted{}
		}
	}
	settled := answer.outcomes(whole.Attempts)
	for i := range tasks {
		out, ok := settled[string(tasks[i].Key)+"\x00"+string(tasks[i].VersionID)]
		switch {
		case !ok, out.Failed && retried(out.Code):
			if err := o.Do(ctx, &tasks[i], s, &outs[i]); err != nil {
				return err
			}
			outs[i].Attempts += whole.Attempts
		case gone(&out):
			outs[i] = job.Outcome{HTTPStatus: http.StatusOK, Message: success, Attempts: whole.Attempts}
		default:
			outs[i] = out
		}
	}
	return nil
}

// retried reports whether an object of a batch met with what a request of its own
// would be repeated for.
func retried(code string) bool {
	switch code {
	case "InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted":
		return true
	}
	return false
}

// statusOfDelete is the status that a request of its own would have had: in the
// answer to a batch stands only the code.
func statusOfDelete(code string) int {
	switch code {
	case "AccessDenied", "AllAccessDisabled":
		return http.StatusForbidden
	case "NoSuchKey", "NoSuchVersion", "NoSuchBucket":
		return http.StatusNotFound
	case "MethodNotAllowed":
		return http.StatusMethodNotAllowed
	case "InternalError":
		return http.StatusInternalServerError
	case "NotImplemented":
		return http.StatusNotImplemented
	case "SlowDown", "ServiceUnavailable":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// outcomes are those that the answer tells of, by key, a zero byte and version id.
func (d *deleted) outcomes(attempts int) map[string]job.Outcome {
	m := make(map[string]job.Outcome, len(d.Deleted)+len(d.Errors))
	for _, e := range d.Deleted {
		m[e.Key+"\x00"+e.VersionId] = job.Outcome{HTTPStatus: http.StatusOK, Message: success, Attempts: attempts}
	}
	for _, e := range d.Errors {
		r := objectstore.Result{Status: statusOfDelete(e.Code), Code: e.Code, Message: e.Message, Attempts: attempts}
		m[e.Key+"\x00"+e.VersionId] = outcomeOf(&r)
	}
	return m
}

// deleteBody is the document for DeleteObjects. Quiet is spelt out: only with it
// false does the store tell of every object.
func deleteBody(tasks []Task) objectstore.Body {
	d := newDocument("Delete")
	for i := range tasks {
		d.WriteString("<Object>")
		d.text("Key", string(tasks[i].Key))
		d.optional("VersionId", string(tasks[i].VersionID))
		d.WriteString("</Object>")
	}
	d.text("Quiet", "false")
	return d.body("Delete")
}
