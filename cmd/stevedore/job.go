package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

// pageSize is the largest page of ListJobs.
const pageSize = 1000

// jobCommands are the commands under job and what they have in common.
type jobCommands struct {
	w       world
	connect connectFlags
	output  string
}

func newJob(w world) *cobra.Command {
	c := &jobCommands{w: w}
	cmd := &cobra.Command{
		Use:   "job",
		Short: "Create, list, watch and change jobs",
		Long: `Calls the job API of a server. Where a job is asked for, its ID will do, or the
first four or more characters of it if no other job begins like that.

With -o json the answer is what the AWS CLI prints for the same call.`,
		Example: `  stevedore job create --cli-input-json job.json
  stevedore job watch 00e1 --exit-status`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &problem{what: fmt.Sprintf("job has no command %q", args[0]), try: try(w, "job --help"), code: exitUsage}
			}
			return cmd.Help()
		},
	}
	c.connect.add(cmd, false)
	cmd.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "table, json or name")
	cmd.AddCommand(c.create(), c.retry(), c.list(), c.describe(), c.watch(), c.confirm(), c.cancel(), c.priority(), c.tag())
	return cmd
}

// atLeast takes the arguments that the usage line of a command names, and at least
// so many of them. The last of them may have "..." behind it.
func atLeast(least int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		names := strings.Fields(cmd.Use)[1:]
		_, path, _ := strings.Cut(cmd.CommandPath(), " ")
		switch {
		case len(args) < least:
			name := strings.TrimSuffix(names[len(args)], "...")
			meaning := map[string]string{"JOB": ", the ID of a job", "N": ", the new priority", "KEY=VALUE": ", a tag"}[name]
			return fmt.Errorf("%s needs %s%s", path, name, meaning)
		case len(args) > len(names) && !strings.HasSuffix(names[len(names)-1], "..."):
			return fmt.Errorf("%s takes only %s; what is %q?", path, strings.Join(names, " "), args[len(names)])
		}
		return nil
	}
}

// with gives a client to do.
func (c *jobCommands) with(ctx context.Context, do func(api *client) error) error {
	if !slices.Contains([]string{"table", "json", "name"}, c.output) {
		return usagef("-o %s: want table, json or name", c.output)
	}
	at, err := c.connect.connect(ctx, c.w)
	if err != nil {
		return err
	}
	api := newClient(at)
	defer api.close()
	return do(api)
}

// withJob gives do a client and the ID of the job that is meant.
func (c *jobCommands) withJob(ctx context.Context, given string, do func(api *client, id string) error) error {
	return c.with(ctx, func(api *client) error {
		id, err := api.find(ctx, c.w, given)
		if err != nil {
			return err
		}
		return do(api, id)
	})
}

// withJobs does it for each of several jobs, and goes on after an error.
func (c *jobCommands) withJobs(ctx context.Context, given []string, do func(api *client, id string) error) error {
	return c.with(ctx, func(api *client) error {
		var last error
		for _, g := range given {
			id, err := api.find(ctx, c.w, g)
			if err == nil {
				err = do(api, id)
			}
			if last != nil && err != nil {
				tell(c.w.stderr, last)
			}
			if err != nil {
				last = err
			}
		}
		return last
	})
}

// print prints the answer to a call about one job: as JSON, or as a line with
// what has become of it.
func (c *jobCommands) print(answer any, id, outcome string) error {
	switch c.output {
	case "json":
		return writeAWS(c.w.stdout, answer)
	case "name":
		fmt.Fprintln(c.w.stdout, "job/"+id)
	default:
		fmt.Fprintf(c.w.stdout, "job/%s %s\n", id, outcome)
	}
	return nil
}

func (c *jobCommands) create() *cobra.Command {
	var (
		file, example string
		dryRun        bool
		looking       dryRunOptions
	)
	cmd := &cobra.Command{
		Use:   "create --cli-input-json FILE|-",
		Short: "Create a job from the JSON that the AWS CLI takes",
		Long: `Creates a job from a file in the form that "aws s3control create-job" takes as
--cli-input-json. AccountId may be left out; so may ClientRequestToken, then each
call creates a job of its own. A job waits for its confirmation unless
ConfirmationRequired is false.

--dry-run creates nothing. It checks the request, reads the whole manifest or lists
what the generator would, with the access that exec would give to the store, counts,
shows what the first tasks would do, and looks for the bucket of the report. It exits
with 10 if the job would fail and with 9 if no object matches. Whether the server takes
the role is not looked at.

--example prints such a file, for one of the operations
` + strings.Join(exampleNames(), ", ") + `.`,
		Example: `  stevedore job create --example tag > job.json
  stevedore job create --cli-input-json job.json
  stevedore job create --cli-input-json job.json --dry-run --head-sample 100`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && file == "" && example == "" { // copy.json: what else could it be
				return &problem{
					what: fmt.Sprintf("create takes the request as --cli-input-json %s", quoteShell(args[0])),
					try:  try(c.w, "job create --cli-input-json "+quoteShell(args[0])), code: exitUsage,
				}
			}
			return noArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			const mostHeads = 100_000
			switch {
			case !dryRun && (cmd.Flags().Changed("sample") || looking.heads != 0):
				return usagef("--sample and --head-sample are for --dry-run")
			case looking.sample < 0 || looking.heads < 0 || looking.heads > mostHeads:
				return usagef("--sample %d, --head-sample %d: want 0 or more, and at most %d objects to be looked at", looking.sample, looking.heads, mostHeads)
			case example != "" && file != "":
				return usagef("--example prints a request, --cli-input-json takes one: not both")
			case example != "":
				return c.printExample(example)
			case file == "":
				return &problem{
					what: "create needs --cli-input-json FILE, or - for standard input",
					try:  try(c.w, "job create --example tag > job.json") + ", for a file to begin with", code: exitUsage,
				}
			}
			spec, account, err := c.input(file)
			if err != nil {
				return err
			}
			if dryRun {
				return c.dryRun(cmd.Context(), &spec, account, looking)
			}
			return c.with(cmd.Context(), func(api *client) error {
				if account != "" && c.connect.account == "" {
					api.at.account = account
				}
				out, err := api.createJob(cmd.Context(), &spec)
				if err != nil {
					return api.explain(c.w, "", "create the job", err)
				}
				return c.print(out, out.JobId, "created")
			})
		},
	}
	cmd.Flags().StringVar(&file, "cli-input-json", "", "`FILE` with the request, - for standard input")
	cmd.Flags().StringVar(&example, "example", "", "print a request for `OPERATION`, create nothing")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only look at what the job would do, create nothing")
	cmd.Flags().IntVar(&looking.sample, "sample", 5, "with --dry-run: show what the first `N` tasks would do")
	cmd.Flags().IntVar(&looking.heads, "head-sample", 0, "with --dry-run: estimate the bytes by looking at `N` objects")
	cmd.Flags().StringVar(&c.connect.s3, "s3-endpoint-url", "", "with --dry-run: `URL` of the store")
	return cmd
}

// input reads a request to create a job.
func (c *jobCommands) input(file string) (job.Spec, string, error) {
	in, name := c.w.stdin, "standard input"
	if file = strings.TrimPrefix(file, "file://"); file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return job.Spec{}, "", &problem{what: "--cli-input-json: " + err.Error(), code: exitUsage, err: err}
		}
		defer f.Close()
		in, name = f, file
	}
	spec, account, problems, err := readInput(in)
	if err != nil {
		return spec, "", &problem{what: fmt.Sprintf("read the request from %s: %v", name, err), code: exitInvalid, err: err}
	}
	if len(problems) > 0 {
		var lines []string
		for _, p := range problems {
			lines = append(lines, p.String())
		}
		return spec, "", &problem{
			what: "the request in " + name + " is not valid", why: strings.Join(lines, "\n"),
			try: try(c.w, "job create --example tag") + ", to compare with", code: exitInvalid,
		}
	}
	return spec, account, nil
}

func (c *jobCommands) list() *cobra.Command {
	var (
		statuses []string
		limit    int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, the newest first",
		Example: `  stevedore job list
  stevedore job list --status Active,Suspended -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted, err := parseStatuses(statuses)
			if err != nil {
				return err
			}
			if limit < 1 {
				return usagef("--limit %d: want at least 1", limit)
			}
			return c.with(cmd.Context(), func(api *client) error { return c.printList(cmd.Context(), api, wanted, limit) })
		},
	}
	cmd.Flags().StringSliceVar(&statuses, "status", nil, "only jobs in these `STATUSES`, with commas between them")
	cmd.Flags().IntVar(&limit, "limit", pageSize, "at most `N` jobs")
	return cmd
}

// parseStatuses reads statuses in any case.
func parseStatuses(names []string) ([]job.Status, error) {
	var out []job.Status
	for _, name := range names {
		i := slices.IndexFunc(job.Statuses(), func(s job.Status) bool { return strings.EqualFold(string(s), name) })
		if i < 0 {
			return nil, usagef("--status %s: want one of %s", name, strings.Join(job.New.Values(), ", "))
		}
		out = append(out, job.Statuses()[i])
	}
	return out, nil
}

func (c *jobCommands) printList(ctx context.Context, api *client, statuses []job.Status, limit int) error {
	all := controlapi.ListJobsResult{Jobs: []controlapi.ListedJob{}}
	for {
		page, err := api.listJobs(ctx, statuses, all.NextToken, min(pageSize, limit-len(all.Jobs)))
		if err != nil {
			return api.explain(c.w, "", "list jobs", err)
		}
		stuck := page.NextToken == all.NextToken
		all.Jobs, all.NextToken = append(all.Jobs, page.Jobs...), page.NextToken
		if page.NextToken == "" || stuck || len(all.Jobs) >= limit {
			break
		}
	}
	switch c.output {
	case "json":
		return writeAWS(c.w.stdout, all)
	case "name":
		for _, j := range all.Jobs {
			fmt.Fprintln(c.w.stdout, "job/"+j.JobId)
		}
	default:
		if err := writeJobTable(c.w.stdout, all.Jobs); err != nil {
			return err
		}
	}
	if all.NextToken != "" {
		fmt.Fprintf(c.w.stderr, "there are more jobs: --limit %d\n", 10*limit)
	}
	return nil
}

func (c *jobCommands) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "describe JOB",
		Short: "Show all about a job",
		Example: `  stevedore job describe 00e1
  stevedore job describe 00e1 -o json`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withJob(cmd.Context(), args[0], func(api *client, id string) error {
				j, err := api.describeJob(cmd.Context(), id)
				if err != nil {
					return api.explain(c.w, id, "describe job "+shortID(id), err)
				}
				if c.output == "table" {
					return c.writeDescription(&j)
				}
				return c.print(controlapi.DescribeJobResult{Job: j}, id, "")
			})
		},
	}
}

func (c *jobCommands) confirm() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm JOB...",
		Short: "Let jobs run that wait for their confirmation",
		Example: `  stevedore job confirm 00e1
  stevedore job confirm 00e1 51ab`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withJobs(cmd.Context(), args, func(api *client, id string) error {
				return c.update(cmd.Context(), api, id, job.Ready, "", "confirm")
			})
		},
	}
}

func (c *jobCommands) cancel() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel JOB...",
		Short: "Stop jobs; what they have done stays done",
		Example: `  stevedore job cancel 00e1 --reason "wrong bucket"
  stevedore job cancel 00e1 51ab`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withJobs(cmd.Context(), args, func(api *client, id string) error {
				return c.update(cmd.Context(), api, id, job.Cancelled, reason, "cancel")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` that the job shows as StatusUpdateReason")
	return cmd
}

func (c *jobCommands) update(ctx context.Context, api *client, id string, want job.Status, reason, verb string) error {
	out, err := api.updateStatus(ctx, id, want, reason)
	if err != nil {
		return api.explain(c.w, id, verb+" job "+shortID(id), err)
	}
	return c.print(out, id, string(out.Status))
}

func (c *jobCommands) priority() *cobra.Command {
	return &cobra.Command{
		Use:   "priority JOB N",
		Short: "Change the priority of a job; higher goes first",
		Example: `  stevedore job priority 00e1 100
  stevedore job priority 00e1 0`,
		Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil || n < 0 {
				return usagef("priority %s: want a whole number from 0 to 2147483647", args[1])
			}
			return c.withJob(cmd.Context(), args[0], func(api *client, id string) error {
				out, err := api.updatePriority(cmd.Context(), id, int32(n))
				if err != nil {
					return api.explain(c.w, id, "change the priority of job "+shortID(id), err)
				}
				return c.print(out, id, fmt.Sprintf("priority %d", out.Priority))
			})
		},
	}
}

// shortID is what people call a job.
func shortID(id string) string { return id[:min(8, len(id))] }
