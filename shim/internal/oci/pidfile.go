package oci

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ReadPidFile returns the pid that a runtime wrote into a --pid-file: decimal,
// blanks around it allowed. A missing file is fs.ErrNotExist; an empty or
// strange one is an error that quotes it.
func ReadPidFile(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 64) // bounded: the bundle may be writable by others
	n, err := f.Read(buf)
	if n == 0 && err != nil && !isEOF(err) {
		return 0, err
	}
	pid, err := parsePid(buf[:n])
	if err != nil {
		return 0, fmt.Errorf("read pid file %s: %w", path, err)
	}
	return pid, nil
}

// errNoPid is a pid file without a pid.
var errNoPid = errors.New("not a process id")

func parsePid(b []byte) (int, error) {
	text := string(bytes.TrimSpace(b))
	// Linux never gives out more than 2^22 pids; 1 is nobody's container.
	pid, err := strconv.ParseUint(text, 10, 22)
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%q is %w", text, errNoPid)
	}
	return int(pid), nil
}

// bootTicks is the time since boot in clock ticks, the unit of a process's
// start time in /proc/PID/stat (proc(5)). Linux shows user space 100 a second
// on every architecture that Go runs on.
func bootTicks() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // nothing began before that
	}
	return uint64(ts.Nano()) / 1e7
}
