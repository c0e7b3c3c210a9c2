package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// sample is how far something has come.
type sample struct {
	label  string // what is done; another label begins a new measurement
	unit   string // what is counted, in the plural
	done   int64
	total  int64 // 0 while it is not known
	failed int64 // of done
}

// pace is how fast it goes, as far as that is known.
type pace struct {
	rate    float64       // per second, over the last rateWindow; negative: not known
	eta     time.Duration // negative: not known
	elapsed time.Duration // since the first sample of the label
}

const (
	rateWindow    = 10 * time.Second
	redrawEvery   = 100 * time.Millisecond
	plainEvery    = 10 * time.Second
	shortestPace  = time.Second // of data before a rate is shown
	narrow        = 80          // columns below which only the numbers are shown
	fallbackWidth = 80
)

// meter shows progress: a line that is redrawn in place on a terminal, and
// elsewhere a plain line at the start, every plainEvery, and at the end: when the
// label changes, something else is said, or the meter is cleared.
//
// Its methods may be called concurrently.
type meter struct {
	out   io.Writer
	plain func(sample, pace) string // the form of plain lines
	every time.Duration             // between plain lines
	width func() int                // columns; nil where out is not a terminal
	ascii bool

	mu     sync.Mutex
	label  string
	first  time.Time
	points []point // oldest first, within rateWindow
	shown  time.Time
	most   int64   // done, of all samples with the label: concurrent ones may come late
	last   sample  // that was shown
	held   *sample // that came after it
	heldAt time.Time
	drawn  bool // a line stands on the terminal
}

type point struct {
	at   time.Time
	done int64
}

// newMeter returns a meter on out, which is a terminal or is not.
func newMeter(out io.Writer, getenv func(string) string) *meter {
	m := &meter{out: out, plain: plainLine, every: plainEvery, ascii: !unicodeLocale(getenv)}
	if fd, ok := terminal(out); ok && getenv("TERM") != "dumb" {
		m.width = func() int {
			if width, _, err := term.GetSize(fd); err == nil && width > 0 {
				return width
			}
			return fallbackWidth
		}
	}
	return m
}

// unicodeLocale reports whether the terminal can be expected to show more than ASCII.
func unicodeLocale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// show tells of s, if it is time to.
func (m *meter) show(s sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	every := redrawEvery
	if m.width == nil {
		every = m.every
	}
	if s.label != m.label {
		m.erase()
		m.label, m.first, m.points, m.shown, m.most = s.label, now, nil, time.Time{}, 0
	}
	if s.done < m.most {
		return
	}
	m.most = s.done
	if !m.shown.IsZero() && now.Sub(m.shown) < every {
		if s != m.last {
			m.held, m.heldAt = &s, now
		}
		return
	}
	m.shown, m.last, m.held = now, s, nil
	p := m.measure(now, s)
	if m.width == nil {
		fmt.Fprintln(m.out, m.plain(s, p))
		return
	}
	// The last column stays free: some terminals wrap when it is written.
	fmt.Fprint(m.out, "\r\x1b[K"+cut(barLine(s, p, m.width()-1, m.ascii), m.width()-1))
	m.drawn = true
}

// say prints a line that stays.
func (m *meter) say(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
	fmt.Fprintln(m.out, line)
}

// clear takes the redrawn line away, or adds the last plain one.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
}

func (m *meter) erase() {
	if s := m.held; s != nil && m.width == nil {
		m.shown, m.last = m.heldAt, *s
		fmt.Fprintln(m.out, m.plain(*s, m.measure(m.heldAt, *s)))
	}
	m.held = nil
	if m.drawn {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.drawn = false
	}
}

// measure adds a point and returns the pace.
func (m *meter) measure(now time.Time, s sample) pace {
	m.points = append(m.points, point{now, s.done})
	for len(m.points) > 2 && now.Sub(m.points[0].at) > rateWindow {
		m.points = m.points[1:]
	}
	p := pace{rate: -1, eta: -1, elapsed: now.Sub(m.first)}
	oldest := m.points[0]
	span := now.Sub(oldest.at)
	if span < shortestPace {
		return p
	}
	p.rate = float64(s.done-oldest.done) / span.Seconds()
	if p.rate > 0 && s.total > 0 {
		seconds := float64(s.total-s.done) / p.rate
		if seconds < math.MaxInt32 {
			p.eta = time.Duration(math.Ceil(seconds)) * time.Second
		}
	}
	return p
}

// barLine is one line of up to width columns.
func barLine(s sample, p pace, width int, ascii bool) string {
	switch {
	case s.total > 0 || s.done == 0:
	case width < narrow-1:
		return fmt.Sprintf("%s %s", short(s.done), rate(p))
	default:
		return fmt.Sprintf("%-10s %s %s   %s", s.label, thousands(s.done), s.unit, rate(p))
	}
	percent := percentage(s)
	if width < narrow-1 {
		line := fmt.Sprintf("%s %s/%s", percent, short(s.done), short(s.total))
		if p.rate >= 0 {
			line += fmt.Sprintf(" %s/s", short(int64(p.rate)))
		}
		line += " ETA " + eta(p)
		if s.failed > 0 {
			line += fmt.Sprintf(" failed %s", short(s.failed))
		}
		return line
	}
	tail := fmt.Sprintf("  %6s   %s / %s   %s   ETA %s", percent, thousands(s.done), thousands(s.total), rate(p), eta(p))
	if s.failed > 0 {
		tail += fmt.Sprintf("   failed %s", thousands(s.failed))
	}
	label := fmt.Sprintf("%-10s ", s.label)
	room := min(40, width-utf8.RuneCountInString(label)-utf8.RuneCountInString(tail))
	return label + bar(s, room, ascii) + tail
}

// bar is a bar of width columns.
func bar(s sample, width int, ascii bool) string {
	if width <= 0 {
		return ""
	}
	full, empty := "━", "─"
	if ascii {
		full, empty = "#", "-"
	}
	n := 0
	if s.total > 0 {
		n = int(min(s.total, s.done) * int64(width) / s.total)
	}
	return strings.Repeat(full, n) + strings.Repeat(empty, width-n)
}

// plainLine is how progress reads in a log.
func plainLine(s sample, p pace) string {
	if s.total <= 0 {
		return s.label
	}
	line := fmt.Sprintf("%s: %s of %s %s (%s)", s.label, thousands(s.done), thousands(s.total), s.unit, percentage(s))
	if p.rate >= 0 {
		line += ", " + rate(p)
		if s.done < s.total {
			line += ", ETA " + eta(p)
		}
	}
	if s.failed > 0 {
		line += fmt.Sprintf(", %s failed", thousands(s.failed))
	}
	return line
}

// percentage rounds down: 100 means all.
func percentage(s sample) string {
	if s.total <= 0 {
		return "-"
	}
	tenths := 1000 * float64(s.done) / float64(s.total)
	return fmt.Sprintf("%.1f%%", math.Floor(tenths)/10)
}

func rate(p pace) string {
	if p.rate < 0 {
		return "-/s"
	}
	return thousands(int64(math.Round(p.rate))) + "/s"
}

func eta(p pace) string {
	if p.eta < 0 {
		return "-"
	}
	return p.eta.String()
}

// short writes n in few columns: 583k, 1.0M.
func short(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprint(n)
	case n < 10_000:
		return fmt.Sprintf("%.1fk", float64(n/100)/10)
	case n < 1_000_000:
		return fmt.Sprintf("%dk", n/1000)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1fM", float64(n/100_000)/10)
	}
	return fmt.Sprintf("%.1fG", float64(n/100_000_000)/10)
}

// cut shortens s to width columns, counting characters.
func cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width])
}
