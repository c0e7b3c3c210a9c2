package stevedore

import (
	"errors"
	"go/ast"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"stevedore/internal/job"
	"stevedore/internal/operation"
)

// page is one Markdown document, apart from its blocks of code.
type page struct {
	name     string
	text     string // without blocks of code
	code     string // the blocks of code
	headings []string
}

// pages reads the documents of the module.
func pages(t *testing.T) map[string]page {
	t.Helper()
	found := map[string]page{}
	for name, content := range files(t) {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		p := page{name: name}
		var text, code strings.Builder
		fenced := false
		for line := range strings.Lines(string(content)) {
			switch {
			case strings.HasPrefix(line, "```"):
				fenced = !fenced
			case fenced:
				code.WriteString(line)
			default:
				text.WriteString(line)
				if level := strings.TrimLeft(line, "#"); level != line && strings.HasPrefix(level, " ") {
					p.headings = append(p.headings, anchor(level))
				}
			}
		}
		if fenced {
			t.Errorf("%s: a block of code is not closed", name)
		}
		p.text, p.code = text.String(), code.String()
		found[name] = p
	}
	if len(found) < 2 {
		t.Fatalf("found %d documents, want those of docs and the README", len(found))
	}
	return found
}

// anchor is what a link names a heading by.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// TestLinks follows every link between the documents, to its heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	all, everything := pages(t), files(t)
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	inline := regexp.MustCompile("`[^`\n]*`")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		// A link may have code for its text, but code may look like a link.
		text := inline.ReplaceAllString(all[name].text, "code")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, heading, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, ok := everything[target]; !ok && !folder(everything, target) {
				t.Errorf("%s: no file for the link %s", name, m[1])
			} else if heading != "" && !slices.Contains(all[target].headings, heading) {
				t.Errorf("%s: no heading for the link %s", name, m[1])
			}
		}
	}
}

// folder reports whether there are files below name.
func folder(files map[string][]byte, name string) bool {
	for f := range files {
		if within(f, name) {
			return true
		}
	}
	return false
}

// TestDocumentsNameWhatIsThere looks up the tests, packages and flags that the
// documents name.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	everything := files(t)
	funcs, literals := map[string]bool{}, map[string]bool{}
	for name, file := range sources(t) {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && strings.HasSuffix(name, "_test.go") {
				funcs[f.Name.Name] = true
			}
		}
		if path.Dir(name) == "cmd/stevedore" && !strings.HasSuffix(name, "_test.go") {
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok {
					if s, err := strconv.Unquote(l.Value); err == nil {
						literals[s] = true
					}
				}
				return true
			})
		}
	}
	test := regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Za-z0-9]*)`")
	place := regexp.MustCompile("`((?:internal|cmd|docs|stevedoretest)/[A-Za-z0-9_./]*)`")
	command := regexp.MustCompile(`(?m)(?:^|[\x60/ ])stevedore (?:serve|dev|demo|env|exec|job) [^\x60\n]*`)
	flag := regexp.MustCompile(` --([a-z][a-z0-9-]+)`)
	all := pages(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		for _, m := range test.FindAllStringSubmatch(p.text, -1) {
			if !funcs[m[1]] {
				t.Errorf("%s: there is no %s", name, m[1])
			}
		}
		for _, m := range place.FindAllStringSubmatch(p.text, -1) {
			if at := strings.TrimSuffix(m[1], "/"); everything[at] == nil && !folder(everything, at) {
				t.Errorf("%s: there is no %s", name, m[1])
			}
		}
		for _, line := range command.FindAllString(p.text+p.code, -1) {
			ours, _, _ := strings.Cut(line, " -- ") // behind it stands somebody else's command
			for _, m := range flag.FindAllStringSubmatch(ours, -1) {
				if !literals[m[1]] && m[1] != "help" {
					t.Errorf("%s: %q has a flag --%s that there is not", name, strings.TrimSpace(line), m[1])
				}
			}
		}
	}
}

// TestOperationsCarriedOut compares what the documents say is carried out with what
// there is.
func TestOperationsCarriedOut(t *testing.T) {
	t.Parallel()
	var want []string
	for f := range reflect.TypeFor[job.Operation]().Fields() {
		var op job.Operation
		fill(reflect.ValueOf(&op).Elem().FieldByIndex(f.Index))
		_, err := operation.New(op, operation.Env{})
		if _, missing := errors.AsType[*operation.UnsupportedError](err); !missing {
			want = append(want, f.Name)
		}
	}
	slices.Sort(want)
	if len(want) < 3 {
		t.Fatalf("carried out are %q", want)
	}
	names := regexp.MustCompile(`\b(LambdaInvoke|S3[A-Z][A-Za-z]+)\b`)
	for name, end := range map[string]string{"README.md": "\n", "docs/api.md": "\n\n"} {
		_, rest, ok := strings.Cut(pages(t)[name].text, "Operations carried out")
		list, _, _ := strings.Cut(rest, end)
		got := names.FindAllString(list, -1)
		slices.Sort(got)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("%s: operations carried out are\n%q, it says\n%q", name, want, got)
		}
	}
}

// fill lets v, a pointer to a struct, point to one in which all such pointers do the same.
func fill(v reflect.Value) {
	v.Set(reflect.New(v.Type().Elem()))
	for _, member := range v.Elem().Fields() {
		if member.Kind() == reflect.Pointer && member.Type().Elem().Kind() == reflect.Struct && member.CanSet() {
			fill(member)
		}
	}
}
