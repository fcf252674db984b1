package manager

import (
	"context"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The verbs of a task on its container, for callers who have no use for the
// difference. Each is ErrNoTask when there is no run.

// Start is Process.Start of the container's task.
func (c *Container) Start(ctx context.Context) error {
	return c.withTask(ctx, func(t *Task) error { return t.Start(ctx) })
}

// Wait is Process.Wait of the container's task.
func (c *Container) Wait(ctx context.Context) (exit Exit, err error) {
	err = c.withTask(ctx, func(t *Task) error { exit, err = t.Wait(ctx); return err })
	return exit, err
}

// Kill is Process.Kill of the container's task.
func (c *Container) Kill(ctx context.Context, sig syscall.Signal) error {
	return c.withTask(ctx, func(t *Task) error { return t.Kill(ctx, sig) })
}

// KillAll is Task.KillAll.
func (c *Container) KillAll(ctx context.Context, sig syscall.Signal) error {
	return c.withTask(ctx, func(t *Task) error { return t.KillAll(ctx, sig) })
}

// Pause is Task.Pause.
func (c *Container) Pause(ctx context.Context) error {
	return c.withTask(ctx, func(t *Task) error { return t.Pause(ctx) })
}

// Resume is Task.Resume.
func (c *Container) Resume(ctx context.Context) error {
	return c.withTask(ctx, func(t *Task) error { return t.Resume(ctx) })
}

// Pids is Task.Pids.
func (c *Container) Pids(ctx context.Context) (list []ProcessInfo, err error) {
	err = c.withTask(ctx, func(t *Task) error { list, err = t.Pids(ctx); return err })
	return list, err
}

// Update is Task.Update.
func (c *Container) Update(ctx context.Context, r *specs.LinuxResources) error {
	return c.withTask(ctx, func(t *Task) error { return t.Update(ctx, r) })
}

// Stats is Task.Stats.
func (c *Container) Stats(ctx context.Context) (s Stats, err error) {
	err = c.withTask(ctx, func(t *Task) error { s, err = t.Stats(ctx); return err })
	return s, err
}

// Checkpoint is Task.Checkpoint.
func (c *Container) Checkpoint(ctx context.Context, cfg CheckpointConfig) error {
	return c.withTask(ctx, func(t *Task) error { return t.Checkpoint(ctx, cfg) })
}

// Attach is Process.Attach of the container's task.
func (c *Container) Attach(ctx context.Context, cfg AttachConfig) (a *Attachment, err error) {
	err = c.withTask(ctx, func(t *Task) error { a, err = t.Attach(ctx, cfg); return err })
	return a, err
}

// Exec is Task.Exec.
func (c *Container) Exec(ctx context.Context, cfg ExecConfig) (e *Exec, err error) {
	err = c.withTask(ctx, func(t *Task) error { e, err = t.Exec(ctx, cfg); return err })
	return e, err
}

func (c *Container) withTask(ctx context.Context, do func(*Task) error) error {
	t, err := c.Task(ctx)
	if err != nil {
		return err
	}
	return do(t)
}
