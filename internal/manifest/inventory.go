package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
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

// Encode returns the text of the manifest.json.
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
	return text.Bytes(), nil
}
