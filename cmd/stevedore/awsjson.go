package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"stevedore/internal/job"
)

// writeAWS writes v, a shape of the API, as `aws ... --output json` prints it:
// members under their names in the order of the model, absent ones left out,
// times as they came, four spaces of indent.
func writeAWS(w io.Writer, v any) error {
	var b bytes.Buffer
	writeValue(&b, reflect.Indirect(reflect.ValueOf(v)), "")
	b.WriteByte('\n')
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func writeValue(b *bytes.Buffer, v reflect.Value, indent string) {
	inner := indent + "    "
	switch v.Kind() {
	case reflect.Pointer:
		writeValue(b, v.Elem(), indent)
	case reflect.Struct:
		if t, ok := reflect.TypeAssert[time.Time](v); ok {
			writeString(b, t.UTC().Format(time.RFC3339Nano))
			return
		}
		var members []func()
		for f, member := range v.Fields() {
			if present(member, f) {
				members = append(members, func() {
					writeString(b, f.Name)
					b.WriteString(": ")
					writeValue(b, member, inner)
				})
			}
		}
		writeList(b, '{', '}', indent, members)
	case reflect.Slice:
		items := make([]func(), v.Len())
		for i := range items {
			items[i] = func() { writeValue(b, v.Index(i), inner) }
		}
		writeList(b, '[', ']', indent, items)
	case reflect.Map:
		entries := v.Interface().(map[string]string) //nolint:errcheck // the API has no other maps
		var members []func()
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			members = append(members, func() {
				writeString(b, key)
				b.WriteString(": ")
				writeString(b, entries[key])
			})
		}
		writeList(b, '{', '}', indent, members)
	case reflect.String:
		writeString(b, v.String())
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	default:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	}
}

// present reports whether a member is there, as in the XML of the API.
func present(v reflect.Value, f reflect.StructField) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return !v.IsNil()
	case reflect.String:
		return v.Len() > 0 || job.MayBeEmpty(f)
	default:
		return v.Type() != reflect.TypeFor[time.Time]() || !v.IsZero()
	}
}

func writeList(b *bytes.Buffer, open, end byte, indent string, items []func()) {
	b.WriteByte(open)
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n" + indent + "    ")
		item()
	}
	if len(items) > 0 {
		b.WriteString("\n" + indent)
	}
	b.WriteByte(end)
}

func writeString(b *bytes.Buffer, s string) {
	var quoted strings.Builder
	e := json.NewEncoder(&quoted)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	b.WriteString(strings.TrimSuffix(quoted.String(), "\n"))
}
