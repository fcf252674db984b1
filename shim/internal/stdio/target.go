package stdio

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readerWait bounds the wait for a client to open its end of an output FIFO.
// It is containerd's own limit for the opening of streams.
const readerWait = 30 * time.Second

// target is an open FIFO or file that takes output, from one stream or two.
// os.File serialises whole writes, so that buffers of two streams do not
// interleave.
type target struct {
	path string
	file *os.File
	raw  syscall.RawConn
	fd   int // of file, valid until release
	keep int // read end of a FIFO that we hold so that clients may go; else -1

	mu    sync.Mutex
	users int // +checklocks:mu — streams that have not ended
	open  bool
}

// openTarget opens what u names for appending. The error names the path.
func openTarget(ctx context.Context, u uri) (*target, error) {
	handle, err := openHandle(u)
	if err != nil {
		return nil, err
	}
	defer unix.Close(handle)
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: u.path, Err: err}
	}
	t := &target{path: u.path, keep: -1, open: true}
	proc := procPath(handle)
	if st.Mode&unix.S_IFMT == unix.S_IFIFO {
		t.fd, err = openWriter(ctx, proc)
		if err == nil {
			if t.keep, err = open(proc, unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
				unix.Close(t.fd)
			}
		}
	} else {
		t.fd, err = open(proc, unix.O_WRONLY|unix.O_APPEND|unix.O_NOCTTY|unix.O_NONBLOCK)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: u.path, Err: err}
	}
	t.file = os.NewFile(uintptr(t.fd), u.path)
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

// openHandle returns an O_PATH descriptor. What it names is looked at before it is
// opened, and then opened through it: no FIFO is taken for a file.
func openHandle(u uri) (int, error) {
	fd, err := open(u.path, unix.O_PATH)
	if err == unix.ENOENT && u.kind == kindFile {
		if err := os.MkdirAll(filepath.Dir(u.path), 0o755); err != nil {
			return -1, err
		}
		f, cerr := os.OpenFile(u.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0o644)
		if cerr != nil {
			return -1, cerr
		}
		f.Close()
		fd, err = open(u.path, unix.O_PATH)
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: u.path, Err: err}
	}
	return fd, nil
}

// openWriter opens the write side of a FIFO once somebody reads it: bytes
// written before might die unread. The open is nonblocking as soon as it is done.
func openWriter(ctx context.Context, proc string) (int, error) {
	fd, err := open(proc, unix.O_WRONLY|unix.O_NONBLOCK)
	if err != unix.ENXIO {
		return fd, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readerWait, errNoReader)
	defer cancel()
	var opened int
	done := make(chan error, 1)
	go func() { // ended by a reader: the client's, or ours below
		var err error
		opened, err = open(proc, unix.O_WRONLY)
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		reader, rerr := open(proc, unix.O_RDONLY|unix.O_NONBLOCK)
		if rerr != nil { // no descriptors left: it ends when a reader comes
			go func() {
				if <-done == nil {
					unix.Close(opened)
				}
			}()
			return -1, rerr
		}
		if <-done == nil {
			unix.Close(opened)
		}
		unix.Close(reader)
		return -1, context.Cause(ctx)
	}
	if err == nil {
		if err = unix.SetNonblock(opened, true); err != nil {
			unix.Close(opened)
		}
	}
	return opened, err
}

var errNoReader = fmt.Errorf("nobody opened the FIFO for reading within %v", readerWait)

// write delivers b or says how many bytes it could not.
func (t *target) write(b []byte) (lost int, err error) {
	n, err := t.file.Write(b)
	return len(b) - n, err
}

// use counts one more stream; each calls end once.
func (t *target) use() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users++
}

// end is EOF of one stream. The last one's closes the target, except for a
// FIFO with unread bytes and no client: that waits for release.
func (t *target) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users--; t.users > 0 || !t.open {
		return
	}
	if t.keep >= 0 {
		unix.Close(t.keep)
		t.keep = -1
		if unread(t.fd) > 0 && !hasReader(t.fd) {
			return
		}
	}
	t.open = false
	t.file.Close()
}

// interrupt ends writes in progress and fails later ones. Regular files know no
// deadline.
func (t *target) interrupt() { t.file.SetWriteDeadline(longAgo) }

// release closes what end has left open. Nobody may write any more.
func (t *target) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keep >= 0 {
		unix.Close(t.keep)
		t.keep = -1
	}
	if t.open {
		t.open = false
		t.file.Close()
	}
}

// hasReader looks at the write end of a FIFO: POLLERR is "all readers closed".
func hasReader(fd int) bool { return poll(fd, unix.POLLOUT)&unix.POLLERR == 0 }

// poll is poll(2) of one descriptor without waiting. It can fail by a signal only.
func poll(fd int, events int16) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		if _, err := unix.Poll(p, 0); err != unix.EINTR {
			return p[0].Revents
		}
	}
}

// unread is the number of bytes in a pipe, asked at either end (pipe(7), FIONREAD).
func unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// open is open(2), close-on-exec and restarted: an open of a FIFO may sleep.
func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
