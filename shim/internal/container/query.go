package container

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/internal/cgroup"
)

// Status is what State tells about a process.
type Status struct {
	ExecID    string
	Status    types.Status
	PID       int // stays after the exit; 0 if there never was a process
	Streams   Streams
	CreatedAt time.Time
	StartedAt time.Time
	Exited    bool
	Exit      bundle.Exit // if Exited
}

// State tells about init ("") or an exec.
func (c *Container) State(execID string) (Status, error) {
	if c.spec.sharesPID {
		// Its orphans fall to us, and one that dies while nothing else happens
		// announces itself to nobody.
		c.cfg.Reaper.Sweep()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.findLocked(execID)
	if err != nil {
		return Status{}, err
	}
	return c.statusLocked(p), nil
}

func (c *Container) statusLocked(p *process) Status {
	s := Status{
		ExecID: p.execID, PID: p.pid(), Streams: p.streams,
		CreatedAt: p.createdAt, StartedAt: p.startedAt,
		Exited: p.state == stopped, Exit: p.exit,
	}
	frozen := c.init.state == paused
	switch {
	case p.state == stopped:
		s.Status = types.StatusStopped
	case frozen:
		s.Status = types.StatusPaused
	case c.pausing:
		s.Status = types.StatusPausing
	case p.state == created:
		s.Status = types.StatusCreated
	case p.state == running:
		s.Status = types.StatusRunning
	}
	return s
}

// Execs tells about all execs that have not been deleted, in no order.
func (c *Container) Execs() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Status, 0, len(c.execs))
	for _, p := range c.execs {
		if p.state != deleted {
			list = append(list, c.statusLocked(p))
		}
	}
	return list
}

// Wait waits for the exit of a process. An exit that has happened wins over a
// ctx that is done.
func (c *Container) Wait(ctx context.Context, execID string) (bundle.Exit, error) {
	p, err := c.find(execID)
	if err != nil {
		return bundle.Exit{}, err
	}
	select {
	case <-p.exited:
	default:
		select {
		case <-p.exited:
		case <-ctx.Done():
			return bundle.Exit{}, context.Cause(ctx)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.exit.ID == "" { // deleted without ever having run
		return bundle.Exit{}, errNoProcess(execID)
	}
	return p.exit, nil
}

// A Pid is a process in the container.
type Pid struct {
	PID    int
	ExecID string // if it is the first process of an exec
}

// Pids lists the processes of the container. For a container that has ended
// and is not deleted it is the former pid of init: containerd from 1.7 on takes
// an empty list after its own restart as a sign of a leaked shim, and destroys
// the container together with its exit status.
func (c *Container) Pids(ctx context.Context) ([]Pid, error) {
	c.mu.Lock()
	st, init, cg := c.init.state, c.init.pid(), c.cgroup
	exec := make(map[int]string, len(c.execs))
	for id, p := range c.execs {
		if p.proc != nil && p.state != stopped {
			exec[p.pid()] = id
		}
	}
	c.mu.Unlock()
	switch {
	case st == deleted:
		return nil, errDeleted
	case init == 0:
		return nil, nil
	case st == stopped:
		return []Pid{{PID: init}}, nil
	}
	pids, err := c.pids(ctx, cg)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	list := make([]Pid, 0, len(pids))
	for _, pid := range pids {
		list = append(list, Pid{PID: pid, ExecID: exec[pid]})
	}
	return list, nil
}

// pids reads the cgroup, or asks the OCI runtime about a container that has none
// of its own.
func (c *Container) pids(ctx context.Context, cg *cgroup.Cgroup) ([]int, error) {
	if cg == nil {
		return c.runtime.Pids(ctx, c.cfg.ID)
	}
	return cg.Pids()
}

// Stats returns the metrics of the container's cgroup and their type URL.
func (c *Container) Stats() (wire.Message, string, error) {
	c.mu.Lock()
	st, cg := c.init.state, c.cgroup
	c.mu.Unlock()
	switch {
	case st == deleted:
		return nil, "", errDeleted
	case cg == nil || !cg.Exists():
		return nil, "", Faultf(ErrNotFound, "cgroup does not exist: not found")
	}
	return cg.Stats()
}

// Over reports whether the shim has nothing left to serve: the container was
// deleted, or it ended, was cleaned up, and nobody asked for it to linger.
func (c *Container) Over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.init.state == deleted || c.retired
}

// Live reports whether there is a container that is not deleted.
func (c *Container) Live() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.init.state != deleted
}

// InitPID returns the pid of init, 0 if it has none.
func (c *Container) InitPID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.init.state == deleted {
		return 0
	}
	return c.init.pid()
}

// RuntimeBinary returns the OCI runtime as it was named.
func (c *Container) RuntimeBinary() string { return c.req.Runtime.Binary }
