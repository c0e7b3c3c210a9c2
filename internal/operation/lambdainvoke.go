package operation

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/job"
	"stevedore/internal/lambda"
	"stevedore/internal/objectstore"
)

// Functions are what LambdaInvoke can call. lambda.Functions are those.
type Functions interface {
	// Check says, with an *lambda.Error, why account cannot call a function.
	Check(function, account string) error
	// Invoke calls a function and waits for its answer. soft ends the waiting for
	// a free place, hard the call. The error is an *lambda.Error, or says that
	// there is no answer because a context ended.
	Invoke(soft, hard context.Context, c lambda.Call) (lambda.Answer, error)
}

const (
	// invocations is how often a task is given to a function that answers with
	// TemporaryFailure, or is not reached.
	invocations = 5
	// The wait before invocation n+1 is up to redriveBase*2^(n-1), at most redriveCap.
	redriveBase = time.Second
	redriveCap  = 30 * time.Second
	// maxResult bounds what is kept of a result string, in bytes. It may be a
	// document, so it is longer than what a store has to say of a failure.
	maxResult = 8 << 10
)

// The codes of LambdaInvoke, in answers and in the report.
const (
	succeeded        = "Succeeded"
	temporaryFailure = "TemporaryFailure"
	permanentFailure = "PermanentFailure"
)

const invalidPayload = "Invalid JSON returned in Lambda payload"

// lambdaInvoke calls a function for every object, one task a call (operations.md
// section 11).
type lambdaInvoke struct {
	functions Functions
	soft      context.Context //nolint:containedctx // of the job, not of a call
	function  string
	account   string
	job       invocationJob
	v2        bool
	role      aws.CredentialsProvider // nil: not known
}

// newLambda returns a function that is built in, or else the calling of one. The
// error is a *job.FailedError.
func newLambda(p *job.LambdaInvoke, env Env) (Operation, error) {
	name, ok := lambda.ParseName(p.FunctionArn)
	if !ok {
		return nil, refuse("InvalidRequest", "FunctionArn names no function")
	}
	if strings.HasPrefix(name.Function, lambda.Reserved) {
		return newBuiltin(name.Function, p.UserArguments, env)
	}
	o := &lambdaInvoke{
		functions: env.Functions, soft: env.Soft, function: p.FunctionArn,
		v2: p.InvocationSchemaVersion == "2.0", job: invocationJob{UserArguments: p.UserArguments},
		role: env.Credentials,
	}
	if o.soft == nil {
		o.soft = context.Background()
	}
	if env.Job != nil {
		o.account, o.job.ID = env.Job.Account, env.Job.ID
	}
	if o.functions == nil {
		return o, nil // asked only whether there is such an operation
	}
	if err := o.functions.Check(o.function, o.account); err != nil {
		e, ok := errors.AsType[*lambda.Error](err)
		if !ok {
			return nil, err
		}
		return nil, refuse(e.Code, e.Message)
	}
	return o, nil
}

// refuse fails a job no task of which can succeed.
func refuse(code, text string) *job.FailedError {
	return &job.FailedError{Reason: job.Fail(code, text), Err: errors.New(text)}
}

// request is the JSON that a function gets, of either schema.
type request struct {
	SchemaVersion string        `json:"invocationSchemaVersion"`
	InvocationID  string        `json:"invocationId"`
	Job           invocationJob `json:"job"`
	Tasks         [1]any        `json:"tasks"`
}

type invocationJob struct {
	ID            string            `json:"id"`
	UserArguments map[string]string `json:"userArguments,omitempty"` // 2.0 only
}

type taskV1 struct {
	TaskID    string  `json:"taskId"`
	Key       string  `json:"s3Key"` // URL-encoded
	VersionID *string `json:"s3VersionId"`
	BucketARN string  `json:"s3BucketArn"`
}

type taskV2 struct {
	TaskID    string  `json:"taskId"`
	Key       string  `json:"s3Key"` // URL-encoded
	VersionID *string `json:"s3VersionId"`
	Bucket    string  `json:"s3Bucket"`
}

// response is the JSON that a function answers with.
type response struct {
	SchemaVersion      string   `json:"invocationSchemaVersion"`
	TreatMissingKeysAs string   `json:"treatMissingKeysAs"`
	InvocationID       string   `json:"invocationId"`
	Results            []result `json:"results"`
}

type result struct {
	TaskID       string `json:"taskId"`
	ResultCode   string `json:"resultCode"`
	ResultString string `json:"resultString"`
}

func (o *lambdaInvoke) Do(ctx context.Context, t *Task, _ *Scratch, out *job.Outcome) error {
	if o.functions == nil {
		return refuse("ResourceNotFoundException", "Function not found: "+o.function)
	}
	req := o.request(t)
	for attempt := 1; ; attempt++ {
		req.InvocationID = opaqueID() // new with every redrive
		payload, err := json.Marshal(req)
		if err != nil {
			return fmt.Errorf("compose invocation: %w", err)
		}
		answer, err := o.functions.Invoke(o.soft, ctx, lambda.Call{Function: o.function, Account: o.account, Payload: payload, Credentials: o.role})
		var again bool
		var after time.Duration
		var end job.Outcome
		if err == nil {
			end, again = o.outcome(&req, answer)
		} else {
			e, ok := errors.AsType[*lambda.Error](err)
			if !ok {
				return err
			}
			end, again, after = unreached(e), e.Temporary, e.After
		}
		if !again || attempt == invocations {
			end.Attempts = attempt
			*out = end
			return nil
		}
		if err := o.pause(ctx, attempt, after); err != nil {
			return err
		}
	}
}

// pause waits before another invocation, at least for after, within bounds.
func (o *lambdaInvoke) pause(ctx context.Context, attempt int, after time.Duration) error {
	limit := min(redriveBase<<(attempt-1), redriveCap)
	timer := time.NewTimer(max(mathrand.N(limit), min(after, redriveCap)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-o.soft.Done():
		return context.Cause(o.soft)
	}
}

// request is the invocation for t, but for its id.
func (o *lambdaInvoke) request(t *Task) request {
	req := request{SchemaVersion: "1.0", Job: o.job}
	key := string(t.RawKey)
	if key == "" {
		// As %20 and %2B both kinds of decoders read it.
		key = string(objectstore.AppendPath(nil, t.Key))
	}
	var version *string
	if len(t.VersionID) > 0 {
		version = new(string(t.VersionID))
	}
	if o.v2 {
		req.SchemaVersion = "2.0"
		req.Tasks[0] = taskV2{opaqueID(), key, version, t.Bucket}
	} else {
		// Functions take what stands behind the last colon.
		req.Tasks[0] = taskV1{opaqueID(), key, version, "arn:aws:s3:::" + t.Bucket}
	}
	return req
}

func (r *request) taskID() string {
	switch t := r.Tasks[0].(type) {
	case taskV1:
		return t.TaskID
	case taskV2:
		return t.TaskID
	}
	return ""
}

// opaqueID is an id that is used once: a function may only echo it.
func opaqueID() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// outcome reads what a function has answered; again says that it may do better
// the next time.
func (o *lambdaInvoke) outcome(req *request, answer lambda.Answer) (_ job.Outcome, again bool) {
	if answer.Error != "" {
		return failed(permanentFailure, "Lambda returned function error: "+string(answer.Payload)), false
	}
	var said response
	// Not every service marks the failure of a function: an answer that is none is a failed invocation.
	if json.Unmarshal(answer.Payload, &said) != nil || said.Results == nil ||
		said.SchemaVersion != req.SchemaVersion || said.InvocationID != req.InvocationID {
		return failed(permanentFailure, invalidPayload), false
	}
	got, ok := said.of(req.taskID())
	if !ok {
		return failed(permanentFailure, invalidPayload), false
	}
	switch got.ResultCode {
	case succeeded:
		return job.Outcome{HTTPStatus: http.StatusOK, Message: limit(got.ResultString, maxResult)}, false
	case temporaryFailure:
		return failed(temporaryFailure, got.ResultString), true
	case permanentFailure:
		return failed(permanentFailure, got.ResultString), false
	default:
		return failed(permanentFailure, invalidPayload), false
	}
}

// of is the result for a task. It answers false if there are two.
func (r *response) of(taskID string) (got result, ok bool) {
	for _, one := range r.Results {
		if one.TaskID != taskID {
			continue // of no task of ours
		}
		if ok {
			return got, false
		}
		got, ok = one, true
	}
	if !ok {
		got = result{ResultCode: cmp.Or(r.TreatMissingKeysAs, temporaryFailure), ResultString: "The function gave no result for the task"}
		if got.ResultCode == succeeded {
			got.ResultString = ""
		}
	}
	return got, true
}

// failed is the outcome of a task whose function was reached: its row has the
// status 200 all the same.
func failed(code, message string) job.Outcome {
	return job.Outcome{Failed: true, HTTPStatus: http.StatusOK, Code: code, Message: limit(message, maxResult)}
}

// unreached is the outcome of a task whose function was not.
func unreached(e *lambda.Error) job.Outcome {
	code := permanentFailure
	if e.Temporary {
		code = temporaryFailure
	}
	message := e.Message
	if e.Code != "" {
		message = e.Code + ": " + message
	}
	return job.Outcome{Failed: true, HTTPStatus: e.Status, Code: code, Message: limit(message, maxResult)}
}
