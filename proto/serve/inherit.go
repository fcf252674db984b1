package serve

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Inherited is what a shim in serve mode finds open. It owns both files.
type Inherited struct {
	Listener *os.File
	ready    *os.File
}

// Inherit takes over the descriptors of the serve mode: it checks them, makes
// them close-on-exec, and closes every other descriptor above them that came
// along from the launcher by accident (a daemon's files would otherwise stay
// open as long as the container lives).
func Inherit() (*Inherited, error) {
	var st unix.Stat_t
	if err := unix.Fstat(ListenerFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, fmt.Errorf("inherit listener: fd %d is not a socket; serve mode is entered by a launcher, not by hand", ListenerFD)
	}
	if err := unix.Fstat(ReadyFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, fmt.Errorf("inherit ready pipe: fd %d is not a pipe", ReadyFD)
	}
	unix.CloseOnExec(ListenerFD)
	unix.CloseOnExec(ReadyFD)
	// The Go runtime's own descriptors (epoll, eventfd) are made close-on-exec
	// and lie above: only what would survive an exec is foreign. So mark rather
	// than close, then close what is marked and not the runtime's.
	if err := closeStrangers(); err != nil {
		return nil, fmt.Errorf("close inherited descriptors: %w", err)
	}
	if err := unix.SetNonblock(ListenerFD, true); err != nil {
		return nil, fmt.Errorf("inherit listener: %w", err)
	}
	return &Inherited{
		Listener: os.NewFile(ListenerFD, "listener"),
		ready:    os.NewFile(ReadyFD, "ready"),
	}, nil
}

// closeStrangers closes every descriptor above ReadyFD that is not
// close-on-exec. What this process has opened itself is, so the others came
// from the launcher.
func closeStrangers() error {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	buf := make([]byte, 1<<10) // os.ReadDir would take 8 KiB that every shim then has
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			closeStranger(name)
		}
	}
}

// closeStranger is closeStrangers for one entry of /proc/self/fd.
func closeStranger(name string) {
	fd, err := strconv.Atoi(name)
	if err != nil || fd <= ReadyFD {
		return
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err == nil && flags&unix.FD_CLOEXEC == 0 {
		unix.Close(fd)
	}
}

// Ready tells the launcher that the shim serves, and closes the pipe.
func (i *Inherited) Ready() error {
	defer i.ready.Close()
	if _, err := i.ready.Write([]byte{Ready}); err != nil {
		return fmt.Errorf("report ready: %w", err)
	}
	return nil
}

// Fail tells the launcher why the shim will not serve, and closes the pipe.
func (i *Inherited) Fail(err error) {
	_, _ = i.ready.WriteString(err.Error())
	i.ready.Close()
}
