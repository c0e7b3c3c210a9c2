package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Open streams length bytes of o from offset on, all of the rest if length is negative. A connection that breaks is
// replaced: reading goes on at the byte where it stopped, of the same version and the same ETag, whether or not o pins
// them. MaxAttempts replacements in a row without a single byte are the end. ctx bounds the reading too.
//
// Reading fails with an *Error. It fails with a PreconditionFailed if the object was overwritten meanwhile.
func (s *Store) Open(ctx context.Context, o Object, offset, length int64) (io.ReadCloser, Info, error) {
	if offset < 0 {
		return nil, Info{}, s.failure("GetObject", o.Bucket, o.Key, fmt.Errorf("negative offset %d", offset))
	}
	ctx, cancel := s.whileOpen(ctx)
	if length == 0 {
		defer cancel()
		info, err := s.Head(ctx, o)
		return io.NopCloser(strings.NewReader("")), info, err
	}
	r := &reader{store: s, object: o, at: offset, end: -1, cancel: cancel}
	if length > 0 {
		r.end = offset + length
	}
	r.get = func() (*s3.GetObjectOutput, error) {
		return s.client.GetObject(ctx, &s3.GetObjectInput{
			Bucket: &o.Bucket, Key: &o.Key, VersionId: optional(r.object.VersionID), IfMatch: ifMatch(r.object.ETag),
			Range: byteRange(r.at, r.end),
		})
	}
	r.ended = func() error { return s.ended(ctx) }
	r.wait = func() error { return s.pause(ctx, s.backoff(r.barren)) }
	info, err := r.start()
	if err != nil {
		cancel()
		return nil, Info{}, s.failure("GetObject", o.Bucket, o.Key, err)
	}
	return r, info, nil
}

// A reader reads one object over as many connections as it takes.
type reader struct {
	store  *Store
	object Object
	at     int64 // the next byte
	end    int64 // the byte after the last one; known once the first answer is here
	body   io.ReadCloser
	barren int // connections in a row that broke before they gave a byte
	failed error

	get    func() (*s3.GetObjectOutput, error) // from at on
	wait   func() error
	ended  func() error // why reading must stop, if so
	cancel context.CancelFunc
}

// start opens the stream at r.at and learns from the first answer what there is.
func (r *reader) start() (Info, error) {
	out, err := r.get()
	if err != nil {
		return Info{}, err
	}
	first, size, err := extent(out)
	if err == nil && first != r.at {
		err = fmt.Errorf("store answered from byte %d, not %d", first, r.at)
	}
	if err != nil {
		_ = out.Body.Close()
		return Info{}, err
	}
	info := Info{
		Size: size, ETag: bareETag(aws.ToString(out.ETag)), VersionID: aws.ToString(out.VersionId),
		ContentType: aws.ToString(out.ContentType), LastModified: aws.ToTime(out.LastModified), StorageClass: string(out.StorageClass),
	}
	if want := bareETag(r.object.ETag); want != "" && info.ETag != "" && info.ETag != want {
		_ = out.Body.Close() // a store that ignores If-Match
		return Info{}, &Error{
			Op: "GetObject", Bucket: r.object.Bucket, Key: r.object.Key, Status: 412, Code: "PreconditionFailed",
			Message: "The object has the ETag " + info.ETag + ".", Err: errors.New("store ignored If-Match"),
		}
	}
	r.object.ETag, r.object.VersionID, r.body = info.ETag, info.VersionID, out.Body
	if r.end < 0 || r.end > size {
		r.end = size
	}
	return info, nil
}

// extent is the first byte of an answer and the size of the whole object.
func extent(out *s3.GetObjectOutput) (first, size int64, err error) {
	if out.ContentRange == nil {
		if out.ContentLength == nil || *out.ContentLength < 0 {
			return 0, 0, errors.New("store does not tell the size")
		}
		return 0, *out.ContentLength, nil
	}
	rest, ok := strings.CutPrefix(*out.ContentRange, "bytes ")
	span, whole, ok2 := strings.Cut(rest, "/")
	from, _, ok3 := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	size, err2 := strconv.ParseInt(whole, 10, 64)
	if !ok || !ok2 || !ok3 || err1 != nil || err2 != nil || first < 0 || size < first {
		return 0, 0, fmt.Errorf("content range %q", clip(*out.ContentRange))
	}
	return first, size, nil
}

// byteRange is the Range header for what is left, nil for everything.
func byteRange(from, end int64) *string {
	switch {
	case end >= 0:
		return new(fmt.Sprintf("bytes=%d-%d", from, end-1))
	case from > 0:
		return new(fmt.Sprintf("bytes=%d-", from))
	}
	return nil
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
		if err := r.ended(); err != nil { // the SDK's body may go on for as long as bytes are buffered
			return 0, r.fail(err)
		}
		var broken error
		if r.body != nil {
			n, err := r.body.Read(p[:min(int64(len(p)), left)])
			if n > 0 {
				r.at += int64(n)
				r.barren = 0
				return n, nil // an error comes again with the next Read
			}
			if err == nil {
				continue
			}
			_ = r.body.Close()
			if r.body, broken = nil, err; err == io.EOF {
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
		if err := r.wait(); err != nil {
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

// Close implements io.Closer. It may be called at any time, once reading is over or not.
func (r *reader) Close() error {
	defer r.cancel()
	if r.failed == nil {
		r.failed = errors.New("read of a closed object")
	}
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
