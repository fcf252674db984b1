package container

import (
	"context"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/stdio"
	"golang.org/x/sys/unix"
)

// watch is the one goroutine of a living process: it waits for the exit and sees
// it through, in the order that nothing may change:
//
//  1. on record: it survives us
//  2. init only: nothing of the container runs any more
//  3. to everyone who waits
//  4. to everyone who listens: after the start of the same process, and, for init,
//     after the exits of all execs
func (c *Container) watch(p *process) {
	<-p.proc.Done()
	e, _ := p.proc.Exit()
	rec := c.exitRecord(p, e)
	if err := bundle.WriteExit(c.cfg.Bundle, rec); err != nil { // 1
		c.cfg.Log("%v; the status (code %d) is kept in memory", err, rec.Code)
	}
	if p.execID == "" {
		c.endRest() // 2
	}
	c.mu.Lock()
	p.exit = rec
	p.state = p.state.after(evExit)
	starting := p.starting
	c.mu.Unlock()
	close(p.exited) // 3

	if starting != nil {
		<-starting // ends: the OCI runtime has a deadline
	}
	if p.execID == "" && c.waitExecs() {
		c.endRest() // once more: they may have left something, too
	}
	if p.execID == "" || c.hasStarted(p) {
		c.emit(rec.Event(bundle.TopicExit)) // 4
	}
	close(p.announced)
	if p.execID == "" && !c.req.Linger {
		c.retire()
	}
	c.cfg.Changed()
}

// hasStarted reports whether a start of p was announced: the OCI runtime may
// fail when the process of an exec is there already, and then nobody has heard
// of it.
func (c *Container) hasStarted(p *process) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !p.startedAt.IsZero()
}

// exitRecord is what is known about the end of p.
func (c *Container) exitRecord(p *process, e reaper.Exit) bundle.Exit {
	c.mu.Lock()
	dumping, cg := c.dumping, c.cgroup
	rec := bundle.Exit{
		ID: c.cfg.ID, ExecID: p.execID, PID: p.pid(), BootID: c.task.Init.BootID,
		Known: e.Known, Status: e.Status, Reason: e.Reason, Code: e.Code(),
		CreatedAt: p.createdAt, StartedAt: p.startedAt, ExitedAt: e.At,
		User: e.Rusage.User, System: e.Rusage.System, MaxRSS: e.Rusage.MaxRSS,
	}
	if p.isStarting() { // it was quicker than the OCI runtime's word that it runs
		rec.StartedAt = p.triedAt
	}
	c.mu.Unlock()
	if !e.Known {
		rec.Status = 0
	}
	if p.execID == "" && dumping {
		rec.Reason = "ended by a checkpoint"
	}
	if cg != nil {
		if kills, err := cg.OOMKills(); err == nil {
			rec.OOM = kills > 0
		}
	}
	if io := p.opened(); io != nil {
		n := io.Counters()
		rec.StdoutBytes, rec.StderrBytes = n.Stdout.In, n.Stderr.In
	}
	return rec
}

// endRest ends what init leaves behind. The kernel has done it for a container
// with a pid namespace of its own, unless the cgroup is frozen.
func (c *Container) endRest() {
	c.mu.Lock()
	frozen, cg := c.init.state == paused || c.pausing, c.cgroup
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	if frozen {
		if err := c.thawDying(ctx); err != nil {
			c.cfg.Log("%v", err)
		}
	}
	if c.spec.sharesPID {
		if err := c.killAll(ctx, cg, unix.SIGKILL); err != nil {
			c.cfg.Log("end the rest of the container: %v", err)
		}
	}
}

// waitExecs waits until the exits of all execs that run are announced, so that
// init's comes last. One that does not die is killed; one that cannot even be
// killed (uninterruptible sleep) does not hold up the news for ever. It reports
// whether there were any.
func (c *Container) waitExecs() bool {
	c.mu.Lock()
	var rest []*process
	for _, p := range c.execs {
		if p.proc != nil || p.isStarting() {
			rest = append(rest, p)
		}
	}
	c.mu.Unlock()
	if len(rest) == 0 {
		return false
	}
	limit := time.NewTimer(killLimit)
	defer limit.Stop()
	for _, p := range rest {
		c.mu.Lock()
		proc := p.proc
		c.mu.Unlock()
		if proc != nil {
			_ = proc.Signal(unix.SIGKILL)
		}
		select {
		case <-p.announced:
		case <-limit.C:
			c.cfg.Log("exec %s is still there %v after init's end; announcing that first", p.execID, killLimit)
			return true
		}
	}
	return true
}

// retire is what a container without a daemon does when it is over: it leaves
// nothing but its records, and the shim may end. Output still on its way to a
// client that reads is waited for without a limit; the client's end ends it.
func (c *Container) retire() {
	ctx, cancel := context.WithTimeout(context.Background(), runtimeLimit)
	defer cancel()
	leave, err := c.alone(ctx)
	if err != nil {
		c.cfg.Log("clean up after the exit: %v; delete will", err)
		return
	}
	err = c.teardown(ctx)
	leave()
	if err != nil {
		c.cfg.Log("clean up after the exit: %v; delete will", err)
	}
	if io := c.init.opened(); io != nil {
		<-io.Drained()
	}
	c.finishRecord()
	for _, io := range c.execOutputs() {
		<-io.Drained()
	}
	c.mu.Lock()
	c.retired = true
	c.mu.Unlock()
}

// execOutputs returns the streams of the execs that have run and are not deleted.
func (c *Container) execOutputs() []*stdio.Stdio {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*stdio.Stdio
	for _, p := range c.execs {
		if io := p.opened(); p.proc != nil && io != nil {
			all = append(all, io)
		}
	}
	return all
}

// finishRecord adds the final byte counts to init's exit record.
func (c *Container) finishRecord() {
	io := c.init.opened()
	if io == nil {
		return
	}
	n := io.Counters()
	stdout, stderr := n.Stdout.In, n.Stderr.In
	c.mu.Lock()
	rec := c.init.exit
	same := rec.StdoutBytes == stdout && rec.StderrBytes == stderr
	rec.StdoutBytes, rec.StderrBytes = stdout, stderr
	c.init.exit = rec
	gone := c.init.state == deleted
	c.mu.Unlock()
	if same || gone {
		return
	}
	if err := bundle.WriteExit(c.cfg.Bundle, rec); err != nil {
		c.cfg.Log("%v; the record keeps its earlier byte counts", err)
	}
}
