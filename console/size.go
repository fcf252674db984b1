package console

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Size is the size of a terminal in character cells.
type Size struct{ Width, Height uint16 }

// Resize sets the size of the terminal (either side of a pty will do). The
// kernel sends SIGWINCH to the foreground process group if the size changed.
// The terminal is borrowed; on a closed file the error matches os.ErrClosed.
func Resize(terminal *os.File, s Size) error {
	ws := unix.Winsize{Row: s.Height, Col: s.Width}
	err := control(terminal, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &ws)
	})
	if err != nil {
		return fmt.Errorf("resize terminal to %dx%d: %w", s.Width, s.Height, err)
	}
	return nil
}

// GetSize reads the size of the terminal, which is borrowed. A terminal nobody
// has given a size has 0x0.
func GetSize(terminal *os.File) (Size, error) {
	var s Size
	err := control(terminal, func(fd int) error {
		ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err == nil {
			s = Size{Width: ws.Col, Height: ws.Row}
		}
		return err
	})
	if err != nil {
		return Size{}, fmt.Errorf("read terminal size: %w", err)
	}
	return s, nil
}

// control calls fn with the descriptor of f. It does not use f.Fd, which would
// switch a descriptor in the poller back to blocking.
func control(f *os.File, fn func(fd int) error) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if rc.Control(func(fd uintptr) { inner = fn(int(fd)) }) != nil {
		return os.ErrClosed // RawConn's own error for it matches nothing
	}
	return inner
}
