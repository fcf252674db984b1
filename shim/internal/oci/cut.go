package oci

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/holdfast/holdfast/reaper"
	"golang.org/x/sys/unix"
)

// undone ends what a runtime waits for, a hook or the process it is making, so
// that it fails by itself and undoes what it has done: killed, it would leave a
// cgroup and a directory that makes its id unusable. ok is false if it goes on
// all the same.
func undone(p *reaper.Process) (exit reaper.Exit, ok bool) {
	if !killChildren(p.PID()) {
		return exit, false
	}
	grace, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	exit, err := p.Wait(grace)
	return exit, err == nil && (!exit.Known || exit.Status != 0)
}

// killChildren kills the children of our child parent and reports whether there
// were any.
func killChildren(parent int) (any bool) {
	tasks, _ := os.ReadDir("/proc/" + strconv.Itoa(parent) + "/task")
	for _, task := range tasks {
		list, _ := os.ReadFile("/proc/" + strconv.Itoa(parent) + "/task/" + task.Name() + "/children")
		for _, word := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue
			}
			if parentOf(pid) == parent { // the pidfd is the child's then
				any = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil || any
			}
			unix.Close(fd)
		}
	}
	return any
}

// parentOf returns the parent of a process, 0 if that cannot be had: field 4
// of proc_pid_stat(5).
func parentOf(pid int) int {
	raw, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}
