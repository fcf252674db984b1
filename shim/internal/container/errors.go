package container

import (
	"errors"
	"fmt"
)

// What a caller may decide on. Each error of this package is one of these, or a
// failure of the OCI runtime or of the kernel with their own words.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	// ErrState means that the container is not in a state for this, and nothing
	// was done.
	ErrState = errors.New("failed precondition")
	// ErrInvalid means that the request can never succeed.
	ErrInvalid = errors.New("invalid argument")
)

// fault is an error of one of the kinds above whose text is complete without
// the kind's: clients of containerd match on some of these texts, and the
// reference shim leaves the kind out of others.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

// Faultf makes an error of one of the kinds above whose text is complete as it
// stands.
func Faultf(kind error, format string, args ...any) error {
	return &fault{kind: kind, text: fmt.Sprintf(format, args...)}
}

// Errors with the texts that clients know from the reference shim.
var (
	errFinished   = &fault{ErrNotFound, "process already finished: not found"}
	errNotCreated = &fault{ErrState, "process not created: failed precondition"}
	errDeleted    = &fault{ErrNotFound, "container not created: not found"}
)

func errNoProcess(id string) error {
	return Faultf(ErrNotFound, "process does not exist %s: not found", id)
}

func errNoInit(id string) error {
	return Faultf(ErrState, "container %s init process is not running: failed precondition", id)
}

// errVerb is the refusal of the table: "cannot pause a stopped container".
func errVerb(verb string, s state, noun string) error {
	if text, ok := ownWords[[2]string{verb, s.String()}]; ok {
		return &fault{ErrState, text}
	}
	return Faultf(ErrState, "cannot %s a %s %s", verb, s, noun)
}

// ownWords are refusals for which the reference shim has words of their own.
var ownWords = map[[2]string]string{
	{"pause", "created"}:      "cannot pause task in created state",
	{"resume", "created"}:     "cannot resume task in created state",
	{"checkpoint", "created"}: "cannot checkpoint a task in created state",
	{"resume", "running"}:     "cannot resume a running process",
}
