package container

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/cgroup"
	"golang.org/x/sys/unix"
)

// Kill sends a signal: to init, to every process of the container if all is
// set, or to an exec. Signal 0 asks whether the process is there. It does not
// wait for an operation under way, nor for the signal's effect.
func (c *Container) Kill(ctx context.Context, execID string, sig unix.Signal, all bool) error {
	if sig < 0 || sig > 64 { // signal(7): 1 to 64
		return Faultf(ErrInvalid, "kill: signal %d: invalid argument", sig)
	}
	p, err := c.find(execID)
	if err != nil {
		return err
	}
	fatal := execID == "" && sig == unix.SIGKILL
	c.mu.Lock()
	st, proc, cg, frozen := p.state, p.proc, c.cgroup, c.init.state == paused
	c.doomed = c.doomed || fatal && c.pausing
	c.mu.Unlock()
	all = all && execID == ""
	switch {
	case st == stopped && all:
		return c.killAll(ctx, cg, sig) // whatever init left behind
	case st == stopped || st == deleted:
		return errFinished
	case proc == nil:
		return errNotCreated
	case execID == "" && !c.signalsDirectly():
		return c.killByRuntime(ctx, sig, all)
	}
	if all {
		err = c.killAll(ctx, cg, sig)
	} else {
		err = proc.Signal(sig)
	}
	switch {
	case errors.Is(err, reaper.ErrExited):
		return errFinished
	case err != nil:
		return fmt.Errorf("kill: %w", err)
	}
	if frozen && fatal { // an exec's death has to wait for the others' resume
		return c.thawDying(ctx)
	}
	return nil
}

// signalsDirectly reports whether the process that the OCI runtime names is
// itself the container's. A runtime with a kernel of its own names a process
// that stands for the container, and must forward signals itself.
func (c *Container) signalsDirectly() bool {
	switch filepath.Base(c.req.Runtime.Binary) {
	case "runc", "crun", "youki":
		return true
	}
	return false
}

func (c *Container) killByRuntime(ctx context.Context, sig unix.Signal, all bool) error {
	ctx, cancel := begun(ctx, runtimeLimit)
	defer cancel()
	return c.runtimeError(c.runtime.Kill(ctx, c.cfg.ID, sig, all))
}

// killAll signals every process of the container: those of its cgroup, or,
// if it has none of its own, those that the OCI runtime takes for its own.
func (c *Container) killAll(ctx context.Context, cg *cgroup.Cgroup, sig unix.Signal) error {
	var err error
	switch {
	case cg == nil:
		if err = c.killByRuntime(ctx, sig, true); errors.Is(err, ErrNotFound) {
			return nil
		}
	case cg.Exists():
		err = cg.KillAll(sig)
	}
	if err != nil {
		return fmt.Errorf("kill all processes: %w", err)
	}
	return nil
}

// thawDying lets a frozen container take the SIGKILL it was sent: on cgroup v1
// a frozen process does not even die.
func (c *Container) thawDying(ctx context.Context) error {
	c.mu.Lock()
	done := c.thawed
	c.thawed = true
	c.mu.Unlock()
	if done {
		return nil
	}
	ctx, cancel := begun(ctx, runtimeLimit)
	defer cancel()
	err := c.runtime.Resume(ctx, c.cfg.ID)
	c.mu.Lock()
	_, gone := c.init.proc.Exit()
	c.thawed = err == nil || gone
	c.mu.Unlock()
	if err != nil && !gone {
		return fmt.Errorf("thaw the dying container: %w", err)
	}
	return nil
}

// Pause freezes the container. State shows it as pausing while the OCI runtime
// is at it.
func (c *Container) Pause(ctx context.Context) error {
	return c.change(ctx, "pause", evPause, bundle.TopicPaused, c.runtime.Pause)
}

// Resume thaws the container.
func (c *Container) Resume(ctx context.Context) error {
	return c.change(ctx, "resume", evResume, bundle.TopicResumed, c.runtime.Resume)
}

// change runs an operation of the OCI runtime that moves init by e.
func (c *Container) change(ctx context.Context, verb string, e event, topic string, run func(context.Context, string) error) error {
	leave, err := c.alone(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	defer leave()
	from, err := c.allow(verb, func(s state) bool { return s.after(e) != refused })
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.pausing = e == evPause
	c.mu.Unlock()
	ctx, cancel := begun(ctx, runtimeLimit)
	defer cancel()
	want := "running"
	if e == evPause {
		want = "paused"
	}
	err = c.settled(run(ctx, c.cfg.ID), want)
	c.mu.Lock()
	c.pausing = false
	moved := err == nil && c.init.state == from
	if moved {
		c.init.state = from.after(e)
	}
	doomed := moved && e == evPause && c.doomed
	c.mu.Unlock()
	if err != nil {
		return c.outlived(verb, err)
	}
	if moved { // else init ended meanwhile, and that is the news
		c.emit(bundle.Event{Topic: topic})
	}
	if doomed {
		return c.thawDying(ctx)
	}
	return nil
}

// allow checks init's state for an operation that holds the gate.
func (c *Container) allow(verb string, ok func(state) bool) (state, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.init.state
	switch {
	case s == deleted:
		return s, errDeleted
	case s == created && c.init.proc == nil:
		return s, Faultf(ErrState, "cannot %s a container that is not restored yet", verb)
	case !ok(s):
		return s, errVerb(verb, s, "container")
	}
	return s, nil
}
