package container

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/jsontext"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/cgroup"
	"github.com/holdfast/holdfast/shim/internal/mount"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"github.com/holdfast/holdfast/shim/internal/stdio"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

// Create makes the container: afterwards its init is parked in the OCI runtime,
// waiting for Start, or, with a checkpoint, the image waits to be restored.
//
// Each step is on record before it is taken, and an error undoes what was done, in
// the reverse order, leaving in the bundle nothing but, if the OCI runtime would
// not run the program, the exit record that says why:
//
//  1. task.json, phase creating
//  2. rootfs mounted
//  3. streams and console socket open
//  4. the OCI runtime creates
//  5. task.json, phase created, with the identity of init
func Create(ctx context.Context, cfg Config, req CreateRequest) (_ *Container, err error) {
	spec, err := readSpec(cfg.Bundle)
	if err != nil {
		return nil, Faultf(ErrInvalid, "create container: %v", err)
	}
	if req.Size == (console.Size{}) {
		req.Size = spec.size
	}
	if req.Checkpoint != "" {
		if st, err := os.Stat(req.Checkpoint); err != nil || !st.IsDir() {
			return nil, Faultf(ErrInvalid, "create container: checkpoint %s: not a directory with an image", req.Checkpoint)
		}
	}
	c := newContainer(cfg, req, spec)
	// How an earlier run of this id ended says nothing of this one.
	if err := os.Remove(c.path(bundle.ExitFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("create container: %w", err)
	}
	if err := c.record(func(t *bundle.Task) { t.Phase = bundle.PhaseCreating }); err != nil { // step 1
		return nil, err
	}
	defer func() {
		if err != nil {
			c.uncreate()
		}
	}()
	if len(req.Rootfs) > 0 { // step 2
		if err := mountRootfs(c.path(bundle.RootfsDir), req.Rootfs); err != nil {
			return nil, err
		}
	}
	io, err := c.init.open(ctx, c.stdioConfig("", req.Streams)) // step 3
	if err != nil {
		return nil, err
	}
	c.init.size = req.Size
	if req.Checkpoint == "" {
		if err := c.createInit(ctx, io); err != nil { // step 4
			c.recordFailure(c.init, err)
			return nil, err
		}
	}
	if err := c.created(); err != nil { // step 5
		return nil, err
	}
	return c, nil
}

func newContainer(cfg Config, req CreateRequest, s spec) *Container {
	c := &Container{
		cfg: cfg, req: req, spec: s,
		gate:   semaphore.NewWeighted(everybody),
		events: journal{publish: cfg.Publish},
		init:   newProcess("", req.Streams),
		execs:  make(map[string]*process),
	}
	c.runtime = newRuntime(cfg, req.Runtime)
	c.task = bundle.Task{
		ID: cfg.ID, Namespace: cfg.Namespace, Bundle: cfg.Bundle, Owner: ownerMark(),
		Runtime: req.Runtime, Stdin: req.Streams.Stdin, Stdout: req.Streams.Stdout, Stderr: req.Streams.Stderr,
		Terminal: req.Streams.Terminal, Linger: req.Linger, Mounted: len(req.Rootfs) > 0,
		Checkpoint: req.Checkpoint, CreatedAt: c.init.createdAt,
		ShimPID: os.Getpid(), ShimVersion: cfg.Version,
	}
	return c
}

func newRuntime(cfg Config, rt bundle.Runtime) *oci.Runtime {
	return &oci.Runtime{
		Reaper: cfg.Reaper, Binary: rt.Binary, Root: rt.Root, SystemdCgroup: rt.SystemdCgroup,
		Args: rt.Args, CriuDir: rt.CriuDir, Dir: cfg.Bundle, Timeout: runtimeLimit,
	}
}

// ownerMark returns a mark that no other run of any container carries.
func ownerMark() string {
	var b [16]byte
	_, _ = unix.Getrandom(b[:], 0) // cannot fail for so few bytes once the kernel has started (getrandom(2))
	return fmt.Sprintf("%x", b)
}

func mountRootfs(dir string, mounts []*types.Mount) error {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("mount rootfs: %w", err)
	}
	if err := mount.All(dir, mounts); err != nil {
		return fmt.Errorf("mount rootfs: %w", err)
	}
	return nil
}

// createInit runs the OCI runtime's create and takes over the process it made.
func (c *Container) createInit(ctx context.Context, io *stdio.Stdio) error {
	sock, err := c.consoleSocket(c.init)
	if err != nil {
		return err
	}
	if sock != nil {
		defer sock.Close()
	}
	ctx, cancel := begun(ctx, runtimeLimit)
	defer cancel()
	c.ran = true
	proc, err := c.runtime.Create(ctx, oci.CreateRequest{
		ID: c.cfg.ID, Bundle: c.cfg.Bundle, PidFile: c.path(bundle.PidFile), ConsoleSocket: socketPath(sock),
		NoPivot: c.req.Runtime.NoPivot, NoNewKeyring: c.req.Runtime.NoNewKeyring, Stdio: io.Child(),
	})
	if err != nil {
		c.init.proc = proc // what a failed create left, if anything; uncreate ends it
		return err
	}
	return c.adopt(ctx, c.init, proc, io, sock)
}

// adopt makes proc the process of p and starts its streams. On error proc is
// dead or dying.
func (c *Container) adopt(ctx context.Context, p *process, proc *reaper.Process, io *stdio.Stdio, sock *console.Socket) error {
	c.mu.Lock()
	p.proc = proc
	size := p.size
	c.mu.Unlock()
	io.FollowExit(proc.Done())
	var master *os.File
	if sock != nil {
		ctx, cancel := context.WithTimeout(ctx, consoleLimit)
		defer cancel()
		var err error
		if master, err = sock.Receive(ctx); err != nil {
			_ = proc.Signal(unix.SIGKILL)
			return err
		}
	}
	_ = io.Resize(size)
	io.CloseChild()
	io.Relay(master)
	return nil
}

// consoleSocket returns the socket on which the OCI runtime will hand over the
// terminal of p, nil if it has none. The caller closes it. It lies in the bundle,
// and goes with it should we die before that.
func (c *Container) consoleSocket(p *process) (*console.Socket, error) {
	if !p.streams.Terminal {
		return nil, nil
	}
	return console.Listen(c.cfg.Bundle)
}

func socketPath(s *console.Socket) string {
	if s == nil {
		return ""
	}
	return s.Path()
}

// created settles a create: the cgroup is known, init is on record and watched.
func (c *Container) created() error {
	var id bundle.Process
	var cg *cgroup.Cgroup
	proc := c.init.proc
	if proc != nil {
		id = identity(proc)
		cg = c.findCgroup(proc.PID())
	}
	err := c.record(func(t *bundle.Task) {
		t.Phase, t.Init = bundle.PhaseCreated, id
		c.cgroup = cg
	})
	if err != nil {
		return err
	}
	io := c.req.Streams
	c.emit(bundle.Event{
		Topic: bundle.TopicCreate, PID: id.PID, Bundle: c.cfg.Bundle, Checkpoint: c.req.Checkpoint,
		Stdin: io.Stdin, Stdout: io.Stdout, Stderr: io.Stderr, Terminal: io.Terminal,
	})
	if proc != nil {
		go c.watch(c.init)
	}
	return nil
}

func identity(p *reaper.Process) bundle.Process {
	id := p.Identity()
	return bundle.Process{PID: id.PID, StartTime: id.StartTime, Inode: id.Inode, BootID: id.BootID}
}

// findCgroup returns the cgroup of a process that we hold a pidfd of. A
// container without one has no Stats and Pids; it is no reason not to run it.
func (c *Container) findCgroup(pid int) *cgroup.Cgroup {
	cg, err := cgroup.Find(pid)
	if err != nil {
		c.cfg.Log("find cgroup of init %d: %v; going on without statistics", pid, err)
		return nil
	}
	return cg
}

// uncreate undoes a create that failed at any step. What the OCI runtime holds
// under our id is deleted only if it is ours: another daemon's container may
// well be the reason of the failure.
func (c *Container) uncreate() {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	if p := c.init.proc; p != nil {
		_ = p.Signal(unix.SIGKILL)
		_, _ = p.Wait(ctx)
	}
	_ = c.init.close()
	if c.ran {
		err := DeleteOwn(ctx, c.runtime, c.cfg.ID, c.cfg.Bundle)
		if err != nil && !errors.Is(err, oci.ErrNoRuntime) { // a program that is not there made nothing
			c.cfg.Log("undo create: %v; task.json stays so that delete finds it", err)
			return
		}
	}
	if len(c.req.Rootfs) > 0 {
		if err := mount.Unmount(c.path(bundle.RootfsDir)); err != nil {
			c.cfg.Log("undo create: %v; task.json stays so that delete finds it", err)
			return
		}
	}
	os.Remove(c.path(bundle.PidFile))
	os.Remove(c.path(bundle.TaskFile))
}

// DeleteOwn has the OCI runtime forget a container if it is ours.
func DeleteOwn(ctx context.Context, rt *oci.Runtime, id, dir string) error {
	ours, err := owns(ctx, rt, id, dir)
	if err != nil || !ours {
		return err
	}
	if err := rt.Delete(ctx, id, true); err != nil && !errors.Is(err, oci.ErrNotExist) {
		return err
	}
	return nil
}

// owns reports whether the OCI runtime's container id was made from this
// bundle. The runtime's state directory is shared by every daemon on the host,
// so the id alone says nothing. The error is of a runtime that could not be asked;
// one that knows of no such container is an answer.
func owns(ctx context.Context, rt *oci.Runtime, id, dir string) (bool, error) {
	raw, err := rt.State(ctx, id)
	if errors.Is(err, oci.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whose container %s is: %w", id, err)
	}
	val, _ := jsontext.Get(raw, "bundle")
	got, err := jsontext.String(val)
	if err != nil {
		return false, fmt.Errorf("ask whose container %s is: %w", id, err)
	}
	return bundle.SameDir(got, dir), nil
}
