package jobstore

import (
	"fmt"
	"strings"
)

// keys makes the names of everything stored. Rows are written with leading
// zeros, so that the order of keys is the order of rows.
type keys struct{ prefix string }

func (k keys) secret() string          { return k.prefix + "meta/secret" }
func (k keys) jobs() string            { return k.prefix + "jobs/" }
func (k keys) tallies() string         { return k.prefix + "tally/" }
func (k keys) node(name string) string { return k.prefix + "nodes/" + name }

func (k keys) job(account, id string) string { return k.jobs() + account + "/" + id }
func (k keys) plan(id string) string         { return k.prefix + "plan/" + id }
func (k keys) owner(id string) string        { return k.prefix + "owners/" + id }
func (k keys) chunks(id string) string       { return k.prefix + "chunks/" + id + "/" }
func (k keys) claims(id string) string       { return k.prefix + "claims/" + id + "/" }
func (k keys) segments(id string) string     { return k.prefix + "segments/" + id + "/" }
func (k keys) tally(id string) string        { return k.tallies() + id + "/" }

func (k keys) chunk(id string, first int64) string { return k.chunks(id) + row(first) }
func (k keys) claim(id string, first int64) string { return k.claims(id) + row(first) }
func (k keys) segment(id string, at int64) string  { return k.segments(id) + row(at) }

// The progress of a generator: its state, and the files it has written.
func (k keys) generation(id string) string        { return k.prefix + "generations/" + id + "/" }
func (k keys) generationState(id string) string   { return k.generation(id) + "state" }
func (k keys) generationFiles(id string) string   { return k.generation(id) + "files/" }
func (k keys) generationFile(id, n string) string { return k.generationFiles(id) + n }

func (k keys) nodeTally(id, node string) string { return k.tally(id) + node }

func row(n int64) string { return fmt.Sprintf("%019d", n) }

// checkName guards the parts of keys that come from outside.
func checkName(what, s string) error {
	if s == "" || strings.ContainsAny(s, "/\x00") {
		return fmt.Errorf("%s %q cannot be stored", what, s)
	}
	return nil
}
