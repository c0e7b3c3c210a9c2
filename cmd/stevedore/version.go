package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(w world) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  stevedore version
  stevedore version -o json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			switch output {
			case "table":
				fmt.Fprintf(w.stdout, "stevedore %s", v.Version)
				if v.Revision != "" {
					fmt.Fprintf(w.stdout, " (%s)", v.Revision)
				}
				fmt.Fprintf(w.stdout, " %s\n", v.Go)
				return nil
			case "json":
				e := json.NewEncoder(w.stdout)
				e.SetIndent("", "    ")
				return e.Encode(v)
			}
			return usagef("-o %s: want table or json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

type version struct {
	Version  string
	Revision string `json:",omitzero"` // of the sources, with a + if they were changed
	Go       string
}

// buildVersion is what the Go tool wrote into the binary.
func buildVersion() version {
	v := version{Version: "unknown", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = info.Main.Version
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	v.Revision += dirty
	return v
}
