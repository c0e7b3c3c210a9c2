package jobstoretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/jobstore"
)

// generation keeps the progress of a generator until the job ends.
func (s suite) generation(t *testing.T) {
	store := s.new(t)
	n := join(t, store, "n")
	j := move(t, store, add(t, store, "a"), job.Preparing)
	other := add(t, store, "b")
	o := own(t, n, j)
	check := func(id, wantState string, wantFiles int) {
		t.Helper()
		state, err := store.Generation(t.Context(), id)
		if err != nil || string(state) != wantState {
			t.Errorf("state %q, %v, want %q", state, err, wantState)
		}
		seen := map[string]bool{}
		for file, err := range store.GenerationFiles(t.Context(), id) {
			if err != nil {
				t.Fatal(err)
			}
			seen[string(file)] = true
		}
		if len(seen) != wantFiles {
			t.Errorf("%d files, want %d", len(seen), wantFiles)
		}
	}
	check(j.ID, "", 0)
	const rounds = 25 // more files than are read at once
	for round := range rounds {
		files := map[string]json.RawMessage{}
		for i := range jobstore.MaxChunks {
			files[fmt.Sprintf("data/%d-%d.csv.gz", round, i)] = json.RawMessage(fmt.Sprintf(`{"n":%d}`, round*jobstore.MaxChunks+i))
		}
		for range 2 { // as after an answer that got lost
			if err := n.PutGeneration(t.Context(), o, json.RawMessage(fmt.Sprintf(`{"round":%d}`, round)), files); err != nil {
				t.Fatal(err)
			}
		}
	}
	check(j.ID, `{"round":24}`, rounds*jobstore.MaxChunks)
	check(other.ID, "", 0)

	tooMany := make(map[string]json.RawMessage)
	for i := range jobstore.MaxChunks + 1 {
		tooMany[fmt.Sprint(i)] = json.RawMessage("1")
	}
	if err := n.PutGeneration(t.Context(), o, json.RawMessage("1"), tooMany); err == nil {
		t.Error("too many files were stored")
	}
	move(t, store, j, job.Cancelling)
	if err := n.PutGeneration(t.Context(), o, json.RawMessage("1"), nil); !errors.Is(err, jobstore.ErrFenced) {
		t.Errorf("stored for a job that is Cancelling: %v", err)
	}
	move(t, store, j, job.Cancelled)
	check(j.ID, "", 0)
}
