//go:build stores

package stores

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stevedore/internal/devstore"
)

var (
	update = flag.Bool("update", false, "write the results into docs/stores.md")
	fetch  = flag.Bool("get", false, "build and install servers that are missing: minutes, and root for Ceph's packages")
	only   = flag.String("stores", "", "names of servers, with commas between them, which then must be there; default: those that are")
	match  = flag.String("operation", "", "only the trials of operations with this in their name")
)

const document = "../../../docs/stores.md"

// binary is the path of the stevedore under test, set by TestMain.
var binary string

func TestMain(m *testing.M) {
	if code, ran := devstore.Main(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "stevedore-stores")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "stevedore")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "stevedore/cmd/stevedore")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build stevedore:", err)
		return 1
	}
	return m.Run()
}

// TestStores measures every server that can be had and compares the results with
// those in the document, or writes them there.
func TestStores(t *testing.T) {
	before, err := readTable(document)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(*only, ",")
	for _, name := range wanted {
		if name != "" && !slices.ContainsFunc(servers(), func(s server) bool { return s.name == name }) {
			t.Fatalf("there is no server %q", name)
		}
	}
	now := newTable()
	var mu sync.Mutex
	t.Run("on", func(t *testing.T) {
		for _, s := range servers() {
			if *only != "" && !slices.Contains(wanted, s.name) {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, s)
				record := func(operation, parameter string, c cell) {
					mu.Lock()
					defer mu.Unlock()
					now.set(operation, parameter, s.name, c)
					t.Logf("%s %s: %s", operation, parameter, c)
				}
				all := trials()
				for i, tr := range all {
					if !strings.Contains(tr.operation, *match) {
						continue
					}
					c := w.try(t, i, tr)
					record(tr.operation, tr.parameter, c)
					if v, tell := w.verified(t, len(all)+i, tr, c); tell {
						record(tr.operation, verification+tr.parameter, v)
					}
				}
				for i, tr := range ofEachOperation(all) {
					if strings.Contains(tr.operation, *match) {
						record(tr.operation, keys+"of all kinds, "+tr.parameter, w.tryOddKeys(t, i, tr))
					}
				}
				if *match == "" {
					w.oddKeys(t, record)
				}
				if strings.Contains(generator, *match) {
					w.generators(t, record)
				}
				w.noProbes(t)
				mu.Lock()
				defer mu.Unlock()
				now.measured[s.name] = measured{w.version, time.Now().UTC().Format(time.DateOnly)}
			})
		}
	})
	for _, worse := range before.worse(now) {
		t.Error(worse)
	}
	for _, s := range servers() {
		if m, ok := now.measured[s.name]; ok && m.version != before.measured[s.name].version {
			t.Logf("%s is %s, in the document %s", s.name, m.version, before.measured[s.name].version)
		}
	}
	if *update {
		if err := before.merge(now).write(document); err != nil {
			t.Error(err)
		}
	}
}
