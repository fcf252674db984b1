package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path that fits into sockaddr_un.sun_path with its
// terminating zero (unix(7)).
const maxPath = 107

// socketName is short because it counts against maxPath.
const socketName = "s"

// Socket is the listening end of one --console-socket.
type Socket struct {
	path     string
	dir      string   // ours, removed by Close
	handle   *os.File // O_PATH handle on dir; path may lead through it
	listener *os.File
	once     sync.Once
	err      error // of Close
}

// Listen makes a unix socket in a fresh 0700 directory below dir. dir "" means
// $XDG_RUNTIME_DIR or else the temporary directory. The caller closes it.
//
// Where the path would be too long for a socket address, Path leads through
// /proc/PID/fd of this process, so it is good only as long as the Socket is open.
func Listen(dir string) (_ *Socket, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("listen for console: %w", err)
		}
	}()
	if dir == "" {
		if dir = os.Getenv("XDG_RUNTIME_DIR"); dir == "" {
			dir = os.TempDir()
		}
	}
	own, err := os.MkdirTemp(dir, "pty") // 0700
	if err != nil {
		return nil, err
	}
	s := &Socket{dir: own}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.path, err = filepath.Abs(filepath.Join(own, socketName)); err != nil {
		return nil, err
	}
	s.handle, err = os.OpenFile(own, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	through := "/fd/" + strconv.Itoa(int(s.handle.Fd())) + "/" + socketName
	if len(s.path) > maxPath {
		s.path = "/proc/" + strconv.Itoa(os.Getpid()) + through
	}
	if s.listener, err = listen("/proc/self" + through); err != nil {
		return nil, fmt.Errorf("%s: %w", own, err)
	}
	return s, nil
}

// listen binds by a path that is always short enough, whatever the directory.
func listen(path string) (_ *os.File, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	return os.NewFile(uintptr(fd), "console listener"), nil
}

// Path is what to give the OCI runtime as --console-socket.
func (s *Socket) Path() string { return s.path }

// Receive waits for the runtime to connect and send one pty master, until ctx
// ends. The master is nonblocking, in Go's poller and close-on-exec; the caller
// owns it. A first sender that sends no descriptor, or one which is not a pty
// master, is an error: an OCI runtime does not try twice.
func (s *Socket) Receive(ctx context.Context) (_ *os.File, err error) {
	defer func() {
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			err = fmt.Errorf("receive console: %w", err)
		}
	}()
	conn, err := wait(ctx, s.listener, "accept4", func(fd int) (int, error) {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	peer := os.NewFile(uintptr(conn), "console connection")
	defer peer.Close()
	fd, err := wait(ctx, peer, "recvmsg", receiveDescriptor)
	if err != nil {
		return nil, err
	}
	return masterFrom(fd)
}

// Close ends a Receive in progress and removes socket and directory. Closing
// twice is harmless.
func (s *Socket) Close() error {
	s.once.Do(func() {
		if s.listener != nil {
			s.err = s.listener.Close()
		}
		s.err = errors.Join(s.err, os.RemoveAll(s.dir))
		if s.handle != nil {
			s.err = errors.Join(s.err, s.handle.Close())
		}
	})
	return s.err
}

// wait runs the nonblocking system call until it does something else than
// EAGAIN, parked in Go's poller in between, and gives up when ctx ends.
func wait(ctx context.Context, f *os.File, name string, call func(fd int) (int, error)) (int, error) {
	if f.SetReadDeadline(time.Time{}) != nil {
		return -1, os.ErrClosed // the poller's own error for it matches nothing
	}
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	rc, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var n int
	var callErr error
	err = rc.Read(func(fd uintptr) bool {
		n, callErr = call(int(fd))
		return callErr != unix.EAGAIN && callErr != unix.EINTR
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return -1, err
	}
	if err != nil {
		return -1, os.ErrClosed
	}
	if errno, ok := callErr.(unix.Errno); ok {
		return -1, os.NewSyscallError(name, errno)
	}
	return n, callErr
}

// receiveDescriptor takes the one descriptor that the OCI runtime sends
// beside the terminal's name. Whatever else arrives is closed.
func receiveDescriptor(conn int) (int, error) {
	name := make([]byte, 4096) // runc sends the pty's path; it is of no use outside
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := unix.Recvmsg(conn, name, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	fds := descriptors(oob[:oobn])
	switch {
	case len(fds) == 1 && flags&unix.MSG_CTRUNC == 0:
		return fds[0], nil
	case len(fds) == 0 && n == 0:
		err = errors.New("the runtime closed the connection without sending a terminal")
	case len(fds) == 0:
		err = errors.New("the runtime sent a message without a descriptor")
	default:
		err = errors.New("the runtime sent more than one descriptor")
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	return -1, err
}

// descriptors lists what SCM_RIGHTS brought, also from a damaged message.
func descriptors(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// masterFrom takes fd. TIOCGPTN is answered by pty masters only (ioctl_tty(2)).
func masterFrom(fd int) (*os.File, error) {
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("the runtime's descriptor is not a pty master: %w", err)
	}
	// The flag lives in the description, which nobody else holds once the
	// runtime has sent it; the container has the other side of the pty.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "pty master "+strconv.Itoa(int(n))), nil
}
