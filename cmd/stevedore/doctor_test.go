package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stevedore/internal/doctor"
	"stevedore/internal/objectstore/objectstoretest"
)

// doctorConfig writes a configuration file for a store.
func doctorConfig(t *testing.T, endpoint, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := "store:\n  endpoint: " + endpoint + "\n  access_key: doctor\n  secret_key: " + secret + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "doctor", Secret: "secret"})
	s3.CreateBucket("scratch")
	config := doctorConfig(t, s3.URL(), "secret")

	got := invoke(t.Context(), "", nil, "doctor", "--config", config, "--bucket", "scratch")
	if got.code != exitOK || !strings.Contains(got.stdout, "S3PutObjectTagging") || !strings.Contains(got.stdout, " work, ") {
		t.Errorf("got %+v", got)
	}
	if keys := s3.Keys("scratch"); len(keys) > 0 {
		t.Errorf("left behind: %q", keys)
	}

	got = invoke(t.Context(), "", []string{"STEVEDORE_CONFIG=" + config}, "doctor", "--bucket", "scratch", "-o", "json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != exitOK {
		t.Fatalf("got %+v, %v", got, err)
	}
	if report.Endpoint != s3.URL() || report.Bucket != "scratch" || report.Count(doctor.Works) == 0 {
		t.Errorf("got %+v", report)
	}
}

func TestDoctorExitCodes(t *testing.T) {
	t.Parallel()
	s3 := objectstoretest.Start(t, objectstoretest.Config{AccessKey: "doctor", Secret: "secret"})
	s3.Put("scratch", "theirs", "bytes")
	config := doctorConfig(t, s3.URL(), "secret")
	check := func(want int, says string, args ...string) {
		t.Helper()
		got := invoke(t.Context(), "", nil, append([]string{"doctor"}, args...)...)
		if got.code != want || !strings.Contains(got.stderr, says) {
			t.Errorf("%q: got exit code %d and\n%s\nwant %d and %q", args, got.code, got.stderr, want, says)
		}
	}
	check(exitDenied, "SignatureDoesNotMatch", "--config", doctorConfig(t, s3.URL(), "wrong"), "--bucket", "scratch")
	check(exitNotFound, "--create", "--config", config, "--bucket", "none")
	check(exitConflict, "already", "--config", config, "--bucket", "scratch", "--create")
	check(exitUnreachable, "refused", "--config", doctorConfig(t, "http://127.0.0.1:1", "secret"), "--bucket", "scratch")

	// A store that takes what it does not know for new content.
	s3.Fault(objectstoretest.Match{Op: "GetObject", Skip: 3}, objectstoretest.Answer(http.StatusOK, "other bytes"))
	check(exitTasksFailed, "", "--config", config, "--bucket", "scratch", "--exit-status")
}
