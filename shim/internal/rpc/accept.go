package rpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Serve accepts and serves connections from l, a listening unix stream socket
// in nonblocking mode, until [Server.Stop] (then l is closed and the error is
// nil), until [Server.Freeze] (then l is left as it is, its backlog with it,
// and the error is [ErrFrozen]), or until accepting fails for good (then l is
// closed). While Serve runs, l belongs to it.
//
// Connections of other users than our own effective one and root are closed
// unread (SO_PEERCRED, unix(7): the credentials at the time of connect).
func (s *Server) Serve(l *os.File) error {
	raw, err := listener(l)
	if err != nil {
		return fmt.Errorf("serve rpc: %w", err)
	}
	s.mu.Lock()
	switch s.mode {
	case frozen:
		s.mode = serving
	case freezing:
		s.mu.Unlock()
		return ErrFrozen
	case stopped:
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	err = s.acceptAll(raw)

	s.mu.Lock()
	m := s.mode
	delete(s.listeners, l)
	s.changedLocked()
	s.mu.Unlock()
	l.SetReadDeadline(time.Time{})
	switch {
	case m == freezing || m == frozen:
		return ErrFrozen
	case m == stopped:
		err = nil
	}
	l.Close()
	return err
}

// listener checks that l can be waited for by the poller: on a blocking
// descriptor a deadline is refused, and accepting could not be interrupted.
func listener(l *os.File) (syscall.RawConn, error) {
	if err := l.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("listener %s is not in nonblocking mode: %w", l.Name(), err)
	}
	return l.SyscallConn()
}

// acceptAll returns when it is interrupted by a deadline or by an error.
func (s *Server) acceptAll(l syscall.RawConn) error {
	pause := time.Duration(0)
	for {
		fd, err := accept(l)
		switch {
		case err == nil:
			pause = 0
			s.welcome(fd)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case shortage(err):
			// The poller reports a backlog once, so it is us who must
			// come back. The client waits in the backlog meanwhile.
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			s.logf("accept connection: %v, trying again in %v", err, pause)
			if !s.sleep(pause) {
				return nil
			}
		default:
			return fmt.Errorf("accept connection: %w", err)
		}
	}
}

// shortage tells errors of accept(2) that pass by themselves.
func shortage(err error) bool {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE),
		errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return true
	}
	return false
}

// sleep waits for d, or until the server changes mode, which is false.
func (s *Server) sleep(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mode == serving {
		if s.waitLocked(ctx) != nil {
			return true
		}
	}
	return false
}

// accept waits in the poller for the next connection.
func accept(l syscall.RawConn) (int, error) {
	fd, err := -1, error(nil)
	waited := l.Read(func(lfd uintptr) bool {
		for {
			fd, _, err = unix.Accept4(int(lfd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch err {
			case unix.EINTR, unix.ECONNABORTED:
				continue
			case unix.EAGAIN:
				return false
			}
			return true
		}
	})
	if waited != nil {
		return -1, waited
	}
	return fd, err
}

// welcome serves the connection fd if its peer may talk to us.
func (s *Server) welcome(fd int) {
	if err := checkPeer(fd); err != nil {
		s.logf("refuse connection: %v", err)
		unix.Close(fd)
		return
	}
	c, err := newConn(s, os.NewFile(uintptr(fd), "rpc connection"))
	if err != nil {
		s.logf("refuse connection: %v", err)
		return
	}
	s.mu.Lock()
	full, over := len(s.conns) >= s.opt.MaxConns, s.mode == stopped
	if !full && !over {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if over { // and a Stop in a hurry has counted its connections already
		c.file.Close()
		return
	}
	if full {
		s.logf("refuse connection: %d are open", s.opt.MaxConns)
		c.file.Close()
		return
	}
	s.connsChanged()
	c.startReader()
}

func checkPeer(fd int) error {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("read peer credentials: %w", err)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("peer pid %d is of user %d", cred.Pid, cred.Uid)
	}
	return nil
}
