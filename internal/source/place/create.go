package place

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // what S3 makes ETags of
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"stevedore/internal/objectstore"
)

// Store is what writing needs of a store.
type Store interface {
	objectstore.Client
	Head(ctx context.Context, o objectstore.Object) (objectstore.Info, error)
	Delete(ctx context.Context, bucket, key string) error
	Put(ctx context.Context, in objectstore.PutInput) (etag string, err error)
}

// Streams are where "-" writes to.
type Streams struct {
	Store  Store // may be nil if nothing is written to a store
	Stdout io.Writer
}

// File is one that is being written: at its place as a whole once Close has returned without an error, and else not at
// all, but for a stream, a pipe or a device. Abort gives up what was not closed.
type File interface {
	io.Writer
	// Close ends the file and tells what became of it.
	Close() (Written, error)
	Abort()
}

// Written is a file that was written.
type Written struct {
	Place Place
	Size  int64 // bytes
	// ETag is that of the object or, if it is a file, the one that it has in a store after an upload in one piece.
	ETag string
	MD5  string // lower-case hex
}

// Create begins a file at p. Of this machine, symbolic links are followed, a file that is there is replaced and keeps its
// mode, and anything else but a folder is written to as it is. ctx bounds the writing.
func (s Streams) Create(ctx context.Context, p Place, contentType string) (File, error) {
	sum := summed{place: p, sum: md5.New()} //nolint:gosec // not for safety
	switch {
	case p.Stream():
		return &stream{summed: sum, w: s.Stdout}, nil
	case p.Stored():
		return &upload{summed: sum, ctx: ctx, store: s.Store, contentType: contentType}, nil
	}
	return createLocal(ctx, sum)
}

// createLocal begins a file of this machine.
func createLocal(ctx context.Context, sum summed) (File, error) {
	name := sum.place.File
	stat, err := os.Stat(name)
	there := err == nil
	switch {
	case there:
		var old *os.File // that it may be written is asked of a file that is replaced, too
		if err = await(ctx, func() (err error) { old, err = os.OpenFile(name, os.O_WRONLY, 0); return err }); err != nil {
			return nil, err
		}
		if !stat.Mode().IsRegular() { // such as /dev/fd/3: not all links in /dev lead to names
			return &stream{summed: sum, w: old, c: old}, nil
		}
		_ = old.Close() // nothing was written
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	l := &local{summed: sum, name: followed(name)}
	temporary := filepath.Join(filepath.Dir(l.name), "."+filepath.Base(l.name)+"."+rand.Text())
	if l.f, err = os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err != nil { // less the umask
		return nil, err
	}
	if there {
		if err := l.f.Chmod(stat.Mode().Perm()); err != nil {
			l.Abort()
			return nil, err
		}
	}
	return l, nil
}

// followed is where the symbolic link of that name leads to, also if nothing is there; any other name is left as it is.
func followed(name string) string {
	const most = 40 // as many as systems follow
	at := name
	for range most {
		// Not filepath.Dir or Join on the way: behind a link to a folder, ".." is not what the text of a path says.
		folder, base := filepath.Split(at)
		folder, err := filepath.EvalSymlinks(cmp.Or(folder, "."))
		if err != nil {
			break
		}
		at = filepath.Join(folder, base)
		link, err := os.Readlink(at)
		if err != nil {
			return at
		}
		if !filepath.IsAbs(link) {
			link = folder + string(filepath.Separator) + link
		}
		at = link
	}
	return name // opening it will tell
}

// summed counts and sums what is written.
type summed struct {
	place Place
	size  int64
	sum   hash.Hash
}

func (s *summed) add(p []byte) {
	s.size += int64(len(p))
	s.sum.Write(p)
}

func (s *summed) written(etag string) Written {
	w := Written{Place: s.place, Size: s.size, ETag: etag, MD5: hex.EncodeToString(s.sum.Sum(nil))}
	if etag == "" {
		w.ETag = w.MD5
	}
	return w
}

// stream is a standard stream, a pipe or a device.
type stream struct {
	summed

	w io.Writer
	c io.Closer // nil: a standard stream
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.add(p[:n])
	return n, err
}

func (s *stream) Close() (w Written, err error) {
	if s.c != nil {
		err = s.c.Close()
	}
	return s.written(""), err
}

func (s *stream) Abort() {
	if s.c != nil {
		_ = s.c.Close()
	}
}

// local is a file of this machine. It has a name of its own until it is done.
type local struct {
	summed

	name string // that it gets
	f    *os.File
}

func (l *local) Write(p []byte) (int, error) {
	n, err := l.f.Write(p)
	l.add(p[:n])
	return n, err
}

func (l *local) Close() (Written, error) {
	err := errors.Join(l.f.Sync(), l.f.Close()) // else a crash of the machine may leave the name with nothing behind it
	if err == nil {
		err = os.Rename(l.f.Name(), l.name)
	}
	if err != nil {
		_ = os.Remove(l.f.Name()) // the first error is the one to tell
		return Written{}, err
	}
	return l.written(""), nil
}

func (l *local) Abort() {
	_ = l.f.Close()
	_ = os.Remove(l.f.Name())
}

const (
	// patience is how long a store may take to forget what was given up.
	patience = 30 * time.Second
	// firstPart is the size of the first parts, in bytes. Every thousand parts they get larger by as much, so that
	// the ten thousand that there may be hold 430 GiB.
	firstPart = 8 << 20
	samePart  = 1000
)

// upload is an object: written at once if it is small, and else in parts.
type upload struct {
	summed

	ctx         context.Context //nolint:containedctx // of the writing, as objectstore's Open has it for reading
	store       Store
	contentType string

	buf   bytes.Buffer // the part that is not full
	multi *objectstore.Upload
	parts []objectstore.Uploaded
}

func (u *upload) Write(p []byte) (int, error) {
	u.add(p)
	u.buf.Write(p)
	if u.buf.Len() < firstPart*(1+len(u.parts)/samePart) {
		return len(p), nil
	}
	if err := u.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush sends a part.
func (u *upload) flush() (err error) {
	if u.multi == nil {
		u.multi, err = objectstore.CreateMultipart(u.ctx, u.store, u.place.Object, objectstore.Header{Name: "content-type", Value: u.contentType})
		if err != nil {
			return err
		}
	}
	part, err := u.multi.PutPart(u.ctx, len(u.parts)+1, bytes.NewReader(u.buf.Bytes()), int64(u.buf.Len()))
	if err != nil {
		return err
	}
	u.parts = append(u.parts, part)
	u.buf.Reset()
	return nil
}

func (u *upload) Close() (Written, error) {
	if u.multi == nil {
		etag, err := u.store.Put(u.ctx, objectstore.PutInput{
			Bucket: u.place.Object.Bucket, Key: u.place.Object.Key, ContentType: u.contentType,
			Body: bytes.NewReader(u.buf.Bytes()), Size: int64(u.buf.Len()),
		})
		if err != nil {
			return Written{}, err
		}
		return u.written(etag), nil
	}
	if u.buf.Len() > 0 {
		if err := u.flush(); err != nil {
			u.Abort()
			return Written{}, err
		}
	}
	done, err := u.multi.Complete(u.ctx, u.parts)
	if err != nil {
		u.Abort()
		return Written{}, fmt.Errorf("write %s: %w", u.place, err)
	}
	return u.written(done.ETag), nil
}

func (u *upload) Abort() {
	if u.multi != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), patience)
		defer cancel()
		_ = u.multi.Abort(ctx) // what stays behind, a lifecycle rule removes
		u.multi = nil
	}
}
