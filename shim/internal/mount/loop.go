package mount

import (
	"errors"
	"fmt"
	"os"

	"github.com/holdfast/holdfast/proto/types"
	"golang.org/x/sys/unix"
)

// loop mounts a file by way of a loop device, which frees itself when it is
// unmounted.
func loop(target *os.File, m *types.Mount, o options) error {
	dev, err := attach(m.Source, o.has(unix.MS_RDONLY))
	if err != nil {
		return fmt.Errorf("attach %s to a loop device: %w", m.Source, err)
	}
	defer dev.Close() // unless it is mounted by then, the device is free again
	return plain(target, dev.Name(), m.Type, o)
}

// loopTries bounds how often another process may take the free device first.
const loopTries = 100

// attach returns a loop device that is the file, until it is closed and
// unmounted (loop(4), LO_FLAGS_AUTOCLEAR).
func attach(source string, readOnly bool) (*os.File, error) {
	mode, flags := os.O_RDWR, uint32(unix.LO_FLAGS_AUTOCLEAR)
	if readOnly {
		mode, flags = os.O_RDONLY, flags|unix.LO_FLAGS_READ_ONLY
	}
	file, err := os.OpenFile(source, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the device keeps it open
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free one: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), mode|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		if err = configure(dev, file, flags); err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("configure %s: %w", dev.Name(), err)
		}
	}
	return nil, fmt.Errorf("find a free one: %w", unix.EBUSY)
}

// configure binds a file to a device in one step, or in two before Linux 5.8.
func configure(dev, file *os.File, flags uint32) error {
	var info unix.LoopInfo64
	info.Flags = flags
	copy(info.File_name[:len(info.File_name)-1], file.Name())
	err := unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{Fd: uint32(file.Fd()), Info: info})
	if err != unix.EINVAL && err != unix.ENOTTY {
		return err
	}
	if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_FD, int(file.Fd())); err != nil {
		return err
	}
	if err := unix.IoctlLoopSetStatus64(int(dev.Fd()), &info); err != nil {
		return errors.Join(err, unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0))
	}
	return nil
}
