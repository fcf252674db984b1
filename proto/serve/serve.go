// Package serve is the contract between whoever starts a shim and the shim in
// serve mode, drawn once for both ends.
//
//	launcher (manager, or the shim's own "start")        shim, serve mode
//	bind and listen on the socket
//	exec -namespace NS -id ID ... ──────────────────────► cwd = bundle, new session
//	  fd 0, 1  /dev/null
//	  fd 2     the shim's log
//	  fd 3     the listening socket
//	  fd 4     ready pipe, write end                      set up, then
//	           ◄──────────────────────── one byte Ready ─ close, serve
//	           ◄─────────────────── or the error's text ─ close, exit 1
//	  GOMAXPROCS=1, own variables HOLDFAST_*
//
// The launcher need not wait for the ready byte: a connection made before it
// waits in the socket's backlog. It reads the pipe to learn why a shim that
// never answered did not.
//
// A launcher is an interface because a daemon may choose to run the shim in its
// own process; that gives up what a separate process gives (a crash or an
// upgrade of the daemon ends the shim, and with it the exit status of the
// container), and is meant for tests.
package serve

import (
	"context"
	"os"
	"time"
)

// Inherited descriptors of the serve mode.
const (
	ListenerFD = 3
	ReadyFD    = 4
)

// Ready is the byte that says that the shim serves. Anything else that comes
// through the ready pipe is the text of an error.
const Ready = 'R'

// StartTimeout bounds how long a launcher waits for a shim that says nothing.
// Measured start-up is about 1 ms; a machine this slow has other troubles.
const StartTimeout = 20 * time.Second

// Request says what is to be served.
type Request struct {
	Binary    string   // absolute path of the shim; launchers in the own process ignore it
	Namespace string   // containerd namespace, checked with bundle.CheckID
	ID        string   // container id, checked with bundle.CheckID
	Bundle    string   // absolute path of the bundle directory
	Listener  *os.File // listening unix socket; borrowed, may be closed once Launch has returned
	Log       *os.File // the shim's stderr; borrowed; nil is /dev/null
	Publish   string   // ttrpc address of a containerd that wants the events; "" if none
	Debug     bool
}

// Launched is a shim that has been started.
type Launched interface {
	// PID of the process that serves; the caller's own for an in-process shim.
	PID() int
	// Ready waits until the shim says that it serves, or returns the error it
	// reports, or ctx's.
	Ready(ctx context.Context) error
	// Done is closed when the shim has ended (and, if it was a child of this
	// process, has been reaped).
	Done() <-chan struct{}
}

// A Launcher starts shims. It is safe for concurrent use.
type Launcher interface {
	Launch(ctx context.Context, r Request) (Launched, error)
}
