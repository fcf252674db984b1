package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/shim/internal/mount"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"golang.org/x/sys/unix"
)

// Delete forgets a process that has ended, or never started. Of init it leaves
// the exit record and nothing else.
//
// What must not be left undone does not run on the caller's time: a client that
// gives up after ten seconds must not leave a mount behind.
func (c *Container) Delete(ctx context.Context, execID string) (bundle.Exit, error) {
	if execID != "" {
		return c.deleteExec(ctx, execID)
	}
	leave, err := c.alone(ctx)
	if err != nil {
		return bundle.Exit{}, fmt.Errorf("delete: %w", err)
	}
	defer leave()
	if err := c.endCreated(ctx); err != nil {
		return bundle.Exit{}, err
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), runtimeLimit)
	defer cancel()
	if err := c.teardown(own); err != nil {
		return bundle.Exit{}, err
	}
	c.init.flush(ctx, flushTime(ctx, c.init))
	c.finishRecord()
	c.forget()

	c.mu.Lock()
	rec := c.init.exit
	c.mu.Unlock()
	c.emit(rec.Event(bundle.TopicDelete))
	c.cfg.Changed()
	return rec, nil
}

// flushTime bounds the wait for output, and leaves the caller a second of its
// own deadline for the answer.
func flushTime(ctx context.Context, p *process) time.Duration {
	limit := drainLimit
	if p.streams.Terminal {
		limit = terminalLimit
	}
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)-time.Second)
	}
	return max(limit, 0)
}

// endCreated makes sure that init has ended: one that was never started is
// killed, one that runs is a refusal.
func (c *Container) endCreated(ctx context.Context) error {
	c.mu.Lock()
	s, proc, over := c.init.state, c.init.proc, c.init.over()
	c.mu.Unlock()
	switch {
	case s == deleted:
		return errDeleted
	case over: // on record maybe, so that the caller knows, and about to be announced
	case s == running || s == paused:
		return errVerb("delete", s, "process")
	case s == created && proc == nil: // an image that was never restored
		return nil
	case s == created:
		_ = proc.Signal(unix.SIGKILL)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*killLimit)
	defer cancel()
	select {
	case <-c.init.announced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("delete: init %d does not die after SIGKILL: %w", proc.PID(), context.Cause(ctx))
	}
}

// teardown undoes Create for a container that has ended: the OCI runtime
// forgets it, the root file system is unmounted, and the record of the run goes
// last. It may be called again after an error. The gate is held.
func (c *Container) teardown(ctx context.Context) error {
	c.mu.Lock()
	torn, cg, restored := c.torn, c.cgroup, c.init.proc != nil
	c.mu.Unlock()
	if torn {
		return nil
	}
	if restored {
		if cg != nil {
			if err := c.killAll(ctx, cg, unix.SIGKILL); err != nil {
				c.cfg.Log("end what init left: %v", err)
			}
		}
		err := c.runtime.Delete(ctx, c.cfg.ID, false)
		if err != nil && !errors.Is(err, oci.ErrNotExist) {
			return err
		}
	}
	if len(c.req.Rootfs) > 0 {
		if err := mount.Unmount(c.path(bundle.RootfsDir)); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	for _, name := range []string{bundle.PidFile, bundle.TaskFile} {
		if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("delete: %w", err)
		}
	}
	c.mu.Lock()
	c.torn = true
	c.mu.Unlock()
	return nil
}

// forget ends the streams of everything and marks init as deleted.
func (c *Container) forget() {
	c.mu.Lock()
	neverRestored := c.init.proc == nil && c.init.state == created
	c.init.state = deleted
	execs := c.execs
	c.execs = make(map[string]*process)
	for _, p := range execs {
		c.neverRan(p)
	}
	c.mu.Unlock()
	for _, p := range execs {
		c.closeOf(p)
	}
	c.closeOf(c.init)
	removeAll(c.path(bundle.ExecsDir))
	if neverRestored {
		close(c.init.exited)
		close(c.init.announced)
	}
}

// neverRan releases those who wait for an exec that was added and never
// started. mu is held.
func (c *Container) neverRan(p *process) {
	if p.state == created && p.proc == nil && !p.isStarting() {
		p.state = p.state.after(evDelete)
		close(p.exited)
		close(p.announced)
	}
}

// Close ends the streams of a container that is over, for a shim that leaves
// although nobody has deleted it.
func (c *Container) Close() {
	c.mu.Lock()
	all := []*process{c.init}
	for _, p := range c.execs {
		all = append(all, p)
	}
	c.mu.Unlock()
	for _, p := range all {
		c.closeOf(p)
	}
}

func (c *Container) closeOf(p *process) {
	if err := p.close(); err != nil {
		c.cfg.Log("close streams of %q: %v", p.execID, err)
	}
}

// deleteExec forgets an exec. When it returns, its outputs are at their end,
// also if a child of it still holds them: clients call Delete to force that.
func (c *Container) deleteExec(ctx context.Context, execID string) (bundle.Exit, error) {
	c.mu.Lock()
	p, err := c.findLocked(execID)
	switch {
	case err != nil:
	case p.adding:
		err = errNoProcess(execID)
	case p.isStarting():
		err = Faultf(ErrState, "cannot delete a process that is being started")
	case p.state == running && !p.over():
		err = errVerb("delete", p.state, "process")
	default:
		c.neverRan(p)
	}
	c.mu.Unlock()
	if err != nil {
		return bundle.Exit{}, err
	}
	<-p.announced // at once or almost: it has ended
	p.flush(ctx, flushTime(ctx, p))
	c.closeOf(p)

	c.mu.Lock()
	if c.execs[execID] != p || p.gone { // somebody else was quicker
		c.mu.Unlock()
		return bundle.Exit{}, errNoProcess(execID)
	}
	p.gone, p.state = true, deleted
	rec := p.exit
	c.mu.Unlock()
	for _, name := range []string{bundle.ExecFile(execID), bundle.ExecPidFile(execID)} {
		if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			c.cfg.Log("delete exec %s: %v", execID, err)
		}
	}
	if rec.PID != 0 {
		c.emit(rec.Event(bundle.TopicDelete))
	}
	// Only now is the id free: the files and the news of the next one come later.
	c.mu.Lock()
	if c.execs[execID] == p {
		delete(c.execs, execID)
	}
	c.mu.Unlock()
	return rec, nil
}

// mkdir makes a directory of ours, private, unless it is there.
func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// removeAll removes a directory of ours that holds files only.
func removeAll(dir string) { _ = os.RemoveAll(dir) }
