package source

import (
	"context"
	"crypto/md5" //nolint:gosec // what inventories are checked with
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
)

// maxStretch bounds the bytes that one request asks for beyond those that are surely needed.
const maxStretch = 16 << 20

// stream reads the stored bytes of a file from one place on. It asks for length bytes at first, and goes
// on from there with as many again if it is read further, so that little is asked for in vain.
type stream struct {
	ctx     context.Context //nolint:containedctx // of the reading
	objects Objects
	file    File // whose ETag is set once it is known
	at      int64
	length  int64
	check   string // MD5 that the whole file must have, if it is not empty

	body io.ReadCloser
	left int64 // of the present request
	sum  hash.Hash
	err  error // of the store; not io.EOF
}

// open asks for the next bytes.
func (s *stream) open() error {
	length := min(s.length, s.file.Size-s.at)
	body, info, err := s.objects.Open(s.ctx, s.file.Object, s.at, length)
	if err != nil {
		return err
	}
	if err := s.file.check(info); err != nil {
		_ = body.Close()
		return err
	}
	s.file.Object.ETag = info.ETag
	s.body, s.left = body, length
	s.length = min(2*length, maxStretch)
	if s.check != "" && s.sum == nil {
		s.sum = md5.New() //nolint:gosec // not for safety
	}
	return nil
}

// check compares what the store says of the file with what is known of it.
func (f *File) check(info objectstore.Info) error {
	if f.inventory && info.Size != f.Size {
		return manifest.Corrupt(f.Object.Key, fmt.Sprintf("it has %d bytes, its manifest says %d", info.Size, f.Size))
	}
	return nil
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	for s.left == 0 {
		if s.at >= s.file.Size {
			return 0, s.end()
		}
		if err := s.body.Close(); err != nil {
			return 0, s.fail(err)
		}
		if err := s.open(); err != nil {
			return 0, s.fail(err)
		}
	}
	n, err := s.body.Read(p)
	s.at += int64(n)
	s.left -= int64(n)
	if s.sum != nil {
		s.sum.Write(p[:n])
	}
	switch {
	case err == nil, err == io.EOF && s.left == 0:
		return n, nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, s.fail(err)
}

// end compares the sum once the last byte was read.
func (s *stream) end() error {
	if s.sum != nil {
		if got := hex.EncodeToString(s.sum.Sum(nil)); got != s.check {
			return s.fail(manifest.Corrupt(s.file.Object.Key, fmt.Sprintf("its MD5 is %s, its manifest says %s", got, s.check)))
		}
	}
	return io.EOF
}

func (s *stream) fail(err error) error {
	s.err = err
	return err
}

// Close ends the reading.
func (s *stream) Close() error {
	if s.body == nil {
		return nil
	}
	return s.body.Close()
}

// watch keeps the error of a reader.
type watch struct {
	r   io.Reader
	err error // not io.EOF
}

func (w *watch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// unpacked is the text of a compressed file, without its first skip bytes.
type unpacked struct {
	r    io.Reader
	src  *watch // what r decompresses
	file File
	skip int64
}

// Read implements io.Reader. It fails with what the store said, if it has, and otherwise says that the content
// of the file is bad.
func (u *unpacked) Read(p []byte) (int, error) {
	var n int
	var err error
	if u.skip > 0 {
		var skipped int64
		skipped, err = io.CopyN(io.Discard, u.r, u.skip)
		if u.skip -= skipped; err == io.EOF { //nolint:errorlint // an io.Reader returns io.EOF itself
			err = fmt.Errorf("its text ends %d bytes early", u.skip)
		}
	}
	if err == nil {
		n, err = u.r.Read(p)
	}
	switch {
	case err == nil, err == io.EOF: //nolint:errorlint // likewise
		return n, err
	case u.src.err != nil:
		return n, u.src.err
	}
	return n, manifest.Corrupt(u.file.Object.Key, err.Error())
}
