package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// TestStreamsShareConnections: one that was read to its end carries the next request, one that was not is closed.
func TestStreamsShareConnections(t *testing.T) {
	t.Parallel()
	var dialled atomic.Int32
	s3, store := start(t, objectstoretest.Config{}, func(c *objectstore.Config) {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	s3.Put("b", "k", numbers(1<<20))
	o := objectstore.Object{Bucket: "b", Key: "k"}
	for range 5 {
		if got, _, err := read(t, store, o, 0, -1); len(got) != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if n := dialled.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	r, _, err := store.Open(t.Context(), o, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(io.LimitReader(r, 1000), []byte(numbers(1000))); err != nil {
		t.Error(err)
	}
	_ = r.Close()
	var res objectstore.Result
	if store.Do(t.Context(), tag("k"), &res); !res.OK() || dialled.Load() != 2 {
		t.Errorf("after a stream that was left: %+v, %d connections, want 2", res, dialled.Load())
	}
}

// serve is a store that answers every request with answer.
func serve(t *testing.T, answer http.HandlerFunc) *objectstore.Store {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	store, err := objectstore.New(objectstore.Config{
		Endpoint: srv.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "s", ""), BackoffBase: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// TestStreamsInChunks: a store need not tell the length of what it sends, as long as it tells the size of the object.
func TestStreamsInChunks(t *testing.T) {
	t.Parallel()
	text := numbers(300_000)
	store := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" { // nothing tells the size
			_, _ = io.WriteString(w, text)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 10-%d/%d", len(text)-1, len(text)))
		w.WriteHeader(http.StatusPartialContent)
		for part := range strings.SplitSeq(text[10:], "z") {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "z")
		}
	})
	o := objectstore.Object{Bucket: "b", Key: "k"}
	for range 2 {
		if got, info, err := read(t, store, o, 10, -1); got != text[10:] || info.Size != int64(len(text)) || err != nil {
			t.Errorf("%d bytes, %+v, %v", len(got), info, err)
		}
	}
	if _, _, err := read(t, store, o, 0, -1); err == nil || !strings.Contains(err.Error(), "does not tell the size") {
		t.Errorf("no size: %v", err)
	}
}

// TestAnswersWithoutABody are none to a GET.
func TestAnswersWithoutABody(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		store := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if _, _, err := store.Open(t.Context(), objectstore.Object{Bucket: "b", Key: "k"}, 0, -1); err == nil {
			t.Errorf("%d counts as an object", status)
		}
	}
}

// TestAStreamEndsWhileItWaits: the end of its context does not wait for the store's next byte.
func TestAStreamEndsWhileItWaits(t *testing.T) {
	t.Parallel()
	store := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	r, _, err := store.Open(ctx, objectstore.Object{Bucket: "b", Key: "k"}, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	over := errors.New("over")
	time.AfterFunc(10*time.Millisecond, func() { cancel(over) })
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, over) || !objectstore.Interrupted(err) {
		t.Errorf("got %v", err)
	}
}
