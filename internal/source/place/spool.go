package place

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
)

// Spool keeps what r yields in a temporary file, so that it can be read as often and wherever one likes: limit bytes of
// what is read from its beginning on, and all of a columnar file. Call done when it is not needed any more.
func Spool(r io.Reader, limit int64) (p Place, done func(), err error) {
	in := bufio.NewReader(r)
	if head, _ := in.Peek(magics); formatOf(head) != "" { // reading tells of the error
		limit = math.MaxInt64
	}
	file, err := os.CreateTemp("", "stevedore-*")
	if err != nil {
		return Place{}, nil, fmt.Errorf("keep standard input: %w", err)
	}
	remove := func() { _ = os.Remove(file.Name()) } // of this process alone
	_, err = io.Copy(file, io.LimitReader(in, limit))
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		remove()
		return Place{}, nil, fmt.Errorf("keep standard input: %w", err)
	}
	return Place{File: file.Name()}, remove, nil
}
