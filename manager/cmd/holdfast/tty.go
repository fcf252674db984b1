package main

import (
	"io"
	"os"

	"context"
	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/manager"
	"golang.org/x/sys/unix"
	"syscall"
)

const defaultDetachKeys = "ctrl-p,ctrl-q"

type detachKeys []byte

func parseDetachKeys(s string) (detachKeys, error) { return nil, nil }

func watchKeys(r io.Reader, k detachKeys, hit func()) io.Reader { return r }

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (s *session) raw() (func(), error) { return func() {}, nil }

func terminalSize(f *os.File) console.Size {
	s, _ := console.GetSize(f)
	return s
}

// terminalSizeOf returns the size of the user's terminal, or 0 by 0 if there
// is none or none is wanted.
func terminalSizeOf(w world, want bool) manager.Size {
	if !want {
		return manager.Size{}
	}
	for _, stream := range []any{w.stdout, w.stdin, w.stderr} {
		if f, ok := terminal(stream); ok {
			return manager.Size(terminalSize(f))
		}
	}
	return manager.Size{}
}

// follow gives the process the size of the user's terminal, now and whenever it
// changes.
func (s *session) follow(ctx context.Context, p process) (stop func()) {
	size := s.size()
	if size == (manager.Size{}) {
		return func() {}
	}
	ch := make(chan os.Signal, 1)
	unhook := s.c.notify(ch, unix.SIGWINCH)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.nudge {
			_ = p.ResizeTTY(ctx, manager.Size{Width: size.Width, Height: size.Height + 1})
		}
		for {
			// An error means that the process or its shim is gone: Wait says so.
			_ = p.ResizeTTY(ctx, s.size())
			select {
			case <-ch:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		unhook()
		cancel()
		<-done
	}
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return sig.String()
}

func sysSignal(n int) syscall.Signal { return syscall.Signal(n) }
