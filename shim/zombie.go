package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/holdfast/holdfast/reaper"
	"golang.org/x/sys/unix"
)

// awaitDeath waits until p has died, be it reaped or a zombie, and returns what is
// known of how. It is for the delete action, whose processes are orphans: who
// reaps them may take its time or, as the first process of many a container, never
// do it. It blocks a thread.
func awaitDeath(ctx context.Context, p *reaper.Process) (reaper.Exit, error) {
	pidfd, err := p.PidFD()
	if errors.Is(err, reaper.ErrExited) {
		e, _ := p.Exit()
		return e, nil
	}
	if err != nil {
		return reaper.Exit{}, err
	}
	defer pidfd.Close()
	if err := pollPidFD(ctx, int(pidfd.Fd())); err != nil {
		return reaper.Exit{}, fmt.Errorf("wait for process %d: %w", p.PID(), err)
	}
	if status, ok := zombieStatus(p.PID()); ok && p.Signal(0) == nil { // it was about p
		return reaper.Exit{Status: status, Known: true, At: time.Now()}, nil
	}
	return p.Wait(ctx) // reaped by now, or about to be
}

// pollPidFD waits until the process of a pidfd has died.
func pollPidFD(ctx context.Context, fd int) error {
	for {
		left := -1
		if end, ok := ctx.Deadline(); ok {
			left = max(int(time.Until(end)/time.Millisecond), 0)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, left)
		switch {
		case n > 0:
			return nil
		case err == nil:
			return context.DeadlineExceeded
		case err != unix.EINTR:
			return err
		}
	}
}

// zombieStatus returns the raw wait status of a zombie, the last field of
// /proc/PID/stat (proc(5)). It reads as 0 for who may not trace the process, which
// must not pass for a success.
func zombieStatus(pid int) (uint32, bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	_, state, _ := bytes.Cut(raw[bytes.LastIndexByte(raw, ')')+1:], []byte(" "))
	last := raw[bytes.LastIndexByte(raw, ' ')+1:]
	status, err := strconv.ParseUint(string(bytes.TrimSpace(last)), 10, 32)
	return uint32(status), err == nil && status != 0 && bytes.HasPrefix(state, []byte("Z"))
}
