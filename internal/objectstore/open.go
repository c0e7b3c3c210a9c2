package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Open streams length bytes of o from offset on, all of the rest if length is negative. A connection that breaks is
// replaced: reading goes on at the byte where it stopped, of the same version and the same ETag, whether or not o pins
// them. MaxAttempts replacements in a row without a single byte are the end. ctx bounds the reading too.
//
// Opening waits for its turn like the requests of Do; a stream that is being read takes no place then. See [Access.Open].
//
// Reading fails with an *Error. It fails with a PreconditionFailed if the object was overwritten meanwhile.
func (s *Store) Open(ctx context.Context, o Object, offset, length int64) (io.ReadCloser, Info, error) {
	return s.open(ctx, o, offset, length, nil)
}

// open is Open within limits. With limits a stream keeps its place until its last byte was read, or it is closed.
func (s *Store) open(ctx context.Context, o Object, offset, length int64, limits *Limiter) (io.ReadCloser, Info, error) {
	if offset < 0 {
		return nil, Info{}, s.failure("GetObject", o.Bucket, o.Key, fmt.Errorf("negative offset %d", offset))
	}
	if length == 0 {
		info, err := s.Head(ctx, o)
		return io.NopCloser(strings.NewReader("")), info, err
	}
	r := &reader{ctx: ctx, store: s, limits: limits, object: o, at: offset, end: -1}
	if length > 0 {
		r.end = offset + length
	}
	info, err := r.start()
	if err != nil {
		return nil, Info{}, s.failure("GetObject", o.Bucket, o.Key, err)
	}
	return r, info, nil
}

// A reader reads one object over as many connections as it takes.
type reader struct {
	ctx    context.Context //nolint:containedctx // of the one call that opened it
	store  *Store
	limits *Limiter // nil: none
	object Object
	at     int64     // the next byte
	end    int64     // the byte after the last one; known once the first answer is here
	body   *download // nil: none is open
	barren int       // connections in a row that broke before they gave a byte
	failed error
}

// start opens the stream at r.at and learns from the first answer what there is.
func (r *reader) start() (Info, error) {
	body, header, err := r.store.download(r.ctx, &r.object, r.at, r.end, r.limits)
	if err != nil {
		return Info{}, err
	}
	info, first, err := extent(header)
	if err == nil && first != r.at {
		err = fmt.Errorf("store answered from byte %d, not %d", first, r.at)
	}
	if want := bareETag(r.object.ETag); err == nil && want != "" && info.ETag != "" && info.ETag != want { // a store that ignores If-Match
		err = &Error{
			Op: "GetObject", Bucket: r.object.Bucket, Key: r.object.Key, Status: http.StatusPreconditionFailed, Code: "PreconditionFailed",
			Message: "The object has the ETag " + info.ETag + ".", Err: errors.New("store ignored If-Match"),
		}
	}
	if err != nil {
		body.close()
		return Info{}, err
	}
	r.object.ETag, r.object.VersionID, r.body = info.ETag, info.VersionID, body
	if r.end < 0 || r.end > info.Size {
		r.end = info.Size
	}
	return info, nil
}

// extent is what the header of an answer tells of the object, and the first byte that it gives of it.
func extent(header []Header) (info Info, first int64, err error) {
	info = infoOf(header)
	span := valueOf(header, "content-range")
	if span == "" {
		if valueOf(header, "content-length") == "" || info.Size < 0 {
			return info, 0, errors.New("store does not tell the size")
		}
		return info, 0, nil
	}
	rest, ok := strings.CutPrefix(span, "bytes ")
	part, whole, ok2 := strings.Cut(rest, "/")
	from, _, ok3 := strings.Cut(part, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	size, err2 := strconv.ParseInt(whole, 10, 64)
	if !ok || !ok2 || !ok3 || err1 != nil || err2 != nil || first < 0 || size < first {
		return info, 0, fmt.Errorf("content range %q", clip(span))
	}
	info.Size = size
	return info, first, nil
}

// infoOf is what the header of an answer says of the object. Size is the content's length.
func infoOf(header []Header) (info Info) {
	info.Size, _ = strconv.ParseInt(valueOf(header, "content-length"), 10, 64)
	info.LastModified, _ = time.Parse(http.TimeFormat, valueOf(header, "last-modified"))
	info.ETag, info.VersionID = bareETag(valueOf(header, "etag")), valueOf(header, "x-amz-version-id")
	info.ContentType, info.StorageClass = valueOf(header, "content-type"), valueOf(header, "x-amz-storage-class")
	return info
}

// byteRange is the Range header for what is left, empty for everything.
func byteRange(from, end int64) string {
	switch {
	case end >= 0:
		return fmt.Sprintf("bytes=%d-%d", from, end-1)
	case from > 0:
		return fmt.Sprintf("bytes=%d-", from)
	}
	return ""
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	for {
		left := r.end - r.at
		if left <= 0 {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		if err := r.store.ended(r.ctx); err != nil {
			return 0, r.fail(err)
		}
		var broken error
		if r.body != nil {
			n, err := r.body.Read(p[:min(int64(len(p)), left)])
			if n > 0 {
				r.barren = 0
				if r.at += int64(n); r.at == r.end {
					r.release()
				}
				return n, nil // an error comes again with the next Read
			}
			if err == nil {
				continue
			}
			r.release()
			if broken = err; errors.Is(err, io.EOF) {
				broken = io.ErrUnexpectedEOF // the store promised more
			}
		}
		if err := r.resume(broken); err != nil {
			return 0, r.fail(err)
		}
	}
}

// fail ends the stream.
func (r *reader) fail(err error) error {
	r.failed = r.store.failure("GetObject", r.object.Bucket, r.object.Key, err)
	return r.failed
}

// resume opens the stream again after it broke.
func (r *reader) resume(broken error) error {
	if r.barren++; r.barren > r.store.cfg.MaxAttempts {
		return fmt.Errorf("read at byte %d: %w", r.at, broken)
	}
	if r.barren > 1 {
		if err := r.store.pause(r.ctx, r.store.backoff(r.barren)); err != nil {
			return err
		}
	}
	size := r.end
	_, err := r.start()
	switch {
	case err != nil:
		return fmt.Errorf("resume at byte %d: %w", r.at, err)
	case r.end != size:
		return fmt.Errorf("resume at byte %d: object has %d bytes now, not %d", r.at, r.end, size)
	}
	return nil
}

// release gives back the connection, and the place if there is one.
func (r *reader) release() {
	if r.body != nil {
		r.body.close()
		r.body = nil
	}
}

// Close implements io.Closer. It may be called at any time, once reading is over or not.
func (r *reader) Close() error {
	if r.failed == nil {
		r.failed = errors.New("read of a closed object")
	}
	r.release()
	return nil
}
