package container

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast/holdfast/shim/internal/stdio"
)

// streamsOf is the streams of one process. They are opened by whoever needs them
// first: its start, or a client that wants to be attached before it. Opening
// may wait for a client's end of a FIFO, so nothing is locked meanwhile.
type streamsOf struct {
	ioMu        sync.Mutex
	opening     chan struct{} // closed when the attempt under way has ended; nil if none is
	io          *stdio.Stdio
	ended       bool // no streams any more
	stdinClosed bool
}

// open returns the streams, opening them if nobody has yet.
func (s *streamsOf) open(ctx context.Context, c stdio.Config) (*stdio.Stdio, error) {
	for {
		io, wait, err := s.claim()
		if io != nil || err != nil {
			return io, err
		}
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("open stdio: %w", context.Cause(ctx))
		}
	}
	io, err := stdio.Open(ctx, c)
	if err != nil {
		err = fmt.Errorf("open stdio: %w", err)
	}
	return s.settle(io, err)
}

// claim returns the streams if they are open; or the attempt of somebody else to
// wait for; or neither, and then the caller is to open and settle.
func (s *streamsOf) claim() (*stdio.Stdio, <-chan struct{}, error) {
	s.ioMu.Lock()
	defer s.ioMu.Unlock()
	switch {
	case s.ended:
		return nil, nil, errDeleted
	case s.io != nil:
		return s.io, nil, nil
	case s.opening != nil:
		return nil, s.opening, nil
	}
	s.opening = make(chan struct{})
	return nil, nil, nil
}

// settle ends an attempt to open.
func (s *streamsOf) settle(io *stdio.Stdio, err error) (*stdio.Stdio, error) {
	s.ioMu.Lock()
	defer s.ioMu.Unlock()
	close(s.opening)
	s.opening = nil
	if err != nil {
		return nil, err
	}
	if s.ended {
		go io.Close() // bounded; the caller has nothing to wait for
		return nil, errDeleted
	}
	s.io = io
	if s.stdinClosed {
		_ = io.CloseStdin() // never blocks
	}
	return io, nil
}

// opened returns the streams if they are open, else nil.
func (s *streamsOf) opened() *stdio.Stdio {
	s.ioMu.Lock()
	defer s.ioMu.Unlock()
	return s.io
}

// closeStdin gives the process the end of its input, now or once it has one.
func (s *streamsOf) closeStdin() error {
	s.ioMu.Lock()
	s.stdinClosed = true
	io := s.io
	s.ioMu.Unlock()
	if io == nil {
		return nil
	}
	return io.CloseStdin()
}

// close ends the streams for good, whatever is still in them.
func (s *streamsOf) close() error {
	s.ioMu.Lock()
	io := s.io
	s.ended = true
	s.ioMu.Unlock()
	if io == nil {
		return nil
	}
	return io.Close()
}

// flush waits, for at most limit, until all that was written to the outputs is
// where it belongs. Whoever still holds them open is not waited for.
func (s *streamsOf) flush(ctx context.Context, limit time.Duration) {
	io := s.opened()
	if io == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_ = io.Settle(ctx) // late output is given up, as the caller has asked
}
