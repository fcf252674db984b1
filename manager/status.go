package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
)

// State is where a container's task is in its life.
type State string

// States. Unknown comes with a reason: the shim is dead or does not answer.
const (
	StateNone    State = "none"    // no task
	StateCreated State = "created" // made, not started
	StateRunning State = "running"
	StatePausing State = "pausing"
	StatePaused  State = "paused"
	StateStopped State = "stopped"
	StateUnknown State = "unknown"
)

// Status tells how a container or a process of it fares.
type Status struct {
	State     State
	PID       int    // on the host; kept after exit; 0 if there is none
	Reason    string // why State is StateUnknown
	Err       error  // the same, to test with errors.Is (ErrShimDead, ErrTimeout)
	Exit      *Exit  // if StateStopped
	CreatedAt time.Time
	StartedAt time.Time
}

// states are all there are.
func states() []State {
	return []State{StateNone, StateCreated, StateRunning, StatePausing, StatePaused, StateStopped, StateUnknown}
}

// statusTimeout bounds what one sick shim can cost somebody who only looks.
const statusTimeout = 2 * time.Second

// disk is what the bundle says about the container's run, without asking
// anybody.
type disk struct {
	run  bool         // there is one
	task bundle.Task  // zero if its shim keeps no record (foreign)
	exit *bundle.Exit // how init ended, nil if it has not or nobody knows
	err  error        // a record that cannot be read; run is true then
}

// look reads the bundle. The exit record is read first: it outlives the task's.
func (c *Container) look() disk {
	var d disk
	switch e, err := bundle.ReadExit(filepath.Join(c.dir, bundle.ExitFile)); {
	case err == nil:
		d.run, d.exit = true, &e
	case !errors.Is(err, fs.ErrNotExist):
		d.run, d.err = true, err
	}
	switch t, err := bundle.ReadTask(c.dir); {
	case err == nil:
		d.run, d.task = true, t
	case !errors.Is(err, fs.ErrNotExist):
		d.run, d.err = true, err
	case !d.run && c.foreign():
		_, err := readAddress(c.dir)
		d.run = err == nil
	}
	return d
}

func (c *Container) foreign() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec.Foreign
}

// Status tells how the container fares: from disk if it has stopped, else by
// asking its shim for at most 2 s. A dead or silent shim is no error but
// StateUnknown with a reason.
func (c *Container) Status(ctx context.Context) (Status, error) {
	return c.process("", 0).Status(ctx)
}

// Status tells how the process fares; see Container.Status. ErrNotFound for an
// exec that was deleted.
func (p *Process) Status(ctx context.Context) (Status, error) {
	if _, err := os.Stat(p.c.dir); errors.Is(err, fs.ErrNotExist) {
		return Status{}, fmt.Errorf("status of %v: %w", p, ErrNotFound)
	}
	if s, ok := p.statusOnDisk(); ok {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(statusTimeout, p.c.m.opt.callTimeout))
	defer cancel()
	var resp *task.StateResponse
	err := p.c.ask(func() (err error) {
		resp, err = p.c.link.task().State(ctx, &task.StateRequest{ID: p.c.id, ExecID: p.execID})
		return err
	})
	if err == nil {
		return p.statusFrom(resp), nil
	}
	// It may have ended while we asked.
	if s, ok := p.statusOnDisk(); ok {
		return s, nil
	}
	if p.execID != "" && errors.Is(err, ErrNotFound) {
		return Status{}, fmt.Errorf("status of %v: %w", p, ErrNotFound)
	}
	if errors.Is(err, errLost) {
		err = p.lost()
	}
	if errors.Is(err, context.Canceled) {
		return Status{}, fmt.Errorf("status of %v: %w", p, err)
	}
	return p.unknown(err), nil
}

// statusOnDisk answers what needs no shim.
func (p *Process) statusOnDisk() (Status, bool) {
	if p.execID != "" {
		e, err := p.record()
		if err != nil {
			return Status{}, false
		}
		return stoppedStatus(e), true
	}
	d := p.c.look()
	switch {
	case d.exit != nil:
		return stoppedStatus(*d.exit), true
	case !d.run:
		return Status{State: StateNone}, true
	case d.err != nil:
		return p.unknown(d.err), true
	}
	return Status{}, false
}

func stoppedStatus(e bundle.Exit) Status {
	exit := exitOf(e)
	return Status{State: StateStopped, PID: e.PID, Exit: &exit, CreatedAt: e.CreatedAt, StartedAt: e.StartedAt}
}

// statusFrom is what the shim says, with the times from its record.
func (p *Process) statusFrom(resp *task.StateResponse) Status {
	s := Status{State: State(resp.Status.String()), PID: int(resp.Pid)}
	if p.execID == "" {
		d := p.c.look()
		s.CreatedAt, s.StartedAt = d.task.CreatedAt, d.task.StartedAt
	}
	if resp.Status == types.StatusStopped {
		exit := Exit{Code: int(resp.ExitStatus), Known: true, ExitedAt: resp.ExitedAt.Time()}
		if e, err := p.record(); err == nil {
			exit = exitOf(e)
		}
		s.Exit = &exit
	}
	return s
}

// unknown is the status of a process nobody can be asked about.
func (p *Process) unknown(err error) Status {
	s := Status{State: StateUnknown, Reason: err.Error(), Err: err}
	if p.execID == "" {
		t := p.c.look().task
		s.PID, s.CreatedAt, s.StartedAt = t.Init.PID, t.CreatedAt, t.StartedAt
	}
	return s
}

// ask puts a question to the shim whose answer changes nothing, and puts it
// again if a connection that was made earlier turned out to be gone.
func (c *Container) ask(question func() error) error {
	err := answer(question())
	if errors.Is(err, errLost) {
		err = answer(question())
	}
	return err
}

// lost says what it means that nobody answers at the shim's address.
func (p *Process) lost() error {
	if _, err := p.record(); err == nil {
		return ErrExited
	}
	d := p.c.look()
	switch {
	case !d.run:
		return ErrNoTask
	case d.exit != nil:
		return ErrExited
	case d.task.Init.BootID != "" && d.task.Init.BootID != bootID():
		return fmt.Errorf("%w: the machine was restarted", ErrShimDead)
	case d.task.ShimPID != 0:
		return fmt.Errorf("%w (it was process %d)", ErrShimDead, d.task.ShimPID)
	default:
		return ErrShimDead
	}
}

// bootID names this boot of the machine, "" if the kernel does not tell.
func bootID() string {
	raw, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw))
}
