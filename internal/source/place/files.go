package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"stevedore/internal/objectstore"
)

// fileBucket is the name that stands for the bucket of a file; no bucket can have it.
const fileBucket = "-file-"

// files reads files of this machine as a store reads objects. The key of one in fileBucket is its path; objects
// of other buckets are the data files of the inventory whose manifest.json is at that path.
type files struct{ manifest string }

// Head looks at a file.
func (f files) Head(_ context.Context, o objectstore.Object) (objectstore.Info, error) {
	name, err := f.find(o)
	if err != nil {
		return objectstore.Info{}, err
	}
	stat, err := os.Stat(name)
	if err != nil {
		return objectstore.Info{}, missing(o, err)
	}
	return infoOf(o, stat)
}

// Open reads a file from offset on, length bytes or with -1 all. ctx bounds the reading too.
func (f files) Open(ctx context.Context, o objectstore.Object, offset, length int64) (io.ReadCloser, objectstore.Info, error) {
	name, err := f.find(o)
	if err != nil {
		return nil, objectstore.Info{}, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, objectstore.Info{}, missing(o, err)
	}
	stat, err := file.Stat()
	if err != nil {
		return nil, objectstore.Info{}, errors.Join(err, file.Close())
	}
	info, err := infoOf(o, stat)
	if err != nil {
		return nil, info, errors.Join(err, file.Close())
	}
	if length < 0 {
		length = max(0, info.Size-offset)
	}
	return &section{ctx, io.NewSectionReader(file, offset, length), file}, info, nil
}

// section is a part of a file.
type section struct {
	ctx context.Context //nolint:containedctx // of the reading
	r   io.Reader
	io.Closer
}

// Read fails once nobody waits for what it reads: a file has no connection that would break.
func (s *section) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.Read(p)
}

// find returns the path of an object. A data file lies beside its manifest.json, or beside its folder, under
// as much of the end of its key as there is: who downloads an inventory need not keep the beginning.
func (f files) find(o objectstore.Object) (string, error) {
	if o.Bucket == fileBucket {
		return o.Key, nil
	}
	beside := filepath.Dir(f.manifest)
	for rest := path.Clean(o.Key); ; {
		name := filepath.FromSlash(rest)
		for _, folder := range []string{beside, filepath.Join(beside, "..")} {
			at := filepath.Join(folder, name)
			if _, err := os.Stat(at); filepath.IsLocal(name) && err == nil {
				return at, nil
			}
		}
		_, after, more := strings.Cut(rest, "/")
		if !more {
			return "", missing(o, fmt.Errorf("it is not beside %s: %w", f.manifest, fs.ErrNotExist))
		}
		rest = after
	}
}

// infoOf describes a file. Its ETag is made of its size and its date.
func infoOf(o objectstore.Object, stat fs.FileInfo) (objectstore.Info, error) {
	etag := fmt.Sprintf("%x-%x", stat.Size(), stat.ModTime().UnixNano())
	if o.ETag != "" && o.ETag != etag {
		return objectstore.Info{}, &objectstore.Error{
			Op: "GetObject", Bucket: o.Bucket, Key: o.Key, Status: http.StatusPreconditionFailed, Code: "PreconditionFailed",
			Message: "the file was changed meanwhile",
		}
	}
	return objectstore.Info{Size: stat.Size(), ETag: etag, LastModified: stat.ModTime()}, nil
}

// missing is err as a store would put it if the file is not there.
func missing(o objectstore.Object, err error) error {
	if o.Bucket == fileBucket || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &objectstore.Error{
		Op: "GetObject", Bucket: o.Bucket, Key: o.Key, Status: http.StatusNotFound, Code: "NoSuchKey", Message: err.Error(), Err: err,
	}
}
