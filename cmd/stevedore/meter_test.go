package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// TestMeterPlain: a line at the start, one at the end, and few in between.
func TestMeterPlain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := newMeter(&out, func(string) string { return "" })
		for i := range 25 {
			m.show(sample{label: "tagging", unit: "objects", done: int64(i * 100), total: 5000})
			time.Sleep(time.Second)
		}
		m.show(sample{label: "checking", unit: "objects", done: 1, total: 10, failed: 1})
		time.Sleep(time.Second)
		m.show(sample{label: "checking", unit: "objects", done: 10, total: 10, failed: 1})
		m.show(sample{label: "checking", unit: "objects", done: 9, total: 10, failed: 1}) // was overtaken
		m.say("done")
		m.show(sample{label: "checking", unit: "objects", done: 10, total: 10, failed: 1}) // nothing new
		m.clear()
		want := `tagging: 0 of 5,000 objects (0.0%)
tagging: 1,000 of 5,000 objects (20.0%), 100/s, ETA 40s
tagging: 2,000 of 5,000 objects (40.0%), 100/s, ETA 30s
tagging: 2,400 of 5,000 objects (48.0%), 100/s, ETA 26s
checking: 1 of 10 objects (10.0%), 1 failed
checking: 10 of 10 objects (100.0%), 9/s, 1 failed
done
`
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", &out, want)
		}
	})
}

// TestMeterTerminal: one line that is drawn over itself, never wider than the terminal.
func TestMeterTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		width := 100
		m := newMeter(&out, func(string) string { return "C.UTF-8" })
		m.width = func() int { return width }
		for i := range 40 {
			m.show(sample{label: "tagging", done: int64(i * 10), total: 400, failed: int64(i)})
			time.Sleep(50 * time.Millisecond) // twice as often as it is drawn
		}
		width = 40
		m.show(sample{label: "tagging", done: 400, total: 400})
		m.say("the end")
		lines := strings.Split(out.String(), "\r\x1b[K")
		if len(lines) != 1+20+1+1 { // what is before the first, the drawn ones, the narrow one, the end
			t.Errorf("got %d lines:\n%q", len(lines), lines)
		}
		for i, line := range lines[:len(lines)-1] {
			most := 99
			if i == len(lines)-2 {
				most = 39
			}
			if n := utf8.RuneCountInString(line); n > most || strings.Contains(line, "\n") {
				t.Errorf("a line of %d columns, want at most %d: %q", n, most, line)
			}
		}
		if got := lines[len(lines)-3]; !strings.Contains(got, "━─") || !strings.Contains(got, "95.0%   380 / 400") || !strings.Contains(got, "200/s   ETA 1s   failed 38") {
			t.Errorf("got the line %q", got)
		}
		if got := lines[len(lines)-1]; got != "the end\n" {
			t.Errorf("got %q at the end", got)
		}
	})
}

func TestMeterUnknownTotal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := newMeter(&out, func(string) string { return "" })
	m.show(sample{label: "Preparing", unit: "tasks"})
	if got, want := out.String(), "Preparing\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := barLine(sample{label: "Preparing"}, pace{rate: -1, eta: -1}, 90, true); !strings.Contains(got, "-----") || !strings.Contains(got, "ETA -") {
		t.Errorf("got %q", got)
	}
	counted := sample{label: "list", unit: "keys", done: 1_234_567}
	for width, want := range map[int]string{90: "list       1,234,567 keys   8,000/s", 40: "1.2M 8,000/s"} {
		if got := barLine(counted, pace{rate: 8000, eta: -1}, width, true); got != want {
			t.Errorf("%d columns: got %q, want %q", width, got, want)
		}
	}
}

// TestPercentage: 100 % is said of all, and of nothing less.
func TestPercentage(t *testing.T) {
	t.Parallel()
	check := func(done, total int64, want string) {
		t.Helper()
		if got := percentage(sample{done: done, total: total}); got != want {
			t.Errorf("%d of %d: got %s, want %s", done, total, got, want)
		}
	}
	check(0, 10_000_000, "0.0%")
	check(9_999_999, 10_000_000, "99.9%")
	check(10_000_000, 10_000_000, "100.0%")
	check(0, 0, "-")
}

func TestUnicodeLocale(t *testing.T) {
	t.Parallel()
	check := func(want bool, environ ...string) {
		t.Helper()
		if got := unicodeLocale(world{environ: environ}.getenv); got != want {
			t.Errorf("%q: got %t", environ, got)
		}
	}
	check(false)
	check(true, "LANG=de_DE.UTF-8")
	check(true, "LC_ALL=C.utf8", "LANG=C")
	check(false, "LC_ALL=C", "LANG=de_DE.UTF-8")
}
