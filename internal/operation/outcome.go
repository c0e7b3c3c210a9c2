package operation

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"strings"
	"unicode/utf8"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// maxMessage bounds the message of an outcome, in bytes. S3's own fit; a proxy
// may answer with a page.
const maxMessage = 1024

// success is the message of a task that has nothing else to say.
const success = "Successful"

// outcomeOf says how a task ended whose request came to r.
func outcomeOf(r *objectstore.Result) job.Outcome {
	if r.OK() {
		// The report says 200 for every success, also where S3 answers 204 (reports.md section 4).
		return job.Outcome{HTTPStatus: http.StatusOK, Message: success, Attempts: r.Attempts}
	}
	out := job.Outcome{Failed: true, HTTPStatus: r.Status, Code: r.Code, Message: r.Message, Attempts: r.Attempts}
	switch {
	case r.Status == 0 && unreachable(r.Err):
		out.HTTPStatus, out.Code = http.StatusServiceUnavailable, "ServiceUnavailable"
	case r.Status < 300: // no answer, or none that a failure can have
		out.HTTPStatus, out.Code = http.StatusInternalServerError, cmp.Or(serverCode(r), "InternalError")
	}
	out.Code = oneLine(cmp.Or(out.Code, "InternalError"))
	if out.Message == "" && r.Err != nil {
		out.Message = r.Err.Error()
	}
	out.Message = oneLine(cmp.Or(out.Message, http.StatusText(out.HTTPStatus)))
	return out
}

// serverCode is the code the store itself gave: without an answer there is none.
func serverCode(r *objectstore.Result) string {
	if r.Status == 0 {
		return ""
	}
	return r.Code
}

// unreachable tells a store that could not be spoken to, or did not answer in
// time, from one that broke off. The report knows a pair of status and code for
// each (reports.md section 5).
func unreachable(err error) bool {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// oneLine makes a text of the store fit for a row of the report.
func oneLine(s string) string { return limit(s, maxMessage) }

// limit makes a text fit for a row of the report: UTF-8, without control
// characters, at most n bytes. Most need nothing.
func limit(s string, n int) string {
	clean := len(s) <= n && utf8.ValidString(s)
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] != 0x7f
	}
	if clean {
		return s
	}
	if len(s) > n {
		const more = "..."
		s = s[:n-len(more)] + more // a character cut in two becomes a ? below
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
