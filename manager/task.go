package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
)

// Size is the size of a terminal in characters; 0 by 0 leaves it as it is.
type Size struct{ Width, Height uint16 }

// TaskConfig describes one run of a container. Whether it has a terminal is
// the spec's to say (process.terminal).
type TaskConfig struct {
	Stdio *Stdio // nil is the container's own (CreateConfig.Stdio)
	Size  Size   // of the terminal from its first moment
	// Checkpoint is the directory of a checkpoint to go on from, ParentCheckpoint
	// the one that it is a difference from.
	Checkpoint       string
	ParentCheckpoint string
	// Restore says what the checkpoint may contain, as its Checkpoint was told:
	// OpenTCP, ExternalUnixSockets, Terminal, FileLocks and EmptyNamespaces
	// count, and WorkPath for criu's logs.
	Restore CheckpointConfig
	// Linger keeps the shim after the exit until the task is deleted. Without it
	// a stopped task costs no process.
	Linger bool
}

// Task is the current run of a container. It is safe for concurrent use and
// stays valid, answering from disk, when its shim has ended. When the run was
// deleted its methods are ErrNoTask, until the container is run again: then they
// are about the new run. It shares its container's connection, which
// Container.Close closes.
type Task struct{ *Process }

// ProcessInfo is a line of Task.Pids.
type ProcessInfo struct {
	PID    int    `json:"pid"`               // on the host
	ExecID string `json:"exec_id,omitempty"` // if it was made by Exec
}

// CheckpointConfig says how to write a container's processes to disk.
type CheckpointConfig struct {
	Path                string // directory for the images, made if missing
	Parent              string // earlier checkpoint to save the difference from
	WorkPath            string // criu's logs; "" is inside Path
	Exit                bool   // end the container once it is on disk
	OpenTCP             bool   // established TCP connections too
	ExternalUnixSockets bool   // unix sockets whose other end is outside
	Terminal            bool   // a shell's job
	FileLocks           bool
	EmptyNamespaces     []string // restored empty, e.g. "network"
}

// Task returns the container's run, stopped or not; ErrNoTask if there is none.
// It asks nobody.
func (c *Container) Task(context.Context) (*Task, error) {
	d := c.look()
	if !d.run {
		return nil, fmt.Errorf("task of container %s: %w", c.id, ErrNoTask)
	}
	pid := d.task.Init.PID
	if d.exit != nil && pid == 0 {
		pid = d.exit.PID
	}
	return &Task{c.process("", pid)}, nil
}

// KillAll sends a signal to every process of the container.
func (t *Task) KillAll(ctx context.Context, sig syscall.Signal) error { return t.kill(ctx, sig, true) }

// Pause freezes every process of the container.
func (t *Task) Pause(ctx context.Context) error {
	return t.call(ctx, "pause", t.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.Pause(ctx, &task.PauseRequest{ID: t.c.id})
		return err
	})
}

// Resume thaws what Pause froze.
func (t *Task) Resume(ctx context.Context) error {
	return t.call(ctx, "resume", t.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.Resume(ctx, &task.ResumeRequest{ID: t.c.id})
		return err
	})
}

// Pids lists the processes of the container, none if it has stopped.
func (t *Task) Pids(ctx context.Context) ([]ProcessInfo, error) {
	var list []ProcessInfo
	err := t.call(ctx, "list processes of", t.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		resp, err := shim.Pids(ctx, &task.PidsRequest{ID: t.c.id})
		if err != nil {
			return err
		}
		for _, p := range resp.Processes {
			list = append(list, ProcessInfo{PID: int(p.Pid), ExecID: execIDOf(p.Info)})
		}
		return nil
	})
	if t.c.look().exit != nil { // a shim may name the first process for the sake of old daemons
		return nil, nil
	}
	return list, err
}

// execIDOf reads the details that come with a pid.
func execIDOf(info *types.Any) string {
	if info == nil || !options.Is(info.TypeUrl, options.TypeDetails) {
		return ""
	}
	var d options.ProcessDetails
	if d.Unmarshal(info.Value) != nil {
		return ""
	}
	return d.ExecID
}

// Update changes limits of the container's cgroup; what r leaves out stays.
func (t *Task) Update(ctx context.Context, r *specs.LinuxResources) error {
	raw, err := json.Marshal(r)
	if err != nil || r == nil {
		return fmt.Errorf("update %v: no resources: %w", t, errors.Join(ErrInvalid, err))
	}
	return t.call(ctx, "update", t.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.Update(ctx, &task.UpdateTaskRequest{
			ID: t.c.id, Resources: &types.Any{TypeUrl: options.TypeResources, Value: raw},
		})
		return err
	})
}

// allowances are what both a checkpoint and its restore must be told.
func (cfg CheckpointConfig) allowances() options.CheckpointOptions {
	return options.CheckpointOptions{
		OpenTcp: cfg.OpenTCP, ExternalUnixSockets: cfg.ExternalUnixSockets,
		Terminal: cfg.Terminal, FileLocks: cfg.FileLocks, EmptyNamespaces: cfg.EmptyNamespaces,
	}
}

// checkpointTimeout bounds a checkpoint, which writes all memory to disk.
const checkpointTimeout = 10 * time.Minute

// Checkpoint writes the container's processes to disk, in 10 min at most.
func (t *Task) Checkpoint(ctx context.Context, cfg CheckpointConfig) error {
	path, err := filepath.Abs(cfg.Path)
	if err != nil || cfg.Path == "" {
		return fmt.Errorf("checkpoint %v: no path: %w", t, errors.Join(ErrInvalid, err))
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("checkpoint %v: %w", t, err)
	}
	opts := cfg.allowances()
	opts.Exit, opts.ImagePath, opts.WorkPath, opts.ParentPath = cfg.Exit, path, cfg.WorkPath, cfg.Parent
	raw, err := opts.Marshal()
	if err != nil {
		return fmt.Errorf("checkpoint %v: %w", t, err)
	}
	return t.call(ctx, "checkpoint", checkpointTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.Checkpoint(ctx, &task.CheckpointTaskRequest{
			ID: t.c.id, Path: path, Options: &types.Any{TypeUrl: options.TypeCheckpoint, Value: raw},
		})
		return err
	})
}
