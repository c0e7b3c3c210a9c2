package report

import (
	"bytes"
	"strconv"
	"strings"

	"stevedore/internal/job"
)

// AppendRow appends one task's row of the report to dst. rawKey is the cell of
// the manifest as it stood there, still URL-encoded; versionID is empty if the
// row had none. out.Message loses its line breaks: many readers go line by line.
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
	dst = appendField(dst, oneLine(out.Message))
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

func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
}
