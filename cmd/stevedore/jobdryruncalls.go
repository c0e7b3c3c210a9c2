package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// wouldBe is what a task would do.
type wouldBe struct {
	Bucket    string
	Key       string   // decoded
	VersionID string   `json:"VersionId,omitempty"`
	Calls     []string // that change something, such as "PUT s3://photos/a.jpg?tagging  Environment=prod"
	Outcome   string   `json:",omitempty"` // of a task that comes to its end without one
}

// maxCalls bounds what is noted of one task.
const maxCalls = 5

// recorder is a client of the store that sends what only reads, and of all else
// notes that it would be sent; its answer to that is a success without a body.
type recorder struct {
	*objectstore.Access

	calls []string
}

// Do implements operation.Client.
func (r *recorder) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		r.Access.Do(ctx, req, res)
		return
	}
	if len(r.calls) < maxCalls {
		r.calls = append(r.calls, callText(req))
	}
	*res = objectstore.Result{Status: http.StatusOK, Attempts: 1}
}

// callText is a request on one line.
func callText(req *objectstore.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s s3://%s/%s", req.Method, req.Bucket, req.Key)
	query := req.Query
	if len(req.VersionID) > 0 {
		query = strings.TrimPrefix(query+"&versionId="+string(req.VersionID), "&")
	}
	if query != "" {
		b.WriteString("?" + query)
	}
	sep := "  "
	for _, part := range slices.Concat(headerTexts(req.Headers), leaves(req.Body.Bytes)) {
		b.WriteString(sep + part)
		sep = " "
	}
	return b.String()
}

// headerTexts are the headers that say what is to be done.
func headerTexts(headers []objectstore.Header) (texts []string) {
	for _, h := range headers {
		if strings.HasPrefix(h.Name, "x-amz-") {
			texts = append(texts, h.Name+"="+h.Value)
		}
	}
	return texts
}

// leaves are the elements of a document that hold text, a key and its value as one.
func leaves(document []byte) (texts []string) {
	var name, key string
	d := xml.NewDecoder(strings.NewReader(string(document)))
	for {
		token, err := d.Token()
		if err != nil { // the end, or no XML: then there is nothing to say
			return texts
		}
		switch t := token.(type) {
		case xml.StartElement:
			name = t.Name.Local
		case xml.CharData:
			value := string(t)
			switch {
			case name == "" || strings.TrimSpace(value) == "":
			case name == "Key":
				key = value
			case name == "Value":
				texts = append(texts, key+"="+value)
				key = ""
			default:
				texts = append(texts, name+"="+value)
			}
		case xml.EndElement:
			if t.Name.Local == "Tag" && key != "" { // of an empty value
				texts = append(texts, key+"=")
				key = ""
			}
			name = ""
		}
	}
}

// rehearsal tells what the tasks of a job would do, as far as that can be told
// without doing it.
type rehearsal struct {
	client    *recorder
	operation operation.Operation
	objects   bool   // tasks are about objects of a store
	ahead     string // what they would do if they cannot be rehearsed; %s is the object
	versions  bool   // the manifest has version ids
	keeps     map[string]bool
}

// rehearse prepares for the tasks of a job. The error is a *job.FailedError if no
// task of it can succeed.
func rehearse(account string, spec *job.Spec, access *objectstore.Access) (*rehearsal, error) {
	r := &rehearsal{client: &recorder{Access: access}, objects: operation.OnObjects(spec.Operation), keeps: map[string]bool{}}
	op, err := operation.New(spec.Operation, operation.Env{
		Client: r.client, Objects: access, Job: &job.Job{Account: account, Spec: *spec},
	})
	if err != nil {
		return nil, err
	}
	r.operation = op
	switch o := spec.Operation; {
	case o.S3ComputeObjectChecksum != nil: // which would read all of every object
		r.ahead = "GET %s  and sum it up"
	case o.S3UpdateObjectEncryption != nil: // which finds out first, with an object of its own, what the store knows
		r.ahead = "PUT %s?encryption, or a copy onto itself  KMSKeyArn=" + o.S3UpdateObjectEncryption.ObjectEncryption.SSEKMS.KMSKeyArn
	case o.LambdaInvoke != nil:
		if !r.objects {
			r.ahead = "invoke " + o.LambdaInvoke.FunctionArn + " with %s"
		}
	}
	return r, nil
}

// check looks at the bucket of the first row, as the server does before it lets
// tasks run. A *job.FailedError says that none could succeed.
func (r *rehearsal) check(ctx context.Context, bucket string) error {
	if p, ok := r.operation.(operation.Prechecker); ok && r.ahead == "" {
		return p.Precheck(ctx, bucket)
	}
	return nil
}

// task tells what the task of a row would do.
func (r *rehearsal) task(ctx context.Context, row *manifest.Row) (wouldBe, error) {
	w := wouldBe{Bucket: string(row.Bucket), Key: string(row.Key), VersionID: string(row.VersionID)}
	t := operation.Task{Bucket: w.Bucket, Key: row.Key, RawKey: row.RawKey, VersionID: row.VersionID}
	var out job.Outcome
	if r.objects && operation.Misnamed(w.Bucket, &out) {
		w.Outcome = failure(&out)
		return w, nil
	}
	if r.versions {
		keeps, err := r.keepsVersions(ctx, w.Bucket)
		switch {
		case err != nil:
			return w, err
		case !keeps:
			t.VersionID, w.VersionID = nil, ""
		case len(t.VersionID) == 0:
			w.Outcome = "fails: 400 InvalidRequest: " + missingVersion
			return w, nil
		}
	}
	if r.ahead != "" {
		object := "s3://" + w.Bucket + "/" + w.Key
		if w.VersionID != "" {
			object += "?versionId=" + w.VersionID
		}
		w.Calls = []string{fmt.Sprintf(r.ahead, object)}
		return w, nil
	}
	r.client.calls = nil
	err := r.operation.Do(ctx, &t, operation.NewScratch(), &out)
	w.Calls = r.client.calls
	switch {
	case len(w.Calls) > 0: // what comes behind was made of our own answers
		return w, nil
	case err != nil:
		return w, err
	case out.Failed:
		w.Outcome = failure(&out)
	default:
		w.Outcome = "changes nothing: " + out.Message
	}
	return w, nil
}

// failure is the outcome of a task that would fail.
func failure(out *job.Outcome) string {
	return fmt.Sprintf("fails: %d %s: %s", out.HTTPStatus, out.Code, out.Message)
}

// keepsVersions reports whether version ids are used in a bucket, as tasks see it.
func (r *rehearsal) keepsVersions(ctx context.Context, bucket string) (bool, error) {
	if keeps, ok := r.keeps[bucket]; ok {
		return keeps, nil
	}
	status, err := r.client.Versioning(ctx, bucket)
	keeps := status != ""
	switch {
	case err == nil:
	case objectstore.NotFound(err):
	case objectstore.AccessDenied(err), objectstore.NotImplemented(err):
		keeps = true // a task takes it so, too
	default:
		return false, err
	}
	r.keeps[bucket] = keeps
	return keeps, nil
}
