package manager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/task"
)

// Delete ends the run for good and returns how it ended; the container stays
// and can be run again. A task that still runs is ErrRunning, one whose shim is
// dead ErrShimDead, unless forced. A task that was never started is deleted.
func (t *Task) Delete(ctx context.Context, opts ...DeleteOption) (Exit, error) {
	l, err := t.c.lock(ctx)
	if err != nil {
		return Exit{}, fmt.Errorf("delete task of %v: %w", t, err)
	}
	defer l.Close()
	exit, err := t.c.deleteRun(ctx, forced(opts))
	if err != nil {
		return exit, fmt.Errorf("delete task of %v: %w", t, err)
	}
	return exit, nil
}

func forced(opts []DeleteOption) bool {
	var o deleteOptions
	for _, opt := range opts {
		opt(&o)
	}
	return o.force
}

// Delete removes the container, and its task if that has stopped or was never
// started. ErrRunning or ErrShimDead unless forced. The root file system is
// removed only where it was mounted for the container.
func (c *Container) Delete(ctx context.Context, opts ...DeleteOption) error {
	l, err := c.lock(ctx)
	if err != nil {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	defer l.Close()
	if c.foreign() && !forced(opts) {
		return fmt.Errorf("delete container %s: it was not made by holdfast, only force deletes it: %w", c.id, ErrState)
	}
	if _, err := c.deleteRun(ctx, forced(opts)); err != nil && !errors.Is(err, ErrNoTask) {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	// No label is being changed while the record's lock is ours.
	if rl, err := lockPath(ctx, filepath.Join(c.dir, bundle.ContainerFile), c.m.opt.lockTimeout); err == nil {
		defer rl.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	if err := unmountBelow(c.dir); err != nil {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	gone := filepath.Join(c.m.dir, gonePrefix+c.id+"-"+randomHex(4))
	if err := os.Rename(c.dir, gone); err != nil {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	c.link.Close()
	if err := removeTree(gone); err != nil {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	return nil
}

// deleteRun deletes the run, with the bundle's lock held. ErrNoTask if there is
// none.
func (c *Container) deleteRun(ctx context.Context, force bool) (Exit, error) {
	d := c.look()
	if !d.run {
		return Exit{}, ErrNoTask
	}
	t := &Task{c.process("", 0)}
	status, err := t.Status(ctx)
	if err != nil {
		return Exit{}, err
	}
	switch status.State {
	case StateRunning, StatePaused, StatePausing:
		if !force {
			return Exit{}, fmt.Errorf("it is %s: %w", status.State, ErrRunning)
		}
		err = t.end(ctx)
	case StateUnknown:
		err = status.Err
	}
	if err == nil {
		err = c.deleteByShim(ctx)
	}
	if force && errors.Is(err, ErrState) { // it was being started when we asked
		if err = t.end(ctx); err == nil {
			err = c.deleteByShim(ctx)
		}
	}
	// A shim that is dead, or so sick that it does not answer, is not asked again; one
	// that refuses has its reasons.
	sick := errors.Is(err, ErrShimDead) || errors.Is(err, ErrTimeout)
	if err != nil && ctx.Err() == nil && (force || sick && status.State == StateStopped) {
		err = c.deleteWithoutShim(ctx, d.task.ShimPID)
	}
	if err != nil {
		return Exit{}, err
	}
	exit := Exit{Code: unknownCode, Reason: "it was deleted before it was seen to end"}
	if e, err := t.record(); err == nil {
		exit = exitOf(e)
	} else if status.State == StateCreated {
		exit.Reason = "it was never started"
	}
	if c.foreign() {
		return exit, nil // containerd clears up its own
	}
	if err := c.awaitLeave(); err != nil {
		return exit, err
	}
	c.tellEnd(d.task.Init.PID)
	return exit, c.removeRun()
}

// unknownCode is the exit code of what nobody saw end.
const unknownCode = 255

// end kills every process of the container and waits for the first one.
func (t *Task) end(ctx context.Context) error {
	if err := t.KillAll(ctx, syscall.SIGKILL); err != nil && !errors.Is(err, ErrExited) && !errors.Is(err, ErrNotFound) {
		return err
	}
	_ = t.Resume(ctx) // a frozen process dies when it is thawed
	limited, cancel := context.WithTimeout(ctx, t.c.m.opt.callTimeout)
	defer cancel()
	if _, err := t.Wait(limited); err != nil {
		if ctx.Err() == nil && limited.Err() != nil {
			err = fmt.Errorf("it did not end %v after SIGKILL: %w", t.c.m.opt.callTimeout, ErrTimeout)
		}
		return err
	}
	return nil
}

// deleteByShim has the shim delete the task and leave. A shim that has left
// already has deleted it, if nothing is left over.
func (c *Container) deleteByShim(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, c.m.opt.startTimeout)
	defer cancel()
	_, err := c.link.task().Delete(limited, &task.DeleteRequest{ID: c.id})
	switch err = answer(err); {
	case errors.Is(err, errLost):
		if c.look().exit == nil {
			return (c.process("", 0)).lost()
		}
		if c.leftovers() {
			return ErrShimDead
		}
		return nil
	case errors.Is(err, ErrNotFound): // deleted by itself, about to leave
	case err != nil:
		return err
	}
	c.shutdown(ctx)
	return nil
}

// shutdown tells the shim to leave and waits a moment for it to be gone.
func (c *Container) shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	conn, err := c.link.acquire(ctx)
	if err != nil {
		return
	}
	defer c.link.release()
	_, _ = c.link.task().Shutdown(ctx, &task.ShutdownRequest{ID: c.id})
	select {
	case <-conn.Done():
	case <-ctx.Done():
	}
}

// deleteWithoutShim clears up after a shim that is dead, or is killed because
// it does not answer.
func (c *Container) deleteWithoutShim(ctx context.Context, shimPID int) error {
	c.link.Close()
	if shimPID > 0 {
		if err := c.killShim(shimPID); err != nil {
			return err
		}
	}
	return c.cleanup(ctx)
}

// cleanupTimeout bounds the shim's delete action, which runs the OCI runtime.
const cleanupTimeout = 30 * time.Second

// cleanup runs the shim's delete action, as containerd does for a shim that is
// dead: it ends the container, deletes it from the OCI runtime and unmounts.
func (c *Container) cleanup(ctx context.Context) error {
	binary, err := c.m.shimBinary(c.Record().Shim)
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-namespace", c.m.namespace, "-id", c.id, "-bundle", c.dir, "delete")
	cmd.Dir = c.dir
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("clean up: %s delete: %w: %s", filepath.Base(binary), err, lastLine(stderr.String()))
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// leftovers reports whether a run whose shim has gone was not cleared up by it:
// the OCI runtime still knows it, or something is mounted.
func (c *Container) leftovers() bool {
	t, err := bundle.ReadTask(c.dir)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if _, err := os.Stat(filepath.Join(t.Runtime.Root, c.id)); err == nil {
		return true
	}
	points, err := mountsBelow(c.dir)
	return err != nil || len(points) > 0
}

// killShim ends a shim that does not answer. The pid is only believed if the
// process behind it was started to serve this bundle.
func (c *Container) killShim(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return fmt.Errorf("kill shim %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	// Read after the pidfd was opened: if it can still be signalled then, the
	// command line was its own.
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(cmdline), "\x00-bundle\x00"+c.dir+"\x00") {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill shim %d: %w", pid, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(undoTimeout); ; {
		n, err := unix.Poll(poll, int(time.Until(deadline).Milliseconds()))
		if n > 0 {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("kill shim %d: it does not die: %w", pid, ErrTimeout)
		}
	}
}

// removeRun removes the files of a run whose shim has left or is leaving, its
// socket first and the record of the task last, so that a crash in between leaves
// something to find.
func (c *Container) removeRun() error {
	if err := c.awaitLeave(); err != nil {
		return err
	}
	if path, err := readAddress(c.dir); err == nil {
		if own, err := c.socket(); err == nil && path == own {
			os.Remove(path)
		}
	}
	c.link.Close()
	files := []string{
		bundle.PidFile, bundle.JournalFile, bundle.JournalFile + ".1", bundle.LockFile,
		bundle.AddressFile, bundle.ExitFile, bundle.TaskFile,
	}
	if err := removeTree(filepath.Join(c.dir, bundle.ExecsDir)); err != nil {
		return err
	}
	for _, name := range files {
		if err := os.Remove(filepath.Join(c.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove run: %w", err)
		}
	}
	return nil
}
