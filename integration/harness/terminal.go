package harness

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Terminal is a call of holdfast in a terminal of its own, with the test as its
// user.
type Terminal struct {
	*Process
	master *os.File
}

// Terminal runs holdfast as the leader of a session whose terminal has that
// size. The world ends it if the test does not.
func (w *World) Terminal(columns, rows uint16, args ...string) *Terminal {
	w.T.Helper()
	master, user, err := openPTY()
	if err != nil {
		w.T.Fatalf("open terminal: %v", err)
	}
	w.T.Cleanup(func() { master.Close() })
	defer user.Close()
	cmd := exec.Command(Binary("holdfast"), args...)
	cmd.Env, cmd.Dir = w.Env, w.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = user, user, user
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	p := &Process{Stdin: master, Stdout: newOutput(), w: w, cmd: cmd, done: make(chan struct{})}
	term := &Terminal{Process: p, master: master}
	term.Resize(columns, rows)
	if err := cmd.Start(); err != nil {
		w.T.Fatal(err)
	}
	w.started = append(w.started, p)
	go term.read()
	return term
}

// read collects the screen until everybody has closed the terminal, then waits
// for the process.
func (t *Terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.Stdout.Write(buf[:n])
		if err != nil { // EIO: the other side is closed
			break
		}
	}
	t.wait()
}

// Type types text; "\r" is the return key.
func (t *Terminal) Type(text string) {
	t.w.T.Helper()
	if _, err := io.WriteString(t.master, text); err != nil {
		t.w.T.Fatalf("type %q: %v", text, err)
	}
}

// Resize changes the size of the window, of which the kernel tells holdfast.
func (t *Terminal) Resize(columns, rows uint16) {
	t.w.T.Helper()
	err := t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
	if err != nil {
		t.w.T.Fatalf("resize terminal: %v", err)
	}
}

// Cooked reports whether the terminal is as a shell wants it: lines are edited,
// echoed, and Ctrl-C is a signal. A program that made it raw must restore it.
func (t *Terminal) Cooked() bool {
	t.w.T.Helper()
	var state *unix.Termios
	err := t.control(func(fd int) (err error) {
		state, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	})
	if err != nil {
		t.w.T.Fatalf("read terminal settings: %v", err)
	}
	const cooked = unix.ICANON | unix.ECHO | unix.ISIG
	return state.Lflag&cooked == cooked && state.Oflag&unix.OPOST != 0
}

func (t *Terminal) control(f func(fd int) error) error {
	rc, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = rc.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

// openPTY returns the two sides of a new pseudo-terminal; both are the
// caller's.
func openPTY() (master, user *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	user, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, user, nil
}
