package stevedore

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "stevedore"

// order is the architecture, top to bottom: a package imports only what stands
// below it. A package of ours that has no line here is an error.
var order = []string{
	"cmd/stevedore",
	"stevedoretest",
	"internal/e2e",
	"internal/service",
	"internal/dashboard",
	"internal/controlapi",
	"internal/schedule",
	"internal/doctor",
	"internal/generate",
	"internal/plan",
	"internal/run",
	"internal/operation",
	"internal/lambda",
	"internal/report",
	"internal/source",
	"internal/manifest",
	"internal/jobstore",
	"internal/objectstore",
	"internal/devstore",
	"internal/job",
}

// only lists all that a package may import of ours, where that is less than
// what stands below it. The stations meet in schedule and service; of them only
// schedule knows the job store.
var only = map[string][]string{
	"internal/controlapi":  {"internal/job"}, // the door knows no machinery
	"internal/generate":    {"internal/manifest", "internal/objectstore", "internal/job"},
	"internal/plan":        {"internal/source", "internal/manifest", "internal/objectstore", "internal/job"},
	"internal/run":         {"internal/operation", "internal/report", "internal/source", "internal/manifest", "internal/objectstore", "internal/job"},
	"internal/operation":   {"internal/lambda", "internal/objectstore", "internal/job"},
	"internal/doctor":      {"internal/operation", "internal/objectstore", "internal/job"},
	"internal/lambda":      {}, // carries bytes
	"internal/report":      {"internal/objectstore", "internal/job"},
	"internal/source":      {"internal/manifest", "internal/objectstore", "internal/job"},
	"internal/manifest":    {"internal/job"}, // a parser knows no engine
	"internal/jobstore":    {"internal/job"},
	"internal/objectstore": {},
	"internal/devstore":    {},
	"internal/job":         {}, // the nouns import nothing of ours
}

// home lists the packages that alone may import a module.
var home = map[string][]string{
	"github.com/versity/versitygw":     {"internal/devstore"}, // left out by the build tag slim
	"github.com/gofiber/fiber":         {"internal/devstore"},
	"go.etcd.io/etcd":                  {"internal/jobstore"},
	"github.com/valyala/fasthttp":      {"internal/objectstore"},
	"github.com/spf13/cobra":           {"cmd/stevedore"},
	"github.com/parquet-go/parquet-go": {"internal/manifest/parquet"},
}

// TestImportArrows keeps imports pointing one way. It reads the files itself:
// the test cache does not see what a "go list" subprocess reads.
func TestImportArrows(t *testing.T) {
	t.Parallel()
	for name, file := range sources(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		from := path.Dir(name)
		if from != "." && place(from) < 0 {
			t.Errorf("%s: package %s has no place in the order", name, from)
			continue
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if reason := forbidden(from, imported); reason != "" {
				t.Errorf("%s must not import %s: %s", name, imported, reason)
			}
		}
	}
}

// forbidden says why the package in folder from must not import path, or "".
func forbidden(from, imported string) string {
	for mod, homes := range home {
		if within(imported, mod) && !slices.ContainsFunc(homes, func(h string) bool { return within(from, h) }) {
			return "only " + strings.Join(homes, ", ") + " may"
		}
	}
	to, ours := strings.CutPrefix(imported, module+"/")
	switch {
	case !ours, owner(from) == owner(to) && !testOnly(to):
		return ""
	case testOnly(from):
		return "" // the doubles and suites of tests meet what they like
	case testOnly(to):
		return "it is for tests only"
	case place(to) < 0:
		return "it has no place in the order"
	case place(to) < place(from):
		return "it stands above"
	}
	if allowed, ok := only[owner(from)]; ok && !slices.Contains(allowed, owner(to)) {
		return "it is kept apart from the rest"
	}
	return ""
}

// owner returns the entry of order that a folder belongs to, or "".
func owner(folder string) string {
	if i := place(folder); i >= 0 {
		return order[i]
	}
	return ""
}

// place returns the index of a folder's owner in order, or -1.
func place(folder string) int {
	return slices.IndexFunc(order, func(o string) bool { return within(folder, o) })
}

// within reports whether a folder or an import path is base or below it.
func within(folder, base string) bool {
	return folder == base || strings.HasPrefix(folder, base+"/")
}

// testOnly reports whether a folder under internal holds what only tests import, such as jobstoretest.
func testOnly(folder string) bool {
	return within(folder, "internal") && (strings.HasSuffix(folder, "test") || within(folder, "internal/e2e"))
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	check := func(from, imported string, want bool) {
		t.Helper()
		if reason := forbidden(from, imported); (reason != "") != want {
			t.Errorf("%s imports %s: got %q, want forbidden %t", from, imported, reason, want)
		}
	}
	check("internal/plan", "stevedore/internal/job", false)
	check("internal/plan", "stevedore/internal/manifest", false)
	check("internal/plan", "fmt", false)
	check("internal/controlapi", "stevedore/internal/controlapi/sigv4", false)
	check("internal/jobstore", "go.etcd.io/etcd/client/v3", false)
	check("internal/jobstore/jobstoretest", "stevedore/internal/jobstore", false)
	check("cmd/stevedore", "stevedore/internal/service", false)
	check("stevedoretest", "stevedore/internal/service", false)

	check("internal/job", "stevedore/internal/plan", true)          // up
	check("internal/run", "stevedore/internal/service", true)       // up
	check("internal/run", "stevedore/internal/jobstore", true)      // down, but schedule's
	check("internal/controlapi", "stevedore/internal/plan", true)   // down, but kept apart
	check("internal/manifest", "stevedore/internal/jobstore", true) // likewise
	check("internal/service", "stevedore/internal/objectstore/objectstoretest", true)
	check("internal/objectstore", "stevedore/internal/objectstore/objectstoretest", true)
	check("internal/service", "stevedore/internal/unheard", true)
	check("internal/service", "go.etcd.io/etcd/client/v3", true)
	check("internal/service", "github.com/versity/versitygw/s3api", true)
}

// TestPackagesAreDocumented wants one comment that opens with what the package is for.
func TestPackagesAreDocumented(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for name, file := range sources(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		folder := path.Dir(name)
		opening := "Package " + file.Name.Name + " "
		if file.Name.Name == "main" {
			opening = "Command " + path.Base(folder) + " "
		}
		documented[folder] = documented[folder] || file.Doc != nil && strings.HasPrefix(file.Doc.Text(), opening)
	}
	for _, folder := range slices.Sorted(maps.Keys(documented)) {
		if !documented[folder] {
			t.Errorf("%s has no package comment", folder)
		}
	}
}

// TestNoActionAtADistance forbids init functions.
func TestNoActionAtADistance(t *testing.T) {
	t.Parallel()
	for name, file := range sources(t) {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", name)
			}
		}
	}
}

// TestModuleName holds the name that every import in the tree relies on, and
// that the build needs nothing beside the module's own files.
func TestModuleName(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(string(mod), "\n"); first != "module "+module {
		t.Errorf("go.mod begins with %q, want module %s", first, module)
	}
	if bytes.Contains(mod, []byte("\nreplace ")) {
		t.Error("go.mod replaces a module")
	}
}

// TestNoMachinePaths finds paths that exist on one machine only.
func TestNoMachinePaths(t *testing.T) {
	t.Parallel()
	machine := regexp.MustCompile(`(^|[\s"'=(\x60])/(work|root|home|tmp|farm)/[a-zA-Z.]`)
	for name, content := range files(t) {
		if bytes.IndexByte(content, 0) >= 0 {
			continue // not text
		}
		number := 0
		for line := range bytes.Lines(content) {
			number++
			if machine.Match(line) {
				t.Errorf("%s:%d: path of one machine: %.120s", name, number, bytes.TrimSpace(line))
			}
		}
	}
}

// sources parses the Go files of the module.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	parsed := map[string]*ast.File{}
	fset := token.NewFileSet()
	for name, content := range files(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, content, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		parsed[name] = file
	}
	if len(parsed) < 2 {
		t.Fatalf("found %d Go files, want the whole module", len(parsed))
	}
	return parsed
}

// files reads the files of the module, without what is built or installed there.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	const largest = 1 << 20 // generated data
	found := map[string][]byte{}
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", "node_modules"}, entry.Name()):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err != nil || info.Size() > largest {
			return err
		}
		found[name], err = fs.ReadFile(root, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
