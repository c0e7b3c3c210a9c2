package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"stevedore/internal/job"
)

// readInput reads a request to create a job in the JSON that the AWS CLI takes
// as --cli-input-json, and the account if it names one. A client token is made
// when there is none.
func readInput(r io.Reader) (spec job.Spec, account string, problems []job.Problem, err error) {
	const most = 4 << 20
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return spec, "", nil, fmt.Errorf("read: %w", err)
	}
	if len(data) > most {
		return spec, "", nil, fmt.Errorf("more than %d bytes", most)
	}
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\uFEFF"))))
	d.UseNumber()
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		return spec, "", nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return spec, "", nil, errors.New("more than one JSON value")
	}
	var in inputReader
	if v, ok := members["AccountId"]; ok {
		in.value(v, reflect.ValueOf(&account).Elem(), "AccountId", false)
		delete(members, "AccountId")
	}
	if members["ClientRequestToken"] == nil {
		members["ClientRequestToken"] = rand.Text()
	}
	in.members(members, reflect.ValueOf(&spec).Elem(), "")
	return spec, account, in.problems, nil
}

// inputReader fills the nouns of package job from JSON as strictly as restxml
// does from XML: what it would have to drop is a problem.
type inputReader struct{ problems []job.Problem }

func (r *inputReader) addf(member, format string, args ...any) {
	r.problems = append(r.problems, job.Problem{Member: member, Text: fmt.Sprintf(format, args...)})
}

func (r *inputReader) members(in map[string]any, v reflect.Value, path string) {
	t := v.Type()
	for _, name := range slices.Sorted(maps.Keys(in)) {
		f, ok := t.FieldByName(name)
		if !ok {
			hint := ""
			for f := range t.Fields() {
				if strings.EqualFold(f.Name, name) {
					hint = ": do you mean " + f.Name + "?"
				}
			}
			r.addf(join(path, name), "is not a member of the API%s", hint)
			continue
		}
		if in[name] != nil { // null is as good as absent
			r.value(in[name], v.FieldByIndex(f.Index), join(path, name), job.MayBeEmpty(f))
		}
	}
	for f := range t.Fields() {
		if in[f.Name] == nil && f.Tag.Get("required") == "true" {
			r.addf(join(path, f.Name), "is required")
		}
	}
}

// value reads in into v. mayBeEmpty says that a string may.
func (r *inputReader) value(in any, v reflect.Value, path string, mayBeEmpty bool) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		if t, ok := inputTime(in); ok {
			v.Set(reflect.ValueOf(t))
		} else {
			r.addf(path, "must be a time like 2006-01-02T15:04:05Z or seconds since 1970")
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(in, v.Elem(), path, mayBeEmpty)
	case reflect.Struct:
		if members, ok := in.(map[string]any); ok {
			r.members(members, v, path)
		} else {
			r.addf(path, "must be an object")
		}
	case reflect.Slice:
		items, ok := in.([]any)
		if !ok {
			r.addf(path, "must be a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			r.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), false)
		}
	case reflect.Map:
		entries, ok := in.(map[string]any)
		if !ok {
			r.addf(path, "must be an object")
			return
		}
		v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			text, ok := entries[key].(string)
			if !ok {
				r.addf(join(path, key), "must be a string")
				continue
			}
			v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(text))
		}
	case reflect.String:
		text, ok := in.(string)
		switch {
		case !ok:
			r.addf(path, "must be a string")
		case text == "" && !mayBeEmpty:
			r.addf(path, "must not be empty")
		default:
			v.SetString(text)
		}
	case reflect.Bool:
		b, ok := in.(bool)
		if !ok {
			r.addf(path, "must be true or false")
		}
		v.SetBool(b)
	default:
		number, ok := in.(json.Number)
		n, err := number.Int64()
		if !ok || err != nil || v.OverflowInt(n) {
			r.addf(path, "must be a whole number of %d bits", v.Type().Bits())
			return
		}
		v.SetInt(n)
	}
}

// inputTime reads what the AWS CLI takes for a time: ISO 8601, a date for its
// first instant, without a zone UTC; or seconds since 1970, also as a string.
func inputTime(in any) (time.Time, bool) {
	number, isNumber := in.(json.Number)
	text, isText := in.(string)
	if isText {
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
			if t, err := time.Parse(layout, text); err == nil {
				return t.UTC(), true
			}
		}
		number = json.Number(text)
	}
	if !isNumber && !isText {
		return time.Time{}, false
	}
	seconds, err := number.Float64()
	const year10000 = 253402300800
	if err != nil || math.IsNaN(seconds) || seconds <= -62135596800 || seconds >= year10000 {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(fraction*1e6))*1e3).UTC(), true
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
