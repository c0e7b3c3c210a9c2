//go:build !slim

package devstore

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
)

// Attributes of an object that versitygw writes and that we read or remove as well.
const (
	checksumsAttribute = "checksums"
	markerAttribute    = "delete-marker"
	metadataAttribute  = "metadata"
	retentionAttribute = "object-retention"
	tagsAttribute      = "X-Amz-Tagging"
	versionAttribute   = "version-id"
)

const (
	deflateAbove = 256 // bytes: what is shorter hardly shrinks
	maxAttribute = 64 << 10
)

// deflated opens a value that was compressed. versitygw stores JSON and header
// values, which never begin like this.
var deflated = []byte{0, 'z'}

// attributes keeps what S3 knows of an object beyond its bytes. It stands
// between versitygw and its own storer for two reasons.
//
// On ext4 the attributes of one file share 4 KiB, which ten tags of the largest
// size alone would fill: long values are stored compressed.
//
// And UploadPartCopy would store the checksum of the whole source with a part
// that is only a range of it. It alone asks for checksums by path instead of by
// bucket and key; told that there are none, it computes them.
type attributes struct {
	meta.MetadataStorer
}

func (a attributes) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	if len(value) > deflateAbove {
		if small := deflate(value); len(small) < len(value) {
			value = small
		}
	}
	return a.MetadataStorer.StoreAttribute(f, bucket, object, attribute, value)
}

func (a attributes) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	if object == "" && attribute == checksumsAttribute {
		return nil, meta.ErrNoSuchKey
	}
	value, err := a.MetadataStorer.RetrieveAttribute(f, bucket, object, attribute)
	if err != nil || !bytes.HasPrefix(value, deflated) {
		return value, err
	}
	value, err = inflate(value)
	if err != nil {
		return nil, fmt.Errorf("attribute %s: %w", attribute, err)
	}
	return value, nil
}

func deflate(value []byte) []byte {
	var b bytes.Buffer
	b.Write(deflated)
	w, _ := flate.NewWriter(&b, flate.BestCompression) // fails only for a level that does not exist
	_, _ = w.Write(value)                              // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func inflate(value []byte) ([]byte, error) {
	r := flate.NewReader(bytes.NewReader(value[len(deflated):]))
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxAttribute))
}

// openAttributes keeps attributes in extended attributes, or in files below the
// returned directory where the file system has none: tagging then takes about
// twice as long. Once begun, a directory stays with its choice. A directory
// named sidecar, made before the first start, chooses files.
func openAttributes(dir string) (_ attributes, sidecar string, err error) {
	sidecar = filepath.Join(dir, "sidecar")
	_, err = os.Stat(sidecar)
	switch {
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		return attributes{}, "", err
	case hasAttributes(dir):
		return attributes{meta.XattrMeta{}}, "", nil
	default:
		if err := os.Mkdir(sidecar, 0o700); err != nil {
			return attributes{}, "", err
		}
	}
	files, err := meta.NewSideCar(sidecar)
	return attributes{files}, sidecar, err
}

// hasAttributes reports whether files in dir can carry extended attributes, by
// giving one to a file: a file system may list them and yet refuse new ones.
func hasAttributes(dir string) bool {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return meta.XattrMeta{}.StoreAttribute(f, "", "", "stevedore-probe", []byte("1")) == nil
}
