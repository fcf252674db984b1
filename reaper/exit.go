package reaper

import (
	"time"

	"golang.org/x/sys/unix"
)

// codeUnknown is what [Exit.Code] answers when nobody knows the status.
const codeUnknown = 255

// Exit says how a process ended.
type Exit struct {
	// Status is the raw wait status as wait4(2) reports it: exit code in bits
	// 8-15, or the signal in bits 0-6 with 0x80 for a core dump. It is
	// meaningless unless Known.
	Status uint32
	// Known tells whether Status is the kernel's. It is false when the status
	// went to another process and this kernel does not keep it; Reason then
	// says why, and nothing is invented.
	Known  bool
	Reason string
	// At is when the exit was seen here: normally some 0.2 ms after the death,
	// later if this process was not running or not yet watching.
	At time.Time
	// Rusage is what the process and the children it waited for used. It is
	// zero for a process that was not our child: the kernel tells only the
	// parent.
	Rusage Rusage
}

// Rusage is the resource use of an ended process and of the children it waited
// for (getrusage(2)).
type Rusage struct {
	User, System time.Duration
	MaxRSS       int64 // KiB, of the largest of them
}

// Code returns the exit status as a shell gives it in $?: the exit code, or
// 128 plus the signal's number. It is 255 if the status is not Known; a
// caller to whom that matters must look at Known, since a process may well
// exit with 255 itself.
func (e Exit) Code() int {
	ws := unix.WaitStatus(e.Status)
	switch {
	case !e.Known:
		return codeUnknown
	case ws.Signaled():
		return 128 + int(ws.Signal())
	default:
		return ws.ExitStatus()
	}
}

// Signal returns the signal that ended the process, or 0 if it exited by
// itself or the status is not Known.
func (e Exit) Signal() unix.Signal {
	ws := unix.WaitStatus(e.Status)
	if !e.Known || !ws.Signaled() {
		return 0
	}
	return ws.Signal()
}

// Core tells whether the kernel dumped core.
func (e Exit) Core() bool {
	return e.Known && unix.WaitStatus(e.Status).CoreDump()
}

// rusage converts what waitid reported.
func rusage(ru *unix.Rusage) Rusage {
	return Rusage{
		User:   time.Duration(ru.Utime.Nano()),
		System: time.Duration(ru.Stime.Nano()),
		MaxRSS: int64(ru.Maxrss),
	}
}
