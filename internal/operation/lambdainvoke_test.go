package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/lambda"
	"stevedore/internal/lambda/lambdatest"
	"stevedore/internal/operation"
)

// bootstrap is the program of a function, built by TestMain.
var bootstrap string

func TestMain(m *testing.M) {
	os.Exit(lambdatest.Main(func(program string) { bootstrap = program }, m.Run))
}

// fake is a function made of a Go function, with what it was called with.
type fake struct {
	answer func(call int, payload []byte) (lambda.Answer, error)
	calls  []lambda.Call
}

func (f *fake) Check(function, account string) error {
	if function == "unknown" {
		return &lambda.Error{Status: 404, Code: "ResourceNotFoundException", Message: "Function not found: " + function}
	}
	return nil
}

func (f *fake) Invoke(_, _ context.Context, c lambda.Call) (lambda.Answer, error) {
	f.calls = append(f.calls, c)
	return f.answer(len(f.calls), c.Payload)
}

func newInvoke(t testing.TB, p job.LambdaInvoke, functions operation.Functions, soft context.Context) operation.Operation { //nolint:revive // soft is not about this call
	t.Helper()
	o, err := operation.New(job.Operation{LambdaInvoke: &p}, operation.Env{
		Functions: functions, Soft: soft, Job: &job.Job{ID: "0b0f2a5c-1b1d-4f5e-9f6a-2d8f0d7f1a11", Account: "123456789012"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// succeeds answers as a function does that has nothing to complain of.
func succeeds(_ int, payload []byte) (lambda.Answer, error) {
	var in struct {
		InvocationSchemaVersion, InvocationID string
		Tasks                                 []struct{ TaskID string }
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		return lambda.Answer{}, err
	}
	out, err := json.Marshal(map[string]any{
		"invocationSchemaVersion": in.InvocationSchemaVersion, "invocationId": in.InvocationID,
		"results": []any{map[string]any{"taskId": in.Tasks[0].TaskID, "resultCode": "Succeeded", "resultString": "fine"}},
	})
	return lambda.Answer{Payload: out}, err
}

func TestInvocations(t *testing.T) {
	t.Parallel()
	check := func(p job.LambdaInvoke, task operation.Task, want string) {
		t.Helper()
		f := &fake{answer: succeeds}
		p.FunctionArn = "arn:aws:lambda:us-east-1:123456789012:function:f:PROD"
		var out job.Outcome
		if err := newInvoke(t, p, f, nil).Do(t.Context(), &task, operation.NewScratch(), &out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(job.Outcome{HTTPStatus: 200, Message: "fine", Attempts: 1}, out); diff != "" {
			t.Errorf("outcome: want (-) and got (+):\n%s", diff)
		}
		if c := f.calls[0]; c.Function != p.FunctionArn || c.Account != "123456789012" {
			t.Errorf("got %+v", c)
		}
		var got map[string]any
		if err := json.Unmarshal(f.calls[0].Payload, &got); err != nil {
			t.Fatal(err)
		}
		first, ok := got["tasks"].([]any)[0].(map[string]any)
		if !ok || got["invocationId"] == "" || first["taskId"] == "" {
			t.Errorf("no ids in %s", f.calls[0].Payload)
		}
		got["invocationId"], first["taskId"] = "I", "T"
		normal, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var wanted any
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, any(got)); diff != "" {
			t.Errorf("got %s: want (-) and got (+):\n%s", normal, diff)
		}
	}
	const id = `"0b0f2a5c-1b1d-4f5e-9f6a-2d8f0d7f1a11"`
	task := operation.Task{Bucket: "bucket", Key: []byte("dir/photo 1.jpg"), RawKey: []byte("dir/photo%201.jpg"), VersionID: []byte("1")}
	for _, version := range []string{"", "1.0"} {
		check(job.LambdaInvoke{InvocationSchemaVersion: version}, task,
			`{"invocationSchemaVersion":"1.0","invocationId":"I","job":{"id":`+id+`},
			"tasks":[{"taskId":"T","s3Key":"dir/photo%201.jpg","s3VersionId":"1","s3BucketArn":"arn:aws:s3:::bucket"}]}`)
	}
	check(job.LambdaInvoke{InvocationSchemaVersion: "2.0"}, operation.Task{Bucket: "bucket", Key: []byte(`{"a":"<1>"} b`), RawKey: []byte(`{"a":"<1>"}+b`)},
		`{"invocationSchemaVersion":"2.0","invocationId":"I","job":{"id":`+id+`},
		"tasks":[{"taskId":"T","s3Key":"{\"a\":\"<1>\"}+b","s3VersionId":null,"s3Bucket":"bucket"}]}`)
	check(job.LambdaInvoke{InvocationSchemaVersion: "2.0", UserArguments: map[string]string{"k1": "v1"}}, operation.Task{Bucket: "bucket", Key: []byte("a b+c%é")},
		`{"invocationSchemaVersion":"2.0","invocationId":"I","job":{"id":`+id+`,"userArguments":{"k1":"v1"}},
		"tasks":[{"taskId":"T","s3Key":"a%20b%2Bc%25%C3%A9","s3VersionId":null,"s3Bucket":"bucket"}]}`)
}

// TestEveryResponseRule has a real function answer in every way there is
// (operations.md section 11).
func TestEveryResponseRule(t *testing.T) {
	t.Parallel()
	fs, err := lambda.New(lambda.Config{"f": {
		Bootstrap: bootstrap, Concurrency: 4, Timeout: 3 * time.Second, Env: map[string]string{"DIR": t.TempDir()},
	}}, lambda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fs.Close)
	const invalid = "Invalid JSON returned in Lambda payload"
	const functionError = "Lambda returned function error: "
	check := func(key string, want job.Outcome) {
		t.Helper()
		for _, version := range []string{"1.0", "2.0"} {
			var out job.Outcome
			task := operation.Task{Bucket: "b", Key: []byte(key)}
			o := newInvoke(t, job.LambdaInvoke{FunctionArn: "arn:aws:lambda:us-east-1:123456789012:function:f", InvocationSchemaVersion: version}, fs, nil)
			if err := o.Do(t.Context(), &task, operation.NewScratch(), &out); err != nil {
				t.Fatal(err)
			}
			want := want
			if prefix, is := strings.CutSuffix(want.Message, "*"); is && strings.HasPrefix(out.Message, prefix) {
				want.Message = out.Message
			}
			if diff := cmp.Diff(want, out); diff != "" {
				t.Errorf("%s, schema %s: want (-) and got (+):\n%s", key, version, diff)
			}
		}
	}
	permanent := func(message string) job.Outcome {
		return job.Outcome{Failed: true, HTTPStatus: 200, Code: "PermanentFailure", Message: message, Attempts: 1}
	}
	success := func(message string, attempts int) job.Outcome {
		return job.Outcome{HTTPStatus: 200, Message: message, Attempts: attempts}
	}
	check("some/key", success("some/key", 1))
	check("odd \"key\", with\nlines é", success("odd \"key\", with lines é", 1))
	check("null", success("", 1))
	check("permanent:no such luck", permanent("no such luck"))
	check("missing:Succeeded", success("", 1))
	check("missing:PermanentFailure", permanent("The function gave no result for the task"))
	check("missing:Whatever", permanent(invalid))
	check("wrong-task", permanent("The function gave no result for the task")) // it says so in treatMissingKeysAs
	check("flaky:2", success("2", 2))
	check("error:it broke", permanent(functionError+`{"errorMessage":"it broke","errorType":"errorString"}`))
	check("exit:1", permanent(functionError+`{"errorType":"Runtime.ExitError","errorMessage":"RequestId: *`))
	check("huge:7000000", permanent(functionError+`{"errorType":"Function.ResponseSizeTooLarge",*`))
	check("code:Maybe", permanent(invalid))
	check("code:", permanent(invalid))
	check("wrong-id", permanent(invalid))
	check("wrong-schema", permanent(invalid))
	check("twice", permanent(invalid))
	for _, raw := range []string{
		"", "no json", "null", "{}", "[]", `"text"`, `{"results":[]}`, `{"errorMessage":"x","errorType":"y"}`, "Task timed out after 3.00 seconds",
		`{"invocationSchemaVersion":"1.0","invocationId":"x","results":"none"}`,
	} {
		check("raw:"+raw, permanent(invalid))
	}
	if !testing.Short() {
		check("hang", permanent(functionError+`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: *`))
	}
}

// TestTheRoleInvokes: an endpoint without keys of its own is asked with those of the job's role.
func TestTheRoleInvokes(t *testing.T) {
	t.Parallel()
	f := &fake{answer: succeeds}
	role := new(credentials.NewStaticCredentialsProvider("ROLE", "secret", ""))
	o, err := operation.New(job.Operation{LambdaInvoke: &job.LambdaInvoke{FunctionArn: "f"}}, operation.Env{Functions: f, Credentials: role})
	if err != nil {
		t.Fatal(err)
	}
	var out job.Outcome
	if err := o.Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k"), RawKey: []byte("k")}, operation.NewScratch(), &out); err != nil || out.Failed {
		t.Fatal(err, out)
	}
	if f.calls[0].Credentials != role {
		t.Errorf("called with %v", f.calls[0].Credentials)
	}
}

func TestRedrives(t *testing.T) {
	t.Parallel()
	answers := func(code string) func(int, []byte) (lambda.Answer, error) {
		return func(n int, payload []byte) (lambda.Answer, error) {
			a, err := succeeds(n, payload)
			a.Payload = []byte(strings.Replace(string(a.Payload), "Succeeded", code, 1))
			return a, err
		}
	}
	refuses := func(status int, temporary bool, after time.Duration) func(int, []byte) (lambda.Answer, error) {
		return func(int, []byte) (lambda.Answer, error) {
			return lambda.Answer{}, &lambda.Error{Status: status, Code: "SomeException", Message: "some message", Temporary: temporary, After: after}
		}
	}
	check := func(answer func(int, []byte) (lambda.Answer, error), want job.Outcome, least, most time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: answer}
			var out job.Outcome
			began := time.Now()
			if err := newInvoke(t, job.LambdaInvoke{FunctionArn: "f"}, f, nil).Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, out); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
			if took := time.Since(began); took < least || took > most {
				t.Errorf("took %s, want %s to %s", took, least, most)
			}
			ids, tasks := map[any]bool{}, map[any]bool{}
			for _, c := range f.calls {
				var p struct {
					InvocationID string
					Tasks        []struct{ TaskID string }
				}
				if err := json.Unmarshal(c.Payload, &p); err != nil {
					t.Fatal(err)
				}
				ids[p.InvocationID], tasks[p.Tasks[0].TaskID] = true, true
			}
			if len(f.calls) != want.Attempts || len(ids) != want.Attempts || len(tasks) != 1 {
				t.Errorf("%d calls with %d invocation ids and %d task ids, want %d", len(f.calls), len(ids), len(tasks), want.Attempts)
			}
		})
	}
	failed := func(status int, code, message string, attempts int) job.Outcome {
		return job.Outcome{Failed: true, HTTPStatus: status, Code: code, Message: message, Attempts: attempts}
	}
	const short, long = 0, 15 * time.Second
	check(answers("TemporaryFailure"), failed(200, "TemporaryFailure", "fine", 5), short, long)
	check(refuses(429, true, 0), failed(429, "TemporaryFailure", "SomeException: some message", 5), short, long)
	check(refuses(503, true, 20*time.Second), failed(503, "TemporaryFailure", "SomeException: some message", 5), 80*time.Second, 80*time.Second)
	check(refuses(503, true, time.Hour), failed(503, "TemporaryFailure", "SomeException: some message", 5), 2*time.Minute, 2*time.Minute)
	check(refuses(403, false, 0), failed(403, "PermanentFailure", "SomeException: some message", 1), 0, 0)
	check(answers("PermanentFailure"), failed(200, "PermanentFailure", "fine", 1), 0, 0)
	check(func(n int, payload []byte) (lambda.Answer, error) {
		if n < 4 {
			return refuses(500, true, 0)(n, payload)
		}
		return succeeds(n, payload)
	}, job.Outcome{HTTPStatus: 200, Message: "fine", Attempts: 4}, short, 7*time.Second)
	check(func(_ int, payload []byte) (lambda.Answer, error) { // no treatMissingKeysAs
		a, err := succeeds(0, payload)
		a.Payload = []byte(string(a.Payload[:strings.Index(string(a.Payload), `"results":`)]) + `"results":[]}`)
		return a, err
	}, failed(200, "TemporaryFailure", "The function gave no result for the task", 5), short, long)
}

func TestDrainEndsRedrives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		drained, dropped := errors.New("drained"), errors.New("dropped")
		soft, drain := context.WithCancelCause(t.Context())
		hard, drop := context.WithCancelCause(t.Context())
		f := &fake{answer: func(int, []byte) (lambda.Answer, error) {
			return lambda.Answer{}, &lambda.Error{Status: 503, Temporary: true, After: time.Hour}
		}}
		do := func(soft, hard context.Context) error {
			out := job.Outcome{Message: "left alone"}
			err := newInvoke(t, job.LambdaInvoke{FunctionArn: "f"}, f, soft).Do(hard, &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out)
			if out.Message != "left alone" {
				t.Errorf("got %+v, want no outcome", out)
			}
			return err
		}
		time.AfterFunc(time.Second, func() { drain(drained) })
		if err := do(soft, t.Context()); !errors.Is(err, drained) {
			t.Errorf("got %v, want %v", err, drained)
		}
		time.AfterFunc(time.Second, func() { drop(dropped) })
		if err := do(t.Context(), hard); !errors.Is(err, dropped) {
			t.Errorf("got %v, want %v", err, dropped)
		}
		f.answer = func(int, []byte) (lambda.Answer, error) { return lambda.Answer{}, lambda.ErrClosed }
		if err := do(t.Context(), t.Context()); !errors.Is(err, lambda.ErrClosed) {
			t.Errorf("got %v, want %v", err, lambda.ErrClosed)
		}
	})
}

func TestJobsThatAreRefused(t *testing.T) {
	t.Parallel()
	check := func(function string, args map[string]string, code, text string) {
		t.Helper()
		_, err := operation.New(job.Operation{LambdaInvoke: &job.LambdaInvoke{FunctionArn: function, InvocationSchemaVersion: "2.0", UserArguments: args}},
			operation.Env{Functions: new(fake)})
		if code == "" && err == nil {
			return
		}
		e, ok := errors.AsType[*job.FailedError](err)
		if !ok || e.Reason.FailureCode != code || !strings.Contains(e.Reason.FailureReason, text) {
			t.Errorf("%s %v: got %v, want %s with %q", function, args, err, code, text)
		}
	}
	const remove, head, merge = "arn:aws:lambda:us-east-1:123456789012:function:stevedore-delete-object", "stevedore-head-object", "stevedore-merge-tags:1"
	check("known", nil, "", "")
	check("unknown", nil, "ResourceNotFoundException", "Function not found")
	check("a/b", nil, "InvalidRequest", "names no function")
	check("stevedore-delete-objects", nil, "ResourceNotFoundException", "There is no built-in function")
	check(remove, nil, "InvalidRequest", `"confirm":"permanently delete"`)
	check(remove, map[string]string{"confirm": "yes"}, "InvalidRequest", `"confirm":"permanently delete"`)
	check(remove, map[string]string{"confirm": "permanently delete", "quiet": ""}, "InvalidRequest", "quiet")
	check(remove, map[string]string{"confirm": "permanently delete"}, "", "")
	check(head, nil, "", "")
	check(head, map[string]string{"x": ""}, "InvalidRequest", "does not know the user argument x")
	check(merge, nil, "InvalidRequest", "needs user arguments")
	check(merge, map[string]string{"remove": ","}, "InvalidRequest", "needs user arguments")
	check(merge, map[string]string{"add.": "v"}, "InvalidRequest", "does not know")
	check(merge, map[string]string{"add.a": "v", "remove": "b,a"}, "InvalidRequest", "both add and remove the tag a")
	check(merge, map[string]string{"add.a": strings.Repeat("v", 257)}, "InvalidRequest", "too long")
	check(merge, map[string]string{"add.a": "v", "remove.b,c": ""}, "", "")

	// Without functions only what is built in can be called.
	o, err := operation.New(job.Operation{LambdaInvoke: &job.LambdaInvoke{FunctionArn: "known"}}, operation.Env{})
	if err != nil {
		t.Fatal(err)
	}
	var out job.Outcome
	if err := o.Do(t.Context(), &operation.Task{}, operation.NewScratch(), &out); err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("got %v, want that the job fails", err)
	}
}

// TestAnswersNobodyExpects never panics, and never takes for success what does not say so.
func TestAnswersNobodyExpects(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		body := rapid.SliceOf(rapid.Byte()).Draw(rt, "body")
		if rapid.Bool().Draw(rt, "json") {
			keys := rapid.SampledFrom([]string{"results", "invocationId", "invocationSchemaVersion", "treatMissingKeysAs", "x"})
			values := rapid.SampledFrom([]any{nil, 1, "1.0", "Succeeded", []any{}, []any{nil}, map[string]any{}, []any{map[string]any{"taskId": 1}}})
			body, _ = json.Marshal(rapid.MapOf(keys, values).Draw(rt, "object"))
		}
		f := &fake{answer: func(int, []byte) (lambda.Answer, error) { return lambda.Answer{Payload: body}, nil }}
		var out job.Outcome
		if err := newInvoke(t, job.LambdaInvoke{FunctionArn: "f"}, f, nil).Do(t.Context(), &operation.Task{Bucket: "b", Key: []byte("k")}, operation.NewScratch(), &out); err != nil {
			rt.Fatal(err)
		}
		if !out.Failed || out.HTTPStatus != http.StatusOK || out.Code != "PermanentFailure" || slices.Contains([]byte(out.Message), '\n') {
			rt.Errorf("%q: got %+v", body, out)
		}
	})
}
