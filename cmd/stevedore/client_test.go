package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

// api is a server that gives one answer after the other, and the last one from
// then on; "drop" closes the connection.
type answer struct {
	status int
	body   string
}

func fakeAPI(t *testing.T, answers ...answer) (url string, calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a := answers[min(int(calls.Add(1)), len(answers))-1]
		if a.status == 0 {
			panic(http.ErrAbortHandler) // closes the connection
		}
		w.Header().Set("X-Amz-Request-Id", "REQ")
		w.WriteHeader(a.status)
		fmt.Fprint(w, a.body)
	}))
	t.Cleanup(server.Close)
	return server.URL, calls
}

const ns = ` xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"`

func wrapped(code, message string) string {
	return "<ErrorResponse" + ns + "><Error><Type>Sender</Type><Code>" + code + "</Code><Message>" + message + "</Message></Error><Novelty/></ErrorResponse>"
}

func described(status string) string {
	return "<DescribeJobResult" + ns + "><Job><JobId>00e123a4-c0d8-41f4-a0eb-b46f9ba5b07c</JobId><Status>" + status +
		"</Status><ProgressSummary><TotalNumberOfTasks>2</TotalNumberOfTasks><NumberOfTasksSucceeded>1</NumberOfTasksSucceeded>" +
		"<NumberOfTasksFailed>1</NumberOfTasksFailed></ProgressSummary><Novelty>1</Novelty></Job></DescribeJobResult>"
}

func listed(next string, ids ...string) string {
	var b strings.Builder
	b.WriteString("<ListJobsResult" + ns + "><Jobs>")
	for _, id := range ids {
		b.WriteString("<member><JobId>" + id + "</JobId></member>")
	}
	b.WriteString("</Jobs>")
	if next != "" {
		b.WriteString("<NextToken>" + next + "</NextToken>")
	}
	return b.String() + "</ListJobsResult>"
}

const someID = "00e123a4-c0d8-41f4-a0eb-b46f9ba5b07c"

// TestAnswers: what our client makes of answers that a good server gives seldom.
func TestAnswers(t *testing.T) {
	t.Parallel()
	check := func(name string, code int, says string, calls int64, args []string, answers ...answer) {
		t.Helper()
		url, called := fakeAPI(t, answers...)
		got := invoke(t.Context(), "", nil, append(args, "--endpoint-url", url)...)
		if got.code != code || !strings.Contains(got.stdout+got.stderr, says) {
			t.Errorf("%s: got exit code %d\n%s%s\nwant %d and %q", name, got.code, got.stdout, got.stderr, code, says)
		}
		if n := called.Load(); n != calls {
			t.Errorf("%s: got %d calls, want %d", name, n, calls)
		}
	}
	describe := []string{"job", "describe", someID}
	unwell := answer{500, wrapped("InternalServiceException", "we are unwell")}
	check("once unwell", 0, "Active", 2, describe, unwell, answer{200, described("Active")})
	check("always unwell", exitFailed, "InternalServiceException (500)", maxAttempts, describe, unwell)
	check("throttled", 0, "Active", 3, describe, answer{503, wrapped("SlowDown", "slow down")}, answer{429, wrapped("TooManyRequestsException", "x")}, answer{200, described("Active")})
	check("refused", exitDenied, "request id REQ", 1, describe, answer{403, wrapped("AccessDenied", "Access Denied")})
	check("reused token", exitConflict, "try   another ClientRequestToken", 1, describe, answer{400, wrapped("IdempotencyException", "x")})
	check("status", exitConflict, "try   stevedore job describe 00e123a4, to see", 1, []string{"job", "cancel", someID}, answer{400, wrapped("JobStatusException", "no")})
	check("ended", exitConflict, "try   stevedore job describe 00e123a4", 1, []string{"job", "priority", someID, "1"},
		answer{400, wrapped("BadRequestException", "the job has ended and cannot be changed any more")})
	check("account of another", exitDenied, "try   --account-id 555555555555\n", 1, describe,
		answer{403, wrapped("AccessDenied", "the access key belongs to account 555555555555, the request is for account 1")})
	check("flat error", exitNotFound, "NoSuchJob (404)", 1, describe, answer{404, "<Error><Code>NoSuchJob</Code><Message>gone</Message></Error>"})
	check("not the API", exitFailed, "not of the job API", 1, describe, answer{404, "<html>no</html>"})
	check("not the API, but happy", exitFailed, "read the answer", 1, describe, answer{200, "<html>yes</html>"})
	check("escape sequences", exitInvalid, "?[31mred", 1, describe, answer{400, wrapped("BadRequestException", "\u009b[31mred")})

	short := []string{"job", "describe", "00e1"}
	check("short ID on the second page", 0, "Active", 3, short,
		answer{200, listed("a", "11111111-c0d8-41f4-a0eb-b46f9ba5b07c")}, answer{200, listed("", someID)}, answer{200, described("Active")})
	check("no such job", exitNotFound, `no job whose ID begins with "00e1"`, 1, short, answer{200, listed("")})
	check("two such jobs", exitUsage, "00e1ffff-c0d8-41f4-a0eb-b46f9ba5b07c", 1, short, answer{200, listed("", someID, "00e1ffff-c0d8-41f4-a0eb-b46f9ba5b07c")})
	check("endless pages", exitNotFound, "no job", 2, short, answer{200, listed("same")})
	check("endless list", 0, "ID", 2, []string{"job", "list"}, answer{200, listed("same")})
	check("more than wanted", 0, "--limit 10", 1, []string{"job", "list", "--limit", "1"}, answer{200, listed("next", someID)})
}

// TestWatchOutlivesTheServer: the server is started again while a job is watched.
func TestWatchOutlivesTheServer(t *testing.T) {
	t.Parallel()
	url, _ := fakeAPI(t, answer{200, described("Active")}, answer{}, answer{}, answer{}, answer{}, answer{200, described("Complete")})
	got := invoke(t.Context(), "", nil, "job", "watch", someID, "--interval", "10ms", "--exit-status", "--endpoint-url", url)
	if got.code != exitTasksFailed || strings.Count(got.stderr, "trying again") != 1 || strings.Count(got.stderr, "answers again") != 1 {
		t.Errorf("got %+v, want one outage and exit code %d", got, exitTasksFailed)
	}
	if !strings.Contains(got.stderr, "job=00e123a4 status=Active done=2 total=2 pct=100.0 ok=1 failed=1") {
		t.Errorf("got the progress\n%s", got.stderr)
	}

	url, _ = fakeAPI(t, answer{})
	if got := invoke(t.Context(), "", nil, "job", "watch", someID, "--endpoint-url", url); got.code != exitUnreachable {
		t.Errorf("got %+v, want exit code %d", got, exitUnreachable)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	if got := textCell(" two words\tand a \x1b[0m lot, more than fits in a row"); !strings.HasPrefix(got, "two words?and a ?[0m lot, more") || utf8.RuneCountInString(got) != 40 {
		t.Errorf("got %q of %d characters", got, utf8.RuneCountInString(got))
	}
	if got := textCell(" "); got != "-" {
		t.Errorf("got %q, want -", got)
	}
	check := func(status job.Status, succeeded, failed int64, want string) {
		t.Helper()
		if got := outcome(status, controlapi.Progress{NumberOfTasksSucceeded: succeeded, NumberOfTasksFailed: failed}); got != want {
			t.Errorf("%s with %d succeeded and %d failed: got %s, want %s", status, succeeded, failed, got, want)
		}
	}
	check(job.Active, 1, 1, "-")
	check(job.Complete, 2, 0, "ok")
	check(job.Complete, 1, 1, "partial")
	check(job.Complete, 0, 2, "failed")
	check(job.Failed, 1, 1, "failed")
	check(job.Cancelled, 1, 1, "cancelled")
}

// TestReportText: where a report is said to be, for each way a job can stand.
func TestReportText(t *testing.T) {
	t.Parallel()
	check := func(status job.Status, executed int64, code, want string) {
		t.Helper()
		j := controlapi.JobDescriptor{
			JobId: "ID", Status: status, ProgressSummary: controlapi.Progress{NumberOfTasksFailed: executed},
			Report: &job.Report{Enabled: true, Bucket: "arn:aws:s3:::reports", Prefix: "p/", ReportScope: job.AllTasks},
		}
		if code != "" {
			j.FailureReasons = []job.FailureReason{job.Fail(code, "x")}
		}
		if got := reportText(&j); got != want {
			t.Errorf("%s with %d tasks %s: got %q, want %q", status, executed, code, got, want)
		}
		if got, want := failedRows(&j) != "", strings.HasPrefix(want, "written"); got != want {
			t.Errorf("%s with %d tasks %s: got failed rows %t, want %t", status, executed, code, got, want)
		}
	}
	const place = "written to s3://reports/p/job-ID/manifest.json  AllTasks"
	check(job.Suspended, 0, "", "will be "+place)
	check(job.Completing, 5, "", "will be "+place)
	check(job.Complete, 5, "", place)
	check(job.Cancelled, 5, "", place)
	check(job.Failed, 5, job.CodeThreshold, place)
	check(job.Failed, 0, job.CodeManifestChanged, "none: no task ran")
	check(job.Cancelled, 0, "", "none: no task ran")
	check(job.Failing, 5, job.CodeReportFailed, "could not be written to s3://reports")
	check(job.Failed, 5, job.CodeReportFailed, "could not be written to s3://reports")
	check(job.Failed, 5, "RoleNotFound", "could not be written to s3://reports")
	check(job.Failed, 0, "RoleNotFound", "none: no task ran")
	if got := reportText(&controlapi.JobDescriptor{Report: &job.Report{}}); got != "none: not asked for" {
		t.Errorf("no report: got %q", got)
	}
}

// TestEnded: what a watch says at the end of a job that did not end well.
func TestEnded(t *testing.T) {
	t.Parallel()
	check := func(status, inner string, says ...string) {
		t.Helper()
		body := "<DescribeJobResult" + ns + "><Job><JobId>" + someID + "</JobId><Status>" + status + "</Status>" + inner + "</Job></DescribeJobResult>"
		for _, command := range []string{"watch", "describe"} {
			url, _ := fakeAPI(t, answer{200, body})
			got := invoke(t.Context(), "", nil, "job", command, someID, "--endpoint-url", url)
			want := says
			if command == "describe" {
				want = says[1:]
			}
			for _, text := range want {
				if !strings.Contains(got.stdout, text) {
					t.Errorf("%s %s: got %+v, want %q", command, status, got, text)
				}
			}
		}
	}
	const report = "<Report><Bucket>arn:aws:s3:::reports</Bucket><Enabled>true</Enabled><ReportScope>AllTasks</ReportScope></Report>"
	const some = "<ProgressSummary><TotalNumberOfTasks>9</TotalNumberOfTasks><NumberOfTasksSucceeded>1</NumberOfTasksSucceeded><NumberOfTasksFailed>1</NumberOfTasksFailed></ProgressSummary>"
	folder := "s3://reports/job-" + someID + "/"
	for _, status := range []string{"Cancelled", "Failed"} {
		check(status, some+report, status+": 1 of 9 tasks succeeded, 1 failed", "written to "+folder+"manifest.json", folder+"results/")
	}
	check("Cancelled", report, "job/"+someID+" Cancelled before any task ran\n")
}
