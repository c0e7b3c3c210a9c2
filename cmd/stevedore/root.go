package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot builds the command tree. started is set once the command line has
// been understood and a command begins.
func newRoot(w world, started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "stevedore",
		Short: "S3 Batch Operations for any S3-compatible store",
		Long: `Stevedore carries out one operation on every object of a list, on any
S3-compatible store, and proves in a report what happened to each of them. It
speaks the S3 Control job API, so the AWS CLI and the AWS SDKs work with it.`,
		Example: `  stevedore demo                  run one real job, start to report
  stevedore dev --seed 1000       a server with a store of its own to play with
  stevedore exec -- aws s3control list-jobs --account-id 123456789012`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
	}
	root.SetIn(w.stdin)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	root.AddGroup(
		&cobra.Group{ID: "servers", Title: "Servers:"},
		&cobra.Group{ID: "client", Title: "Client:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("servers", newDemo(w), newDev(w), newServe(w), newDoctor(w))
	add("client", newJob(w), newManifest(w), newExec(w), newEnv(w))
	root.AddCommand(newVersion(w),
		topic("exit-codes", "What the exit codes mean", helpExitCodes),
		topic("environment", "How the server is found, and the variables that are read", helpEnvironment),
	)
	return root
}

// misused makes a problem of a command line that did not parse, and names the
// page that helps to each misuse of a command that names nothing better.
func misused(w world, called *cobra.Command, started bool, err error) error {
	p, ok := errors.AsType[*problem](err)
	switch {
	case !ok && started:
		return err
	case !ok:
		p = usagef("%s", valueError(called, err))
	}
	if p.code == exitUsage && p.try == "" && !p.silent {
		_, path, _ := strings.Cut(called.CommandPath()+" ", " ")
		p.try = try(w, path+"--help")
	}
	return p
}

// valueError says what the value of a flag has to be instead of who could not
// parse it. Any other error keeps its text.
func valueError(called *cobra.Command, err error) string {
	found := regexp.MustCompile(`^invalid argument "(.*)" for "(?:-\w, )?--([\w-]+)" flag: `).FindStringSubmatch(err.Error())
	if found == nil {
		return err.Error()
	}
	value, name := found[1], found[2]
	want := ""
	if f := called.Flag(name); f != nil {
		switch f.Value.Type() {
		case "int", "int64":
			want = "a whole number"
		case "duration":
			want = "a time such as 30s or 2h"
		case "bool":
			want = "true or false"
		}
	}
	if want == "" {
		return err.Error()
	}
	return fmt.Sprintf("--%s %s: want %s", name, value, want)
}

// noArgs refuses arguments where only flags belong; cobra would call them
// unknown commands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	return usagef("%s takes flags only: what is %q for?", name, args[0])
}

// topic is a page of help without a command behind it.
func topic(name, short, text string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Long: text}
}

// try is a command line of ours that the user can paste.
func try(w world, args string) string { return programName(w) + " " + args }

// programName is how the user can call this program again.
func programName(w world) string {
	name := w.program
	switch {
	case name == "":
		return "stevedore"
	case strings.Contains(filepath.ToSlash(name), "/go-build"): // go run: gone when this process is
		return "go run ./cmd/stevedore"
	}
	if found, err := exec.LookPath("stevedore"); err == nil && sameFile(found, name) {
		return "stevedore"
	}
	return quoteShell(name)
}

func sameFile(a, b string) bool {
	fa, errA := os.Stat(a)
	fb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// quoteShell quotes s for a POSIX shell, if it needs it.
func quoteShell(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@,+"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// thousands writes n with separators: for people only.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
