package service

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// misfits are the places of a configuration file that do not fit what they are read
// into, told by line and key and not by the names of Go.
type misfits struct{ problems []error }

func (m *misfits) addf(n *yaml.Node, format string, args ...any) {
	m.problems = append(m.problems, fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...)))
}

// value compares n, at path, with t. What an alias stands for is compared where it
// stands itself.
func (m *misfits) value(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind == yaml.AliasNode || n.ShortTag() == "!!null" {
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		if n.Kind != yaml.MappingNode {
			m.addf(n, "%s: want keys and values, not %s", cmp.Or(path, "the file"), what(n))
			return
		}
		m.mapping(n, t, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			m.addf(n, "%s: want a list, not %s", path, what(n))
			return
		}
		for i, item := range n.Content {
			m.value(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		if n.Kind != yaml.ScalarNode {
			m.addf(n, "%s: want one value, not %s", path, what(n))
		} else if n.Decode(reflect.New(t).Interface()) != nil {
			m.addf(n, "%s: %s %s", path, what(n), wanted(t))
		}
	}
}

// mapping compares the keys and values of n with the members of t.
func (m *misfits) mapping(n *yaml.Node, t reflect.Type, path string) {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		of, known := member(t, key.Value)
		first, twice := lines[key.Value]
		switch {
		case key.ShortTag() == "!!merge":
			m.value(value, t, path)
			continue
		case twice:
			m.addf(key, "%s is there twice, see line %d", at, first)
		case !known:
			m.addf(key, "unknown key %s", at)
		default:
			m.value(value, of, at)
		}
		lines[key.Value] = key.Line
	}
}

// member is the type of what t, a struct or a map, has under a key of the file.
func member(t reflect.Type, key string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name == key && name != "-" {
			return f.Type, true
		}
	}
	return nil, false
}

// what says what stands at n.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", n.Value)
	}
}

// wanted ends the sentence about a value that is no t.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "is not a duration such as 720h"
	case t.Kind() == reflect.Bool:
		return "is neither true nor false"
	case t.Kind() == reflect.Float64:
		return "is not a number"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "is not a whole number"
	}
	return "is not a text"
}
