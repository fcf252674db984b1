package shim

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deafTo are the signals by which somebody asks a whole service or session to
// end. A container must not lose its shim to that: a shim ends with Shutdown, or
// by itself when it has nothing to serve.
var deafTo = [...]unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE}

// turnDeaf has the kernel drop the signals of deafTo. Package os/signal would do,
// at the price of two threads and 56 KiB of every shim (measured 2026-11), and its
// Ignore is inherited by what we run. This is not: between fork and exec the
// Go runtime gives a child the default action for every signal that it has
// a handler for in its own books (runtime.clearSignalHandlers), which these
// still are.
func turnDeaf() error {
	// struct sigaction of rt_sigaction(2): the handler comes first on every
	// architecture, and all else is zero.
	var ignore [8]uint64
	ignore[0] = 1 // SIG_IGN
	for _, sig := range deafTo {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
		if errno != 0 {
			return fmt.Errorf("ignore signal %d: %w", sig, errno)
		}
	}
	return nil
}
