package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// The exit codes, a contract: see helpExitCodes.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitTasksFailed  = 3
	exitDenied       = 4
	exitJobFailed    = 5
	exitNotFound     = 6
	exitConflict     = 7
	exitPending      = 8
	exitNothing      = 9
	exitInvalid      = 10
	exitUnreachable  = 11
	exitDataDir      = 11 // of the servers
	exitCannotListen = 12
	exitInterrupted  = 130
	exitPipe         = 141 // as a shell tells of SIGPIPE
)

const helpExitCodes = `Exit codes of the client commands:

    0  done; also when "job watch" saw a job fail, unless --exit-status is given
    1  failed for another reason, such as an error of the server
    2  usage: an unknown flag, a missing argument
    3  with --exit-status: the job is Complete, but some of its tasks failed
    4  the server does not accept the credentials, or they may not do this
    5  with --exit-status: the job ended as Failed or Cancelled
    6  there is no such job, bucket or object
    7  the job's status does not allow it, or the client token was used before
    8  not finished within --timeout
    9  nothing to do: no object matches, no task failed
   10  the request, or the list of objects, is not valid
   11  the server cannot be reached
  130  interrupted

Exit codes of serve, dev and demo:

    0  stopped as asked; for demo: every check held
    1  failed while running; for demo also: a check did not hold
    2  usage
   10  the configuration is not valid
   11  the data directory cannot be used, or another process uses it
   12  an address cannot be listened on

Exit codes of doctor:

    0  everything was tried, whatever came of it
    1  failed for another reason, or something could not be deleted again
    2  usage
    3  with --exit-status: something is dangerous
    4  the store does not accept the credentials, or they may not do this
    6  there is no such bucket
    7  with --create: there is such a bucket already
   10  the configuration is not valid
   11  the store cannot be reached
  130  interrupted; the scratch objects were deleted all the same

exec ends with the exit code of the command it runs, 126 if that cannot be
started, 127 if it is not found and 11 if no server listens.
`

// problem is an error for the person at the terminal: what happened, why, and
// what to try. Only what is always there.
type problem struct {
	what      string
	why       string
	try       string
	requestID string
	code      int
	silent    bool // nothing to say, the exit code says it
	err       error
}

func (p *problem) Error() string { return p.what }

func (p *problem) Unwrap() error { return p.err }

// usagef says that a command line makes no sense.
func usagef(format string, args ...any) *problem {
	return &problem{what: fmt.Sprintf(format, args...), code: exitUsage}
}

// tell says on stderr what went wrong and returns the exit code it means.
func tell(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	p, ok := errors.AsType[*problem](err)
	if !ok {
		p = &problem{what: err.Error(), code: exitFailed}
	}
	if p.silent {
		return p.code
	}
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%s%s\n", label, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n        "))
		}
	}
	line("error: ", p.what)
	line("  why   ", p.why)
	line("  try   ", p.try)
	line("  request id ", p.requestID)
	fmt.Fprint(stderr, b.String())
	return p.code
}
