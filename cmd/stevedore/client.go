package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"stevedore/internal/controlapi"
	"stevedore/internal/controlapi/restxml"
	"stevedore/internal/job"
)

// client calls the job API. It dials the endpoint as it is given, without the
// account before the host name.
type client struct {
	at     *connection
	http   *http.Client
	signer *v4.Signer
}

// newClient returns a client; close ends its connections.
func newClient(at *connection) *client {
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   &tls.Config{RootCAs: at.roots},
		ForceAttemptHTTP2: true,
	}
	return &client{
		at:     at,
		http:   &http.Client{Transport: transport, Timeout: time.Minute},
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }), // the rule of S3
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// apiError is an error that the server answered with.
type apiError struct {
	Code, Message, RequestID string
	Status                   int
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message) }

// unreachableError: there was no answer.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }

func (e *unreachableError) Unwrap() error { return e.err }

const (
	maxAttempts = 3
	firstPause  = 200 * time.Millisecond
	maxAnswer   = 16 << 20 // bytes; a page of ListJobs has 1,000 jobs
)

// request is a call of the API. Every call may be repeated: the only one that
// creates something carries a token.
type request struct {
	method, path string // below /v20180820
	query        url.Values
	body         []byte
}

// do sends r and reads the answer, whose root element is named root, into out
// unless that is nil. The error is an *apiError or an *unreachableError unless
// ctx has ended.
func (c *client) do(ctx context.Context, r request, root string, out any) error {
	for attempt := 1; ; attempt++ {
		answer, err := c.send(ctx, r)
		if err == nil {
			if out == nil {
				return nil
			}
			// What is not known of an answer is left aside: servers get newer.
			if _, err := restxml.Unmarshal(answer, root, out); err != nil {
				return fmt.Errorf("read the answer of %s: %w", c.at.endpoint, err)
			}
			return nil
		}
		e, answered := errors.AsType[*apiError](err)
		again := answered && (e.Status >= 500 || e.Status == http.StatusTooManyRequests)
		if !again || attempt == maxAttempts {
			return err
		}
		if err := pause(ctx, rand.N(firstPause<<attempt)); err != nil {
			return err
		}
	}
}

// send sends r once.
func (c *client) send(ctx context.Context, r request) ([]byte, error) {
	u := c.at.endpoint.JoinPath("v20180820", r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	sum := sha256.Sum256(r.body)
	digest := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Account-Id", c.at.account)
	req.Header.Set("X-Amz-Content-Sha256", digest)
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", "application/xml")
	}
	if err := c.signer.SignHTTP(ctx, c.at.credentials, req, digest, "s3", c.at.region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &unreachableError{err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &unreachableError{fmt.Errorf("read the answer: %w", err)}
	}
	if resp.StatusCode/100 != 2 {
		return nil, answeredError(resp, answer)
	}
	return answer, nil
}

// answeredError reads an error of the API; what answers otherwise is not the API.
func answeredError(resp *http.Response, answer []byte) *apiError {
	var body struct {
		Error struct{ Code, Message string }
	}
	e := &apiError{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Amz-Request-Id")}
	_, err := restxml.Unmarshal(answer, "ErrorResponse", &body)
	if err != nil { // the flat form of S3
		_, err = restxml.Unmarshal(answer, "Error", &body.Error)
	}
	if err != nil || body.Error.Code == "" {
		e.Code, e.Message = strconv.Itoa(resp.StatusCode), "an answer that is not of the job API: "+http.StatusText(resp.StatusCode)
		return e
	}
	e.Code, e.Message = body.Error.Code, body.Error.Message
	return e
}

// pause waits for d, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// createJob creates a job from a spec with a client token.
func (c *client) createJob(ctx context.Context, spec *job.Spec) (controlapi.CreateJobResult, error) {
	var out controlapi.CreateJobResult
	err := c.do(ctx, request{method: "POST", path: "jobs", body: restxml.Marshal("CreateJobRequest", spec)}, "CreateJobResult", &out)
	return out, err
}

func (c *client) describeJob(ctx context.Context, id string) (controlapi.JobDescriptor, error) {
	var out controlapi.DescribeJobResult
	err := c.do(ctx, request{method: "GET", path: "jobs/" + url.PathEscape(id)}, "DescribeJobResult", &out)
	return out.Job, err
}

// listJobs returns one page of jobs, the newest first.
func (c *client) listJobs(ctx context.Context, statuses []job.Status, next string, most int) (controlapi.ListJobsResult, error) {
	q := url.Values{"maxResults": {strconv.Itoa(most)}}
	for _, s := range statuses {
		q.Add("jobStatuses", string(s))
	}
	if next != "" {
		q.Set("nextToken", next)
	}
	var out controlapi.ListJobsResult
	err := c.do(ctx, request{method: "GET", path: "jobs", query: q}, "ListJobsResult", &out)
	return out, err
}

func (c *client) updatePriority(ctx context.Context, id string, priority int32) (controlapi.UpdateJobPriorityResult, error) {
	q := url.Values{"priority": {strconv.Itoa(int(priority))}}
	var out controlapi.UpdateJobPriorityResult
	err := c.do(ctx, request{method: "POST", path: "jobs/" + url.PathEscape(id) + "/priority", query: q}, "UpdateJobPriorityResult", &out)
	return out, err
}

func (c *client) updateStatus(ctx context.Context, id string, want job.Status, reason string) (controlapi.UpdateJobStatusResult, error) {
	q := url.Values{"requestedJobStatus": {string(want)}}
	if reason != "" {
		q.Set("statusUpdateReason", reason)
	}
	var out controlapi.UpdateJobStatusResult
	err := c.do(ctx, request{method: "POST", path: "jobs/" + url.PathEscape(id) + "/status", query: q}, "UpdateJobStatusResult", &out)
	return out, err
}

func (c *client) tags(ctx context.Context, id string) (controlapi.JobTags, error) {
	var out controlapi.JobTags
	err := c.do(ctx, request{method: "GET", path: "jobs/" + url.PathEscape(id) + "/tagging"}, "GetJobTaggingResult", &out)
	return out, err
}

func (c *client) setTags(ctx context.Context, id string, tags controlapi.JobTags) error {
	body := restxml.Marshal("PutJobTaggingRequest", &tags)
	return c.do(ctx, request{method: "PUT", path: "jobs/" + url.PathEscape(id) + "/tagging", body: body}, "", nil)
}

func (c *client) deleteTags(ctx context.Context, id string) error {
	return c.do(ctx, request{method: "DELETE", path: "jobs/" + url.PathEscape(id) + "/tagging"}, "", nil)
}
