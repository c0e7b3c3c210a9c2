package manifest

import (
	"bytes"
	"fmt"
	"strconv"
)

// InvalidContent is the code of every [Error]: a FailureCode of the API.
const InvalidContent = "InvalidManifestContent"

// The texts the S3 Batch Operations guide documents for InvalidManifestContent. Each reason opens
// with one of them, so that what users and scripts already look for is found.
const (
	textSchema  = "Required fields are missing in the schema"
	textContent = "Invalid Manifest Content"
	textFormat  = "Manifest file is not properly formatted"
	textKey     = "Invalid object key format"
	textVersion = "Invalid version ID format"
)

// maxReason is the longest FailureReason the API's model allows, in characters.
const maxReason = 256

// Error says what is wrong with the content of a manifest. Code and Reason are fit for the
// FailureReasons of the job: at most 256 ASCII characters, the documented text first, then the line
// and the detail.
type Error struct {
	Code   string // InvalidContent
	Reason string
	Line   int64 // counted from 1; 0 if it is the schema that is wrong
}

// Error returns the code and the reason.
func (e *Error) Error() string { return e.Code + ": " + e.Reason }

// newError composes the reason "text: line 3: detail", without the line if that is 0.
func newError(text string, line int64, detail string) *Error {
	reason := text + ": "
	if line > 0 {
		reason += fmt.Sprintf("line %d: ", line)
	}
	reason += detail
	if len(reason) > maxReason {
		reason = reason[:maxReason-3] + "..."
	}
	return &Error{Code: InvalidContent, Reason: reason, Line: line}
}

// quote shows the start of a cell, in ASCII, inside a reason.
func quote(cell []byte) string {
	const most = 24
	if len(cell) > most {
		return strconv.QuoteToASCII(string(cell[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(cell))
}

// foreign names the kind of file whose first line is head, if it is one that people give as a CSV
// manifest by mistake. No such file has a first line that is a valid row, so it is enough to ask
// once that line has been refused.
func foreign(head []byte) string {
	const stored = "; a CSV manifest must be stored uncompressed"
	for _, kind := range [...]struct{ magic, name string }{
		{"\x1f\x8b", "the file is gzip-compressed" + stored},
		{"\x28\xb5\x2f\xfd", "the file is zstd-compressed" + stored},
		{"PK\x03\x04", "the file is a ZIP archive or a spreadsheet, not CSV"},
		{"\xff\xfe", "the file is UTF-16; save it as UTF-8 without BOM"},
		{"\xfe\xff", "the file is UTF-16; save it as UTF-8 without BOM"},
	} {
		if bytes.HasPrefix(head, []byte(kind.magic)) {
			return kind.name
		}
	}
	// These begin with letters, as a row may, but go on with binary data or a line feed.
	for _, format := range [...]string{"PAR1", "ORC"} {
		if rest, ok := bytes.CutPrefix(head, []byte(format)); ok && (len(rest) == 0 || rest[0] < ' ' || rest[0] >= 0x7f) {
			return "the file is Parquet or ORC, not CSV"
		}
	}
	head = bytes.TrimSpace(head)
	if rest, ok := bytes.CutPrefix(head, []byte("{")); ok {
		if rest = bytes.TrimSpace(rest); len(rest) == 0 || rest[0] == '"' {
			return "the file is JSON, not CSV; if it is an inventory's manifest.json, its format is S3InventoryReport_CSV_20161130"
		}
	}
	return ""
}
