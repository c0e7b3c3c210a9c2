package objectstore_test

import (
	"errors"
	"fmt"
	"testing"

	"stevedore/internal/objectstore"
)

func TestWhatErrorsSay(t *testing.T) {
	t.Parallel()
	check := func(err error, refused, notImplemented bool) {
		t.Helper()
		if got := objectstore.Refused(err); got != refused {
			t.Errorf("%#v: refused %t, want %t", err, got, refused)
		}
		if got := objectstore.NotImplemented(err); got != notImplemented {
			t.Errorf("%#v: not implemented %t, want %t", err, got, notImplemented)
		}
	}
	answer := func(status int, code string) error { return &objectstore.Error{Status: status, Code: code} }
	check(answer(301, "PermanentRedirect"), true, false)
	check(answer(403, "AccessDenied"), true, false)
	check(answer(404, "NoSuchKey"), true, false)
	check(answer(405, "MethodNotAllowed"), true, true)
	check(answer(409, "InvalidBucketState"), true, false)
	check(fmt.Errorf("write: %w", answer(400, "InvalidRequest")), true, false)

	check(answer(400, "ExpiredToken"), false, false)
	check(answer(403, "ExpiredTokenException"), false, false)
	check(answer(400, "TokenRefreshRequired"), false, false)
	check(answer(408, "RequestTimeout"), false, false)
	check(answer(400, "RequestTimeout"), false, false) // so S3 has it
	check(answer(409, "OperationAborted"), false, false)
	check(answer(403, "RequestLimitExceeded"), false, false)
	check(answer(429, "TooManyRequests"), false, false)
	check(answer(501, "NotImplemented"), false, true)
	check(answer(503, "SlowDown"), false, false)
	check(answer(0, ""), false, false)
	check(errors.New("disk full"), false, false)
	check(nil, false, false)
}
