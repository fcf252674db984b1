package serve

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MaxSocketPath is the longest path of a socket, in bytes: sun_path of
// sockaddr_un(7) is 108 with its final NUL, and containerd's own limit is 106.
const MaxSocketPath = 106

// backlog is how many connections may wait while a shim starts or is being
// replaced; unix sockets refuse beyond it (EAGAIN).
const backlog = 128

// Listen makes a listening unix socket at path, mode 0600, close-on-exec. A
// socket file that nobody listens on any more is replaced; one that answers is
// left alone and reported as in use (EADDRINUSE), anything that is no socket as
// ENOTSOCK. The caller owns the file and the path, and keeps others from making
// the same path at the same time, as the lock of a container does.
func Listen(path string) (*os.File, error) {
	if len(path) > MaxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path is %d bytes long, a socket's may have %d; choose a shorter root", path, len(path), MaxSocketPath)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: socket: %w", path, err)
	}
	if err := bind(fd, path); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// bind binds fd to path by way of a private name and rename(2), so that the
// socket is never visible with loose permissions or before it listens.
func bind(fd int, path string) error {
	if err := vacant(path); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"~")
	if len(tmp) > MaxSocketPath+1 {
		tmp = filepath.Join(filepath.Dir(path), ".~")
	}
	os.Remove(tmp)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: tmp}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	undo := func(err error) error {
		os.Remove(tmp)
		return err
	}
	if err := os.Chmod(tmp, 0o600); err != nil {
		return undo(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return undo(fmt.Errorf("listen: %w", err))
	}
	if err := os.Rename(tmp, path); err != nil {
		return undo(err)
	}
	return nil
}

// vacant removes a socket file without a listener.
func vacant(path string) error {
	live, err := Listens(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case live:
		return unix.EADDRINUSE
	}
	return RemoveSocket(path)
}

// Listens reports whether somebody accepts connections at path. It wakes them: a
// connection is made and closed.
func Listens(path string) (bool, error) {
	conn, err := Dial(path)
	switch {
	case err == nil:
		conn.Close()
		return true, nil
	case errors.Is(err, unix.EAGAIN): // a full backlog is a listener's
		return true, nil
	case errors.Is(err, unix.ECONNREFUSED):
		return false, nil
	}
	return false, err
}

// RemoveSocket removes the socket file at path, whether or not somebody listens.
// It is no error if there is none; what is not a socket is left alone and
// reported as ENOTSOCK: the path may come from a file.
func RemoveSocket(path string) error {
	st, err := os.Lstat(path)
	if err == nil && st.Mode().Type() != os.ModeSocket {
		err = fmt.Errorf("remove %s: %w", path, unix.ENOTSOCK)
	} else if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Dial connects to the unix socket at path without waiting: a socket whose
// owner is dead answers ECONNREFUSED at once, one whose backlog is full EAGAIN.
// The caller owns the connection, which is nonblocking and close-on-exec.
func Dial(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("dial %s: socket: %w", path, err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("dial %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
