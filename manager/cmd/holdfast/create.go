package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

func setupCreate(fs *pflag.FlagSet) action {
	remove := fs.Bool("rm", false, "remove the container once it has stopped")
	f := newSpecFlags(fs)
	return func(ctx context.Context, c *cli, args []string) error {
		if err := f.check("create"); err != nil {
			return err
		}
		f.remove = *remove
		argv, err := trailing("create", args[1:])
		if err != nil {
			return err
		}
		m, err := c.open()
		if err != nil {
			return err
		}
		ct, err := f.make(ctx, c, m, args[0], argv)
		if err != nil {
			return err
		}
		defer ct.Close()
		if _, err := ct.NewTask(ctx, manager.TaskConfig{Size: c.size(f.tty)}); err != nil {
			c.undo(ct, nil, true)
			return err
		}
		return c.printID(ct.ID(), "")
	}
}

func setupStart(fs *pflag.FlagSet) action {
	attach := fs.BoolP("attach", "a", false, "stay in the foreground, as run does")
	stdin := fs.BoolP("interactive", "i", false, "with -a: send it standard input, if it was created with -i")
	front := newFrontFlags(fs)
	return func(ctx context.Context, c *cli, args []string) error {
		if !*attach {
			if *stdin {
				return usage("start", "-i is for -a")
			}
			return c.eachContainer(ctx, args, c.startOne)
		}
		if len(args) != 1 {
			return usage("start", "-a is for one container, not %d", len(args))
		}
		ct, err := c.load(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		spec, err := ct.Spec()
		if err != nil {
			return err
		}
		tty := spec.Process != nil && spec.Process.Terminal
		s, err := front.session(c, "start", tty, *stdin, false)
		if err != nil {
			return err
		}
		task, fresh, err := prepare(ctx, ct, s.size())
		if err != nil {
			return err
		}
		end, err := s.run(ctx, task, ct.ID(), task.Start)
		if errors.As(err, new(*notStarted)) && fresh {
			c.undo(ct, task, false)
		}
		if err != nil || end.detached {
			return err
		}
		return c.exitStatus(ct.ID(), end.exit)
	}
}

// startOne starts a container in the background.
func (c *cli) startOne(ctx context.Context, ct *manager.Container) error {
	task, fresh, err := prepare(ctx, ct, manager.Size{})
	if err != nil {
		return err
	}
	if err := task.Start(ctx); err != nil {
		if fresh {
			c.undo(ct, task, false)
		}
		return err
	}
	return nil
}

// prepare returns a task that can be started: the one that create has left, or
// a fresh one in the place of one that has stopped.
func prepare(ctx context.Context, ct *manager.Container, size manager.Size) (task *manager.Task, fresh bool, err error) {
	st, err := ct.Status(ctx)
	if err != nil {
		return nil, false, err
	}
	switch st.State {
	case manager.StateCreated:
		task, err = ct.Task(ctx)
		return task, false, err
	case manager.StateStopped:
		if task, err = ct.Task(ctx); err != nil {
			return nil, false, err
		}
		if _, err = task.Delete(ctx); err != nil {
			return nil, false, err
		}
	case manager.StateNone:
	case manager.StateUnknown:
		return nil, false, unknownState(ct.ID(), st)
	default:
		return nil, false, fmt.Errorf("start %s: it is already %s", ct.ID(), st.State)
	}
	task, err = ct.NewTask(ctx, manager.TaskConfig{Size: size})
	return task, true, err
}

// unknownState is the error of a command that needs to know how a container
// fares and cannot.
func unknownState(id string, st manager.Status) error {
	if st.Err != nil {
		return fmt.Errorf("ask for the state of %s: %w", id, st.Err)
	}
	return fmt.Errorf("ask for the state of %s: %s", id, st.Reason)
}
