package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"stevedore/internal/service"
)

func newServe(w world) *cobra.Command {
	var (
		flags   service.Config
		config  string
		logging logFlags
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Runs the job API and the workers until it is told to stop.

Without a configuration file the objects are at AWS_ENDPOINT_URL_S3 and the other
AWS_ variables say who asks for them; the API accepts exactly that key pair, and
every role of the account means it. A flag counts more than the file.

On SIGTERM it takes no new work, commits what is finished, hands the rest back and
exits with 0. A second signal ends it at once; that loses nothing that was counted.`,
		Example: `  AWS_ENDPOINT_URL_S3=https://minio.example.com AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... \
    stevedore serve --data-dir /var/lib/stevedore
  stevedore serve --config /etc/stevedore/config.yaml`,
		Args: noArgs,
	}
	fs := cmd.Flags()
	fs.StringVar(&config, "config", "", "configuration `FILE` (YAML); default $STEVEDORE_CONFIG, else none")
	defaults := service.Default()
	fs.StringVar(&flags.Listen, "listen", defaults.Listen, "`ADDRESS` of the API")
	fs.StringVar(&flags.DataDir, "data-dir", defaults.DataDir, "`DIR` that keeps the jobs")
	fs.StringVar(&flags.Account, "account", defaults.Account, "account `ID` that owns the jobs")
	logging.add(cmd, "info")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := defaults
		if config == "" {
			config = w.getenv("STEVEDORE_CONFIG")
		}
		if config != "" {
			var err error
			if c, err = service.LoadConfig(config); err != nil {
				return &problem{what: "the configuration is not valid", why: err.Error(), code: exitInvalid, err: err}
			}
		}
		if fs.Changed("listen") {
			c.Listen = flags.Listen
		}
		if fs.Changed("data-dir") {
			c.DataDir = flags.DataDir
		}
		if fs.Changed("account") {
			// Keys that named no account of their own follow.
			for i := range c.Keys {
				if c.Keys[i].Account == c.Account {
					c.Keys[i].Account = flags.Account
				}
			}
			c.Account = flags.Account
		}
		logger, err := logging.logger(w.stderr)
		if err != nil {
			return err
		}
		c.Logger = logger
		return serve(cmd.Context(), c)
	}
	return cmd
}

// serve runs a service until ctx ends or the service cannot go on.
func serve(ctx context.Context, c service.Config) error {
	if err := c.Validate(); err != nil {
		return &problem{what: "the configuration is not valid", why: err.Error(), code: exitInvalid, err: err}
	}
	s, err := service.Start(ctx, c)
	if err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop before it had begun
		}
		return startProblem(err, c.DataDir)
	}
	select {
	case <-ctx.Done():
		c.Logger.InfoContext(ctx, "stopping", "cause", context.Cause(ctx))
	case <-s.Done():
		return &problem{what: "the service ended by itself", why: text(s.Err()), code: exitFailed, err: s.Err()}
	}
	stopping, cancel := stopContext(ctx, c.ShutdownGrace+10*time.Second) // the grace is for the tasks
	defer cancel()
	if err := s.Stop(stopping); err != nil {
		return &problem{what: "the service did not stop in order", why: err.Error(), code: exitFailed, err: err}
	}
	c.Logger.InfoContext(ctx, "stopped")
	return nil
}

// stopContext bounds stopping, which goes on after ctx has ended.
func stopContext(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), grace)
}

// startProblem says why a service did not start, with the exit code for it.
func startProblem(err error, dataDir string) error {
	p := &problem{what: "the service could not start", why: err.Error(), code: exitFailed, err: err}
	if e, ok := errors.AsType[*service.ListenError](err); ok {
		p.what, p.why, p.code = "the address of the API cannot be listened on", e.Err.Error(), exitCannotListen
		p.try = "another --listen address; port 0 takes a free one"
	} else if e, ok := errors.AsType[*service.DataError](err); ok {
		p.what, p.why, p.code = "the data directory cannot be used", e.Err.Error(), exitDataDir
		p.try = "another directory, or stop the process that uses this one"
	} else if e, ok := errors.AsType[*fs.PathError](err); ok && onPath(e.Path, filepath.Clean(dataDir)) {
		p.what, p.why, p.code = "the data directory cannot be used", e.Error(), exitDataDir
		p.try = "another --data-dir, one that this user may write in"
	} else if errors.Is(err, service.ErrNoCredentials) {
		p.code = exitInvalid
		p.try = "AWS_ENDPOINT_URL_S3=... AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... stevedore serve"
	}
	return p
}

// onPath reports whether one of two paths may be a folder on the way to the other.
func onPath(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// logFlags are the flags that say what is logged and how.
type logFlags struct{ format, level string }

func (l *logFlags) add(cmd *cobra.Command, level string) {
	cmd.Flags().StringVar(&l.format, "log-format", "auto", "text, json, or auto: text on a terminal, else json")
	cmd.Flags().StringVar(&l.level, "log-level", level, "debug, info, warn or error")
}

// logger logs to out.
func (l *logFlags) logger(out io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, usagef("--log-level %s: want debug, info, warn or error", l.level)
	}
	options := &slog.HandlerOptions{Level: level}
	format := strings.ToLower(l.format)
	if format == "auto" {
		format = "json"
		if _, ok := terminal(out); ok {
			format = "text"
		}
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	}
	return nil, usagef("--log-format %s: want text, json or auto", l.format)
}

// terminal returns the file descriptor of out if that is a terminal.
func terminal(out any) (fd int, ok bool) {
	if o, ok := out.(*output); ok {
		out = o.Writer
	}
	f, ok := out.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// text is the text of err, "" for nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}
