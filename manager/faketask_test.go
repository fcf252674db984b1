package manager_test

import (
	"context"
	"os"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// fakeTask is the task service of a fakeShim. Methods that no test needs are
// nil, and Lookup's caller would crash the test.
type fakeTask struct{ s *fakeShim }

var _ task.Service = fakeTask{}

func (f fakeTask) Create(_ context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.create = r
	if err := s.options.Unmarshal(r.Options.Value); err != nil {
		return nil, err
	}
	s.procs[""] = &fakeProc{state: types.StatusCreated, exited: make(chan struct{})}
	return &task.CreateTaskResponse{Pid: 1000}, bundle.WriteTask(bundle.Task{
		ID: r.ID, Namespace: s.req.Namespace, Bundle: s.req.Bundle, Phase: bundle.PhaseCreated,
		Stdout: r.Stdout, Stdin: r.Stdin, Stderr: r.Stderr, Terminal: r.Terminal,
		Init: bundle.Process{PID: 1000}, CreatedAt: time.Now(),
	})
}

func (f fakeTask) State(_ context.Context, r *task.StateRequest) (*task.StateResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find(r.ExecID)
	if err != nil {
		return nil, err
	}
	return &task.StateResponse{ID: r.ID, ExecID: r.ExecID, Pid: 1000, Status: p.state, ExitStatus: uint32(p.exit.Code)}, nil
}

func (f fakeTask) Start(_ context.Context, r *task.StartRequest) (*task.StartResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find(r.ExecID)
	if err != nil {
		return nil, err
	}
	p.state = types.StatusRunning
	return &task.StartResponse{Pid: 1000}, nil
}

func (f fakeTask) Kill(_ context.Context, r *task.KillRequest) (*types.Empty, error) {
	f.s.mu.Lock()
	p, err := f.s.find(r.ExecID)
	f.s.kills = append(f.s.kills, r)
	f.s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if p.state == types.StatusStopped {
		return nil, wire.Errorf(wire.NotFound, "process already finished: not found")
	}
	if r.Signal == 9 {
		f.s.exit(r.ExecID, 9)
	}
	return &types.Empty{}, nil
}

func (f fakeTask) Delete(_ context.Context, r *task.DeleteRequest) (*task.DeleteResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find(r.ExecID)
	if err != nil {
		return nil, err
	}
	if p.state == types.StatusRunning {
		return nil, wire.Errorf(wire.FailedPrecondition, "cannot delete a running process")
	}
	delete(f.s.procs, r.ExecID)
	return &task.DeleteResponse{}, nil
}

func (f fakeTask) Exec(_ context.Context, r *task.ExecProcessRequest) (*types.Empty, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.s.procs[r.ExecID] != nil {
		return nil, wire.Errorf(wire.AlreadyExists, "id %s: already exists", r.ExecID)
	}
	f.s.procs[r.ExecID] = &fakeProc{state: types.StatusCreated, exited: make(chan struct{}), stdin: r.Spec.Value}
	return &types.Empty{}, nil
}

func (f fakeTask) setState(from, to types.Status, verb string) (*types.Empty, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find("")
	if err != nil {
		return nil, err
	}
	if p.state != from {
		return nil, wire.Errorf(wire.FailedPrecondition, "cannot %s a %s container", verb, p.state)
	}
	p.state = to
	return &types.Empty{}, nil
}

func (f fakeTask) Pause(context.Context, *task.PauseRequest) (*types.Empty, error) {
	return f.setState(types.StatusRunning, types.StatusPaused, "pause")
}

func (f fakeTask) Resume(context.Context, *task.ResumeRequest) (*types.Empty, error) {
	return f.setState(types.StatusPaused, types.StatusRunning, "resume")
}

func (f fakeTask) Pids(context.Context, *task.PidsRequest) (*task.PidsResponse, error) {
	return &task.PidsResponse{Processes: []*types.ProcessInfo{{Pid: 1000}}}, nil
}

func (f fakeTask) Connect(context.Context, *task.ConnectRequest) (*task.ConnectResponse, error) {
	return &task.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: 1000}, nil
}

func (f fakeTask) Shutdown(context.Context, *task.ShutdownRequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) Wait(ctx context.Context, r *task.WaitRequest) (*task.WaitResponse, error) {
	e, err := fakeV1(f).Exit(ctx, &shimv1.ExitRequest{ID: r.ID, ExecID: r.ExecID})
	if err != nil {
		return nil, err
	}
	return &task.WaitResponse{ExitStatus: e.Code, ExitedAt: e.ExitedAt}, nil
}

var errNotFaked = wire.Errorf(wire.Internal, "not faked")

func (f fakeTask) Checkpoint(context.Context, *task.CheckpointTaskRequest) (*types.Empty, error) {
	return nil, errNotFaked
}

func (f fakeTask) ResizePty(context.Context, *task.ResizePtyRequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) CloseIO(context.Context, *task.CloseIORequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) Update(context.Context, *task.UpdateTaskRequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) Stats(context.Context, *task.StatsRequest) (*task.StatsResponse, error) {
	return nil, errNotFaked
}
