package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

func setupPs(fs *pflag.FlagSet) action {
	all := fs.BoolP("all", "a", false, "those that do not run, too")
	quiet := fs.BoolP("quiet", "q", false, "ids only")
	full := fs.Bool("no-trunc", false, "do not shorten commands and labels")
	filters := fs.StringArrayP("filter", "f", nil, "only those that `match`: label=KEY, label=KEY=VALUE, label=KEY!=VALUE, id=PATTERN or status=STATE (repeat, all must)")
	return func(ctx context.Context, c *cli, _ []string) error {
		every := *all
		for _, f := range *filters {
			every = every || strings.HasPrefix(f, "status=")
		}
		m, err := c.open()
		if err != nil {
			return err
		}
		stop := c.ui.busy("listing containers")
		defer stop()
		cts, err := m.List(ctx, *filters...)
		if err != nil {
			return err
		}
		defer closeAll(cts)
		cts = c.withoutSwept(ctx, m, cts)
		if c.json {
			return c.psJSON(m.Inspects(ctx, cts), every, *quiet)
		}
		if *quiet && every { // the directory knows all of it
			for _, ct := range cts {
				c.ui.line("%s", ct.ID())
			}
			return nil
		}
		states := m.Statuses(ctx, cts)
		stop()
		c.psTable(cts, states, every, *quiet, *full)
		return ctx.Err()
	}
}

// closeAll closes the connections that asking has opened.
func closeAll(cts []*manager.Container) {
	for _, ct := range cts {
		ct.Close()
	}
}

// withoutSwept drops leftovers of --rm and leaves them out.
func (c *cli) withoutSwept(ctx context.Context, m *manager.Manager, cts []*manager.Container) []*manager.Container {
	gone := c.sweep(ctx, m, cts...)
	if len(gone) == 0 {
		return cts
	}
	var left []*manager.Container
	for _, ct := range cts {
		if !gone[ct.ID()] {
			left = append(left, ct)
		}
	}
	return left
}

// alive reports whether ps shows a container without -a: it has a process, or
// nobody knows whether it has.
func alive(s manager.State) bool {
	switch s {
	case manager.StateNone, manager.StateCreated, manager.StateStopped:
		return false
	}
	return true
}

func (c *cli) psJSON(infos []manager.Inspect, every, quiet bool) error {
	for _, info := range infos {
		if !every && !alive(info.Status) {
			continue
		}
		var v any = info
		if quiet {
			v = map[string]string{"id": info.ID}
		}
		if err := c.ui.object(v); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) psTable(cts []*manager.Container, states []manager.Status, every, quiet, full bool) {
	var rows [][]string
	for i, ct := range cts {
		if !every && !alive(states[i].State) {
			continue
		}
		if quiet {
			c.ui.line("%s", ct.ID())
			continue
		}
		rows = append(rows, c.psRow(ct, states[i], full))
	}
	if !quiet {
		c.ui.table([]string{"ID", "STATUS", "PID", "UP", "CREATED", "RUNTIME", "COMMAND"}, rows, !full)
	}
}

// Widths of columns that may be long, in characters, unless --no-trunc.
const (
	commandWidth = 40
	runtimeWidth = 20
)

func (c *cli) psRow(ct *manager.Container, st manager.Status, full bool) []string {
	rec := ct.Record()
	pid, up := "-", "-"
	if alive(st.State) || st.State == manager.StateCreated {
		if st.PID != 0 {
			pid = fmt.Sprint(st.PID)
		}
		if !st.StartedAt.IsZero() {
			up = span(c.now().Sub(st.StartedAt))
		}
	}
	command := "-"
	if spec, err := ct.Spec(); err == nil && spec.Process != nil {
		command = quoted(spec.Process.Args)
	}
	runtime := rec.Runtime.Binary
	if i := strings.LastIndexByte(runtime, '/'); !full && i >= 0 {
		runtime = runtime[i+1:]
	}
	if !full {
		command, runtime = truncate(command, commandWidth), truncate(runtime, runtimeWidth)
	}
	return []string{ct.ID(), stateText(st), pid, up, age(rec.Created, c.now()) + " ago", or(runtime, "-"), command}
}

// or returns s, or fallback if s is empty.
func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func setupTop(fs *pflag.FlagSet) action {
	full := fs.Bool("no-trunc", false, "do not cut lines at the edge of the terminal")
	return func(ctx context.Context, c *cli, args []string) error {
		ct, task, err := c.task(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		pids, err := task.Pids(ctx)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return fmt.Errorf("list processes of %s: it does not run", args[0])
		}
		return c.printTop(readProcs(pids), *full)
	}
}

func (c *cli) printTop(procs []proc, full bool) error {
	if c.json {
		for _, p := range procs {
			if err := c.ui.object(p); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	for _, p := range procs {
		rows = append(rows, []string{fmt.Sprint(p.PID), fmt.Sprint(p.PPID), p.User, p.State, cpuTime(p.CPU), p.Command})
	}
	c.ui.table([]string{"PID", "PPID", "USER", "STATE", "TIME", "COMMAND"}, rows, !full)
	return nil
}
