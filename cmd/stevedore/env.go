package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// aliasHost is the name of the API in the environment of AWS clients. Nobody
// has to know it: requests for it go to the proxy, which is the API itself.
const aliasHost = "stevedore.internal"

const envDoc = `Every AWS client puts the account before the host name of S3 Control, and no name
server knows 123456789012.127.0.0.1. So the clients get a made-up name for the API
and the API itself as the proxy for http:// URLs; it answers for its own paths and
forwards nothing. The store is excepted from the proxy, https:// URLs are as well.`

func newEnv(w world) *cobra.Command {
	var (
		connect connectFlags
		shell   string
	)
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the environment that lets AWS clients reach the server",
		Long: `Prints variables for a shell to take over.

` + envDoc + `

As the proxy is for everything the shell starts, exec is often better.`,
		Example: `  eval "$(stevedore env)"
  stevedore env --shell fish | source`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := connect.connect(cmd.Context(), w)
			if err != nil {
				return err
			}
			at.warnOfStore(w)
			text, err := shellText(at.environment(w), shell)
			if err != nil {
				return err
			}
			fmt.Fprint(w.stdout, text)
			return nil
		},
	}
	connect.add(cmd, true)
	cmd.Flags().StringVar(&shell, "shell", "sh", "sh, fish or json")
	return cmd
}

// warnOfStore says so where nothing keeps S3 calls from going to AWS.
func (c *connection) warnOfStore(w world) {
	if c.s3 == "" {
		fmt.Fprintln(w.stderr, "warning: it is not known where the store is, so S3 calls go to AWS;"+
			"\n  name it with --s3-endpoint-url, AWS_ENDPOINT_URL_S3 or --ready-file")
	}
}

// listening returns a problem if nothing listens where the API should be. A
// server with https may be behind a proxy of its own, so nobody is asked there.
func (c *connection) listening(ctx context.Context, w world) error {
	if c.endpoint.Scheme != "http" {
		return nil
	}
	const patience = 5 * time.Second // for a host that drops packets
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(c.endpoint.Hostname(), cmp.Or(c.endpoint.Port(), "80")))
	if err != nil {
		return c.unanswered(w, "exec", err)
	}
	return conn.Close()
}

// variable is one to set, or to unset.
type variable struct {
	name, value string
	unset       bool
}

// environment is what lets AWS clients reach the server.
func (c *connection) environment(w world) []variable {
	api := *c.endpoint
	set := func(name, value string) variable { return variable{name: name, value: value} }
	vars := []variable{
		set("STEVEDORE_ENDPOINT_URL", c.endpoint.String()),
		set("STEVEDORE_ACCOUNT_ID", c.account),
		set("AWS_ACCESS_KEY_ID", c.credentials.AccessKeyID),
		set("AWS_SECRET_ACCESS_KEY", c.credentials.SecretAccessKey),
		{name: "AWS_SESSION_TOKEN", value: c.credentials.SessionToken, unset: c.credentials.SessionToken == ""},
		// These would outvote what stands here.
		{name: "AWS_SECURITY_TOKEN", unset: true},
		{name: "AWS_PROFILE", unset: true},
		{name: "AWS_DEFAULT_PROFILE", unset: true},
		{name: "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", unset: true},
		set("AWS_REGION", c.region),
		set("AWS_DEFAULT_REGION", c.region),
	}
	if c.s3 != "" {
		vars = append(vars, set("AWS_ENDPOINT_URL_S3", c.s3))
	}
	if api.Scheme == "https" { // takes a name server that knows the accounts: there is no proxy without CONNECT
		return append(vars, set("AWS_ENDPOINT_URL_S3_CONTROL", api.String()))
	}
	proxy := url.URL{Scheme: api.Scheme, Host: api.Host}
	api.Host = aliasHost
	if port := c.endpoint.Port(); port != "" {
		api.Host += ":" + port
	}
	vars = append(vars, set("AWS_ENDPOINT_URL_S3_CONTROL", api.String()))
	direct := c.direct(cmp.Or(w.getenv("no_proxy"), w.getenv("NO_PROXY")))
	for _, name := range []string{"HTTP_PROXY", "http_proxy"} { // some read only one, and prefer the small one
		vars = append(vars, set(name, proxy.String()))
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		vars = append(vars, set(name, direct))
	}
	return vars
}

// direct lists the hosts that are not asked for through the proxy.
func (c *connection) direct(before string) string {
	var hosts []string
	for host := range strings.SplitSeq(before, ",") {
		if host = strings.TrimSpace(host); host != "" && host != "*" { // * would except the API, too
			hosts = append(hosts, host)
		}
	}
	for _, host := range []string{"127.0.0.1", "localhost", "::1"} {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if u, err := url.Parse(c.s3); err == nil && u.Host != "" && !slices.Contains(hosts, u.Hostname()) {
		hosts = append(hosts, u.Hostname())
	}
	return strings.Join(hosts, ",")
}

// shellText is what a shell has to read.
func shellText(vars []variable, shell string) (string, error) {
	var b strings.Builder
	switch shell {
	case "sh":
		for _, v := range vars {
			if v.unset {
				fmt.Fprintf(&b, "unset %s\n", v.name)
			} else {
				fmt.Fprintf(&b, "export %s=%s\n", v.name, quoteShell(v.value))
			}
		}
	case "fish":
		for _, v := range vars {
			if v.unset {
				fmt.Fprintf(&b, "set -e %s\n", v.name)
			} else {
				quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v.value)
				fmt.Fprintf(&b, "set -gx %s '%s'\n", v.name, quoted)
			}
		}
	case "json":
		values := map[string]string{}
		for _, v := range vars {
			if !v.unset {
				values[v.name] = v.value
			}
		}
		data, err := json.MarshalIndent(values, "", "    ")
		if err != nil {
			return "", fmt.Errorf("write JSON: %w", err)
		}
		b.Write(append(data, '\n'))
	default:
		return "", usagef("--shell %s: want sh, fish or json", shell)
	}
	return b.String(), nil
}

func newExec(w world) *cobra.Command {
	var connect connectFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND...",
		Short: "Run a command in an environment that lets AWS clients reach the server",
		Long: `Runs a command and ends with its exit code; with 11, and without running it, if no
server listens at an http:// endpoint.

` + envDoc + `

Releases of the AWS CLI before 2.13 and 1.29 take no endpoints from the environment:
where COMMAND is aws itself, for s3control, s3 or s3api, exec says --endpoint-url to
it, unless you do. Older boto3 needs it in your program: AWS_ENDPOINT_URL_S3_CONTROL.`,
		Example: `  stevedore exec -- aws s3control list-jobs --account-id 123456789012
  stevedore exec --ready-file ready.json -- aws s3 ls`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("exec needs a command, after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := connect.connect(cmd.Context(), w)
			if err != nil {
				return err
			}
			if err := at.listening(cmd.Context(), w); err != nil {
				return err
			}
			if !jobsOnly(args) {
				at.warnOfStore(w)
			}
			vars := at.environment(w)
			return runCommand(w, vars, tellEndpoint(args, vars))
		},
	}
	cmd.Flags().SetInterspersed(false) // flags after the command are its own
	connect.add(cmd, true)
	return cmd
}

// jobsOnly reports whether a command is an AWS CLI that calls the job API alone.
func jobsOnly(args []string) bool {
	return filepath.Base(args[0]) == "aws" && slices.Contains(args, "s3control")
}

// tellEndpoint names the endpoint to an AWS CLI on its command line, where every
// release looks: an old one would call AWS itself.
func tellEndpoint(args []string, vars []variable) []string {
	const flag = "--endpoint-url"
	named := func(arg string) bool { return arg == flag || strings.HasPrefix(arg, flag+"=") }
	if filepath.Base(args[0]) != "aws" || slices.ContainsFunc(args, named) {
		return args
	}
	endpoints := map[string]string{"s3control": "AWS_ENDPOINT_URL_S3_CONTROL", "s3": "AWS_ENDPOINT_URL_S3", "s3api": "AWS_ENDPOINT_URL_S3"}
	for _, arg := range args[1:] {
		name, ok := endpoints[arg]
		if !ok {
			continue
		}
		if i := slices.IndexFunc(vars, func(v variable) bool { return v.name == name }); i >= 0 {
			return slices.Insert(slices.Clone(args), 1, flag, vars[i].value)
		}
		break
	}
	return args
}

// runCommand runs a command with variables added to our environment. It waits
// for its end whatever happens: signals are for the command to judge.
func runCommand(w world, vars []variable, args []string) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	command := exec.Command(args[0], args[1:]...) //nolint:noctx // until it ends by itself
	command.Stdin, command.Stdout, command.Stderr = w.stdin, w.stdout, w.stderr
	if o, ok := w.stdout.(*output); ok {
		command.Stdout = o.Writer // as it is: it may be a terminal
	}
	command.Env = overlay(w.environ, vars)
	if err := command.Start(); err != nil {
		p := &problem{what: fmt.Sprintf("cannot run %s", args[0]), why: err.Error(), code: 126, err: err}
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			p.code = 127
		}
		return p
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	_, tty := terminal(w.stdin)
	for {
		select {
		case s := <-signals:
			// A terminal has already told everybody in front of it of its Ctrl-C.
			if s != os.Interrupt || !tty {
				command.Process.Signal(s) //nolint:errcheck // it has ended, then
			}
		case err := <-ended:
			return exitOf(args[0], err)
		}
	}
}

// exitOf turns the end of a command into ours.
func exitOf(name string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return fmt.Errorf("run %s: %w", name, err)
	}
	code := e.ExitCode()
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal()) // as a shell has it
	}
	return &problem{code: code, silent: true}
}

// overlay is an environment with variables changed.
func overlay(environ []string, vars []variable) []string {
	out := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.ContainsFunc(vars, func(v variable) bool { return v.name == name })
	})
	for _, v := range vars {
		if !v.unset {
			out = append(out, v.name+"="+v.value)
		}
	}
	return out
}
