package controlapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// recorded is where requests of real clients lie, byte for byte.
const recorded = "testdata/wire/requests/"

// send writes raw to the server as it is and reads one answer.
func send(t *testing.T, server *httptest.Server, raw []byte) (*http.Response, []byte) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(string(raw), " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// readRecorded returns a recorded request, the time it was signed at and the
// region it was signed for.
func readRecorded(t *testing.T, name string) (raw []byte, at time.Time, region string) {
	t.Helper()
	raw, err := os.ReadFile(recorded + name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if at, err = time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date")); err != nil {
		t.Fatal(err)
	}
	scope := regexp.MustCompile(`Credential=AKIDEXAMPLE/\d+/([a-z0-9-]+)/s3/`).FindStringSubmatch(r.Header.Get("Authorization"))
	return raw, at, scope[1]
}

// waiting is a job that the recorded calls other than CreateJob speak of.
func waiting(region string, at time.Time) job.Job {
	at = at.Add(-time.Hour)
	return job.Job{
		ID: "00000000-0000-4000-8000-000000000001", Account: account, Region: region,
		Spec: job.Spec{
			Operation: job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "a"}}}},
			Report:    job.Report{},
			Manifest: &job.Manifest{
				Spec:     &job.ManifestSpec{Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey}},
				Location: &job.ManifestLocation{ObjectArn: "arn:aws:s3:::manifests/m.csv", ETag: "e"},
			},
			RoleArn: "arn:aws:iam::123456789012:role/batch", Description: "d",
		},
		Priority: 1, Tags: []job.Tag{{Key: "k", Value: "v"}, {Key: "k2"}},
		Status: job.Suspended, CreationTime: at, SuspendedDate: &at, SuspendedCause: "AWAITING_CONFIRMATION",
		Plan: &job.Plan{Tasks: 5},
	}
}

// TestRecordedRequests plays what real clients sent and compares what the
// engine was asked for and what was answered with the golden files. Where our
// own rules refuse what the client let pass, the refusal is the golden answer.
func TestRecordedRequests(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob(recorded + "*.http")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 54 {
		t.Fatalf("found %d recorded requests, want 54", len(names))
	}
	for _, name := range names {
		name = filepath.Base(name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, at, region := readRecorded(t, name)
			server, jobs := serve(t, at, nil)
			creates := strings.Contains(name, "-CreateJob-")
			if !creates {
				jobs.add(waiting(region, at))
			}
			response, body := send(t, server, raw)

			var got strings.Builder
			if made := jobs.all(); creates && len(made) > 0 {
				spec, err := json.MarshalIndent(made[0].Spec, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&got, "%s\n\n", spec)
			}
			fmt.Fprintf(&got, "HTTP %s\n%s\n", response.Status, withoutIDs(t, response, body))
			golden(t, "testdata/wire/golden/"+strings.TrimSuffix(name, ".http")+".txt", got.String())
			if creates && (response.StatusCode == http.StatusOK) != (len(jobs.all()) == 1) {
				t.Errorf("status %d and %d jobs", response.StatusCode, len(jobs.all()))
			}
		})
	}
}

// withoutIDs checks what every answer carries and takes the ids of the request out of it.
func withoutIDs(t *testing.T, response *http.Response, body []byte) string {
	t.Helper()
	h := response.Header
	id, host := h.Get("X-Amz-Request-Id"), h.Get("X-Amz-Id-2")
	if !regexp.MustCompile(`^[0-9A-F]{16}$`).MatchString(id) || host == "" {
		t.Errorf("request id %q, host id %q", id, host)
	}
	if h.Get("Server") != "stevedore" || h.Get("Content-Type") != "application/xml" || h.Get("Date") == "" {
		t.Errorf("headers %v", h)
	}
	if response.StatusCode >= 400 && response.Request.Method != http.MethodHead {
		for _, want := range []string{"<RequestId>" + id + "</RequestId>", "<HostId>" + host + "</HostId>"} {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s has no %s", body, want)
			}
		}
	}
	text := strings.ReplaceAll(string(body), id, "REQUEST")
	return strings.ReplaceAll(text, host, "HOST")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", name, diff)
	}
}

// TestAnswersHaveTheDocumentedForm compares answers with those that all four
// clients were seen to understand.
func TestAnswersHaveTheDocumentedForm(t *testing.T) {
	t.Parallel()
	check := func(request, answer string, prepare func(*memJobs, *job.Job)) {
		t.Helper()
		raw, at, region := readRecorded(t, request)
		server, jobs := serve(t, at, nil)
		j := waiting(region, at)
		if prepare != nil {
			prepare(jobs, &j)
		}
		if !strings.Contains(request, "-CreateJob-") {
			jobs.add(j)
		}
		want, err := os.ReadFile("testdata/wire/responses/" + answer)
		if err != nil {
			t.Fatal(err)
		}
		_, got := send(t, server, raw)
		if diff := cmp.Diff(outline(t, want), outline(t, got)); diff != "" {
			t.Errorf("%s answered unlike %s: (-want +got)\n%s", request, answer, diff)
		}
	}
	check("cli-CreateJob-default.http", "CreateJob.xml", nil)
	check("cli-GetJobTagging.http", "GetJobTagging.xml", nil)
	check("cli-GetJobTagging.http", "GetJobTagging-empty.xml", func(_ *memJobs, j *job.Job) { j.Tags = nil })
	check("cli-PutJobTagging.http", "PutJobTagging.xml", nil)
	check("cli-DeleteJobTagging.http", "DeleteJobTagging.xml", nil)
	check("cli-UpdateJobPriority.http", "UpdateJobPriority.xml", nil)
	check("cli-UpdateJobStatus.http", "UpdateJobStatus.xml", func(_ *memJobs, j *job.Job) { j.Status = job.Active })
	check("cli-ListJobs.http", "ListJobs-empty.xml", func(_ *memJobs, j *job.Job) { j.Region = "elsewhere" })

	fail := func(err error) func(*memJobs, *job.Job) {
		return func(m *memJobs, _ *job.Job) { m.fail(err) }
	}
	check("cli-DescribeJob.http", "error-NotFoundException-404.xml", fail(job.ErrNotFound))
	check("cli-DescribeJob.http", "error-InternalServiceException-500.xml", fail(errors.New("disk on fire")))
	check("cli-DescribeJob.http", "error-SlowDown-503.xml", fail(job.ErrUnavailable))
	check("cli-DescribeJob.http", "error-AccessDenied-403.xml", fail(&job.DeniedError{Message: "no"}))
	check("cli-UpdateJobStatus.http", "error-JobStatusException-400.xml", fail(&job.StatusError{From: job.Failed, Want: job.Ready}))
	check("cli-UpdateJobPriority.http", "error-BadRequestException-400.xml", fail(job.ErrTerminal))
	check("cli-CreateJob-default.http", "error-IdempotencyException-wrapped.xml", fail(job.ErrTokenReused))
	check("boto3-ListJobs-full.http", "error-InvalidNextTokenException-400.xml", nil)
}

// outline writes a document one element a line, without white space around and
// without what differs from one answer to the next.
func outline(t *testing.T, doc []byte) string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(doc))
	var b strings.Builder
	var depth int
	var in string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			in = token.Name.Local
			fmt.Fprintf(&b, "%s%s %s\n", strings.Repeat(" ", depth), in, token.Name.Space)
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			text := strings.TrimSpace(string(token))
			if in == "Message" || in == "RequestId" || in == "HostId" || in == "StatusUpdateReason" {
				text = "*"
			}
			if text != "" {
				fmt.Fprintf(&b, "%s= %s\n", strings.Repeat(" ", depth), text)
			}
		}
	}
}
