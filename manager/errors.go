package manager

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast/holdfast/proto/wire"
)

// Outcomes that a caller decides on; test with errors.Is. The text of the error
// that wraps them names the object.
var (
	ErrNotFound   = errors.New("not found")              // no such container, exec or process
	ErrExists     = errors.New("already exists")         // the id is taken
	ErrInvalid    = errors.New("invalid")                // an argument, a spec or a record that cannot be
	ErrInvalidID  = errors.New("invalid id")             // see bundle.CheckID
	ErrNoTask     = errors.New("no task")                // the container has not been run, or its last run was deleted
	ErrTaskExists = errors.New("task exists")            // one run at a time; delete the last one first
	ErrState      = errors.New("wrong state")            // e.g. resume of what is not paused
	ErrRunning    = errors.New("still running")          // delete without force
	ErrExited     = errors.New("process has exited")     // signal, resize or attach came too late
	ErrShimDead   = errors.New("shim is dead")           // it ended without a record of the container's exit
	ErrTimeout    = errors.New("shim did not answer")    // alive or not, it missed the deadline
	ErrBusy       = errors.New("locked by someone else") // another manager is creating, running or deleting it
	ErrNoShim     = errors.New("shim binary not found")  // see WithShim
	ErrNoRuntime  = errors.New("OCI runtime not found")  // see WithRuntime
	ErrMounted    = errors.New("mounts remain")          // delete would reach into another file system
	ErrDetached   = errors.New("detached")               // Attachment.Wait after Close
	ErrLagging    = errors.New("fell behind")            // an attach client that was dropped, or a reader of events
)

// StartError says that the OCI runtime could not make a process run.
type StartError struct {
	// Code is what a shell reports: 127 if the program was not found, 126 if it
	// could not be executed, else 255.
	Code int
	Err  error
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

func invalidID(err error) error { return fmt.Errorf("%w: %w", ErrInvalidID, err) }

// said is what a shim answered: its words, and which of our outcomes they are.
type said struct {
	text string
	kind error
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.kind }

// answer turns the error of a call to a shim into one of ours. errLost is left
// for whoever can look at the disk.
func answer(err error) error {
	if err == nil || errors.Is(err, errLost) {
		return err
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%w: %w", ErrTimeout, err)
		}
		return err
	}
	kinds := map[wire.Code]error{
		wire.NotFound: ErrNotFound, wire.AlreadyExists: ErrExists, wire.InvalidArgument: ErrInvalid,
		wire.FailedPrecondition: ErrState, wire.Unimplemented: errors.ErrUnsupported,
		wire.DeadlineExceeded: ErrTimeout,
	}
	text := e.Error()
	if e.Code == wire.Unimplemented && (strings.HasPrefix(text, "service ") || strings.HasPrefix(text, "method ")) {
		text = "its shim cannot do that: it does not offer " + text // ttrpc's bare words; an OCI runtime's explain themselves
	}
	return &said{text: text, kind: kinds[e.Code]}
}
