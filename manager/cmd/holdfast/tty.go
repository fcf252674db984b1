package main

import (
	"context"
	"io"
	"os"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/console/term"
	"github.com/holdfast/holdfast/manager"
)

// terminal returns the file behind a stream if it is a terminal.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	if !ok || f == nil || !term.IsTerminal(f) {
		return nil, false
	}
	return f, true
}

// ours returns the user's terminal: the first of the standard streams that is
// one.
func (w world) ours() (*os.File, bool) {
	for _, stream := range []any{w.stdout, w.stdin, w.stderr} {
		if f, ok := terminal(stream); ok {
			return f, true
		}
	}
	return nil, false
}

// size returns that of the user's terminal, or 0 by 0 if there is none or none
// is wanted.
func (w world) size(wanted bool) manager.Size {
	f, ok := w.ours()
	if !ok || !wanted {
		return manager.Size{}
	}
	size, err := console.GetSize(f)
	if err != nil {
		return manager.Size{}
	}
	return manager.Size(size)
}

// raw hands the keyboard to the process, if it has a terminal and reads ours.
// restore must be called on every way out.
func (s *session) raw() (restore func(), err error) {
	f, ok := terminal(s.c.stdin)
	if !ok || !s.tty || !s.stdin {
		return func() {}, nil
	}
	undo, err := term.RawTerminal(f)
	if err != nil {
		return nil, err
	}
	return func() {
		if err := undo(); err != nil {
			s.c.ui.say("%v", err)
		}
	}, nil
}

// keyboard is what the process gets to read: without a terminal our standard
// input byte for byte, with one what is typed, until the detach keys.
func (s *session) keyboard() io.Reader {
	switch {
	case !s.stdin:
		return nil
	case s.tty:
		return term.NewDetacher(s.c.stdin, s.keys)
	}
	return s.c.stdin
}

// follow gives the process the size of the user's terminal, now and whenever it
// changes, until the returned function is called.
func (s *session) follow(ctx context.Context, p process) (stop func()) {
	f, ok := s.c.ours()
	if !ok || !s.tty {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	sizes := term.Watch(ctx, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		nudge := s.nudge
		for size := range sizes {
			if nudge { // a change, however brief, makes a program draw itself anew
				_ = p.ResizeTTY(ctx, manager.Size{Width: size.Width, Height: size.Height + 1})
				nudge = false
			}
			// An error means that the process or its shim is gone: Wait will tell.
			_ = p.ResizeTTY(ctx, manager.Size(size))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
