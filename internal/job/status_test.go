package job

import (
	"testing"
	"time"
)

// steps is the drawing of docs/design.md, pair by pair.
var steps = map[Status][]Status{
	New:        {Preparing, Failing, Failed, Cancelled},
	Preparing:  {Suspended, Ready, Failing, Failed, Cancelling},
	Suspended:  {Ready, Failed, Cancelled},
	Ready:      {Active, Failing, Failed, Cancelled},
	Active:     {Pausing, Completing, Failing, Cancelling},
	Pausing:    {Paused, Failing, Cancelling},
	Paused:     {Active, Failing, Cancelling},
	Completing: {Complete, Failing},
	Cancelling: {Cancelled, Failing},
	Failing:    {Failed},
}

func TestEveryPairOfStatuses(t *testing.T) {
	t.Parallel()
	if n := len(Statuses()); n != 13 {
		t.Fatalf("got %d statuses, want the model's 13", n)
	}
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			want := false
			for _, s := range steps[from] {
				want = want || s == to
			}
			if got := from.CanBecome(to); got != want {
				t.Errorf("%s to %s: got %t, want %t", from, to, got, want)
			}
		}
		if got, want := from.Terminal(), len(steps[from]) == 0; got != want {
			t.Errorf("%s terminal: got %t, want %t", from, got, want)
		}
	}
}

func TestEveryStatusIsReachable(t *testing.T) {
	t.Parallel()
	seen := map[Status]bool{New: true}
	for queue := []Status{New}; len(queue) > 0; queue = queue[1:] {
		for _, to := range steps[queue[0]] {
			if !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	for _, s := range Statuses() {
		if !seen[s] {
			t.Errorf("%s cannot be reached from New", s)
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	check := func(from, want, to Status, ok bool) {
		t.Helper()
		got, gotOK := from.Request(want)
		if gotOK != ok || ok && got != to {
			t.Errorf("%s asked to be %s: got %s, %t, want %s, %t", from, want, got, gotOK, to, ok)
		}
		if gotOK && got != from && !from.CanBecome(got) {
			t.Errorf("%s asked to be %s: %s is not a legal step", from, want, got)
		}
	}
	for from, to := range map[Status]Status{
		New: Cancelled, Suspended: Cancelled, Ready: Cancelled, Preparing: Cancelling,
		Active: Cancelling, Pausing: Cancelling, Paused: Cancelling,
		Cancelling: Cancelling, Cancelled: Cancelled,
	} {
		check(from, Cancelled, to, true)
	}
	for _, from := range []Status{Completing, Complete, Failing, Failed} {
		check(from, Cancelled, "", false)
	}
	for _, from := range Statuses() {
		check(from, Ready, Ready, from == Suspended || from == Ready)
		for _, other := range Statuses() {
			if other != Ready && other != Cancelled {
				check(from, other, "", false)
			}
		}
	}
}

func TestBecomeKeepsTheDates(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	j := Job{Status: New}
	at := func(d time.Duration, s Status) {
		t.Helper()
		if !j.Become(s, start.Add(d)) {
			t.Fatalf("cannot become %s from %s", s, j.Status)
		}
	}
	at(0, Preparing)
	at(time.Second, Suspended)
	if j.SuspendedDate == nil || j.SuspendedCause != "AWAITING_CONFIRMATION" {
		t.Errorf("suspended: got date %v, cause %q", j.SuspendedDate, j.SuspendedCause)
	}
	at(time.Minute, Ready)
	at(2*time.Minute, Active)
	at(5*time.Minute, Pausing)
	at(6*time.Minute, Paused)
	at(10*time.Minute, Active)
	if got, want := j.ActiveTime(start.Add(11*time.Minute)), 4*time.Minute; got != want {
		t.Errorf("active time while active: got %v, want %v", got, want)
	}
	at(12*time.Minute, Completing)
	at(20*time.Minute, Complete)
	if got, want := j.ActiveTime(start.Add(time.Hour)), 5*time.Minute; got != want {
		t.Errorf("active time at the end: got %v, want %v", got, want)
	}
	if want := start.Add(20 * time.Minute); j.TerminationDate == nil || !j.TerminationDate.Equal(want) {
		t.Errorf("termination date: got %v, want %v", j.TerminationDate, want)
	}
	if want := start.Add(12 * time.Minute); j.WorkEnded == nil || !j.WorkEnded.Equal(want) {
		t.Errorf("work ended: got %v, want %v", j.WorkEnded, want)
	}
	if before := j; j.Become(Active, start.Add(time.Hour)) || j.Status != before.Status {
		t.Error("a complete job became active")
	}
}

func TestThreshold(t *testing.T) {
	t.Parallel()
	check := func(succeeded, failed int64, want bool) {
		t.Helper()
		if got := OverThreshold(succeeded, failed); got != want {
			t.Errorf("%d succeeded, %d failed: got %t, want %t", succeeded, failed, got, want)
		}
	}
	check(0, 999, false) // fewer than 1,000 tasks never trip it
	check(0, 1000, true)
	check(500, 500, false) // exactly half does not
	check(499, 501, true)
	check(1_000_000, 999_999, false)
	check(1_000_000, 1_000_001, true)
}
