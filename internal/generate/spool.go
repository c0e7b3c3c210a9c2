package generate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"stevedore/internal/objectstore"
)

// SpoolBucket is the name that stands for the bucket in what lies in a [Spool]; no bucket can have it.
const SpoolBucket = "-spool-"

// A Spool is a Depot in a folder of this machine, for a manifest that the user does not want to have. It also reads what it
// holds, as a store does.
type Spool struct{ root *os.Root }

// OpenSpool returns the Spool in a folder, which it makes if there is none. [Spool.Close] closes it; to be rid of what it
// holds, remove the folder.
func OpenSpool(folder string) (*Spool, error) {
	if err := os.MkdirAll(filepath.Join(folder, dataFolder), 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	return &Spool{root}, nil
}

// Close gives the folder free. What was opened in it can still be read.
func (s *Spool) Close() error { return s.root.Close() }

// At implements [Depot].
func (s *Spool) At(name string) objectstore.Object {
	return objectstore.Object{Bucket: SpoolBucket, Key: name}
}

// Put implements [Depot]. What it wrote survives a crash of the machine.
func (s *Spool) Put(_ context.Context, name string, data []byte, _ string) (objectstore.Object, error) {
	o := s.At(name)
	if err := s.write(name, data); err != nil {
		return o, fmt.Errorf("write %s to spool: %w", name, err)
	}
	info, err := s.Head(context.Background(), o)
	o.ETag = info.ETag
	return o, err
}

func (s *Spool) write(name string, data []byte) (err error) {
	temporary := name + ".part"
	f, err := s.root.Create(temporary)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.root.Remove(temporary) // the first error is the one to tell
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.root.Rename(temporary, name); err != nil {
		return err
	}
	folder, err := s.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Names implements [Depot].
func (s *Spool) Names(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := fs.WalkDir(s.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && strings.HasPrefix(name, prefix) && !yield(name, nil) {
				return fs.SkipAll
			}
			return err
		})
		if err != nil {
			yield("", fmt.Errorf("list spool: %w", err))
		}
	}
}

// Delete implements [Depot].
func (s *Spool) Delete(_ context.Context, name string) error {
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete from spool: %w", err)
	}
	return nil
}

// Head looks at what has the Key of o, as a store does.
func (s *Spool) Head(_ context.Context, o objectstore.Object) (objectstore.Info, error) {
	info, err := s.root.Stat(o.Key)
	if err != nil {
		return objectstore.Info{}, spoolError("HeadObject", o, err)
	}
	return infoOf("HeadObject", o, info)
}

// Open reads what has the Key of o from offset on, length bytes or with -1 all, as a store does.
func (s *Spool) Open(_ context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	const op = "GetObject"
	f, err := s.root.Open(o.Key)
	if err != nil {
		return nil, objectstore.Info{}, spoolError(op, o, err)
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, objectstore.Info{}, errors.Join(spoolError(op, o, err), f.Close())
	}
	info, err := infoOf(op, o, stat)
	if err != nil {
		return nil, info, errors.Join(err, f.Close())
	}
	if length < 0 {
		length = max(0, info.Size-offset)
	}
	return &spooled{io.NewSectionReader(f, offset, length), f}, info, nil
}

type spooled struct {
	io.Reader
	io.Closer
}

// infoOf describes a file. Its ETag is made of its size and its date: files are never changed, only replaced.
func infoOf(op string, o objectstore.Object, stat fs.FileInfo) (objectstore.Info, error) {
	etag := fmt.Sprintf("%x-%x", stat.Size(), stat.ModTime().UnixNano())
	if o.ETag != "" && o.ETag != etag {
		return objectstore.Info{}, &objectstore.Error{
			Op: op, Bucket: o.Bucket, Key: o.Key, Status: http.StatusPreconditionFailed, Code: "PreconditionFailed",
			Message: "the file in the spool is another one",
		}
	}
	return objectstore.Info{Size: stat.Size(), ETag: etag, LastModified: stat.ModTime()}, nil
}

func spoolError(op string, o objectstore.Object, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &objectstore.Error{
			Op: op, Bucket: o.Bucket, Key: o.Key, Status: http.StatusNotFound, Code: "NoSuchKey", Message: "the generated manifest is gone from the data directory of the server", Err: err,
		}
	}
	return fmt.Errorf("read from spool: %w", err)
}
