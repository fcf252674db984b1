package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

// Times between two readings of the counters. A percentage needs two; without
// a stream the second comes soon.
const (
	statsInterval = time.Second
	statsGlance   = 250 * time.Millisecond
)

func setupStats(fs *pflag.FlagSet) action {
	once := fs.Bool("no-stream", false, "print one reading and end")
	return func(ctx context.Context, c *cli, args []string) error {
		m, err := c.open()
		if err != nil {
			return err
		}
		v := &statsView{c: c, m: m, last: map[string]manager.Stats{}, sick: map[string]int{}}
		defer func() { closeAll(v.open) }()
		if len(args) > 0 {
			if v.fixed, err = v.named(ctx, args); err != nil {
				return err
			}
		}
		if _, err := v.read(ctx); err != nil {
			return err
		}
		interval := statsGlance
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(interval):
			}
			lines, err := v.read(ctx)
			if err != nil {
				return err
			}
			if err := v.show(lines, *once); err != nil || *once || (v.fixed != nil && len(lines) == 0) {
				return err
			}
			interval = statsInterval
		}
	}
}

// statsView reads and shows the counters of some containers again and again.
type statsView struct {
	c     *cli
	m     *manager.Manager
	fixed []*manager.Container // those named by the user; nil is all that run
	open  []*manager.Container // to be closed
	last  map[string]manager.Stats
	sick  map[string]int // readings to come without those whose shims did not answer
}

// sickPause is for how many readings a container is left out whose shim has not
// answered: each would delay the others for as long as that takes to find out.
const sickPause = 10

// statsLine is one reading of one container.
type statsLine struct {
	ID         string  `json:"id"`
	CPUPercent float64 `json:"cpu_percent"` // of one processor
	manager.Stats
}

func (v *statsView) named(ctx context.Context, ids []string) ([]*manager.Container, error) {
	for _, id := range ids {
		ct, task, err := v.c.task(ctx, id)
		if err != nil {
			return nil, err
		}
		v.open = append(v.open, ct)
		if st, err := task.Status(ctx); err != nil {
			return nil, err
		} else if st.State == manager.StateStopped {
			return nil, fmt.Errorf("read counters of %s: it has stopped", id)
		} else if st.State == manager.StateUnknown {
			return nil, fmt.Errorf("read counters of %s: %w", id, st.Err)
		}
	}
	return v.open, nil
}

// read asks all shims at once. A container that has no counters (it has ended,
// its shim hangs) is left out.
func (v *statsView) read(ctx context.Context) ([]statsLine, error) {
	cts := v.fixed
	if cts == nil {
		closeAll(v.open)
		var err error
		if cts, err = v.m.List(ctx); err != nil {
			return nil, err
		}
		v.open = cts
	}
	stats := make([]*manager.Stats, len(cts))
	errs := make([]error, len(cts))
	var wg sync.WaitGroup
	for i, ct := range cts {
		if v.sick[ct.ID()]--; v.sick[ct.ID()] < 0 {
			wg.Go(func() { stats[i], errs[i] = statsOf(ctx, ct) })
		}
	}
	wg.Wait()
	var lines []statsLine
	for i, ct := range cts {
		if errors.Is(errs[i], manager.ErrTimeout) {
			v.sick[ct.ID()] = sickPause
		}
		if stats[i] == nil {
			if v.fixed != nil && errs[i] != nil && v.last[ct.ID()].Time.IsZero() {
				return nil, errs[i]
			}
			continue
		}
		lines = append(lines, statsLine{ct.ID(), cpuPercent(v.last[ct.ID()], *stats[i]), *stats[i]})
		v.last[ct.ID()] = *stats[i]
	}
	return lines, context.Cause(ctx)
}

// statsOf reads the counters of one container; nil without an error if it does
// not run.
func statsOf(ctx context.Context, ct *manager.Container) (*manager.Stats, error) {
	task, err := ct.Task(ctx)
	if errors.Is(err, manager.ErrNoTask) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	st, err := task.Status(ctx)
	if err != nil || st.State == manager.StateStopped || st.State == manager.StateUnknown {
		return nil, errors.Join(err, st.Err)
	}
	s, err := task.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// cpuPercent is the use of processors between two readings; 100 is one of them
// all the time.
func cpuPercent(before, after manager.Stats) float64 {
	wall := after.Time.Sub(before.Time)
	if before.Time.IsZero() || wall <= 0 || after.CPU.Usage < before.CPU.Usage {
		return 0
	}
	return 100 * float64(after.CPU.Usage-before.CPU.Usage) / float64(wall)
}

func (v *statsView) show(lines []statsLine, once bool) error {
	if v.c.json {
		for _, l := range lines {
			if err := v.c.ui.object(l); err != nil {
				return err
			}
		}
		return nil
	}
	if !once && v.c.ui.columns > 0 {
		v.c.ui.clear()
	}
	var rows [][]string
	for _, l := range lines {
		rows = append(rows, []string{
			l.ID, fmt.Sprintf("%.1f%%", l.CPUPercent),
			bytesText(l.Memory.Usage) + " / " + limitText(l.Memory.Limit, bytesText), memPercent(l.Memory),
			fmt.Sprint(l.Pids.Current) + " / " + limitText(l.Pids.Limit, func(n uint64) string { return fmt.Sprint(n) }),
			bytesText(l.IO.ReadBytes) + " / " + bytesText(l.IO.WriteBytes),
		})
	}
	v.c.ui.table([]string{"ID", "CPU", "MEMORY / LIMIT", "MEM", "PIDS / LIMIT", "READ / WRITTEN"}, rows, false)
	return nil
}

// limitText is a limit; 0 is none.
func limitText(n uint64, text func(uint64) string) string {
	if n == 0 {
		return "none"
	}
	return text(n)
}

func memPercent(m manager.MemoryStats) string {
	if m.Limit == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(m.Usage)/float64(m.Limit))
}
