package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PID is a process of somebody else's, e.g. a shim, identified so that a
// recycled number is not mistaken for it.
type PID struct {
	Number int
	start  uint64 // clock ticks since boot, field 22 of /proc/PID/stat
}

// Identify returns the identity of a process that exists.
func Identify(pid int) (PID, error) {
	start, _, err := procStat(pid)
	if err != nil {
		return PID{}, err
	}
	return PID{Number: pid, start: start}, nil
}

// Alive reports whether p runs; a zombie does not.
func (p PID) Alive() bool {
	start, state, err := procStat(p.Number)
	return err == nil && start == p.start && state != "Z" && state != "X"
}

// Signal sends a signal to p, and to no other process.
func (p PID) Signal(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// Gone waits until p has exited (a zombie has) and reports whether it did
// before the deadline.
func (p PID) Gone(timeout time.Duration) bool {
	fd, err := p.open()
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(timeout)
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline)).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		return n > 0
	}
}

// open returns a pidfd on p, checked after it was opened: from then on it cannot
// become another process.
func (p PID) open() (int, error) {
	fd, err := unix.PidfdOpen(p.Number, 0)
	if err != nil {
		return -1, fmt.Errorf("open process %d: %w", p.Number, err)
	}
	if start, _, err := procStat(p.Number); err != nil || start != p.start {
		unix.Close(fd)
		return -1, fmt.Errorf("open process %d: %w", p.Number, unix.ESRCH)
	}
	return fd, nil
}

// procStat reads the start time and the state of a process.
func procStat(pid int) (start uint64, state string, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	// The name, field 2, is in parentheses and may hold anything.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 20 {
		return 0, "", fmt.Errorf("parse stat of process %d: %d fields", pid, len(fields))
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return start, fields[0], err
}
