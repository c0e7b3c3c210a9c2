package restxml

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"stevedore/internal/job"
)

// Unmarshal reads a document whose root element has the given name into the
// struct v points to, and returns what is wrong with its members. The error
// tells of a document that could not be read at all.
func Unmarshal(data []byte, root string, v any) ([]job.Problem, error) {
	e, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read XML: %w", err)
	}
	if e.name != root {
		return nil, fmt.Errorf("read XML: the root element is %s, want %s", shorten(e.name), root)
	}
	var d decoder
	d.members(e, reflect.ValueOf(v).Elem(), "")
	return d.problems, nil
}

type decoder struct{ problems []job.Problem }

func (d *decoder) addf(member, format string, args ...any) {
	d.problems = append(d.problems, job.Problem{Member: member, Text: fmt.Sprintf(format, args...)})
}

// value reads e into v. mayBeEmpty says that a string may.
func (d *decoder) value(e *element, v reflect.Value, path string, mayBeEmpty bool) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(e, v.Elem(), path, mayBeEmpty)
	case reflect.Struct:
		if isTime(v.Type()) {
			d.scalar(e, v, path)
		} else {
			d.members(e, v, path)
		}
	case reflect.Slice:
		d.items(e, v, path)
	case reflect.Map:
		d.entries(e, v, path)
	case reflect.String:
		switch {
		case !d.leaf(e, path):
		case len(e.text) == 0 && !mayBeEmpty:
			d.addf(path, "must not be empty")
		default:
			v.SetString(string(e.text))
		}
	default:
		d.scalar(e, v, path)
	}
}

// scalar reads what is written without white space around it mattering.
func (d *decoder) scalar(e *element, v reflect.Value, path string) {
	if !d.leaf(e, path) {
		return
	}
	text := strings.Trim(string(e.text), " \t\r\n")
	switch v.Kind() {
	case reflect.Bool:
		switch text { // the four spellings of XML Schema
		case "true", "1":
			v.SetBool(true)
		case "false", "0":
			v.SetBool(false)
		default:
			d.addf(path, "%q is neither true nor false", shorten(text))
		}
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			d.addf(path, "%q is not a whole number of %d bits", shorten(text), v.Type().Bits())
			return
		}
		v.SetInt(n)
	default:
		t, ok := parseTime(text)
		if !ok {
			d.addf(path, "%q is not a time like 2006-01-02T15:04:05.678Z", shorten(text))
			return
		}
		v.Set(reflect.ValueOf(t))
	}
}

func (d *decoder) members(e *element, v reflect.Value, path string) {
	d.noText(e, path)
	fields := map[string]int{}
	for i := range v.NumField() {
		name, _ := names(v.Type().Field(i))
		fields[name] = i
	}
	seen := map[string]bool{}
	for _, c := range e.children {
		at := join(path, shorten(c.name))
		i, known := fields[c.name]
		switch {
		case !known:
			// Dropping it would make another job than the caller asked for.
			d.addf(at, "is not a member this server knows")
		case seen[c.name]:
			d.addf(at, "is given more than once")
		default:
			seen[c.name] = true
			d.value(c, v.Field(i), at, job.MayBeEmpty(v.Type().Field(i)))
		}
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name, _ := names(f); !seen[name] && f.Tag.Get("required") == "true" {
			d.addf(join(path, name), "is required")
		}
	}
}

// items reads a list. Its items may have any name, as no two documents agree on it.
func (d *decoder) items(e *element, v reflect.Value, path string) {
	d.noText(e, path)
	v.Set(reflect.MakeSlice(v.Type(), len(e.children), len(e.children)))
	for i, c := range e.children {
		d.value(c, v.Index(i), fmt.Sprintf("%s[%d]", path, i), false)
	}
}

func (d *decoder) entries(e *element, v reflect.Value, path string) {
	d.noText(e, path)
	v.Set(reflect.MakeMapWithSize(v.Type(), len(e.children)))
	for i, c := range e.children {
		at := fmt.Sprintf("%s[%d]", path, i)
		var entry struct {
			Key   string `xml:"key" check:"len=0.." required:"true"`
			Value string `xml:"value" check:"len=0.." required:"true"`
		}
		before := len(d.problems)
		d.members(c, reflect.ValueOf(&entry).Elem(), at)
		if len(d.problems) > before {
			continue
		}
		key := reflect.ValueOf(entry.Key)
		if v.MapIndex(key).IsValid() {
			d.addf(at, "repeats the key %q", shorten(entry.Key))
			continue
		}
		v.SetMapIndex(key, reflect.ValueOf(entry.Value))
	}
}

// leaf reports whether e has no elements inside.
func (d *decoder) leaf(e *element, path string) bool {
	if len(e.children) > 0 {
		d.addf(path, "must not contain elements")
		return false
	}
	return true
}

func (d *decoder) noText(e *element, path string) {
	if !blank(e.text) {
		d.addf(path, "must not contain text")
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// shorten cuts what a caller sent to what fits a message.
func shorten(s string) string {
	const most = 100
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
