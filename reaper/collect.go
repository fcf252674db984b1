package reaper

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Reasons why an exit is not Known.
const (
	reasonParent = "its parent took the exit status, and this kernel (older than 6.15) does not keep it"
	reasonKernel = "its parent took the exit status, and the kernel does not have it"
)

// loop is the goroutine that learns exits. It ends when Close closes the epoll
// file, and sweeps when its read deadline passes.
func (r *Reaper) loop() {
	defer close(r.ended)
	var events [16]unix.EpollEvent
	for {
		n, err := r.wait(events[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.sweepDue()
			continue
		}
		if err != nil {
			return
		}
		exited := false
		for _, e := range events[:n] {
			token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			exited = r.handle(token, e.Events&unix.EPOLLHUP != 0) || exited
		}
		if exited {
			r.Sweep()
		}
	}
}

// wait returns the events there are, and parks the goroutine, not a thread,
// until there are some.
func (r *Reaper) wait(events []unix.EpollEvent) (n int, err error) {
	perr := r.poll.Read(func(fd uintptr) bool {
		for {
			n, err = unix.EpollWait(int(fd), events, 0)
			if err != unix.EINTR {
				return n != 0
			}
		}
	})
	if perr != nil {
		return 0, perr
	}
	return n, err
}

// handle answers one event; it tells whether a process has ended.
func (r *Reaper) handle(token uint64, hup bool) bool {
	if token&strayToken != 0 {
		r.forgetStray(int(token &^ strayToken))
		return true
	}
	r.mu.Lock()
	p := r.procs[token]
	r.mu.Unlock()
	if p == nil {
		return false
	}
	e, ok := r.collect(p, hup)
	if !ok {
		return false
	}
	r.forget(p)
	p.finish(e)
	return true
}

// forget undoes register.
func (r *Reaper) forget(p *Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.procs, p.token)
	if r.pids[p.pid] == p {
		delete(r.pids, p.pid)
	}
	r.unwatchLocked(p.fd)
}

// collect asks the kernel for the exit of p; hup tells that p has been reaped,
// by whomever. False means that there is more to wait for. Only the loop calls
// it, or Close after the loop; p.fd is therefore open.
func (r *Reaper) collect(p *Process, hup bool) (Exit, bool) {
	now := r.sys.now()
	var info unix.Siginfo
	var ru unix.Rusage
	err := r.waitNow(unix.P_PIDFD, p.fd, &info, &ru)
	c := child(&info)
	switch {
	case err == nil && c.pid != 0:
		return Exit{Status: rawStatus(info.Code, c.status), Known: true, At: now, Rusage: rusage(&ru)}, true
	case err == nil:
		// Alive, or a zombie that its tracer has still to let go.
		return Exit{}, false
	case err != unix.ECHILD:
		return Exit{Reason: "wait for it: " + err.Error(), At: now}, true
	case hup:
		return r.reaped(p, now), true
	}
	// Somebody else's child, for now: dead, and reaped when its parent likes.
	return r.zombie(p, now)
}

// waitNow is waitid for an exit that does not block.
func (r *Reaper) waitNow(idType, id int, info *unix.Siginfo, ru *unix.Rusage) error {
	for {
		err := r.sys.waitid(idType, id, info, unix.WEXITED|unix.WNOHANG|unix.WALL, ru)
		if err != unix.EINTR {
			return err
		}
	}
}

// reaped returns the exit of a process that another one has reaped. The kernel
// keeps it as long as there is a pidfd, from 6.15 on.
func (r *Reaper) reaped(p *Process, now time.Time) Exit {
	info := pidfdInfo{mask: infoExit}
	err := r.sys.pidfdInfo(p.fd, &info)
	switch {
	case err == nil && info.mask&infoExit != 0:
		return Exit{Status: uint32(info.exitCode), Known: true, At: now}
	case p.hinted:
		return Exit{Status: p.hint, Known: true, At: now}
	case err == nil:
		return Exit{Reason: reasonKernel, At: now}
	default: // ENOTTY before 6.13, ESRCH until 6.15
		return Exit{Reason: reasonParent + ": " + err.Error(), At: now}
	}
}

// zombie returns the exit of somebody else's zombie, which /proc shows to who
// may trace it. Its parent may take seconds to reap it (an init that looks
// around now and then), or never do. False means that the reap has to be waited
// for; what was seen is then kept, for kernels that keep nothing themselves.
func (r *Reaper) zombie(p *Process, now time.Time) (Exit, bool) {
	s, err := r.stat(p.pid)
	if err != nil || s.state != 'Z' || !r.mayTrace(p.pid) {
		return Exit{}, false
	}
	// Was all that still about p?
	if r.sys.sendSignal(p.fd, 0) != nil {
		return Exit{}, false
	}
	p.hint, p.hinted = s.exitCode, true
	// Old kernels show the exit code of the first thread, which is not that of
	// the process if it left before the others. Those with PIDFD_GET_INFO do not.
	if r.sys.pidfdInfo(p.fd, &pidfdInfo{mask: infoPID}) != nil || r.falls(s.ppid) {
		return Exit{}, false
	}
	return Exit{Status: s.exitCode, Known: true, At: now}, true
}

// mayTrace tells whether /proc shows us the exit code of pid. To others it shows
// 0, which must not pass for a success; /proc/PID/io has the same condition
// (ptrace(2), PTRACE_MODE_READ_FSCREDS) and says so.
func (r *Reaper) mayTrace(pid int) bool {
	f, err := os.Open(r.sys.proc + "/" + strconv.Itoa(pid) + "/io")
	if err != nil {
		return false
	}
	defer f.Close()
	var b [1]byte
	_, err = f.Read(b[:])
	return err == nil
}

// falls tells whether the children of the process ppid will be ours, with what
// they used, since it is a child of ours that will end soon, as OCI runtimes do.
func (r *Reaper) falls(ppid int) bool {
	if !r.subreaper {
		return false
	}
	parent, err := r.stat(ppid)
	return err == nil && parent.ppid == os.Getpid()
}
