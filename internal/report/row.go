package report

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"stevedore/internal/job"
)

// AppendRow appends one task's row of the report to dst. rawKey is the cell of
// the manifest as it stood there, still URL-encoded; versionID is empty if the
// row had none. out.Message loses its line breaks, since many readers go line by line,
// and whatever else no manifest may have, since the failed rows are one.
//
// The columns are Bucket, Key, VersionId, TaskStatus, HTTPStatusCode, ErrorCode,
// ResultMessage, in the order AWS really writes them. Its own ReportSchema has
// the fifth and sixth the other way round (reports.md section 4).
func AppendRow(dst, bucket, rawKey, versionID []byte, out *job.Outcome) []byte {
	dst = appendField(dst, bucket)
	dst = append(dst, ',')
	dst = appendField(dst, rawKey)
	dst = append(dst, ',')
	dst = appendField(dst, versionID)
	dst = append(dst, ',')
	dst = append(dst, statusOf(out.Failed)...)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(out.HTTPStatus), 10)
	dst = append(dst, ',')
	dst = appendField(dst, out.Code)
	dst = append(dst, ',')
	dst = appendField(dst, text(out.Message))
	return append(dst, '\n')
}

// statusOf is how a report calls the status of a task.
func statusOf(failed bool) string {
	if failed {
		return "failed"
	}
	return "succeeded"
}

// appendField appends a field, quoted only if it must be (RFC 4180).
func appendField[T string | []byte](dst []byte, field T) []byte {
	start := len(dst)
	dst = append(dst, field...)
	if plain(dst[start:]) {
		return dst
	}
	dst = append(dst[:start], '"')
	for i := range len(field) {
		if field[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, field[i])
	}
	return append(dst, '"')
}

// plain reports whether a field needs no quotes. Four looks with IndexByte are
// several times faster than one at every byte.
func plain(field []byte) bool {
	return bytes.IndexByte(field, ',') < 0 && bytes.IndexByte(field, '"') < 0 &&
		bytes.IndexByte(field, '\r') < 0 && bytes.IndexByte(field, '\n') < 0
}

// text makes a message fit for a row: UTF-8 without control characters. Most need nothing.
func text(s string) string {
	clean := utf8.ValidString(s)
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] != 0x7f
	}
	if clean {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
