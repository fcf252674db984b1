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
// left alone and reported as in use. The caller owns the file and the path.
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
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	conn, err := Dial(path)
	if err == nil {
		conn.Close()
		return unix.EADDRINUSE
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
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
