// Package place finds lists of objects in files of this machine and in buckets alike, and writes them there.
//
//	FILE, -, s3://bucket/key ─▶ Find ─▶ List ─▶ package source, package plan
//	rows ─▶ Writer: CSV, inventory or Parquet ─▶ Create ─▶ FILE, -, s3://bucket/key
//
// To the packages that read lists, a file of this machine is an object of a bucket that no store has.
package place

import (
	"fmt"
	"path/filepath"
	"strings"

	"stevedore/internal/objectstore"
)

// Place is where a list lies or is to lie: an object of a store, a file, or a standard stream.
type Place struct {
	File   string             // path, "-" for the standard stream; empty: it is Object
	Object objectstore.Object // Bucket, Key and VersionID
}

const (
	scheme  = "s3://"
	version = "?versionId="
	// Manifest is the name of the object of an inventory that names the others.
	Manifest = "manifest.json"
)

// Parse reads a place as it stands on a command line: FILE, - or s3://bucket/key[?versionId=ID]. The key is
// taken as it is, nothing is decoded, and may be empty.
func Parse(text string) (Place, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	switch {
	case text == "":
		return Place{}, fmt.Errorf("%q is no file, and no object such as s3://bucket/key", text)
	case !ok:
		return Place{File: text}, nil
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return Place{}, fmt.Errorf("%q has no bucket; want s3://bucket/key", text)
	}
	p := Place{Object: objectstore.Object{Bucket: bucket, Key: key}}
	if i := strings.LastIndex(key, version); i >= 0 {
		p.Object.Key, p.Object.VersionID = key[:i], key[i+len(version):]
	}
	return p, nil
}

// Stream reports whether p is a standard stream.
func (p Place) Stream() bool { return p.File == "-" }

// Stored reports whether p is in a store.
func (p Place) Stored() bool { return p.File == "" }

// In returns the place of that name in the folder p.
func (p Place) In(name string) Place {
	if !p.Stored() {
		return Place{File: filepath.Join(p.File, filepath.FromSlash(name))}
	}
	p.Object.VersionID = ""
	if p.Object.Key != "" && !strings.HasSuffix(p.Object.Key, "/") {
		p.Object.Key += "/"
	}
	p.Object.Key += name
	return p
}

// String returns what [Parse] reads.
func (p Place) String() string {
	if !p.Stored() {
		return p.File
	}
	text := scheme + p.Object.Bucket + "/" + p.Object.Key
	if p.Object.VersionID != "" {
		text += version + p.Object.VersionID
	}
	return text
}
