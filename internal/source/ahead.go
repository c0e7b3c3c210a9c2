package source

import (
	"io"
	"sync"
)

const (
	aheadBuffers = 4
	aheadBytes   = 256 << 10 // of each
)

// ahead reads from another reader before it is asked to, in a goroutine of its own. It must be closed.
type ahead struct {
	full  chan block
	empty chan []byte
	stop  chan struct{}
	group sync.WaitGroup

	now  block // handed out up to at
	at   int
	once sync.Once
}

// block is bytes read, and the error behind them.
type block struct {
	bytes []byte
	err   error
}

// readAhead starts to read r.
func readAhead(r io.Reader) *ahead {
	a := &ahead{full: make(chan block, aheadBuffers), empty: make(chan []byte, aheadBuffers), stop: make(chan struct{})}
	for range aheadBuffers {
		a.empty <- nil // made when they are needed: most files are small
	}
	a.group.Go(func() {
		defer close(a.full)
		for {
			var b block
			select {
			case b.bytes = <-a.empty:
			case <-a.stop:
				return
			}
			if b.bytes == nil {
				b.bytes = make([]byte, aheadBytes)
			}
			b.bytes = b.bytes[:cap(b.bytes)]
			n := 0
			for n < len(b.bytes) && b.err == nil {
				var m int
				m, b.err = r.Read(b.bytes[n:])
				n += m
			}
			b.bytes = b.bytes[:n]
			a.full <- b // there is room: the buffers are as many
			if b.err != nil {
				return
			}
		}
	})
	return a
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for a.at == len(a.now.bytes) {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.bytes != nil {
			a.empty <- a.now.bytes
		}
		next, ok := <-a.full
		if !ok {
			return 0, io.ErrClosedPipe
		}
		a.now, a.at = next, 0
	}
	n := copy(p, a.now.bytes[a.at:])
	a.at += n
	return n, nil
}

// Close ends the reading ahead once a read that is under way has returned.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	a.group.Wait()
	return nil
}
