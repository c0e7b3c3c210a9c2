// Package nullstore is an S3-shaped server that costs next to nothing, for programs that measure what a client costs. It
// runs as a process of its own, which is the measuring program once more:
//
//	func main() {
//		nullstore.MayServe() // does not return in the other process
//		store, err := nullstore.Start(ctx, nullstore.Config{Keys: 100_000})
//		... measure a client of store.Address ...
//		store.Stop()
//	}
//
// Every object exists, every write succeeds, no signature is checked. It keeps nothing but the objects under "r/", which
// is where a report goes: a server under test wants its parts back.
package nullstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// ETag is that of every object.
const ETag = "5eb63bbbe01eeed093cb22bb8f5acdc3"

// Prefix is what the keys of every bucket begin with.
const Prefix = "dir/"

// Key is the nth key of every bucket, from 0.
func Key(n int) string { return fmt.Sprintf(Prefix+"obj-%010d.bin", n) }

// Config shapes a null store.
type Config struct {
	Keys     int    // that a bucket lists
	Manifest string // path of the file that every key that ends in manifest.csv is; empty: none
}

// A Store is a null store that runs.
type Store struct {
	Address string // host and port

	process *exec.Cmd
	leash   io.Closer // closed, the process ends
}

// subcommand makes a program the null store.
const subcommand = "null-store"

// Start runs a null store. It must be stopped.
func Start(ctx context.Context, cfg Config) (*Store, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &Store{process: exec.CommandContext(ctx, self, subcommand, strconv.Itoa(cfg.Keys), cfg.Manifest)}
	s.process.Stderr = os.Stderr
	if s.leash, err = s.process.StdinPipe(); err != nil {
		return nil, err
	}
	answers, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(answers).ReadString('\n')
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("null store: %w", err)
	}
	s.Address = strings.TrimSpace(line)
	return s, nil
}

// Stop ends the process.
func (s *Store) Stop() {
	_ = s.leash.Close()
	_ = s.process.Wait()
}

// Requests counts the requests since the last call of it, by what they ask for: list, tag, copy, or the method.
func (s *Store) Requests(ctx context.Context) (counts map[string]int, err error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /_stats HTTP/1.1\r\nConnection: close\r\n\r\n"); err != nil {
		return nil, err
	}
	in := bufio.NewReader(c)
	for line := ""; line != "\r\n"; {
		if line, err = in.ReadString('\n'); err != nil {
			return nil, err
		}
	}
	return counts, json.NewDecoder(in).Decode(&counts)
}

// MayServe is the null store, and ends the process with it, if Start has started this process. Call it first.
func MayServe() {
	if len(os.Args) != 4 || os.Args[1] != subcommand {
		return
	}
	if err := serve(os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "null store:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve prints its address and ends with its standard input.
func serve(keys, manifest string) error {
	s := &server{kept: map[string][]byte{}, counts: map[string]int{}}
	var err error
	if s.keys, err = strconv.Atoi(keys); err != nil {
		return err
	}
	if manifest != "" {
		if s.manifest, err = os.ReadFile(manifest); err != nil {
			return err
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // open until the parent ends
		l.Close()
	}()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go s.serve(c) // ends with the process
	}
}

type server struct {
	manifest []byte
	keys     int

	mu     sync.Mutex
	kept   map[string][]byte
	counts map[string]int
}

// A request is what matters of one.
type request struct {
	method, bucket, key, query string
	span, source               string // headers
	length                     int
}

// serve answers the requests of one connection.
func (s *server) serve(c net.Conn) {
	defer c.Close()
	in, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)
	var page []byte
	for {
		r, err := read(in)
		if err != nil {
			return
		}
		if page, err = s.answer(out, in, r, page); err != nil {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

func read(in *bufio.Reader) (r request, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return r, err
	}
	method, rest, _ := strings.Cut(line, " ")
	target, _, _ := strings.Cut(rest, " ")
	r.method = method
	for {
		h, err := in.ReadString('\n')
		if err != nil {
			return r, err
		}
		if h = strings.TrimSpace(h); h == "" {
			break
		}
		name, value, _ := strings.Cut(h, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "content-length":
			r.length, _ = strconv.Atoi(value)
		case "range":
			r.span = value
		case "x-amz-copy-source":
			r.source = value
		}
	}
	path, query, _ := strings.Cut(target, "?")
	r.query = query
	r.bucket, r.key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return r, nil
}

func (s *server) answer(out *bufio.Writer, in io.Reader, r request, page []byte) ([]byte, error) {
	report := strings.HasPrefix(r.key, "r/")
	body := make([]byte, r.length)
	if _, err := io.ReadFull(in, body); err != nil {
		return page, err
	}
	listing := r.method == "GET" && r.key == "" && (strings.Contains(r.query, "list-type=2") || strings.HasPrefix(r.query, "versions"))
	s.count(r, listing)
	switch {
	case r.bucket == "_stats":
		s.mu.Lock()
		counts, err := json.Marshal(s.counts)
		clear(s.counts)
		s.mu.Unlock()
		return page, errors.Join(err, respond(out, "200 OK", "", counts, true))
	case r.method == "PUT" && r.source != "":
		const copied = `<CopyObjectResult><ETag>"` + ETag + `"</ETag><LastModified>2026-01-02T03:04:05.000Z</LastModified></CopyObjectResult>`
		return page, respond(out, "200 OK", "", []byte(copied), true)
	case r.method == "PUT":
		if report {
			s.mu.Lock()
			s.kept[r.key] = body
			s.mu.Unlock()
		}
		return page, respond(out, "200 OK", "", nil, true)
	case r.method == "DELETE":
		s.mu.Lock()
		delete(s.kept, r.key)
		s.mu.Unlock()
		return page, respond(out, "204 No Content", "", nil, true)
	case listing:
		page = s.list(page[:0], r.query)
		return page, respond(out, "200 OK", "Content-Type: application/xml\r\n", page, true)
	}
	content := []byte("x")
	switch {
	case strings.HasSuffix(r.key, "manifest.csv"):
		content = s.manifest
	case report:
		s.mu.Lock()
		content = s.kept[r.key]
		s.mu.Unlock()
	case r.key == "": // location, versioning, lock
		content = []byte(`<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	}
	status, more := "200 OK", "Last-Modified: Wed, 01 Jul 2026 12:00:00 GMT\r\n"
	if from, to, ok := bounds(r.span, len(content)); ok {
		status, more = "206 Partial Content", fmt.Sprintf("%sContent-Range: bytes %d-%d/%d\r\n", more, from, to-1, len(content))
		content = content[from:to]
	}
	return page, respond(out, status, more, content, r.method == "GET")
}

func (s *server) count(r request, listing bool) {
	what := r.method
	switch {
	case r.bucket == "_stats":
		return
	case listing:
		what = "list"
	case r.source != "":
		what = "copy"
	case strings.HasPrefix(r.query, "tagging"):
		what += " tags"
	}
	s.mu.Lock()
	s.counts[what]++
	s.mu.Unlock()
}

// list appends a page of at most a thousand keys.
func (s *server) list(b []byte, raw string) []byte {
	query, _ := url.ParseQuery(raw)
	const size = 1000
	keys, from := s.keys, 0
	if prefix := query.Get("prefix"); !strings.HasPrefix(Prefix, prefix) {
		keys = 0 // nobody asks for more than all of them
	}
	if token := query.Get("continuation-token"); token != "" {
		from, _ = strconv.Atoi(token)
	} else if after := query.Get("start-after"); strings.HasPrefix(after, Prefix+"obj-") {
		n, _ := strconv.Atoi(strings.TrimSuffix(after[len(Prefix+"obj-"):], ".bin"))
		from = n + 1
	}
	to := min(from+size, keys)
	if n, err := strconv.Atoi(query.Get("max-keys")); err == nil {
		to = min(from+n, to)
	}
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>`...)
	b = fmt.Appendf(b, "<Prefix>%s</Prefix><KeyCount>%d</KeyCount><MaxKeys>%d</MaxKeys><IsTruncated>%t</IsTruncated>", query.Get("prefix"), max(0, to-from), size, to < keys)
	if to < keys {
		b = fmt.Appendf(b, "<NextContinuationToken>%d</NextContinuationToken>", to)
	}
	for i := from; i < to; i++ {
		b = append(b, "<Contents><Key>"+Prefix+"obj-"...)
		for unit := 1_000_000_000; unit > 0; unit /= 10 {
			b = append(b, '0'+byte(i/unit%10))
		}
		b = append(b, ".bin</Key><LastModified>2026-07-01T12:00:00.000Z</LastModified><ETag>&quot;"+ETag+"&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"...)
	}
	return append(b, "</ListBucketResult>"...)
}

// bounds reads a range of bytes; the end is exclusive.
func bounds(span string, size int) (from, to int, ok bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(span, "bytes="), "-")
	if !ok {
		return 0, 0, false
	}
	from, err := strconv.Atoi(first)
	if err != nil || from >= size {
		return 0, 0, false
	}
	if to, err = strconv.Atoi(last); err != nil || to >= size {
		to = size - 1
	}
	return from, to + 1, true
}

func respond(out *bufio.Writer, status, more string, body []byte, send bool) error {
	_, err := fmt.Fprintf(out, "HTTP/1.1 %s\r\nETag: \"%s\"\r\n%sContent-Length: %d\r\n\r\n", status, ETag, more, len(body))
	if err == nil && send {
		_, err = io.Copy(out, bytes.NewReader(body))
	}
	return err
}
