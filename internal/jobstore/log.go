package jobstore

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger hands etcd's log on to l: warnings and worse, the rest is dropped.
func zapLogger(l *slog.Logger) *zap.Logger {
	return zap.New(&slogCore{l.With("component", "etcd")})
}

// slogCore writes zap's entries to a slog.Logger.
type slogCore struct{ logger *slog.Logger }

func (c *slogCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{c.logger.With(attrs(fields)...)}
}

func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !expected(e.Message) {
		return ce.AddCore(e, c)
	}
	return ce
}

// expected reports whether a warning is about how we run etcd on purpose: without
// any port, and so without anybody who could bring a token.
func expected(message string) bool {
	return strings.HasPrefix(message, "Running http and grpc server on single port") ||
		message == "simple token is not cryptographically signed"
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	c.logger.Log(context.Background(), level, e.Message, attrs(fields)...) //nolint:sloglint // the message is etcd's
	return nil
}

func (c *slogCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	out := make([]any, 0, len(fields))
	for _, f := range fields {
		f.AddTo(enc)
		out = append(out, slog.Any(f.Key, enc.Fields[f.Key]))
	}
	return out
}
