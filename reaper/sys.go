package reaper

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sys is the kernel as the reaper sees it. Tests replace single fields.
type sys struct {
	forkExec   func(path string, argv []string, attr *syscall.ProcAttr) (int, error)
	pidfdOpen  func(pid, flags int) (int, error)
	pidfdInfo  func(fd int, info *pidfdInfo) error
	sendSignal func(fd int, sig unix.Signal) error
	waitid     func(idType, id int, info *unix.Siginfo, options int, ru *unix.Rusage) error
	epollCtl   func(epfd, op, fd int, event *unix.EpollEvent) error
	now        func() time.Time
	proc       string // where procfs is mounted
}

// linux is the real kernel.
func linux() sys {
	return sys{
		forkExec:   syscall.ForkExec,
		pidfdOpen:  unix.PidfdOpen,
		pidfdInfo:  pidfdGetInfo,
		sendSignal: func(fd int, sig unix.Signal) error { return unix.PidfdSendSignal(fd, sig, nil, 0) },
		waitid:     unix.Waitid,
		epollCtl:   unix.EpollCtl,
		now:        time.Now,
		proc:       "/proc",
	}
}

// pidfdInfo is struct pidfd_info of linux/pidfd.h in its first version, 64
// bytes (Linux 6.13; exitCode since 6.15). x/sys does not have it.
type pidfdInfo struct {
	mask     uint64
	cgroupID uint64
	pid      uint32
	tgid     uint32
	ppid     uint32
	ids      [8]uint32
	exitCode int32
}

const (
	// ioctlPidfdGetInfo is _IOWR(0xFF, 11, struct pidfd_info), for the version
	// of 64 bytes.
	ioctlPidfdGetInfo = 0xc040ff0b

	infoPID  = 1 << 0 // pid, tgid, ppid are valid
	infoExit = 1 << 3 // exitCode is valid: only after the reap
)

// pidfdGetInfo asks what info.mask names; the kernel answers with the mask of
// what it filled in.
func pidfdGetInfo(fd int, info *pidfdInfo) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlPidfdGetInfo, uintptr(unsafe.Pointer(info)))
	if errno != 0 {
		return errno
	}
	return nil
}

// childInfo is what waitid(2) puts behind the three integers at the head of
// siginfo_t.
type childInfo struct {
	pid    int32
	uid    uint32
	status int32
}

// child returns the part of info that waitid filled in. The union is aligned
// as a pointer is.
func child(info *unix.Siginfo) childInfo {
	const head = 3 * unsafe.Sizeof(int32(0))
	const align = unsafe.Alignof(uintptr(0))
	const offset = (head + align - 1) &^ (align - 1)
	return *(*childInfo)(unsafe.Add(unsafe.Pointer(info), offset))
}

// Values of si_code for SIGCHLD (sigaction(2)).
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// rawStatus puts the wait status together again that waitid took apart.
func rawStatus(code, status int32) uint32 {
	switch code {
	case cldKilled:
		return uint32(status) & 0x7f
	case cldDumped:
		return uint32(status)&0x7f | 0x80
	default: // cldExited
		return uint32(status) & 0xff << 8
	}
}
