package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
)

func (c *jobCommands) tag() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tag [JOB]",
		Short: "Show and change the tags of a job",
		Long: `Shows and changes the tags of a job. set and unset read the tags and write them
back, as the API knows only the whole set: who else changes them at the same
moment may be overwritten.`,
		Example: `  stevedore job tag 00e1                      the same as job tag get 00e1
  stevedore job tag set 00e1 team=storage`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && regexp.MustCompile(`^(job/)?[0-9a-fA-F][0-9a-fA-F-]{3,}$`).MatchString(args[0]) {
				return c.showTags(cmd.Context(), args[0])
			}
			if len(args) > 0 {
				return &problem{what: fmt.Sprintf("job tag has no command %q", args[0]), try: try(c.w, "job tag --help"), code: exitUsage}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(c.tagGet(), c.tagSet(), c.tagUnset())
	return cmd
}

func (c *jobCommands) tagGet() *cobra.Command {
	return &cobra.Command{
		Use:   "get JOB",
		Short: "Show the tags of a job",
		Example: `  stevedore job tag get 00e1
  stevedore job tag get 00e1 -o json`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.showTags(cmd.Context(), args[0])
		},
	}
}

func (c *jobCommands) showTags(ctx context.Context, given string) error {
	return c.withJob(ctx, given, func(api *client, id string) error {
		tags, err := c.readTags(ctx, api, id)
		if err != nil {
			return err
		}
		return c.printTags(tags)
	})
}

func (c *jobCommands) tagSet() *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "set JOB KEY=VALUE...",
		Short: "Add tags to a job, or change their values",
		Example: `  stevedore job tag set 00e1 team=storage ticket=4711
  stevedore job tag set 00e1 --replace team=storage`,
		Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var wanted []job.Tag
			for _, arg := range args[1:] {
				key, value, ok := strings.Cut(arg, "=")
				if !ok || key == "" {
					return usagef("tag %q: want KEY=VALUE", arg)
				}
				wanted = setTag(wanted, job.Tag{Key: key, Value: value})
			}
			return c.withJob(cmd.Context(), args[0], func(api *client, id string) error {
				tags := controlapi.JobTags{Tags: []job.Tag{}}
				if !replace {
					var err error
					if tags, err = c.readTags(cmd.Context(), api, id); err != nil {
						return err
					}
				}
				for _, t := range wanted {
					tags.Tags = setTag(tags.Tags, t)
				}
				return c.writeTags(cmd.Context(), api, id, tags)
			})
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "take away all other tags")
	return cmd
}

func (c *jobCommands) tagUnset() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "unset JOB KEY...",
		Short: "Take tags away from a job",
		Example: `  stevedore job tag unset 00e1 ticket
  stevedore job tag unset 00e1 --all`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all != (len(args) == 1) {
				return usagef("unset needs the keys of tags, or else --all")
			}
			return c.withJob(cmd.Context(), args[0], func(api *client, id string) error {
				if all {
					if err := api.deleteTags(cmd.Context(), id); err != nil {
						return api.explain(c.w, id, "delete the tags of job "+shortID(id), err)
					}
					return c.printTags(controlapi.JobTags{Tags: []job.Tag{}})
				}
				tags, err := c.readTags(cmd.Context(), api, id)
				if err != nil {
					return err
				}
				tags.Tags = slices.DeleteFunc(tags.Tags, func(t job.Tag) bool { return slices.Contains(args[1:], t.Key) })
				return c.writeTags(cmd.Context(), api, id, tags)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all tags")
	return cmd
}

// setTag adds a tag or changes its value.
func setTag(tags []job.Tag, t job.Tag) []job.Tag {
	if i := slices.IndexFunc(tags, func(have job.Tag) bool { return have.Key == t.Key }); i >= 0 {
		tags[i] = t
		return tags
	}
	return append(tags, t)
}

func (c *jobCommands) readTags(ctx context.Context, api *client, id string) (controlapi.JobTags, error) {
	tags, err := api.tags(ctx, id)
	if err != nil {
		return tags, api.explain(c.w, id, "read the tags of job "+shortID(id), err)
	}
	return tags, nil
}

func (c *jobCommands) writeTags(ctx context.Context, api *client, id string, tags controlapi.JobTags) error {
	if err := api.setTags(ctx, id, tags); err != nil {
		return api.explain(c.w, id, "set the tags of job "+shortID(id), err)
	}
	return c.printTags(tags)
}

// printTags shows what the tags are now.
func (c *jobCommands) printTags(tags controlapi.JobTags) error {
	if c.output == "json" {
		return writeAWS(c.w.stdout, tags)
	}
	slices.SortFunc(tags.Tags, func(a, b job.Tag) int { return cmp.Compare(a.Key, b.Key) })
	t := tabwriter.NewWriter(c.w.stdout, 0, 0, 2, ' ', 0)
	for _, tag := range tags.Tags {
		fmt.Fprintf(t, "%s\t%s\n", printable(tag.Key), printable(tag.Value))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
