package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

func setupAttach(fs *pflag.FlagSet) action {
	exec := fs.String("exec", "", "attach to this `exec` instead of the first process")
	noStdin := fs.Bool("no-stdin", false, "only watch")
	replay := size{}
	fs.Var(&replay, "replay", "begin with so much of what was written before, as 4k")
	front := newFrontFlags(fs)
	return func(ctx context.Context, c *cli, args []string) error {
		ct, task, err := c.task(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		p, tty, err := pick(ctx, ct, task, *exec)
		if err != nil {
			return err
		}
		stdin := !*noStdin && (*exec != "" || ct.Record().Stdio.OpenStdin)
		s, err := front.session(c, "attach", tty, stdin, false)
		if err != nil {
			return err
		}
		s.nudge, s.replay = true, replay.bytes
		end, err := s.run(ctx, p, args[0], nil)
		if n := (*notStarted)(nil); errors.As(err, &n) {
			return n.error
		}
		if err != nil || end.detached {
			return err
		}
		return c.exitStatus(args[0], end.exit)
	}
}

// pick returns a process of a container and whether it has a terminal.
func pick(ctx context.Context, ct *manager.Container, task *manager.Task, exec string) (process, bool, error) {
	info, err := ct.Inspect(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, proc := range info.Processes {
		switch {
		case proc.Exec != (exec != "") || (proc.Exec && proc.ID != exec):
		case proc.Status == manager.StateStopped:
			return nil, false, fmt.Errorf("attach %s: it has stopped", proc.ID)
		case !proc.Exec:
			return task, proc.Terminal, nil
		default:
			e, err := task.LoadExec(ctx, exec)
			return e, proc.Terminal, err
		}
	}
	if exec != "" && info.Status != manager.StateUnknown {
		return nil, false, fmt.Errorf("attach %s: exec %s: %w", ct.ID(), exec, manager.ErrNotFound)
	}
	if info.Status == manager.StateUnknown {
		return nil, false, fmt.Errorf("attach %s: %s", ct.ID(), info.Reason)
	}
	return nil, false, fmt.Errorf("attach %s: it is %s", ct.ID(), info.Status)
}
