package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	check := func(want int, says string, args ...string) {
		t.Helper()
		got := invoke(t.Context(), "", nil, args...)
		if got.code != want || !strings.Contains(got.stderr, says) {
			t.Errorf("%q: got exit code %d and\n%s\nwant %d and %q", args, got.code, got.stderr, want, says)
		}
		if says != "" && got.stdout != "" {
			t.Errorf("%q: an error, but stdout has %q", args, got.stdout)
		}
		if strings.Contains(got.stderr, "strconv") {
			t.Errorf("%q: got the error of a library\n%s", args, got.stderr)
		}
	}
	check(0, "")
	check(0, "", "job")
	check(0, "", "job", "tag")
	check(0, "", "help", "exit-codes")
	check(2, `unknown command "jbo"`, "jbo")
	check(2, `has no command "lst"`, "job", "lst")
	check(2, `has no command "add"`, "job", "tag", "add")
	check(2, "unknown flag", "serve", "--lsten", "x")
	check(2, "--seed many: want a whole number", "dev", "--seed", "many")
	check(2, "--interval often: want a time such as 30s", "job", "watch", "00e1", "--interval", "often")
	check(2, "try   stevedore job watch --help", "job", "watch", "00e1", "--interval", "often")
	check(2, "--keep maybe: want true or false", "demo", "--keep=maybe")
	check(2, "try   stevedore demo --help", "demo", "--keep=maybe")
	check(2, "try   stevedore serve --help", "serve", "--lsten", "x")
	check(2, "try   stevedore job list --help", "job", "list", "--limit", "0")
	check(2, `job list takes flags only: what is "00e1" for?`, "job", "list", "00e1")
	check(2, `serve takes flags only: what is "now" for?`, "serve", "now")
	check(2, `try   stevedore job create --cli-input-json 'my copy.json'`, "job", "create", "my copy.json")
	check(2, "not both", "job", "create", "--example", "tag", "--cli-input-json", "x")
	check(2, "want one of tag, untag, copy", "job", "create", "--example", "delete")
	check(2, "stevedore job create --example tag > job.json", "job", "create")
	check(2, "--seed -1", "dev", "--seed", "-1")
	check(2, "--copy-limit 0", "dev", "--copy-limit", "0")
	check(2, "--restore-after -1s", "dev", "--restore-after", "-1s")
	check(2, "not an address of this machine alone", "dev", "--listen", "0.0.0.0:0")
	check(2, "not an address of this machine alone", "dev", "--s3-listen", ":0")
	check(2, "want host:port", "dev", "--listen", "9700")
	check(2, "--log-level loud", "dev", "--log-level", "loud")
	check(2, "--log-format xml", "serve", "--log-format", "xml")
	check(2, "--operation delete", "demo", "--operation", "delete")
	check(2, "--objects 0", "demo", "--objects", "0")
	check(2, "needs --cli-input-json", "job", "create")
	const help = "\n  try   stevedore job "
	check(2, "job watch needs JOB, the ID of a job"+help+"watch --help\n", "job", "watch")
	check(2, "job describe needs JOB, the ID of a job"+help+"describe --help\n", "job", "describe")
	check(2, `job describe takes only JOB; what is "51ab"?`+help+"describe --help\n", "job", "describe", "00e1", "51ab")
	check(2, "job cancel needs JOB, the ID of a job", "job", "cancel")
	check(2, "job priority needs N, the new priority"+help+"priority --help\n", "job", "priority", "00e1")
	check(2, "job tag set needs KEY=VALUE, a tag"+help+"tag set --help\n", "job", "tag", "set", "00e1")
	check(2, "job tag unset needs JOB", "job", "tag", "unset")
	check(2, "unknown flag: --al"+help+"list --help\n", "job", "list", "--al")
	check(2, "-o yaml", "job", "list", "-o", "yaml")
	check(2, "--status done", "job", "list", "--status", "done")
	check(2, "--limit 0", "job", "list", "--limit", "0")
	check(2, "too short", "job", "describe", "00e")
	check(2, "whole number", "job", "priority", "00e1", "high")
	check(2, "whole number", "job", "priority", "00e1", "--", "-1")
	check(2, "want KEY=VALUE", "job", "tag", "set", "00e1", "team")
	check(2, "--all", "job", "tag", "unset", "00e1")
	check(2, "--interval 1ns", "job", "watch", "00e1", "--interval", "1ns")
	check(2, "not an http URL", "job", "list", "--endpoint-url", "localhost:9700")
	check(2, "--shell csh", "env", "--shell", "csh")
	check(2, "exec needs a command", "exec")
	check(2, "needs --bucket", "doctor")
	check(2, "-o yaml", "doctor", "--bucket", "b", "-o", "yaml")
	check(2, "-o xml", "version", "-o", "xml")
	check(2, "--ready-file no/such/ready.json: cannot be written\n  why   no/such: no such file or directory\n  try   mkdir -p no/such\n",
		"dev", "--ready-file", "no/such/ready.json")
	check(2, "--ready-file testdata: cannot be written\n  why   testdata is a directory\n", "dev", "--ready-file", "testdata")
	check(exitInvalid, "no-such-file", "serve", "--config", "no-such-file")
	check(exitInvalid, "no-such-file", "doctor", "--bucket", "b", "--config", "no-such-file")
	check(exitUsage, "no-such-file", "job", "create", "--cli-input-json", "no-such-file")
	check(exitUsage, "no-such-file", "job", "create", "--cli-input-json", "no-such-file", "--dry-run")
	check(exitUnreachable, "no-such-file", "job", "list", "--ready-file", "no-such-file")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := invoke(t.Context(), "", nil, "version"); got.code != 0 || !strings.HasPrefix(got.stdout, "stevedore ") {
		t.Errorf("got %+v", got)
	}
	if got := invoke(t.Context(), "", nil, "version", "-o", "json"); got.code != 0 || !strings.Contains(got.stdout, `"Version": `) {
		t.Errorf("got %+v", got)
	}
}

// TestHelp keeps what --help of every command says.
func TestHelp(t *testing.T) {
	t.Parallel()
	started := false
	var all strings.Builder
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		got := invoke(t.Context(), "", nil, append(strings.Fields(cmd.CommandPath())[1:], "--help")...)
		if got.code != 0 {
			t.Errorf("%s --help: exit code %d", cmd.CommandPath(), got.code)
		}
		fmt.Fprintf(&all, "==== %s ====\n%s\n", cmd.CommandPath(), got.stdout)
		if examples := strings.Count(cmd.Example, "stevedore "); cmd.Runnable() && examples < 2 {
			t.Errorf("%s: got %d examples, want two", cmd.CommandPath(), examples)
		}
		for line := range strings.Lines(got.stdout) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
				t.Errorf("%s --help: a line of %d characters: %s", cmd.CommandPath(), n, line)
			}
		}
		for _, child := range cmd.Commands() {
			visit(child)
		}
	}
	visit(newRoot(world{}, &started))
	golden(t, "help.txt", all.String())
}

// TestExitCodes keeps the documentation of the exit codes complete.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, code := range []int{
		exitOK, exitFailed, exitUsage, exitTasksFailed, exitDenied, exitJobFailed, exitNotFound,
		exitConflict, exitPending, exitNothing, exitInvalid, exitUnreachable, exitDataDir, exitCannotListen, exitInterrupted,
	} {
		if !slices.ContainsFunc(strings.Split(helpExitCodes, "\n"), func(line string) bool {
			return strings.HasPrefix(line, fmt.Sprintf("%5d  ", code))
		}) {
			t.Errorf("exit code %d is not in the help", code)
		}
	}
}

func TestTell(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	code := tell(&b, fmt.Errorf("outer: %w", &problem{what: "what", why: "one\ntwo", try: "this", requestID: "ID", code: 7}))
	want := "error: what\n  why   one\n        two\n  try   this\n  request id ID\n"
	if code != 7 || b.String() != want {
		t.Errorf("got %d and\n%s\nwant 7 and\n%s", code, b.String(), want)
	}
	b.Reset()
	if code := tell(&b, fmt.Errorf("plain")); code != 1 || b.String() != "error: plain\n" {
		t.Errorf("got %d and %q", code, b.String())
	}
	b.Reset()
	if code := tell(&b, &problem{code: 3, silent: true}); code != 3 || b.String() != "" {
		t.Errorf("got %d and %q", code, b.String())
	}
}

// refusing is an output that takes nothing.
type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestOutputLost: whoever did not get the answer is told by the exit code.
func TestOutputLost(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	list := filepath.Join(folder, "list.csv")
	if err := os.WriteFile(list, []byte("src,a\nsrc,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, _ := fakeAPI(t, answer{200, "<CreateJobResult" + ns + "><JobId>" + someID + "</JobId></CreateJobResult>"})
	check := func(want int, args ...string) {
		t.Helper()
		var stderr strings.Builder
		got := run(t.Context(), args, world{strings.NewReader(exampleText(t, "tag")), refusing{}, &stderr, nil, ""})
		if got != want || want == exitFailed && !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%q: got exit code %d and\n%s\nwant %d", args, got, &stderr, want)
		}
	}
	check(exitFailed, "version")
	check(exitFailed, "manifest", "--help")
	check(exitFailed, "manifest", "count", list)
	check(exitFailed, "manifest", "count", list, "-o", "json")
	check(exitFailed, "manifest", "head", list)
	check(exitFailed, "manifest", "convert", list)
	check(exitFailed, "manifest", "convert", list, "--out", filepath.Join(folder, "out.csv"))
	check(exitFailed, "job", "create", "--cli-input-json", "-", "-o", "name", "--endpoint-url", url)
	list, _ = fakeAPI(t, answer{200, listed("")})
	check(exitFailed, "job", "list", "--endpoint-url", list)
	check(exitUsage, "manifest", "count")
}

func TestQuoteShell(t *testing.T) {
	t.Parallel()
	check := func(in, want string) {
		t.Helper()
		if got := quoteShell(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	check("http://127.0.0.1:9700", "http://127.0.0.1:9700")
	check("", "''")
	check("a b", "'a b'")
	check("it's", `'it'\''s'`)
	check("$(x)", "'$(x)'")
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	check := func(n int64, long, abbreviated string) {
		t.Helper()
		if got := thousands(n); got != long {
			t.Errorf("thousands(%d): got %s, want %s", n, got, long)
		}
		if got := short(n); got != abbreviated {
			t.Errorf("short(%d): got %s, want %s", n, got, abbreviated)
		}
	}
	check(0, "0", "0")
	check(999, "999", "999")
	check(1000, "1,000", "1.0k")
	check(9_999, "9,999", "9.9k")
	check(583_104, "583,104", "583k")
	check(1_000_000, "1,000,000", "1.0M")
	check(20_000_000_000, "20,000,000,000", "20.0G")
}

func TestReadyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ready.json")
	want := ready{API: "a", S3: "s", Account: "1", AccessKey: "k", SecretKey: "x", Region: "r"}
	for range 2 { // also over an old one
		if err := writeReady(path, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readReady(path)
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := writeReady(filepath.Join(dir, "none", "ready.json"), want); err == nil {
		t.Error("no error for a missing directory")
	}
}
