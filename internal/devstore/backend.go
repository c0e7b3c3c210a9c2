//go:build !slim

package devstore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
)

// backend is versitygw's posix backend with what it lacks of S3: labels of
// objects, a copy that makes versions, and keys it keeps apart.
type backend struct {
	*posix.Posix

	attrs attributes
	// byPath says that attributes are kept by path (sidecar) instead of in
	// the file, so that they can be written only once the file is in place.
	byPath       bool
	versions     string // directory of the noncurrent versions
	replication  string // directory of the replication configurations
	copyLimit    int64
	restoreAfter time.Duration

	seed  maphash.Seed   // spreads keys over locks
	locks [64]sync.Mutex // see lock
}

// lock keeps changes of labels and publications of one key apart: a label read
// from one version must not be written to its successor. The body of an upload
// is not read under it. It returns what unlocks.
func (b *backend) lock(bucket, key string) (unlock func()) {
	mu := &b.locks[maphash.String(b.seed, bucket+"/"+key)%uint64(len(b.locks))]
	mu.Lock()
	return mu.Unlock
}

// place is where the file of an object version lies, as attributes wants it.
type place struct{ bucket, object string }

// place returns where a version of an object lies; version may be empty. The
// version must be one that versitygw has found: nothing is checked here.
func (b *backend) place(bucket, key, version string) (place, error) {
	if version == "" {
		return place{bucket, key}, nil
	}
	current, err := b.attrs.RetrieveAttribute(nil, bucket, key, versionAttribute)
	switch {
	case absent(err):
		current = []byte("null")
	case err != nil:
		return place{}, fmt.Errorf("version of %s/%s: %w", bucket, key, err)
	}
	if string(current) == version {
		return place{bucket, key}, nil
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	return place{
		filepath.Join(b.versions, bucket),
		filepath.Join(sum[:2], sum[2:4], sum[4:6], sum, version),
	}, nil
}

// uploadPlace is where a multipart upload is gathered.
func uploadPlace(bucket, key, upload string) place {
	sum := sha256.Sum256([]byte(key))
	return place{bucket, filepath.Join(posix.MetaTmpMultipartDir, fmt.Sprintf("%x", sum), upload)}
}

// absent reports whether err says that there is no such attribute or file.
func absent(err error) bool {
	return errors.Is(err, meta.ErrNoSuchKey) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// labelsAttribute holds the labels of an object as JSON.
const labelsAttribute = "stevedore-labels"

// labels returns the labels of the file at p: none where there is no file.
func (b *backend) labels(p place) (labels, error) {
	var l labels
	data, err := b.attrs.RetrieveAttribute(nil, p.bucket, p.object, labelsAttribute)
	switch {
	case absent(err):
		return l, nil
	case err != nil:
		return l, fmt.Errorf("read labels: %w", err)
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return l, fmt.Errorf("read labels: %w", err)
	}
	return l, nil
}

// labelsOf returns the labels of a version of an object.
func (b *backend) labelsOf(bucket, key, version string) (labels, error) {
	p, err := b.place(bucket, key, version)
	if err != nil {
		return labels{}, err
	}
	return b.labels(p)
}

// setLabels writes labels to the file at p, or to f where it is not nil.
func (b *backend) setLabels(f *os.File, p place, l labels) error {
	if reflect.ValueOf(l).IsZero() {
		if f != nil {
			return nil // a new file has none
		}
		if err := b.attrs.DeleteAttribute(p.bucket, p.object, labelsAttribute); err != nil && !absent(err) {
			return fmt.Errorf("remove labels: %w", err)
		}
		return nil
	}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := b.attrs.StoreAttribute(f, p.bucket, p.object, labelsAttribute, data); err != nil {
		return fmt.Errorf("write labels: %w", err)
	}
	return nil
}

// stage writes labels to a file that is about to become the object, so that it
// never appears without them.
func (b *backend) stage(f *os.File, bucket, key string, l labels) error {
	if b.byPath {
		return nil // they would become those of the predecessor: see settle
	}
	return b.setLabels(f, place{bucket, key}, l)
}

// settle does what stage could not, once an object is in place: it writes the
// labels, and removes the attributes of the predecessor named in stale, which
// versitygw leaves at the path.
func (b *backend) settle(bucket, key string, l labels, stale ...string) error {
	if !b.byPath {
		return nil
	}
	for _, attribute := range stale {
		if err := b.attrs.DeleteAttribute(bucket, key, attribute); err != nil && !absent(err) {
			return fmt.Errorf("remove old %s: %w", attribute, err)
		}
	}
	return b.setLabels(nil, place{bucket, key}, l)
}

// relabel changes the labels of an object version and nothing else of it. change
// may refuse with an error, which is returned.
func (b *backend) relabel(ctx context.Context, bucket, key, version string, change func(*labels) error) error {
	unlock := b.lock(bucket, key)
	defer unlock()
	if _, err := b.head(ctx, bucket, key, version); err != nil {
		return err
	}
	p, err := b.place(bucket, key, version)
	if err != nil {
		return err
	}
	l, err := b.labels(p)
	if err != nil {
		return err
	}
	if err := change(&l); err != nil {
		return err
	}
	return b.setLabels(nil, p, l)
}

// head returns what versitygw knows of an object version, or why there is none:
// NoSuchKey, NoSuchVersion, or MethodNotAllowed for a delete marker.
func (b *backend) head(ctx context.Context, bucket, key, version string) (*s3.HeadObjectOutput, error) {
	version = b.named(bucket, key, version)
	return b.Posix.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: &version, Range: new("")})
}
