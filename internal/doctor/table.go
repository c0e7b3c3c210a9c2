package doctor

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range r.Checks {
		state := "ok"
		if !c.OK {
			state = "NO"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", state, c.Name, line(c.Detail))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(w)
		if err := r.writeFindings(w); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%d work, %d refused, %d ignored, %d dangerous, %d untested\n",
			r.Count(Works), r.Count(Refused), r.Count(Ignored), r.Count(Dangerous), r.Count(Untested))
	}
	for _, left := range r.LeftBehind {
		fmt.Fprintf(w, "left behind: %s\n", line(left))
	}
	return nil
}

// writeFindings writes one line for each finding. What is bad stands out in
// capitals.
func (r *Report) writeFindings(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OPERATION\tPARAMETER\tRESULT\tDETAIL")
	before := ""
	for _, f := range r.Findings {
		operation := f.Operation
		if operation == before {
			operation = ""
		}
		before = f.Operation
		result := string(f.Verdict)
		if f.Verdict == Ignored || f.Verdict == Dangerous {
			result = strings.ToUpper(result)
		}
		detail := strings.TrimPrefix(strings.TrimSpace(f.Code+"; "+f.Detail), "; ")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", operation, cmp.Or(f.Parameter, "-"), result, cmp.Or(line(strings.TrimSuffix(detail, ";")), "-"))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// line makes a text of the store fit for one cell.
func line(s string) string {
	const most = 120
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > most {
		s = string(r[:most-3]) + "..."
	}
	return s
}
