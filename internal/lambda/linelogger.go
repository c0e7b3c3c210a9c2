package lambda

import (
	"bytes"
	"log/slog"
)

// maxLine bounds a line of the log, in bytes; the rest of a longer one is dropped.
const maxLine = 4 << 10

// lineLogger logs what a program prints, line by line. It belongs to the goroutine
// that copies the stream.
type lineLogger struct {
	logger *slog.Logger
	stream string
	line   []byte
	cut    bool // the line has lost its end
}

// Write implements io.Writer.
func (l *lineLogger) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		room := maxLine - len(l.line)
		l.cut = l.cut || len(part) > room
		l.line = append(l.line, part[:min(len(part), room)]...)
		if ended {
			l.flush()
		}
		p = rest
	}
	return n, nil
}

// flush logs what there is of a line.
func (l *lineLogger) flush() {
	text := string(bytes.ToValidUTF8(bytes.TrimRight(l.line, "\r"), []byte("?")))
	if l.cut {
		text += "..."
	}
	if text != "" {
		l.logger.Info("function output", "stream", l.stream, "line", text)
	}
	l.line, l.cut = l.line[:0], false
}
