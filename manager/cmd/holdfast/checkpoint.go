package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

// criuFlags are what checkpoint and restore have in common.
func criuFlags(fs *pflag.FlagSet, cfg *manager.CheckpointConfig) {
	fs.BoolVar(&cfg.OpenTCP, "tcp-established", false, "allow open TCP connections")
	fs.BoolVar(&cfg.ExternalUnixSockets, "ext-unix-sk", false, "allow unix sockets whose other end is outside")
	fs.BoolVar(&cfg.Terminal, "shell-job", false, "allow a terminal")
	fs.BoolVar(&cfg.FileLocks, "file-locks", false, "allow file locks")
	fs.StringArrayVar(&cfg.EmptyNamespaces, "empty-ns", nil, "save this `namespace` as an empty one, as network (repeat)")
	fs.StringVar(&cfg.WorkPath, "work-path", "", "`directory` for criu's logs (default DIR)")
}

func setupCheckpoint(fs *pflag.FlagSet) action {
	leave := fs.Bool("leave-running", false, "let the container go on afterwards")
	var cfg manager.CheckpointConfig
	criuFlags(fs, &cfg)
	fs.StringVar(&cfg.Parent, "parent-path", "", "`directory` of an earlier checkpoint, to save only what has changed")
	return func(ctx context.Context, c *cli, args []string) error {
		cfg.Exit = !*leave
		cfg.Path, cfg.WorkPath, cfg.Parent = absolute(args[1]), absolute(cfg.WorkPath), absolute(cfg.Parent)
		ct, task, err := c.task(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		stop := c.ui.busy("saving %s to %s", args[0], args[1])
		err = task.Checkpoint(ctx, cfg)
		stop()
		if err != nil {
			return withCriuHint(err)
		}
		if c.json {
			return c.ui.object(map[string]string{"id": args[0], "path": cfg.Path})
		}
		return nil
	}
}

func setupRestore(fs *pflag.FlagSet) action {
	detach := fs.BoolP("detach", "d", false, "run in the background and print the id")
	remove := fs.Bool("rm", false, "remove the container once it has stopped")
	var cfg manager.CheckpointConfig
	criuFlags(fs, &cfg)
	parent := fs.String("parent-path", "", "`directory` of the checkpoint that this one is a difference from")
	f := newSpecFlags(fs)
	front := newFrontFlags(fs)
	return func(ctx context.Context, c *cli, args []string) error {
		if f.given() {
			if err := f.check("restore"); err != nil {
				return err
			}
		}
		f.remove = *remove
		if _, err := c.open(); err != nil {
			return err
		}
		ct, fresh, err := c.restoreInto(ctx, f, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		s, err := c.restoreSession(ct, front, *detach)
		if err != nil {
			c.undo(ct, nil, fresh)
			return err
		}
		cfg.WorkPath = absolute(cfg.WorkPath)
		stop := c.ui.busy("restoring %s from %s", args[0], args[1])
		defer stop()
		err = c.launch(ctx, ct, s, launchConfig{
			task: manager.TaskConfig{
				Size: s.size(), Checkpoint: absolute(args[1]), ParentCheckpoint: absolute(*parent), Restore: cfg,
			},
			detach: *detach, remove: ct.Labels()[autoRemove] != "", undo: fresh, started: stop,
		})
		return withCriuHint(err)
	}
}

// restoreSession prepares the foreground of a restored container, whose spec
// says whether it has a terminal.
func (c *cli) restoreSession(ct *manager.Container, front *frontFlags, detach bool) (*session, error) {
	spec, err := ct.Spec()
	if err != nil {
		return nil, err
	}
	tty := spec.Process != nil && spec.Process.Terminal
	return front.session(c, "restore", tty, ct.Record().Stdio.OpenStdin, detach)
}

// restoreInto returns the container to restore: a new one if the flags describe
// it, else the one of that id, its last run forgotten.
func (c *cli) restoreInto(ctx context.Context, f *specFlags, id string) (ct *manager.Container, fresh bool, err error) {
	if f.given() {
		ct, err = f.make(ctx, c, c.mgr, id, nil)
		return ct, true, err
	}
	if ct, err = c.load(ctx, id); err != nil {
		return nil, false, err
	}
	if err = clear(ctx, ct); err != nil {
		ct.Close()
		return nil, false, err
	}
	return ct, false, nil
}

// clear deletes the run of a container unless it is alive.
func clear(ctx context.Context, ct *manager.Container) error {
	st, err := ct.Status(ctx)
	switch {
	case err != nil:
		return err
	case st.State == manager.StateNone:
		return nil
	case st.State == manager.StateUnknown:
		return unknownState(ct.ID(), st)
	case st.State != manager.StateStopped && st.State != manager.StateCreated:
		return fmt.Errorf("restore %s: it is %s", ct.ID(), st.State)
	}
	task, err := ct.Task(ctx)
	if err != nil {
		return err
	}
	_, err = task.Delete(ctx)
	return err
}

// withCriuHint adds where to look when it is the OCI runtime, and so perhaps
// criu, that has failed, and not for want of a file.
func withCriuHint(err error) error {
	switch {
	case err == nil || isStatus(err) || hintFor(err) != "":
		return err
	case errors.Is(err, errors.ErrUnsupported):
		return &hinted{err, "runc can, and crun if it was built with criu"}
	case strings.Contains(err.Error(), "OCI runtime") && !strings.Contains(err.Error(), "no such file or directory"):
		return &hinted{err, "'criu check' tells whether criu suits this kernel; run or restore with --criu-dir for another one"}
	}
	return err
}
