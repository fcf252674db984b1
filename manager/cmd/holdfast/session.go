package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast/holdfast/console/term"
	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// frontFlags say how a process in the foreground is tied to the user.
type frontFlags struct {
	detachKeys string
	sigProxy   bool
}

func newFrontFlags(fs *pflag.FlagSet) *frontFlags {
	f := &frontFlags{}
	fs.StringVar(&f.detachKeys, "detach-keys", term.DefaultKeys, "`keys` that leave a terminal without ending its process")
	fs.BoolVar(&f.sigProxy, "sig-proxy", true, "without a terminal: pass signals on to the process")
	return f
}

// session ties one process of a container to holdfast's own streams, terminal
// and signals, until the process exits or the user detaches.
//
//	stdin ──(detach keys)──► attach stream ──► process
//	stdout, stderr ◄──────── attach stream ◄──
//	SIGWINCH ─► resize      SIGINT … ─► kill (without a terminal)
//
// It attaches before the process starts and makes the process wait for us, so
// that no byte is lost. Without a terminal the output is passed on unchanged.
type session struct {
	c        *cli
	tty      bool // the process has a terminal
	stdin    bool // and shall read ours
	sigProxy bool
	keys     []byte
	// lost is sent to the process when its output cannot be written any more,
	// as the kernel does in a pipeline; 0 leaves it alone.
	lost   syscall.Signal
	nudge  bool  // resize even to the same size, so that a program redraws
	replay int64 // bytes written before we came that shall be shown

	meter meter
}

// session checks what can be checked before anything is made.
func (f *frontFlags) session(c *cli, cmd string, tty, stdin, detach bool) (*session, error) {
	keys, err := term.ParseKeys(f.detachKeys)
	if err != nil {
		return nil, usage(cmd, "--detach-keys: %v", err)
	}
	if _, ok := terminal(c.stdin); tty && stdin && !detach && !ok {
		return nil, &hinted{fmt.Errorf("%s: standard input is not a terminal", cmd), "leave out -t, or -i"}
	}
	return &session{c: c, tty: tty, stdin: stdin, sigProxy: f.sigProxy, keys: keys}, nil
}

// size of the user's terminal if the process shall have one, else 0 by 0.
func (s *session) size() manager.Size { return s.c.size(s.tty) }

// process is what a task and an exec have in common.
type process interface {
	Wait(ctx context.Context) (manager.Exit, error)
	Kill(ctx context.Context, sig syscall.Signal) error
	ResizeTTY(ctx context.Context, size manager.Size) error
	Attach(ctx context.Context, cfg manager.AttachConfig) (*manager.Attachment, error)
}

// notStarted is the error of a session whose process does not run.
type notStarted struct{ error }

func (n *notStarted) Unwrap() error { return n.error }

// ending is how a session went.
type ending struct {
	over     bool // the process has exited
	exit     manager.Exit
	detached bool
}

// run attaches to p, starts it (unless start is nil) and stays until it has
// exited and all its output is written. name is for messages.
func (s *session) run(ctx context.Context, p process, name string, start func(context.Context) error) (ending, error) {
	end, err := s.hold(ctx, p, name, start)
	if end.detached { // said after the terminal was restored
		s.c.ui.newline()
		s.c.ui.say("detached from %s, which goes on", name)
	}
	return end, err
}

// hold is run while the terminal is ours.
func (s *session) hold(ctx context.Context, p process, name string, start func(context.Context) error) (ending, error) {
	s.c.signals.holdPipe()
	restore, err := s.raw()
	if err != nil {
		return ending{}, &notStarted{err}
	}
	defer restore()
	att, err := p.Attach(ctx, s.streams())
	if err != nil {
		return ending{}, &notStarted{err}
	}
	defer att.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := make(chan struct{})
	defer s.proxy(ctx, p, name, begun)()
	if start != nil {
		if err := s.begin(ctx, start); err != nil {
			return ending{}, &notStarted{err}
		}
	}
	close(begun)
	defer s.follow(ctx, p)()
	return s.await(ctx, p, att)
}

// startGrace is how long a start may go on after the user has interrupted it,
// so that we know whether the process runs.
const startGrace = 5 * time.Second

// begin starts the process; a signal does not cut that in two. Where signals
// are passed on, one that came before is the end of it.
func (s *session) begin(ctx context.Context, start func(context.Context) error) error {
	calm, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(startGrace, cancel) })()
	if err := start(calm); err != nil {
		return err
	}
	if s.forwards() {
		return context.Cause(ctx)
	}
	return nil
}

// forwards reports whether signals go to the process.
func (s *session) forwards() bool { return s.sigProxy && !s.tty }

// streams returns what the attachment copies from and to.
func (s *session) streams() manager.AttachConfig {
	return manager.AttachConfig{
		Stdin:  s.keyboard(),
		Stdout: &meteredWriter{s.c.stdout, &s.meter},
		Stderr: &meteredWriter{s.c.stderr, &s.meter},
		Sync:   true, ReplayBytes: s.replay,
	}
}

// result is the outcome of Wait.
type result struct {
	exit manager.Exit
	err  error
}

// await returns when the process has exited and its output has ended, or the
// user has detached.
func (s *session) await(ctx context.Context, p process, att *manager.Attachment) (ending, error) {
	exited := make(chan result, 1)
	go func() {
		exit, err := p.Wait(ctx)
		exited <- result{exit, err}
	}()
	done := att.Done()
	for {
		select {
		case r := <-exited:
			if r.err != nil {
				return ending{}, r.err
			}
			return ending{over: true, exit: r.exit}, s.drain(ctx, att)
		case <-done:
			err := att.Wait()
			if errors.Is(err, term.ErrDetached) {
				return ending{detached: true}, nil
			}
			if err := broken(err); err != nil {
				return s.abandon(ctx, p, exited), err
			}
			done = nil // the process has closed its outputs, or lost its shim: Wait will tell
		}
	}
}

// abandon ends a process whose output nobody can see any more.
func (s *session) abandon(ctx context.Context, p process, exited <-chan result) ending {
	if s.lost == 0 {
		return ending{}
	}
	if err := p.Kill(ctx, s.lost); err != nil && !errors.Is(err, manager.ErrExited) {
		s.c.ui.say("end the process, whose output is lost: %v", err)
		return ending{}
	}
	select {
	case r := <-exited:
		return ending{over: r.err == nil, exit: r.exit}
	case <-time.After(leftover):
		return ending{} // it does not mind the signal
	}
}

// broken filters what an attachment's end means for the session: an output of
// ours that cannot be written to ends it, all else Wait knows better.
func broken(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) || errors.Is(err, manager.ErrLagging) {
		return err
	}
	return nil
}

// leftover is how long output may be silent after the exit of its process
// before we believe that what still holds it open (a daemon it has left
// behind) has nothing to do with us. A slow reader of ours is no silence.
const leftover = 2 * time.Second

// drain waits for the end of the output after the process has exited.
func (s *session) drain(ctx context.Context, att *manager.Attachment) error {
	s.meter.touch()
	tick := time.NewTicker(leftover / 10)
	defer tick.Stop()
	for {
		select {
		case <-att.Done():
			return broken(att.Wait())
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if s.meter.silent() > leftover {
				return nil
			}
		}
	}
}

// proxy passes signals on to the process as long as it has no terminal of its
// own; those that come before begun is closed are kept until then. With a
// terminal, a signal to holdfast ends holdfast alone; keys reach the process as
// bytes.
func (s *session) proxy(ctx context.Context, p process, name string, begun <-chan struct{}) (stop func()) {
	if !s.forwards() {
		return func() {}
	}
	interrupts := 0
	s.c.signals.forward(func(sig syscall.Signal) {
		if !s.ready(ctx, begun, sig) {
			return
		}
		err := p.Kill(ctx, sig)
		if err != nil && !errors.Is(err, manager.ErrExited) && !errors.Is(err, manager.ErrNotFound) && ctx.Err() == nil {
			s.c.ui.say("pass on %s: %v", signalName(sig), err)
		}
		if sig == unix.SIGINT {
			interrupts++
		}
		if interrupts == 3 && s.c.ui.live {
			s.c.ui.hint("the process does not react; 'holdfast kill %s' ends it for certain", name)
		}
	})
	return func() { s.c.signals.forward(nil) }
}

// ready waits until the process runs and reports whether it does. A start that
// takes too long is given up, since the user wants to end it.
func (s *session) ready(ctx context.Context, begun <-chan struct{}, sig syscall.Signal) bool {
	late := time.NewTimer(startGrace)
	defer late.Stop()
	select {
	case <-begun:
		return true
	case <-late.C:
		s.c.signals.cancel(&interrupted{sig})
	case <-ctx.Done():
	}
	return false
}

// meter tells how long it is ago that output moved.
type meter struct {
	busy atomic.Int32 // writes in flight
	last atomic.Int64 // end of the last one, nanoseconds since 1970
}

func (m *meter) touch() { m.last.Store(time.Now().UnixNano()) }

func (m *meter) silent() time.Duration {
	if m.busy.Load() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, m.last.Load()))
}

// meteredWriter reports to a meter.
type meteredWriter struct {
	w io.Writer
	m *meter
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	w.m.busy.Add(1)
	n, err := w.w.Write(p)
	w.m.touch()
	w.m.busy.Add(-1)
	return n, err
}
