package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exec launches shims as processes of their own. They are children of the
// calling process until it ends and of its subreaper or of init from then on;
// while the caller lives, Exec reaps them.
type Exec struct{}

// Child is a shim started by Exec.
type Child struct {
	pid   int
	ready *os.File // read end of the ready pipe
	err   error
	up    chan struct{} // closed when ready has said something
	done  chan struct{}
}

// Launch implements Launcher. It returns as soon as the shim's process exists.
func (Exec) Launch(_ context.Context, r Request) (Launched, error) {
	return Start(r)
}

// Start runs the shim r.Binary in serve mode; see the package comment for what
// it inherits.
func Start(r Request) (_ *Child, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	defer null.Close()
	log := r.Log
	if log == nil {
		log = null
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	defer readyW.Close()

	pidfd := -1
	pid, err := syscall.ForkExec(r.Binary, Args(r), &syscall.ProcAttr{
		Dir:   r.Bundle,
		Env:   Env(os.Environ()),
		Files: []uintptr{null.Fd(), null.Fd(), rawFD(log), rawFD(r.Listener), readyW.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	})
	runtime.KeepAlive(r.Listener) // or a finalizer could have closed the numbers
	runtime.KeepAlive(log)
	if err != nil {
		readyR.Close()
		return nil, fmt.Errorf("start shim %s: %w", r.Binary, err)
	}
	c := &Child{pid: pid, ready: readyR, up: make(chan struct{}), done: make(chan struct{})}
	go c.reap(pidfd)
	go c.listen()
	return c, nil
}

// rawFD returns f's descriptor without making it blocking, as f.Fd would: the
// flag belongs to the open file, and the shim wants its socket and its log, where
// that is a FIFO, nonblocking.
func rawFD(f *os.File) uintptr {
	fd := ^uintptr(0) // closed in the child
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(u uintptr) { fd = u })
	}
	return fd
}

// Args is the command line of the serve mode. It starts with the binary's path,
// because operators look for "containerd-shim" in process lists.
func Args(r Request) []string {
	args := []string{r.Binary, "-namespace", r.Namespace, "-id", r.ID, "-bundle", r.Bundle}
	if r.Publish != "" {
		args = append(args, "-publish", r.Publish)
	}
	if r.Debug {
		args = append(args, "-debug")
	}
	return args
}

// Env returns environ as a shim should have it: one processor for the Go
// runtime, which halves what its scheduler costs in private memory and can only
// be had from the environment. The shim takes the variable out again before it
// runs anything.
func Env(environ []string) []string {
	env := make([]string, 0, len(environ)+1)
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "GOMAXPROCS=") {
			env = append(env, kv)
		}
	}
	return append(env, "GOMAXPROCS=1")
}

// PID returns the shim's process id, valid until Done is closed.
func (c *Child) PID() int { return c.pid }

// Done is closed when the shim has ended and was reaped.
func (c *Child) Done() <-chan struct{} { return c.done }

// Ready implements Launched.
func (c *Child) Ready(ctx context.Context) error {
	select {
	case <-c.up:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("wait for shim %d: %w", c.pid, context.Cause(ctx))
	}
}

// listen reads the ready pipe to its end. It ends with the shim's copy of the
// pipe, which is close-on-exec and closed after start-up.
func (c *Child) listen() {
	defer c.ready.Close()
	defer close(c.up)
	_ = c.ready.SetReadDeadline(time.Now().Add(StartTimeout))
	text, err := io.ReadAll(io.LimitReader(c.ready, 4096))
	switch {
	case string(text) == string(Ready):
	case len(text) > 0:
		c.err = errors.New(strings.TrimSpace(string(text)))
	case err != nil:
		c.err = fmt.Errorf("wait for shim %d: %w", c.pid, err)
	default:
		c.err = fmt.Errorf("wait for shim %d: it ended before it served", c.pid)
	}
}

// reap collects the shim when it ends, so that it does not stay a zombie of a
// long-lived daemon. The pidfd sits in Go's poller: a blocked wait would cost
// a thread for every container.
func (c *Child) reap(pidfd int) {
	defer close(c.done)
	if pidfd < 0 { // a kernel without pidfds; nobody else waits for our child
		waitFor(unix.P_PID, c.pid)
		return
	}
	_ = unix.SetNonblock(pidfd, true)
	f := os.NewFile(uintptr(pidfd), "pidfd")
	defer f.Close()
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Read(func(uintptr) bool { return hasEnded(pidfd) }) // an error: not pollable, so block
	}
	waitFor(unix.P_PIDFD, pidfd)
}

// hasEnded tells whether the process of a pidfd is dead.
func hasEnded(pidfd int) bool {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(p, 0); err != unix.EINTR {
			return n != 0
		}
	}
}

// waitFor waits for a child and returns when it is gone. By its pidfd, because a
// daemon that waits for all its children may have been quicker, and have another
// child of that pid by now; that of a pidfd is ECHILD then.
func waitFor(idType, id int) {
	for unix.Waitid(idType, id, nil, unix.WEXITED, nil) == unix.EINTR {
	}
}
