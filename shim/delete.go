package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/cgroup"
	"github.com/holdfast/holdfast/shim/internal/container"
	"github.com/holdfast/holdfast/shim/internal/mount"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"golang.org/x/sys/unix"
)

// deleteLimit bounds the delete action: containerd kills it after 5 s.
const deleteLimit = 4500 * time.Millisecond

// errUnreadable is wrapped by errors about records that make no sense.
var errUnreadable = errors.New("unreadable record")

// delete is the action by which a daemon cleans up after a shim: it is called
// after every deletion, usually with nothing left to do, and for a shim that
// died. It goes by the records alone, deletes only what they say is ours, and
// may be called any number of times, also beside a shim that is ending. It
// prints how the container ended.
func (c *command) delete() error {
	ctx, cancel := context.WithTimeout(context.Background(), deleteLimit)
	defer cancel()
	exit, err := cleanup(ctx, c.bundle, c.id, c.namespace)
	if err != nil {
		return err
	}
	resp := &task.DeleteResponse{
		Pid: uint32(exit.PID), ExitStatus: uint32(exit.Code), ExitedAt: types.FromTime(exit.ExitedAt),
	}
	raw, err := resp.Marshal()
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = c.stdout.Write(raw)
	return err
}

// cleanup undoes the run that the bundle's records describe.
func cleanup(ctx context.Context, dir, id, namespace string) (bundle.Exit, error) {
	t, err := bundle.ReadTask(dir)
	if errors.Is(err, os.ErrNotExist) {
		removeAddress(dir)
		return readExit(dir) // cleaned up already, or never begun
	}
	if err != nil {
		return bundle.Exit{}, fmt.Errorf("clean up %s: %w; nothing was touched", dir, err)
	}
	if err := about(t, dir, id, namespace); err != nil {
		return bundle.Exit{}, fmt.Errorf("clean up %s: %w; nothing was touched", dir, err)
	}
	r, err := reaper.New(reaper.WithSubreaper())
	if err != nil {
		return bundle.Exit{}, fmt.Errorf("clean up %s: %w", dir, err)
	}
	defer r.Close()
	rt := &oci.Runtime{
		Reaper: r, Binary: t.Runtime.Binary, Root: t.Runtime.Root, SystemdCgroup: t.Runtime.SystemdCgroup,
		Args: t.Runtime.Args, Dir: dir, Timeout: deleteLimit,
	}
	exit, err := endInit(ctx, rt, dir, t)
	if err != nil {
		return bundle.Exit{}, err
	}
	if err := container.DeleteOwn(ctx, rt, t.ID, dir); err != nil {
		return exit, fmt.Errorf("clean up %s: %w; the record stays", dir, err)
	}
	if t.Mounted {
		if err := mount.Unmount(dir + "/" + bundle.RootfsDir); err != nil {
			return exit, fmt.Errorf("clean up %s: %w", dir, err)
		}
	}
	removeAddress(dir)
	for _, name := range []string{bundle.ExecsDir, bundle.PidFile, bundle.TaskFile} { // the record last
		if err := os.RemoveAll(dir + "/" + name); err != nil {
			return exit, fmt.Errorf("clean up %s: %w", dir, err)
		}
	}
	return exit, nil
}

// about checks that the record is that of the container we were asked about: one
// that came here in a copy of a bundle describes somebody else's.
func about(t bundle.Task, dir, id, namespace string) error {
	if t.ID != id || t.Namespace != namespace {
		return fmt.Errorf("the record is about %s/%s: %w", t.Namespace, t.ID, errUnreadable)
	}
	if _, err := os.Stat(t.Bundle); err == nil && !bundle.SameDir(t.Bundle, dir) {
		return fmt.Errorf("the record is about the bundle %s: %w", t.Bundle, errUnreadable)
	}
	return nil
}

// readExit returns the exit record, or one that says that there is none.
func readExit(dir string) (bundle.Exit, error) {
	e, err := bundle.ReadExit(dir + "/" + bundle.ExitFile)
	if errors.Is(err, os.ErrNotExist) {
		return bundle.Exit{Code: 255, Reason: "no exit was recorded", ExitedAt: time.Now()}, nil
	}
	return e, err
}

// endInit makes sure that init and what it started have ended, and puts on
// record how, as far as the kernel still tells.
func endInit(ctx context.Context, rt *oci.Runtime, dir string, t bundle.Task) (bundle.Exit, error) {
	if e, err := bundle.ReadExit(dir + "/" + bundle.ExitFile); err == nil {
		return e, nil
	}
	e := bundle.Exit{
		ID: t.ID, PID: t.Init.PID, BootID: t.Init.BootID, Code: 255, CreatedAt: t.CreatedAt, StartedAt: t.StartedAt,
		ExitedAt: time.Now(), Reason: "the shim had died and nobody saw the container end",
	}
	if p := sameProcess(rt.Reaper, t.Init); p != nil {
		_, over := p.Exit()
		got, err := killInit(ctx, rt, dir, t.ID, p)
		if err != nil {
			return e, fmt.Errorf("clean up %s: %w", dir, err)
		}
		if got.Known {
			e.Known, e.Status, e.Code, e.Reason, e.ExitedAt = true, got.Status, got.Code(), "its shim had died before it ended", got.At
		}
		if got.Known && !over {
			e.Reason = "killed by the cleanup after its shim had died"
		}
	}
	if t.Phase == bundle.PhaseCreating { // never was a container
		return e, nil
	}
	return e, bundle.WriteExit(dir, e)
}

// sameProcess returns the recorded process if it is still there, and nil if
// it is gone, whoever may have its pid by now.
func sameProcess(r *reaper.Reaper, want bundle.Process) *reaper.Process {
	if want.PID == 0 {
		return nil
	}
	p, err := r.Adopt(want.PID)
	if err != nil {
		return nil
	}
	id := p.Identity()
	if id.StartTime != want.StartTime || id.BootID != want.BootID || (want.Inode != 0 && id.Inode != 0 && id.Inode != want.Inode) {
		return nil
	}
	return p
}

// frozenAfter is how long init may take to die before we think of a paused
// container: in cgroup v1 nobody dies while frozen.
const frozenAfter = 200 * time.Millisecond

// killInit kills init and every process of its cgroup, and waits for init's death.
func killInit(ctx context.Context, rt *oci.Runtime, dir, id string, p *reaper.Process) (reaper.Exit, error) {
	cg, cgErr := cgroup.Find(p.PID())
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, reaper.ErrExited) {
		return reaper.Exit{}, fmt.Errorf("kill init %d: %w", p.PID(), err)
	}
	if cgErr == nil {
		if err := cg.KillAll(unix.SIGKILL); err != nil {
			return reaper.Exit{}, err
		}
	}
	short, cancel := context.WithTimeout(ctx, frozenAfter)
	defer cancel()
	if e, err := p.Wait(short); err == nil {
		return e, nil
	}
	if err := container.DeleteOwn(ctx, rt, id, dir); err != nil { // the OCI runtime thaws
		return reaper.Exit{}, err
	}
	return p.Wait(ctx)
}

// removeAddress removes the socket that the bundle's address names, if nobody
// listens on it, and the file.
func removeAddress(dir string) {
	raw, err := os.ReadFile(dir + "/" + bundle.AddressFile)
	if err != nil {
		return
	}
	path, err := bundle.SocketPath(strings.TrimSpace(string(raw)))
	if err != nil {
		return
	}
	if live, _ := serve.Listens(path); live {
		return // a shim that is ending removes it itself
	}
	os.Remove(dir + "/" + bundle.AddressFile)
	_ = serve.RemoveSocket(path)
}
