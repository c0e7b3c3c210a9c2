//go:build stores

package stores

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// cell is what a trial on one store came to: a word of those below, and more
// behind it.
type cell string

const (
	works    cell = "works"
	emulated cell = "emulated"
	refused  cell = "refused"
	notYet   cell = "not yet"
	ignored  cell = "ignored"
	wrong    cell = "WRONG"
	absent   cell = "n/a" // what the trial needs cannot be set up on this store
)

func (c cell) with(detail string) cell { return c + ": " + cell(plain(detail)) }

// plain is a text that can stand in a cell.
func plain(s string) string {
	s = strings.Join(strings.Fields(strings.NewReplacer("|", "/", "\x00", "").Replace(s)), " ")
	if len(s) > 160 {
		s = strings.ToValidUTF8(s[:157], "") + "..."
	}
	return s
}

// word is the first part of a cell.
func (c cell) word() cell {
	w, _, _ := strings.Cut(string(c), ":")
	return cell(w)
}

// worth orders cells from bad to good.
func (c cell) worth() int {
	return slices.Index([]cell{wrong, ignored, notYet, refused, emulated, works}, c.word())
}

// measured says what a column is about.
type measured struct{ version, date string }

// id is a row of the table.
type id struct{ operation, parameter string }

// table is all results.
type table struct {
	measured map[string]measured
	rows     []id
	cells    map[id]map[string]cell
}

func newTable() *table {
	return &table{measured: map[string]measured{}, cells: map[id]map[string]cell{}}
}

func (b *table) set(operation, parameter, store string, c cell) {
	i := id{operation, parameter}
	if b.cells[i] == nil {
		b.cells[i] = map[string]cell{}
		b.rows = append(b.rows, i)
	}
	b.cells[i][store] = c
}

// worse tells what became worse from b to now. Of servers that come in whatever
// version a machine has, only the version in b can be held to it.
func (b *table) worse(now *table) (list []string) {
	other := map[string]bool{}
	for _, s := range servers() {
		other[s.name] = s.packaged && now.measured[s.name].version != b.measured[s.name].version
	}
	for _, i := range now.rows {
		for store, c := range now.cells[i] {
			before, known := b.cells[i][store]
			if !known && i.kind() == verification { // what works shall be believed, and the rest be noticed
				before, known = works, true
			}
			if known && !other[store] && c.word() != absent && c.worth() < before.worth() {
				list = append(list, fmt.Sprintf("%s: %s %s: %s, and was: %s", store, i.operation, i.parameter, c, before))
			}
		}
	}
	return list
}

// merge is now, with what it does not have from b. Rows of operations that now
// has anything about are those of now.
func (b *table) merge(now *table) *table {
	m := newTable()
	maps.Copy(m.measured, b.measured)
	maps.Copy(m.measured, now.measured)
	again := map[string]bool{}
	for _, i := range now.rows {
		again[i.operation] = true
	}
	for _, i := range now.rows {
		for store, c := range b.cells[i] {
			m.set(i.operation, i.parameter, store, c)
		}
		for store, c := range now.cells[i] {
			m.set(i.operation, i.parameter, store, c)
		}
	}
	for _, i := range b.rows {
		for store, c := range b.cells[i] {
			if !again[i.operation] {
				m.set(i.operation, i.parameter, store, c)
			}
		}
	}
	return m
}

const (
	begin = "<!-- measured: written by make test-stores -->"
	after = "<!-- end of what was measured -->"
)

// What parameters begin with that have tables of their own.
const (
	keys         = "key " // odd ones
	verification = "verified: "
)

// operations in the order of the API, and the generator.
var operations = []string{
	"LambdaInvoke", "S3PutObjectCopy", "S3PutObjectAcl", "S3PutObjectTagging", "S3DeleteObjectTagging", "S3InitiateRestoreObject",
	"S3PutObjectLegalHold", "S3PutObjectRetention", "S3ReplicateObject", "S3ComputeObjectChecksum", "S3UpdateObjectEncryption", generator,
}

func (b *table) render() string {
	var out strings.Builder
	names := []string{}
	for _, s := range servers() {
		if _, ok := b.measured[s.name]; ok {
			names = append(names, s.name)
		}
	}
	header := func(first ...string) {
		columns := slices.Concat(first, names)
		fmt.Fprintf(&out, "\n| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	}
	out.WriteString("\n| Store | Version | Measured |\n|---|---|---|\n")
	for _, n := range names {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", n, b.measured[n].version, b.measured[n].date)
	}
	rows := slices.Clone(b.rows)
	slices.SortStableFunc(rows, func(x, y id) int {
		return cmp.Compare(slices.Index(operations, x.operation), slices.Index(operations, y.operation))
	})

	out.WriteString("\n### All operations\n\nIn each cell the plain case, and how many of its trials work, emulated ones included.\n")
	header("Operation")
	for _, o := range operations {
		mine := slices.DeleteFunc(slices.Clone(rows), func(i id) bool { return i.operation != o || i.kind() != "" })
		if len(mine) == 0 {
			continue
		}
		fmt.Fprintf(&out, "| %s |", o)
		for _, n := range names {
			done, all := 0, 0
			for _, i := range mine {
				if c := b.cells[i][n]; c != "" && c.word() != absent {
					all++
					if c.worth() >= emulated.worth() {
						done++
					}
				}
			}
			short, _, _ := strings.Cut(string(b.cells[mine[0]][n]), ", ")
			fmt.Fprintf(&out, " %s (%d of %d) |", short, done, all)
		}
		out.WriteString("\n")
	}
	for _, part := range []struct {
		title, kind string
	}{
		{"By parameter", ""},
		{"By parameter, with `stevedore:verify=all`\n\nOf the trials that were ignored or went wrong: works where the task now fails with VerificationFailed. Refused is what\nworks and cannot be read back.", verification},
		{"By key", keys},
	} {
		fmt.Fprintf(&out, "\n### %s\n", part.title)
		header("Operation", "Trial")
		for _, i := range rows {
			if i.kind() != part.kind {
				continue
			}
			fmt.Fprintf(&out, "| %s | %s |", i.operation, i.parameter)
			for _, n := range names {
				fmt.Fprintf(&out, " %s |", b.cells[i][n])
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

// kind is what the parameter begins with, if that puts it into another table.
func (i id) kind() string {
	for _, kind := range []string{keys, verification} {
		if strings.HasPrefix(i.parameter, kind) {
			return kind
		}
	}
	return ""
}

// readTable reads the results in a document. Without any it is empty.
func readTable(path string) (*table, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	_, text, ok := strings.Cut(string(data), begin)
	text, _, ended := strings.Cut(text, after)
	if !ok || !ended {
		return nil, fmt.Errorf("%s: no place for the results", path)
	}
	return parse(text), nil
}

func parse(text string) *table {
	b := newTable()
	var header []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") {
			if !strings.HasPrefix(line, "|---") {
				header = nil
			}
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case header == nil:
			header = cells
		case len(cells) != len(header) || len(cells) < 3:
		case header[0] == "Store":
			b.measured[cells[0]] = measured{cells[1], cells[2]}
		case header[1] == "Trial":
			for n := 2; n < len(cells); n++ {
				if cells[n] != "" {
					b.set(cells[0], cells[1], header[n], cell(cells[n]))
				}
			}
		}
	}
	return b
}

// write puts the results into a document.
func (b *table) write(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, _ := strings.Cut(string(data), begin)
	_, tail, _ := strings.Cut(rest, after)
	return os.WriteFile(path, []byte(head+begin+"\n"+b.render()+"\n"+after+tail), 0o644)
}

// TestTable makes sure that what is written is what is read.
func TestTable(t *testing.T) {
	b := newTable()
	b.measured["devstore"], b.measured["moto"] = measured{"v1", "2026-01-02"}, measured{"5", "2026-01-03"}
	b.set("S3PutObjectCopy", "plain", "devstore", works)
	b.set("S3PutObjectCopy", "plain", "moto", refused.with("501 NotImplemented"))
	b.set("S3PutObjectCopy", verification+"plain", "moto", refused.with("500 VerificationFailed"))
	b.set("S3PutObjectCopy", "key `a//b`", "moto", wrong.with("changes `a/b` instead"))
	got := parse(b.render())
	if diff := gocmp.Diff(b, got, gocmp.AllowUnexported(table{}, id{}, measured{})); diff != "" {
		t.Error(diff)
	}
	now := newTable()
	now.set("S3PutObjectCopy", "plain", "devstore", ignored)
	now.set("S3PutObjectCopy", "plain", "moto", works)
	if list := b.worse(now); len(list) != 1 || !strings.HasPrefix(list[0], "devstore: S3PutObjectCopy plain: ignored") {
		t.Errorf("%q", list)
	}
	now.set("S3PutObjectCopy", "plain", "moto", ignored)
	if list := b.worse(now); len(list) != 1 {
		t.Errorf("another version of moto is held to this one: %q", list)
	}
	now.measured["moto"] = b.measured["moto"]
	if list := b.worse(now); len(list) != 2 {
		t.Errorf("%q", list)
	}
	now.set("S3PutObjectCopy", "plain", "moto", works)
	if m := b.merge(now); m.cells[id{"S3PutObjectCopy", "plain"}]["moto"] != works || len(m.rows) != 1 {
		t.Errorf("%+v", m)
	}
}
