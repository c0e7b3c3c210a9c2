package place

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Flows reports whether p is a file of this machine that can be read only once, from its beginning: a pipe, a terminal or
// another device.
func (p Place) Flows() bool {
	if p.Stored() || p.Stream() {
		return false
	}
	stat, err := os.Stat(p.File)
	return err == nil && !stat.Mode().IsRegular() && !stat.IsDir()
}

// Spool keeps what open gives in a temporary file, so that it can be read as often and wherever one likes: limit bytes of
// what is read from its beginning on, and all of a columnar file. Call done when it is not needed any more.
//
// If ctx ends, nothing is kept; open, or a read of what it gives, may then still wait for somebody at the other end.
func Spool(ctx context.Context, open func() (io.ReadCloser, error), limit int64) (p Place, done func(), err error) {
	file, err := os.CreateTemp("", "stevedore-*")
	if err != nil {
		return Place{}, nil, fmt.Errorf("keep what is read: %w", err)
	}
	err = await(ctx, func() error { return keep(file, open, limit) })
	if closed := file.Close(); err == nil {
		err = closed
	}
	remove := func() { _ = os.Remove(file.Name()) } // of this process alone
	if err != nil {
		remove()
		return Place{}, nil, fmt.Errorf("keep what is read: %w", err)
	}
	return Place{File: file.Name()}, remove, nil
}

// keep copies what open gives to file.
func keep(file *os.File, open func() (io.ReadCloser, error), limit int64) error {
	from, err := open()
	if err != nil {
		return err
	}
	in := bufio.NewReader(from)
	if head, _ := in.Peek(magics); formatOf(head) != "" { // reading tells of the error
		limit = math.MaxInt64
	}
	_, err = io.Copy(file, io.LimitReader(in, limit))
	return errors.Join(err, from.Close())
}

// await calls do and waits for it, but no longer than ctx. Nothing ends the opening or the reading of a pipe from this
// side: then do is left to itself until the other side moves, or the process ends.
func await(ctx context.Context, do func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
