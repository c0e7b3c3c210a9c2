package place

import (
	"context"
	"crypto/md5" //nolint:gosec // what inventories are checked with
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

const (
	checksum = "manifest.checksum"
	// dataFolder is where the data files lie, beside the manifest.json.
	dataFolder = "data"
)

// inventoryWriter writes data files and at last the manifest.json that names them.
type inventoryWriter struct {
	ctx     context.Context //nolint:containedctx // of the writing
	to      Streams
	folder  Place
	columns manifest.Columns
	token   string // in the names of files

	made   []string // folders that were made for it, from the inside out
	file   File
	data   *manifest.DataWriter // nil: no file is begun
	names  []string             // of what is there if it is given up now, the data file that is begun included
	done   []manifest.DataFile
	size   int64  // of them
	bucket string // of the first row
}

// newInventory begins an inventory in a folder.
func (s Streams) newInventory(ctx context.Context, folder Place, columns manifest.Columns) (*inventoryWriter, error) {
	v := &inventoryWriter{ctx: ctx, to: s, folder: folder, columns: columns, token: rand.Text()}
	switch {
	case folder.Stored():
		return v, nil
	case folder.Stream():
		return nil, fmt.Errorf("an inventory is several files: it cannot be written to %s", folder)
	}
	data := folder.In(dataFolder).File
	for _, name := range []string{data, folder.File} {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			v.made = append(v.made, name)
		}
	}
	return v, os.MkdirAll(data, 0o755)
}

// HasInventory reports whether a folder has a manifest.json, which [Streams.NewWriter] would replace. A store that does not
// let one look is taken to have none.
func (s Streams) HasInventory(ctx context.Context, folder Place) (bool, error) {
	p := folder.In(Manifest)
	var err error
	if p.Stored() {
		_, err = s.Store.Head(ctx, p.Object)
	} else {
		_, err = os.Stat(p.File)
	}
	if errors.Is(err, fs.ErrNotExist) || objectstore.NotFound(err) || objectstore.AccessDenied(err) {
		return false, nil
	}
	return err == nil, err
}

func (v *inventoryWriter) write(row *manifest.Row) (err error) {
	if v.data == nil {
		name := fmt.Sprintf("%s/%s-%d.csv.gz", dataFolder, v.token, len(v.done)+1)
		if v.file, err = v.to.Create(v.ctx, v.folder.In(name), "application/gzip"); err != nil {
			return err
		}
		v.names = append(v.names, name)
		v.data = manifest.NewDataWriter(v.file, v.columns)
	}
	if v.bucket == "" {
		v.bucket = string(row.Bucket)
	}
	if err := v.data.Write(row); err != nil {
		return err
	}
	if v.data.Rows() < fileRows {
		return nil
	}
	return v.end()
}

// end ends a data file.
func (v *inventoryWriter) end() error {
	f, err := v.data.Close()
	if err != nil {
		return err
	}
	v.data = nil
	if _, err := v.file.Close(); err != nil {
		return err
	}
	f.Key = v.names[len(v.names)-1]
	if v.folder.Stored() {
		f.Key = v.folder.In(f.Key).Object.Key
	}
	v.done = append(v.done, f)
	v.size += f.Size
	return nil
}

func (v *inventoryWriter) close() (Written, error) {
	if v.data != nil {
		if err := v.end(); err != nil {
			return Written{}, err
		}
	}
	// Who uploads a folder says where to: until then the files are beside their manifest.json, wherever that is.
	bucket := v.bucket
	if v.folder.Stored() {
		bucket = v.folder.Object.Bucket
	}
	inv := manifest.NewInventory(v.bucket, bucket, time.Now(), v.columns)
	inv.Files = v.done
	text, err := inv.Encode()
	if err != nil {
		return Written{}, err
	}
	digest := md5.Sum(text) //nolint:gosec // not for safety
	sum, err := v.put(checksum, []byte(hex.EncodeToString(digest[:])), "text/plain")
	if err != nil {
		return Written{}, err
	}
	v.names = append(v.names, checksum)
	written, err := v.put(Manifest, text, "application/json") // last, as it makes the others an inventory
	if err != nil && v.folder.Stored() && !objectstore.Refused(err) {
		v.names = nil // it may be there all the same, and then needs them
	}
	written.Size += sum.Size + v.size
	return written, err
}

// put writes a small file as a whole.
func (v *inventoryWriter) put(name string, text []byte, contentType string) (Written, error) {
	f, err := v.to.Create(v.ctx, v.folder.In(name), contentType)
	if err != nil {
		return Written{}, err
	}
	if _, err := f.Write(text); err != nil {
		f.Abort()
		return Written{}, err
	}
	return f.Close()
}

// abort removes what was written, as far as that can be done.
func (v *inventoryWriter) abort() {
	if v.data != nil {
		v.file.Abort()
		v.data = nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), patience)
	defer cancel()
	for _, name := range v.names {
		if p := v.folder.In(name); p.Stored() {
			_ = v.to.Store.Delete(ctx, p.Object.Bucket, p.Object.Key)
		} else {
			_ = os.Remove(p.File)
		}
	}
	for _, name := range v.made {
		_ = os.Remove(name) // if nothing else is in it
	}
}
