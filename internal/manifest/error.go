package manifest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
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
// FailureReasons of the job: at most 256 ASCII characters, the documented text first, then the file,
// the line and the detail.
type Error struct {
	Code   string // InvalidContent
	Reason string
	File   string // key of the file if the manifest has several
	Line   int64  // counted from 1; 0 if it is not about a line

	text, detail string
}

// Error returns the code and the reason.
func (e *Error) Error() string { return e.Code + ": " + e.Reason }

// newError returns an error about a line, or about the whole if that is 0.
func newError(text string, line int64, detail string) *Error {
	e := &Error{Code: InvalidContent, Line: line, text: text, detail: detail}
	e.compose()
	return e
}

// Corrupt returns the error of a file that cannot be what its manifest says it is.
func Corrupt(file, detail string) *Error { return newError(textContent, 0, ascii(detail)).In(file) }

// Move returns the error as it is when lines more lines stand before what was read. Pieces of a
// manifest count their lines from 1.
func (e *Error) Move(lines int64) *Error {
	moved := *e
	if moved.Line > 0 {
		moved.Line += lines
	}
	moved.compose()
	return &moved
}

// In returns the error as it is in the file with the given key.
func (e *Error) In(file string) *Error {
	there := *e
	there.File = file
	there.compose()
	return &there
}

// compose makes the reason "text: file a/b.csv.gz: line 3: detail" of what is known.
func (e *Error) compose() {
	reason := e.text + ": "
	if e.File != "" {
		const most = 80
		file := ascii(e.File)
		if len(file) > most { // the end tells files apart
			file = "..." + file[len(file)-most:]
		}
		reason += "file " + file + ": "
	}
	if e.Line > 0 {
		reason += fmt.Sprintf("line %d: ", e.Line)
	}
	reason += e.detail
	if len(reason) > maxReason {
		reason = reason[:maxReason-3] + "..."
	}
	e.Reason = reason
}

// ascii returns text with what is no printable ASCII escaped.
func ascii(text string) string {
	quoted := strconv.QuoteToASCII(text)
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}

// quote shows the start of a cell, in ASCII, inside a reason.
func quote(cell []byte) string {
	const most = 24
	if len(cell) > most {
		return strconv.QuoteToASCII(string(cell[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(cell))
}

// miscounted says that line has so many columns instead of those of the layout, and why that may be.
func (l *Layout) miscounted(line []byte, columns int) string {
	problem := fmt.Sprintf("got %d columns, want %d", columns, l.columns)
	if columns > 1 {
		return problem
	}
	if bytes.HasPrefix(line, []byte("s3://")) {
		return problem + "; write bucket,key, not s3://bucket/key"
	}
	for _, separator := range [...]struct{ is, name string }{{"\t", "tabs"}, {";", "semicolons"}, {"|", "bars"}} {
		if bytes.Contains(line, []byte(separator.is)) {
			return problem + "; put commas between them, not " + separator.name
		}
	}
	return problem
}

// foreign names the kind of file whose first line is head, if it is one that people give as a CSV
// manifest by mistake; unpacked is whether head was decompressed, or would have been. No such file has a first
// line that is a valid row, so it is enough to ask once that line has been refused.
func foreign(head []byte, unpacked bool) string {
	compressed := "; store it uncompressed, or " + lenience
	if unpacked {
		compressed = " inside; compress it once"
	}
	for _, kind := range [...]struct{ magic, name string }{
		{"\x1f\x8b", "the file is gzip-compressed" + compressed},
		{"\x28\xb5\x2f\xfd", "the file is zstd-compressed" + compressed},
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
			return "the file is Parquet or ORC, not CSV; make it CSV with stevedore manifest convert, or give the manifest.json of an inventory that lists it"
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
