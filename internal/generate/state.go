package generate

import (
	"context"
	"iter"
	"time"
)

// MaxRanges is the most ranges that a State has.
const MaxRanges = 64

// State is how far the generation of a manifest has come. The zero State is the beginning.
type State struct {
	Pass     int       // listings begun: 1, or more if the first had to be given up
	Started  time.Time // when the first began: the date that the manifest bears
	Versions bool      `json:",omitzero"` // the bucket has or had versioning: rows have version ids
	// Walk says that the store orders keys its own way, so that they are listed by one worker along the store's markers.
	// A walk cannot be gone on with: it begins again.
	Walk   bool    `json:",omitzero"`
	Ranges []Range `json:",omitzero"` // still to list, at most MaxRanges; none: all is listed
	Rows   int64   // in the files of this pass
	Bytes  int64   // of the objects in these rows
}

// Range is a range of keys that is still to be listed.
type Range struct {
	After   []byte `json:",omitzero"` // keys behind this one; nil: from the first
	Version []byte `json:",omitzero"` // of After: and its versions behind this one
	Until   []byte `json:",omitzero"` // the last key of the range; nil: it has no end
}

// File is a data file that was written, gzip-compressed.
type File struct {
	Name  string // in the Depot
	Pass  int    // the listing it is of; only the files of State.Pass count
	Size  int64  // stored bytes
	MD5   string // of the stored bytes, lower-case hex
	Rows  int64
	First []byte // key of its first row
}

// Journal keeps what was done durable. It is called by one goroutine at a time.
type Journal interface {
	// Save stores the state in place of the one before, and adds files, in one transaction: both or neither. Names of files
	// are unique. Its errors end Run, which returns them wrapped.
	Save(ctx context.Context, s State, files []File) error
	// Files yields all files that were saved, in any order. The first error ends it.
	Files(ctx context.Context) iter.Seq2[File, error]
}
