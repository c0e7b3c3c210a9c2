package lambda

import (
	"os"
	"reflect"
	"regexp"
	"testing"
)

// TestDocumented wants a row of the document for each key of the configuration,
// and for nothing else.
func TestDocumented(t *testing.T) {
	t.Parallel()
	const doc = "../../docs/functions.md"
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|[^|]*\\| [^|]+ \\|$").FindAllSubmatch(text, -1) {
		rows[string(m[1])] = true
	}
	check := func(key string) {
		t.Helper()
		if !rows[key] {
			t.Errorf("%s has no row for %s", doc, key)
		}
		delete(rows, key)
	}
	for f := range reflect.TypeFor[Function]().Fields() {
		check(f.Tag.Get("yaml"))
	}
	for f := range reflect.TypeFor[Endpoint]().Fields() {
		check("lambda." + f.Tag.Get("yaml"))
	}
	if len(rows) > 0 {
		t.Errorf("%s has rows for keys that there are not: %v", doc, rows)
	}
}
