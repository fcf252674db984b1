package main

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// undoTime bounds the removal of what an interrupted or failed command made.
const undoTime = 30 * time.Second

// shownOnly is the log that keeps nothing, for output that is looked at: with
// manager.LogNone the process would write to /dev/null and we get nothing.
const shownOnly = "attach://"

func setupRun(fs *pflag.FlagSet) action {
	detach := fs.BoolP("detach", "d", false, "run in the background and print the id")
	remove := fs.Bool("rm", false, "remove the container once it has stopped")
	f := newSpecFlags(fs)
	front := newFrontFlags(fs)
	return func(ctx context.Context, c *cli, args []string) error {
		if err := f.check("run"); err != nil {
			return err
		}
		f.remove = *remove
		id := args[0]
		argv, err := trailing("run", args[1:])
		if err != nil {
			return err
		}
		s, err := front.session(c, "run", f.tty, f.stdin, *detach)
		if err != nil {
			return err
		}
		if !*detach && (f.log == manager.LogNone || *remove && f.log == "") {
			f.log = shownOnly // a log would be removed before anybody read it
		}
		m, err := c.open()
		if err != nil {
			return err
		}
		ct, err := f.make(ctx, c, m, id, argv)
		if err != nil {
			return err
		}
		defer ct.Close()
		return c.launch(ctx, ct, s, launchConfig{
			task:   manager.TaskConfig{Size: s.size()},
			detach: *detach, remove: *remove, undo: true,
		})
	}
}

// launchConfig says how a new task of a container is run.
type launchConfig struct {
	task    manager.TaskConfig
	detach  bool
	remove  bool   // the container once it has stopped
	undo    bool   // remove the container if its task does not start
	started func() // called once it runs, or nil
}

// launch makes a task and starts it, in the background or in the foreground.
func (c *cli) launch(ctx context.Context, ct *manager.Container, s *session, cfg launchConfig) error {
	if cfg.started == nil {
		cfg.started = func() {}
	}
	task, err := ct.NewTask(ctx, cfg.task)
	if err != nil {
		c.undo(ct, nil, cfg.undo)
		return err
	}
	if cfg.detach {
		if err := task.Start(ctx); err != nil {
			c.undo(ct, task, cfg.undo)
			return err
		}
		return c.printID(ct.ID(), "")
	}
	s.lost = unix.SIGKILL // the first process of a pid namespace does not mind SIGPIPE
	end, err := s.run(ctx, task, ct.ID(), func(ctx context.Context) error {
		defer cfg.started()
		return task.Start(ctx)
	})
	switch {
	case errors.As(err, new(*notStarted)):
		c.undo(ct, task, cfg.undo)
		return err
	case cfg.remove && end.over:
		if err := c.removeStopped(ct); err != nil {
			c.ui.fail(err) // the status of the process matters more
		}
	}
	if err != nil || end.detached {
		return err
	}
	return c.exitStatus(ct.ID(), end.exit)
}

// undo takes back what a failed command has made, even if the user has
// interrupted it. task is nil if there is none.
func (c *cli) undo(ct *manager.Container, task *manager.Task, container bool) {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	var err error
	if container {
		err = ct.Delete(ctx, manager.Force())
	} else if task != nil {
		_, err = task.Delete(ctx, manager.Force())
	}
	if err != nil && !errors.Is(err, manager.ErrNotFound) && !errors.Is(err, manager.ErrNoTask) {
		c.ui.say("cleaning up: %v", err)
	}
}

// removeStopped removes a container whose process has just ended; another
// holdfast may have been quicker.
func (c *cli) removeStopped(ct *manager.Container) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	if err := ct.Delete(ctx); err != nil && !errors.Is(err, manager.ErrNotFound) {
		return err
	}
	return nil
}

// sweep removes those of the containers that were run with --rm and have
// stopped. It reports whether each is gone. Errors are for whoever needs the
// container gone to meet again.
func (c *cli) sweep(ctx context.Context, m *manager.Manager, cts ...*manager.Container) map[string]bool {
	var marked []*manager.Container
	for _, ct := range cts {
		if ct.Labels()[autoRemove] != "" {
			marked = append(marked, ct)
		}
	}
	gone := map[string]bool{}
	for i, st := range m.Statuses(ctx, marked) {
		if st.State != manager.StateStopped {
			continue
		}
		err := marked[i].Delete(ctx)
		gone[marked[i].ID()] = err == nil || errors.Is(err, manager.ErrNotFound)
	}
	return gone
}

// printID prints the id of what was made.
func (c *cli) printID(id, exec string) error {
	switch {
	case c.json && exec != "":
		return c.ui.object(map[string]string{"id": id, "exec": exec})
	case c.json:
		return c.ui.object(map[string]string{"id": id})
	case exec != "":
		c.ui.line("%s", exec)
	default:
		c.ui.line("%s", id)
	}
	return nil
}

// exitStatus turns the end of a process into the end of holdfast.
func (c *cli) exitStatus(name string, e manager.Exit) error {
	if e.Failed {
		c.ui.say("%s: %s", name, e.Reason)
		return status(e.Code)
	}
	if !e.Known {
		c.ui.say("%s: exit status unknown: %s", name, e.Reason)
		return status(exitOurs)
	}
	if e.OOM && e.Signal != 0 {
		c.ui.say("%s: killed, the out-of-memory killer has struck in its cgroup", name)
	}
	if e.Code == 0 {
		return nil
	}
	return status(e.Code)
}
