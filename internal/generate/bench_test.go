//go:build unix

package generate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"iter"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// endless is a store that has "img/000000000000.jpg" and so on, and takes next to no time to list them.
type endless struct{ keys int }

const (
	endlessHead = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
		`<Name>data</Name><EncodingType>url</EncodingType><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true </IsTruncated>`
	endlessRow = `<Contents><Key>img/000000000000.jpg</Key><LastModified>2026-07-01T12:34:56.789Z</LastModified>` +
		`<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>123456</Size><StorageClass>STANDARD</StorageClass></Contents>`
	endlessFoot = `</ListBucketResult>`
)

// serve answers the requests of one connection.
func (e endless) serve(c net.Conn) {
	defer c.Close()
	page := []byte(endlessHead)
	var at []int // where the digits of the rows are: all else of them is the same
	for range 1000 {
		at = append(at, len(page)+strings.Index(endlessRow, "000"))
		page = append(page, endlessRow...)
	}
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		first := 0
		if after := req.URL.Query().Get("start-after"); after != "" {
			first = e.after(after)
		}
		n := max(0, min(1000, e.keys-first))
		for i := range n {
			for k, number := 11, first+i; k >= 0; k-- {
				page[at[i]+k] = byte('0' + number%10)
				number /= 10
			}
		}
		copy(page[bytes.Index(page[:len(endlessHead)], []byte("<IsTruncated>"))+len("<IsTruncated>"):], map[bool]string{true: "true ", false: "false"}[first+n < e.keys])
		rows := page[:len(endlessHead)+n*len(endlessRow)]
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n", len(rows)+len(endlessFoot))
		buffers := net.Buffers{rows, []byte(endlessFoot)}
		if _, err := buffers.WriteTo(c); err != nil {
			return
		}
	}
}

// after is the number of the first key behind a text.
func (e endless) after(text string) int {
	digits, ok := strings.CutPrefix(text, "img/")
	if !ok {
		if text < "img/" {
			return 0
		}
		return e.keys
	}
	number := 0
	for i := range 12 {
		digit := 0
		switch {
		case i >= len(digits):
		case digits[i] < '0':
			return number * pow10(12-i)
		case digits[i] > '9':
			return (number + 1) * pow10(12-i)
		default:
			digit = int(digits[i] - '0')
		}
		number = number*10 + digit
	}
	if len(digits) > 12 && digits[12:] >= ".jpg" {
		number++
	}
	return number
}

func pow10(n int) int {
	p := 1
	for range n {
		p *= 10
	}
	return p
}

// unversioned says so without asking.
type unversioned struct{ *objectstore.Store }

func (unversioned) Versioning(context.Context, string) (string, error) { return "", nil }

// sink is a Depot and a Journal that keep nothing but the sums.
type sink struct {
	Depot
	files []File
	bytes int64
}

func (s *sink) At(name string) objectstore.Object {
	return objectstore.Object{Bucket: "out", Key: name}
}

func (s *sink) Put(_ context.Context, name string, data []byte, _ string) (objectstore.Object, error) {
	return s.At(name), nil
}

func (s *sink) Names(context.Context, string) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}

func (s *sink) Save(_ context.Context, _ State, files []File) error {
	for _, f := range files {
		s.bytes += f.Size
	}
	s.files = append(s.files, files...)
	return nil
}

func (s *sink) Files(context.Context) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		for _, f := range s.files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// BenchmarkGenerate measures the CPU time for every key listed, from the socket to compressed files in memory, and in the
// same run that of ListPage alone. It includes a server that takes a fraction of it. "us/key" is CPU time.
func BenchmarkGenerate(b *testing.B) {
	const keys = 1_000_000
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go endless{keys: keys}.serve(c)
		}
	}()
	store, err := objectstore.New(objectstore.Config{
		Endpoint: "http://" + listener.Addr().String(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	filters := []struct {
		name   string
		filter *job.GeneratorFilter
		rows   int64
	}{
		{"all", nil, keys},
		{"suffix and size", &job.GeneratorFilter{
			KeyNameConstraint:          &job.KeyNameConstraint{MatchAnyPrefix: []string{"img/"}, MatchAnySuffix: []string{"7.jpg"}},
			ObjectSizeGreaterThanBytes: new(int64(1000)), CreatedAfter: new(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		}, keys / 10},
	}
	for _, f := range filters {
		b.Run(f.name, func(b *testing.B) {
			var own, pages time.Duration
			var kept sink
			for b.Loop() {
				kept = sink{}
				start := cpu(b)
				res, err := Run(b.Context(), Job{
					ID: "j", Generator: &job.S3JobManifestGenerator{SourceBucket: "arn:aws:s3:::data", Filter: f.filter},
					Source: unversioned{store}, Depot: &kept, Journal: &kept,
				}, State{})
				if err != nil || res.Rows != f.rows {
					b.Fatalf("%d rows, %v", res.Rows, err)
				}
				own += cpu(b) - start

				start = cpu(b)
				var page objectstore.ListPage
				n := 0
				for q := (objectstore.ListQuery{Bucket: "data"}); ; q = page.Next(q) {
					if err := store.ListPage(b.Context(), q, &page); err != nil {
						b.Fatal(err)
					}
					if n += len(page.Entries); !page.Truncated {
						break
					}
				}
				if n != keys {
					b.Fatalf("%d keys", n)
				}
				pages += cpu(b) - start
			}
			micros := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) / keys }
			b.ReportMetric(micros(own), "us/key")
			b.ReportMetric(micros(pages), "us/key-ListPage")
			b.ReportMetric(float64(kept.bytes)/float64(f.rows), "B/row")
			b.ReportMetric(float64(len(kept.files)), "files")
		})
	}
}

// cpu returns the CPU time this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestEndless checks the store of the benchmark.
func TestEndless(t *testing.T) {
	t.Parallel()
	e := endless{keys: 1e6}
	for text, want := range map[string]int{
		"img/": 0, "a": 0, "z": 1e6, "img/000000000999.jpg": 1000, "img/0000005": 500_000, "img/00000000012": 120,
		"img/000000000012": 12, "img/00000000001:": 20, "img/00000000001.": 10,
	} {
		if got := e.after(text); got != want {
			t.Errorf("after %q: %d, want %d", text, got, want)
		}
	}
}
