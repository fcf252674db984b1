package oci

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// logLimit is how much of the end of a log is read, in bytes. The error is its
// last record; with --debug among the arguments much may stand before it.
const logLimit = 64 << 10

// memfd returns an empty file that has no name (memfd_create(2)). The caller
// closes it.
func memfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create memfd %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// memfdOf returns a memfd with the given content, at offset 0.
func memfdOf(name string, content []byte) (*os.File, error) {
	f, err := memfd(name)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("fill memfd %s: %w", name, err)
	}
	return f, nil
}

// memfdOfSize returns a memfd that cannot grow beyond size bytes: writing more
// fails with EPERM. Its pages take memory only once they are written.
func memfdOfSize(name string, size int64) (*os.File, error) {
	f, err := memfd(name)
	if err != nil {
		return nil, err
	}
	if err = f.Truncate(size); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("limit memfd %s: %w", name, err)
	}
	return f, nil
}

// readTail returns the last logLimit bytes of a file, or what can be read of
// them.
func readTail(f *os.File) []byte {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	start := max(0, info.Size()-logLimit)
	buf := make([]byte, info.Size()-start)
	n, _ := f.ReadAt(buf, start) // a log cut short still explains more than none
	return buf[:n]
}
