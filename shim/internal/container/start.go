package container

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/jsontext"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"golang.org/x/sys/unix"
)

// Start starts init ("") or an exec and returns its pid. When it returns nil
// the start event is out, and no exit event has been before it.
func (c *Container) Start(ctx context.Context, execID string) (pid int, err error) {
	p, err := c.find(execID)
	if err != nil {
		return 0, err
	}
	weight := int64(everybody)
	if execID != "" {
		weight = 1
	}
	leave, err := c.enter(ctx, weight)
	if err != nil {
		return 0, fmt.Errorf("start: %w", err)
	}
	defer leave()
	if err := c.beginStart(p); err != nil {
		return 0, err
	}
	// Whatever happens now, the exit of p is not announced before this is settled.
	defer c.settleStart(p)
	ctx, cancel := begun(ctx, startLimit)
	defer cancel()
	switch {
	case p.execID != "":
		err = c.startExec(ctx, p)
	case c.req.Checkpoint != "":
		err = c.restore(ctx, p)
	default:
		err = c.settled(c.runtime.Start(ctx, c.cfg.ID), "running")
	}
	if err != nil {
		return 0, err
	}
	return c.started(p), nil
}

// settled looks, after a call of the OCI runtime has failed, whether the
// container is in the state that the call was for all the same: a call that is
// cut short by its deadline or by a signal may have had its effect.
func (c *Container) settled(err error, want string) error {
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	raw, serr := c.runtime.State(ctx, c.cfg.ID)
	if serr != nil {
		return err
	}
	val, _ := jsontext.Get(raw, "status")
	if got, _ := jsontext.String(val); got != want {
		return err
	}
	c.cfg.Log("%v; the container is %s all the same", err, want)
	return nil
}

// beginStart reserves p for a start.
func (c *Container) beginStart(p *process) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.state == deleted && p.execID != "":
		return errNoProcess(p.execID)
	case p.state == deleted:
		return errDeleted
	case p.adding: // nobody has been told that it exists
		return errNoProcess(p.execID)
	case p.isStarting():
		return Faultf(ErrState, "cannot start a process that is being started")
	case p.state.after(evStart) == refused || p.state == paused:
		return errVerb("start", p.state, "process")
	case p.execID != "" && (c.init.state == paused || c.pausing):
		return Faultf(ErrState, "cannot exec in a paused state")
	case p.execID != "" && c.init.state != created && c.init.state != running:
		return errNoInit(c.cfg.ID)
	}
	p.starting, p.triedAt = make(chan struct{}), time.Now()
	return nil
}

func (c *Container) settleStart(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(p.starting)
}

// started moves p on, unless its exit was quicker, and tells.
func (c *Container) started(p *process) (pid int) {
	c.mu.Lock()
	p.startedAt = time.Now()
	if p.state == created {
		p.state = p.state.after(evStart)
	}
	pid = p.pid()
	c.mu.Unlock()
	if p.execID != "" {
		c.emit(bundle.Event{Topic: bundle.TopicExecStarted, ExecID: p.execID, PID: pid})
		return pid
	}
	err := c.record(func(t *bundle.Task) { t.Phase, t.StartedAt = bundle.PhaseStarted, p.startedAt })
	if err != nil {
		c.cfg.Log("%v; the container runs on", err)
	}
	c.emit(bundle.Event{Topic: bundle.TopicStart, PID: pid})
	return pid
}

// startExec runs an exec. An exec that cannot be run is over: it has an exit
// that says so, and Delete forgets it.
func (c *Container) startExec(ctx context.Context, p *process) error {
	proc, err := c.runExec(ctx, p)
	if err != nil {
		if proc == nil {
			c.failStart(p, err)
		}
		if c.ended() {
			return errNoInit(c.cfg.ID)
		}
		return err
	}
	c.mu.Lock()
	late := c.init.state == stopped
	c.mu.Unlock()
	if late { // waitExecs has looked before there was anybody to kill
		_ = proc.Signal(unix.SIGKILL)
	}
	go c.watch(p)
	return nil
}

// runExec has the OCI runtime run p. If it returns a process beside an error,
// that process has been killed and is watched.
func (c *Container) runExec(ctx context.Context, p *process) (*reaper.Process, error) {
	io, err := p.open(ctx, c.stdioConfig(p.execID, p.streams))
	if err != nil {
		return nil, err
	}
	sock, err := c.consoleSocket(p)
	if err != nil {
		return nil, err
	}
	if sock != nil {
		defer sock.Close()
	}
	c.mu.Lock()
	size := p.size
	c.mu.Unlock()
	spec, err := execSpec(p.spec, p.streams.Terminal, size)
	if err != nil {
		return nil, err
	}
	if err := mkdir(c.path(bundle.ExecsDir)); err != nil {
		return nil, err
	}
	proc, err := c.runtime.Exec(ctx, oci.ExecRequest{
		ID: c.cfg.ID, ProcessJSON: spec, PidFile: c.path(bundle.ExecPidFile(p.execID)),
		ConsoleSocket: socketPath(sock), Stdio: io.Child(),
	})
	if err == nil {
		err = c.adopt(ctx, p, proc, io, sock)
	} else if proc != nil { // the OCI runtime failed, but not before it had made one
		c.own(p, proc)
		_ = proc.Signal(unix.SIGKILL)
	}
	if err != nil && proc != nil {
		c.closeOf(p) // nothing relays them, so they would never be drained
		go c.watch(p)
	}
	return proc, err
}

// failStart ends a process that never came to be: an exec, or an image that
// cannot be restored.
func (c *Container) failStart(p *process, cause error) {
	rec := c.recordFailure(p, cause)
	if err := p.close(); err != nil {
		c.cfg.Log("close streams of %q: %v", p.execID, err)
	}
	c.mu.Lock()
	p.state, p.exit = p.state.after(evFail), rec
	c.mu.Unlock()
	close(p.exited)
	close(p.announced) // nothing has started, so there is nothing to announce
}

// recordFailure puts on record that p never came to be, with the status that a
// shell would report.
func (c *Container) recordFailure(p *process, cause error) bundle.Exit {
	rec := bundle.Exit{
		ID: c.cfg.ID, ExecID: p.execID, Failed: true, Code: oci.ExecFailureCode(cause),
		Reason: cause.Error(), CreatedAt: p.createdAt, ExitedAt: time.Now(),
	}
	if err := bundle.WriteExit(c.cfg.Bundle, rec); err != nil {
		c.cfg.Log("%v; the status is kept in memory", err)
	}
	return rec
}

// restore runs the image of a checkpoint as init.
func (c *Container) restore(ctx context.Context, p *process) error {
	io, err := p.open(ctx, c.stdioConfig("", p.streams))
	if err != nil {
		return err
	}
	sock, err := c.consoleSocket(p)
	if err != nil {
		return err
	}
	if sock != nil {
		defer sock.Close()
	}
	work := c.req.CriuWorkPath
	if work == "" {
		work = c.path("criu-work")
		defer removeAll(work)
		if err := mkdir(work); err != nil {
			return err
		}
	}
	proc, err := c.runtime.Restore(ctx, oci.RestoreRequest{
		ID: c.cfg.ID, CriuOptions: c.restoreOptions(work),
		Bundle: c.cfg.Bundle, PidFile: c.path(bundle.PidFile), ConsoleSocket: socketPath(sock),
		NoPivot: c.req.Runtime.NoPivot, Stdio: io.Child(),
	})
	if proc == nil {
		c.failRestore(p, err)
		return err
	}
	if err != nil {
		c.own(p, proc)
		_ = proc.Signal(unix.SIGKILL)
		c.closeOf(p) // as in runExec
		go c.watch(p)
		return err
	}
	id, cg := identity(proc), c.findCgroup(proc.PID())
	if err := c.record(func(t *bundle.Task) { t.Init, c.cgroup = id, cg }); err != nil {
		c.cfg.Log("%v; the container runs on", err)
	}
	if err = c.adopt(ctx, p, proc, io, sock); err != nil {
		c.closeOf(p)
	}
	go c.watch(p)
	return err
}

// failRestore ends a container whose image cannot be restored, and what the
// OCI runtime may have made of it.
func (c *Container) failRestore(p *process, cause error) {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	if err := DeleteOwn(ctx, c.runtime, c.cfg.ID, c.cfg.Bundle); err != nil {
		c.cfg.Log("undo restore: %v; delete will", err)
	}
	c.failStart(p, cause)
	if !c.req.Linger {
		go func() { // it waits for the gate, which our caller holds
			c.retire()
			c.cfg.Changed()
		}()
	}
}

// restoreOptions allows what the checkpoint allowed.
func (c *Container) restoreOptions(work string) oci.CriuOptions {
	o := c.req.Restore
	o.ImagePath, o.WorkPath = c.req.Checkpoint, work
	return o
}

// own makes proc the process of p.
func (c *Container) own(p *process, proc *reaper.Process) {
	c.mu.Lock()
	p.proc = proc
	c.mu.Unlock()
}
