package main

import (
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
)

// exampleText is what the client prints as an example.
func exampleText(t *testing.T, operation string) string {
	t.Helper()
	got := invoke(t.Context(), "", nil, "job", "create", "--example", operation)
	if got.code != 0 || !strings.Contains(got.stderr, "head-object") {
		t.Fatalf("%s: got %+v", operation, got)
	}
	return got.stdout
}

// TestExamples: there is an example of every operation, and each is a valid
// request as it stands.
func TestExamples(t *testing.T) {
	t.Parallel()
	seen := map[job.OperationName]bool{}
	for _, name := range exampleNames() {
		spec, _, problems, err := readInput(strings.NewReader(exampleText(t, name)))
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: got %v and %v", name, problems, err)
			continue
		}
		if err := spec.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r := spec.Operation.S3PutObjectRetention; r != nil && r.Retention.RetainUntilDate.Before(time.Now()) {
			t.Errorf("%s: %s is over", name, r.Retention.RetainUntilDate)
		}
		seen[spec.Operation.Name()] = true
	}
	for _, name := range job.OperationName("").Values() {
		if !seen[job.OperationName(name)] {
			t.Errorf("no example of %s", name)
		}
	}
	got := invoke(t.Context(), "", nil, "job", "create", "--example", "tag", "--account-id", "555555555555")
	if !strings.Contains(got.stdout, roleARN("555555555555")) {
		t.Errorf("got\n%s\nwant a role of the account", got.stdout)
	}
}
