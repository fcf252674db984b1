package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// killLimit bounds how long KillAll waits for processes to die of a SIGKILL;
// one in uninterruptible sleep does not.
const killLimit = 2 * time.Second

// maxDepth bounds the descent into child cgroups: as many as a path can hold.
const maxDepth = 2048

// Pids returns the processes in the cgroup and all cgroups below it, in
// ascending order, without those that our pid namespace does not show. A
// cgroup that is gone has none.
func (c *Cgroup) Pids() ([]int, error) {
	pids, err := listPids(nil, c.groups[c.lead].dir, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", c.groups[c.lead].dir, err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil // one may have moved while we read
}

// listPids appends the processes of dir and below.
func listPids(pids []int, dir string, depth int) ([]int, error) {
	b, err := os.ReadFile(dir + "/cgroup.procs")
	switch {
	case isGone(err):
		return pids, nil
	case errors.Is(err, unix.EOPNOTSUPP):
		// A threaded v2 cgroup: its processes are listed at the thread root above.
	case err != nil:
		return nil, err
	}
	for line := range bytes.FieldsSeq(b) {
		if pid, err := strconv.Atoi(string(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	d, err := os.Open(dir)
	if isGone(err) {
		return pids, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	if err != nil && !isGone(err) {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if depth == 0 {
			return nil, unix.ELOOP
		}
		if pids, err = listPids(pids, dir+"/"+e.Name(), depth-1); err != nil {
			return nil, err
		}
	}
	return pids, nil
}

// isGone tells whether err says that a cgroup was removed: ENODEV comes from
// reading a file that was opened before.
func isGone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

// KillAll sends sig to every process in the cgroup and below it. For SIGKILL it
// goes on until nobody is left, 2 s at most; the error then says how many do
// not die. The processes of a frozen v1 cgroup get their SIGKILL but die
// only once thawed: that is not waited for. A cgroup that is gone is success.
func (c *Cgroup) KillAll(sig unix.Signal) error {
	err := c.killAll(sig)
	if err != nil {
		return fmt.Errorf("signal cgroup %s: %w", c.groups[c.lead].dir, err)
	}
	return nil
}

func (c *Cgroup) killAll(sig unix.Signal) error {
	if sig != unix.SIGKILL {
		_, err := c.signalEach(sig, time.Time{})
		return err
	}
	end := time.Now().Add(killLimit)
	for {
		atomic := c.killFile()
		n, err := c.signalEach(sig, end)
		switch {
		case err != nil:
			return err
		case n == 0 || c.frozen():
			return nil
		case !time.Now().Before(end):
			return fmt.Errorf("%d processes do not die of SIGKILL (cgroup.kill: %t)", n, atomic)
		}
	}
}

// killFile kills by cgroup.kill, which no fork escapes (v2, Linux 5.14), and
// tells whether it could.
func (c *Cgroup) killFile() bool {
	if c.lead != Unified {
		return false
	}
	f, err := os.OpenFile(c.groups[Unified].dir+"/cgroup.kill", os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.WriteString("1")
	return err == nil
}

// frozen tells whether the processes are stopped by the v1 freezer, under
// which SIGKILL does not work.
func (c *Cgroup) frozen() bool {
	g, ok := c.groups["freezer"]
	if !ok {
		return false
	}
	b, err := os.ReadFile(g.dir + "/freezer.state")
	return err == nil && !bytes.HasPrefix(b, []byte("THAWED"))
}

// awaited is how many deaths are waited for at a time, each with a pidfd: the
// next round sees the others.
const awaited = 32

// signalEach signals each process and returns how many were listed: one that had
// gone when its turn came may have had a child that is not listed yet. With an
// end it then waits for the death of some of them, unless they are frozen.
func (c *Cgroup) signalEach(sig unix.Signal, end time.Time) (int, error) {
	pids, err := c.Pids()
	if err != nil {
		return 0, err
	}
	var failure error
	var fds []unix.PollFd
	for _, pid := range pids {
		fd, err := c.signal(pid, sig)
		switch {
		case err != nil:
			failure = errors.Join(failure, fmt.Errorf("process %d: %w", pid, err))
		case fd < 0:
		case len(fds) < awaited:
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		default:
			unix.Close(fd)
		}
	}
	if failure != nil || c.frozen() {
		end = time.Time{}
	}
	awaitAll(fds, end)
	return len(pids), failure
}

// signal signals pid if it is in the cgroup. It returns its pidfd, which the
// caller closes, or -1 if there was nobody to signal.
func (c *Cgroup) signal(pid int, sig unix.Signal) (fd int, err error) {
	fd, err = unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("open pidfd: %w", err)
	}
	if !c.has(pid) {
		unix.Close(fd)
		return -1, nil
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.ESRCH) {
			return -1, nil
		}
		return -1, err
	}
	return fd, nil
}

// has tells whether pid is in the cgroup. With a pidfd open that tells about
// its process: had that one gone and another come by its pid, the signal would
// reach nobody.
func (c *Cgroup) has(pid int) bool {
	paths, err := c.env.paths(strconv.Itoa(pid))
	if err != nil {
		return false
	}
	p, ok := paths[c.lead]
	return ok && within(p, c.groups[c.lead].path)
}

// awaitAll waits until the processes of all pidfds have died or time is up, and
// closes them.
func awaitAll(fds []unix.PollFd, end time.Time) {
	for i := range fds {
		for left := time.Until(end); left > 0; left = time.Until(end) {
			_, err := unix.Poll(fds[i:i+1], int(left.Milliseconds())+1)
			if err != unix.EINTR {
				break
			}
		}
		unix.Close(int(fds[i].Fd))
	}
}
