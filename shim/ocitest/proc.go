package ocitest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is one that the runtime made: pid and start time, so that another
// one with that pid is not taken for it.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // field 22 of /proc/PID/stat
}

// stat is what is read of /proc/PID/stat (proc(5)).
type stat struct {
	pid, session int
	dead         bool
	start        uint64
}

func statOf(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // f[0] is field 3
	if len(f) < 20 {
		return stat{}, fmt.Errorf("short stat of process %d", pid)
	}
	st := stat{pid: pid, dead: f[0] == "Z" || f[0] == "X"}
	st.session, _ = strconv.Atoi(f[3])
	st.start, _ = strconv.ParseUint(f[19], 10, 64)
	return st, nil
}

func allStats() []stat {
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []stat
	for _, e := range dir {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := statOf(pid); err == nil {
			all = append(all, st)
		}
	}
	return all
}

// identify returns the process that has pid, which the caller knows to be a
// child not waited for.
func identify(pid int) (process, error) {
	st, err := statOf(pid)
	return process{pid, st.start}, err
}

// known tells whether the process is there, if only as a zombie.
func (p process) known() bool {
	st, err := statOf(p.PID)
	return err == nil && st.start == p.Start
}

func (p process) alive() bool {
	st, err := statOf(p.PID)
	return err == nil && st.start == p.Start && !st.dead
}

// open returns a pidfd of the process; ESRCH if it is another one by now.
func (p process) open() (int, error) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return -1, err
	}
	if !p.known() {
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

func (p process) signal(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// waitDead waits until the process has ended, whoever's child it is.
func (p process) waitDead(limit time.Duration) error {
	fd, err := p.open()
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := poll(limit, fd)
	if err == nil && n < 0 {
		err = fmt.Errorf("process %d does not die", p.PID)
	}
	return err
}

// poll returns the index of the first descriptor that is readable, -1 if none
// is in time.
func poll(limit time.Duration, fds ...int) (int, error) {
	list := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		list[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	end := time.Now().Add(limit)
	for {
		_, err := unix.Poll(list, int(max(0, time.Until(end).Milliseconds())))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		for i := range list {
			if list[i].Revents != 0 {
				return i, nil
			}
		}
		return -1, nil
	}
}
