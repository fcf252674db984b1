package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
)

// Process is what a Task (a container's first process) and an Exec have in
// common: one process with a life and streams. It is safe for concurrent use.
type Process struct {
	c      *Container
	execID string // "" for the first process
	pid    atomic.Int64
}

// process makes the handle of a process; execID is "" for the first one.
func (c *Container) process(execID string, pid int) *Process {
	p := &Process{c: c, execID: execID}
	p.pid.Store(int64(pid))
	return p
}

// String names the process for people.
func (p *Process) String() string {
	if p.execID == "" {
		return "container " + p.c.id
	}
	return "exec " + p.execID + " of container " + p.c.id
}

// ID returns the id of the container for its first process, of the exec for an
// exec.
func (p *Process) ID() string {
	if p.execID == "" {
		return p.c.id
	}
	return p.execID
}

// Container returns the container that the process belongs to.
func (p *Process) Container() *Container { return p.c }

// PID returns the process id on the host, 0 before it is known. It may have
// been recycled when the process has ended: signal with Kill, not with it.
func (p *Process) PID() int { return int(p.pid.Load()) }

// record reads how the process ended; os.ErrNotExist if there is no record.
func (p *Process) record() (bundle.Exit, error) {
	name := bundle.ExitFile
	if p.execID != "" {
		name = bundle.ExecFile(p.execID)
	}
	return bundle.ReadExit(filepath.Join(p.c.dir, name))
}

// call makes a call to the shim within timeout (0 is none) and says of an error
// what was being done to what.
func (p *Process) call(ctx context.Context, verb string, timeout time.Duration, do func(context.Context, *task.Client) error) error {
	limited := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	err := answer(do(limited, p.c.link.task()))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, errLost):
		err = p.lost()
	case errors.Is(err, ErrNotFound):
		// A shim says so of what has ended, and of what never was.
		if _, rerr := p.record(); rerr == nil {
			err = ErrExited
		}
	}
	return fmt.Errorf("%s %v: %w", verb, p, err)
}

// Start runs the program. *StartError if the OCI runtime could not.
func (p *Process) Start(ctx context.Context) error {
	err := p.call(ctx, "start", p.c.m.opt.startTimeout, func(ctx context.Context, shim *task.Client) error {
		resp, err := shim.Start(ctx, &task.StartRequest{ID: p.c.id, ExecID: p.execID})
		if err == nil {
			p.pid.Store(int64(resp.Pid))
		}
		return err
	})
	return p.startError(err)
}

// startError adds what a shell would report, if the shim has recorded that the
// process never came to be.
func (p *Process) startError(err error) error {
	if err == nil {
		return nil
	}
	if e, rerr := p.record(); rerr == nil && e.Failed {
		return &StartError{Code: e.Code, Err: err}
	}
	return err
}

// Kill sends a signal to the process itself; signal 0 only asks whether it is
// there. ErrExited if it has ended, ErrState if it was not started (an exec).
func (p *Process) Kill(ctx context.Context, sig syscall.Signal) error {
	return p.kill(ctx, sig, false)
}

func (p *Process) kill(ctx context.Context, sig syscall.Signal, all bool) error {
	return p.call(ctx, "kill", p.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.Kill(ctx, &task.KillRequest{ID: p.c.id, ExecID: p.execID, Signal: uint32(sig), All: all})
		return err
	})
}

// ResizeTTY sets the size of the process's terminal.
func (p *Process) ResizeTTY(ctx context.Context, s Size) error {
	return p.call(ctx, "resize terminal of", p.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.ResizePty(ctx, &task.ResizePtyRequest{
			ID: p.c.id, ExecID: p.execID, Width: uint32(s.Width), Height: uint32(s.Height),
		})
		return err
	})
}

// CloseStdin lets the process read to the end of what was sent to it, and then
// end of file.
func (p *Process) CloseStdin(ctx context.Context) error {
	return p.call(ctx, "close stdin of", p.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.CloseIO(ctx, &task.CloseIORequest{ID: p.c.id, ExecID: p.execID, Stdin: true})
		return err
	})
}

// Wait blocks until the process has ended, or ctx. It survives a lost
// connection: what is recorded on disk counts, and else the shim is asked once
// more. ErrShimDead if nobody can tell.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	var err error
	for range 2 {
		e, rerr := p.record()
		if rerr == nil {
			return p.ended(exitOf(e)), nil
		}
		if !errors.Is(rerr, fs.ErrNotExist) {
			return Exit{}, fmt.Errorf("wait for %v: %w", p, rerr)
		}
		var exit Exit
		if exit, err = p.askExit(ctx); err == nil {
			return p.ended(exit), nil
		}
		if ctx.Err() != nil {
			return Exit{}, fmt.Errorf("wait for %v: %w", p, context.Cause(ctx))
		}
		if !errors.Is(err, errLost) {
			break
		}
	}
	if e, rerr := p.record(); rerr == nil {
		return p.ended(exitOf(e)), nil
	}
	if errors.Is(err, errLost) {
		err = p.lost()
	}
	return Exit{}, fmt.Errorf("wait for %v: %w", p, err)
}

// askExit asks the shim, in the words it knows.
func (p *Process) askExit(ctx context.Context) (Exit, error) {
	st, err := p.c.link.shim().Exit(ctx, &shimv1.ExitRequest{ID: p.c.id, ExecID: p.execID})
	if err == nil {
		return exitFromWire(st), nil
	}
	if err = answer(err); !errors.Is(err, errors.ErrUnsupported) {
		return Exit{}, err
	}
	w, err := p.c.link.task().Wait(ctx, &task.WaitRequest{ID: p.c.id, ExecID: p.execID})
	if err != nil {
		return Exit{}, answer(err)
	}
	return Exit{Code: int(w.ExitStatus), Known: true, ExitedAt: w.ExitedAt.Time()}, nil
}

// ended notes that the process has ended: after the first one, a connection
// would only keep the shim from leaving.
func (p *Process) ended(e Exit) Exit {
	if p.execID == "" {
		p.c.link.retire()
	}
	return e
}
