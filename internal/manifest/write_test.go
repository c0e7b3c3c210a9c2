package manifest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/manifest"
)

// What is written the standard library reads, and its size and sum are told right.
func TestDataWriter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var file bytes.Buffer
		columns := manifest.Columns{VersionID: rapid.Bool().Draw(t, "versions"), Size: rapid.Bool().Draw(t, "sizes")}
		w := manifest.NewDataWriter(&file, columns)
		var want [][]string
		for range rapid.IntRange(0, 50).Draw(t, "rows") {
			row := []string{"src", rapid.StringN(1, 100, -1).Draw(t, "key")}
			version := rapid.SampledFrom([]string{"null", "3sL4kqtJlcpXroDTDmJ", `a"b,"`, ""}).Draw(t, "version")
			size := rapid.Int64Range(-1, 1<<40).Draw(t, "size")
			if err := w.Write(&manifest.Row{Bucket: []byte("src"), Key: []byte(row[1]), VersionID: []byte(version), Size: size}); err != nil {
				t.Fatal(err)
			}
			if columns.VersionID {
				row = append(row, version)
			}
			if columns.Size {
				row = append(row, strings.TrimPrefix(strconv.FormatInt(size, 10), "-1"))
			}
			want = append(want, row)
		}
		info, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		sum := md5.Sum(file.Bytes())
		if diff := cmp.Diff(manifest.DataFile{Size: int64(file.Len()), MD5: hex.EncodeToString(sum[:])}, info); diff != "" {
			t.Fatalf("description differs (-want +got):\n%s", diff)
		}
		if w.Rows() != int64(len(want)) || w.Size() != info.Size {
			t.Fatalf("got %d rows in %d bytes, want %d in %d", w.Rows(), w.Size(), len(want), info.Size)
		}
		zip, err := gzip.NewReader(&file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := csv.NewReader(zip).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range got {
			if row[1], err = url.PathUnescape(row[1]); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("rows differ (-want +got):\n%s", diff)
		}
	})
}

func TestEncodeKey(t *testing.T) {
	t.Parallel()
	check := func(key, want string) {
		t.Helper()
		if got := manifest.EncodeKey(key); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
	check("photos/2024/a-b_c.~jpg", "photos/2024/a-b_c.~jpg")
	check("a b+c%d,e\"f", "a%20b%2Bc%25d%2Ce%22f")
	check("€/(1)*", "%E2%82%AC/%281%29%2A")
	check("\x00\n", "%00%0A")
}

func TestInventoryEncode(t *testing.T) {
	t.Parallel()
	inv := manifest.NewInventory("src", "dst", time.UnixMilli(1767322800000), manifest.Columns{VersionID: true})
	inv.Files = []manifest.DataFile{{Key: "p/job-1/data/<1>.csv.gz", Size: 183, MD5: "dfa8849f790571b6a41e29f06e40ba64"}}
	text, err := inv.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"sourceBucket": "src", "destinationBucket": "arn:aws:s3:::dst", "version": "2016-11-30", "creationTimestamp": "1767322800000",
		"fileFormat": "CSV", "fileSchema": "Bucket, Key, VersionId",
		"files": []any{map[string]any{"key": "p/job-1/data/<1>.csv.gz", "size": 183.0, "MD5checksum": "dfa8849f790571b6a41e29f06e40ba64"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
}
