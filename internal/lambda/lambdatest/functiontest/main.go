// Command functiontest is a function of batch jobs that does what it is told by
// the key of its task, well or badly. It is linked with the runtime that users of
// Go have; what that runtime would never do it does by itself (START).
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func main() {
	switch os.Getenv("START") {
	case "exit":
		fmt.Println("no, thank you")
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "error":
		post("init/error", "Test.Init", `{"errorType":"Test.Init","errorMessage":"no start today"}`)
		os.Exit(1)
	case "mute-error":
		post("init/error", "Test.Init", "")
		os.Exit(1)
	case "again": // asks for the next without an answer to this one
		for {
			next()
		}
	case "twice": // answers twice, and what it was not asked
		for {
			id := next()
			post("invocation/unheard-of/response", "", `"stranger"`)
			post("invocation/"+id+"/response", "", `"first"`)
			post("invocation/"+id+"/response", "", `"second"`)
		}
	case "mute": // fails without a word
		for {
			post("invocation/"+next()+"/error", "Test.Mute", "")
		}
	case "once": // answers and ends
		post("invocation/"+next()+"/response", "", `"last words"`)
		os.Exit(0)
	}
	lambda.Start(function{})
}

// next asks for work and returns its id.
func next() string {
	res, err := http.Get("http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/next") //nolint:noctx // the worker ends us
	if err != nil {
		os.Exit(1)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.Header.Get("Lambda-Runtime-Aws-Request-Id")
}

func post(path, kind, body string) {
	req, err := http.NewRequest(http.MethodPost, "http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/2018-06-01/runtime/"+path, strings.NewReader(body)) //nolint:noctx // as above
	if err != nil {
		os.Exit(1)
	}
	req.Header.Set("Lambda-Runtime-Function-Error-Type", kind)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		os.Exit(1)
	}
	fmt.Println(path, res.StatusCode)
	res.Body.Close()
}

type event struct {
	SchemaVersion string `json:"invocationSchemaVersion"`
	InvocationID  string `json:"invocationId"`
	Job           struct {
		ID            string            `json:"id"`
		UserArguments map[string]string `json:"userArguments"`
	} `json:"job"`
	Tasks []struct {
		TaskID string `json:"taskId"`
		Key    string `json:"s3Key"`
	} `json:"tasks"`
}

type function struct{}

// Invoke does as the key says: a word, and what belongs to it behind a colon.
func (function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, err
	}
	if len(e.Tasks) != 1 {
		return nil, fmt.Errorf("got %d tasks", len(e.Tasks))
	}
	key, err := url.QueryUnescape(e.Tasks[0].Key)
	if err != nil {
		return nil, err
	}
	word, rest, _ := strings.Cut(key, ":")
	answer := func(code, text string) ([]byte, error) {
		return json.Marshal(map[string]any{
			"invocationSchemaVersion": e.SchemaVersion, "treatMissingKeysAs": "PermanentFailure", "invocationId": e.InvocationID,
			"results": []any{map[string]any{"taskId": e.Tasks[0].TaskID, "resultCode": code, "resultString": text}},
		})
	}
	edit := func(from, to string) ([]byte, error) {
		a, err := answer("Succeeded", "edited")
		return bytes.ReplaceAll(a, []byte(from), []byte(to)), err
	}
	switch word {
	case "temporary":
		return answer("TemporaryFailure", rest)
	case "permanent":
		return answer("PermanentFailure", rest)
	case "code":
		return answer(rest, "odd")
	case "flaky": // fails until it has been asked so often
		name := os.Getenv("DIR") + "/" + url.PathEscape(e.Tasks[0].TaskID)
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		_, _ = f.WriteString(".")
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if n, _ := strconv.ParseInt(rest, 10, 64); info.Size() < n {
			return answer("TemporaryFailure", "not yet")
		}
		return answer("Succeeded", strconv.FormatInt(info.Size(), 10))
	case "missing":
		out := map[string]any{"invocationSchemaVersion": e.SchemaVersion, "invocationId": e.InvocationID, "results": []any{}}
		if rest != "" {
			out["treatMissingKeysAs"] = rest
		}
		return json.Marshal(out)
	case "null":
		return json.Marshal(map[string]any{
			"invocationSchemaVersion": e.SchemaVersion, "invocationId": e.InvocationID, "treatMissingKeysAs": nil,
			"results": []any{map[string]any{"taskId": e.Tasks[0].TaskID, "resultCode": "Succeeded", "resultString": nil}},
		})
	case "raw":
		return []byte(rest), nil
	case "wrong-id":
		return edit(e.InvocationID, "other")
	case "wrong-schema":
		return edit(`"`+e.SchemaVersion+`"`, `"9.0"`)
	case "wrong-task":
		return edit(e.Tasks[0].TaskID, "other")
	case "twice":
		a, err := answer("Succeeded", "one")
		at := bytes.Index(a, []byte(`[{`)) + 1
		end := bytes.Index(a, []byte(`}]`)) + 1
		return append(append(bytes.Clone(a[:end]), ","+string(a[at:end])...), a[end:]...), err
	case "error":
		return nil, errors.New(rest)
	case "panic":
		panic(rest)
	case "exit":
		code, _ := strconv.Atoi(rest)
		os.Exit(code)
	case "hang":
		time.Sleep(time.Hour)
	case "huge":
		n, _ := strconv.Atoi(rest)
		return bytes.Repeat([]byte("x"), n), nil
	case "memory":
		var hoard [][]byte
		for range 64 {
			hoard = append(hoard, bytes.Repeat([]byte("x"), 16<<20))
			time.Sleep(10 * time.Millisecond)
		}
		return answer("Succeeded", strconv.Itoa(len(hoard)))
	case "print":
		fmt.Println(strings.Repeat("o", len(rest)*1000))
		fmt.Fprintln(os.Stderr, rest)
	case "env":
		return json.Marshal(os.Environ())
	case "pid":
		return json.Marshal(os.Getpid())
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return json.Marshal([]string{lc.AwsRequestID, lc.InvokedFunctionArn, time.Until(deadline).Round(time.Second).String()})
	case "echo":
		return answer("Succeeded", string(payload))
	}
	return answer("Succeeded", key)
}
