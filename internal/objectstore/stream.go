package objectstore

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	inline    = 64 << 10  // a body up to this goes out in one write with its head
	sendBlock = 256 << 10 // a larger one goes out in blocks of this: each must get through in Config.AttemptTimeout
)

// unsigned is the sum of a body that only TLS protects, and the Content-MD5 if there is one: summing gigabytes up a second
// time would cost more than sending them.
const unsigned = "UNSIGNED-PAYLOAD"

// streams reports whether the body goes out in blocks.
func (b *Body) streams() bool { return b.From != nil || len(b.Bytes) > inline }

// A bodyError is a failure to read what was to be sent. Another attempt would not read better.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read body: " + e.err.Error() }

func (e *bodyError) Unwrap() error { return e.err }

// unread fails r because the body of the request cannot be had.
func (r *Result) unread(err error) {
	r.Status, r.Code, r.Err = 0, "InternalError", &bodyError{err}
	r.Message = clip(r.Err.Error())
}

// bodySum is what the signature says of the body.
func (s *Store) bodySum(req *Request) (string, error) {
	b := &req.Body
	switch {
	case b.SHA256 != "":
		return b.SHA256, nil
	case b.size() == 0:
		return emptySHA256, nil
	case b.streams() && s.endpoint.secure:
		return unsigned, nil
	}
	sum := sha256.New()
	if b.From == nil {
		sum.Write(b.Bytes)
	} else if err := b.readTo(sum); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// readTo writes all of From to w.
func (b *Body) readTo(w io.Writer) error {
	if _, err := b.From.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(b.From, b.Size))
	if err == nil && n < b.Size {
		err = fmt.Errorf("%d bytes, want %d: %w", n, b.Size, io.ErrUnexpectedEOF)
	}
	return err
}

// sumMD5 is the Content-MD5 of From.
func (b *Body) sumMD5() (string, error) {
	sum := md5.New()
	err := b.readTo(sum)
	return base64.StdEncoding.EncodeToString(sum.Sum(nil)), err
}

// sendBody writes a body in blocks. An attempt that is not over when ctx ends is given up: half a body has no effect. A
// store that refuses a request early may answer and close without reading on; then the answer counts.
func (s *Store) sendBody(ctx context.Context, c *conn, req *Request) error {
	w := &blockWriter{store: s, ctx: ctx, to: c}
	var err error
	if req.Body.From == nil {
		_, err = w.Write(req.Body.Bytes)
	} else {
		err = req.Body.readTo(w)
	}
	switch {
	case err == nil:
		c.expire(ctx, cmp.Or(req.Timeout, s.cfg.AttemptTimeout))
		return nil
	case w.failed == nil:
		return &bodyError{err}
	case errors.Is(w.failed, errGivenUp):
		return w.failed
	}
	const lastWord = time.Second
	c.expire(ctx, lastWord)
	if _, answered := c.answers.Peek(1); answered != nil {
		return w.failed
	}
	c.broken = true
	return nil
}

// errGivenUp marks an upload that was broken off on our side.
var errGivenUp = errors.New("upload given up")

// A blockWriter writes to a connection, and gives every block the same time.
type blockWriter struct {
	store  *Store
	ctx    context.Context //nolint:containedctx // of the one call it lives in
	to     *conn
	failed error
}

// ReadFrom implements io.ReaderFrom: the size of the blocks is ours to choose.
func (w *blockWriter) ReadFrom(r io.Reader) (n int64, err error) {
	for block := make([]byte, sendBlock); ; {
		got, err := io.ReadFull(r, block)
		if got > 0 {
			if _, err := w.Write(block[:got]); err != nil {
				return n, err
			}
			n += int64(got)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// Write writes one block.
func (w *blockWriter) Write(p []byte) (n int, err error) {
	for block := range slices.Chunk(p, sendBlock) {
		if err := w.store.ended(w.ctx); err != nil {
			w.failed = fmt.Errorf("%w: %w", errGivenUp, err)
			return n, w.failed
		}
		w.to.expire(w.ctx, w.store.cfg.AttemptTimeout)
		if _, err := w.to.Write(block); err != nil {
			w.failed = err
			return n, err
		}
		n += len(block)
	}
	return n, nil
}

// keep takes the header of an answer into r.
func (r *Result) keep(h *fasthttp.ResponseHeader) {
	r.Header = r.Header[:0]
	for name, value := range h.All() {
		r.Header = append(r.Header, Header{strings.ToLower(string(name)), string(value)})
	}
}
