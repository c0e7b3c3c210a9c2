package source_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// store is the objects of a store, by bucket/key.
type store map[string][]byte

func (s store) find(o objectstore.Object) ([]byte, objectstore.Info, error) {
	content, ok := s[o.Bucket+"/"+o.Key]
	if !ok {
		return nil, objectstore.Info{}, &objectstore.Error{Op: "GetObject", Bucket: o.Bucket, Key: o.Key, Status: 404, Code: "NoSuchKey"}
	}
	info := objectstore.Info{Size: int64(len(content)), ETag: sum(content)}
	if o.ETag != "" && o.ETag != info.ETag {
		return nil, info, &objectstore.Error{Op: "GetObject", Status: 412, Code: "PreconditionFailed"}
	}
	return content, info, nil
}

func (s store) Head(_ context.Context, o objectstore.Object) (objectstore.Info, error) {
	_, info, err := s.find(o)
	return info, err
}

func (s store) Open(_ context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	content, info, err := s.find(o)
	if err != nil {
		return nil, info, err
	}
	end := info.Size
	if length > 0 && offset >= end {
		return nil, info, &objectstore.Error{Op: "GetObject", Status: 416, Code: "InvalidRange"}
	}
	if length >= 0 {
		end = min(end, offset+length)
	}
	return io.NopCloser(bytes.NewReader(content[offset:end])), info, nil
}

// etag returns the ETag of an object of s.
func (s store) etag(key string) string { return sum(s["b/"+key]) }

// sum returns the MD5 of content.
func sum(content []byte) string {
	sum := md5.Sum(content)
	return hex.EncodeToString(sum[:])
}

// csv returns the spec of the CSV manifest m.csv with two columns.
func (s store) csv() source.Spec {
	return source.Spec{
		Format: job.ManifestCSV, Fields: []job.Field{job.FieldBucket, job.FieldKey},
		Object: objectstore.Object{Bucket: "b", Key: "m.csv", ETag: s.etag("m.csv")},
	}
}

// keys reads all rows.
func keys(tb testing.TB, rows *source.Rows) (keys []string, err error) {
	tb.Helper()
	defer rows.Close()
	var row manifest.Row
	for rows.Next(&row) {
		keys = append(keys, string(row.Key))
	}
	return keys, rows.Err()
}

func TestCSV(t *testing.T) {
	t.Parallel()
	s := store{"b/m.csv": []byte("src,one\nsrc,two\n\nsrc,three\n")}
	src, err := source.Locate(t.Context(), s, s.csv())
	if err != nil {
		t.Fatal(err)
	}
	check := func(from, end manifest.Position, want ...string) {
		t.Helper()
		rows, err := src.Open(t.Context(), 0, "", from, end)
		if err != nil {
			t.Fatal(err)
		}
		got, err := keys(t, rows)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		if rows.ETag() != s.etag("m.csv") {
			t.Errorf("got ETag %q", rows.ETag())
		}
	}
	check(manifest.Position{}, manifest.Position{}, "one", "two", "three")
	check(manifest.Position{Offset: 8, Line: 2}, manifest.Position{Offset: 16}, "two")
	check(manifest.Position{Offset: 27, Line: 5}, manifest.Position{})

	s["b/m.csv"] = nil
	for _, lenient := range []bool{false, true} {
		spec := s.csv()
		spec.Lenient = lenient
		if got, err := all(t, locate(t, s, spec)); err != nil || len(got) > 0 {
			t.Errorf("an empty manifest, leniently %t: got %q, %v", lenient, got, err)
		}
	}

	_, err = src.Open(t.Context(), 0, "another", manifest.Position{}, manifest.Position{})
	if e, ok := errors.AsType[*job.FailedError](err); !ok || e.Reason.FailureCode != job.CodeManifestChanged {
		t.Errorf("opened with another ETag: %v", err)
	}
}

// The pieces of a file, cut at any bytes, have the rows of the whole, and count its lines.
func TestPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var want []string
		lenient := rapid.Bool().Draw(t, "lenient")
		if lenient {
			text.WriteString("\ufeffBucket,Key\n")
		}
		for range rapid.IntRange(1, 20).Draw(t, "rows") {
			key := rapid.OneOf(rapid.StringMatching("[a-z]{1,9}"), rapid.Just("key")).Draw(t, "key")
			want = append(want, key)
			bucket := rapid.SampledFrom([]string{"src,", `"src",`, "bucket,"}).Draw(t, "bucket")
			if len(want) == 1 {
				bucket = "src," // or else it might be a header
			}
			text.WriteString(bucket + key)
			text.WriteString(rapid.SampledFrom([]string{"\n", "\r\n", "\n\n", "\r\n\r\n\n"}).Draw(t, "end"))
		}
		s := store{"b/m.csv": []byte(text.String())}
		spec := s.csv()
		spec.Lenient = lenient
		src, err := source.Locate(context.Background(), s, spec)
		if err != nil {
			t.Fatal(err)
		}
		var notes manifest.Notes
		var got []string
		var lines int64
		for from := int64(0); from < src.Size; {
			end := min(src.Size, from+rapid.Int64Range(1, src.Size).Draw(t, "size"))
			rows, err := src.Piece(context.Background(), 0, from, end)
			if err != nil {
				t.Fatal(err)
			}
			var row manifest.Row
			for rows.Next(&row) {
				got = append(got, string(row.Key))
				before := text.String()[:rows.Position().Offset]
				if line := lines + rows.Position().Line; line != int64(strings.Count(before, "\n"))+1 {
					t.Fatalf("row %q ends before line %d of %q", row.Key, line, text.String())
				}
			}
			if rows.Err() != nil {
				t.Fatal(rows.Err())
			}
			lines += rows.Lines()
			notes.Add(rows.Notes())
			from = end
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("rows differ (-want +got):\n%s", diff)
		}
		if notes.Header != lenient || notes.BOM != lenient || notes.Keys+notes.Cells+notes.Columns > 0 {
			t.Fatalf("noted %+v", notes)
		}
		if n := int64(strings.Count(text.String(), "\n")); lines != n {
			t.Fatalf("counted %d lines, want %d: %q", lines, n, text.String())
		}
	})
}
