package objectstore

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"time"
)

// A download is the body of one answer, read straight from the connection that it comes over: no buffer between the
// network and whoever reads it.
type download struct {
	ctx    context.Context //nolint:containedctx // of the one call that opened it
	store  *Store
	limits *Limiter
	x      *exchange // has the place among the requests in flight; nil: there is none
	conn   *conn
	from   io.Reader
	left   int64 // bytes; -1: until the end
	last   bool  // the connection can carry nothing after it
	end    sign
	stop   func() bool
}

// download asks for the bytes of o from offset to end, and leaves them on the connection. end may be negative: all.
func (s *Store) download(ctx context.Context, o *Object, offset, end int64, limits *Limiter) (*download, []Header, error) {
	req := requestFor(http.MethodGet, *o)
	req.KeepHeader, req.stream = true, true
	if etag := ifMatch(o.ETag); etag != nil {
		req.Headers = append(req.Headers, Header{"if-match", *etag})
	}
	if span := byteRange(offset, end); span != "" {
		req.Headers = append(req.Headers, Header{"range", span})
	}
	x := s.scratch.Get().(*exchange) //nolint:errcheck // nothing else is put in
	var res Result
	s.persist(ctx, x, &req, &res, limits)
	if x.unread == nil {
		s.release(x)
		if res.OK() { // 204 and the like
			return nil, nil, res.nonsense("GetObject", *o, errors.New("no body in the answer"))
		}
		return nil, nil, res.failure("GetObject", *o)
	}
	d := &download{ctx: ctx, store: s, limits: limits, x: x, conn: x.unread, left: -1, last: x.answer.ConnectionClose(), end: silent}
	x.unread, d.from = nil, d.conn.answers
	switch length := x.answer.Header.ContentLength(); {
	case length >= 0:
		d.left = int64(length)
	case length == -1:
		d.from, d.last = httputil.NewChunkedReader(d.conn.answers), true
	}
	if limits == nil {
		d.leave(welcome)
	}
	d.stop = context.AfterFunc(ctx, func() { _ = d.conn.SetDeadline(time.Unix(1, 0)) })
	return d, res.Header, nil
}

// readHead reads an answer, but for the body of a good one: that stays on the connection.
func (x *exchange) readHead(c *conn) error {
	for {
		if err := x.answer.Header.Read(c.answers); err != nil {
			return err
		}
		if x.answer.StatusCode() >= http.StatusOK {
			break
		}
	}
	switch status := x.answer.StatusCode(); {
	case status == http.StatusNoContent, status == http.StatusNotModified:
		return nil
	case status < http.StatusMultipleChoices:
		x.unread = c
		return nil
	}
	c.broken = c.broken || x.answer.Header.ContentLength() < 0 // what comes after the last chunk is not read
	return x.answer.ReadBody(c.answers, maxAnswer)
}

// Read implements io.Reader. A peer that has gone silent is given up after Config.AttemptTimeout.
func (d *download) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	if d.left > 0 {
		p = p[:min(int64(len(p)), d.left)]
	}
	d.conn.expire(d.ctx, d.store.cfg.AttemptTimeout)
	if err := d.store.ended(d.ctx); err != nil { // its end may have come before our deadline did
		return 0, err
	}
	n, err := d.from.Read(p)
	if d.left > 0 {
		d.left -= int64(n)
		if d.left == 0 {
			d.end, err = welcome, nil
		}
	}
	return n, err
}

// close gives back place and connection.
func (d *download) close() {
	ended := !d.stop()
	if ended || d.left != 0 || d.last || d.conn.broken || d.conn.answers.Buffered() > 0 {
		d.store.conns.drop(d.conn)
	} else {
		d.store.conns.put(d.conn)
	}
	d.leave(d.end)
}

// leave gives back the place.
func (d *download) leave(end sign) {
	if d.x == nil {
		return
	}
	d.store.dismiss(d.x, d.limits, end)
	d.store.release(d.x)
	d.x = nil
}
