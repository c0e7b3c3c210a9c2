package manifest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxInventory and maxFiles bound a manifest.json, in bytes, and the files that it names, all of which are held in
// memory. 64 MiB are some 300,000 files as they are named in practice.
const (
	maxInventory = 64 << 20
	maxFiles     = 500_000
)

// Inventory is the manifest.json of an S3 Inventory report, which names the data files that hold the rows
// (manifests.md section 3).
type Inventory struct {
	SourceBucket      string     `json:"sourceBucket"`      // name of the bucket listed; for people only
	DestinationBucket string     `json:"destinationBucket"` // ARN of the bucket that holds the data files
	Version           string     `json:"version"`
	CreationTimestamp string     `json:"creationTimestamp"` // milliseconds since 1970
	FileFormat        string     `json:"fileFormat"`        // FormatCSV, FormatParquet or FormatORC
	FileSchema        string     `json:"fileSchema"`        // names of the columns, with comma and space between
	Files             []DataFile `json:"files"`
}

// The values of FileFormat.
const (
	FormatCSV     = "CSV" // gzip-compressed
	FormatParquet = "Parquet"
	FormatORC     = "ORC"
)

// DataFile is one file of an inventory.
type DataFile struct {
	Key  string `json:"key"`         // the whole key in the destination bucket
	Size int64  `json:"size"`        // stored bytes
	MD5  string `json:"MD5checksum"` // of the stored bytes, lower-case hex
}

// NewInventory returns an inventory of source, without files, whose data files lie in destination,
// another or the same bucket; both are names.
func NewInventory(source, destination string, created time.Time, c Columns) *Inventory {
	return &Inventory{
		SourceBucket: source, DestinationBucket: "arn:aws:s3:::" + destination,
		Version: "2016-11-30", CreationTimestamp: strconv.FormatInt(created.UnixMilli(), 10),
		FileFormat: FormatCSV, FileSchema: c.Schema(),
	}
}

// Encode returns the text of the manifest.json. It fails if that would be too large for [ReadInventory].
func (inv *Inventory) Encode() ([]byte, error) {
	written := *inv
	if written.Files == nil {
		written.Files = []DataFile{}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(written); err != nil {
		return nil, fmt.Errorf("write inventory: %w", err)
	}
	if text.Len() > maxInventory || len(inv.Files) > maxFiles {
		return nil, fmt.Errorf("write inventory: %d files in %d bytes of manifest.json, at most %d in %d can be read", len(inv.Files), text.Len(), maxFiles, maxInventory)
	}
	return text.Bytes(), nil
}

// ReadInventory reads a manifest.json. It does not look at the names of the columns, see
// [Inventory.Columns]. Members that it does not know are ignored. The error is an [*Error] if the content is bad, and
// otherwise that of r, wrapped.
func ReadInventory(r io.Reader) (*Inventory, error) {
	in := &counter{r: io.LimitReader(r, maxInventory+1)}
	inv, err := decodeInventory(json.NewDecoder(in))
	var bad *Error
	switch {
	case in.err != nil:
		return nil, fmt.Errorf("read manifest.json: %w", in.err)
	case in.size > maxInventory:
		bad = newError(textFormat, 0, fmt.Sprintf("manifest.json is longer than %d bytes", maxInventory))
	case err == nil:
		err = inv.check()
	}
	if err != nil && bad == nil {
		var ok bool
		if bad, ok = errors.AsType[*Error](err); !ok {
			bad = notInventory(in.head, err)
		}
	}
	if bad != nil {
		return nil, bad
	}
	return inv, nil
}

// counter counts the bytes that r yields, and keeps its first bytes and its error.
type counter struct {
	r    io.Reader
	size int64
	head []byte
	err  error // other than io.EOF
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.size += int64(n)
	if most := 512 - len(c.head); most > 0 {
		c.head = append(c.head, p[:min(n, most)]...)
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// decodeInventory reads the one JSON value there is, file by file.
func decodeInventory(d *json.Decoder) (*Inventory, error) {
	inv := &Inventory{}
	if err := open(d, '{'); err != nil {
		return nil, err
	}
	listed := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var to any
		switch name {
		case "destinationBucket":
			to = &inv.DestinationBucket
		case "fileFormat":
			to = &inv.FileFormat
		case "fileSchema":
			to = &inv.FileSchema
		case "files":
			if listed {
				return nil, newError(textFormat, 0, "manifest.json: files is there twice")
			}
			listed = true
			if inv.Files, err = decodeFiles(d); err != nil {
				return nil, err
			}
			continue
		case "sourceBucket":
			to = (*loose)(&inv.SourceBucket)
		case "version":
			to = (*loose)(&inv.Version)
		case "creationTimestamp":
			to = (*loose)(&inv.CreationTimestamp)
		default:
			to = new(loose)
		}
		if err := d.Decode(to); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more behind its end")
	}
	if !listed {
		return nil, newError(textContent, 0, "manifest.json: files is missing")
	}
	return inv, nil
}

// loose is a string that no job hangs on: whatever else stands there is taken as it is.
type loose string

// UnmarshalJSON implements json.Unmarshaler.
func (l *loose) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, (*string)(l)) != nil {
		*l = loose(text)
	}
	return nil
}

// noSize stands for a size that is missing.
const noSize = math.MinInt64

func decodeFiles(d *json.Decoder) ([]DataFile, error) {
	var files []DataFile
	if err := open(d, '['); err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	for d.More() {
		if len(files) == maxFiles {
			return nil, newError(textContent, 0, fmt.Sprintf("manifest.json names more than %d files", maxFiles))
		}
		f := DataFile{Size: noSize}
		if err := d.Decode(&f); err != nil {
			return nil, fmt.Errorf("file %d: %w", len(files)+1, err)
		}
		files = append(files, f)
	}
	_, err := d.Token() // the closing bracket
	return files, err
}

// open reads the delimiter that a value starts with.
func open(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("want %s", want)
	}
	return nil
}

// notInventory is the error of a manifest.json that starts with head and is none because of err.
func notInventory(head []byte, err error) *Error {
	var detail string
	start := bytes.TrimSpace(head)
	switch {
	case len(start) == 0:
		detail = "it is empty"
	case bytes.HasPrefix(head, []byte(bom)):
		detail = "it starts with a byte order mark; save it as UTF-8 without BOM"
	case bytes.HasPrefix(head, []byte("\x1f\x8b")), bytes.HasPrefix(head, []byte("PAR1")), bytes.HasPrefix(head, []byte("ORC")):
		detail = "it is a data file; give the manifest.json of the inventory instead"
	case start[0] != '{':
		detail = "it is no JSON object; if it is a list of objects, its format is S3BatchOperations_CSV_20180820"
	default:
		detail = ascii(err.Error())
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			detail = fmt.Sprintf("byte %d: %s", e.Offset, ascii(e.Error()))
		}
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			where, _, _ := strings.Cut(err.Error(), ": json:")
			detail = ascii(fmt.Sprintf("%s: got a %s, want a value of type %s", strings.TrimSpace(where+" "+e.Field), e.Value, e.Type))
		}
	}
	return newError(textFormat, 0, "manifest.json: "+detail)
}

// check says what is wrong with an inventory that is well-formed, and puts its sums into lower case.
func (inv *Inventory) check() error {
	bad := func(format string, args ...any) error {
		return newError(textContent, 0, "manifest.json: "+fmt.Sprintf(format, args...))
	}
	switch {
	case inv.Format() == "":
		return bad("fileFormat is %s; want CSV, ORC or Parquet", quote([]byte(inv.FileFormat)))
	case inv.Destination() == "":
		return bad("destinationBucket is %s; want the ARN of a bucket", quote([]byte(inv.DestinationBucket)))
	}
	seen := make(map[string]bool, len(inv.Files))
	for i := range inv.Files {
		f := &inv.Files[i]
		sum, err := hex.DecodeString(f.MD5)
		switch {
		case f.Key == "":
			return bad("file %d has no key", i+1)
		case f.Size == noSize:
			return bad("file %d has no size", i+1)
		case f.Size < 0:
			return bad("file %d has the size %d", i+1, f.Size)
		case err != nil, len(sum) != 0 && len(sum) != 16:
			return bad("file %d has the MD5checksum %s; want 32 hexadecimal digits", i+1, quote([]byte(f.MD5)))
		case seen[f.Key]:
			return bad("file %d, %s, is listed twice", i+1, ascii(f.Key))
		}
		seen[f.Key] = true
		f.MD5 = strings.ToLower(f.MD5)
	}
	return nil
}

// Format returns FileFormat as one of the constants, whatever its case; "" if it is none of them.
func (inv *Inventory) Format() string {
	for _, format := range []string{FormatCSV, FormatParquet, FormatORC} {
		if strings.EqualFold(strings.TrimSpace(inv.FileFormat), format) {
			return format
		}
	}
	return ""
}

// Destination returns the name of the bucket that holds the data files, which DestinationBucket may
// also give as it is; "" if that is no name.
func (inv *Inventory) Destination() string {
	name := strings.TrimSpace(inv.DestinationBucket)
	if strings.HasPrefix(name, "arn:") {
		parts := strings.SplitN(name, ":", 6)
		if len(parts) < 6 || parts[2] != "s3" {
			return ""
		}
		name = parts[5]
	}
	if strings.ContainsAny(name, "/: ") {
		return ""
	}
	return name
}

// Columns returns the names of the columns of CSV files. Parquet and ORC files name their own.
func (inv *Inventory) Columns() []string { return strings.Split(inv.FileSchema, ",") }
