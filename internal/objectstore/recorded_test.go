package objectstore_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// sent is what matters of a request on the wire.
type sent struct {
	Method, URI string
	Header      map[string]string
	Body        string
}

// meaningful drops what differs between any two clients and calls.
func meaningful(method, uri string, header http.Header, body []byte) sent {
	// The Go SDK names the call once more in the query; stores look past it.
	uri = regexp.MustCompile(`[?&]x-id=\w+$`).ReplaceAllString(uri, "")
	m := sent{Method: method, URI: uri, Header: map[string]string{}, Body: string(body)}
	for name, values := range header {
		switch name {
		case "Accept-Encoding", "User-Agent", "X-Amz-Date", "Authorization", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "Expect",
			"X-Amz-Checksum-Mode",                                                 // we compare sizes and ETags
			"X-Amz-Checksum-Crc32", "X-Amz-Sdk-Checksum-Algorithm", "Content-Md5": // either sum will do
		case "If-Match": // boto3 sends what it was given
			m.Header[name] = strings.Trim(strings.Join(values, ","), `"`)
		default:
			m.Header[name] = strings.Join(values, ",")
		}
	}
	return m
}

// TestColdRequestsAsRecorded compares reading a pinned manifest and writing a report with what boto3 sent for the same.
func TestColdRequestsAsRecorded(t *testing.T) {
	t.Parallel()
	s3, store := start(t, objectstoretest.Config{}, nil)
	check := func(name, op string) {
		t.Helper()
		raw, err := os.ReadFile("testdata/s3-requests/" + name + ".http")
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		want := meaningful(r.Method, r.RequestURI, r.Header, body)
		all := s3.Requests(op)
		if len(all) != 1 {
			t.Fatalf("%s: %d requests, want 1", name, len(all))
		}
		if diff := cmp.Diff(want, meaningful(all[0].Method, all[0].URI, all[0].Header, all[0].Body)); diff != "" {
			t.Errorf("%s: recorded (-) and sent (+):\n%s", name, diff)
		}
	}
	manifest := objectstore.Object{Bucket: "manifests", Key: "m.csv", VersionID: "v1", ETag: "60e460c9d1046e73f7dde5043ac3ae85"}
	if _, _, err := store.Open(t.Context(), manifest, 0, -1); !objectstore.NotFound(err) {
		t.Errorf("open: %v", err)
	}
	check("GetObject-version-ifmatch", "GetObject")
	s3.CreateBucket("reports")
	if _, err := store.Put(t.Context(), objectstore.PutInput{
		Bucket: "reports", Key: "out/job-x/manifest.json", Body: strings.NewReader("{}"), Size: 2, ContentType: "application/json",
		SSE: "AES256", ExpectedBucketOwner: "123456789012",
	}); err != nil {
		t.Errorf("put: %v", err)
	}
	check("PutObject-expected-owner", "PutObject")
}
