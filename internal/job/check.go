package job

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Problem is one thing wrong with a request, said about one member.
type Problem struct {
	Member string // path of the member, such as Operation.S3PutObjectCopy.StorageClass
	Text   string // what is wrong with it
}

func (p Problem) String() string {
	if p.Member == "" {
		return p.Text
	}
	return p.Member + ": " + p.Text
}

// InvalidError says why a request is refused. It names every member that is wrong.
type InvalidError struct{ Problems []Problem }

func (e *InvalidError) Error() string {
	const shown = 8 // a request may be wrong in thousands of places
	var b strings.Builder
	for i, p := range e.Problems {
		if i == shown {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-shown)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Check compares every member of v, a struct or pointer to one, with the
// constraints of its tags and returns what is wrong:
//
//	check:"len=1..256"      characters of a string, or of each string of a list or map
//	check:"keylen=1..64"    characters of each key of a map
//	check:"items=1..10"     length of a list or map
//	check:"range=0..9"      bounds of an integer
//	check:"pattern=role"    a pattern of the model, by name
//	required:"true"         must be given
//
// A type with a method Values takes only those. An empty string, nil pointer or
// nil list counts as not given, so that a member that is present but empty has
// to be noticed by whoever decodes it; see MayBeEmpty. Source of the
// constraints: the API model.
func Check(v any) []Problem {
	c := &checker{}
	c.value(reflect.ValueOf(v), "", "")
	return c.problems
}

// MayBeEmpty reports whether a string member may be present and empty.
func MayBeEmpty(f reflect.StructField) bool {
	bounds, ok := rule(f.Tag.Get("check"), "len")
	return ok && strings.HasPrefix(bounds, "0..")
}

type checker struct{ problems []Problem }

func (c *checker) addf(member, format string, args ...any) {
	c.problems = append(c.problems, Problem{member, fmt.Sprintf(format, args...)})
}

func (c *checker) value(v reflect.Value, path, rules string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.value(v.Elem(), path, rules)
		}
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[time.Time]() {
			c.members(v, path)
		}
	case reflect.Slice:
		c.items(v.Len(), path, rules, v.IsNil())
		for i := range v.Len() {
			e := v.Index(i)
			at := fmt.Sprintf("%s[%d]", path, i)
			if e.Kind() == reflect.String && e.Len() == 0 {
				c.addf(at, "must not be empty")
				continue
			}
			c.value(e, at, rules)
		}
	case reflect.Map:
		c.items(v.Len(), path, rules, v.IsNil())
		keyRules := ""
		if bounds, ok := rule(rules, "keylen"); ok {
			keyRules = "len=" + bounds
		}
		keys := v.MapKeys() // sorted, so that the same request always gets the same answer
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			c.text(key.String(), path+" key "+strconv.Quote(shorten(key.String())), keyRules)
			c.text(v.MapIndex(key).String(), path+"["+shorten(key.String())+"]", rules)
		}
	case reflect.String:
		if v.Len() == 0 {
			return
		}
		if legal, ok := reflect.TypeAssert[interface{ Values() []string }](v); ok {
			c.oneOf(v.String(), legal.Values(), path)
		}
		c.text(v.String(), path, rules)
	case reflect.Int32, reflect.Int64:
		if bounds, ok := rule(rules, "range"); ok {
			low, high := parseBounds(bounds)
			if v.Int() < low || v.Int() > high {
				c.addf(path, "%d is outside %s", v.Int(), bounds)
			}
		}
	default: // a boolean is always right
	}
}

func (c *checker) members(v reflect.Value, path string) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		at, _, _ := strings.Cut(f.Tag.Get("xml"), ",") // as the caller wrote it, such as SSE-KMS
		if at == "" {
			at = f.Name
		}
		if path != "" {
			at = path + "." + at
		}
		rules := f.Tag.Get("check")
		if f.Tag.Get("required") == "true" && missing(v.Field(i)) && !MayBeEmpty(f) {
			c.addf(at, "is required")
			continue
		}
		c.value(v.Field(i), at, rules)
	}
}

// missing reports whether a required member was not given, as far as its value
// can tell: false and 0 are values.
func missing(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsZero()
	default:
		return false
	}
}

func (c *checker) items(n int, path, rules string, absent bool) {
	bounds, ok := rule(rules, "items")
	if absent || !ok {
		return
	}
	if low, high := parseBounds(bounds); int64(n) < low || int64(n) > high {
		c.addf(path, "has %d items, must have %s", n, spell(low, high))
	}
}

func (c *checker) oneOf(s string, legal []string, path string) {
	if slices.Contains(legal, s) {
		return
	}
	c.addf(path, "%q is not one of %s", shorten(s), strings.Join(legal, ", "))
}

func (c *checker) text(s, path, rules string) {
	if !utf8.ValidString(s) {
		c.addf(path, "is not valid UTF-8")
		return
	}
	if bounds, ok := rule(rules, "len"); ok {
		n := int64(utf8.RuneCountInString(s))
		if low, high := parseBounds(bounds); n < low || n > high {
			c.addf(path, "has %d characters, must have %s", n, spell(low, high))
			return
		}
	}
	if name, ok := rule(rules, "pattern"); ok {
		if p := patternNamed(name); !p.re.MatchString(s) {
			c.addf(path, "%q is not %s", shorten(s), p.what)
		}
	}
}

// rule finds the value of one rule in a check tag.
func rule(rules, name string) (string, bool) {
	for r := range strings.SplitSeq(rules, ",") {
		if value, ok := strings.CutPrefix(r, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// parseBounds reads "low..high"; a missing high is unbounded. The tags are ours:
// TestTags proves that every one of them parses.
func parseBounds(s string) (low, high int64) {
	l, h, _ := strings.Cut(s, "..")
	low, _ = strconv.ParseInt(l, 10, 64)
	high = 1<<63 - 1
	if h != "" {
		high, _ = strconv.ParseInt(h, 10, 64)
	}
	return low, high
}

func spell(low, high int64) string {
	if low == high {
		return "exactly " + strconv.FormatInt(low, 10)
	}
	return fmt.Sprintf("%d to %d", low, high)
}

func shorten(s string) string { return clip(s, 100) }

type pattern struct {
	re   *regexp.Regexp
	what string // ends the sentence "... is not"
}

// patternNamed compiles the model's patterns, anchored. The model anchors only
// some; the service matches all of them whole.
func patternNamed(name string) pattern {
	switch name {
	case "account":
		return pattern{accountPattern(), "a 12-digit account id"}
	case "role":
		return pattern{rolePattern(), "the ARN of a role (arn:aws:iam::<account>:role/<name>)"}
	case "s3":
		return pattern{s3Pattern(), "an S3 ARN (arn:aws:s3:::<bucket>)"}
	case "s3Object": // that it names one is for Validate to see
		return pattern{s3Pattern(), "the ARN of an object (arn:aws:s3:::<bucket>/<key>)"}
	case "anyBucket":
		return pattern{anyBucketPattern(), "the ARN of a bucket (arn:aws:s3:::<bucket>)"}
	case "kmsKey":
		return pattern{kmsKeyPattern(), "the full ARN of a KMS key"}
	case "function":
		return pattern{functionPattern(), "the name or ARN of a function"}
	default:
		return pattern{tagPattern(), "text of letters, digits, spaces and _ . : / = + - @"}
	}
}
