package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/holdfast/holdfast/manager"
)

// Exit statuses of our own, the same as docker's.
const (
	exitOurs     = 125 // holdfast or something below it failed
	exitCannot   = 126 // the command cannot be executed
	exitNotFound = 127 // there is no such command
)

// status is the exit status of a process that holdfast passes on. It is an
// error only so that it travels where errors do; nothing is printed for it.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func isStatus(err error) bool {
	var s status
	return errors.As(err, &s)
}

// reported is the error of a command that has printed its errors already.
type reported struct{}

func (reported) Error() string { return "some of it did not work" }

// usageError is a command line that cannot be understood.
type usageError struct{ command, text string }

func (u *usageError) Error() string {
	if u.command == "" {
		return u.text
	}
	return u.command + ": " + u.text
}

func usage(command, format string, args ...any) error {
	return &usageError{command, fmt.Sprintf(format, args...)}
}

// notRoot is what all commands that need the state directory say to others.
type notRoot struct {
	root string
	uid  int
}

func (e *notRoot) Error() string {
	return fmt.Sprintf("open %s: only root can run containers, this is uid %d", e.root, e.uid)
}

// hinted carries a hint of its own.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// finish reports err and returns the exit status of holdfast.
func (u *ui) finish(err error) int {
	var (
		s      status
		start  *manager.StartError
		caught *interrupted
	)
	if u.out.lost != nil && (err == nil || isStatus(err)) {
		err = u.out.lost
	}
	switch {
	case err == nil:
		return 0
	case errors.As(err, &s):
		return int(s)
	case errors.As(err, &caught):
		return 128 + int(caught.sig) // as a shell reports it; who interrupts knows
	case errors.As(err, new(reported)):
		return exitOurs
	case errors.Is(err, syscall.EPIPE):
		return 128 + int(syscall.SIGPIPE)
	case errors.As(err, &start) && (start.Code == exitCannot || start.Code == exitNotFound):
		u.fail(err)
		return start.Code
	}
	u.fail(err)
	return exitOurs
}

// fail prints an error, and a hint if there is one.
func (u *ui) fail(err error) {
	u.say("%v", err)
	if hint := hintFor(err); hint != "" {
		u.wipe()
		fmt.Fprintf(u.err, "hint: %s\n", hint)
	}
}

// hintFor returns what may help against err, or "".
func hintFor(err error) string {
	var (
		u *usageError
		h *hinted
		n *notRoot
	)
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.As(err, &n):
		return "run it with sudo"
	case errors.As(err, &u) && u.command == "":
		return "see 'holdfast help'"
	case errors.As(err, &u):
		return "see 'holdfast help " + u.command + "'"
	case errors.Is(err, manager.ErrExited):
		return ""
	case errors.Is(err, manager.ErrNoShim):
		return "install " + manager.DefaultShim + " beside holdfast or in PATH, or name it with --shim"
	case errors.Is(err, manager.ErrNoRuntime):
		return "install runc or crun, or name one with --runtime"
	case errors.Is(err, manager.ErrShimDead):
		return "look at the leftover with 'holdfast inspect', remove it with 'holdfast rm -f'"
	case errors.Is(err, manager.ErrTimeout):
		return "the shim may be stopped or starved; 'holdfast rm -f' ends it and removes the container"
	case errors.Is(err, manager.ErrExists):
		return "take another id, or remove that one with 'holdfast rm'"
	case errors.Is(err, manager.ErrRunning):
		return "end it with 'holdfast kill', or remove it with 'holdfast rm -f'"
	case errors.Is(err, manager.ErrMounted):
		return "unmount what is below the bundle first"
	case errors.Is(err, manager.ErrInvalidID):
		return "an id is at most 76 letters and digits, joined by single '.', '_' or '-'"
	case errors.Is(err, manager.ErrNotFound):
		return "'holdfast ps -a' lists all containers of the namespace"
	case onStream(err):
		return ""
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "choose another state directory with --root"
	}
	return ""
}

// onStream reports whether it is a standard stream that cannot be used.
func onStream(err error) bool {
	e, ok := errors.AsType[*fs.PathError](err)
	return ok && strings.HasPrefix(e.Path, "/dev/std")
}
