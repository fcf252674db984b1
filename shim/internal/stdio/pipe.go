package stdio

import (
	"os"

	"golang.org/x/sys/unix"
)

// owner is who the pipes belong to inside the container.
type owner struct{ uid, gid int }

// own gives the pipe to the container's user, who may then reopen it through
// /dev/stdout. 0:0 is left alone: it is who we are, or cannot be had.
func (o owner) own(fd int) error {
	if o == (owner{}) {
		return nil
	}
	return os.NewSyscallError("fchown", unix.Fchown(fd, o.uid, o.gid))
}

// outputPipe makes the pipe of an output: our read end, and the container's end.
// The latter is another description, O_RDWR: see the package's doc.
func outputPipe(o owner) (_ *source, _ *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	end, err := open(procPath(p[1]), unix.O_RDWR)
	unix.Close(p[1])
	if err != nil {
		unix.Close(p[0])
		return nil, nil, &os.PathError{Op: "open", Path: procPath(p[1]), Err: err}
	}
	child := os.NewFile(uintptr(end), "pipe")
	ours := os.NewFile(uintptr(p[0]), "pipe")
	src, err := newSource(ours, p[0])
	if err == nil {
		err = o.own(end)
	}
	if err != nil {
		ours.Close()
		child.Close()
		return nil, nil, err
	}
	return src, child, nil
}

// inputPipe makes the pipe of stdin: our write end, and the container's end.
// The latter stays blocking: the flag belongs to each end's description.
func inputPipe(o owner) (ours, child *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	err = os.NewSyscallError("fcntl", unix.SetNonblock(p[1], true))
	if err == nil {
		err = o.own(p[0])
	}
	if err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[1]), "pipe"), os.NewFile(uintptr(p[0]), "pipe"), nil
}
