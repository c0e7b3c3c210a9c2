package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/manifest"
)

// The first row is a header if it names a bucket and a key, and has nothing but names. One that has the columns of Fields
// is skipped leniently and refused strictly; one that has others is refused either way; all else is a row.
func TestHeader(t *testing.T) {
	t.Parallel()
	const row, header = "row", "header" // any other: the fields that the header has
	tests := []struct {
		columns, first, is string
		key                string // how to write the key if it is an object; empty if there is no such bucket
	}{
		{"Bucket,Key", "Bucket,Key", header, ""},
		{"Key,Bucket", "Key,Bucket", header, ""},
		{"Bucket,Key", "bucket,key", header, "%6Bey"},
		{"Bucket,Key", "bucket_name,object_key", header, ""},
		{"Bucket,Key", "bucket-name,object_key", header, "%6Fbject_key"},
		{"Bucket,Key", "Bucket Name,Object Key", header, ""},
		{"Bucket,Key", "Source_Bucket,Key Name", header, ""},
		{"Bucket,Key", "SourceBucket,key-name", header, ""},
		{"Bucket,Key", "source_bucket,Name", header, ""},
		{"Bucket,Key", "source-bucket,source_key", header, "%73ource_key"},
		{"Bucket,Key", " bucket ,\tKEY ", header, ""},
		{"Bucket,Key", "bucket, Key", header, "%20%4Bey"},
		{"Bucket,Key", `"""bucket""",'object'`, header, ""},
		{"Bucket,Key", "\"\ufeffBucket\",ObjectName", header, ""},
		{"Bucket,Key,VersionId", "bucket,key,Version Id", header, "%6Bey"},
		{"Bucket,Key,VersionId", "bucket,key,object_version_id", header, "%6Bey"},
		{"Bucket,Key,VersionId", "bucket,key,generation", header, "%6Bey"},
		{"Bucket,Key,Ignore", "bucket,key,VersionId", header, "%6Bey"},
		{"Ignore,Bucket,Key", ",Bucket,Key", header, ""},
		{"Ignore,Key,Ignore,Bucket", "_id,key,,bucket", header, "%6Bey"},
		{"Bucket,Key,Ignore,Ignore,Ignore", "Bucket,Key,Size (bytes),gr\u00f6\u00dfe,sha256", header, ""},

		{"Bucket,Key", "Key,Bucket", "Key,Bucket", ""},
		{"Key,Bucket", "Bucket,Key", "Bucket,Key", ""},
		{"Bucket,Key", "Name,Bucket", "Key,Bucket", ""},
		{"Bucket,Key", "object,bucket", "Key,Bucket", "%62ucket"},
		{"Bucket,Key", "object_key,bucket_name", "Key,Bucket", ""},
		{"Bucket,Key", `"Key", Bucket `, "Key,Bucket", ""},
		{"Ignore,Bucket,Key", "Size,Key,Bucket", "Ignore,Key,Bucket", ""},
		{"Bucket,Key,VersionId", "key,version_id,bucket", "Key,VersionId,Bucket", "%76ersion_id"},
		{"Bucket,Key,VersionId", "bucket,VersionID,key", "Bucket,VersionId,Key", "%56ersionID"},
		{"Bucket,Key,VersionId", "key,bucket,generation", "Key,Bucket,VersionId", "%62ucket"},
		{"VersionId,Bucket,Key", "bucket,key,versionid", "Bucket,Key,VersionId", "%76ersionid"},
		{"VersionId,Bucket,Key,Ignore", "ETag,Bucket,Key,VersionId", "Ignore,Bucket,Key,VersionId", ""},
		{"Bucket,Key,Ignore", "key,bucket,gr\u00f6\u00dfe", "Key,Bucket,Ignore", "%62ucket"},

		{"Bucket,Key", "bucket,a", row, ""},
		{"Bucket,Key", "src,key", row, ""},
		{"Bucket,Key", "key,a", row, ""},
		{"Bucket,Key", "my-bucket,key", row, ""},
		{"Bucket,Key", "bucket,keys", row, ""},
		{"Bucket,Key", "bucket,key/", row, ""},
		{"Bucket,Key", "bucket,key.txt", row, ""},
		{"Bucket,Key", "bucket,key2", row, ""},
		{"Bucket,Key", "bucket,%6Bey", row, ""}, // how to write the row of such an object
		{"Bucket,Key", "-,_", row, ""},
		{"Bucket,Key", "bucket," + strings.Repeat("_", 100) + "key", row, ""},
		{"Bucket,Key", "name,key", row, ""},
		{"Bucket,Key", "bucket,bucket", row, ""},
		{"Bucket,Key", "bucket,VERSION", row, ""},
		{"Ignore,Bucket,Key", "bucket,src,key", row, ""},
		{"Bucket,Key,VersionId", "bucket,key,", row, ""},
		{"Bucket,Key,VersionId", "bucket,key,null", row, ""},
		{"Bucket,Key,VersionId", "bucket,key,3sL4kqtJlcpXroDTDmJ", row, ""},
		{"Bucket,Key,VersionId", "bucket,key,bbca91dc39a823b07c225841124f09eb", row, ""},
		{"Bucket,Key,Ignore,Ignore,Ignore,Ignore,Ignore", "bucket,key,,failed,404,NoSuchKey,The specified key does not exist.", row, ""},
		{"Bucket,Key,Ignore", "bucket,key,17", row, ""},
		{"Bucket,Key,Ignore", "bucket,key,2024-01-01T00:00:00Z", row, ""},
		{"Bucket,Key,Ignore", "bucket,key,d41d8cd98f00b204e9800998ecf8427e", row, ""},
		{"Bucket,Key,Ignore", "bucket,key,photos/a.jpg", row, ""},
		{"Bucket,Key,Ignore", "bucket,key,TRUE", row, ""},
		{"Bucket,Key,Ignore", "bucket,key," + strings.Repeat("x", 65), row, ""},
	}
	for _, tt := range tests {
		for _, isLenient := range []bool{false, true} {
			l := layout(t, fields(tt.columns))
			l.Lenient = isLenient
			want, rows := "", 2 // rows: the first and the one behind it
			switch {
			case tt.is == header && !isLenient:
				want, rows = "; remove it, or tag the job stevedore:manifest=lenient", 0
			case tt.is == header:
				rows = 1
			case tt.is != row && isLenient:
				want, rows = ", but not as Fields has them; make Fields "+tt.is, 0
			case tt.is != row:
				want, rows = ", but not as Fields has them; remove it, and make Fields "+tt.is, 0
			}
			if want != "" {
				want = "InvalidManifestContent: Manifest file is not properly formatted: line 1: the row names the columns" + want
				if tt.key != "" {
					want += "; if it is an object, write its key " + tt.key
				}
			}
			second := strings.Repeat("x,", strings.Count(tt.columns, ",")) + "x\n"
			text := tt.first + "\n" + second

			byRow := manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
			got, err := readFrom(byRow)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if message != want || len(got) != rows {
				t.Errorf("%s, lenient %t, %q: %d rows, error %q, want %d, %q", tt.columns, isLenient, tt.first, len(got), message, rows, want)
			}
			notes := manifest.Notes{Header: tt.is == header && isLenient}
			if diff := cmp.Diff(notes, byRow.Notes()); diff != "" {
				t.Errorf("%s, lenient %t, %q: notes differ (-want +got):\n%s", tt.columns, isLenient, tt.first, diff)
			}
			end := manifest.Position{Line: 1}
			if want == "" {
				end = manifest.Position{Offset: int64(len(text)), Line: 3}
			}
			if byRow.Position() != end {
				t.Errorf("%s, lenient %t, %q: ends at %+v, want %+v", tt.columns, isLenient, tt.first, byRow.Position(), end)
			}

			inBatches := manifest.NewCSV(strings.NewReader(text), l, manifest.Position{})
			var batch manifest.Batch
			n := inBatches.Fill(&batch, 10)
			if n != rows || (inBatches.Err() == nil) != (want == "") || inBatches.Notes() != notes || inBatches.Position() != end {
				t.Errorf("%s, lenient %t, %q: in a batch %d rows, error %v", tt.columns, isLenient, tt.first, n, inBatches.Err())
			}
		}
	}
}

// A long header does not make the reason too long.
func TestLongHeader(t *testing.T) {
	t.Parallel()
	const n = 1000
	_, _, err := lenient(t, "Bucket,Key"+strings.Repeat(",Ignore", n), "key,bucket"+strings.Repeat(",size", n)+"\n")
	if err == nil || !strings.Contains(err.Error(), "make Fields Key,Bucket,Ignore,") || !strings.HasSuffix(err.Error(), "...") || len(err.Error()) > 300 {
		t.Errorf("got %v", err)
	}
}

// Empty columns behind the last one do not keep a row from being a header.
func TestHeaderOfSpreadsheet(t *testing.T) {
	t.Parallel()
	got, notes, err := lenient(t, "Bucket,Key", "Bucket,Key,,\nsrc,a,,\n")
	if diff := cmp.Diff([]cells{{"src", "a", "a", ""}}, got); err != nil || diff != "" || !notes.Header {
		t.Errorf("error %v, notes %q, rows differ (-want +got):\n%s", err, notes, diff)
	}
	_, _, err = lenient(t, "Bucket,Key", "Key,Bucket,,\na,src,,\n")
	if err == nil || !strings.HasSuffix(err.Error(), "; make Fields Key,Bucket") {
		t.Errorf("got %v", err)
	}
}

// Only the first row of the manifest may be a header, not that of a piece.
func TestHeaderOfPiece(t *testing.T) {
	t.Parallel()
	const text = "src,a\nkey,bucket\n"
	got, err := readFrom(manifest.NewCSV(strings.NewReader(text[6:]), layout(t, bucketKey), manifest.Position{Offset: 6, Line: 2}))
	if diff := cmp.Diff([]cells{{"key", "bucket", "bucket", ""}}, got); err != nil || diff != "" {
		t.Errorf("error %v, rows differ (-want +got):\n%s", err, diff)
	}
}
