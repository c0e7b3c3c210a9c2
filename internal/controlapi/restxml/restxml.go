// Package restxml turns the XML bodies of the S3 Control API into Go structs
// and back, by their field names:
//
//	field Report of type struct       <Report>...</Report>
//	field Tags of type []Tag          <Tags><member>...</member></Tags>
//	field UserMetadata of type map    <UserMetadata><entry><key/><value/></entry></UserMetadata>
//	field SSES3 `xml:"SSE-S3"`        <SSE-S3/>
//	field M []T `xml:",Item"`         <M><Item>...</Item></M>
//
// Presence is kept: an absent member is nil or zero, an empty list or structure
// is not nil. Reading is strict where a job could become another one than was
// asked for (members unknown, given twice, empty or missing are problems, each
// named by its path) and lenient where clients differ (order, namespaces, names
// of list items).
package restxml

import (
	"cmp"
	"reflect"
	"strings"
	"time"
)

// Namespace is the namespace of all bodies.
const Namespace = "http://awss3control.amazonaws.com/doc/2018-08-20/"

// names returns the element name of a field, and that of its items.
func names(f reflect.StructField) (name, item string) {
	name, item, _ = strings.Cut(f.Tag.Get("xml"), ",")
	return cmp.Or(name, f.Name), cmp.Or(item, "member")
}

func isTime(t reflect.Type) bool { return t == reflect.TypeFor[time.Time]() }

// formatTime writes ISO 8601 in UTC with as many fractional digits as t has:
// the one form every client reads.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// parseTime reads ISO 8601: a date, or a date and time with up to nine
// fractional digits and perhaps a zone. Without a zone it is UTC.
func parseTime(s string) (time.Time, bool) {
	const longest = "2006-01-02T15:04:05.999999999+07:00"
	if len(s) > len(longest) {
		return time.Time{}, false
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", time.DateOnly,
	} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return t, t.Year() >= 1 && t.Year() <= 9999 // a zone may lead out of what can be written
		}
	}
	return time.Time{}, false
}
