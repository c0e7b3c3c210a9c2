package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// nullSubcommand makes this program the null store, so that its CPU time is not
// that of the measuring.
const nullSubcommand = "null-store"

// serveNull is the null store: an S3-shaped server that costs next to nothing.
// Every object exists, every write succeeds, no signature is checked. It keeps
// nothing but the objects under "r/", which is where the report goes: the server
// under test wants its parts back. Every key that ends in manifest.csv is the
// manifest. It prints its address and ends with its standard input.
func serveNull(manifest string) error {
	body, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // open until the parent ends
		l.Close()
	}()
	s := &nullStore{manifest: body, kept: map[string][]byte{}}
	for {
		c, err := l.Accept()
		if err != nil {
			return nil //nolint:nilerr // closed
		}
		go s.serve(c)
	}
}

type nullStore struct {
	manifest []byte

	mu   sync.Mutex
	kept map[string][]byte
}

// serve answers the requests of one connection.
func (s *nullStore) serve(c net.Conn) {
	defer c.Close()
	in, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		method, rest, _ := strings.Cut(line, " ")
		target, _, _ := strings.Cut(rest, " ")
		var length int
		var span, source string
		for {
			h, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if h = strings.TrimSpace(h); h == "" {
				break
			}
			name, value, _ := strings.Cut(h, ":")
			switch strings.ToLower(name) {
			case "content-length":
				length, _ = strconv.Atoi(strings.TrimSpace(value))
			case "range":
				span = strings.TrimSpace(value)
			case "x-amz-copy-source":
				source = value
			}
		}
		path, _, _ := strings.Cut(target, "?")
		_, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if err := s.answer(out, in, method, key, span, source, length); err != nil {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

func (s *nullStore) answer(out *bufio.Writer, in io.Reader, method, key, span, source string, length int) error {
	report := strings.HasPrefix(key, "r/")
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	switch method {
	case "PUT":
		if report {
			s.mu.Lock()
			s.kept[key] = body
			s.mu.Unlock()
		}
		if source != "" {
			const copied = `<CopyObjectResult><ETag>"` + etag + `"</ETag><LastModified>2026-01-02T03:04:05.000Z</LastModified></CopyObjectResult>`
			return respond(out, "200 OK", "", []byte(copied), true)
		}
		return respond(out, "200 OK", "", nil, true)
	case "DELETE":
		s.mu.Lock()
		delete(s.kept, key)
		s.mu.Unlock()
		return respond(out, "204 No Content", "", nil, true)
	}
	content := []byte("x")
	switch {
	case strings.HasSuffix(key, "manifest.csv"):
		content = s.manifest
	case report:
		s.mu.Lock()
		content = s.kept[key]
		s.mu.Unlock()
	case key == "": // a listing of nothing
		content = []byte(`<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`)
	}
	status, more := "200 OK", ""
	if from, to, ok := bounds(span, len(content)); ok {
		status, more = "206 Partial Content", fmt.Sprintf("Content-Range: bytes %d-%d/%d\r\n", from, to-1, len(content))
		content = content[from:to]
	}
	return respond(out, status, more, content, method == "GET")
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
	_, err := fmt.Fprintf(out, "HTTP/1.1 %s\r\nETag: \"%s\"\r\n%sContent-Length: %d\r\n\r\n", status, etag, more, len(body))
	if err == nil && send {
		_, err = io.Copy(out, bytes.NewReader(body))
	}
	return err
}
