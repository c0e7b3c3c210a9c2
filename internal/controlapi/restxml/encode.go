package restxml

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"stevedore/internal/job"
)

// Marshal writes the struct v, or what it points to, as a document with the
// given root element. Nil and empty members are left out, empty lists that are
// not nil and strings that may be empty (job.MayBeEmpty) are written; so are
// false and 0 unless behind a nil pointer. It panics on types the API has no
// form for.
func Marshal(root string, v any) []byte {
	var e encoder
	e.WriteString(xml.Header)
	e.WriteString("<" + root + ` xmlns="` + Namespace + `">`)
	e.members(reflect.Indirect(reflect.ValueOf(v)))
	e.WriteString("</" + root + ">")
	return e.Bytes()
}

type encoder struct{ bytes.Buffer }

func (e *encoder) element(name string, content func()) {
	e.WriteString("<" + name + ">")
	content()
	e.WriteString("</" + name + ">")
}

func (e *encoder) members(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !present(v.Field(i), f) {
			continue
		}
		name, item := names(f)
		e.element(name, func() { e.value(v.Field(i), item) })
	}
}

// present reports whether a member is written at all: an empty number or time
// would break clients, an empty list is not an absent one.
func present(v reflect.Value, f reflect.StructField) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return !v.IsNil()
	case reflect.String:
		return v.Len() > 0 || job.MayBeEmpty(f)
	default:
		return !isTime(v.Type()) || !v.IsZero()
	}
}

func (e *encoder) value(v reflect.Value, item string) {
	switch v.Kind() {
	case reflect.Pointer:
		e.value(v.Elem(), item)
	case reflect.Struct:
		if t, ok := reflect.TypeAssert[time.Time](v); ok {
			e.WriteString(formatTime(t))
			return
		}
		e.members(v)
	case reflect.Slice:
		for i := range v.Len() {
			e.element(item, func() { e.value(v.Index(i), "") })
		}
	case reflect.Map:
		entries := v.Interface().(map[string]string) //nolint:errcheck // the types of the API have no other map
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			e.element("entry", func() {
				e.element("key", func() { e.text(key) })
				e.element("value", func() { e.text(entries[key]) })
			})
		}
	case reflect.String:
		e.text(v.String())
	case reflect.Bool:
		e.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int32, reflect.Int64:
		e.WriteString(strconv.FormatInt(v.Int(), 10))
	default:
		panic(fmt.Sprintf("restxml: no form for %s", v.Type()))
	}
}

func (e *encoder) text(s string) {
	// A buffer cannot fail to be written.
	_ = xml.EscapeText(&e.Buffer, []byte(s))
}
