package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/manifest"
)

// The first row is a header if the cells of bucket and key are both names of columns. One in the order of Fields is
// skipped leniently and refused strictly; one in another order is refused either way; all else is a row.
func TestHeader(t *testing.T) {
	t.Parallel()
	const (
		row, header, order = 0, 1, 2

		start     = "InvalidManifestContent: Manifest file is not properly formatted: line 1: the row names the columns"
		advice    = start + "; remove it, or tag the job stevedore:manifest=lenient"
		elsewhere = start + " in another order than Fields, which must be the same: "
	)
	tests := []struct {
		columns, first string
		is             int
	}{
		{"Bucket,Key", "Bucket,Key", header},
		{"Key,Bucket", "Key,Bucket", header},
		{"Bucket,Key", "bucket_name,object_key", header},
		{"Bucket,Key", "Bucket Name,Object Key", header},
		{"Bucket,Key", "SourceBucket,key-name", header},
		{"Bucket,Key", "source_bucket,Name", header},
		{"Bucket,Key", " bucket ,\tKEY ", header},
		{"Bucket,Key", `"""bucket""",'object'`, header},
		{"Bucket,Key", "\"\ufeffBucket\",ObjectName", header},
		{"Bucket,Key,VersionId", "bucket,key,Version Id", header},
		{"Bucket,Key,VersionId", "bucket,key,etag", header},
		{"Ignore,Key,Ignore,Bucket", "50%,key,,bucket", header},

		{"Bucket,Key", "Key,Bucket", order},
		{"Key,Bucket", "Bucket,Key", order},
		{"Bucket,Key", "object_key,bucket_name", order},
		{"Bucket,Key", `"Key", Bucket `, order},
		{"Bucket,Key", "name,key", order},
		{"Bucket,Key", "bucket,bucket", order},
		{"Bucket,Key,VersionId", "key,version_id,bucket", order},
		{"Bucket,Key,VersionId", "bucket,VersionID,key", order},
		{"VersionId,Bucket,Key", "bucket,key,versionid", order},
		{"Bucket,Key,Ignore", "key,bucket,gr\u00f6\u00dfe", order},

		{"Bucket,Key", "bucket,a", row},
		{"Bucket,Key", "src,key", row},
		{"Bucket,Key", "key,a", row},
		{"Bucket,Key", "my-bucket,key", row},
		{"Bucket,Key", "bucket,keys", row},
		{"Bucket,Key", "bucket,key.txt", row},
		{"Bucket,Key", "bucket,%6Bey", row}, // how to write the row of such an object
		{"Bucket,Key", "-,_", row},
		{"Bucket,Key", "bucket," + strings.Repeat("_", 100) + "key", row},
		{"Ignore,Bucket,Key", "bucket,src,key", row},
	}
	for _, tt := range tests {
		for _, isLenient := range []bool{false, true} {
			l := layout(t, fields(tt.columns))
			l.Lenient = isLenient
			want, rows := "", 2 // rows: the first and the one behind it
			switch {
			case tt.is == order:
				want, rows = elsewhere+strings.NewReplacer("\u00f6", `\u00f6`, "\u00df", `\u00df`).Replace(tt.first), 0
			case tt.is == header && !isLenient:
				want, rows = advice, 0
			case tt.is == header:
				rows = 1
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
	if err == nil || !strings.Contains(err.Error(), "the same: key,bucket,size,size,") || !strings.HasSuffix(err.Error(), "...") || len(err.Error()) > 300 {
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
