package ocitest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openConsole makes a pty, sends its master to the socket and returns the
// slave.
func openConsole(socket string, spec *processSpec) (*os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer master.Close()
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock pty: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("number of pty: %w", err)
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if size := spec.ConsoleSize; size != nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
	}
	if err == nil {
		err = sendMaster(socket, name, fd)
	}
	if err != nil {
		slave.Close()
		return nil, err
	}
	return slave, nil
}

// sendMaster sends a descriptor with its name, as runc does.
func sendMaster(socket, name string, fd int) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connect to console socket %s: %w", socket, err)
	}
	return unix.Sendmsg(s, []byte(name), unix.UnixRights(fd), nil, 0)
}
