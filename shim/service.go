package shim

import (
	"context"
	"os"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/shim/internal/container"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"golang.org/x/sys/unix"
)

// tasks is the task service: decode, one call, encode.
type tasks struct{ *shim }

var empty = &types.Empty{}

// Create makes the container. A shim has one, so a second Create is refused before
// anything is touched.
func (s tasks) Create(ctx context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	req, err := s.createRequest(r)
	if err != nil {
		return nil, status(err)
	}
	settle, err := s.reserve(r.ID)
	if err != nil {
		return nil, status(err)
	}
	c, err := container.Create(ctx, s.containerConfig(), req)
	settle(c)
	if err != nil {
		return nil, status(err)
	}
	return &task.CreateTaskResponse{Pid: uint32(c.InitPID())}, nil
}

func (s tasks) Start(ctx context.Context, r *task.StartRequest) (*task.StartResponse, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	pid, err := c.Start(ctx, r.ExecID)
	if err != nil {
		return nil, status(err)
	}
	return &task.StartResponse{Pid: uint32(pid)}, nil
}

func (s tasks) State(_ context.Context, r *task.StateRequest) (*task.StateResponse, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	st, err := c.State(r.ExecID)
	if err != nil {
		return nil, status(err)
	}
	id := r.ID
	if r.ExecID != "" {
		id = r.ExecID
	}
	return &task.StateResponse{
		ID: id, ExecID: r.ExecID, Bundle: s.cfg.Bundle, Pid: uint32(st.PID), Status: st.Status,
		Stdin: st.Streams.Stdin, Stdout: st.Streams.Stdout, Stderr: st.Streams.Stderr, Terminal: st.Streams.Terminal,
		ExitStatus: exitCode(st.Exit), ExitedAt: types.FromTime(st.Exit.ExitedAt),
	}, nil
}

// exitCode is the code as containerd's messages carry it; 0 before the exit.
func exitCode(e bundle.Exit) uint32 {
	if e.ID == "" {
		return 0
	}
	return uint32(e.Code)
}

func (s tasks) Delete(ctx context.Context, r *task.DeleteRequest) (*task.DeleteResponse, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	e, err := c.Delete(ctx, r.ExecID)
	if err != nil {
		return nil, status(err)
	}
	return &task.DeleteResponse{Pid: uint32(e.PID), ExitStatus: exitCode(e), ExitedAt: types.FromTime(e.ExitedAt)}, nil
}

func (s tasks) Pids(ctx context.Context, r *task.PidsRequest) (*task.PidsResponse, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	pids, err := c.Pids(ctx)
	if err != nil {
		return nil, status(err)
	}
	resp := &task.PidsResponse{Processes: make([]*types.ProcessInfo, 0, len(pids))}
	for _, p := range pids {
		info := &types.ProcessInfo{Pid: uint32(p.PID)}
		if p.ExecID != "" {
			if info.Info, err = pack(options.TypeDetails, &options.ProcessDetails{ExecID: p.ExecID}); err != nil {
				return nil, status(err)
			}
		}
		resp.Processes = append(resp.Processes, info)
	}
	return resp, nil
}

func (s tasks) Pause(ctx context.Context, r *task.PauseRequest) (*types.Empty, error) {
	return s.do(r.ID, func(c *container.Container) error { return c.Pause(ctx) })
}

func (s tasks) Resume(ctx context.Context, r *task.ResumeRequest) (*types.Empty, error) {
	return s.do(r.ID, func(c *container.Container) error { return c.Resume(ctx) })
}

func (s tasks) Kill(ctx context.Context, r *task.KillRequest) (*types.Empty, error) {
	return s.do(r.ID, func(c *container.Container) error {
		return c.Kill(ctx, r.ExecID, signalOf(r.Signal), r.All)
	})
}

// signalOf keeps a number that is too large for a signal from turning into a valid one.
func signalOf(n uint32) unix.Signal { return unix.Signal(min(n, 1<<16)) }

func (s tasks) Exec(_ context.Context, r *task.ExecProcessRequest) (*types.Empty, error) {
	return s.do(r.ID, func(c *container.Container) error {
		return c.AddExec(r.ExecID, valueOf(r.Spec), container.Streams{
			Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
		})
	})
}

func (s tasks) ResizePty(_ context.Context, r *task.ResizePtyRequest) (*types.Empty, error) {
	size := console.Size{Width: uint16(min(r.Width, 1<<16-1)), Height: uint16(min(r.Height, 1<<16-1))}
	return s.do(r.ID, func(c *container.Container) error { return c.Resize(r.ExecID, size) })
}

// CloseIO closes stdin if it is asked to, and else nothing.
func (s tasks) CloseIO(_ context.Context, r *task.CloseIORequest) (*types.Empty, error) {
	return s.do(r.ID, func(c *container.Container) error {
		if !r.Stdin {
			_, err := c.State(r.ExecID)
			return err
		}
		return c.CloseStdin(r.ExecID)
	})
}

func (s tasks) Update(ctx context.Context, r *task.UpdateTaskRequest) (*types.Empty, error) {
	return s.do(r.ID, func(c *container.Container) error { return c.Update(ctx, valueOf(r.Resources)) })
}

func (s tasks) Checkpoint(ctx context.Context, r *task.CheckpointTaskRequest) (*types.Empty, error) {
	return s.do(r.ID, func(c *container.Container) error {
		var o options.CheckpointOptions
		if err := unpack(r.Options, options.TypeCheckpoint, &o); err != nil {
			return err
		}
		criu := criuOptions(&o)
		criu.ImagePath, criu.WorkPath = r.Path, o.WorkPath
		if criu.ImagePath == "" {
			criu.ImagePath = o.ImagePath
		}
		return c.Checkpoint(ctx, container.CheckpointRequest{CriuOptions: criu, ParentPath: o.ParentPath, Exit: o.Exit})
	})
}

func criuOptions(o *options.CheckpointOptions) oci.CriuOptions {
	return oci.CriuOptions{
		OpenTCP: o.OpenTcp, ExternalUnixSockets: o.ExternalUnixSockets, Terminal: o.Terminal,
		FileLocks: o.FileLocks, EmptyNamespaces: o.EmptyNamespaces, CgroupsMode: o.CgroupsMode,
	}
}

func (s tasks) Wait(ctx context.Context, r *task.WaitRequest) (*task.WaitResponse, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	e, err := c.Wait(ctx, r.ExecID)
	if err != nil {
		return nil, status(err)
	}
	return &task.WaitResponse{ExitStatus: exitCode(e), ExitedAt: types.FromTime(e.ExitedAt)}, nil
}

func (s tasks) Stats(_ context.Context, r *task.StatsRequest) (*task.StatsResponse, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	m, url, err := c.Stats()
	if err != nil {
		return nil, status(err)
	}
	stats, err := pack(url, m)
	if err != nil {
		return nil, status(err)
	}
	return &task.StatsResponse{Stats: stats}, nil
}

// Connect always succeeds: daemons use it to see whether the shim lives.
func (s tasks) Connect(context.Context, *task.ConnectRequest) (*task.ConnectResponse, error) {
	resp := &task.ConnectResponse{ShimPid: uint32(os.Getpid()), Version: s.cfg.Version}
	if c := s.current(); c != nil {
		resp.TaskPid = uint32(c.InitPID())
	}
	return resp, nil
}

// Shutdown ends the shim if it has nothing to serve, after this has been
// answered, and else does nothing: daemons call it in passing.
func (s tasks) Shutdown(context.Context, *task.ShutdownRequest) (*types.Empty, error) {
	s.leave()
	return empty, nil
}

// do runs f on the container and answers with Empty.
func (s tasks) do(id string, f func(*container.Container) error) (*types.Empty, error) {
	c, err := s.get(id)
	if err == nil {
		err = f(c)
	}
	if err != nil {
		return nil, status(err)
	}
	return empty, nil
}
