package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

func setupExec(fs *pflag.FlagSet) action {
	detach := fs.BoolP("detach", "d", false, "run in the background and print the exec's id")
	var cfg manager.ExecConfig
	fs.StringVar(&cfg.ID, "exec-id", "", "`id` of the exec within the container (default a random one)")
	env := fs.StringArrayP("env", "e", nil, "set `KEY=VALUE`, or pass KEY on (repeat)")
	fs.StringVarP(&cfg.Cwd, "cwd", "w", "", "working `directory` (default the container's)")
	fs.StringVarP(&cfg.User, "user", "u", "", "run as `USER[:GROUP]` (default the container's)")
	fs.BoolVarP(&cfg.Terminal, "tty", "t", false, "give the command a terminal")
	fs.BoolVarP(&cfg.Stdio.OpenStdin, "interactive", "i", false, "send it standard input")
	fs.StringVar(&cfg.Stdio.Log, "log", "", "`URI` that also gets the output, see 'holdfast help run'")
	front := newFrontFlags(fs)
	return func(ctx context.Context, c *cli, args []string) error {
		argv, err := trailing("exec", args[1:])
		if err != nil {
			return err
		}
		if len(argv) == 0 {
			return usage("exec", "missing COMMAND")
		}
		s, err := front.session(c, "exec", cfg.Terminal, cfg.Stdio.OpenStdin, *detach)
		if err != nil {
			return err
		}
		cfg.Args, cfg.Size = argv, s.size()
		if cfg.Env, err = parseEnv(*env, c.env); err != nil {
			return err
		}
		ct, task, err := c.task(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		return c.exec(ctx, task, s, cfg, *detach)
	}
}

// exec runs a further process, in the background or in the foreground.
func (c *cli) exec(ctx context.Context, task *manager.Task, s *session, cfg manager.ExecConfig, detach bool) error {
	e, err := task.Exec(ctx, cfg)
	if err != nil {
		return err
	}
	if detach {
		if err := e.Start(ctx); err != nil {
			c.forget(e)
			return named(err, cfg.Args[0])
		}
		return c.printID(task.ID(), e.ID())
	}
	s.lost = unix.SIGPIPE
	end, err := s.run(ctx, e, e.ID(), e.Start)
	if end.over || errors.As(err, new(*notStarted)) {
		c.forget(e)
	}
	if err != nil || end.detached {
		return named(err, cfg.Args[0])
	}
	return c.exitStatus(task.ID(), end.exit)
}

// named makes sure that a failed start says of which program: not every OCI
// runtime does.
func named(err error, program string) error {
	if errors.As(err, new(*manager.StartError)) && !strings.Contains(err.Error(), program) {
		return fmt.Errorf("exec %s: %w", program, err)
	}
	return err
}

// forgetTime bounds the deletion of an exec's record. The shim waits for output
// that is still to come, up to a second before its caller's patience ends; all
// that we wanted has come by then.
const forgetTime = 4 * time.Second

// forget deletes the record of an exec. When it cannot be had any more, the
// container is gone and with it the record.
func (c *cli) forget(e *manager.Exec) {
	ctx, cancel := context.WithTimeout(context.Background(), forgetTime)
	defer cancel()
	_, err := e.Delete(ctx)
	if err != nil && !errors.Is(err, manager.ErrNotFound) && !errors.Is(err, manager.ErrNoTask) && !errors.Is(err, manager.ErrShimDead) {
		c.ui.say("cleaning up: %v", err)
	}
}
