package reaper

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lazySweep is how long after an exit or a release the sweep runs once more: an
// orphan comes to us only when its parent has died, which nothing announces.
// One timer, armed by events only; an idle reaper does not wake up.
const lazySweep = time.Second

// maxStrays bounds the descriptors spent on waking up for orphans.
const maxStrays = 64

// strayToken marks the epoll tokens of strays, whose rest is the pid.
const strayToken = 1 << 63

// Sweep has dead children reaped that nobody knows, as soon as no [Reaper.Hold]
// is out. It does not wait for that. Without [WithSubreaper] it does nothing.
//
// The reaper sweeps by itself at the last release, when a process ends that it
// knows or that has fallen to it, and a second after these. What it cannot
// notice is an orphan that falls to it and dies while nothing of this happens
// (a container in our pid namespace that daemonizes things): a caller that has
// such containers calls Sweep whenever it is awake anyway.
func (r *Reaper) Sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.askSweepLocked()
}

// askSweepLocked wakes the loop for a sweep, by a deadline that is over.
func (r *Reaper) askSweepLocked() {
	if !r.subreaper || r.closed {
		return
	}
	r.wanted = true
	if r.holds == 0 {
		r.epoll.SetReadDeadline(time.Unix(1, 0))
	}
}

// sweepDue runs in the loop when the deadline has passed: for a sweep that was
// asked for, which a lazy one follows, or for the lazy one.
func (r *Reaper) sweepDue() {
	r.mu.Lock()
	asked := r.wanted && r.holds == 0
	next := time.Time{}
	if asked {
		r.wanted = false
		next = time.Now().Add(lazySweep)
	}
	if !r.closed {
		r.epoll.SetReadDeadline(next)
	}
	r.mu.Unlock()
	r.sweep()
}

// sweep reaps the unknown children that are dead and watches those that live.
// The list may be stale when it is used: each pid is judged anew.
func (r *Reaper) sweep() {
	for _, pid := range r.children() {
		if !r.sweepOne(pid) {
			return
		}
	}
}

// sweepOne reaps pid if it is an unknown child and dead; false means that a
// hold is out. The lock makes the judgement and the reap one: no Hold, Start or
// Adopt comes between. The pid of a child is not used again before we reap
// it, and nothing but this reaps unknown ones: if the pid is that of a child
// now, that child is the one judged.
func (r *Reaper) sweepOne(pid int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holds > 0 || r.closed {
		r.wanted = true
		return false
	}
	if r.pids[pid] != nil {
		return true
	}
	var info unix.Siginfo
	switch err := r.waitNow(unix.P_PID, pid, &info, nil); {
	case err != nil: // not our child any more, or not to be had
	case child(&info).pid == 0:
		r.watchStrayLocked(pid)
	default:
		r.forgetStrayLocked(pid)
	}
	return true
}

// watchStrayLocked has the loop woken when the unknown child pid dies. If that
// cannot be had it is left to a later sweep.
func (r *Reaper) watchStrayLocked(pid int) {
	if _, ok := r.strays[pid]; ok || len(r.strays) >= maxStrays {
		return
	}
	fd, err := r.sys.pidfdOpen(pid, 0)
	if err != nil {
		return
	}
	if err := r.watchLocked(fd, strayToken|uint64(pid)); err != nil {
		unix.Close(fd)
		return
	}
	r.strays[pid] = fd
}

// forgetStray drops the watch on a stray that has died; the sweep that follows
// reaps it, unless Adopt has taken it.
func (r *Reaper) forgetStray(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetStrayLocked(pid)
}

func (r *Reaper) forgetStrayLocked(pid int) {
	if fd, ok := r.strays[pid]; ok {
		r.unwatchLocked(fd)
		unix.Close(fd)
		delete(r.strays, pid)
	}
}

// children lists our children, as far as /proc tells: the kernel keeps them by
// thread, and may miss some while others exit. It reads into one buffer of the
// loop's, for it is called at every exit.
func (r *Reaper) children() []int {
	tasks, err := unix.Open(r.sys.proc+"/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(tasks)
	if r.scratch == nil {
		r.scratch = make([]byte, 4<<10)
	}
	var tids []string
	for {
		n, err := unix.ReadDirent(tasks, r.scratch)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		_, _, tids = unix.ParseDirent(r.scratch[:n], -1, tids)
	}
	var pids []int
	for _, tid := range tids {
		fd, err := unix.Openat(tasks, tid+"/children", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // that thread has ended
		}
		pids = appendPids(pids, fd, r.scratch)
		unix.Close(fd)
	}
	return pids
}

// appendPids reads a file of decimal numbers, each followed by a blank, by way of
// buf. A number that is still being read at an error does not count.
func appendPids(pids []int, fd int, buf []byte) []int {
	pid := 0
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return pids
		}
		for _, c := range buf[:n] {
			switch {
			case '0' <= c && c <= '9':
				pid = pid*10 + int(c-'0')
			case pid > 0:
				pids = append(pids, pid)
				pid = 0
			}
		}
	}
}

// subreaperFlag tells whether this process is a subreaper.
func subreaperFlag() (bool, error) {
	var on int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&on)), 0, 0, 0)
	return on != 0, err
}
