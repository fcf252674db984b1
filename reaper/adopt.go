package reaper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Adopt makes the process known that has pid now: alive or a zombie, our child
// or not, or not yet. It cannot know whether that is the process that the caller
// means. It is, if the pid is that of a descendant of ours which can only be
// reaped by us, and a [Reaper.Hold] was out since before it was created;
// otherwise compare [Process.Identity] with a record.
//
// Adopting a process that is known already returns the same *Process. The error
// wraps ESRCH if there is no such process.
//
// The exit of a process that never becomes our child is Known from Linux 6.15
// on; before that, only if its zombie was seen before its parent reaped it. From
// 6.13 on it is announced as soon as the process is dead, if we may trace it
// (ptrace(2)), else when its parent has reaped it.
func (r *Reaper) Adopt(pid int) (*Process, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("adopt process %d: %w", pid, unix.EINVAL)
	}
	if err := r.enter(); err != nil {
		return nil, fmt.Errorf("adopt process %d: %w", pid, err)
	}
	defer r.leave()
	fd, err := r.sys.pidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("adopt process %d: open pidfd: %w", pid, err)
	}
	p, err := r.adopt(pid, fd)
	if err != nil {
		return nil, fmt.Errorf("adopt process %d: %w", pid, err)
	}
	return p, nil
}

// AdoptFD is Adopt for a process known by a pidfd, of which it takes
// ownership, also on error. The process may have been reaped: its exit is then
// announced at once, Known from Linux 6.15 on.
func (r *Reaper) AdoptFD(pidfd *os.File) (*Process, error) {
	defer pidfd.Close()
	if err := r.enter(); err != nil {
		return nil, fmt.Errorf("adopt pidfd: %w", err)
	}
	defer r.leave()
	fd, err := dup(pidfd)
	if err != nil {
		return nil, fmt.Errorf("adopt pidfd: %w", err)
	}
	pid, err := r.pidOf(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("adopt pidfd: %w", err)
	}
	p, err := r.adopt(pid, fd)
	if err != nil {
		return nil, fmt.Errorf("adopt process %d: %w", pid, err)
	}
	return p, nil
}

// adopt takes fd: it is in the Process that is returned, or closed.
func (r *Reaper) adopt(pid, fd int) (*Process, error) {
	r.adopting.Lock()
	defer r.adopting.Unlock()
	id := r.identify(pid, fd)
	if old := r.known(pid, id); old != nil {
		unix.Close(fd)
		return old, nil
	}
	p := r.newProcess(pid, fd)
	p.id = id
	if err := r.register(p); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

// known returns the process registered under pid if it is the one with id.
// Two processes may seem to have one pid while the exit of a stranger's
// child is on its way to us.
func (r *Reaper) known(pid int, id Identity) *Process {
	r.mu.Lock()
	old := r.pids[pid]
	r.mu.Unlock()
	if old == nil {
		return nil
	}
	had := old.Identity()
	if had.StartTime != id.StartTime || had.Inode != id.Inode {
		return nil
	}
	return old
}

func (r *Reaper) newProcess(pid, fd int) *Process {
	return &Process{reaper: r, pid: pid, fd: fd, done: make(chan struct{})}
}

// register makes p known and has its pidfd watched; from here on p.fd belongs
// to the loop. Edge-triggered, because somebody else's zombie stays readable
// until it is reaped, and the loop would spin on it. Every change that matters
// is an edge: the death, a zombie's coming to us, the end of ptrace, the reap.
func (r *Reaper) register(p *Process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.token++
	p.token = r.token
	if err := r.watchLocked(p.fd, p.token); err != nil {
		return err
	}
	r.procs[p.token] = p
	if p.pid > 0 {
		r.pids[p.pid] = p
	}
	return nil
}

// watchLocked adds a pidfd to the epoll set.
func (r *Reaper) watchLocked(fd int, token uint64) error {
	e := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLET, // EPOLLHUP always comes
		Fd:     int32(token),
		Pad:    int32(token >> 32),
	}
	if err := r.sys.epollCtl(r.epfd, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("watch pidfd: %w", err)
	}
	return nil
}

// unwatchLocked removes a pidfd that is about to be closed from the epoll set.
// The close would do that, were there no duplicates of the pidfd.
func (r *Reaper) unwatchLocked(fd int) {
	if !r.closed {
		r.sys.epollCtl(r.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// dup duplicates f's descriptor, close-on-exec.
func dup(f *os.File) (fd int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := c.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(cerr, err); err != nil {
		return -1, fmt.Errorf("duplicate: %w", err)
	}
	return fd, nil
}

// pidOf returns the pid behind a pidfd, 0 if it was reaped. The kernel says
// it in the line "Pid:" of fdinfo (-1 after the reap), which other files do
// not have.
func (r *Reaper) pidOf(fd int) (int, error) {
	b, err := os.ReadFile(r.sys.proc + "/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, fmt.Errorf("find its pid: %w", err)
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
			pid, err := strconv.Atoi(string(bytes.TrimSpace(v)))
			if err != nil || pid == 0 { // 0: a process of another pid namespace
				return 0, fmt.Errorf("find its pid: %w", unix.ESRCH)
			}
			return max(pid, 0), nil
		}
	}
	return 0, fmt.Errorf("find its pid: not a pidfd: %w", unix.EBADF)
}
