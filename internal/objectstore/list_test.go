package objectstore_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// A row is an objectstore.ListEntry that is easy to compare and to write down.
type row struct {
	Key, VersionID, ETag, StorageClass string
	Size                               int64
	LastModified                       string
	Latest, Marker                     bool
}

func rowsOf(p *objectstore.ListPage) (rows []row) {
	for _, e := range p.Entries {
		rows = append(rows, row{
			string(e.Key), string(e.VersionID), string(e.ETag), string(e.StorageClass), e.Size,
			e.LastModified.Format(time.RFC3339Nano), e.IsLatest, e.DeleteMarker,
		})
	}
	return rows
}

func prefixesOf(p *objectstore.ListPage) (prefixes []string) {
	for _, prefix := range p.Prefixes {
		prefixes = append(prefixes, string(prefix))
	}
	return prefixes
}

const noTime = "0001-01-01T00:00:00Z"

func TestListPageOfObjects(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Fault(objectstoretest.Match{Op: "ListObjectsV2"}, objectstoretest.Answer(200, `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>a</Prefix><Delimiter>/</Delimiter>
  <Contents><Key>a+b%2Bc%2F%C3%A9%01</Key><LastModified>2026-07-01T12:34:56.789Z</LastModified><ETag>&quot;e1&quot;</ETag>
    <Size>1234567890123</Size><StorageClass>GLACIER</StorageClass>
    <Owner><ID>Key</ID><Key>not this one</Key></Owner><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus></Contents>
  <Contents><Size>0</Size><ETag>"e2"</ETag><Key><![CDATA[b&amp;]]>%26<!-- <Key> --></Key></Contents>
  <CommonPrefixes><Prefix>a%2F</Prefix></CommonPrefixes><CommonPrefixes><Prefix>c%2F</Prefix></CommonPrefixes>
  <NextContinuationToken>to+ken%2F=&amp;</NextContinuationToken><IsTruncated> true </IsTruncated><EncodingType>url</EncodingType>
</ListBucketResult>
`))
	var page objectstore.ListPage
	q := objectstore.ListQuery{
		Bucket: "b", Prefix: "a &é", Delimiter: "/", After: "a ", MaxKeys: 7, ExpectedBucketOwner: "123456789012",
	}
	if err := store.ListPage(t.Context(), q, &page); err != nil {
		t.Fatal(err)
	}
	want := []row{
		{"a b+c/é\x01", "", "e1", "GLACIER", 1234567890123, "2026-07-01T12:34:56.789Z", false, false},
		{"b&amp;&", "", "e2", "", 0, noTime, false, false},
	}
	if diff := cmp.Diff(want, rowsOf(&page)); diff != "" {
		t.Error("rows (-want +got):\n" + diff)
	}
	if diff := cmp.Diff([]string{"a/", "c/"}, prefixesOf(&page)); diff != "" {
		t.Error("prefixes (-want +got):\n" + diff)
	}
	if page.NextToken != "to+ken%2F=&" || page.NextKey != "c/" || !page.Truncated {
		t.Errorf("goes on with %q, %q, %t", page.NextToken, page.NextKey, page.Truncated)
	}
	if err := store.ListPage(t.Context(), page.Next(q), &page); !errors.Is(err, objectstore.ErrStuck) {
		t.Errorf("the same page once more: %v", err)
	}
	const common = "delimiter=%2F&encoding-type=url&list-type=2&max-keys=7&prefix=a%20%26%C3%A9"
	for i, uri := range []string{"/b?" + common + "&start-after=a%20", "/b?continuation-token=to%2Bken%252F%3D%26&" + common} {
		got := s3.Requests()[i]
		if got.URI != uri || got.Header.Get("X-Amz-Expected-Bucket-Owner") != "123456789012" {
			t.Errorf("asked for %s of %s", got.URI, got.Header.Get("X-Amz-Expected-Bucket-Owner"))
		}
	}
}

func TestListPageOfVersions(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Fault(objectstoretest.Match{Op: "ListObjectVersions"}, objectstoretest.Answer(200, `<s3:ListVersionsResult xmlns:s3="x">
<s3:Version><s3:Key>a&#x26;b %2F</s3:Key><s3:VersionId>v2</s3:VersionId><s3:IsLatest>true</s3:IsLatest><s3:LastModified>2026-07-01T12:00:00Z</s3:LastModified>
 <s3:ETag>&#34;e&#34;</s3:ETag><s3:Size>5</s3:Size></s3:Version>
<s3:DeleteMarker><s3:Key>a&#x26;b %2F</s3:Key><s3:VersionId>v1</s3:VersionId><s3:IsLatest>false</s3:IsLatest></s3:DeleteMarker>
<s3:IsTruncated>true</s3:IsTruncated><s3:NextKeyMarker>z</s3:NextKeyMarker></s3:ListVersionsResult>`))
	var page objectstore.ListPage
	q := objectstore.ListQuery{Bucket: "b", Versions: true, Prefix: "a", Token: "not sent"}
	if err := store.ListPage(t.Context(), q, &page); err != nil {
		t.Fatal(err)
	}
	want := []row{
		{"a&b %2F", "v2", "e", "", 5, "2026-07-01T12:00:00Z", true, false},
		{"a&b %2F", "v1", "", "", 0, noTime, false, true},
	}
	if diff := cmp.Diff(want, rowsOf(&page)); diff != "" {
		t.Error("rows (-want +got):\n" + diff)
	}
	if err := store.ListPage(t.Context(), page.Next(q), &page); !errors.Is(err, objectstore.ErrStuck) {
		t.Errorf("the same page once more: %v", err)
	}
	for i, uri := range []string{
		"/b?encoding-type=url&prefix=a&versions=",
		"/b?encoding-type=url&key-marker=a%26b%20%252F&prefix=a&version-id-marker=v1&versions=",
	} {
		if got := s3.Requests()[i].URI; got != uri {
			t.Errorf("asked for %s", got)
		}
	}
}

// TestListRequestsAsRecorded compares with what boto3 sent for the same.
func TestListRequestsAsRecorded(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	check := func(name string, versions bool) {
		t.Helper()
		raw, err := os.ReadFile("testdata/s3-requests/" + name + ".http")
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		q := objectstore.ListQuery{Bucket: "b", Versions: versions, Prefix: "p/"}
		_ = store.ListPage(t.Context(), q, new(objectstore.ListPage)) // what comes of it is for others to test
		got := s3.Requests(name)[0]
		want := r.URL.Query()
		gotURL, err := r.URL.Parse(got.URI)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, gotURL.Query()); diff != "" {
			t.Errorf("%s: recorded (-) and sent (+):\n%s", name, diff)
		}
	}
	check("ListObjectsV2", false)
	check("ListObjectVersions", true)
}

// TestBadPages: what makes no sense is asked for again, and in the end an error.
func TestBadPages(t *testing.T) {
	t.Parallel()
	check := func(name, body, message string) {
		t.Helper()
		s3, store := start(t, objectstoretest.Config{}, nil)
		s3.Put("b", "k", "x")
		bad := s3.Fault(objectstoretest.Match{Times: 2}, objectstoretest.Answer(200, body))
		var page objectstore.ListPage
		q := objectstore.ListQuery{Bucket: "b"}
		if err := store.ListPage(t.Context(), q, &page); err != nil || len(page.Entries) != 1 {
			t.Errorf("%s twice: %d rows, %v", name, len(page.Entries), err)
		}
		bad.Remove()
		s3.Fault(objectstoretest.Match{}, objectstoretest.Answer(200, body))
		err := store.ListPage(t.Context(), q, &page)
		e, ok := errors.AsType[*objectstore.Error](err)
		if !ok || e.Status != 500 || e.Code != "InternalError" || e.Attempts != 5 || !strings.Contains(e.Message, message) || len(page.Entries) != 0 {
			t.Errorf("%s for ever: %d rows, %v", name, len(page.Entries), err)
		}
	}
	list := func(inside string) string { return "<ListBucketResult>" + inside + "</ListBucketResult>" }
	check("nothing", "", "cut short")
	check("cut", "<ListBucketResult><IsTruncated>false</IsTruncated>", "cut short")
	check("cut in a row", "<ListBucketResult><Contents><Key>k</Key><Si", "cut short")
	check("page of a proxy", "<html><body>hello</body></html>", `its document is "html"`)
	check("no way on", list("<IsTruncated>true</IsTruncated>"), "does not advance")
	check("no key", list("<Contents><Size>1</Size></Contents>"), "no key")
	check("bad size", list("<Contents><Key>k</Key><Size>1e3</Size></Contents>"), "no number")
	check("huge size", list("<Contents><Key>k</Key><Size>9223372036854775808</Size></Contents>"), "no number")
	check("bad date", list("<Contents><Key>k</Key><LastModified>yesterday</LastModified></Contents>"), "date")
	check("crossed", list("<Contents><Key>k</Size></Contents></Key>"), "well-formed")
	check("bare ampersand", list("<Contents><Key>a&b</Key></Contents>"), "well-formed")
	check("not a character", list("<Contents><Key>&#xD800;</Key></Contents>"), "well-formed")
	check("not encoded", list("<EncodingType>url</EncodingType><Contents><Key>100%</Key></Contents>"), "URL-encoded")
	check("a DTD", "<!DOCTYPE x [<!ENTITY a 'b'>]>"+list(""), "")
	check("deep", strings.Repeat("<ListBucketResult>", 100)+strings.Repeat("</ListBucketResult>", 100), "well-formed")
}

func TestHugePagesAreRefused(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	row := fmt.Sprintf("<Contents><Key>%s</Key></Contents>", strings.Repeat("k", 1000))
	page := func(size int) string {
		return "<ListBucketResult>" + strings.Repeat(row, size/len(row)) + "</ListBucketResult>"
	}
	large := s3.Fault(objectstoretest.Match{}, objectstoretest.Answer(200, page(15<<20)))
	var got objectstore.ListPage
	if err := store.ListPage(t.Context(), objectstore.ListQuery{Bucket: "b"}, &got); err != nil || len(got.Entries) != 15<<20/len(row) {
		t.Errorf("%d rows, %v", len(got.Entries), err)
	}
	large.Remove()
	s3.Fault(objectstoretest.Match{}, objectstoretest.Answer(200, page(17<<20)))
	if err := store.ListPage(t.Context(), objectstore.ListQuery{Bucket: "b"}, &got); err == nil || len(got.Entries) != 0 {
		t.Errorf("%d rows, %v", len(got.Entries), err)
	}
}

// TestRowsThatWereNotAskedFor: some servers begin a listing of versions with the very key that it should begin after, and
// repeat the row of the marker. Theirs lists the versions of a key apart from its delete markers, too.
func TestRowsThatWereNotAskedFor(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	s3.Fault(objectstoretest.Match{Op: "ListObjectVersions"}, objectstoretest.Answer(200, `<ListVersionsResult>
<DeleteMarker><Key>k</Key><VersionId>2</VersionId></DeleteMarker><DeleteMarker><Key>l</Key><VersionId>9</VersionId></DeleteMarker>
<Version><Key>a</Key><VersionId>1</VersionId></Version><Version><Key>k</Key><VersionId>3</VersionId></Version>
<Version><Key>l</Key><VersionId>8</VersionId></Version><Version><Key>l</Key><VersionId>7</VersionId></Version>
<IsTruncated>true</IsTruncated><NextKeyMarker>l</NextKeyMarker><NextVersionIdMarker>9</NextVersionIdMarker></ListVersionsResult>`))
	s3.Fault(objectstoretest.Match{Op: "ListObjectsV2"}, objectstoretest.Answer(200, `<ListBucketResult><Contents><Key>a</Key></Contents>
<Contents><Key>k</Key></Contents><Contents><Key>l</Key></Contents><IsTruncated>false</IsTruncated></ListBucketResult>`))
	check := func(q objectstore.ListQuery, want string) {
		t.Helper()
		q.Bucket = "b"
		var page objectstore.ListPage
		if err := store.ListPage(t.Context(), q, &page); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range page.Entries {
			got += string(e.Key) + string(e.VersionID) + " "
		}
		for _, e := range page.Early {
			got += "early " + string(e.Key) + string(e.VersionID) + " "
		}
		if got += "> " + page.NextKey + page.NextVersion; got != want {
			t.Errorf("after %q, version %q: got %s, want %s", q.After, q.VersionMarker, got, want)
		}
	}
	check(objectstore.ListQuery{Versions: true}, "k2 l9 a1 k3 l8 l7 > l9")
	check(objectstore.ListQuery{Versions: true, After: "k"}, "l9 l8 l7 early a1 > l9")
	check(objectstore.ListQuery{Versions: true, After: "k", VersionMarker: "3"}, "k2 l9 k3 l8 l7 early a1 > l9")
	check(objectstore.ListQuery{Versions: true, After: "l", VersionMarker: "9"}, "l9 l8 l7 early k2 early a1 early k3 > l7")
	check(objectstore.ListQuery{After: "a"}, "k l > l")
	check(objectstore.ListQuery{After: "x", Token: "t"}, "a k l > l")
}
