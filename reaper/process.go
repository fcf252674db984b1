package reaper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrExited is returned for an operation that needs a process that is gone.
var ErrExited = errors.New("process has exited")

// Process is a process that was started or adopted. Its methods may be called
// at any time, from any goroutine, also after the exit and after
// [Reaper.Close].
type Process struct {
	reaper *Reaper
	pid    int
	token  uint64 // names p in epoll events; unlike fd it is never used again

	mu sync.Mutex // held over pidfd_send_signal and the like, never over anything that blocks
	fd int        // pidfd, closed by finish; -1 afterwards
	id Identity   // filled on demand while fd is open

	// hint is the raw wait status of a zombie that is not our child, taken
	// from /proc, for kernels that tell nothing once it is reaped. Used by the
	// loop alone.
	hint   uint32
	hinted bool
	exit   Exit          // written before done is closed, read-only afterwards
	done   chan struct{} // closed by finish
}

// PID returns the process id, as our pid namespace numbers it. It is 0 for a
// process that had been reaped before [Reaper.AdoptFD] was given its pidfd.
func (p *Process) PID() int { return p.pid }

// Done returns a channel that is closed when the exit is known, or is known to
// be unknowable.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit returns how the process ended; false while it has not.
func (p *Process) Exit() (Exit, bool) {
	select {
	case <-p.done:
		return p.exit, true
	default:
		return Exit{}, false
	}
}

// Wait waits for the exit. An exit that has happened wins over a ctx that is
// done. The error is ctx's cause.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	if e, ok := p.Exit(); ok {
		return e, nil
	}
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("wait for process %d: %w", p.pid, context.Cause(ctx))
	}
}

// Signal sends sig through the pidfd, so that it reaches this process or
// none. Signal 0 only checks. [ErrExited] is returned once the process has
// been reaped; a zombie takes signals without effect.
func (p *Process) Signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return fmt.Errorf("signal process %d: %w", p.pid, ErrExited)
	}
	err := p.reaper.sys.sendSignal(p.fd, sig)
	if errors.Is(err, unix.ESRCH) {
		err = ErrExited // reaped by its own parent, the hang-up is on its way to us
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// PidFD returns a new descriptor for the process, close-on-exec, owned by the
// caller: for handing it to somebody who shall know the process when we are
// gone. [ErrExited] once the exit is known.
func (p *Process) PidFD() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return nil, fmt.Errorf("duplicate pidfd of process %d: %w", p.pid, ErrExited)
	}
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate pidfd of process %d: %w", p.pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Identity returns what tells this process from any other that had or will
// have the same pid. For an adopted process it is taken at adoption. For a
// started one it is taken at the first call, and StartTime and Inode are 0
// if the process had been reaped by then.
func (p *Process) Identity() Identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 && p.id.StartTime == 0 {
		p.id = p.reaper.identify(p.pid, p.fd)
	}
	id := p.id
	id.PID = p.pid
	id.BootID = p.reaper.boot
	return id
}

// finish announces the exit and gives the pidfd back. Called once, by the loop
// or, after that has ended, by Close. Who is told by Signal or PidFD that the
// process has exited finds the exit.
func (p *Process) finish(e Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exit = e
	close(p.done)
	unix.Close(p.fd)
	p.fd = -1
}
