package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

// explain turns an error of a call into one for the person at the terminal;
// what says what did not work, id is the job it was about, if any.
func (c *client) explain(w world, id, what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*unreachableError](err); ok {
		return c.at.unanswered(w, what, e.err)
	}
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	p := &problem{
		what:      what + ": " + printable(e.Message),
		why:       fmt.Sprintf("%s (%d) from %s", printable(e.Code), e.Status, c.at.endpoint),
		requestID: printable(e.RequestID),
		code:      exitFailed,
		err:       err,
	}
	describe := ""
	if id != "" {
		describe = try(w, "job describe "+shortID(id)) + ", to see how it stands"
	}
	switch {
	case accountOfKey(e.Message) != "":
		p.code = exitDenied
		p.try = "--account-id " + accountOfKey(e.Message)
	case strings.HasPrefix(e.Message, crossAccount):
		p.code = exitDenied
		p.try = "a RoleArn such as " + roleARN(c.at.account) + ", or --account-id of the account of the role"
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		p.code = exitDenied
		p.why += ", " + c.at.signedBy()
		p.try = "other credentials; see: " + try(w, "help environment")
	case e.Code == controlapi.NotFound || e.Code == "NoSuchJob" || e.Code == "NoSuchJobException":
		p.code = exitNotFound
		p.try = try(w, "job list") + " (jobs are per account and region: now " + c.at.account + ", " + c.at.region + ")"
	case e.Code == controlapi.Idempotency:
		p.code = exitConflict
		p.try = "another ClientRequestToken, or none: then each call gets one of its own"
	case e.Code == controlapi.JobStatus || strings.HasPrefix(e.Message, job.ErrTerminal.Error()):
		p.code = exitConflict
		p.try = describe
	case e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed:
		p.try = "--endpoint-url: is that the job API?"
	case e.Status/100 == 4 && e.Code != controlapi.SlowDown && e.Status != http.StatusTooManyRequests:
		p.code = exitInvalid
	}
	return p
}

// unanswered says that there is no server, or none that can be reached.
func (c *connection) unanswered(w world, what string, err error) error {
	return &problem{
		what: what + ": no server answers at " + c.endpoint.String(), why: err.Error(),
		try: try(w, "dev") + ", or --endpoint-url; see: " + try(w, "help environment"), code: exitUnreachable, err: err,
	}
}

// crossAccount begins the message about a role of another account.
const crossAccount = "Cross-account pass role is not allowed"

// accountOfKey is the account that owns the access key, if message is that the
// request was for another one.
func accountOfKey(message string) string {
	found := regexp.MustCompile(`^the access key belongs to account (\d{12}), `).FindStringSubmatch(message)
	if found == nil {
		return ""
	}
	return found[1]
}

// find returns the ID of the job that the user means: all of it, or a beginning
// of four characters or more that only one job has.
func (c *client) find(ctx context.Context, w world, given string) (string, error) {
	const shortest = 4
	id := strings.TrimPrefix(strings.ToLower(given), "job/")
	if regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) {
		return id, nil
	}
	if len(id) < shortest {
		return "", usagef("%q is too short for a job ID: want at least %d characters", given, shortest)
	}
	var found []string
	for next := ""; ; {
		page, err := c.listJobs(ctx, nil, next, pageSize)
		if err != nil {
			return "", c.explain(w, "", "look for job "+printable(given), err)
		}
		for _, j := range page.Jobs {
			if strings.HasPrefix(strings.ToLower(j.JobId), id) {
				found = append(found, j.JobId)
			}
		}
		if page.NextToken == "" || page.NextToken == next {
			break
		}
		next = page.NextToken
	}
	switch len(found) {
	case 0:
		return "", &problem{
			what: fmt.Sprintf("there is no job whose ID begins with %q", given),
			try:  try(w, "job list") + " (jobs are per account and region: now " + c.at.account + ", " + c.at.region + ")", code: exitNotFound,
		}
	case 1:
		return found[0], nil
	}
	const most = 10
	shown := found[:min(most, len(found))]
	return "", &problem{
		what: fmt.Sprintf("%d jobs have an ID that begins with %q", len(found), given),
		why:  strings.Join(shown, "\n"), try: "more characters of the ID", code: exitUsage,
	}
}

// printable is s without what would do something to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if controls(r) {
			return '?'
		}
		return r
	}, s)
}

// escaped is s with what would do something to a terminal as Go writes it, such as \n:
// for names that differ in that.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		if controls(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// controls reports whether r does something to a terminal.
func controls(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}
