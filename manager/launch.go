package manager

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
)

// Names below the root that are not namespaces (those do not begin with a dot).
const (
	socketDir  = ".s"       // sockets of bundles whose own path is too long
	runtimeDir = ".runtime" // state of OCI runtimes, one directory a namespace
)

// socketFile is the shim's socket in the bundle.
const socketFile = "shim.sock"

// NewTask launches a shim and creates a run of the container, up to but not
// including the program. A run that has stopped is deleted first; one that has
// not is ErrTaskExists. On failure everything is undone. *StartError if the OCI
// runtime could not make the process.
func (c *Container) NewTask(ctx context.Context, cfg TaskConfig) (*Task, error) {
	l, err := c.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("run container %s: %w", c.id, err)
	}
	defer l.Close()
	req, opts, err := c.prepareTask(cfg)
	if err != nil {
		return nil, fmt.Errorf("run container %s: %w", c.id, err)
	}
	if err := c.clearLastRun(ctx); err != nil {
		return nil, fmt.Errorf("run container %s: %w", c.id, err)
	}
	shim, err := c.launch(ctx)
	if err != nil {
		c.removeRun()
		return nil, fmt.Errorf("run container %s: %w", c.id, err)
	}
	raw, err := opts.Marshal()
	if err != nil {
		return nil, fmt.Errorf("run container %s: %w", c.id, c.undo(shim, err))
	}
	req.Options = &types.Any{TypeUrl: shimv1.TypeCreateOptions, Value: raw}
	limited, cancel := context.WithTimeout(ctx, c.m.opt.startTimeout)
	defer cancel()
	resp, err := c.link.task().Create(limited, req)
	if err != nil {
		return nil, fmt.Errorf("run container %s: %w", c.id, c.undo(shim, err))
	}
	return &Task{c.process("", int(resp.Pid))}, nil
}

// lock locks the bundle against other managers.
func (c *Container) lock(ctx context.Context) (*lock, error) {
	l, err := lockPath(ctx, c.dir, c.m.opt.lockTimeout)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotFound
	}
	return l, err
}

// prepareTask makes the request of a run without touching anything.
func (c *Container) prepareTask(cfg TaskConfig) (*task.CreateTaskRequest, *shimv1.CreateOptions, error) {
	rec := c.Record()
	if rec.Problem != "" {
		return nil, nil, errors.New(rec.Problem)
	}
	spec, err := c.Spec()
	if err != nil {
		return nil, nil, err
	}
	if spec.Process == nil {
		return nil, nil, fmt.Errorf("its spec has no process: %w", ErrInvalid)
	}
	opts, err := c.createOptions(rec, spec, cfg)
	if err != nil {
		return nil, nil, err
	}
	req := &task.CreateTaskRequest{
		ID: c.id, Bundle: c.dir, Rootfs: wireMounts(rec.Mounts), Terminal: spec.Process.Terminal,
		Checkpoint: absolute(cfg.Checkpoint), ParentCheckpoint: absolute(cfg.ParentCheckpoint),
	}
	if req.Checkpoint != "" {
		if _, err := directory(req.Checkpoint); err != nil {
			return nil, nil, fmt.Errorf("checkpoint: %w", err)
		}
	}
	stdio := rec.Stdio
	if cfg.Stdio != nil {
		stdio = *cfg.Stdio
	}
	req.Stdin, req.Stdout, req.Stderr = stdio.uris(c.defaultLog(), req.Terminal)
	return req, opts, nil
}

// createOptions says how the OCI runtime is to be used.
func (c *Container) createOptions(rec Record, spec *specs.Spec, cfg TaskConfig) (*shimv1.CreateOptions, error) {
	binary := rec.Runtime.Binary
	if binary == "" {
		binary = c.m.opt.runtime
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNoRuntime, binary)
	}
	root := rec.Runtime.Root
	if root == "" {
		root = filepath.Join(c.m.root, runtimeDir) // the shim adds the namespace
	}
	size := cfg.Size
	if box := spec.Process.ConsoleSize; box != nil && size == (Size{}) {
		size = Size{Width: uint16(box.Width), Height: uint16(box.Height)}
	}
	uid, gid := hostOwner(spec)
	allow := cfg.Restore.allowances()
	return &shimv1.CreateOptions{
		Runtime: &options.Options{
			BinaryName: absolute(path), Root: absolute(root), SystemdCgroup: rec.Runtime.SystemdCgroup,
			NoPivotRoot: rec.Runtime.NoPivot, NoNewKeyring: rec.Runtime.NoNewKeyring, IoUid: uid, IoGid: gid,
			CriuWorkPath: absolute(cfg.Restore.WorkPath),
		},
		RuntimeArgs:  rec.Runtime.Args,
		ConsoleWidth: uint32(size.Width), ConsoleHeight: uint32(size.Height),
		Linger: cfg.Linger, CriuDir: absolute(c.m.opt.criu), Restore: &allow,
	}, nil
}

// absolute makes a path absolute; "" stays "".
func absolute(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil { // no current directory: the path is as good as any
		return path
	}
	return abs
}

// hostOwner is who the process is outside of its user namespace: its pipes are
// given to it, so that it may open /dev/stdout anew.
func hostOwner(spec *specs.Spec) (uid, gid uint32) {
	uid, gid = spec.Process.User.UID, spec.Process.User.GID
	if spec.Linux == nil {
		return uid, gid
	}
	return mapID(uid, spec.Linux.UIDMappings), mapID(gid, spec.Linux.GIDMappings)
}

func mapID(id uint32, maps []specs.LinuxIDMapping) uint32 {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID
		}
	}
	return id
}

// uris returns what the shim gets for the three streams of a process.
func (s Stdio) uris(log string, terminal bool) (stdin, stdout, stderr string) {
	if s.Stdin != "" || s.Stdout != "" || s.Stderr != "" {
		return s.Stdin, s.Stdout, s.Stderr
	}
	if s.OpenStdin {
		stdin = attachURI
	}
	if s.Log != "" {
		log = s.Log
	}
	if terminal { // one stream
		return stdin, log, ""
	}
	return stdin, log, log
}

// attachURI is a stream that leads to attach clients alone.
const attachURI = "attach://"

// defaultLog is where a container's output goes unless something else is said.
func (c *Container) defaultLog() string {
	u := url.URL{Scheme: "file", Path: filepath.Join(c.dir, bundle.OutputFile), RawQuery: "format=cri"}
	return u.String()
}

// clearLastRun makes way for a new run: a stopped one is deleted, what is left
// of one whose shim never got as far as a record is removed.
func (c *Container) clearLastRun(ctx context.Context) error {
	d := c.look()
	if d.run {
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if status.State == StateUnknown {
			return status.Err
		}
		if status.State != StateStopped {
			return fmt.Errorf("it is %s: %w", status.State, ErrTaskExists)
		}
		_, err = c.deleteRun(ctx, false)
		return err
	}
	if conn, err := dialShim(ctx, c.dir, c.m.opt.dialTimeout); err == nil {
		conn.Close()
		return fmt.Errorf("a shim is serving it: %w", ErrTaskExists)
	} else if !errors.Is(err, errLost) {
		return err
	}
	return c.removeRun()
}

// launch starts a shim for the bundle. Its address is on disk before it runs,
// so that whoever finds the bundle after a crash of ours finds the shim.
func (c *Container) launch(ctx context.Context) (serve.Launched, error) {
	binary, err := c.m.shimBinary(c.Record().Shim)
	if _, own := c.m.opt.launcher.(serve.Exec); err != nil && own {
		return nil, err
	}
	socket, err := c.socket()
	if err != nil {
		return nil, err
	}
	listener, err := serve.Listen(socket)
	if err != nil {
		return nil, err
	}
	defer listener.Close() // ours; while open it would accept for a shim that is dead
	if err := bundle.WriteFile(filepath.Join(c.dir, bundle.AddressFile), []byte("unix://"+socket)); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(c.dir, bundle.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open shim's log: %w", err)
	}
	defer log.Close()
	return c.m.opt.launcher.Launch(ctx, serve.Request{
		Binary: binary, Namespace: c.m.namespace, ID: c.id, Bundle: c.dir,
		Listener: listener, Log: log, Debug: c.m.opt.debug,
	})
}

// socket returns the path for the shim's socket: in the bundle, or where a
// socket's short path can reach.
func (c *Container) socket() (string, error) {
	path := filepath.Join(c.dir, socketFile)
	if len(path) <= serve.MaxSocketPath {
		return path, nil
	}
	dir := filepath.Join(c.m.root, socketDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory of sockets: %w", err)
	}
	sum := sha256.Sum256([]byte(c.dir))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])), nil
}

// shimBinary finds the shim: what the container was made with, unless an option
// names another.
func (m *Manager) shimBinary(recorded string) (string, error) {
	name := m.opt.shim
	if name == DefaultShim && recorded != "" {
		name = recorded
	}
	if !strings.Contains(name, "/") {
		if self, err := os.Executable(); err == nil {
			if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %s", ErrNoShim, name)
	}
	return absolute(path), nil
}

// undoTimeout bounds each step of clearing up after a run that did not come to
// be.
const undoTimeout = 5 * time.Second

// undo ends the shim of a run that could not be created, removes what the two
// have left, and returns the error with the best explanation there is.
func (c *Container) undo(shim serve.Launched, cause error) error {
	// Whatever ended the caller's context, the clearing up must go on.
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	err := answer(cause)
	if errors.Is(err, errLost) {
		if told := shim.Ready(ctx); told != nil {
			err = told
		} else {
			err = fmt.Errorf("the shim ended while it created the task; its log is %s: %w", filepath.Join(c.dir, bundle.LogFile), ErrShimDead)
		}
	}
	err = c.process("", 0).startError(err)
	_, _ = c.link.task().Delete(ctx, &task.DeleteRequest{ID: c.id})
	_, _ = c.link.task().Shutdown(ctx, &task.ShutdownRequest{ID: c.id, Now: true})
	c.link.Close()
	select {
	case <-shim.Done():
	case <-ctx.Done():
		err = errors.Join(err, c.killShim(shim.PID()))
	}
	if c.leftovers() {
		if cerr := c.cleanup(context.Background()); cerr != nil {
			return errors.Join(err, cerr) // keep the records: they say what is left
		}
	}
	if rerr := c.removeRun(); rerr != nil {
		err = errors.Join(err, rerr)
	}
	return err
}
