package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

// load finds a container by its id.
func (c *cli) load(ctx context.Context, id string) (*manager.Container, error) {
	m, err := c.open()
	if err != nil {
		return nil, err
	}
	return m.Load(ctx, id)
}

// task finds the run of a container.
func (c *cli) task(ctx context.Context, id string) (*manager.Container, *manager.Task, error) {
	ct, err := c.load(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	task, err := ct.Task(ctx)
	if err != nil {
		ct.Close()
		return nil, nil, err
	}
	return ct, task, nil
}

// each does something to every container named. One that fails does not keep
// the others from it.
func (c *cli) each(ctx context.Context, ids []string, do func(ctx context.Context, id string) error) error {
	if _, err := c.open(); err != nil {
		return err
	}
	var failed error
	for _, id := range ids {
		err := do(ctx, id)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil && len(ids) == 1 {
			return err
		}
		if err != nil {
			c.ui.fail(err)
			failed = reported{}
		}
	}
	return failed
}

// eachContainer is each with the containers loaded.
func (c *cli) eachContainer(ctx context.Context, ids []string, do func(context.Context, *manager.Container) error) error {
	return c.each(ctx, ids, func(ctx context.Context, id string) error {
		ct, err := c.load(ctx, id)
		if err != nil {
			return err
		}
		defer ct.Close()
		return do(ctx, ct)
	})
}

// eachTask is each with the runs of the containers.
func (c *cli) eachTask(ctx context.Context, ids []string, do func(context.Context, *manager.Task) error) error {
	return c.eachContainer(ctx, ids, func(ctx context.Context, ct *manager.Container) error {
		task, err := ct.Task(ctx)
		if err != nil {
			return err
		}
		return do(ctx, task)
	})
}

func setupKill(fs *pflag.FlagSet) action {
	name := fs.StringP("signal", "s", "KILL", "`signal` to send, a name or a number; 0 only asks whether it runs")
	all := fs.BoolP("all", "a", false, "send it to every process of the container")
	exec := fs.String("exec", "", "send it to this `exec` instead of the first process")
	return func(ctx context.Context, c *cli, args []string) error {
		sig, err := parseSignal(*name)
		if err != nil {
			return usage("kill", "%v", err)
		}
		if *exec != "" && (*all || len(args) > 1) {
			return usage("kill", "--exec names one process of one container")
		}
		return c.eachTask(ctx, args, func(ctx context.Context, task *manager.Task) error {
			switch {
			case *exec != "":
				e, err := task.LoadExec(ctx, *exec)
				if err != nil {
					return err
				}
				return e.Kill(ctx, sig)
			case *all:
				return task.KillAll(ctx, sig)
			}
			return task.Kill(ctx, sig)
		})
	}
}

func setupPause(*pflag.FlagSet) action {
	return func(ctx context.Context, c *cli, args []string) error {
		return c.eachTask(ctx, args, func(ctx context.Context, t *manager.Task) error { return t.Pause(ctx) })
	}
}

func setupResume(*pflag.FlagSet) action {
	return func(ctx context.Context, c *cli, args []string) error {
		return c.eachTask(ctx, args, func(ctx context.Context, t *manager.Task) error { return t.Resume(ctx) })
	}
}

func setupRm(fs *pflag.FlagSet) action {
	force := fs.BoolP("force", "f", false, "kill what still runs; ignore what does not exist")
	return func(ctx context.Context, c *cli, args []string) error {
		stop := c.ui.busy("removing %s", plural(len(args), "container"))
		defer stop()
		return c.each(ctx, args, func(ctx context.Context, id string) error {
			err := c.removeOne(ctx, id, *force)
			if *force && errors.Is(err, manager.ErrNotFound) {
				return nil
			}
			return err
		})
	}
}

func (c *cli) removeOne(ctx context.Context, id string, force bool) error {
	ct, err := c.load(ctx, id)
	if err != nil {
		return err
	}
	defer ct.Close()
	if force {
		return ct.Delete(ctx, manager.Force())
	}
	return ct.Delete(ctx)
}

func setupWait(fs *pflag.FlagSet) action {
	exec := fs.String("exec", "", "wait for this `exec` instead of the first process, and forget it")
	limit := fs.Duration("timeout", 0, "give up after so `long`, as 30s")
	return func(ctx context.Context, c *cli, args []string) error {
		if *exec != "" && len(args) > 1 {
			return usage("wait", "--exec names one process of one container")
		}
		if *limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, *limit, fmt.Errorf("wait: still running after %s", *limit))
			defer cancel()
		}
		last := error(nil)
		for _, id := range args {
			err := c.waitOne(ctx, id, *exec)
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			if err != nil && !isStatus(err) {
				c.ui.fail(err)
				err = reported{}
			}
			last = err
		}
		return last
	}
}

// waitOne waits for one process, prints its exit code and returns it as a
// status.
func (c *cli) waitOne(ctx context.Context, id, exec string) error {
	ct, task, err := c.task(ctx, id)
	if err != nil {
		return err
	}
	defer ct.Close()
	var exit manager.Exit
	if exec == "" {
		exit, err = task.Wait(ctx)
	} else {
		exit, err = c.waitExec(ctx, task, exec)
	}
	if err != nil {
		return err
	}
	if exec == "" {
		c.sweep(ctx, c.mgr, ct)
	}
	return c.printExit(id, exec, exit)
}

func (c *cli) waitExec(ctx context.Context, task *manager.Task, exec string) (manager.Exit, error) {
	e, err := task.LoadExec(ctx, exec)
	if err != nil {
		return manager.Exit{}, err
	}
	exit, err := e.Wait(ctx)
	if err != nil {
		return exit, err
	}
	if _, err := e.Delete(ctx); err != nil && !errors.Is(err, manager.ErrNotFound) {
		return exit, err
	}
	return exit, nil
}

// exitObject is the JSON of wait.
type exitObject struct {
	ID       string    `json:"id"`
	Exec     string    `json:"exec,omitempty"`
	Code     int       `json:"code"`
	Signal   int       `json:"signal"`
	Core     bool      `json:"core"`
	Known    bool      `json:"known"`
	Failed   bool      `json:"failed"`
	Reason   string    `json:"reason,omitempty"`
	OOM      bool      `json:"oom"`
	ExitedAt time.Time `json:"exited_at"`
}

// printExit prints how a process ended, and returns its status.
func (c *cli) printExit(id, exec string, e manager.Exit) error {
	if c.json {
		err := c.ui.object(exitObject{id, exec, e.Code, int(e.Signal), e.Core, e.Known, e.Failed, e.Reason, e.OOM, e.ExitedAt})
		if err != nil {
			return err
		}
	}
	switch {
	case e.Failed, e.Known:
		if !c.json {
			c.ui.line("%d", e.Code)
		}
	default:
		c.ui.say("unknown: %s", e.Reason)
		return status(exitOurs)
	}
	return status(e.Code)
}
