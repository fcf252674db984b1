package container

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/jsontext"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"github.com/holdfast/holdfast/shim/internal/stdio"
)

// runtimeError turns what the OCI runtime says of something that is gone into
// our own word for it.
func (c *Container) runtimeError(err error) error {
	switch {
	case errors.Is(err, oci.ErrFinished):
		return errFinished
	case errors.Is(err, oci.ErrNotExist):
		return Faultf(ErrNotFound, "no such container: not found")
	}
	return err
}

// outlived is the error of an operation that init's end overtook: what the OCI
// runtime says then is about a container that is not there, in words of its own.
func (c *Container) outlived(verb string, err error) error {
	if err != nil && c.ended() {
		return errVerb(verb, stopped, "container")
	}
	return c.runtimeError(err)
}

// ended reports whether the kernel has said that init is gone.
func (c *Container) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.init.proc == nil {
		return false
	}
	_, gone := c.init.proc.Exit()
	return gone
}

// AddExec promises a process: it gets an id and may be waited for, attached to
// and resized, but does not run before Start.
func (c *Container) AddExec(execID string, spec []byte, s Streams) error {
	if err := bundle.CheckID(execID); err != nil {
		return Faultf(ErrInvalid, "add exec: %v", err)
	}
	if execID == c.cfg.ID {
		// Their exit events could not be told apart: an exit whose id is the
		// container's is init's.
		return Faultf(ErrExists, "id %s: is the container's own: already exists", execID)
	}
	if err := checkExecSpec(spec); err != nil {
		return err
	}
	p := newProcess(execID, s)
	p.spec = append([]byte(nil), spec...)
	p.size = consoleSize(p.spec)
	p.adding = true
	c.mu.Lock()
	err := c.addLocked(p)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.emit(bundle.Event{Topic: bundle.TopicExecAdded, ExecID: execID})
	c.mu.Lock()
	p.adding = false
	c.mu.Unlock()
	return nil
}

func (c *Container) addLocked(p *process) error {
	switch {
	case c.init.state == deleted:
		return errDeleted
	case c.execs[p.execID] != nil:
		return Faultf(ErrExists, "id %s: already exists", p.execID)
	case c.init.state == created && c.init.proc == nil:
		return Faultf(ErrState, "cannot exec in a container that is not restored yet")
	case c.init.state == paused || c.pausing:
		return Faultf(ErrState, "cannot exec in a paused state")
	case c.init.state == stopped:
		return Faultf(ErrState, "cannot exec in a stopped state")
	}
	c.execs[p.execID] = p
	return nil
}

// Update changes the resources of a container that has not ended: resources is
// a LinuxResources object.
func (c *Container) Update(ctx context.Context, resources []byte) error {
	if len(resources) == 0 {
		return Faultf(ErrInvalid, "update: the request has no resources: invalid argument")
	}
	if err := jsontext.Valid(resources); err != nil {
		return Faultf(ErrInvalid, "update: parse resources: %v", err)
	}
	leave, err := c.alone(ctx)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	defer leave()
	if _, err := c.allow("update", func(s state) bool { return s == created || s == running || s == paused }); err != nil {
		return err
	}
	ctx, cancel := begun(ctx, runtimeLimit)
	defer cancel()
	return c.outlived("update", c.runtime.Update(ctx, c.cfg.ID, resources))
}

// CheckpointRequest says how to write an image.
type CheckpointRequest struct {
	// ImagePath is required. An empty WorkPath is a directory in the bundle that is
	// removed afterwards.
	oci.CriuOptions
	ParentPath string
	Exit       bool // the container ends with it
}

// Checkpoint writes the state of all processes to a directory.
func (c *Container) Checkpoint(ctx context.Context, r CheckpointRequest) error {
	if r.ImagePath == "" {
		return Faultf(ErrInvalid, "checkpoint: the request has no image path: invalid argument")
	}
	leave, err := c.alone(ctx)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer leave()
	if _, err := c.allow("checkpoint", func(s state) bool { return s == running || s == paused }); err != nil {
		return err
	}
	work := r.WorkPath
	if work == "" {
		work = c.path("criu-work")
		defer removeAll(work)
	}
	for _, dir := range []string{work, r.ImagePath} {
		if err := mkdir(dir); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	c.mu.Lock()
	c.dumping = r.Exit
	c.mu.Unlock()
	opts := r.CriuOptions
	opts.WorkPath = work
	ctx, cancel := begun(ctx, oci.DefaultCheckpointTimeout)
	defer cancel()
	err = c.runtime.Checkpoint(ctx, oci.CheckpointRequest{
		ID: c.cfg.ID, CriuOptions: opts, ParentPath: r.ParentPath, Exit: r.Exit,
	})
	if err != nil {
		c.mu.Lock()
		c.dumping = false
		c.mu.Unlock()
		c.keepDumpLog(work)
		return c.outlived("checkpoint", err)
	}
	c.emit(bundle.Event{Topic: bundle.TopicCheckpointed, Checkpoint: r.ImagePath})
	return nil
}

// keepDumpLog copies criu's log of a failed checkpoint into the bundle, where
// the error that the caller gets says it is.
func (c *Container) keepDumpLog(work string) {
	raw, err := os.ReadFile(work + "/dump.log")
	if err != nil {
		return
	}
	if err := bundle.WriteFile(c.path("criu-dump.log"), raw); err != nil {
		c.cfg.Log("keep criu's log: %v", err)
	}
}

// Resize sets the size of a terminal; before the process exists it is the size
// the process will find. Without a terminal it does nothing.
func (c *Container) Resize(execID string, size console.Size) error {
	p, err := c.find(execID)
	if err != nil {
		return err
	}
	if !p.streams.Terminal {
		return nil
	}
	c.mu.Lock()
	p.size = size
	st := p.state
	c.mu.Unlock()
	if st == stopped || st == deleted {
		return Faultf(ErrState, "cannot resize a stopped container")
	}
	io := p.opened()
	if io == nil {
		return nil
	}
	if err := io.Resize(size); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return nil
}

// CloseStdin gives a process the end of its input. It may come at any time
// and more than once.
func (c *Container) CloseStdin(execID string) error {
	p, err := c.find(execID)
	if err != nil {
		return err
	}
	if err := p.closeStdin(); err != nil {
		return fmt.Errorf("close stdin: %w", err)
	}
	return nil
}

// Streams returns the streams of a process for a client to attach to, opening
// them if the process has not been started yet.
func (c *Container) Streams(ctx context.Context, execID string) (s *stdio.Stdio, terminal bool, err error) {
	p, err := c.find(execID)
	if err != nil {
		return nil, false, err
	}
	s, err = p.open(ctx, c.stdioConfig(execID, p.streams))
	return s, p.streams.Terminal, err
}
