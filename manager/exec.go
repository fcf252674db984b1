package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
)

// ExecConfig describes a further process of a running task.
type ExecConfig struct {
	// ID names the exec within the container; "" makes a random one.
	ID string
	// Process is taken as it is. If nil, it is made from the container's own
	// process (environment, user, directory, capabilities, limits) and the
	// fields below.
	Process *specs.Process

	Args     []string
	Env      []string // KEY=VALUE, added to or replacing the container's
	Cwd      string
	User     string // USER[:GROUP], as in SpecConfig
	Terminal bool
	Size     Size

	Stdio Stdio
}

// Exec is a further process of a task. It is safe for concurrent use. How it
// ended stays on record until Delete.
type Exec struct{ *Process }

// Exec registers a further process, which Exec.Start starts. ErrExists if the
// id is taken, ErrState if the task does not run.
func (t *Task) Exec(ctx context.Context, cfg ExecConfig) (*Exec, error) {
	if cfg.ID == "" {
		cfg.ID = "exec-" + randomHex(6)
	}
	if err := bundle.CheckID(cfg.ID); err != nil {
		return nil, fmt.Errorf("exec in %v: %w", t, invalidID(err))
	}
	raw, terminal, err := t.c.execProcess(cfg)
	if err != nil {
		return nil, fmt.Errorf("exec in %v: %w", t, err)
	}
	req := &task.ExecProcessRequest{
		ID: t.c.id, ExecID: cfg.ID, Terminal: terminal,
		Spec: &types.Any{TypeUrl: options.TypeProcess, Value: raw},
	}
	req.Stdin, req.Stdout, req.Stderr = cfg.Stdio.uris(attachURI, terminal)
	err = t.call(ctx, "exec in", t.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.Exec(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Exec{t.c.process(cfg.ID, 0)}, nil
}

// execProcess makes the process document of an exec.
func (c *Container) execProcess(cfg ExecConfig) (raw []byte, terminal bool, err error) {
	if cfg.Process != nil {
		raw, err = json.Marshal(cfg.Process)
		return raw, cfg.Process.Terminal, err
	}
	if len(cfg.Args) == 0 {
		return nil, false, fmt.Errorf("no program: %w", ErrInvalid)
	}
	config, err := os.ReadFile(filepath.Join(c.dir, bundle.ConfigFile))
	if err != nil {
		return nil, false, err
	}
	spec, err := parseDocument(config)
	if err != nil {
		return nil, false, err
	}
	p, err := spec.object("process")
	if err != nil {
		return nil, false, err
	}
	for _, own := range []string{"terminal", "consoleSize"} { // init's, not the exec's
		delete(p, own)
	}
	env := cfg.Env
	if cfg.Terminal {
		env = append([]string{"TERM=xterm"}, env...)
	}
	err = overlayProcess(p, c.rootDirs(spec), SpecConfig{
		Args: cfg.Args, Env: env, Cwd: cfg.Cwd, User: cfg.User, Terminal: cfg.Terminal, Size: cfg.Size,
	})
	if err != nil {
		return nil, false, err
	}
	raw, err = p.encode()
	return raw, cfg.Terminal, err
}

// rootDirs returns where the files of the container's root are: the root
// itself, as it is mounted while the container runs.
func (c *Container) rootDirs(spec document) []string {
	root, err := spec.object("root")
	if err != nil {
		return nil
	}
	var path string
	if json.Unmarshal(root["path"], &path) != nil {
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.dir, path)
	}
	return []string{path}
}

// Execs lists the execs that were not deleted, in the order of their ids.
func (t *Task) Execs(ctx context.Context) ([]*Exec, error) {
	ids := map[string]int{}
	for _, id := range t.c.execRecords() {
		ids[id] = 0
	}
	info, err := t.c.info(ctx)
	switch {
	case err == nil:
		for _, e := range info.Execs {
			ids[e.ExecID] = int(e.Pid)
		}
	case errors.Is(err, errors.ErrUnsupported): // containerd's shim lists no execs but running ones
		list, err := t.Pids(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			if p.ExecID != "" {
				ids[p.ExecID] = p.PID
			}
		}
	case t.c.look().exit == nil:
		return nil, fmt.Errorf("list execs of %v: %w", t, err)
	}
	var execs []*Exec
	for id, pid := range ids {
		execs = append(execs, &Exec{t.c.process(id, pid)})
	}
	slices.SortFunc(execs, func(a, b *Exec) int { return strings.Compare(a.execID, b.execID) })
	return execs, nil
}

// execRecords returns the ids of execs whose end is on disk.
func (c *Container) execRecords() []string {
	entries, err := os.ReadDir(filepath.Join(c.dir, bundle.ExecsDir))
	if err != nil {
		return nil
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && bundle.CheckID(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// LoadExec finds an exec by its id; ErrNotFound if there is none.
func (t *Task) LoadExec(ctx context.Context, id string) (*Exec, error) {
	if err := bundle.CheckID(id); err != nil {
		return nil, fmt.Errorf("load exec of %v: %w", t, invalidID(err))
	}
	e := &Exec{t.c.process(id, 0)}
	s, err := e.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("load exec: %w", err)
	}
	if s.State == StateUnknown {
		if errors.Is(s.Err, ErrExited) || errors.Is(s.Err, ErrNoTask) { // the task is over and has no record of it
			s.Err = ErrNotFound
		}
		return nil, fmt.Errorf("load %v: %w", e, s.Err)
	}
	e.pid.Store(int64(s.PID))
	return e, nil
}

// Delete forgets the exec and returns how it ended. ErrRunning if it has not.
func (e *Exec) Delete(ctx context.Context) (Exit, error) {
	s, err := e.Status(ctx)
	if err != nil {
		return Exit{}, fmt.Errorf("delete: %w", err)
	}
	if s.State == StateRunning || s.State == StatePaused {
		return Exit{}, fmt.Errorf("delete %v: it is %s: %w", e, s.State, ErrRunning)
	}
	exit := Exit{Code: unknownCode, Reason: "it was never started"}
	if s.Exit != nil {
		exit = *s.Exit
	}
	err = e.call(ctx, "delete", e.c.m.opt.startTimeout, func(ctx context.Context, shim *task.Client) error {
		_, err := shim.Delete(ctx, &task.DeleteRequest{ID: e.c.id, ExecID: e.execID})
		return err
	})
	if err != nil && !errors.Is(err, ErrExited) { // the shim has left; its record is ours to remove
		return Exit{}, err
	}
	for _, file := range []string{bundle.ExecFile(e.execID), bundle.ExecPidFile(e.execID)} {
		if err := os.Remove(filepath.Join(e.c.dir, file)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return exit, fmt.Errorf("delete %v: %w", e, err)
		}
	}
	return exit, nil
}

// info asks the shim for everything it knows. errors.ErrUnsupported from a shim
// that is not holdfast's.
func (c *Container) info(ctx context.Context) (*shimv1.InfoResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, min(statusTimeout, c.m.opt.callTimeout))
	defer cancel()
	var resp *shimv1.InfoResponse
	err := c.ask(func() (err error) {
		resp, err = c.link.shim().Info(ctx, &shimv1.InfoRequest{})
		return err
	})
	if errors.Is(err, errLost) {
		err = c.process("", 0).lost()
	}
	return resp, err
}
