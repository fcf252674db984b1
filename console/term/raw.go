package term

import (
	"errors"
	"fmt"
	"os"
	"sync"

	ccon "github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// ErrNotTerminal says that a file is not a terminal.
var ErrNotTerminal = errors.New("not a terminal")

// IsTerminal tells whether f, which is borrowed, is one.
func IsTerminal(f *os.File) bool {
	_, err := ccon.ConsoleFromFile(f)
	return err == nil
}

// RawTerminal puts the terminal f, which is borrowed, into raw mode: keys go to
// the container one by one, and its own terminal handles ctrl-c and echo. What
// comes from there has been processed by that terminal, and must not be by this
// one again: a program that has turned its newline translation off means it.
//
// restore puts back what was before. It may be called any number of times, from any
// goroutine, a handler of signals included; every call returns after the
// terminal is restored. Call it on each way out: a process that dies without
// leaves the user's shell in raw mode. Of the error ErrNotTerminal is the usual cause.
func RawTerminal(f *os.File) (restore func() error, err error) {
	c, err := ccon.ConsoleFromFile(f)
	if err != nil {
		return nil, fmt.Errorf("make terminal raw: %s: %w", f.Name(), ErrNotTerminal)
	}
	err = c.SetRaw()
	if err == nil {
		err = leaveOutput(c.Fd())
	}
	if err != nil {
		c.Reset()
		return nil, fmt.Errorf("make terminal raw: %s: %w", f.Name(), err)
	}
	return sync.OnceValue(func() error {
		if err := c.Reset(); err != nil {
			return fmt.Errorf("restore terminal: %s: %w", f.Name(), err)
		}
		return nil
	}), nil
}

// leaveOutput turns output processing off, which the library turns on again.
func leaveOutput(fd uintptr) error {
	t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Oflag &^= unix.OPOST
	return unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
}
