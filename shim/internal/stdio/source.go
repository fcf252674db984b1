package stdio

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longAgo as a deadline makes every wait return at once.
var longAgo = time.Unix(1, 0)

// source is the end of a pipe, FIFO, file or pty that is read here. It holds a
// buffer only from the arrival of data until the next time it has to wait.
type source struct {
	file *os.File
	raw  syscall.RawConn
	fd   int // valid as long as file is open, and its owner alone closes it
	buf  []byte

	// exited is set for a pty whose process may close it and come back: a
	// hang-up then counts only after exited is closed.
	exited   <-chan struct{}
	watching bool // the watcher of exited runs; next's goroutine only
	watcher  sync.WaitGroup
	released chan struct{} // closed by interrupt: ends the watcher
}

// newSource takes f, whose descriptor is fd. Not pollable (a regular file) is fine.
func newSource(f *os.File, fd int) (*source, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &source{file: f, raw: raw, fd: fd, released: make(chan struct{})}, nil
}

// next waits for data and returns what there is, at most bufferSize. The slice is
// good until the following call. io.EOF is the end; any other error too.
// begin is called before each attempt to read, pause each time before it
// waits, without a buffer held.
func (s *source) next(begin, pause func()) ([]byte, error) {
	var n int
	var err error
	for {
		rerr := s.raw.Read(func(fd uintptr) bool {
			begin()
			n, err = s.read(int(fd))
			if err != unix.EAGAIN {
				return true
			}
			s.drop()
			pause()
			return false
		})
		if rerr == nil || !s.resume() {
			if rerr != nil {
				err = os.ErrClosed
			}
			break
		}
	}
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, io.EOF
	}
	return s.buf[:n], nil
}

// read is read(2) where a hang-up that may be temporary looks like EAGAIN.
func (s *source) read(fd int) (n int, err error) {
	if s.buf == nil {
		s.buf = takeBuffer()
	}
	for {
		n, err = unix.Read(fd, s.buf)
		if err != unix.EINTR {
			break
		}
	}
	if err != unix.EIO {
		return n, err
	}
	if s.exited == nil || isClosed(s.exited) {
		return 0, nil // pty(7): the last slave is closed
	}
	if !s.watching {
		s.watching = true
		exited := s.exited
		s.watcher.Go(func() {
			select {
			case <-exited:
				s.file.SetReadDeadline(longAgo)
			case <-s.released:
			}
		})
	}
	return 0, unix.EAGAIN
}

// resume tells whether an expired deadline only meant that the process has
// exited; then the hang-up has to be looked at again.
func (s *source) resume() bool {
	if s.exited == nil || !isClosed(s.exited) || isClosed(s.released) {
		return false
	}
	s.exited = nil
	s.file.SetReadDeadline(time.Time{})
	return !isClosed(s.released) // interrupt may have come in between
}

// drop gives the buffer back.
func (s *source) drop() {
	returnBuffer(s.buf)
	s.buf = nil
}

// interrupt ends a next in progress and all later ones, and the watcher. Any
// goroutine may call it, but once only. The file stays open for its owner.
func (s *source) interrupt() {
	close(s.released)
	s.file.SetReadDeadline(longAgo)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
