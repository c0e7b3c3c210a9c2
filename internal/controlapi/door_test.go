package controlapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	server, jobs := serve(t, noon(), nil)
	jobs.add(waiting(region, noon()))
	check := func(method, target string, status int, code string) {
		t.Helper()
		expect(t, server, method+" "+target, letter{method: method, target: target}, status, code)
	}
	one := "/v20180820/jobs/" + jobID
	check("GET", "/v20180820/jobs", 200, "")
	check("HEAD", "/v20180820/jobs", 200, "")
	check("GET", one, 200, "")
	check("GET", "/sub/path"+one, 200, "") // behind a base path
	check("GET", "/v20180820"+one, 200, "")
	check("GET", "/a%2Fb%20c"+one+"/tagging", 200, "")

	check("GET", "/", 404, "NoSuchKey")
	check("GET", "/v20180820", 404, "NoSuchKey")
	check("GET", "/v20180820/jobs/", 404, "NoSuchKey")
	check("GET", "/v20180820//jobs", 404, "NoSuchKey")
	check("GET", "/v20180820/jobs/../jobs", 404, "NoSuchKey")
	check("GET", "/v20180820/buckets", 404, "NoSuchKey")
	check("GET", one+"/more", 404, "NoSuchKey")
	check("HEAD", "/nowhere", 404, "")
	check("PUT", "/v20180820/jobs", 405, "MethodNotAllowed")
	check("DELETE", one, 405, "MethodNotAllowed")
	check("GET", one+"/status", 405, "MethodNotAllowed")
	check("POST", one+"/tagging", 405, "MethodNotAllowed")

	check("GET", "/v20180820/jobs/abc", 404, "NotFoundException")     // too short
	check("GET", one+"0", 404, "NotFoundException")                   // too long
	check("GET", "/v20180820/jobs/a.b.c.d", 404, "NotFoundException") // no such letter
	check("GET", "/v20180820/jobs/unknown", 404, "NotFoundException")
	check("GET", "/v20180820/jobs/unknown/tagging", 404, "NotFoundException")
	expect(t, server, "another region", letter{method: "GET", target: one, region: "eu-west-1"}, 404, "NotFoundException")

	response, _ := post(t, server, letter{method: "DELETE", target: "/v20180820/jobs"})
	if allow := response.Header.Get("Allow"); allow != "POST, GET" {
		t.Errorf("Allow is %q", allow)
	}
}

// TestAnyHost replays requests as they come through a proxy setting, and with
// the account before the host name.
func TestAnyHost(t *testing.T) {
	t.Parallel()
	server, _ := serve(t, noon(), nil)
	for _, host := range []string{"123456789012.stevedore.internal:9900", "localhost", "210987654321.x"} {
		for _, base := range []string{"", "http://" + host, "http://" + host + "/base"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v20180820/jobs?maxResults=2", nil)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(base, "/base") {
				r.URL.Path = "/base" + r.URL.Path
			}
			r.Header.Set("X-Amz-Account-Id", account)
			empty := sha256.Sum256(nil)
			hash := hex.EncodeToString(empty[:])
			r.Header.Set("X-Amz-Content-Sha256", hash)
			creds := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secretsecret"}
			signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
			if err := signer.SignHTTP(t.Context(), creds, r, hash, "s3", "snow", noon()); err != nil {
				t.Fatal(err)
			}
			var raw bytes.Buffer
			fmt.Fprintf(&raw, "GET %s/v20180820/jobs?maxResults=2 HTTP/1.1\r\nHost: %s\r\n", base, host)
			if err := r.Header.Write(&raw); err != nil {
				t.Fatal(err)
			}
			raw.WriteString("\r\n")
			if response, body := send(t, server, raw.Bytes()); response.StatusCode != http.StatusOK {
				t.Errorf("%s with target %s: %d %s", host, base, response.StatusCode, body)
			}
		}
	}
	// The door is not a proxy for others.
	for _, line := range []string{"GET http://example.com/ HTTP/1.1", "CONNECT example.com:443 HTTP/1.1"} {
		response, body := send(t, server, []byte(line+"\r\nHost: example.com\r\n\r\n"))
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", line, response.StatusCode, body)
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	server, jobs := serve(t, noon(), nil)
	jobs.add(waiting(region, noon()))
	check := func(target, code, says string) {
		t.Helper()
		method, status := "POST", 400
		if strings.HasPrefix(target, "?") {
			method = "GET"
		}
		if code == "" {
			status = 200
		}
		target = "/v20180820/jobs" + target
		if message := expect(t, server, target, letter{method: method, target: target}, status, code); !strings.Contains(message, says) {
			t.Errorf("%s: %q does not say %q", target, message, says)
		}
	}
	one := "/" + jobID
	check("?maxResults=0", "", "")
	check("?maxResults=1000", "", "")
	check("?maxResults=1001", "InvalidRequestException", "maxResults")
	check("?maxResults=-1", "InvalidRequestException", "maxResults")
	check("?maxResults=", "InvalidRequestException", "maxResults")
	check("?maxResults=1&maxResults=2", "InvalidRequestException", "maxResults: is given more than once")
	check("?jobStatuses=Active&jobStatuses=Complete", "", "")
	check("?jobStatuses=active", "InvalidRequestException", "jobStatuses")
	check("?jobStatuses=", "InvalidRequestException", "jobStatuses")
	check("?nextToken=", "InvalidNextTokenException", "nextToken")
	check("?nextToken=AAAA", "InvalidNextTokenException", "nextToken")
	check("?nextToken="+strings.Repeat("A", 1025), "InvalidNextTokenException", "nextToken")
	check(one+"/priority", "BadRequestException", "priority: is required")
	check(one+"/priority?priority=", "BadRequestException", "priority")
	check(one+"/priority?priority=-1", "BadRequestException", "priority")
	check(one+"/priority?priority=2147483648", "BadRequestException", "priority")
	check(one+"/priority?priority=2147483647", "", "")
	check(one+"/priority?priority=0", "", "")
	check(one+"/status", "BadRequestException", "requestedJobStatus: is required")
	check(one+"/status?requestedJobStatus=Active", "BadRequestException", "requestedJobStatus")
	check(one+"/status?requestedJobStatus=Ready&statusUpdateReason=", "BadRequestException", "statusUpdateReason")
	check(one+"/status?requestedJobStatus=Ready&statusUpdateReason="+strings.Repeat("a", 257), "BadRequestException", "statusUpdateReason")
	check(one+"/status?requestedJobStatus=Ready&statusUpdateReason=%00", "BadRequestException", "statusUpdateReason")
	check(one+"/status?requestedJobStatus=Ready&statusUpdateReason=%FF", "BadRequestException", "statusUpdateReason")
	check(one+"/status?requestedJobStatus=Ready&statusUpdateReason="+strings.Repeat("%C3%A9", 256), "", "")
	check(one+"/status?requestedJobStatus=Cancelled", "", "")
	check(one+"/status?requestedJobStatus=Ready", "JobStatusException", "Cancelled")
	check(one+"/priority?priority=1", "BadRequestException", "ended")
}

// createBody is a legal CreateJob, to be spoilt.
const createBody = `<CreateJobRequest xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/">` +
	`<Operation><S3DeleteObjectTagging/></Operation><Report><Enabled>false</Enabled></Report>` +
	`<ClientRequestToken>t</ClientRequestToken><Priority>1</Priority><RoleArn>arn:aws:iam::123456789012:role/r</RoleArn>` +
	`<Manifest><Spec><Format>S3BatchOperations_CSV_20180820</Format><Fields><member>Bucket</member><member>Key</member></Fields></Spec>` +
	`<Location><ObjectArn>arn:aws:s3:::b/k</ObjectArn><ETag>e</ETag></Location></Manifest></CreateJobRequest>`

func TestBodies(t *testing.T) {
	t.Parallel()
	server, jobs := serve(t, noon(), nil)
	check := func(from, to string, status int, code, says string) {
		t.Helper()
		body := strings.Replace(createBody, from, to, 1)
		message := expect(t, server, to, letter{method: "POST", target: "/v20180820/jobs", body: body}, status, code)
		if !strings.Contains(message, says) {
			t.Errorf("%s: %q does not say %q", to, message, says)
		}
	}
	check("<Priority>1</Priority>", "", 400, "BadRequestException", "Priority: is required")
	check("<Enabled>false</Enabled>", "", 400, "BadRequestException", "Report.Enabled: is required")
	check("<Priority>1</Priority>", "<Priority>x</Priority><Colour/>", 400, "BadRequestException", `Priority: "x" is not a whole number of 32 bits; Colour:`)
	check("<ETag>e</ETag>", "<ETag/>", 400, "BadRequestException", "Manifest.Location.ETag: must not be empty")
	check("<S3DeleteObjectTagging/>", "<S3DeleteObjectTagging/><S3ReplicateObject/>", 400, "BadRequestException", "exactly one operation")
	check("<S3DeleteObjectTagging/>", "<S3DeleteObjectTagging><Force>true</Force></S3DeleteObjectTagging>", 400, "BadRequestException", "Operation.S3DeleteObjectTagging.Force")
	check("<S3DeleteObjectTagging/>", "", 400, "BadRequestException", "must name one operation")
	check(createBody, "", 400, "BadRequestException", "empty")
	check(createBody, "{}", 400, "BadRequestException", "read XML")
	check("<CreateJobRequest", "<!DOCTYPE x [<!ENTITY a 'b'>]><CreateJobRequest", 400, "BadRequestException", "document type")
	check("<Operation>", "<!--"+strings.Repeat("x", 1<<20)+"--><Operation>", 400, "BadRequestException", "larger than 1048576 bytes")
	check("::123456789012:", "::210987654321:", 403, "AccessDenied", "Cross-account pass role is not allowed: RoleArn is of account 210987654321, the request of account 123456789012;")
	encrypt := strings.Replace(createBody, "<S3DeleteObjectTagging/>", "<S3UpdateObjectEncryption><ObjectEncryption/></S3UpdateObjectEncryption>", 1)
	message := expect(t, server, "said once", letter{method: "POST", target: "/v20180820/jobs", body: encrypt}, 400, "BadRequestException")
	if want := "Operation.S3UpdateObjectEncryption.ObjectEncryption.SSE-KMS: is required"; message != want {
		t.Errorf("got %q, want %q and no more", message, want)
	}
	if n := len(jobs.all()); n != 0 {
		t.Errorf("%d jobs were made of wrong requests", n)
	}
	check("<Operation>", "<!--"+strings.Repeat("x", 1<<19)+"--><Operation>", 200, "", "")
	check("<Priority>1<", "<Priority>2<", 400, "IdempotencyException", "ClientRequestToken")
	if n := len(jobs.all()); n != 1 {
		t.Errorf("%d jobs, want 1", n)
	}

	tagging := func(body string, status int, code, says string) {
		t.Helper()
		body = "<PutJobTaggingRequest>" + body + "</PutJobTaggingRequest>"
		message := expect(t, server, body, letter{method: "PUT", target: "/v20180820/jobs/" + jobID + "/tagging", body: body}, status, code)
		if !strings.Contains(message, says) {
			t.Errorf("%s: %q does not say %q", body, message, says)
		}
	}
	tag := "<member><Key>%s</Key><Value>v</Value></member>"
	var many strings.Builder
	for i := range 51 {
		fmt.Fprintf(&many, tag, fmt.Sprint("k", i))
	}
	tagging("", 400, "InvalidRequest", "Tags: is required")
	tagging("<Tags><member><Key>k</Key></member></Tags>", 400, "InvalidRequest", "Tags[0].Value: is required")
	tagging("<Tags>"+many.String()+"</Tags>", 400, "TooManyTagsException", "at most 50")
	tagging("<Tags>"+fmt.Sprintf(tag, "a!")+"</Tags>", 400, "InvalidTag", "Tags[0].Key")
	tagging("<Tags>"+fmt.Sprintf(tag, "a")+fmt.Sprintf(tag, "a")+"</Tags>", 400, "InvalidTag", "more than once")
	if got := jobs.all()[0].Tags; len(got) != 0 {
		t.Errorf("tags are %v after wrong requests", got)
	}
	tagging("<Tags>"+strings.Replace(many.String(), fmt.Sprintf(tag, "k50"), "", 1)+"</Tags>", 200, "", "")
	tagging("<Tags/>", 200, "", "")
}

// TestTokensBelongToTheirList pages through lists and then mixes the tokens up.
func TestTokensBelongToTheirList(t *testing.T) {
	t.Parallel()
	server, jobs := serve(t, noon(), nil)
	for i := range 7 {
		j := waiting(region, noon().Add(time.Duration(i/3)*time.Nanosecond)) // some at the same instant
		j.ID = fmt.Sprintf("job-%d", i)
		if i == 6 {
			j.Status = job.Complete
		}
		jobs.add(j)
	}
	page := func(query string) (ids []string, token string) {
		t.Helper()
		_, body := post(t, server, letter{method: "GET", target: "/v20180820/jobs?" + query})
		var p struct {
			NextToken string
			Jobs      struct {
				Member []struct{ JobId string } `xml:"member"` //nolint:revive // the API's spelling
			}
		}
		if err := xml.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Jobs.Member {
			ids = append(ids, m.JobId)
		}
		return ids, p.NextToken
	}
	var all []string
	var token string
	for query := "maxResults=2"; query != ""; {
		var ids []string
		if ids, token = page(query); len(ids) > 2 {
			t.Errorf("%d jobs on a page of 2", len(ids))
		}
		all = append(all, ids...)
		query = ""
		if token != "" {
			query = "maxResults=2&nextToken=" + token
		}
	}
	if got, want := strings.Join(all, " "), "job-6 job-3 job-4 job-5 job-0 job-1 job-2"; got != want {
		t.Errorf("pages hold %s, want %s", got, want)
	}

	_, token = page("maxResults=2&jobStatuses=Suspended&jobStatuses=Complete")
	same := "/v20180820/jobs?nextToken=" + token + "&jobStatuses=Complete&jobStatuses=Suspended&jobStatuses=Complete&maxResults=5"
	expect(t, server, "same filter", letter{method: "GET", target: same}, 200, "")
	for _, query := range []string{
		"nextToken=" + token,
		"nextToken=" + token + "&jobStatuses=Complete",
		"nextToken=" + token[:len(token)-1] + "&jobStatuses=Suspended&jobStatuses=Complete",
		"nextToken=B" + token[1:] + "&jobStatuses=Suspended&jobStatuses=Complete",
	} {
		expect(t, server, query, letter{method: "GET", target: "/v20180820/jobs?" + query}, 400, "InvalidNextTokenException")
	}
	expect(t, server, "other region", letter{method: "GET", target: same, region: "eu-west-1"}, 400, "InvalidNextTokenException")
}

// panicky breaks when it is asked for a job.
type panicky struct{ memJobs }

func (*panicky) Job(context.Context, string, string, string) (job.Job, error) { panic("out of cheese") }

func TestPanicsStayInside(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	server := httptest.NewServer(controlapi.New(controlapi.Config{
		Jobs: &panicky{memJobs{now: noon}}, Keys: testKey(), Now: noon, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}))
	message := expect(t, server, "panic", letter{method: "GET", target: "/v20180820/jobs/" + jobID}, 500, "InternalServiceException")
	if strings.Contains(message, "cheese") {
		t.Errorf("%q tells of the inside", message)
	}
	expect(t, server, "after it", letter{method: "GET", target: "/v20180820/jobs"}, 200, "")
	server.Close() // ends the handlers, and with them the writing of the log
	for _, want := range []string{"level=ERROR", "out of cheese", "door_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log.String())
		}
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	server, jobs := serve(t, noon(), slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	expect(t, server, "create", letter{method: "POST", target: "/v20180820/jobs", body: createBody}, 200, "")
	expect(t, server, "list", letter{method: "GET", target: "/v20180820/jobs"}, 200, "")
	expect(t, server, "denied", letter{method: "GET", target: "/v20180820/jobs", session: "topsecret"}, 400, "InvalidToken")
	jobs.fail(fmt.Errorf("quota: %w", job.ErrUnavailable))
	response, _ := post(t, server, letter{method: "GET", target: "/v20180820/jobs"})
	if response.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After with 503")
	}
	server.Close()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("got %d lines, want one per call:\n%s", len(lines), log.String())
	}
	for i, wants := range [][]string{
		{"level=INFO", "call=CreateJob", "job_id=" + jobID, "account=" + account, "http_status=200", "access_key=AKIDEXAMPLE"},
		{"level=DEBUG", "call=ListJobs"},
		{"code=InvalidToken", "http_status=400"},
		{"level=WARN", "quota", "http_status=503"},
	} {
		for _, want := range wants {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line has no %s: %s", want, lines[i])
			}
		}
	}
	for _, secret := range []string{"secretsecret", "topsecret", "Signature="} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log tells %s:\n%s", secret, log.String())
		}
	}
	if s := fmt.Sprint(controlapi.Key(testKey()).LogValue()); strings.Contains(s, "secret") {
		t.Errorf("a key is logged as %s", s)
	}
}

// TestEngineErrors maps what the engine may say to what the caller is told.
func TestEngineErrors(t *testing.T) {
	t.Parallel()
	server, jobs := serve(t, noon(), nil)
	check := func(err error, status int, code string) {
		t.Helper()
		jobs.fail(fmt.Errorf("engine: %w", err))
		for _, l := range []letter{
			{method: "POST", target: "/v20180820/jobs", body: createBody},
			{method: "GET", target: "/v20180820/jobs/" + jobID},
			{method: "POST", target: "/v20180820/jobs/" + jobID + "/priority?priority=1"},
			{method: "POST", target: "/v20180820/jobs/" + jobID + "/status?requestedJobStatus=Ready"},
		} {
			expect(t, server, fmt.Sprintf("%v on %s %s", err, l.method, l.target), l, status, code)
		}
	}
	check(job.ErrNotFound, 404, "NotFoundException")
	check(job.ErrTokenReused, 400, "IdempotencyException")
	check(job.ErrTerminal, 400, "BadRequestException")
	check(job.ErrUnavailable, 503, "SlowDown")
	check(context.DeadlineExceeded, 503, "SlowDown")
	check(&job.StatusError{From: job.Failed, Want: job.Ready}, 400, "JobStatusException")
	check(&job.DeniedError{Message: "no such role"}, 403, "AccessDenied")
	check(&job.InvalidError{Problems: []job.Problem{{Member: "A", Text: "b"}}}, 400, "BadRequestException")
	check(os.ErrClosed, 500, "InternalServiceException")
	check(errors.New("x"), 500, "InternalServiceException")
}
