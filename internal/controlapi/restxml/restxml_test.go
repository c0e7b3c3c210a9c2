package restxml

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/job"
)

func decode[T any](t *testing.T, doc string) (T, []job.Problem) {
	t.Helper()
	var v T
	problems, err := Unmarshal([]byte(doc), "R", &v)
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return v, problems
}

type everything struct {
	Text    string
	Empty   string `check:"len=0..10"`
	Flag    bool
	Box     *bool
	Small   int32
	Big     *int64
	At      *time.Time
	List    []string
	Named   []job.SSES3 `xml:",Odd"`
	Map     map[string]string
	Struct  job.Retention
	Pointer *job.ObjectEncryption
	Renamed *job.SSES3 `xml:"SSE-S3"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	check := func(doc string, want everything) {
		t.Helper()
		got, problems := decode[everything](t, "<R>"+doc+"</R>")
		if len(problems) > 0 {
			t.Errorf("%s: %v", doc, problems)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", doc, diff)
		}
	}
	check("", everything{})
	check("<Text> a &lt;b&#x43; <![CDATA[<c>]]></Text>", everything{Text: " a <bC <c>"})
	check("<Text>a<!-- not here -->b</Text>", everything{Text: "ab"})
	check("<Empty/>", everything{})
	check("<Flag> true\n</Flag><Box>0</Box>", everything{Flag: true, Box: new(false)})
	check("<Small>2147483647</Small><Big>-9223372036854775808</Big>", everything{Small: 1<<31 - 1, Big: new(int64(-1 << 63))})
	check("<List/>", everything{List: []string{}}) // an empty list is not an absent one
	check("<List><member>a</member><Any>b</Any></List>", everything{List: []string{"a", "b"}})
	check("<Named><Odd/></Named>", everything{Named: []job.SSES3{{}}})
	check("<Map/>", everything{Map: map[string]string{}})
	check("<Map><entry><key>k</key><value/></entry><entry><value>v</value><key/></entry></Map>",
		everything{Map: map[string]string{"k": "", "": "v"}})
	check("<Struct/>", everything{})
	check("<SSE-S3/>", everything{Renamed: &job.SSES3{}})
	check("<Pointer><SSE-KMS><KMSKeyArn>k</KMSKeyArn></SSE-KMS></Pointer>",
		everything{Pointer: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: "k"}}})
	check("\n\t<Small>\n1 </Small>\n", everything{Small: 1})
}

func TestLenience(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`<R><Text>x</Text></R>`,
		`<R xmlns="` + Namespace + `"><Text>x</Text></R>`,
		`<p:R xmlns:p="` + Namespace + `"><p:Text>x</p:Text></p:R>`,
		`<p:R><p:Text>x</p:Text></p:R>`, // a prefix nobody declared
		`<?xml version="1.0" encoding="UTF-8"?>` + "\n<R><Text>x</Text></R>\n",
		"\uFEFF<R><Text>x</Text></R>",
		`<!-- c --><R a="b"><Text lang="en">x</Text></R>`,
	} {
		got, problems := decode[everything](t, doc)
		if len(problems) > 0 || got.Text != "x" {
			t.Errorf("%s: got %q, %v", doc, got.Text, problems)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	check := func(in, out string) {
		t.Helper()
		got, problems := decode[everything](t, "<R><At>"+in+"</At></R>")
		if len(problems) > 0 {
			t.Errorf("%s: %v", in, problems)
			return
		}
		if s := formatTime(*got.At); s != out {
			t.Errorf("%s is written back as %s, want %s", in, s, out)
		}
	}
	check("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z")
	check("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05Z")
	check("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z")
	check("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678901Z") // boto3
	check("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z")
	check("2026-01-02T03:04:05.5", "2026-01-02T03:04:05.5Z") // no zone: UTC
	check("2026-01-02T03:04:05+01:30", "2026-01-02T01:34:05Z")
	check("2026-01-02T03:04:05.5-0100", "2026-01-02T04:04:05.5Z")
	check("2026-01-02", "2026-01-02T00:00:00Z")
	check(" 2026-01-02T03:04:05Z\n", "2026-01-02T03:04:05Z")
	for _, bad := range []string{
		"", "now", "1767322800", "Fri, 02 Jan 2026 03:04:05 GMT", "2026-13-01", "2026-01-02T24:00:00Z",
		"0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-01-02T03:04:05." + strings.Repeat("1", 30) + "Z",
	} {
		if _, problems := decode[everything](t, "<R><At>"+bad+"</At></R>"); len(problems) != 1 || problems[0].Member != "At" {
			t.Errorf("%q: got %v, want a problem of At", bad, problems)
		}
	}
}

func TestProblemsAreNamedByPath(t *testing.T) {
	t.Parallel()
	check := func(doc string, want ...string) {
		t.Helper()
		_, problems := decode[job.Spec](t, "<R>"+doc+"</R>")
		got := map[string]bool{}
		for _, p := range problems {
			got[p.String()] = true
		}
		for _, w := range want {
			if !got[w] {
				t.Errorf("%s:\ngot  %v\nwant %s", doc, slices.Sorted(maps.Keys(got)), w)
			}
		}
	}
	check("", "Operation: is required", "Report: is required", "ClientRequestToken: is required",
		"Priority: is required", "RoleArn: is required")
	check("<Report/>", "Report.Enabled: is required") // a boolean that false could stand for
	check("<Tags><member><Key>k</Key></member></Tags>", "Tags[0].Value: is required")
	check("<Description/>", "Description: must not be empty")
	check("<Description><b/></Description>", "Description: must not contain elements")
	check("<Priority/>", `Priority: "" is not a whole number of 32 bits`)
	check("<Priority>2147483648</Priority>", `Priority: "2147483648" is not a whole number of 32 bits`)
	check("<Priority>1.5</Priority>", `Priority: "1.5" is not a whole number of 32 bits`)
	check("<ConfirmationRequired>yes</ConfirmationRequired>", `ConfirmationRequired: "yes" is neither true nor false`)
	check("<ConfirmationRequired/>", `ConfirmationRequired: "" is neither true nor false`)
	check("<Priority>1</Priority><Priority>1</Priority>", "Priority: is given more than once")
	check("<Tags/><Tags/>", "Tags: is given more than once")
	check("<Tags>text</Tags>", "Tags: must not contain text")
	check("<Operation>text</Operation>", "Operation: must not contain text")
	check("<Operation><S3Fly/></Operation>", "Operation.S3Fly: is not a member this server knows")
	check("<Operation><S3PutObjectTagging/></Operation>", "Operation.S3PutObjectTagging.TagSet: is required")
	check("<description>x</description>", "description: is not a member this server knows")
	check("<ManifestGenerator><S3JobManifestGenerator><Filter><CreatedAfter/></Filter></S3JobManifestGenerator></ManifestGenerator>",
		`ManifestGenerator.S3JobManifestGenerator.Filter.CreatedAfter: "" is not a time like 2006-01-02T15:04:05.678Z`)
	entry := "<Operation><LambdaInvoke><UserArguments>%s</UserArguments></LambdaInvoke></Operation>"
	const at = "Operation.LambdaInvoke.UserArguments"
	check(fmt.Sprintf(entry, "<entry><key>a</key></entry>"), at+"[0].value: is required")
	check(fmt.Sprintf(entry, "<entry><Key>a</Key><value/></entry>"), at+"[0].Key: is not a member this server knows")
	check(fmt.Sprintf(entry, strings.Repeat("<entry><key>a</key><value/></entry>", 2)), at+`[1]: repeats the key "a"`)
	check("<"+strings.Repeat("x", 300)+"/>", strings.Repeat("x", 100)+"...: is not a member this server knows")
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	laughs := `<!DOCTYPE R [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`
	check := func(name, doc, want string) {
		t.Helper()
		var v everything
		_, err := Unmarshal([]byte(doc), "R", &v)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, want)
		}
	}
	check("declaration", "<!DOCTYPE R><R/>", "document type")
	check("inner declaration", "<R><!DOCTYPE R></R>", "document type")
	check("billion laughs", laughs+"<R><Text>&b;</Text></R>", "document type")
	check("external entity", `<!DOCTYPE R [<!ENTITY x SYSTEM "file:///etc/passwd">]><R><Text>&x;</Text></R>`, "document type")
	check("undeclared entity", "<R><Text>&x;</Text></R>", "entity")
	check("processing instruction", `<?php x?><R/>`, "processing instructions")
	check("late XML declaration", `<R><?xml version="1.0"?></R>`, "processing instructions")
	check("other encoding", `<?xml version="1.0" encoding="ISO-8859-1"?><R/>`, `read XML: the encoding is "ISO-8859-1"; only UTF-8 is understood`)
	check("two bytes a character", "\xFF\xFE<\x00R\x00/\x00>\x00", "UTF-16; only UTF-8")
	check("deep", strings.Repeat("<R>", 200_000), "nested deeper")
	check("wide", "<R><List>"+strings.Repeat("<a/>", maxElements)+"</List></R>", "more than")
	check("empty", "", "empty")
	check("blank", " \n", "empty")
	check("not XML", "hello", "outside the root")
	check("cut off", "<R><Text>", "EOF")
	check("crossed", "<R><Text></R></Text>", "closed by")
	check("two roots", "<R/><R/>", "more than one root")
	check("text behind", "<R/>x", "outside the root")
	check("wrong root", "<Q/>", "root element is Q, want R")
	check("bad UTF-8", "<R><Text>\xff</Text></R>", "UTF-8")
	check("control character", "<R><Text>&#1;</Text></R>", "illegal character")
}

// TestEncode holds the forms the clients need.
func TestEncode(t *testing.T) {
	t.Parallel()
	check := func(v everything, want string) {
		t.Helper()
		const before, after = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<R xmlns="` + Namespace + `">`, "</R>"
		got := string(Marshal("R", v))
		if inner := strings.TrimSuffix(strings.TrimPrefix(got, before), after); inner != want {
			t.Errorf("got  %s\nwant %s", inner, want)
		}
	}
	const always = "<Empty></Empty><Flag>false</Flag><Small>0</Small><Struct></Struct>"
	check(everything{}, always)
	check(everything{Text: "a<&>\"'\n\r\té", Flag: true, Small: -7},
		"<Text>a&lt;&amp;&gt;&#34;&#39;&#xA;&#xD;&#x9;é</Text><Empty></Empty><Flag>true</Flag><Small>-7</Small><Struct></Struct>")
	check(everything{Box: new(false), Big: new(int64(0)), At: new(time.Unix(0, 5e6))},
		"<Empty></Empty><Flag>false</Flag><Box>false</Box><Small>0</Small><Big>0</Big><At>1970-01-01T00:00:00.005Z</At><Struct></Struct>")
	check(everything{List: []string{}, Named: []job.SSES3{{}}, Map: map[string]string{"b": "", "a": "1"}, Renamed: &job.SSES3{}},
		"<Empty></Empty><Flag>false</Flag><Small>0</Small><List></List><Named><Odd></Odd></Named>"+
			"<Map><entry><key>a</key><value>1</value></entry><entry><key>b</key><value></value></entry></Map>"+
			"<Struct></Struct><SSE-S3></SSE-S3>")
}

// TestEveryKindHasAForm makes sure that no member of the nouns can make Marshal
// panic or Unmarshal go astray.
func TestEveryKindHasAForm(t *testing.T) {
	t.Parallel()
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, path string) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(typ.Elem(), path)
		case reflect.Struct:
			if isTime(typ) {
				return
			}
			for f := range typ.Fields() {
				if !f.IsExported() {
					t.Errorf("%s.%s is not exported", path, f.Name)
				}
				walk(f.Type, path+"."+f.Name)
			}
		case reflect.Map:
			if typ != reflect.TypeFor[map[string]string]() {
				t.Errorf("%s is a %s", path, typ)
			}
		case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		default:
			t.Errorf("%s is a %s", path, typ)
		}
	}
	walk(reflect.TypeFor[job.Spec](), "Spec")
}

// FuzzUnmarshal holds that a document without problems is read the same again
// from what is written of it.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`<R xmlns="` + Namespace + `"><Priority>1</Priority><Tags><member><Key>a</Key><Value/></member></Tags></R>`))
	f.Add([]byte(`<R><Operation><S3PutObjectCopy><NewObjectTagging/><ModifiedSinceConstraint>2026-01-02T03:04:05.678901Z</ModifiedSinceConstraint><NewObjectMetadata><UserMetadata><entry><key>a</key><value>&#13;</value></entry></UserMetadata></NewObjectMetadata></S3PutObjectCopy></Operation></R>`))
	f.Add([]byte(`<R><ManifestGenerator><S3JobManifestGenerator><Filter><MatchAnyObjectEncryption><ObjectEncryption><NOT-SSE/></ObjectEncryption></MatchAnyObjectEncryption></Filter></S3JobManifestGenerator></ManifestGenerator></R>`))
	f.Add([]byte(`<!DOCTYPE x><R/>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var first job.Spec
		problems, err := Unmarshal(doc, "R", &first)
		if err != nil {
			return
		}
		for _, p := range problems {
			if p.Text == "" {
				t.Errorf("%s has a problem without words", p.Member)
			}
		}
		written := Marshal("R", first)
		var again job.Spec
		rest, err := Unmarshal(written, "R", &again)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if len(problems) > 0 {
			return // what could not be read is not written
		}
		if len(rest) > 0 {
			t.Errorf("%s: %v", written, rest)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("%s: (-first +again)\n%s", written, diff)
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	doc := Marshal("R", job.Spec{
		Operation:          job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: []job.Tag{{Key: "a", Value: "b"}}}},
		ClientRequestToken: "t", RoleArn: "arn:aws:iam::123456789012:role/r",
	})
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		var s job.Spec
		if _, err := Unmarshal(doc, "R", &s); err != nil {
			b.Fatal(err)
		}
	}
}
