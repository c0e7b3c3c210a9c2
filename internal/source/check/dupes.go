package check

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"os"
	"slices"

	"stevedore/internal/manifest"
)

const (
	// A list of twenty thousand million rows has as many hashes in each of parts as fit in 150 MiB.
	parts = 1024
	block = 4096 // hashes of a part that are written at once

	// mostRepeated bounds the rows that are compared, by number and by bytes.
	mostRepeated = 1 << 18
	mostBytes    = 64 << 20
)

// hashes finds the hashes that it was given more than once. They are in a temporary file, in blocks of one part each.
type hashes struct {
	seed   maphash.Seed
	text   []byte // of the row
	file   *os.File
	size   int64 // of file
	open   [parts][]uint64
	blocks [parts][]int64 // offsets in file
	buf    [8 * block]byte
}

func newHashes() (*hashes, error) {
	f, err := os.CreateTemp("", "stevedore-*")
	if err != nil {
		return nil, fmt.Errorf("look for duplicates: %w", err)
	}
	return &hashes{seed: maphash.MakeSeed(), file: f}, nil
}

func (h *hashes) close() {
	_ = h.file.Close()
	_ = os.Remove(h.file.Name()) // nobody else's
}

// of returns the hash of a row, whose text is in h.text then.
func (h *hashes) of(row *manifest.Row) uint64 {
	h.text = append(append(h.text[:0], row.Bucket...), 0)
	h.text = append(append(h.text, row.VersionID...), 0)
	h.text = append(h.text, row.Key...)
	return maphash.Bytes(h.seed, h.text)
}

// add adds a hash.
func (h *hashes) add(hash uint64) error {
	part := hash % parts
	h.open[part] = append(h.open[part], hash)
	if len(h.open[part]) < block {
		return nil
	}
	for i, hash := range h.open[part] {
		binary.LittleEndian.PutUint64(h.buf[8*i:], hash)
	}
	if _, err := h.file.WriteAt(h.buf[:], h.size); err != nil {
		return fmt.Errorf("look for duplicates: %w", err)
	}
	h.blocks[part] = append(h.blocks[part], h.size)
	h.size += int64(len(h.buf))
	h.open[part] = h.open[part][:0]
	return nil
}

// repeated returns the hashes that are there more than once, up to mostRepeated of them, and how many rows have
// one that a row before has.
func (h *hashes) repeated(ctx context.Context) (found map[uint64]bool, rows int64, err error) {
	found = map[uint64]bool{}
	var all []uint64
	for part := range parts {
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		all = append(all[:0], h.open[part]...)
		for _, offset := range h.blocks[part] {
			if _, err := h.file.ReadAt(h.buf[:], offset); err != nil {
				return nil, 0, fmt.Errorf("look for duplicates: %w", err)
			}
			for i := range block {
				all = append(all, binary.LittleEndian.Uint64(h.buf[8*i:]))
			}
		}
		slices.Sort(all)
		for i := 1; i < len(all); i++ {
			if all[i] != all[i-1] {
				continue
			}
			rows++
			if len(found) < mostRepeated {
				found[all[i]] = true
			}
		}
	}
	return found, rows, nil
}

// dupes warns of rows that are there more than once.
func (c *checker) dupes(ctx context.Context) error {
	hashes, likely, err := c.hashes.repeated(ctx)
	if err != nil || likely == 0 {
		return err
	}
	// Equal hashes are a hint. Equal rows are found by reading the list again.
	type seen struct {
		text string
		at   where
	}
	rows := map[uint64][]seen{}
	bytes, complete := 0, len(hashes) < mostRepeated
	var same int64
	var examples []Warning
	c.notes = nil
	err = c.walk(ctx, func(row *manifest.Row, at func() where) error {
		hash := c.hashes.of(row)
		if !hashes[hash] {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, s := range rows[hash] {
			if s.text != string(c.hashes.text) {
				continue
			}
			if same++; len(examples) < c.options.Most {
				twice := at()
				first := fmt.Sprintf("line %d", s.at.line)
				if name := c.name(s.at.file); name != "" && s.at.file != twice.file {
					first = "file " + name + ", " + first
				}
				examples = append(examples, Warning{
					Rows: 1, File: c.name(twice.file), Line: twice.line,
					Text: fmt.Sprintf("the same as %s: %s/%.200s", first, row.Bucket, row.Key),
				})
			}
			return nil
		}
		if bytes > mostBytes {
			complete = false
			return nil
		}
		bytes += len(c.hashes.text)
		rows[hash] = append(rows[hash], seen{string(c.hashes.text), at()})
		return nil
	}, c.known())
	if err != nil {
		return err
	}
	if !complete {
		same = likely
	}
	if same == 0 {
		return nil
	}
	total := Warning{Rows: same, Text: "the same as one before: each makes a task of its own"}
	if shown := len(examples); int64(shown) < same {
		total.Text += fmt.Sprintf("; the first %d are", shown)
	}
	c.report.Warnings = append(append(c.report.Warnings, total), examples...)
	return nil
}

// known goes on behind as many problems as the first reading did.
func (c *checker) known() func(Problem) bool {
	left := len(c.report.Problems)
	return func(Problem) bool {
		left--
		return left > 0 || !c.stopped
	}
}
