package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
)

// Inspect is everything there is to say about a container. Its JSON form is
// stable: members are added, never renamed, removed or given another type
// (testdata/inspect.golden has them all). Those that are always there may be
// null where nothing is known: started, exit, shim, and exit of a process.
type Inspect struct {
	ID        string            `json:"id"`
	Namespace string            `json:"namespace"`
	Bundle    string            `json:"bundle"`
	Status    State             `json:"status"`
	Reason    string            `json:"reason,omitempty"` // why status is unknown
	PID       int               `json:"pid"`              // of the first process, kept after its end; 0 if there is none
	Created   time.Time         `json:"created"`
	Started   *time.Time        `json:"started"` // of the current run
	Labels    map[string]string `json:"labels"`
	Runtime   Runtime           `json:"runtime"` // as the container was created with
	Rootfs    string            `json:"rootfs,omitempty"`
	Mounts    []Mount           `json:"mounts,omitempty"`
	Exit      *InspectExit      `json:"exit"`
	Shim      *InspectShim      `json:"shim"`      // null also if it is dead or does not answer
	Processes []InspectProcess  `json:"processes"` // the first one and execs that were not deleted; empty if status is unknown
}

// InspectExit is an Exit in Inspect.
type InspectExit struct {
	Code       int       `json:"code"`
	Signal     int       `json:"signal"`
	SignalName string    `json:"signal_name,omitempty"`
	Core       bool      `json:"core"`
	Known      bool      `json:"known"`
	Failed     bool      `json:"failed"` // it never came to be
	Reason     string    `json:"reason,omitempty"`
	OOM        bool      `json:"oom"`
	ExitedAt   time.Time `json:"exited_at"`
	UserUsec   int64     `json:"user_usec"`
	SystemUsec int64     `json:"system_usec"`
	MaxRSSKiB  int64     `json:"max_rss_kib"`
}

// InspectShim is the shim of the current run.
type InspectShim struct {
	PID        int       `json:"pid"`
	Version    string    `json:"version"`
	Binary     string    `json:"binary"`
	Generation uint64    `json:"generation"`
	Started    time.Time `json:"started"`
	Goroutines int       `json:"goroutines,omitempty"`
	Fds        int       `json:"fds,omitempty"`
	Address    string    `json:"address"`
}

// InspectProcess is init or an exec.
type InspectProcess struct {
	ID       string       `json:"id"` // the container's for init
	PID      int          `json:"pid"`
	Status   State        `json:"status"`
	Exec     bool         `json:"exec"`
	Terminal bool         `json:"terminal"`
	Exit     *InspectExit `json:"exit"`
}

// Inspect tells everything there is to say. Like Status it reads the disk
// first, asks the shim for at most 2 s, and does not fail over a sick one.
func (c *Container) Inspect(ctx context.Context) (Inspect, error) {
	rec := c.Record()
	in := Inspect{
		ID: c.id, Namespace: c.m.namespace, Bundle: c.dir, Status: StateNone,
		Created: rec.Created, Labels: rec.Labels, Runtime: rec.Runtime, Rootfs: rec.Rootfs, Mounts: rec.Mounts,
		Processes: []InspectProcess{},
	}
	if in.Labels == nil {
		in.Labels = map[string]string{}
	}
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return in, fmt.Errorf("inspect container %s: %w", c.id, ErrNotFound)
	}
	d := c.look()
	if !d.run {
		in.Reason = rec.Problem
		return in, nil
	}
	in.Runtime.Binary = cmp.Or(in.Runtime.Binary, d.task.Runtime.Binary) // the same in every state
	if d.exit != nil {                                                   // nobody needs to be asked
		c.inspectRecords(&in, d)
		return in, nil
	}
	info, err := c.info(ctx)
	switch {
	case err == nil:
		c.inspectInfo(&in, info)
	case errors.Is(err, errors.ErrUnsupported):
		err = c.inspectForeign(ctx, &in)
	}
	if err == nil {
		return in, nil
	}
	if d = c.look(); d.exit != nil { // it ended while we asked
		c.inspectRecords(&in, d)
		return in, nil
	}
	if ctx.Err() != nil {
		return in, fmt.Errorf("inspect container %s: %w", c.id, context.Cause(ctx))
	}
	in.Status, in.Reason, in.PID, in.Started = StateUnknown, err.Error(), d.task.Init.PID, timeOrNil(d.task.StartedAt)
	return in, nil
}

// inspectRecords fills in what the disk says of a run that has ended.
func (c *Container) inspectRecords(in *Inspect, d disk) {
	exit := exitOf(*d.exit)
	in.Status, in.PID, in.Started, in.Exit = StateStopped, d.exit.PID, timeOrNil(d.exit.StartedAt), inspectExit(&exit)
	in.Processes = append(in.Processes, InspectProcess{
		ID: c.id, PID: in.PID, Status: StateStopped, Terminal: d.task.Terminal, Exit: in.Exit,
	})
	for _, id := range c.execRecords() {
		e, err := bundle.ReadExit(filepath.Join(c.dir, bundle.ExecFile(id)))
		if err != nil {
			continue
		}
		exit := exitOf(e)
		in.Processes = append(in.Processes, InspectProcess{ID: id, PID: e.PID, Status: StateStopped, Exec: true, Exit: inspectExit(&exit)})
	}
}

// inspectInfo fills in what a shim of ours says.
func (c *Container) inspectInfo(in *Inspect, info *shimv1.InfoResponse) {
	address, _ := readAddress(c.dir)
	in.Status, in.PID, in.Started = State(info.Status.String()), int(info.Pid), timeOrNil(info.StartedAt.Time())
	in.Exit = c.inspectEnd("", info.Exit)
	in.Shim = &InspectShim{
		PID: int(info.ShimPid), Version: info.Version, Binary: info.Binary, Generation: info.Generation,
		Started: info.Started.Time(), Goroutines: int(info.Goroutines), Fds: int(info.Fds), Address: address,
	}
	in.Processes = append(in.Processes, InspectProcess{
		ID: c.id, PID: in.PID, Status: in.Status, Terminal: c.look().task.Terminal, Exit: in.Exit,
	})
	for _, e := range info.Execs {
		in.Processes = append(in.Processes, InspectProcess{
			ID: e.ExecID, PID: int(e.Pid), Status: State(e.Status.String()), Exec: true, Terminal: e.Terminal, Exit: c.inspectEnd(e.ExecID, e.Exit),
		})
	}
	execs := in.Processes[1:]
	slices.SortFunc(execs, func(a, b InspectProcess) int { return cmp.Compare(a.ID, b.ID) })
}

// inspectForeign fills in what any shim of containerd's can say.
func (c *Container) inspectForeign(ctx context.Context, in *Inspect) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	resp, err := c.link.task().State(ctx, &task.StateRequest{ID: c.id})
	if err != nil {
		return answer(err)
	}
	s := c.process("", 0).statusFrom(resp)
	in.Status, in.PID, in.Exit = s.State, s.PID, inspectExit(s.Exit)
	in.Processes = append(in.Processes, InspectProcess{ID: c.id, PID: s.PID, Status: s.State, Terminal: resp.Terminal, Exit: in.Exit})
	if conn, err := c.link.task().Connect(ctx, &task.ConnectRequest{ID: c.id}); err == nil {
		address, _ := readAddress(c.dir)
		in.Shim = &InspectShim{PID: int(conn.ShimPid), Version: conn.Version, Binary: c.Record().Shim, Address: address}
	}
	if list, err := (&Task{c.process("", 0)}).Pids(ctx); err == nil {
		for _, p := range list {
			if p.ExecID != "" {
				in.Processes = append(in.Processes, InspectProcess{ID: p.ExecID, PID: p.PID, Status: StateRunning, Exec: true})
			}
		}
	}
	return nil
}

// inspectEnd is how a process ended by what its shim says, or by the record,
// which says more; nil if it has not.
func (c *Container) inspectEnd(execID string, s *shimv1.ExitStatus) *InspectExit {
	if s == nil {
		return nil
	}
	exit := exitFromWire(s)
	if e, err := c.process(execID, 0).record(); err == nil {
		exit = exitOf(e)
	}
	return inspectExit(&exit)
}

func inspectExit(e *Exit) *InspectExit {
	if e == nil {
		return nil
	}
	return &InspectExit{
		Code: e.Code, Signal: int(e.Signal), SignalName: signalName(e), Core: e.Core, Known: e.Known, Failed: e.Failed, Reason: e.Reason,
		OOM: e.OOM, ExitedAt: e.ExitedAt, UserUsec: e.User.Microseconds(), SystemUsec: e.System.Microseconds(), MaxRSSKiB: e.MaxRSS,
	}
}

// signalName is "SIGKILL" and the like, "" if no signal killed the process.
func signalName(e *Exit) string {
	if e.Signal == 0 {
		return ""
	}
	return unix.SignalName(e.Signal)
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
